/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The databases of kernel-tun and two ESP working states, without device, threads or sockets: what the unit tests and the
 * fuzz target drive. One thread.
 */
#ifndef TESTING_ESP_RIG_H
#define TESTING_ESP_RIG_H

#include "esp.h"
#include "fake_host.h"
#include "lifetime.h"
#include "spd.h"

#define RIG_BUF 4096

struct rig {
	struct fake_host fake;
	struct plugin plugin;
	struct kernel k;
	struct counters counters;
	struct esp esp;
	/* events, counted; and the last of each */
	unsigned n_soft, n_hard, n_mapping;
	struct cy_kernel_sa_id last_id;
	struct cy_addr mapped;
};

/* with_crypto: load the openssl plugin from dir. false: it is not there. */
bool rig_init(struct rig *r, const char *plugin_dir);
void rig_fini(struct rig *r);

uint64_t rig_count(const struct rig *r, enum counter id);
/* Sum of all counters: to see that nothing else was counted. */
uint64_t rig_total(const struct rig *r);

/* An SA from 192.0.2.1 to 192.0.2.2 with a key made of its SPI; more can be changed before it is added. */
struct rig_sa {
	struct cy_kernel_sa in;
	uint8_t key[CY_MAX_CIPHER_KEY], integ_key[CY_MAX_MAC_LEN];
	struct cy_ts local, remote;
};
void rig_sa_init(struct rig_sa *s, uint8_t dir, uint32_t spi, uint16_t encr, size_t key_len, uint16_t integ,
    size_t integ_len);
struct sa *rig_sa_add(struct rig *r, struct rig_sa *s); /* aborts when refused */

struct cy_addr rig_addr(const char *text, uint16_t port);
struct cy_ts rig_ts(const char *text);

/* A UDP packet of len bytes in all, from src to dst; returns len. */
size_t rig_packet(uint8_t *p, size_t len, const char *src, uint16_t sport, const char *dst, uint16_t dport);

#endif
