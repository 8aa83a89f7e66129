/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of queues that the kernel keeps for all drivers alike: family "netdev" of generic netlink, from Linux 6.9 on
 * (Documentation/netlink/specs/netdev.yaml). Some drivers have them nowhere else, virtio_net with Linux 6.12 among them.
 */
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "daemon/watch/machine.h"

/* older headers than the kernel do not have <linux/netdev.h> */
#define CMD_QSTATS_GET 12
#define A_IFINDEX      1
#define A_QUEUE_TYPE   2 /* 0 rx, 1 tx */
#define A_QUEUE_ID     3
#define A_SCOPE        4
#define A_RX_PACKETS   8
#define A_RX_BYTES     9
#define A_TX_PACKETS   10
#define A_TX_BYTES     11
#define A_RX_HW_DROPS  13
#define A_LAST         A_RX_HW_DROPS
#define SCOPE_QUEUE    1
#define ANSWERS_MAX    256 /* datagrams of one answer that are read */
#define HEADERS        (NLMSG_HDRLEN + GENL_HDRLEN)

struct genl {
	int fd;
	union {
		struct nlmsghdr h;
		uint8_t bytes[32768];
	} buf;
};

static void begin(struct genl *g, uint16_t type, uint16_t flags, uint8_t cmd)
{
	struct genlmsghdr *gh = NLMSG_DATA(&g->buf.h);

	memset(g->buf.bytes, 0, HEADERS);
	g->buf.h = (struct nlmsghdr){
	    .nlmsg_len = HEADERS, .nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
	gh->cmd = cmd;
	gh->version = 1;
}

static void put(struct genl *g, uint16_t type, const void *data, uint16_t len)
{
	struct nlattr *a = (struct nlattr *)(void *)(g->buf.bytes + g->buf.h.nlmsg_len);

	memset(a, 0, NLA_HDRLEN + NLA_ALIGN(len));
	*a = (struct nlattr){.nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + len)};
	memcpy((uint8_t *)a + NLA_HDRLEN, data, len);
	g->buf.h.nlmsg_len += NLA_HDRLEN + NLA_ALIGN(len);
}

/* Numbers of 2, 4 or 8 bytes, by type below n. */
static void read_attrs(const struct nlmsghdr *h, uint64_t *out, uint16_t n)
{
	const uint8_t *at = (const uint8_t *)h + HEADERS, *end = (const uint8_t *)h + h->nlmsg_len;
	struct nlattr a;

	memset(out, 0, n * sizeof(*out));
	while (end - at >= (ptrdiff_t)sizeof(a)) {
		uint16_t half;
		uint32_t word;

		memcpy(&a, at, sizeof(a));
		if (a.nla_len < NLA_HDRLEN || a.nla_len > end - at)
			return;
		if (a.nla_type < n && a.nla_len == NLA_HDRLEN + 8) {
			memcpy(&out[a.nla_type], at + NLA_HDRLEN, 8);
		} else if (a.nla_type < n && a.nla_len == NLA_HDRLEN + 4) {
			memcpy(&word, at + NLA_HDRLEN, 4);
			out[a.nla_type] = word;
		} else if (a.nla_type < n && a.nla_len == NLA_HDRLEN + 2) {
			memcpy(&half, at + NLA_HDRLEN, 2);
			out[a.nla_type] = half;
		}
		if (end - at < NLA_ALIGN(a.nla_len))
			return;
		at += NLA_ALIGN(a.nla_len);
	}
}

/* Asks, and hands each message of the answer to fn until it is done or fails. */
static void talk(struct genl *g, void (*fn)(void *arg, const struct nlmsghdr *h), void *arg)
{
	bool dump = g->buf.h.nlmsg_flags & NLM_F_DUMP;

	if (send(g->fd, g->buf.bytes, g->buf.h.nlmsg_len, 0) < 0)
		return;
	for (int i = 0; i < ANSWERS_MAX; i++) {
		ssize_t n = recv(g->fd, g->buf.bytes, sizeof(g->buf.bytes), 0);
		int left = (int)n;

		if (n <= 0)
			return;
		for (const struct nlmsghdr *h = &g->buf.h; NLMSG_OK(h, (uint32_t)left);
		     h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return;
			if (h->nlmsg_len >= HEADERS)
				fn(arg, h);
		}
		if (!dump)
			return;
	}
}

static void on_family(void *arg, const struct nlmsghdr *h)
{
	uint64_t a[CTRL_ATTR_FAMILY_ID + 1];

	read_attrs(h, a, CTRL_ATTR_FAMILY_ID + 1);
	*(uint16_t *)arg = (uint16_t)a[CTRL_ATTR_FAMILY_ID];
}

struct queues {
	const char *ifname;
	struct machine_queue *q;
	size_t n;
};

static void on_queue(void *arg, const struct nlmsghdr *h)
{
	const struct queues *to = arg;
	uint64_t a[A_LAST + 1];

	read_attrs(h, a, A_LAST + 1);
	for (size_t i = 0; i < to->n; i++) {
		struct machine_queue *q = &to->q[i];

		if (q->rx != (a[A_QUEUE_TYPE] == 0) || q->index != a[A_QUEUE_ID] ||
		    strcmp(q->ifname, to->ifname) != 0)
			continue;
		q->packets = q->rx ? a[A_RX_PACKETS] : a[A_TX_PACKETS];
		q->bytes = q->rx ? a[A_RX_BYTES] : a[A_TX_BYTES];
		if (q->rx && !q->has_counters)
			q->drops = a[A_RX_HW_DROPS];
		q->has_counters = true;
	}
}

void machine_qstats(const char *ifname, struct machine_queue *q, size_t n)
{
	const struct timeval patience = {.tv_usec = 200000};
	struct queues to = {.ifname = ifname, .q = q, .n = n};
	uint32_t index = if_nametoindex(ifname), scope = SCOPE_QUEUE;
	uint16_t family = 0;
	struct genl g;

	g.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	if (g.fd < 0)
		return;
	if (index && setsockopt(g.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0) {
		begin(&g, GENL_ID_CTRL, 0, CTRL_CMD_GETFAMILY);
		put(&g, CTRL_ATTR_FAMILY_NAME, "netdev", sizeof("netdev"));
		talk(&g, on_family, &family);
	}
	if (family) {
		begin(&g, family, NLM_F_DUMP, CMD_QSTATS_GET);
		put(&g, A_IFINDEX, &index, sizeof(index));
		put(&g, A_SCOPE, &scope, sizeof(scope));
		talk(&g, on_queue, &to);
	}
	close(g.fd);
}
