/* SPDX-License-Identifier: Apache-2.0 */
/* A node's data plane in memory: SAs with their keys, policies, and packets that must find their way. */
#include <stdlib.h>

#include "daemon/kernel/knl.h"
#include "sim.h"

static struct sim_ksa *find(struct sim_kernel *k, uint32_t spi, const struct cy_addr *dst)
{
	struct list *l;

	list_foreach (l, &k->sas) {
		struct sim_ksa *x = list_entry(l, struct sim_ksa, node);

		if (x->sa.spi == spi && cy_addr_ip_eq(&x->sa.dst, dst))
			return x;
	}
	return NULL;
}

static enum cy_err k_open(void *plugin, const struct cy_kernel_events *ev, uint32_t *out_features, void **out)
{
	struct sim_kernel *k = plugin;

	k->ev = ev;
	k->frozen = false;
	*out_features = CY_KERNEL_ESP_RAW | CY_KERNEL_ESP_UDP | CY_KERNEL_TRANSPORT | CY_KERNEL_ESN |
	    CY_KERNEL_IPV6 | CY_KERNEL_POLICY | CY_KERNEL_ACQUIRE | CY_KERNEL_EXPIRE | CY_KERNEL_IF_ID |
	    CY_KERNEL_MARK | CY_KERNEL_PCPU | CY_KERNEL_DEVICES;
	k->cpu = k->last_cpu = -1;
	*out = k;
	return CY_OK;
}

static void k_close(void *k)
{
	((struct sim_kernel *)k)->ev = NULL;
}

static enum cy_err k_sa_add(void *kv, const struct cy_kernel_sa *sa)
{
	struct sim_kernel *k = kv;
	struct sim_ksa *x;

	if (k->fail_adds) {
		k->fail_adds--;
		return k->fail_with ? k->fail_with : CY_E_NOMEM;
	}
	if (find(k, sa->spi, &sa->dst))
		return CY_E_EXISTS;
	x = calloc(1, sizeof(*x));
	if (!x)
		return CY_E_NOMEM;
	x->sa = *sa;
	memcpy(x->encr_key, sa->encr_key.p, sa->encr_key.n);
	if (sa->integ_key.n)
		memcpy(x->integ_key, sa->integ_key.p, sa->integ_key.n);
	x->sa.encr_key.p = x->encr_key;
	x->sa.integ_key.p = x->integ_key;
	x->installed_seq = ++k->next_seq;
	list_push(&k->sas, &x->node);
	if (sa->dir == CY_DIR_OUT)
		sim_saw_key(k->n->sim, &x->sa);
	return CY_OK;
}

static enum cy_err k_sa_move(void *kv, const struct cy_kernel_sa_id *id, const struct cy_addr *src,
    const struct cy_addr *dst, bool encap)
{
	struct sim_ksa *x = find(kv, id->spi, &id->dst);

	if (!x)
		return CY_E_NOTFOUND;
	x->sa.src = *src;
	x->sa.dst = *dst;
	x->sa.encap = encap;
	return CY_OK;
}

static enum cy_err k_sa_del(void *kv, const struct cy_kernel_sa_id *id)
{
	struct sim_ksa *x = find(kv, id->spi, &id->dst);

	if (((struct sim_kernel *)kv)->frozen)
		return CY_OK;
	if (!x)
		return CY_E_NOTFOUND;
	list_del(&x->node);
	free(x);
	return CY_OK;
}

static enum cy_err k_sa_query(void *kv, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct sim_ksa *x = find(kv, id->spi, &id->dst);

	if (!x)
		return CY_E_NOTFOUND;
	*out = (struct cy_kernel_sa_stats){.bytes = x->bytes, .packets = x->packets, .seq = x->seq};
	return CY_OK;
}

static enum cy_err k_sa_dump(void *kv,
    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
    void *user)
{
	struct sim_kernel *k = kv;
	struct list *l;

	k->dumps++;
	list_foreach (l, &k->sas) {
		const struct sim_ksa *x = list_entry(l, struct sim_ksa, node);
		struct cy_kernel_sa_id id = {.spi = x->sa.spi,
		    .src = x->sa.src,
		    .dst = x->sa.dst,
		    .proto = x->sa.proto,
		    .dir = x->sa.dir,
		    .mark = x->sa.mark,
		    .if_id = x->sa.if_id};
		struct cy_kernel_sa_stats st = {.bytes = x->bytes, .packets = x->packets, .seq = x->seq};

		cb(user, &id, &st);
	}
	return CY_OK;
}

static struct sim_kpol *find_policy(struct sim_kernel *k, const struct cy_kernel_policy *p)
{
	struct list *l;

	list_foreach (l, &k->policies) {
		struct sim_kpol *x = list_entry(l, struct sim_kpol, node);

		if (x->p.dir == p->dir && ts_eq(&x->p.src, &p->src) && ts_eq(&x->p.dst, &p->dst) &&
		    x->p.mark.value == p->mark.value && x->p.if_id == p->if_id)
			return x;
	}
	return NULL;
}

static enum cy_err k_policy_add(void *kv, const struct cy_kernel_policy *p)
{
	struct sim_kernel *k = kv;
	struct sim_kpol *x = find_policy(k, p);

	if (k->fail_policies) {
		k->fail_policies--;
		return k->fail_with ? k->fail_with : CY_E_NOMEM;
	}
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return CY_E_NOMEM;
		list_push(&k->policies, &x->node);
	}
	x->p = *p;
	return CY_OK;
}

static enum cy_err k_policy_del(void *kv, const struct cy_kernel_policy *p)
{
	struct sim_kpol *x = find_policy(kv, p);

	if (((struct sim_kernel *)kv)->frozen)
		return CY_OK;
	if (!x)
		return CY_E_NOTFOUND;
	list_del(&x->node);
	free(x);
	return CY_OK;
}

static enum cy_err k_addr_set(void *kv, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	struct sim_kernel *k = kv;
	uint32_t i = 0;

	(void)prefix;
	if (k->frozen)
		return CY_OK;
	while (i < k->n_addrs && !cy_addr_ip_eq(&k->addrs[i], addr))
		i++;
	if (i == SIM_ADDRS_MAX)
		return CY_E_LIMIT;
	if (on) {
		k->addrs[i] = *addr;
		k->n_addrs += i == k->n_addrs;
	} else if (i < k->n_addrs) {
		k->addrs[i] = k->addrs[--k->n_addrs];
	}
	return CY_OK;
}

static enum cy_err k_source_for(void *kv, const struct cy_addr *dst, struct cy_addr *out)
{
	struct sim_kernel *k = kv;

	if (k->n->addr.family != dst->family)
		return CY_E_NOTFOUND;
	*out = k->n->addr;
	return CY_OK;
}

static bool k_is_local(void *kv, const struct cy_addr *a)
{
	return cy_addr_ip_eq(&((struct sim_kernel *)kv)->n->addr, a);
}

void sim_kernel_clear(struct sim_kernel *k)
{
	struct list *l;

	while ((l = list_pop(&k->sas)))
		free(list_entry(l, struct sim_ksa, node));
	while ((l = list_pop(&k->policies)))
		free(list_entry(l, struct sim_kpol, node));
	while ((l = list_pop(&k->devices)))
		free(list_entry(l, struct sim_kdev, node));
	k->n_addrs = 0;
}

static enum cy_err k_flush(void *k)
{
	if (!((struct sim_kernel *)k)->frozen)
		sim_kernel_clear(k);
	return CY_OK;
}

const struct cy_kernel_ops sim_kernel_ops = {
    .size = sizeof(sim_kernel_ops),
    .name = "sim",
    .open = k_open,
    .close = k_close,
    .sa_add = k_sa_add,
    .sa_move = k_sa_move,
    .sa_del = k_sa_del,
    .sa_query = k_sa_query,
    .policy_add = k_policy_add,
    .policy_del = k_policy_del,
    .addr_set = k_addr_set,
    .source_for = k_source_for,
    .is_local = k_is_local,
    .flush = k_flush,
    .sa_dump = k_sa_dump,
    .device_add = sim_device_add,
    .device_del = sim_device_del,
    .device_addr = sim_device_addr,
    .device_route = sim_device_route,
};

void sim_kernel_expire(struct sim_node *n, bool hard)
{
	const struct cy_kernel_events *ev = n->kernel.ev;
	struct list *l;

	sim_memory_enter(n);
	list_foreach (l, &n->kernel.sas) { /* what follows is done by the workers, later */
		struct cy_kernel_sa_id id = knl_sa_id(&list_entry(l, struct sim_ksa, node)->sa);

		if (id.dir == CY_DIR_IN)
			ev->expire(ev->user, &id, hard);
	}
	sim_memory_leave();
}

void sim_network_changed(struct sim_node *n)
{
	sim_memory_enter(n);
	n->kernel.ev->network_changed(n->kernel.ev->user);
	sim_memory_leave();
}

/* --- traffic --------------------------------------------------------------------------------------------------------- */

static const struct sim_kpol *best_policy(
    const struct sim_kernel *k, enum cy_dir dir, const struct cy_addr *src, const struct cy_addr *dst)
{
	const struct sim_kpol *best = NULL;
	struct list *l;

	list_foreach (l, &k->policies) {
		const struct sim_kpol *x = list_entry(l, struct sim_kpol, node);

		if (x->p.dir == dir && ts_has_addr(&x->p.src, src) && ts_has_addr(&x->p.dst, dst) &&
		    (!best || x->p.priority < best->p.priority))
			best = x;
	}
	return best;
}

/* As the kernel does: of the SAs that fit the template the CPU's own, else the one of none that was installed last. */
static struct sim_ksa *out_sa(struct sim_kernel *k, const struct cy_kernel_policy *p)
{
	struct sim_ksa *best = NULL;
	struct list *l;

	list_foreach (l, &k->sas) {
		struct sim_ksa *x = list_entry(l, struct sim_ksa, node);

		if (x->sa.dir == CY_DIR_OUT && x->sa.reqid == p->reqid &&
		    cy_addr_ip_eq(&x->sa.dst, &p->tmpl_dst) && (x->sa.cpu < 0 || x->sa.cpu == k->cpu) &&
		    (!best || x->sa.cpu > best->sa.cpu ||
		        (x->sa.cpu == best->sa.cpu && x->installed_seq > best->installed_seq)))
			best = x;
	}
	return best;
}

static struct sim_ksa *find_in(struct sim_kernel *k, uint32_t spi)
{
	struct list *l;

	list_foreach (l, &k->sas) {
		struct sim_ksa *x = list_entry(l, struct sim_ksa, node);

		if (x->sa.spi == spi && x->sa.dir == CY_DIR_IN)
			return x;
	}
	return NULL;
}

/* The kernel had no room for the event, and says so. */
static bool event_lost(struct sim_kernel *k)
{
	if (!k->lose_events || sim_prng_below(&k->n->sim->prng, 1000) >= k->lose_events)
		return false;
	if (k->ev && k->ev->overrun) {
		sim_memory_enter(k->n);
		k->ev->overrun(k->ev->user);
		sim_memory_leave();
	}
	return true;
}

static void tell_acquire(struct sim_kernel *k, const struct sim_kpol *out, const struct cy_addr *src,
    const struct cy_addr *dst, int32_t cpu)
{
	struct cy_ts ts = ts_host(src), td = ts_host(dst);

	k->acquires++;
	if (event_lost(k) || !k->ev)
		return;
	sim_memory_enter(k->n);
	k->ev->acquire(k->ev->user, out->p.reqid, out->p.cookie, &ts, &td, cpu);
	sim_memory_leave();
}

static void tell_mapping(struct sim_kernel *k, const struct sim_ksa *in, const struct cy_addr *seen)
{
	struct cy_kernel_sa_id id = {
	    .spi = in->sa.spi, .src = in->sa.src, .dst = in->sa.dst, .proto = in->sa.proto, .dir = CY_DIR_IN};

	if (event_lost(k) || !k->ev)
		return;
	sim_memory_enter(k->n);
	k->ev->mapping(k->ev->user, &id, seen);
	sim_memory_leave();
}

bool sim_ping(struct sim_node *from, struct sim_node *to, const char *src, const char *dst)
{
	struct cy_addr s, d;
	const struct sim_kpol *out, *in;
	struct sim_ksa *o, *i;
	struct cy_addr seen;
	uint16_t port;

	if (addr_parse(src, &s) || addr_parse(dst, &d))
		return false;
	out = best_policy(&from->kernel, CY_DIR_OUT, &s, &d);
	if (!out)
		return false;
	o = out_sa(&from->kernel, &out->p);
	if (!o) {
		tell_acquire(&from->kernel, out, &s, &d, -1);
		return false;
	}
	/* the packet leaves through the SA of none */
	if (o->sa.cpu < 0 && from->kernel.cpu >= 0 && out->p.cpu_acquire)
		tell_acquire(&from->kernel, out, &s, &d, from->kernel.cpu);
	from->kernel.last_cpu = o->sa.cpu;
	o->seq++;
	o->packets++;
	o->bytes += 84;
	if (sim_inside(from->sim, &o->sa.dst, &port) != to)
		return false;
	i = find_in(&to->kernel, o->sa.spi);
	if (!i || o->seq <= i->replay_top || !cy_slice_eq(i->sa.encr_key, o->sa.encr_key) ||
	    !cy_slice_eq(i->sa.integ_key, o->sa.integ_key))
		return false;
	seen = sim_outside(from, o->sa.encap ? o->sa.src.port : 0);
	if (i->sa.encap && !cy_addr_eq(&seen, &i->sa.src))
		tell_mapping(&to->kernel, i, &seen);
	in = best_policy(&to->kernel, CY_DIR_IN, &s, &d);
	if (!in || in->p.reqid != i->sa.reqid)
		return false;
	i->replay_top = i->seq = o->seq;
	i->packets++;
	i->bytes += 84;
	return true;
}
