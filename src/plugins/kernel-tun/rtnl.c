/* SPDX-License-Identifier: Apache-2.0 */

#include "rtnl.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define ANSWER_MAX 32768
/* The kernel answers at once; this ends a wait for an answer that was lost. */
#define ANSWER_TIMEOUT_S 2

struct rtnl {
	struct kernel *k;
	int fd;
	uint32_t seq;
	_Alignas(struct nlmsghdr) uint8_t answer[ANSWER_MAX];
};

enum cy_err rtnl_open(struct kernel *k, struct rtnl **out)
{
	struct rtnl *r = calloc(1, sizeof(*r));
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK};
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};

	if (!r)
		return CY_E_NOMEM;
	r->k = k;
	r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
		LOG(k, CY_LOG_ERROR, "cannot open a routing socket: %s", strerror(errno));
		rtnl_close(r);
		return CY_E_IO;
	}
	*out = r;
	return CY_OK;
}

void rtnl_close(struct rtnl *r)
{
	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

static struct nlmsghdr *header(struct rtnl_msg *m)
{
	return (struct nlmsghdr *)m->bytes;
}

void *rtnl_begin(struct rtnl_msg *m, uint16_t type, uint16_t flags, size_t n)
{
	memset(m->bytes, 0, NLMSG_SPACE(n));
	m->len = NLMSG_LENGTH(n);
	header(m)->nlmsg_type = type;
	header(m)->nlmsg_flags = NLM_F_REQUEST | flags;
	return m->bytes + NLMSG_HDRLEN;
}

static struct rtattr *append(struct rtnl_msg *m, uint16_t type, const void *data, size_t n)
{
	size_t at = NLMSG_ALIGN(m->len), space = RTA_SPACE(n);
	struct rtattr *a;

	/* our messages have a few attributes each: this cannot happen */
	if (space > sizeof(m->bytes) || at > sizeof(m->bytes) - space)
		abort();
	memset(m->bytes + at, 0, space);
	a = (struct rtattr *)(m->bytes + at);
	a->rta_type = type;
	a->rta_len = (uint16_t)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), data, n);
	m->len = at + space;
	return a;
}

void rtnl_put(struct rtnl_msg *m, uint16_t type, const void *data, size_t n)
{
	append(m, type, data, n);
}

void rtnl_put_u32(struct rtnl_msg *m, uint16_t type, uint32_t v)
{
	append(m, type, &v, sizeof(v));
}

struct rtattr *rtnl_nest(struct rtnl_msg *m, uint16_t type)
{
	return append(m, type, NULL, 0);
}

void rtnl_nest_end(struct rtnl_msg *m, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)(m->bytes + m->len - (uint8_t *)nest);
}

/* Goes through one datagram of an answer. True when the answer is complete; *err is its result. */
static bool take_answer(struct rtnl *r, size_t n, void (*cb)(void *user, const struct nlmsghdr *nlh),
    void *user, bool single, int *err)
{
	struct nlmsghdr *nlh = (struct nlmsghdr *)r->answer;

	for (; NLMSG_OK(nlh, n); nlh = NLMSG_NEXT(nlh, n)) {
		if (nlh->nlmsg_seq != r->seq)
			continue;
		if (nlh->nlmsg_type == NLMSG_DONE)
			return true;
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(nlh);

			*err = nlh->nlmsg_len >= NLMSG_LENGTH(sizeof(*e)) ? e->error : -EIO;
			return true;
		}
		if (cb)
			cb(user, nlh);
		if (single && !(nlh->nlmsg_flags & NLM_F_MULTI))
			return true;
	}
	return false;
}

int rtnl_query(
    struct rtnl *r, struct rtnl_msg *m, void (*cb)(void *user, const struct nlmsghdr *nlh), void *user)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	bool single = !(header(m)->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP));
	int err = 0;
	ssize_t n;

	header(m)->nlmsg_len = (uint32_t)m->len;
	header(m)->nlmsg_seq = ++r->seq;
	do
		n = sendto(r->fd, m->bytes, m->len, 0, (struct sockaddr *)&kernel, sizeof(kernel));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	for (;;) {
		n = recv(r->fd, r->answer, sizeof(r->answer), 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (take_answer(r, (size_t)n, cb, user, single, &err))
			return err;
	}
}

int rtnl_ack(struct rtnl *r, struct rtnl_msg *m)
{
	header(m)->nlmsg_flags |= NLM_F_ACK;
	return rtnl_query(r, m, NULL, NULL);
}

void rtnl_attrs(const struct nlmsghdr *nlh, size_t hdr, const struct rtattr **out, size_t max)
{
	const struct rtattr *a = (const struct rtattr *)((const uint8_t *)NLMSG_DATA(nlh) + NLMSG_ALIGN(hdr));
	long n = (long)nlh->nlmsg_len - (long)NLMSG_SPACE(hdr);

	memset(out, 0, (max + 1) * sizeof(out[0]));
	for (; n > 0 && RTA_OK(a, n); a = RTA_NEXT(a, n))
		if ((a->rta_type & NLA_TYPE_MASK) <= max)
			out[a->rta_type & NLA_TYPE_MASK] = a;
}
