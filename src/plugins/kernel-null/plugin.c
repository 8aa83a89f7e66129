/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data plane that accepts everything, protects nothing and counts: to measure and test the control plane alone. It is used only when
 * the setting "kernel" names it.
 */

#include "config.h"

#include <cygnet/plugin.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct null {
	const struct cy_host *host;
	void *self;
	/* there now; and all requests so far */
	atomic_uint_least64_t sas, policies, addrs;
	atomic_uint_least64_t sa_adds, sa_dels, sa_moves, sa_queries, policy_adds, policy_dels, addr_sets;
};

static void add(atomic_uint_least64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void sub(atomic_uint_least64_t *counter)
{
	if (atomic_load_explicit(counter, memory_order_relaxed))
		atomic_fetch_sub_explicit(counter, 1, memory_order_relaxed);
}

static enum cy_err null_open(
    void *plugin, const struct cy_kernel_events *ev, uint32_t *out_features, void **out_k)
{
	struct null *k = plugin;

	(void)ev;
	k->host->log(k->self, CY_LOG_WARN, "no packet will be protected: this data plane does nothing");
	*out_features = CY_KERNEL_ESP_RAW | CY_KERNEL_ESP_UDP | CY_KERNEL_TRANSPORT | CY_KERNEL_ESN |
	    CY_KERNEL_IPV6 | CY_KERNEL_POLICY | CY_KERNEL_INLINE;
	*out_k = k;
	return CY_OK;
}

static void null_close(void *k)
{
	(void)k;
}

static enum cy_err sa_add(void *kp, const struct cy_kernel_sa *sa)
{
	struct null *k = kp;

	(void)sa;
	add(&k->sa_adds);
	add(&k->sas);
	return CY_OK;
}

static enum cy_err sa_move(void *kp, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap)
{
	struct null *k = kp;

	(void)id;
	(void)new_src;
	(void)new_dst;
	(void)encap;
	add(&k->sa_moves);
	return CY_OK;
}

static enum cy_err sa_del(void *kp, const struct cy_kernel_sa_id *id)
{
	struct null *k = kp;

	(void)id;
	add(&k->sa_dels);
	sub(&k->sas);
	return CY_OK;
}

static enum cy_err sa_query(void *kp, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct null *k = kp;

	(void)id;
	add(&k->sa_queries);
	memset(out, 0, sizeof(*out));
	return CY_OK;
}

static enum cy_err policy_add(void *kp, const struct cy_kernel_policy *p)
{
	struct null *k = kp;

	(void)p;
	add(&k->policy_adds);
	add(&k->policies);
	return CY_OK;
}

static enum cy_err policy_del(void *kp, const struct cy_kernel_policy *p)
{
	struct null *k = kp;

	(void)p;
	add(&k->policy_dels);
	sub(&k->policies);
	return CY_OK;
}

static enum cy_err addr_set(void *kp, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	struct null *k = kp;

	(void)addr;
	(void)prefix;
	add(&k->addr_sets);
	if (on)
		add(&k->addrs);
	else
		sub(&k->addrs);
	return CY_OK;
}

union sockaddr_any {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t to_sockaddr(const struct cy_addr *a, uint16_t port, union sockaddr_any *out)
{
	memset(out, 0, sizeof(*out));
	if (a->family == AF_INET6) {
		out->in6.sin6_family = AF_INET6;
		out->in6.sin6_port = htons(port);
		out->in6.sin6_scope_id = a->scope;
		memcpy(&out->in6.sin6_addr, a->ip, 16);
		return sizeof(out->in6);
	}
	out->in.sin_family = AF_INET;
	out->in.sin_port = htons(port);
	memcpy(&out->in.sin_addr, a->ip, 4);
	return sizeof(out->in);
}

/* Nothing is sent: connect() of a UDP socket only looks up the route. */
static enum cy_err source_for(void *k, const struct cy_addr *dst, struct cy_addr *out_src)
{
	union sockaddr_any sa;
	socklen_t len = to_sockaddr(dst, 500, &sa);
	struct cy_addr src = {.family = dst->family};
	int fd = socket(dst->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	enum cy_err err = CY_E_NOTFOUND;

	(void)k;
	if (fd < 0)
		return CY_E_IO;
	if (connect(fd, &sa.sa, len) == 0 && getsockname(fd, &sa.sa, &len) == 0) {
		if (dst->family == AF_INET6) {
			memcpy(src.ip, &sa.in6.sin6_addr, 16);
			src.scope = IN6_IS_ADDR_LINKLOCAL(&sa.in6.sin6_addr) ? sa.in6.sin6_scope_id : 0;
		} else {
			memcpy(src.ip, &sa.in.sin_addr, 4);
		}
		*out_src = src;
		err = CY_OK;
	}
	close(fd);
	return err;
}

static bool is_local(void *k, const struct cy_addr *addr)
{
	union sockaddr_any sa;
	socklen_t len = to_sockaddr(addr, 0, &sa);
	int fd = socket(addr->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool ok;

	(void)k;
	if (fd < 0)
		return false;
	ok = bind(fd, &sa.sa, len) == 0;
	close(fd);
	return ok;
}

static enum cy_err flush(void *kp)
{
	struct null *k = kp;

	atomic_store(&k->sas, 0);
	atomic_store(&k->policies, 0);
	atomic_store(&k->addrs, 0);
	return CY_OK;
}

static void counters(void *kp, void (*cb)(void *user, const char *name, uint64_t value), void *user)
{
	struct null *k = kp;
	const struct {
		const char *name;
		atomic_uint_least64_t *value;
	} all[] = {{"SAs", &k->sas}, {"policies", &k->policies}, {"addresses", &k->addrs},
	    {"SAs added", &k->sa_adds}, {"SAs deleted", &k->sa_dels}, {"SAs moved", &k->sa_moves},
	    {"SAs queried", &k->sa_queries}, {"policies added", &k->policy_adds},
	    {"policies deleted", &k->policy_dels}, {"addresses set", &k->addr_sets}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		uint64_t v = atomic_load_explicit(all[i].value, memory_order_relaxed);

		if (v)
			cb(user, all[i].name, v);
	}
}

static const struct cy_kernel_ops ops = {
    .size = sizeof(ops),
    .name = "kernel-null",
    .open = null_open,
    .close = null_close,
    .sa_add = sa_add,
    .sa_move = sa_move,
    .sa_del = sa_del,
    .sa_query = sa_query,
    .policy_add = policy_add,
    .policy_del = policy_del,
    .addr_set = addr_set,
    .source_for = source_for,
    .is_local = is_local,
    .flush = flush,
    .counters = counters,
};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct null *k = calloc(1, sizeof(*k));
	enum cy_err err;

	if (!k)
		return CY_E_NOMEM;
	k->host = host;
	k->self = self;
	err = host->provide(self, CY_KIND_KERNEL, &ops, k);
	if (err != CY_OK) {
		free(k);
		return err;
	}
	*out_plugin = k;
	return CY_OK;
}

static void fini(void *plugin)
{
	free(plugin);
}

/* Not "kernel": nobody who needs a data plane may be content with this one. */
static const struct cy_feature features[] = {
    {CY_PROVIDES, "kernel-null"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "kernel-null",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
};
