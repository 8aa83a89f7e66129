/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of libcore/plugin share: a loaded plugin, its thread, and who provides what.
 *
 * A struct plugin is counted: `struct plugins` holds one reference, each process it started another, and its thread a
 * third, so that a callback which returns long after plugins_free still finds its plugin.
 */
#ifndef LIBCORE_PLUGIN_PRIVATE_H
#define LIBCORE_PLUGIN_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "libcore/base/env.h"
#include "libcore/base/list.h"
#include "libcore/plugin/loader.h"

#define PLUGIN_QUEUE_MAX     4096 /* events a listener may lag behind */
#define PLUGIN_HANG_MS       1000 /* a callback that runs longer at the end is abandoned */
#define PLUGIN_LAST_WORDS_MS 5000 /* for scripts started by the last events */
#define PLUGIN_NAME_MAX      64
#define PLUGIN_MAX_PROVIDED  64
#define PLUGIN_DRAIN_AT_ONCE 64

enum plugin_state { PLUGIN_FOUND, PLUGIN_LOADED, PLUGIN_FAILED };

struct plugin_text {
	struct list node;
	char s[];
};

struct plugin_listener {
	struct list node;
	struct plugin *plugin;
	struct bus_listener *bus;
	void (*cb)(void *user, const struct cy_event *ev);
	void *user;
	atomic_bool pending;
};

struct cy_timer {
	struct list node; /* sorted by due_ns */
	uint64_t due_ns;
	uint64_t period_ns;
	void (*cb)(void *user);
	void *user;
	bool running, cancelled;
	bool held; /* its owner has a pointer to it */
};

struct cy_watch {
	struct list node;
	uint64_t id; /* what epoll reports: a cancelled one is found no more */
	int fd;
	void (*cb)(void *user, uint32_t events);
	void *user;
	bool running, cancelled;
};

/* A process has ended, or its plugin is to be reloaded. */
struct plugin_call {
	struct list node;
	struct plugin *plugin;
	void (*run)(struct plugin_call *c);
	void (*done)(void *user, int status, bool timed_out, struct cy_slice output);
	void *user;
	int status;
	bool timed_out;
	size_t n_output;
	uint8_t output[4096];
};

struct plugin {
	struct plugins *all;
	atomic_uint refs;
	/* written on the main thread before the plugin is live */
	char name[PLUGIN_NAME_MAX];
	char *path, *reason;
	const struct cy_plugin *def;
	void *dl;
	void *instance;
	enum plugin_state state;
	bool required;
	uint32_t order;        /* of initialisation */
	const char **provides; /* NULL-terminated, of def->features */
	int group;             /* enum log_group */
	struct plugin_sink *sink;

	atomic_bool live;      /* init() is done: its thread may run callbacks */
	atomic_bool abandoned; /* the daemon went on without it: its calls do nothing any more */

	pthread_mutex_t lock; /* everything below that is not atomic */
	pthread_cond_t changed;
	struct list texts; /* settings handed out */
	struct list listeners, timers, spent, watches, calls;
	pthread_t thread;
	bool has_thread, stop, exited, finished;
	uint64_t stop_ns;
	uint64_t next_watch_id;
	uint32_t n_procs;   /* whose end is to be told */
	atomic_uint n_asks; /* questions its thread has not seen yet */
	int epoll, wake;

	atomic_uint_fast64_t n_callbacks, callback_ns, max_callback_ns, running_since_ns;
	struct {
		atomic_uint_fast64_t n, ns, cpu_ns;
	} hook[PLUGIN_HOOK_N];
};

struct plugin_provided {
	enum cy_kind kind;
	const void *ops;
	void *plugin;
	const char *owner, *name;
};

struct plugins {
	atomic_uint refs; /* the owner's, each plugin's */
	struct plugins_config cfg;
	pthread_rwlock_t settings_lock;
	struct settings *settings; /* a reference */
	struct plugin **p;         /* in order of initialisation, then those that failed */
	size_t n;
	uint32_t n_loaded;
	struct plugin_provided provided[PLUGIN_MAX_PROVIDED];
	atomic_size_t n_provided;
	pthread_rwlock_t udp_lock; /* read while udp_send, password or answer runs */
	size_t (*udp_send)(void *user, const struct cy_dgram *d, size_t n);
	void *udp_send_user;
	enum cy_err (*password)(void *user, const char *name, uint8_t *out, size_t cap, size_t *out_n);
	void *password_user;
	enum cy_err (*answer)(void *user, uint64_t id, bool yes, const char *reason);
	void *answer_user;
};

/* Why a plugin is left out; frees the reason before. */
void plugin_fail(struct plugin *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
struct plugin *plugin_ref(struct plugin *p);
void plugin_unref(struct plugin *p);

/* order.c: initialises plugins so that what one needs is there before it. init_one returns false when it failed. */
void plugins_order(struct plugin **p, size_t n, bool (*init_one)(struct plugin *p));

/* host.c */
extern const struct cy_host plugin_host;
enum cy_err plugins_provide(
    struct plugins *all, enum cy_kind kind, const void *ops, void *plugin, const char *owner);

/* The log reaches the plugin no more; false when it hangs in a line. */
bool plugin_sink_close(struct plugin *p);

/* thread.c */
void plugin_timer_insert(struct plugin *p, struct cy_timer *t); /* with the lock */
enum cy_err plugin_thread_need(struct plugin *p);               /* any thread */
void plugin_wake(struct plugin *p);
void plugin_go_live(struct plugin *p);
/* Ask the thread to end; it empties its queues first. */
void plugin_thread_stop(struct plugin *p);
/* Wait for that; false when it hangs, and is detached. */
bool plugin_thread_join(struct plugin *p);
void plugin_call_post(struct plugin_call *c); /* takes c and its reference to the plugin */
/* Account the time of a callback. */
struct plugin_since {
	uint64_t ns, cpu_ns;
};
struct plugin_since plugin_enter(struct plugin *p);
void plugin_leave(struct plugin *p, enum plugin_hook hook, struct plugin_since since);

#endif
