/* SPDX-License-Identifier: Apache-2.0 */
/* The network: a datagram leaves one node, something may happen to it, and it arrives at the node that owns its address. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/net/net.h"
#include "sim.h"

struct flight {
	struct sim *s;
	struct cy_dgram d;
	uint8_t data[];
};

/* --- who is where -------------------------------------------------------------------------------------------- */

struct sim_nat *sim_nat_add(struct sim *s, const char *name, const char *addr)
{
	struct sim_nat *nat = &s->nats[s->n_nats];

	if (s->n_nats == SIM_NATS_MAX || addr_parse(addr, &nat->addr))
		return NULL;
	s->n_nats++;
	snprintf(nat->name, sizeof(nat->name), "%s", name);
	nat->next_port = 20000;
	return nat;
}

void sim_nat_rebind(struct sim_nat *nat)
{
	nat->n = 0; /* ports are never given again */
}

struct cy_addr sim_outside(struct sim_node *n, uint16_t port)
{
	struct cy_addr a = n->addr;
	struct sim_nat *nat = n->nat;

	a.port = port;
	if (!nat)
		return a;
	a = nat->addr;
	for (uint32_t i = 0; i < nat->n; i++)
		if (nat->map[i].node == n && nat->map[i].inner == port) {
			a.port = nat->map[i].outer;
			return a;
		}
	if (nat->n == nat->cap) {
		nat->cap = nat->cap ? 2 * nat->cap : 16;
		nat->map = realloc(nat->map, nat->cap * sizeof(*nat->map));
		if (!nat->map)
			abort();
	}
	a.port = nat->next_port++;
	nat->map[nat->n++] = (struct sim_mapping){n, port, a.port};
	return a;
}

struct sim_node *sim_inside(struct sim *s, const struct cy_addr *dst, uint16_t *out_port)
{
	for (uint32_t i = 0; i < s->n_nats; i++) {
		struct sim_nat *nat = &s->nats[i];

		if (!cy_addr_ip_eq(&nat->addr, dst))
			continue;
		for (uint32_t j = 0; j < nat->n; j++)
			if (nat->map[j].outer == dst->port) {
				*out_port = nat->map[j].inner;
				return nat->map[j].node;
			}
		return NULL;
	}
	*out_port = dst->port;
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (!s->nodes[i]->nat && cy_addr_ip_eq(&s->nodes[i]->addr, dst))
			return s->nodes[i];
	return NULL;
}

/* --- a datagram's way ------------------------------------------------------------------------------------------- */

static void arrive(void *user)
{
	struct flight *f = user;
	uint16_t port = 0;
	struct sim_node *to = sim_inside(f->s, &f->d.dst, &port);

	f->d.data = f->data;
	if (to && to->d && to->open && !f->s->faults.partition) {
		f->s->stats.delivered++;
		f->d.dst = to->addr;
		f->d.dst.port = port;
		f->d.natt = port == 4500;
		sim_memory_enter(to);
		net_inject(to->d->net, NULL, &f->d);
		sim_memory_leave();
	} else {
		f->s->stats.unroutable++;
	}
	free(f);
}

static bool chance(struct sim *s, uint32_t thousandths)
{
	return thousandths && sim_prng_below(&s->prng, 1000) < thousandths;
}

static void launch(struct sim *s, const struct cy_dgram *d)
{
	struct flight *f = malloc(sizeof(*f) + d->len);
	uint64_t delay = s->faults.delay_ns + sim_prng_below(&s->prng, s->faults.jitter_ns + 1);

	if (!f)
		return;
	f->s = s;
	f->d = *d;
	memcpy(f->data, d->data, d->len);
	if (chance(s, s->faults.reorder))
		delay += s->faults.delay_ns * 4;
	if (d->len && chance(s, s->faults.corrupt)) {
		f->data[sim_prng_below(&s->prng, d->len)] ^= (uint8_t)(1 + sim_prng_below(&s->prng, 255));
		s->stats.corrupted++;
	}
	sim_at(s, s->now + delay, arrive, f);
}

/* The IKE header's exchange type and R flag, behind the non-ESP marker on the NAT-T port. */
static bool is_dropped(struct sim_node *n, const struct cy_dgram *d)
{
	const uint8_t *p = d->data;
	size_t at = d->src.port == 4500 ? 4 : 0;

	if (d->len < at + 28)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(n->drop); i++)
		if (n->drop[i].n && p[at + 18] == n->drop[i].exchange &&
		    !!(p[at + 19] & 0x20) == n->drop[i].response) {
			n->drop[i].n--;
			return true;
		}
	return false;
}

/* The first payload is an encrypted fragment, SKF (RFC 7383, 2.5), or one of the vendors of IKEv1, which is of type 132. */
static bool is_fragment(const struct cy_dgram *d)
{
	size_t at = d->src.port == 4500 ? 4 : 0;

	uint8_t first = d->len > at + 16 ? ((const uint8_t *)d->data)[at + 16] : 0;

	return first == 53 || first == 132;
}

static enum cy_err f_open(void *plugin, const struct cy_socket_config *cfg, void **out, uint32_t *out_lanes)
{
	struct sim_node *n = plugin;

	n->sock = *cfg;
	n->open = true;
	*out = n;
	*out_lanes = 1;
	return CY_OK;
}

static void f_close(void *s)
{
	((struct sim_node *)s)->open = false;
}

static size_t f_fds(void *s, uint32_t lane, int *out, size_t cap)
{
	(void)s;
	(void)lane;
	(void)out;
	(void)cap;
	return 0;
}

static size_t f_recv(void *s, uint32_t lane, int fd, struct cy_dgram *out, size_t max)
{
	(void)s;
	(void)lane;
	(void)fd;
	(void)out;
	(void)max;
	return 0;
}

static size_t f_send(void *sock, uint32_t lane, const struct cy_dgram *d, size_t n)
{
	struct sim_node *from = sock;
	struct sim *s = from->sim;

	(void)lane;
	for (size_t i = 0; i < n; i++) {
		struct cy_dgram x = d[i];

		if (!x.src.family || addr_is_any(&x.src)) {
			uint16_t port = x.src.port;

			x.src = from->addr;
			x.src.port = port;
		}
		if (!from->open)
			continue;
		s->stats.sent++;
		if (s->hear && !s->heard && (s->heard = malloc(x.len))) {
			memcpy(s->heard, x.data, x.len);
			s->n_heard = x.len;
		}
		sim_saw_message(s, from, &x);
		from->n_fragments += is_fragment(&x);
		if (is_dropped(from, &x) || chance(s, s->faults.loss) ||
		    (is_fragment(&x) && chance(s, s->faults.fragment_loss))) {
			s->stats.lost++;
			continue;
		}
		x.src = sim_outside(from, x.src.port);
		launch(s, &x);
		if (chance(s, s->faults.duplicate)) {
			s->stats.duplicated++;
			launch(s, &x);
		}
	}
	return n;
}

const struct cy_socket_ops sim_socket_ops = {
    .size = sizeof(sim_socket_ops),
    .name = "sim",
    .open = f_open,
    .close = f_close,
    .fds = f_fds,
    .recv = f_recv,
    .send = f_send,
};
