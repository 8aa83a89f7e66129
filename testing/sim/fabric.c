/* SPDX-License-Identifier: Apache-2.0 */
/* The network: a datagram leaves one node, something may happen to it, and it arrives at the node that owns its address. */
#include <stdlib.h>

#include "daemon/net/net.h"
#include "sim.h"

struct flight {
	struct sim *s;
	struct cy_dgram d;
	uint8_t data[];
};

static struct sim_node *owner(struct sim *s, const struct cy_addr *a)
{
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (cy_addr_ip_eq(&s->nodes[i]->addr, a))
			return s->nodes[i];
	return NULL;
}

static void arrive(void *user)
{
	struct flight *f = user;
	struct sim_node *to = owner(f->s, &f->d.dst);

	f->d.data = f->data;
	if (to && to->d && to->open && !f->s->faults.partition) {
		f->s->stats.delivered++;
		net_inject(to->d->net, NULL, &f->d);
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
	f->d.natt = d->dst.port == 4500;
	if (chance(s, s->faults.reorder))
		delay += s->faults.delay_ns * 4;
	if (d->len && chance(s, s->faults.corrupt)) {
		f->data[sim_prng_below(&s->prng, d->len)] ^= (uint8_t)(1 + sim_prng_below(&s->prng, 255));
		s->stats.corrupted++;
	}
	sim_at(s, s->now + delay, arrive, f);
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
		s->stats.sent++;
		if (chance(s, s->faults.loss)) {
			s->stats.lost++;
			continue;
		}
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
