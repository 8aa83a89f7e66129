/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's table of functions: opening, closing, and the way to the files that do the work. */
#include "events.h"
#include "larval.h"
#include "net.h"
#include "plugin.h"
#include "xfrm_policy.h"
#include "xfrm_sa.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum cy_err kernel_failed(struct kernel *k, const char *what, int e)
{
	LOG(k, CY_LOG_ERROR, "%s: %s%s%s", what, strerror(-e), *nl_why(k->xfrm) ? ": " : "", nl_why(k->xfrm));
	return nl_err(e);
}

static void read_config(const struct plugin *p, struct config *c)
{
	const struct cy_host *h = p->host;

	snprintf(c->vip_interface, sizeof(c->vip_interface), "%s", h->setting(p->self, "vip_interface", ""));
	c->table = (uint32_t)h->setting_int(p->self, "table", DEFAULT_TABLE);
	c->rule_priority = (uint32_t)h->setting_int(p->self, "rule_priority", DEFAULT_RULE_PRIORITY);
	c->mark = (uint32_t)h->setting_int(p->self, "lookup_mark", DEFAULT_LOOKUP_MARK);
	c->events_rcvbuf = (uint32_t)h->setting_int(p->self, "events_rcvbuf", DEFAULT_EVENTS_RCVBUF);
	c->acquire_timeout = (uint32_t)h->setting_int(p->self, "acquire_timeout", 0);
}

static void set_acquire_timeout(struct kernel *k)
{
	static const char path[] = "/proc/sys/net/core/xfrm_acq_expires";
	int fd;

	if (!k->cfg.acquire_timeout)
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%u\n", k->cfg.acquire_timeout) < 0)
		LOG(k, CY_LOG_WARN, "cannot set %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
}

static void kernel_close(void *kp)
{
	struct kernel *k = kp;
	struct larval *l;

	events_stop(k->events);
	net_free(k->net);
	nl_close(k->xfrm);
	while ((l = k->larvals)) {
		k->larvals = l->next;
		free(l);
	}
	table_fini(&k->sas);
	table_fini(&k->policies);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static enum cy_err start(struct kernel *k)
{
	uint64_t key[4];
	enum cy_err err;

	k->host->random(k->self, key, sizeof(key));
	err = table_init(&k->sas, key);
	if (!err)
		err = table_init(&k->policies, key + 2);
	if (!err)
		err = nl_open(k->host, k->self, NETLINK_XFRM, &k->xfrm);
	if (!err)
		err = probe_features(k, &k->features);
	if (!err)
		err = net_new(k, &k->net);
	if (!err)
		err = events_start(k, &k->events);
	return err;
}

static void log_features(struct kernel *k)
{
	static const struct {
		uint32_t feature;
		const char *name;
	} names[] = {{CY_KERNEL_ESP_UDP, "UDP encapsulation"}, {CY_KERNEL_TRANSPORT, "transport mode"},
	    {CY_KERNEL_ESN, "ESN"}, {CY_KERNEL_IPV6, "IPv6"}, {CY_KERNEL_IF_ID, "if_id"},
	    {CY_KERNEL_MARK, "marks"}, {CY_KERNEL_PCPU, "per-CPU SAs"}};
	char text[256] = "";

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (k->features & names[i].feature) {
			size_t n = strlen(text);

			snprintf(text + n, sizeof(text) - n, ", %s", names[i].name);
		}
	LOG(k, CY_LOG_INFO, "ESP in the kernel%s", text);
}

static enum cy_err kernel_open(
    void *plugin, const struct cy_kernel_events *ev, uint32_t *out_features, void **out_k)
{
	struct plugin *p = plugin;
	struct kernel *k = calloc(1, sizeof(*k));
	enum cy_err err;

	if (!k)
		return CY_E_NOMEM;
	k->host = p->host;
	k->self = p->self;
	memcpy(&k->ev, ev, ev->size < sizeof(k->ev) ? ev->size : sizeof(k->ev));
	read_config(p, &k->cfg);
	k->host->random(k->self, &k->next_index, sizeof(k->next_index));
	pthread_mutex_init(&k->lock, NULL);
	err = start(k);
	if (err) {
		kernel_close(k);
		return err;
	}
	set_acquire_timeout(k);
	log_features(k);
	*out_features = k->features;
	*out_k = k;
	return CY_OK;
}

static enum cy_err kernel_sa_add(void *k, const struct cy_kernel_sa *sa)
{
	return sa_add(k, sa);
}

static enum cy_err kernel_sa_move(void *k, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap)
{
	return sa_move(k, id, new_src, new_dst, encap);
}

static enum cy_err kernel_sa_del(void *k, const struct cy_kernel_sa_id *id)
{
	return sa_del(k, id);
}

static enum cy_err kernel_sa_query(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	return sa_query(k, id, out);
}

static enum cy_err kernel_policy_add(void *k, const struct cy_kernel_policy *p)
{
	return policy_add(k, p);
}

static enum cy_err kernel_policy_del(void *k, const struct cy_kernel_policy *p)
{
	return policy_del(k, p);
}

static enum cy_err kernel_addr_set(void *kp, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	return net_addr_set(((struct kernel *)kp)->net, addr, prefix, on);
}

static enum cy_err kernel_device_add(void *kp, const struct cy_kernel_device *d, char *why, size_t why_cap)
{
	return net_device_add(((struct kernel *)kp)->net, d, why, why_cap);
}

static enum cy_err kernel_device_del(void *kp, const struct cy_kernel_device *d)
{
	return net_device_del(((struct kernel *)kp)->net, d);
}

static enum cy_err kernel_device_addr(
    void *kp, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	return net_device_addr(((struct kernel *)kp)->net, name, addr, prefix, on);
}

static enum cy_err kernel_device_route(
    void *kp, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on)
{
	return net_device_route(((struct kernel *)kp)->net, name, dst, local, on);
}

static enum cy_err kernel_source_for(void *kp, const struct cy_addr *dst, struct cy_addr *out_src)
{
	return net_source_for(((struct kernel *)kp)->net, dst, out_src);
}

static bool kernel_is_local(void *kp, const struct cy_addr *addr)
{
	return net_is_local(((struct kernel *)kp)->net, addr);
}

static enum cy_err kernel_flush(void *kp)
{
	struct kernel *k = kp;

	/* SAs before policies: what is on its way out must not leave in clear */
	sa_flush(k);
	policy_flush(k);
	larval_remove(k, 0);
	net_flush(k->net);
	return CY_OK;
}

/* Policies of the socket itself come before all others. */
static enum cy_err kernel_bypass_socket(void *kp, int fd, int family)
{
	struct kernel *k = kp;
	struct xfrm_userpolicy_info p;
	bool ip6 = family == AF_INET6;

	for (int dir = XFRM_POLICY_IN; dir <= XFRM_POLICY_OUT; dir++) {
		memset(&p, 0, sizeof(p));
		p.dir = (uint8_t)dir;
		p.action = XFRM_POLICY_ALLOW;
		p.share = XFRM_SHARE_ANY;
		p.sel.family = (uint16_t)family;
		p.lft.soft_byte_limit = p.lft.hard_byte_limit = XFRM_INF;
		p.lft.soft_packet_limit = p.lft.hard_packet_limit = XFRM_INF;
		if (setsockopt(fd, ip6 ? IPPROTO_IPV6 : IPPROTO_IP, ip6 ? IPV6_XFRM_POLICY : IP_XFRM_POLICY,
		        &p, sizeof(p)) < 0) {
			int e = errno;

			LOG(k, CY_LOG_ERROR, "cannot let an IKE socket pass the policies: %s", strerror(e));
			return nl_err(-e);
		}
	}
	return CY_OK;
}

static enum cy_err kernel_encap_socket(void *kp, int fd, int family, uint16_t port)
{
	static const int type = UDP_ENCAP_ESPINUDP;
	struct kernel *k = kp;

	if (setsockopt(fd, IPPROTO_UDP, UDP_ENCAP, &type, sizeof(type)) < 0) {
		int e = errno;

		LOG(k, family == AF_INET6 ? CY_LOG_NOTICE : CY_LOG_ERROR,
		    "no ESP in UDP on the IPv%d port %u: %s", family == AF_INET6 ? 6 : 4, port, strerror(e));
		return nl_err(-e);
	}
	return CY_OK;
}

static enum cy_err kernel_sa_dump(void *kp,
    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
    void *user)
{
	return sa_dump(kp, cb, user);
}

static void kernel_counters(void *kp, void (*cb)(void *user, const char *name, uint64_t value), void *user)
{
	FILE *f = fopen("/proc/thread-self/net/xfrm_stat", "re");
	char name[64];
	unsigned long long value;

	(void)kp;
	if (!f)
		return;
	while (fscanf(f, "%63s %llu", name, &value) == 2)
		if (value)
			cb(user, name, value);
	fclose(f);
}

const struct cy_kernel_ops kernel_ops = {
    .size = sizeof(kernel_ops),
    .name = "kernel-netlink",
    .open = kernel_open,
    .close = kernel_close,
    .sa_add = kernel_sa_add,
    .sa_move = kernel_sa_move,
    .sa_del = kernel_sa_del,
    .sa_query = kernel_sa_query,
    .policy_add = kernel_policy_add,
    .policy_del = kernel_policy_del,
    .addr_set = kernel_addr_set,
    .source_for = kernel_source_for,
    .is_local = kernel_is_local,
    .flush = kernel_flush,
    .bypass_socket = kernel_bypass_socket,
    .encap_socket = kernel_encap_socket,
    .counters = kernel_counters,
    .sa_dump = kernel_sa_dump,
    .device_add = kernel_device_add,
    .device_del = kernel_device_del,
    .device_addr = kernel_device_addr,
    .device_route = kernel_device_route,
};
