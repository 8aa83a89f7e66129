/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One netlink socket on which requests are made, each answered before the next. Its user serialises. Answers may hold
 * keys, so what was received is wiped before a call returns; whoever builds a message with keys wipes it (nl_wipe).
 */
#ifndef KERNEL_NETLINK_NETLINK_H
#define KERNEL_NETLINK_NETLINK_H

#include <cygnet/plugin.h>
#include <libmnl/libmnl.h>

/* The largest request: an SA with both keys, and a replay bitmap of 4096 bits. */
#define NL_MSG_MAX 4096
#define NL_WHY_MAX 160

/* A request that is being put together. What does not fit is remembered, and the request refused when it is made. */
struct nl_msg {
	bool full;
	union {
		_Alignas(8) struct nlmsghdr nlh;
		uint8_t bytes[NL_MSG_MAX];
	};
};

struct nl;

typedef void (*nl_answer_fn)(void *user, const struct nlmsghdr *nlh);

enum cy_err nl_open(const struct cy_host *host, void *self, int bus, struct nl **out) CY_MUST_USE;
void nl_close(struct nl *nl);

/* Begins a message; returns its zeroed family header of n bytes. */
void *nl_begin(struct nl_msg *m, uint16_t type, uint16_t flags, size_t n);
void nl_put(struct nl_msg *m, uint16_t type, const void *data, size_t n);
void nl_put_u32(struct nl_msg *m, uint16_t type, uint32_t v);
/* Room for an attribute that the caller fills in; NULL when there is none. */
void *nl_reserve(struct nl_msg *m, uint16_t type, size_t n);
void nl_wipe(struct nl_msg *m);

/* Makes the request and waits for its acknowledgement: 0, or a negative errno. */
int nl_ack(struct nl *nl, struct nl_msg *m);
/* The same, with cb for each message of the answer, of a dump as well. */
int nl_query(struct nl *nl, struct nl_msg *m, nl_answer_fn cb, void *user);
/* What the kernel had to say about the last failure, "" nothing. */
const char *nl_why(const struct nl *nl);
enum cy_err nl_err(int e); /* of a negative errno */

/* Attributes of an answer, by type up to max; each NULL or pointing into it. hdr: bytes of the family header. */
void nl_attrs(const struct nlmsghdr *nlh, size_t hdr, const struct nlattr **out, size_t max);
/* Does the message reach to the end of its family header? */
static inline bool nl_has_header(const struct nlmsghdr *nlh, size_t hdr)
{
	return nlh->nlmsg_len >= MNL_NLMSG_HDRLEN + hdr;
}

/* A copy of the family header, because messages of a dump are aligned to 4 bytes only; false: the message is shorter. */
static inline bool nl_header(const struct nlmsghdr *nlh, void *out, size_t hdr)
{
	if (!nl_has_header(nlh, hdr))
		return false;
	memcpy(out, mnl_nlmsg_get_payload(nlh), hdr);
	return true;
}

/* The attribute's value, NULL when it is absent or shorter than n. */
static inline const void *nl_value(const struct nlattr *a, size_t n)
{
	return a && mnl_attr_get_payload_len(a) >= n ? mnl_attr_get_payload(a) : NULL;
}

static inline uint32_t nl_u32(const struct nlattr *a)
{
	return nl_value(a, sizeof(uint32_t)) ? mnl_attr_get_u32(a) : 0;
}

#endif
