/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: several daemon instances in one process under one virtual clock, a network and data planes made of
 * memory, everything drawn from one seed. One thread.
 */
#ifndef TESTING_SIM_SIM_H
#define TESTING_SIM_SIM_H

#include "daemon/core/daemon.h"
#include "daemon/run.h"
#include "libcore/base/addr.h"
#include "libcore/base/list.h"

#define SIM_NODES_MAX 64

struct sim;
struct sim_node;

struct sim_prng {
	uint64_t s[4];
};
void sim_prng_seed(struct sim_prng *p, uint64_t seed);
uint64_t sim_prng_next(struct sim_prng *p);
uint64_t sim_prng_below(struct sim_prng *p, uint64_t n);
void sim_prng_fill(struct sim_prng *p, void *out, size_t n);

struct sim_env {
	struct env e; /* first */
	struct sim *sim;
	struct sim_prng prng;
};

/* What the network does to a datagram; probabilities in thousandths. */
struct sim_faults {
	uint32_t loss, duplicate, reorder, corrupt;
	uint64_t delay_ns, jitter_ns;
	bool partition;
};

struct sim_stats {
	uint64_t sent, delivered, lost, duplicated, corrupted, unroutable;
};

/* One SA in a node's data plane. */
struct sim_ksa {
	struct list node;
	struct cy_kernel_sa sa; /* keys below */
	uint8_t encr_key[CY_MAX_CIPHER_KEY], integ_key[CY_MAX_MAC_LEN];
	uint64_t seq, bytes, packets, installed_seq;
	uint64_t replay_top;
};

struct sim_kpol {
	struct list node;
	struct cy_kernel_policy p;
};

struct sim_kernel {
	struct sim_node *n;
	const struct cy_kernel_events *ev;
	struct list sas, policies;
	uint64_t next_seq, acquires;
	uint32_t fail_adds; /* the next so many sa_add fail */
};

struct sim_node {
	struct sim *sim;
	char name[32];
	uint32_t index;
	struct sim_env env;
	struct daemon *d; /* NULL: down */
	struct sim_kernel kernel;
	struct cy_addr addr; /* of its one interface */
	char *conf_text, *secrets_text;
	uint32_t workers;
	bool open;
	struct cy_socket_config sock;
	struct {
		uint64_t established, failed;
	} seen;
};

struct sim {
	uint64_t now, seq;
	struct sim_prng prng;
	struct sim_faults faults;
	struct sim_stats stats;
	struct sim_node *nodes[SIM_NODES_MAX];
	uint32_t n_nodes;
	struct sim_event **heap;
	size_t n_heap, cap_heap;
	bool verbose;
	char failure[512];
	char settings_path[256];
	const char *plugindir;
};

/* --- sim.c --- */
void sim_init(struct sim *s, uint64_t seed);
void sim_fini(struct sim *s);
struct sim_node *sim_add(
    struct sim *s, const char *name, const char *addr, const char *conf, const char *secrets);
bool sim_boot(struct sim_node *n); /* false: s->failure says why */
void sim_halt(struct sim_node *n); /* orderly: deletes are sent as far as virtual time allows */
void sim_kill(struct sim_node *n); /* its data plane keeps what it has */
/* Run until virtual time has passed, or until done(user). False: an oracle failed. */
bool sim_run(struct sim *s, uint64_t for_ns, bool (*done)(void *user), void *user);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Call fn(user) at a virtual time. */
void sim_at(struct sim *s, uint64_t ns, void (*fn)(void *user), void *user);

/* --- fabric.c --- */
extern const struct cy_socket_ops sim_socket_ops;
void sim_deliver(struct sim *s, struct sim_node *to, const struct cy_dgram *d);

/* --- data.c: the data plane --- */
extern const struct cy_kernel_ops sim_kernel_ops;
void sim_kernel_clear(struct sim_kernel *k);
/* Send one packet between inner addresses; true when it arrived decrypted at `to`. Acquires are raised. */
bool sim_ping(struct sim_node *from, struct sim_node *to, const char *src, const char *dst);

/* --- oracle.c --- */
bool sim_check(struct sim *s);

#endif
