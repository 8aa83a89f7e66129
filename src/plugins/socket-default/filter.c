/* SPDX-License-Identifier: Apache-2.0 */
/* Dropping first requests before they are queued: a classic BPF program on the socket, which costs the thread that receives nothing. */

#include "sockets.h"

#include <linux/filter.h>

#define KEEP_ALL 65536

#define UDP_HEADER 8 /* the program of a UDP socket sees it, too */
/* The header of an IKE message (RFC 7296, 3.1; RFC 2408, 3.1) */
#define IKE_HEADER  28
#define AT_SPI_R    8
#define AT_NEXT     16
#define AT_EXCHANGE 18
#define AT_FLAGS    19
#define FLAG_R      0x20 /* a response of IKEv2; IKEv1 has no such flag */
#define MAIN_MODE   2    /* RFC 2408, 3.1 */
#define AGGRESSIVE  4
#define IKE_SA_INIT 34
#define NOTIFY      41 /* what a request begins with that returns a cookie (RFC 7296, 2.6) */

/* Where the program goes on. */
#define RANDOM 16
#define ACCEPT 18
#define DROP   19

static bool attach(const struct sock *k, uint32_t keep)
{
	uint32_t ike = UDP_HEADER + (k->natt ? 4 : 0);
	struct sock_filter code[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
	    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, ike + IKE_HEADER, 0, ACCEPT - 2),
	    /* RFC 3948, 2.2: IKE has four zero bytes before it, where ESP has its SPI */
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, UDP_HEADER),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, k->natt ? ACCEPT - 4 : 0),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ike + AT_SPI_R),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, ACCEPT - 6),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ike + AT_SPI_R + 4),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, ACCEPT - 8),
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ike + AT_FLAGS),
	    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FLAG_R, ACCEPT - 10, 0),
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ike + AT_EXCHANGE),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAIN_MODE, RANDOM - 12, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AGGRESSIVE, RANDOM - 13, 0),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IKE_SA_INIT, 0, ACCEPT - 14),
	    BPF_STMT(BPF_LD | BPF_B | BPF_ABS, ike + AT_NEXT),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NOTIFY, ACCEPT - 16, 0),
	    [RANDOM] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
	    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, keep << 16, DROP - 18, 0),
	    [ACCEPT] = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
	    [DROP] = BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = {.len = sizeof(code) / sizeof(code[0]), .filter = code};

	return setsockopt(k->fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog)) == 0;
}

static bool detach(const struct sock *k)
{
	int unused = 0;

	return setsockopt(k->fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused)) == 0;
}

enum cy_err sockets_keep_first(void *sp, uint32_t lane, uint32_t keep)
{
	struct sockets *s = sp;
	struct lane *l = &s->lane[lane % s->n_lanes];

	for (size_t i = 0; i < l->n; i++) {
		struct sock *k = &l->sock[i];
		struct sock_drops before = sock_drops(k);

		if (keep < KEEP_ALL) {
			if (!attach(k, keep))
				return CY_E_UNSUPPORTED;
			atomic_store_explicit(&k->shed, -(int64_t)before.overflow - 1, memory_order_relaxed);
		} else if (atomic_load_explicit(&k->shed, memory_order_relaxed) < 0 && detach(k)) {
			atomic_store_explicit(&k->shed, (int64_t)sock_drops(k).shed, memory_order_relaxed);
		}
	}
	return CY_OK;
}
