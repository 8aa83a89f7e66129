/* SPDX-License-Identifier: Apache-2.0 */
/* What must hold after every step, whatever the network and the peers did. */
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "sim.h"

static struct sim_ksa *in_kernel(struct sim_kernel *k, uint32_t spi, enum cy_dir dir)
{
	struct list *l;

	list_foreach (l, &k->sas) {
		struct sim_ksa *x = list_entry(l, struct sim_ksa, node);

		if (x->sa.spi == spi && x->sa.dir == dir)
			return x;
	}
	return NULL;
}

/* Both ends of an SPI hold the same keys. */
static void check_keys(struct sim *s)
{
	struct list *l, *m;

	for (uint32_t a = 0; a < s->n_nodes; a++)
		list_foreach (l, &s->nodes[a]->kernel.sas) {
			struct sim_ksa *out = list_entry(l, struct sim_ksa, node);

			if (out->sa.dir != CY_DIR_OUT)
				continue;
			for (uint32_t b = 0; b < s->n_nodes; b++)
				list_foreach (m, &s->nodes[b]->kernel.sas) {
					struct sim_ksa *in = list_entry(m, struct sim_ksa, node);

					if (in->sa.dir != CY_DIR_IN || in->sa.spi != out->sa.spi ||
					    !cy_addr_ip_eq(&in->sa.dst, &out->sa.dst))
						continue;
					if (!cy_slice_eq(in->sa.encr_key, out->sa.encr_key) ||
					    !cy_slice_eq(in->sa.integ_key, out->sa.integ_key) ||
					    in->sa.encr != out->sa.encr)
						sim_fail(s, "SPI %08x: %s and %s hold different keys",
						    in->sa.spi, s->nodes[a]->name, s->nodes[b]->name);
				}
		}
}

/* No kernel entry without a CHILD_SA, and no CHILD_SA that believes in an entry that is not there. */
static void check_kernel(struct sim *s, struct sim_node *n)
{
	struct sa_manager *m = n->d->sas;
	size_t claimed = 0, there = 0;
	struct list *l;

	list_foreach (l, &n->kernel.sas)
		there++;
	for (uint32_t i = 0; i < m->n; i++) {
		struct hnode *h, *tmp;
		size_t b;

		hmap_foreach (&m->shards[i].child_in, b, h, tmp) {
			struct child_sa *c = container_of(h, struct child_sa, by_spi_in);

			if (c->in_installed) {
				claimed++;
				if (!in_kernel(&n->kernel, c->spi_in, CY_DIR_IN))
					sim_fail(s,
					    "%s: CHILD_SA {%llu} believes its inbound SA %08x to be "
					    "installed",
					    n->name, (unsigned long long)c->id, c->spi_in);
			}
			if (c->out_installed) {
				claimed++;
				if (!in_kernel(&n->kernel, c->spi_out, CY_DIR_OUT))
					sim_fail(s,
					    "%s: CHILD_SA {%llu} believes its outbound SA %08x to be "
					    "installed",
					    n->name, (unsigned long long)c->id, c->spi_out);
			}
		}
	}
	if (there != claimed)
		sim_fail(
		    s, "%s: %zu SAs in the data plane, %zu belong to CHILD_SAs", n->name, there, claimed);
}

bool sim_check(struct sim *s)
{
	check_keys(s);
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d)
			check_kernel(s, s->nodes[i]);
	return s->failure[0] == '\0';
}
