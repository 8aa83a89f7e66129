/* SPDX-License-Identifier: Apache-2.0 */

#include "events.h"
#include "larval.h"
#include "net.h"
#include "xfrm_policy.h"
#include "xfrm_sa.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define KN_XFRMNLGRP_MAPPING 8
/* News of the network come in bursts, and are told of once. */
#define NETWORK_DELAY_MS 500
/* Of a mapping that the daemon did not follow, the same again only after this. */
#define MAPPING_REPEAT_NS (2 * NS_PER_S)

struct events {
	struct kernel *k;
	pthread_t thread;
	bool running;
	int xfrm, route, stop; /* stop: an eventfd */
	uint64_t news_at;      /* when to tell of the network; 0 no news */
	_Alignas(8) uint8_t buf[65536];
};

/* ---- XFRM */

static void read_scope(const struct nlattr **a, struct cy_mark *mark, uint32_t *if_id)
{
	const struct xfrm_mark *m = nl_value(a[XFRMA_MARK], sizeof(*m));

	*mark = m ? (struct cy_mark){m->v, m->m} : (struct cy_mark){0};
	*if_id = nl_u32(a[XFRMA_IF_ID]);
}

static void on_acquire(struct kernel *k, const struct nlmsghdr *nlh)
{
	struct xfrm_user_acquire x;
	const struct nlattr *a[KN_XFRMA_MAX + 1];
	const struct xfrm_user_tmpl *t;
	struct cy_ts src, dst;
	struct cy_mark mark;
	uint32_t if_id;
	uint64_t cookie = 0;
	int32_t cpu = -1;

	if (!nl_header(nlh, &x, sizeof(x)))
		return;
	nl_attrs(nlh, sizeof(x), a, KN_XFRMA_MAX);
	t = nl_value(a[XFRMA_TMPL], sizeof(*t));
	if (!t)
		return;
	read_scope(a, &mark, &if_id);
	/* an administrator's policies, or another daemon's, are no business of ours */
	if (!policy_cookie(k, &x.policy.sel, &mark, if_id, &cookie) ||
	    selector_to_ts(&x.sel, &src, &dst) != CY_OK)
		return;
	if (a[KN_XFRMA_SA_PCPU])
		cpu = (int32_t)nl_u32(a[KN_XFRMA_SA_PCPU]);
	larval_made(k, &x, t, &mark, if_id, cpu);
	if (k->ev.acquire)
		k->ev.acquire(k->ev.user, t->reqid, cookie, &src, &dst, cpu);
}

static void on_expire(struct kernel *k, const struct nlmsghdr *nlh)
{
	struct xfrm_user_expire x;
	const struct nlattr *a[XFRMA_MAX + 1];
	struct cy_kernel_sa_id id;
	struct sa_entry *e;
	struct cy_addr dst;
	struct cy_mark mark;
	uint32_t if_id;

	if (!nl_header(nlh, &x, sizeof(x)))
		return;
	if (x.state.id.spi == 0) {
		larval_gone(k, &x.state);
		return;
	}
	nl_attrs(nlh, sizeof(x), a, XFRMA_MAX);
	read_scope(a, &mark, &if_id);
	dst = from_xfrm(&x.state.id.daddr, x.state.family);
	pthread_mutex_lock(&k->lock);
	e = sa_entry_find(k, &dst, ntohl(x.state.id.spi), x.state.id.proto, &mark);
	if (e)
		id = e->id;
	pthread_mutex_unlock(&k->lock);
	if (e && k->ev.expire)
		k->ev.expire(k->ev.user, &id, x.hard != 0);
}

/* Has this not been told just now? */
static bool is_new_mapping(struct kernel *k, struct sa_entry *e, const struct cy_addr *src)
{
	uint64_t now = k->host->now_ns(k->self);

	if (cy_addr_eq(&e->told_src, src) && e->told_ns && now - e->told_ns < MAPPING_REPEAT_NS)
		return false;
	e->told_src = *src;
	e->told_ns = now;
	return true;
}

static void on_mapping(struct kernel *k, const struct nlmsghdr *nlh)
{
	struct xfrm_user_mapping x;
	struct cy_kernel_sa_id id;
	struct cy_addr dst, src;
	struct sa_entry *e;
	bool tell = false;

	if (!nl_header(nlh, &x, sizeof(x)))
		return;
	dst = from_xfrm(&x.id.daddr, x.id.family);
	src = from_xfrm(&x.new_saddr, x.id.family);
	src.port = ntohs(x.new_sport);
	pthread_mutex_lock(&k->lock);
	e = sa_entry_find(k, &dst, ntohl(x.id.spi), x.id.proto, NULL);
	if (e) {
		id = e->id;
		tell = is_new_mapping(k, e, &src);
	}
	pthread_mutex_unlock(&k->lock);
	if (tell && k->ev.mapping)
		k->ev.mapping(k->ev.user, &id, &src);
}

static void on_xfrm(struct events *e, const struct nlmsghdr *nlh)
{
	switch (nlh->nlmsg_type) {
	case XFRM_MSG_ACQUIRE:
		on_acquire(e->k, nlh);
		break;
	case XFRM_MSG_EXPIRE:
		on_expire(e->k, nlh);
		break;
	case XFRM_MSG_MAPPING:
		on_mapping(e->k, nlh);
		break;
	default:
		break;
	}
}

/* ---- the network */

static bool is_foreign_route(const struct kernel *k, const struct nlmsghdr *nlh)
{
	const struct rtmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[RTA_MAX + 1];
	uint32_t table;

	if (!nl_has_header(nlh, sizeof(*h)))
		return false;
	nl_attrs(nlh, sizeof(*h), a, RTA_MAX);
	table = a[RTA_TABLE] ? nl_u32(a[RTA_TABLE]) : h->rtm_table;
	/* local and broadcast routes come with addresses, cloned ones with packets */
	return table != k->cfg.table && table != RT_TABLE_LOCAL && !(h->rtm_flags & RTM_F_CLONED) &&
	    h->rtm_protocol != TAG_PROTOCOL;
}

static bool is_foreign_addr(const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *h = mnl_nlmsg_get_payload(nlh);
	const struct nlattr *a[12];
	const uint8_t *proto;

	if (!nl_has_header(nlh, sizeof(*h)))
		return false;
	nl_attrs(nlh, sizeof(*h), a, 11);
	proto = nl_value(a[11], sizeof(*proto)); /* IFA_PROTO */
	return !proto || *proto != TAG_PROTOCOL;
}

static void on_route(struct events *e, const struct nlmsghdr *nlh)
{
	bool news = false;

	switch (nlh->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		news = true;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		net_addrs_changed(e->k->net);
		news = is_foreign_addr(nlh);
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		news = is_foreign_route(e->k, nlh);
		break;
	default:
		break;
	}
	if (news && !e->news_at)
		e->news_at = e->k->host->now_ns(e->k->self) + NETWORK_DELAY_MS * (NS_PER_S / 1000);
}

static void tell_network(struct events *e)
{
	struct kernel *k = e->k;

	if (!e->news_at || k->host->now_ns(k->self) < e->news_at)
		return;
	e->news_at = 0;
	net_refresh(k->net);
	if (k->ev.network_changed)
		k->ev.network_changed(k->ev.user);
}

/* ---- the thread */

/* Everything that has come; false: some was lost. */
static bool read_all(struct events *e, int fd, void (*on)(struct events *e, const struct nlmsghdr *nlh))
{
	bool whole = true;

	for (;;) {
		struct sockaddr_nl from = {0};
		socklen_t from_len = sizeof(from);
		ssize_t n =
		    recvfrom(fd, e->buf, sizeof(e->buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
		int left = (int)n;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOBUFS) {
			whole = false;
			continue;
		}
		if (n <= 0)
			return whole;
		/* other processes may write to us, too */
		if (from.nl_pid != 0)
			continue;
		for (const struct nlmsghdr *nlh = (const void *)e->buf; mnl_nlmsg_ok(nlh, left);
		     nlh = mnl_nlmsg_next(nlh, &left))
			on(e, nlh);
		/* an expired SA is told of without its keys, but who knows of the next kernel */
		explicit_bzero(e->buf, (size_t)n);
	}
}

static int wait_ms(const struct events *e)
{
	uint64_t now;

	if (!e->news_at)
		return -1;
	now = e->k->host->now_ns(e->k->self);
	return e->news_at <= now ? 0 : (int)((e->news_at - now) / (NS_PER_S / 1000)) + 1;
}

static void *run(void *arg)
{
	struct events *e = arg;
	struct kernel *k = e->k;
	struct pollfd fds[] = {{e->stop, POLLIN, 0}, {e->xfrm, POLLIN, 0}, {e->route, POLLIN, 0}};

	for (;;) {
		if (poll(fds, 3, wait_ms(e)) < 0 && errno != EINTR)
			return NULL;
		if (fds[0].revents)
			return NULL;
		if (fds[1].revents && !read_all(e, e->xfrm, on_xfrm) && k->ev.overrun)
			k->ev.overrun(k->ev.user);
		/* what was lost may have been news */
		if (fds[2].revents && !read_all(e, e->route, on_route)) {
			net_addrs_changed(k->net);
			e->news_at = k->host->now_ns(k->self);
		}
		tell_network(e);
	}
}

static int listen_to(struct events *e, int bus, const int *groups, size_t n)
{
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK};
	int size = (int)e->k->cfg.events_rcvbuf;
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, bus);

	if (fd < 0)
		return -1;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		goto fail;
	for (size_t i = 0; i < n; i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) < 0)
			goto fail;
	return fd;
fail:
	close(fd);
	return -1;
}

enum cy_err events_start(struct kernel *k, struct events **out)
{
	static const int xfrm[] = {XFRMNLGRP_ACQUIRE, XFRMNLGRP_EXPIRE, KN_XFRMNLGRP_MAPPING};
	static const int route[] = {
	    RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
	struct events *e = calloc(1, sizeof(*e));
	sigset_t all, old;

	if (!e)
		return CY_E_NOMEM;
	e->k = k;
	e->xfrm = listen_to(e, NETLINK_XFRM, xfrm, sizeof(xfrm) / sizeof(xfrm[0]));
	e->route = listen_to(e, NETLINK_ROUTE, route, sizeof(route) / sizeof(route[0]));
	e->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->xfrm < 0 || e->route < 0 || e->stop < 0) {
		int err = errno;

		LOG(k, CY_LOG_ERROR, "cannot listen to the kernel's events: %s", strerror(err));
		events_stop(e);
		return nl_err(-err);
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	e->running = pthread_create(&e->thread, NULL, run, e) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!e->running) {
		events_stop(e);
		return CY_E_NOMEM;
	}
	*out = e;
	return CY_OK;
}

void events_stop(struct events *e)
{
	static const uint64_t one = 1;

	if (!e)
		return;
	if (e->running) {
		(void)!write(e->stop, &one, sizeof(one));
		pthread_join(e->thread, NULL);
	}
	if (e->xfrm >= 0)
		close(e->xfrm);
	if (e->route >= 0)
		close(e->route);
	if (e->stop >= 0)
		close(e->stop);
	free(e);
}
