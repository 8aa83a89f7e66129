/* SPDX-License-Identifier: Apache-2.0 */

#include "netwatch.h"
#include "rtnl.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <stdlib.h>
#include <unistd.h>

struct netwatch {
	struct kernel *k;
	int fd;
	bool news; /* since the last tick */
	_Alignas(struct nlmsghdr) uint8_t buf[16384];
};

static bool is_foreign_route(const struct kernel *k, const struct nlmsghdr *nlh)
{
	const struct rtmsg *h = NLMSG_DATA(nlh);
	const struct rtattr *a[RTA_MAX + 1];
	uint32_t table;

	rtnl_attrs(nlh, sizeof(*h), a, RTA_MAX);
	table = a[RTA_TABLE] ? rtnl_u32(a[RTA_TABLE]) : h->rtm_table;
	/* local and broadcast routes come with addresses, cloned ones with packets */
	return table != k->cfg.table && table != RT_TABLE_LOCAL && !(h->rtm_flags & RTM_F_CLONED) &&
	    rtnl_u32(a[RTA_OIF]) != k->ifindex;
}

static bool is_news(const struct kernel *k, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		return nlh->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifinfomsg)) &&
		    ((const struct ifinfomsg *)NLMSG_DATA(nlh))->ifi_index != (int)k->ifindex;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		return nlh->nlmsg_len >= NLMSG_LENGTH(sizeof(struct ifaddrmsg)) &&
		    ((const struct ifaddrmsg *)NLMSG_DATA(nlh))->ifa_index != k->ifindex;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return nlh->nlmsg_len >= NLMSG_LENGTH(sizeof(struct rtmsg)) && is_foreign_route(k, nlh);
	default:
		return false;
	}
}

void netwatch_tell(struct netwatch *w)
{
	if (!w->news)
		return;
	w->news = false;
	if (w->k->ev.network_changed)
		w->k->ev.network_changed(w->k->ev.user);
}

void netwatch_read(struct netwatch *w)
{
	for (;;) {
		ssize_t n = recv(w->fd, w->buf, sizeof(w->buf), MSG_DONTWAIT);
		size_t left;

		if (n < 0 && errno == EINTR)
			continue;
		/* what was lost may have been news */
		w->news |= n < 0 && errno == ENOBUFS;
		if (n < 0 && errno == ENOBUFS)
			continue;
		if (n <= 0)
			break;
		left = (size_t)n;
		for (const struct nlmsghdr *nlh = (const void *)w->buf; NLMSG_OK(nlh, left);
		     nlh = NLMSG_NEXT(nlh, left))
			w->news |= is_news(w->k, nlh);
	}
}

enum cy_err netwatch_new(struct kernel *k, struct netwatch **out)
{
	struct netwatch *w = calloc(1, sizeof(*w));
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK,
	    .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE |
	        RTMGRP_IPV6_ROUTE};
	enum cy_err err = CY_E_IO;

	if (!w)
		return CY_E_NOMEM;
	w->k = k;
	w->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (w->fd >= 0 && bind(w->fd, (struct sockaddr *)&sa, sizeof(sa)) == 0)
		err = CY_OK;
	else
		LOG(k, CY_LOG_ERROR, "cannot watch the network: %s", strerror(errno));
	if (err != CY_OK) {
		netwatch_free(w);
		return err;
	}
	*out = w;
	return CY_OK;
}

void netwatch_free(struct netwatch *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

int netwatch_fd(const struct netwatch *w)
{
	return w->fd;
}
