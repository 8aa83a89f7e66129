/* SPDX-License-Identifier: Apache-2.0 */

#include "rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"

static void on_expire(void *user, const struct cy_kernel_sa_id *id, bool hard)
{
	struct rig *r = user;

	*(hard ? &r->n_hard : &r->n_soft) += 1;
	r->last_id = *id;
}

static void on_mapping(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *src)
{
	struct rig *r = user;

	r->n_mapping++;
	r->last_id = *id;
	r->mapped = *src;
}

bool rig_init(struct rig *r, const char *plugin_dir)
{
	memset(r, 0, sizeof(*r));
	fake_host_init(&r->fake);
	r->fake.random_seed = 1;
	if (plugin_dir && !fake_host_load(&r->fake, plugin_dir, "openssl"))
		return false;
	r->plugin.host = r->k.host = &r->fake.host;
	r->plugin.self = r->k.self = &r->fake;
	r->k.plugin = &r->plugin;
	r->k.ev = (struct cy_kernel_events){
	    .size = sizeof(r->k.ev), .user = r, .expire = on_expire, .mapping = on_mapping};
	r->k.cfg.mtu = 1400;
	r->k.cfg.outer_mtu = 1500;
	r->k.hash_key = 0x0123456789abcdef;
	r->k.n_queues = 1;
	r->k.n_active = 1;
	pthread_mutex_init(&r->k.lock, NULL);
	rcu_init(&r->k.rcu);
	esp_init(&r->esp, &r->k, 0, &r->counters);
	r->esp.now = r->fake.host.now_ns(&r->fake);
	r->esp.wall = 1700000000;
	return sad_new(&r->k, &r->k.sad) == CY_OK && spd_new(&r->k, &r->k.spd) == CY_OK &&
	    lifetimes_new(&r->k, &r->k.lifetimes) == CY_OK;
}

void rig_fini(struct rig *r)
{
	spd_free(r->k.spd);
	sad_free(r->k.sad);
	lifetimes_free(r->k.lifetimes);
	rcu_fini(&r->k.rcu);
	pthread_mutex_destroy(&r->k.lock);
	esp_fini(&r->esp);
	fake_host_fini(&r->fake);
}

uint64_t rig_count(const struct rig *r, enum counter id)
{
	return atomic_load(&((struct rig *)r)->counters.v[id]);
}

uint64_t rig_total(const struct rig *r)
{
	uint64_t n = 0;

	for (int i = 0; i < CNT_MAX; i++)
		n += rig_count(r, (enum counter)i);
	return n;
}

struct cy_addr rig_addr(const char *text, uint16_t port)
{
	struct cy_addr a = {0};

	if (addr_parse(text, &a) != CY_OK)
		abort();
	a.port = port;
	return a;
}

struct cy_ts rig_ts(const char *text)
{
	struct cy_ts ts = {0};

	if (ts_parse(text, &ts) != CY_OK)
		abort();
	return ts;
}

void rig_sa_init(struct rig_sa *s, uint8_t dir, uint32_t spi, uint16_t encr, size_t key_len, uint16_t integ,
    size_t integ_len)
{
	memset(s, 0, sizeof(*s));
	memset(s->key, (int)(spi & 0xff), sizeof(s->key));
	memset(s->integ_key, (int)(~spi & 0xff), sizeof(s->integ_key));
	s->in = (struct cy_kernel_sa){
	    .size = sizeof(s->in),
	    .spi = spi,
	    .src = rig_addr("192.0.2.1", 4500),
	    .dst = rig_addr("192.0.2.2", 4500),
	    .proto = CY_PROTO_ESP,
	    .mode = CY_MODE_TUNNEL,
	    .dir = dir,
	    .encap = 1,
	    .reqid = 1,
	    .encr = encr,
	    .integ = integ,
	    .encr_key = cy_slice(s->key, key_len),
	    .integ_key = cy_slice(s->integ_key, integ_len),
	    .replay_window = 64,
	    .cpu = -1,
	};
}

struct sa *rig_sa_add(struct rig *r, struct rig_sa *s)
{
	struct sa *sa = NULL;
	enum cy_err err = sad_add(r->k.sad, &s->in, &sa);

	if (err != CY_OK) {
		fprintf(stderr, "encr %u integ %u: error %d\n", s->in.encr, s->in.integ, (int)err);
		abort();
	}
	return sa;
}

size_t rig_packet(uint8_t *p, size_t len, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
	struct cy_addr a = rig_addr(src, 0), b = rig_addr(dst, 0);
	size_t header = a.family == AF_INET6 ? IP6_HEADER : IP4_HEADER;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(i * 7);
	memset(p, 0, header + 8);
	if (a.family == AF_INET6) {
		p[0] = 0x60;
		put_be16(p + 4, (uint16_t)(len - header));
		p[6] = IPPROTO_UDP;
		p[7] = 64;
		memcpy(p + 8, a.ip, 16);
		memcpy(p + 24, b.ip, 16);
	} else {
		p[0] = 0x45;
		put_be16(p + 2, (uint16_t)len);
		p[8] = 64;
		p[9] = IPPROTO_UDP;
		memcpy(p + 12, a.ip, 4);
		memcpy(p + 16, b.ip, 4);
		put_be16(p + 10, packet_sum_fold(packet_sum(p, header, 0)));
	}
	put_be16(p + header, sport);
	put_be16(p + header + 2, dport);
	put_be16(p + header + 4, (uint16_t)(len - header));
	return len;
}
