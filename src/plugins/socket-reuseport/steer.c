/* SPDX-License-Identifier: Apache-2.0 */

#include "steer.h"

#include <assert.h>

#ifndef SO_ATTACH_REUSEPORT_CBPF
#	define SO_ATTACH_REUSEPORT_CBPF 51
#endif

/* The header of an IKE message (RFC 7296, 3.1; RFC 2408, 3.1) */
#define AT_SPI_I   0
#define AT_SPI_R   8
#define AT_VERSION 17
#define AT_FLAGS   19
#define FLAG_I     0x08 /* from the original initiator */

struct program {
	struct sock_filter *out;
	uint32_t n;
};

static void put(struct program *p, uint16_t code, uint32_t k)
{
	assert(p->n < STEER_MAX);
	p->out[p->n++] = (struct sock_filter)BPF_STMT(code, k);
}

static void put_if(struct program *p, uint16_t op, uint32_t k, uint8_t yes, uint8_t no)
{
	assert(p->n < STEER_MAX);
	p->out[p->n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | op | BPF_K, k, yes, no);
}

static void load(struct program *p, uint16_t size, uint32_t at)
{
	put(p, BPF_LD | BPF_ABS | size, at);
}

static void put_alu(struct program *p, uint16_t op, uint32_t k)
{
	put(p, BPF_ALU | op | BPF_K, k);
}

/* A ^= A >> k */
static void fold(struct program *p, uint32_t k)
{
	put(p, BPF_MISC | BPF_TAX, 0);
	put_alu(p, BPF_RSH, k);
	put(p, BPF_ALU | BPF_XOR | BPF_X, 0);
}

static void owner(struct program *p, uint32_t n)
{
	put_alu(p, BPF_MOD, n);
	put(p, BPF_RET | BPF_A, 0);
}

/* By the top byte of the SPI at `at`, which is ours; when it is zero the next `hash` instructions are jumped to. */
static void by_spi(struct program *p, uint32_t at, uint32_t n, uint8_t to_hash)
{
	load(p, BPF_W, at);
	put(p, BPF_MISC | BPF_TAX, 0);
	load(p, BPF_W, at + 4);
	put(p, BPF_ALU | BPF_OR | BPF_X, 0);
	put_if(p, BPF_JEQ, 0, to_hash, 0);
	load(p, BPF_B, at);
	owner(p, n);
}
#define BY_SPI_LEN 8
#define BY_SPI_JEQ 5 /* instructions up to its jump and with it */

size_t steer_program(struct sock_filter out[STEER_MAX], uint32_t n, const uint32_t key[4], bool natt)
{
	struct program p = {.out = out};
	uint32_t ike = natt ? 4 : 0;

	/* A load beyond the end of a datagram ends the program with 0: such a one has no owner. */
	if (natt) {
		/* RFC 3948, 2.1 and 2.2: ESP begins with its SPI, which is not zero */
		load(&p, BPF_W, 0);
		put_if(&p, BPF_JEQ, 0, 3, 0);
		put_alu(&p, BPF_RSH, 24);
		owner(&p, n);
	}
	load(&p, BPF_B, ike + AT_VERSION);
	put_alu(&p, BPF_AND, 0xf0);
	/* IKEv1 has no flag that tells whose message it is: always the hash */
	put_if(&p, BPF_JEQ, 0x10, 2 + 2 * BY_SPI_LEN, 0);
	load(&p, BPF_B, ike + AT_FLAGS);
	put_if(&p, BPF_JSET, FLAG_I, BY_SPI_LEN, 0);
	by_spi(&p, ike + AT_SPI_I, n, 2 * BY_SPI_LEN - BY_SPI_JEQ);
	by_spi(&p, ike + AT_SPI_R, n, BY_SPI_LEN - BY_SPI_JEQ);
	/* cy_steer_hash */
	load(&p, BPF_W, ike + AT_SPI_I);
	put_alu(&p, BPF_XOR, key[0]);
	put_alu(&p, BPF_MUL, key[1] | 1);
	fold(&p, 15);
	put(&p, BPF_MISC | BPF_TAX, 0);
	load(&p, BPF_W, ike + AT_SPI_I + 4);
	put_alu(&p, BPF_XOR, key[2]);
	put(&p, BPF_ALU | BPF_ADD | BPF_X, 0);
	put_alu(&p, BPF_MUL, key[3] | 1);
	fold(&p, 16);
	put_alu(&p, BPF_MUL, key[1] | 1);
	fold(&p, 13);
	owner(&p, n);
	return p.n;
}

bool steer_attach(int fd, uint32_t n, const uint32_t key[4], bool natt)
{
	struct sock_filter code[STEER_MAX];
	struct sock_fprog prog = {.len = (unsigned short)steer_program(code, n, key, natt), .filter = code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &prog, sizeof(prog)) == 0;
}
