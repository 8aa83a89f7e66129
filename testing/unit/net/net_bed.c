/* SPDX-License-Identifier: Apache-2.0 */
#include "net_bed.h"

#include <string.h>

#include "daemon/net/shed.h"
#include "unit.h"

static uint64_t now_ns(struct env *e)
{
	return container_of(e, struct bed, env)->now;
}

static int64_t wall(struct env *e)
{
	(void)e;
	return 1800000000;
}

static void rnd(struct env *e, void *out, size_t n)
{
	struct bed *b = container_of(e, struct bed, env);

	for (size_t i = 0; i < n; i++) {
		b->rnd = b->rnd * 6364136223846793005ull + 1442695040888963407ull;
		((uint8_t *)out)[i] = (uint8_t)(b->rnd >> 56);
	}
}

static enum cy_err s_open(void *plugin, const struct cy_socket_config *cfg, void **out, uint32_t *lanes)
{
	(void)cfg;
	*out = plugin;
	*lanes = 1;
	return CY_OK;
}

static void s_close(void *s)
{
	(void)s;
}

static size_t s_fds(void *s, uint32_t lane, int *out, size_t cap)
{
	EXPECT(s != NULL);
	(void)lane;
	(void)out;
	(void)cap;
	return 0;
}

static enum cy_err s_keep(void *s, uint32_t lane, uint32_t keep)
{
	struct bed *b = s;

	EXPECT(b && lane == 0);
	b->asked++;
	b->keep = keep;
	return CY_OK;
}

static const struct cy_socket_ops sops = {.size = sizeof(sops),
    .name = "test",
    .open = s_open,
    .close = s_close,
    .fds = s_fds,
    .keep_first = s_keep};

static void deliver(void *user, struct worker *w, struct net_packet *p)
{
	struct bed *b = user;

	b->delivered++;
	b->worker = worker_index(w);
	b->last_len = p->len;
	if (b->late)
		net_refused(p);
	net_packet_free(p);
}

void bed_init(struct bed *b, uint32_t workers, uint64_t receive_queue)
{
	struct processor_config pc = {.n_workers = workers, .env = &b->env};

	memset(b, 0, sizeof(*b));
	b->now = 1000000000;
	b->keep = SHED_KEEP_ALL;
	b->env = (struct env){.now_ns = now_ns, .wall = wall, .random = rnd, .simulated = true};
	b->d.env = &b->env;
	b->d.tune.max_packet = 10000;
	b->d.tune.receive_queue = receive_queue;
	ck_assert_int_eq(processor_new(&pc, &b->d.processor), CY_OK);
	ck_assert_int_eq(net_new(&b->d, &sops, b, deliver, b, &b->net), CY_OK);
}

void bed_fini(struct bed *b)
{
	net_free(b->net);
	processor_free(b->d.processor);
}
