/* SPDX-License-Identifier: Apache-2.0 */

#include "device.h"
#include "lifetime.h"
#include "netwatch.h"
#include "ops.h"
#include "queue.h"
#include "routes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define TICK_MS 500

#define FEATURES                                                                                             \
	(CY_KERNEL_ESP_UDP | CY_KERNEL_UDP_ONLY | CY_KERNEL_ESN | CY_KERNEL_IPV6 | CY_KERNEL_POLICY |        \
	    CY_KERNEL_ACQUIRE | CY_KERNEL_EXPIRE | CY_KERNEL_WANTS_ESP)

/* ---- settings */

static uint32_t setting(
    const struct plugin *p, const char *key, uint32_t fallback, uint32_t least, uint32_t most)
{
	int64_t v = p->host->setting_int(p->self, key, fallback);

	if (v >= least && v <= most)
		return (uint32_t)v;
	p->host->log(
	    p->self, CY_LOG_WARN, "%s = %lld is out of range, %u is used", key, (long long)v, fallback);
	return fallback;
}

static void read_config(const struct plugin *p, struct config *cfg)
{
	const char *name = p->host->setting(p->self, "name", DEFAULT_NAME);

	if (strlen(name) >= sizeof(cfg->name)) {
		p->host->log(p->self, CY_LOG_WARN, "name = %s is too long, %s is used", name, DEFAULT_NAME);
		name = DEFAULT_NAME;
	}
	snprintf(cfg->name, sizeof(cfg->name), "%s", name);
	cfg->mtu = setting(p, "mtu", DEFAULT_MTU, 576, 65000);
	cfg->outer_mtu = setting(p, "outer_mtu", DEFAULT_OUTER_MTU, 0, 65535);
	cfg->table = setting(p, "table", DEFAULT_TABLE, 1, UINT32_MAX);
	cfg->rule_priority = setting(p, "rule_priority", DEFAULT_TABLE, 1, 32765);
	cfg->mark = setting(p, "mark", DEFAULT_MARK, 1, UINT32_MAX);
	cfg->n_queues = setting(p, "queues", 0, 0, RCU_MAX_READERS);
	cfg->steer = p->host->setting_bool(p->self, "steer", false);
	cfg->ring_slots = setting(p, "ring", 1024, 16, 65536);
	cfg->acquire_packets = setting(p, "acquire_packets", 8, 0, 1024);
	cfg->acquire_ns = setting(p, "acquire_interval", 5, 1, 3600) * NS_PER_S;
	cfg->offload = p->host->setting_bool(p->self, "offload", true);
	cfg->install_routes = p->host->setting_bool(p->self, "install_routes", true);
}

/* ---- opening and closing */

static void tick(void *user)
{
	struct plugin *p = user;
	struct kernel *k;

	pthread_mutex_lock(&p->guard);
	k = p->kernel;
	if (k) {
		lifetimes_run(k->lifetimes);
		netwatch_tell(k->netwatch);
		pthread_mutex_lock(&k->lock);
		sad_tick(k->sad);
		rcu_reclaim(&k->rcu);
		pthread_mutex_unlock(&k->lock);
	}
	pthread_mutex_unlock(&p->guard);
}

static void network_news(void *user, uint32_t events)
{
	struct plugin *p = user;

	pthread_mutex_lock(&p->guard);
	if (p->kernel)
		netwatch_read(p->kernel->netwatch);
	pthread_mutex_unlock(&p->guard);
}

static size_t cpu_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	return n < 1 ? 1 : n > RCU_MAX_READERS ? RCU_MAX_READERS : (size_t)n;
}

static enum cy_err open_queues(struct kernel *k)
{
	int fd[RCU_MAX_READERS];
	size_t n = k->cfg.n_queues ? k->cfg.n_queues : cpu_count();
	enum cy_err err = device_open(k, n, fd);

	if (err != CY_OK)
		return err;
	for (size_t i = 0; i < n; i++) {
		if (err == CY_OK)
			err = queue_new(k, (unsigned)i, fd[i], &k->queues[i]);
		if (err == CY_OK)
			k->n_queues = i + 1;
		else
			close(fd[i]);
	}
	atomic_store(&k->n_active, k->n_queues);
	if (err == CY_OK)
		queues_adapt(k);
	return err;
}

static enum cy_err start(struct kernel *k)
{
	enum cy_err err = open_queues(k);

	if (err == CY_OK)
		err = sad_new(k, &k->sad);
	if (err == CY_OK)
		err = spd_new(k, &k->spd);
	if (err == CY_OK)
		err = lifetimes_new(k, &k->lifetimes);
	if (err == CY_OK)
		err = rtnl_open(k, &k->rtnl);
	if (err == CY_OK)
		err = routes_new(k, &k->routes);
	if (err == CY_OK)
		err = routes_open(k->routes);
	if (err == CY_OK)
		err = netwatch_new(k, &k->netwatch);
	for (size_t i = 0; i < k->n_queues && err == CY_OK; i++)
		err = queue_start(k->queues[i]);
	if (err == CY_OK)
		err = k->host->timer(k->self, TICK_MS, TICK_MS, tick, k->plugin, &k->tick);
	if (err == CY_OK)
		err = k->host->watch(
		    k->self, netwatch_fd(k->netwatch), EPOLLIN, network_news, k->plugin, &k->watch);
	return err;
}

static void kernel_close(void *kp)
{
	struct kernel *k = kp;

	if (!k)
		return;
	pthread_mutex_lock(&k->plugin->guard);
	if (k->plugin->kernel == k)
		k->plugin->kernel = NULL;
	pthread_mutex_unlock(&k->plugin->guard);
	if (k->tick)
		k->host->timer_cancel(k->self, k->tick);
	if (k->watch)
		k->host->watch_cancel(k->self, k->watch);
	netwatch_free(k->netwatch);
	routes_close(k->routes);
	for (size_t i = 0; i < k->n_queues; i++)
		queue_free(k->queues[i]);
	spd_free(k->spd);
	sad_free(k->sad);
	lifetimes_free(k->lifetimes);
	routes_free(k->routes);
	rtnl_close(k->rtnl);
	rcu_fini(&k->rcu);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static enum cy_err kernel_open(
    void *plugin, const struct cy_kernel_events *ev, uint32_t *out_features, void **out_k)
{
	struct plugin *p = plugin;
	struct kernel *k;
	enum cy_err err;

	if (p->kernel)
		return CY_E_BUSY;
	k = aligned_alloc(64, (sizeof(*k) + 63) & ~(size_t)63);
	if (!k)
		return CY_E_NOMEM;
	memset(k, 0, sizeof(*k));
	k->plugin = p;
	k->host = p->host;
	k->self = p->self;
	memcpy(&k->ev, ev, ev->size < sizeof(k->ev) ? ev->size : sizeof(k->ev));
	read_config(p, &k->cfg);
	k->host->random(k->self, &k->hash_key, sizeof(k->hash_key));
	rcu_init(&k->rcu);
	pthread_mutex_init(&k->lock, NULL);
	err = start(k);
	if (err != CY_OK) {
		kernel_close(k);
		return err;
	}
	pthread_mutex_lock(&p->guard);
	p->kernel = k;
	pthread_mutex_unlock(&p->guard);
	LOG(k, CY_LOG_INFO, "ESP in userspace on %s, MTU %u, %zu thread%s", k->ifname, k->cfg.mtu,
	    k->n_queues, k->n_queues == 1 ? "" : "s");
	*out_features = FEATURES | (k->n_queues > 1 ? CY_KERNEL_PCPU : 0);
	*out_k = k;
	return CY_OK;
}

/* ---- SAs */

static void lock(struct kernel *k)
{
	pthread_mutex_lock(&k->lock);
}

static void unlock(struct kernel *k)
{
	queues_adapt(k);
	rcu_reclaim(&k->rcu);
	pthread_mutex_unlock(&k->lock);
}

/* What waited for an SA with this reqid goes on its way. */
static void release_held(struct kernel *k, const struct reqid *r)
{
	for (struct policy *p = k->spd->policies[0]; p; p = p->next)
		if (p->reqid == r) {
			atomic_store_explicit(&p->acquired_at, 0, memory_order_relaxed);
			for (size_t i = 0; p->cpu_acquired_at && i < k->n_queues; i++)
				atomic_store_explicit(&p->cpu_acquired_at[i], 0, memory_order_relaxed);
			queue_hand_over(k, policy_release(p));
		}
}

static enum cy_err kernel_sa_add(void *kp, const struct cy_kernel_sa *in)
{
	struct kernel *k = kp;
	struct sa *sa;
	enum cy_err err;

	lock(k);
	err = sad_add(k->sad, in, &sa);
	if (err == CY_OK) {
		err = lifetimes_add(k->lifetimes, sa);
		if (err != CY_OK)
			sad_del(k->sad, sa);
		else if (sa->dir == CY_DIR_OUT)
			release_held(k, sa->reqid);
	}
	unlock(k);
	return err;
}

static enum cy_err kernel_sa_move(void *kp, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap)
{
	struct kernel *k = kp;
	enum cy_err err = CY_E_NOTFOUND;
	struct sa *sa;

	if (!encap)
		return CY_E_UNSUPPORTED;
	if (new_src->family != new_dst->family || cy_addr_len(new_dst) == 0)
		return CY_E_INVAL;
	lock(k);
	sa = sad_find(k->sad, id);
	if (sa)
		err = sad_move(k->sad, sa, new_src, new_dst);
	unlock(k);
	return err;
}

static enum cy_err kernel_sa_del(void *kp, const struct cy_kernel_sa_id *id)
{
	struct kernel *k = kp;
	struct sa *sa;

	lock(k);
	sa = sad_find(k->sad, id);
	if (sa) {
		lifetimes_del(k->lifetimes, sa);
		if (sa->dir == CY_DIR_IN)
			sad_leave(k->sad, sa);
		else
			sad_del(k->sad, sa);
	}
	unlock(k);
	return sa ? CY_OK : CY_E_NOTFOUND;
}

static enum cy_err kernel_sa_query(void *kp, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct kernel *k = kp;
	struct sa *sa;

	lock(k);
	sa = sad_find(k->sad, id);
	if (sa) {
		memset(out, 0, sizeof(*out));
		out->bytes = atomic_load_explicit(&sa->bytes, memory_order_relaxed);
		out->packets = atomic_load_explicit(&sa->packets, memory_order_relaxed);
		out->last_used = (uint64_t)atomic_load_explicit(&sa->last_used, memory_order_relaxed);
		out->replay_drops = atomic_load_explicit(&sa->replay_drops, memory_order_relaxed);
		out->integrity_drops = atomic_load_explicit(&sa->integrity_drops, memory_order_relaxed);
		out->seq = atomic_load_explicit(&sa->seq, memory_order_relaxed);
		if (sa->dir == CY_DIR_IN) {
			pthread_spin_lock(&sa->lock);
			out->seq = sa->replay.top;
			pthread_spin_unlock(&sa->lock);
		}
	}
	unlock(k);
	return sa ? CY_OK : CY_E_NOTFOUND;
}

/* ---- policies */

static enum cy_err check_policy(struct kernel *k, const struct cy_kernel_policy *p)
{
	if (p->size < sizeof(*p) || p->dir < CY_DIR_IN || p->dir > CY_DIR_FWD ||
	    p->src.family_ip6 != p->dst.family_ip6 || p->src.family_ip6 > 1 ||
	    p->action < CY_POLICY_PROTECT || p->action > CY_POLICY_PASS)
		return CY_E_INVAL;
	if (p->mark.mask || p->if_id)
		return CY_E_UNSUPPORTED;
	if (p->action == CY_POLICY_PROTECT && p->has_tmpl &&
	    (p->mode != CY_MODE_TUNNEL || p->proto != CY_PROTO_ESP)) {
		LOG(k, CY_LOG_WARN, "the TUN data plane does tunnel mode ESP only");
		return CY_E_UNSUPPORTED;
	}
	if (p->action == CY_POLICY_PROTECT && p->has_tmpl && p->reqid == 0)
		return CY_E_INVAL;
	return CY_OK;
}

static enum cy_err kernel_policy_add(void *kp, const struct cy_kernel_policy *in)
{
	struct kernel *k = kp;
	enum cy_err err = check_policy(k, in);
	struct policy *p, *old;

	/* what is decrypted here is checked against IN policies, whether it is for this host or beyond */
	if (err != CY_OK || in->dir == CY_DIR_FWD)
		return err;
	lock(k);
	err = spd_add(k->spd, in, &p, &old);
	if (err == CY_OK) {
		/* the new one first: a route that both want stays */
		routes_add(k->routes, p);
		if (old)
			routes_del(k->routes, old);
		if (p->reqid && atomic_load_explicit(&p->reqid->sas, memory_order_relaxed))
			queue_hand_over(k, policy_release(p));
	}
	unlock(k);
	return err;
}

static enum cy_err kernel_policy_del(void *kp, const struct cy_kernel_policy *in)
{
	struct kernel *k = kp;
	struct policy *p;

	if (in->dir == CY_DIR_FWD)
		return CY_OK;
	if (in->src.family_ip6 > 1 || in->dst.family_ip6 > 1)
		return CY_E_INVAL;
	lock(k);
	p = spd_find(k->spd, in);
	if (p) {
		routes_del(k->routes, p);
		spd_del(k->spd, p);
	}
	unlock(k);
	return p ? CY_OK : CY_E_NOTFOUND;
}

static enum cy_err kernel_flush(void *kp)
{
	struct kernel *k = kp;

	lock(k);
	routes_flush(k->routes);
	for (size_t i = 0; i < 2; i++)
		while (k->spd->policies[i])
			spd_del(k->spd, k->spd->policies[i]);
	while (k->lifetimes->n)
		lifetimes_del(k->lifetimes, k->lifetimes->heap[0]);
	sad_flush(k->sad);
	unlock(k);
	return CY_OK;
}

/* ---- addresses */

static enum cy_err kernel_addr_set(void *kp, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	struct kernel *k = kp;
	enum cy_err err;

	lock(k);
	err = routes_addr_set(k->routes, addr, prefix, on);
	unlock(k);
	return err;
}

static enum cy_err kernel_source_for(void *kp, const struct cy_addr *dst, struct cy_addr *out_src)
{
	struct kernel *k = kp;
	enum cy_err err;

	lock(k);
	err = routes_source_for(k->routes, dst, out_src);
	unlock(k);
	return err;
}

static bool kernel_is_local(void *kp, const struct cy_addr *addr)
{
	struct kernel *k = kp;
	bool local;

	lock(k);
	local = routes_is_local(k->routes, addr);
	unlock(k);
	return local;
}

/* Our own packets go past the rule that leads into the tunnel. */
static enum cy_err kernel_bypass_socket(void *kp, int fd, int family)
{
	struct kernel *k = kp;

	if (setsockopt(fd, SOL_SOCKET, SO_MARK, &k->cfg.mark, sizeof(k->cfg.mark)) == 0)
		return CY_OK;
	LOG(k, CY_LOG_ERROR, "cannot set the mark 0x%x on an IKE socket: %s", k->cfg.mark, strerror(errno));
	return errno == EPERM ? CY_E_DENIED : CY_E_IO;
}

/* ---- packets and counters, any thread */

static void kernel_esp_in(void *kp, const struct cy_dgram *d, size_t n)
{
	struct kernel *k = kp;
	size_t i = 0;

	while (i < n) {
		struct queue *q;
		size_t run = 1;

		if (d[i].len < ESP_HEADER) {
			/* a NAT keepalive is no fault (RFC 3948, 2.3) */
			if (d[i].len != 1)
				counter_add(&k->counters, CNT_IN_SHORT, 1);
			i++;
			continue;
		}
		q = queue_for(k, &d[i]);
		while (i + run < n && d[i + run].len >= ESP_HEADER && queue_for(k, &d[i + run]) == q)
			run++;
		queue_put(q, RING_ESP, d + i, run);
		i += run;
	}
}

static void kernel_counters(void *kp, void (*cb)(void *user, const char *name, uint64_t value), void *user)
{
#define COUNTERS_NAME(id, name) [CNT_##id] = name,
	static const char *const names[CNT_MAX] = {COUNTERS(COUNTERS_NAME)};
#undef COUNTERS_NAME
	struct kernel *k = kp;

	for (size_t i = 0; i < CNT_MAX; i++) {
		uint64_t v = atomic_load_explicit(&k->counters.v[i], memory_order_relaxed);

		for (size_t j = 0; j < k->n_queues; j++)
			v += atomic_load_explicit(&k->queues[j]->counters.v[i], memory_order_relaxed);
		if (v)
			cb(user, names[i], v);
	}
}

const struct cy_kernel_ops kernel_ops = {
    .size = sizeof(kernel_ops),
    .name = "kernel-tun",
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
    .esp_in = kernel_esp_in,
    .counters = kernel_counters,
    .sa_place = kernel_sa_place,
    .lanes = kernel_lanes,
};
