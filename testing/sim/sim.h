/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator: several daemon instances in one process under one virtual clock, a network and data planes made of
 * memory, everything drawn from one seed. One thread.
 */
#ifndef TESTING_SIM_SIM_H
#define TESTING_SIM_SIM_H

#include <stdlib.h>

#include "daemon/core/daemon.h"
#include "daemon/run.h"
#include "libcore/base/addr.h"
#include "libcore/base/list.h"

#define SIM_NODES_MAX 640
#define SIM_NATS_MAX  4
#define SIM_ADDRS_MAX 64

struct quick_ke;
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
	uint64_t ahead_ns; /* of the others: its daemon ends, and waits for scripts */
};

/* Which allocations of a node are refused. */
struct sim_starving {
	uint64_t asked, refused, fail_at; /* fail_at: from the one with this number on, 0 none */
	uint32_t in_a_row;                /* so many */
	uint32_t thousandths;
	size_t from, to; /* all of this size, to 0 none */
	struct sim_prng prng;
};

/* What the network does to a datagram; probabilities in thousandths. */
struct sim_faults {
	uint32_t loss, duplicate, reorder, corrupt;
	uint32_t fragment_loss; /* of fragments of messages only */
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

struct sim_nat {
	char name[32];
	struct cy_addr addr;
	uint16_t next_port;
	uint32_t n, cap;
	struct sim_mapping {
		struct sim_node *node;
		uint16_t inner, outer;
	} * map;
};

struct sim_kpol {
	struct list node;
	struct cy_kernel_policy p;
};

struct sim_kdev {
	struct list node;
	struct cy_kernel_device d;
	int32_t addrs, routes;
};

struct sim_kernel {
	struct sim_node *n;
	const struct cy_kernel_events *ev;
	struct list sas, policies, devices;
	struct cy_addr addrs[SIM_ADDRS_MAX]; /* virtual ones */
	uint32_t n_addrs;
	uint64_t next_seq, acquires, dumps;
	int32_t cpu, last_cpu; /* that sends now; whose SA the last packet went through, -1 nobody's */
	uint32_t fail_adds, fail_policies, fail_devices; /* the next so many fail, */
	enum cy_err fail_with;                           /* so; 0: no memory */
	uint32_t lose_events; /* thousandths of acquires and new mappings get lost */
	bool frozen;          /* the daemon was killed: nobody removes anything */
};

#define SIM_EVENT_KINDS 16

struct sim_node {
	struct sim *sim;
	char name[32];
	uint32_t index;
	struct sim_env env;
	struct daemon *d; /* NULL: down */
	struct sim_kernel kernel;
	struct cy_addr addr; /* of its one interface */
	char *conf_text, *secrets_text, *settings_text, *devices_text;
	uint32_t workers;
	uint32_t fragments; /* fragment_size, smaller than the setting may be; 0: the setting */
	bool open;
	struct cy_socket_config sock;
	struct sim_nat *nat; /* NULL: directly on the network */
	struct {
		uint8_t exchange;
		bool response;
		uint32_t n;
	} drop[2]; /* the next n datagrams it sends of that kind are lost */
	struct bus_listener *listener;
	bool events_wait, listener_stalls;
	uint32_t boots;
	int64_t wall_off;             /* its clock is wrong */
	uint64_t stopped_until;       /* it does nothing until then; it is not told */
	uint64_t slow_ns[ENV_SLOW_N]; /* so long at most until an answer */
	uint32_t in_kernel;           /* requests that were not answered yet */
	bool slow_ke;                 /* key exchange is work for the pool */
	struct quick_ke *ke;
	struct sim_starving starving;
	struct {
		uint64_t slow_ns;       /* so long at most until an answer, 0 at once */
		uint32_t refuse, error; /* thousandths of what is asked */
		uint32_t rounds;        /* further questions for everybody */
		bool silent;            /* never an answer */
		/* what users get: an address (that, plus the number in their name), one of a pool, of a group's pools */
		struct cy_addr address;
		char pool[64], group[32];
	} xauth;
	struct {
		uint64_t slow_ns; /* so long at most until an answer, 0 at once */
		uint32_t refuse;  /* thousandths of what is asked */
		bool silent;      /* never an answer */
	} authorize;
	struct {
		uint64_t slow_ns;     /* so long at most until one ends, 0 at once */
		uint32_t fail, crash; /* thousandths of them: an exit code, a signal */
		bool silent;          /* none ends by itself */
		struct sim_prng prng;
		struct sim_starving starving; /* what the plugin's thread and the processes ask for */
		struct list lanes;
		/* of the daemon that runs: what must be in its counters, and what excuses it */
		uint64_t started, failed, never_end, lost, refused_before;
		uint64_t due; /* when the plugin or a process has something to do */
	} scripts;
	struct {
		uint64_t slow_ns;      /* so long at most until an answer, 0 at once */
		uint32_t fail;         /* thousandths of what is asked */
		bool silent, nonsense; /* never an answer; answers that are none */
		char revoked
		    [128]; /* whose certificates the authority took back, by name, with blanks between */
		uint32_t life_s; /* until the next update, 0 a day */
		struct sim_prng prng;
		uint64_t asked, cancelled; /* since the start of the simulation */
	} fetch;
	bool no_names;                    /* host names do not resolve */
	uint32_t store_fails;             /* thousandths of the calls of its lease store */
	struct list stored;               /* which outlives its daemon */
	struct list logins;               /* at its back end: in progress, or with a session */
	uint64_t n_fragments;             /* of messages, that it sent */
	uint64_t n_logins;                /* that succeeded, since the start of the simulation */
	uint64_t events[SIM_EVENT_KINDS]; /* by enum cy_event_kind, since the start of the simulation */
	char *log;
	size_t n_log, cap_log;
};

struct sim {
	uint64_t seed;
	uint64_t now, seq;
	struct sim_prng prng;
	struct sim_faults faults;
	struct sim_stats stats;
	struct sim_node *nodes[SIM_NODES_MAX];
	uint32_t n_nodes;
	struct sim_nat nats[SIM_NATS_MAX];
	uint32_t n_nats;
	struct sim_set *keys, *wire, *ivs; /* what must not be seen twice */
	struct sim_set *windows;           /* message IDs of IKE_SAs, which only advance */
	uint64_t steps;
	uint32_t check_every; /* steps between two checks of all oracles */
	bool keep_logs;
	struct sim_event **heap;
	size_t n_heap, cap_heap;
	bool verbose;
	bool hear; /* keep the first datagram that is sent */
	uint8_t *heard;
	size_t n_heard;
	char failure[512];
	bool v1;    /* random runs: connections of IKEv1 */
	bool certs; /* starve.c: they have certificates, which may have been revoked */
	bool leak;  /* memory is lost, to see that it is found */
	const char *plugindir;
};

/* --- sim.c --- */
void sim_init(struct sim *s, uint64_t seed);
void sim_fini(struct sim *s);
struct sim_node *sim_add(
    struct sim *s, const char *name, const char *addr, const char *conf, const char *secrets);
bool sim_boot(struct sim_node *n); /* false: s->failure says why */
void sim_halt(struct sim_node *n); /* orderly: deletes are sent as far as virtual time allows */
/* Its configuration is read again. It may be refused: no memory. */
void sim_reload(struct sim_node *n);
void sim_kill(struct sim_node *n); /* at once, nothing is sent; its data plane keeps what it has */
/* Whatever ails the node itself is over. */
void sim_recover(struct sim_node *n);
/* All daemons close what they have, the network being good; then nothing may be left of it. */
bool sim_teardown(struct sim *s, bool finally /* new SAs are not made any more */);
/* Run until virtual time has passed, or until done(user). False: an oracle failed. */
bool sim_run(struct sim *s, uint64_t for_ns, bool (*done)(void *user), void *user);
void sim_fail(struct sim *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The node does nothing for so long (SIGSTOP, a host that is suspended); its sockets fill meanwhile. */
void sim_stop_for(struct sim_node *n, uint64_t ns);
/* From now on pool work or kernel requests of a node take this long at most. */
void sim_slow(struct sim_node *n, enum env_slow what, uint64_t at_most_ns);
bool sim_is_stopped(const struct sim_node *n);
/* Call fn(user) at a virtual time. */
void sim_at(struct sim *s, uint64_t ns, void (*fn)(void *user), void *user);

/* --- memory.c --- */
void sim_memory_enter(struct sim_node *n);      /* its code runs */
void sim_memory_starve(struct sim_starving *s); /* something else of a node */
void sim_memory_leave(void);
size_t sim_memory_used(
    struct sim *s); /* of the process, but for what the oracles remember, which is forgotten */
void *sim_malloc(size_t n);
void *sim_calloc(size_t n, size_t size);
void *sim_realloc(void *p, size_t n);
/* The simulator's own memory is never refused, also when a daemon calls it. */
#define malloc  sim_malloc
#define calloc  sim_calloc
#define realloc sim_realloc

/* --- leak.c: what the process has allocated and not freed --- */
uint64_t sim_leak_in_use(void);
extern const char sim_leak_unit[]; /* of that: blocks, or bytes where a sanitizer counts */
void sim_leak_trace(bool on);      /* from now on where each block is allocated is noted */
void sim_leak_show(void);          /* those that are left of them */

/* --- fabric.c --- */
extern const struct cy_socket_ops sim_socket_ops;
struct sim_nat *sim_nat_add(struct sim *s, const char *name, const char *addr);
void sim_nat_rebind(struct sim_nat *nat); /* every mapping gets another port, as after a restart */
/* The address from which what a node sends from this port is seen; makes the mapping. */
struct cy_addr sim_outside(struct sim_node *n, uint16_t port);
/* The node that what is sent to this address reaches, and its own port. NULL: nobody. */
struct sim_node *sim_inside(struct sim *s, const struct cy_addr *dst, uint16_t *out_port);

/* --- data.c: the data plane --- */
extern const struct cy_kernel_ops sim_kernel_ops;
void sim_kernel_clear(struct sim_kernel *k);
/* What a data plane tells by itself. */
void sim_kernel_expire(struct sim_node *n, bool hard); /* of all inbound SAs */
void sim_network_changed(struct sim_node *n);
/* Send one packet between inner addresses; true when it arrived decrypted at `to`. Acquires are raised. */
bool sim_ping(struct sim_node *from, struct sim_node *to, const char *src, const char *dst);

/* --- oracle.c --- */
bool sim_check(struct sim *s);
void sim_check_leases(struct sim *s, struct sim_node *n);
void sim_check_empty(struct sim *s, struct sim_node *n); /* after an orderly teardown */
/* An outbound key is installed: it may be so only once (a second time its sequence numbers would repeat). */
void sim_saw_key(struct sim *s, const struct cy_kernel_sa *sa);
/* A datagram is sent: one message ID of one IKE_SA stands for the same bytes for ever (RFC 7296, 2.1). */
void sim_saw_message(struct sim *s, const struct sim_node *from, const struct cy_dgram *d);

/* --- set.c: 64 bit numbers and what was last noted for them --- */
struct sim_set;
struct sim_set *sim_set_new(void);
void sim_set_free(struct sim_set *set);
uint64_t *sim_set_at(struct sim_set *set, uint64_t key, bool *out_fresh);
uint64_t sim_hash(const void *p, size_t n, uint64_t seed);

/* --- act.c: what scenarios and random runs do to nodes --- */
enum sim_act {
	SIM_REKEY_CHILD,
	SIM_REKEY_IKE,
	SIM_DELETE_CHILD,
	SIM_EXPIRE_CHILD,
	SIM_REAUTH,
	SIM_DELETE_CPU
};
struct conn *sim_conn(struct sim_node *n, const char *name);
bool sim_up(struct sim_node *n, const char *conn);
void sim_down(struct sim_node *n, const char *what);
bool sim_route(struct sim_node *n, const char *conn);
void sim_act(struct sim_node *n, enum sim_act act, const char *conn);
uint64_t sim_count_sas(struct sim_node *n, int state); /* IKE_SAs in this state, -1: all */
uint64_t sim_count_children(struct sim_node *n, const char *conn);
struct sim_node *sim_node(struct sim *s, const char *name);

/* --- xauth.c: the back end of a node --- */
enum cy_err sim_xauth_provide(struct sim_node *n, struct plugins *plugins) CY_MUST_USE;
void sim_xauth_clear(struct sim_node *n); /* its daemon is gone */
bool sim_xauth_let_in(struct sim_node *n, uint64_t login);
uint64_t sim_xauth_count(struct sim_node *n, bool in); /* sessions, or logins in progress */

/* --- authorize.c, fetch.c, store.c: other plugins of a node --- */
enum cy_err sim_fetch_provide(struct sim_node *n, struct plugins *plugins) CY_MUST_USE;
bool sim_fetch_file(struct sim_node *n); /* it has the CRL as a file, as it is now */
enum cy_err sim_authorize_provide(struct sim_node *n, struct plugins *plugins) CY_MUST_USE;
enum cy_err sim_store_provide(struct sim_node *n, struct plugins *plugins) CY_MUST_USE;
void sim_store_clear(struct sim_node *n);
uint64_t sim_store_count(const struct sim_node *n, bool in_use);
void sim_store_check(struct sim_node *n); /* does it have what the daemon has? */

/* --- scripts.c: what the updown plugin of a node runs --- */
struct env_process sim_script(struct env *e, const char *const *argv, const char *const *envp);
void sim_scripts_boot(struct sim_node *n);
void sim_scripts_step(struct sim_node *n);
void sim_scripts_log(struct sim_node *n, const char *line); /* its daemon said so */
bool sim_scripts_idle(const struct sim_node *n);
uint64_t sim_scripts_up(const struct sim_node *n);
uint64_t sim_scripts_count(const struct sim_node *n, const char *what); /* by the daemon's counters */
void sim_scripts_check(struct sim_node *n); /* the daemon's counters, when nothing runs */
/* None of them is late or was lost: when the tunnels are gone, there was a down for each up. */
bool sim_scripts_must_end(struct sim_node *n);
void sim_scripts_check_down(struct sim_node *n);
void sim_scripts_clear(struct sim_node *n);

/* --- device.c --- */
struct sim_kdev *sim_device(struct sim_kernel *k, const char *name);
enum cy_err sim_device_add(void *k, const struct cy_kernel_device *d, char *why, size_t why_cap);
enum cy_err sim_device_del(void *k, const struct cy_kernel_device *d);
enum cy_err sim_device_addr(void *k, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on);
enum cy_err sim_device_route(
    void *k, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on);

/* --- scenario.c, random.c: one run each; s->failure says what went wrong --- */
void sim_scenario(struct sim *s, const char *path);
void sim_random(struct sim *s);
/* starve.c: a tunnel's life for every allocation that fails, from the from-th and then every every-th; very many half-open IKE_SAs. */
void sim_starve(struct sim *s, uint64_t from, uint64_t every, bool verbose); /* s->v1: of IKEv1; s->certs */
void sim_half_open(struct sim *s, uint64_t n, bool verbose);

/* --- keys.c: keys made from a number, and certificates --- */
#define SIM_KEY_LEN  32
#define SIM_KEY_TEXT (2 + 2 * (12 + SIM_KEY_LEN) + 1)
enum cy_err sim_key_private(
    const struct cy_pki_ops *pki, uint64_t number, struct cy_privkey **out) CY_MUST_USE;
/* As leftsigkey= has it; false: this was built without openssl. */
bool sim_key_public(uint64_t number, char out[SIM_KEY_TEXT]);
/* A certificate of a name, its key, and the authority that issued it; made once a process. */
enum sim_key_kind { SIM_ED25519, SIM_P256, SIM_RSA, SIM_KEY_KINDS };
extern const char *const sim_key_kinds[SIM_KEY_KINDS];
struct sim_cert {
	struct cy_slice cert, key, ca; /* DER */
};
bool sim_cert(enum sim_key_kind kind, const char *name, struct sim_cert *out);
/* What the authority says: those of these names are revoked. DER; false: no room, no openssl. */
bool sim_crl(const char *revoked, int64_t now, uint32_t life_s, uint8_t *out, size_t cap, size_t *out_n);
bool sim_ocsp(struct cy_slice request, const char *revoked, int64_t now, uint32_t life_s, uint8_t *out,
    size_t cap, size_t *out_n);
void sim_key_forget(void); /* what libcrypto keeps for a thread: its last errors, its random numbers */

#endif
