/* SPDX-License-Identifier: Apache-2.0 */

#include "netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>

/* What the kernel sends at most in one datagram of a dump. */
#define ANSWER_MAX 32768
/* The kernel answers at once; this ends a wait for an answer that was lost. */
#define ANSWER_TIMEOUT_S 2

struct nl {
	struct mnl_socket *s;
	uint32_t port, seq;
	char why[NL_WHY_MAX];
	_Alignas(8) uint8_t answer[ANSWER_MAX];
};

enum cy_err nl_open(const struct cy_host *host, void *self, int bus, struct nl **out)
{
	struct nl *nl = calloc(1, sizeof(*nl));
	struct timeval timeout = {.tv_sec = ANSWER_TIMEOUT_S};
	int on = 1;

	if (!nl)
		return CY_E_NOMEM;
	nl->s = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!nl->s || mnl_socket_bind(nl->s, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(nl->s), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0) {
		int e = errno;

		host->log(self, e == EPROTONOSUPPORT ? CY_LOG_NOTICE : CY_LOG_ERROR,
		    "cannot open a netlink socket for %s: %s", bus == NETLINK_XFRM ? "XFRM" : "routing",
		    strerror(e));
		nl_close(nl);
		return nl_err(-e);
	}
	nl->port = mnl_socket_get_portid(nl->s);
	/* Both since Linux 4.12: reasons in words, and no copy of our request, with its keys, in an answer. */
	(void)mnl_socket_setsockopt(nl->s, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)mnl_socket_setsockopt(nl->s, NETLINK_CAP_ACK, &on, sizeof(on));
	/* Since Linux 4.20: a dump of one routing table is not a dump of all. */
	if (bus == NETLINK_ROUTE)
		(void)mnl_socket_setsockopt(nl->s, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	*out = nl;
	return CY_OK;
}

void nl_close(struct nl *nl)
{
	if (!nl)
		return;
	if (nl->s)
		mnl_socket_close(nl->s);
	free(nl);
}

void *nl_begin(struct nl_msg *m, uint16_t type, uint16_t flags, size_t n)
{
	m->full = false;
	mnl_nlmsg_put_header(m->bytes);
	m->nlh.nlmsg_type = type;
	m->nlh.nlmsg_flags = NLM_F_REQUEST | flags;
	return mnl_nlmsg_put_extra_header(&m->nlh, n);
}

void *nl_reserve(struct nl_msg *m, uint16_t type, size_t n)
{
	struct nlattr *a = mnl_nlmsg_get_payload_tail(&m->nlh);

	if (n > NL_MSG_MAX || m->nlh.nlmsg_len + MNL_ATTR_HDRLEN + MNL_ALIGN(n) > sizeof(m->bytes)) {
		m->full = true;
		return NULL;
	}
	a->nla_type = type;
	a->nla_len = (uint16_t)(MNL_ATTR_HDRLEN + n);
	memset(mnl_attr_get_payload(a), 0, MNL_ALIGN(n));
	m->nlh.nlmsg_len += (uint32_t)(MNL_ATTR_HDRLEN + MNL_ALIGN(n));
	return mnl_attr_get_payload(a);
}

void nl_put(struct nl_msg *m, uint16_t type, const void *data, size_t n)
{
	void *p = nl_reserve(m, type, n);

	if (p && n)
		memcpy(p, data, n);
}

void nl_put_u32(struct nl_msg *m, uint16_t type, uint32_t v)
{
	nl_put(m, type, &v, sizeof(v));
}

void nl_wipe(struct nl_msg *m)
{
	explicit_bzero(m->bytes, m->nlh.nlmsg_len < sizeof(m->bytes) ? m->nlh.nlmsg_len : sizeof(m->bytes));
}

void nl_attrs(const struct nlmsghdr *nlh, size_t hdr, const struct nlattr **out, size_t max)
{
	const struct nlattr *a;

	memset(out, 0, (max + 1) * sizeof(out[0]));
	if (!nl_has_header(nlh, hdr))
		return;
	mnl_attr_for_each(a, nlh, (unsigned)hdr) if (mnl_attr_get_type(a) <= max) out[mnl_attr_get_type(a)] =
	    a;
}

/* NLMSGERR_ATTR_MSG follows the error, whose copy of the request is cut to its header (NETLINK_CAP_ACK). */
static void take_why(struct nl *nl, const struct nlmsghdr *nlh)
{
	const struct nlmsgerr *e = mnl_nlmsg_get_payload(nlh);
	size_t hdr = sizeof(*e);
	const struct nlattr *a[NLMSGERR_ATTR_MAX + 1];
	size_t n;

	if (!(nlh->nlmsg_flags & NLM_F_ACK_TLVS))
		return;
	if (!(nlh->nlmsg_flags & NLM_F_CAPPED)) {
		if (e->msg.nlmsg_len < sizeof(e->msg))
			return;
		hdr += e->msg.nlmsg_len - sizeof(e->msg);
	}
	nl_attrs(nlh, MNL_ALIGN(hdr), a, NLMSGERR_ATTR_MAX);
	if (!a[NLMSGERR_ATTR_MSG])
		return;
	n = mnl_attr_get_payload_len(a[NLMSGERR_ATTR_MSG]);
	if (n >= sizeof(nl->why))
		n = sizeof(nl->why) - 1;
	memcpy(nl->why, mnl_attr_get_payload(a[NLMSGERR_ATTR_MSG]), n);
	nl->why[n] = '\0';
}

/* Goes through one datagram of an answer. True when the answer is complete; *err is its result. */
static bool take_answer(struct nl *nl, int n, nl_answer_fn cb, void *user, bool single, int *err)
{
	const struct nlmsghdr *nlh = (const struct nlmsghdr *)nl->answer;

	for (; mnl_nlmsg_ok(nlh, n); nlh = mnl_nlmsg_next(nlh, &n)) {
		if (nlh->nlmsg_seq != nl->seq || nlh->nlmsg_pid != nl->port)
			continue;
		if (nlh->nlmsg_type == NLMSG_DONE) {
			if (nl_has_header(nlh, sizeof(int)))
				*err = *(const int *)mnl_nlmsg_get_payload(nlh);
			return true;
		}
		if (nlh->nlmsg_type == NLMSG_ERROR) {
			if (nl_has_header(nlh, sizeof(struct nlmsgerr))) {
				*err = ((const struct nlmsgerr *)mnl_nlmsg_get_payload(nlh))->error;
				take_why(nl, nlh);
			} else {
				*err = -EIO;
			}
			return true;
		}
		if (cb)
			cb(user, nlh);
		if (single && !(nlh->nlmsg_flags & NLM_F_MULTI))
			return true;
	}
	return false;
}

int nl_query(struct nl *nl, struct nl_msg *m, nl_answer_fn cb, void *user)
{
	bool single = !(m->nlh.nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP));
	int err = 0;
	ssize_t n;
	bool complete;

	nl->why[0] = '\0';
	if (m->full)
		return -EMSGSIZE;
	m->nlh.nlmsg_seq = ++nl->seq;
	do
		n = mnl_socket_sendto(nl->s, m->bytes, m->nlh.nlmsg_len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	do {
		n = mnl_socket_recvfrom(nl->s, nl->answer, sizeof(nl->answer));
		if (n < 0 && errno == EINTR) {
			complete = false;
			continue;
		}
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		complete = take_answer(nl, (int)n, cb, user, single, &err);
		explicit_bzero(nl->answer, (size_t)n);
	} while (!complete);
	return err;
}

int nl_ack(struct nl *nl, struct nl_msg *m)
{
	m->nlh.nlmsg_flags |= NLM_F_ACK;
	return nl_query(nl, m, NULL, NULL);
}

const char *nl_why(const struct nl *nl)
{
	return nl->why;
}

enum cy_err nl_err(int e)
{
	switch (-e) {
	case 0:
		return CY_OK;
	case ESRCH:
	case ENOENT:
	case EADDRNOTAVAIL:
		return CY_E_NOTFOUND;
	case EEXIST:
		return CY_E_EXISTS;
	case EINVAL:
	case EMSGSIZE:
	case ERANGE:
		return CY_E_INVAL;
	case ENOSYS:
	case EOPNOTSUPP:
	case EPROTONOSUPPORT:
	case EAFNOSUPPORT:
		return CY_E_UNSUPPORTED;
	case EPERM:
	case EACCES:
		return CY_E_DENIED;
	case ENOMEM:
	case ENOBUFS:
		return CY_E_NOMEM;
	case ETIMEDOUT:
		return CY_E_TIMEOUT;
	default:
		return CY_E_IO;
	}
}
