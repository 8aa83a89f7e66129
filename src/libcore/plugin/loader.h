/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads plugins, orders them by the features they provide and need, and gives each its struct cy_host. Main thread, except
 * plugins_find and the host's functions, which any thread may call after plugins_load returned.
 */
#ifndef LIBCORE_PLUGIN_LOADER_H
#define LIBCORE_PLUGIN_LOADER_H

#include "libcore/conf/settings.h"
#include "libcore/crypto/registry.h"
#include "libcore/run/bus.h"
#include "libcore/run/proc.h"
#include "libcore/run/worker.h"
#include <cygnet/plugin.h>

struct plugins;
struct plugins_config {
	struct env *env;
	struct log *log;
	struct settings *settings;
	struct crypto *crypto;
	struct bus *bus;
	struct procs *procs;         /* NULL: spawn answers CY_E_UNSUPPORTED */
	struct processor *processor; /* NULL: slowest_worker_ms is 0 */
	const char *dir;             /* where cygnet-NAME.so are; ':'-separated list allowed */
	const char *load; /* names in order of preference, space separated; NULL: every plugin found in dir */
};
/* A plugin that fails is left out with a reason in the log; CY_E_NOTFOUND only when a name in `load` with a trailing '!' failed. */
enum cy_err plugins_load(const struct plugins_config *cfg, struct plugins **out) CY_MUST_USE;
/* Offer something built in (the simulator's kernel and network). */
enum cy_err plugins_provide_builtin(struct plugins *p, enum cy_kind kind, const void *ops, void *plugin);
/* The first provider of a kind (socket, kernel, leases), or the one called name. *out_plugin: its first argument. */
const void *plugins_find(const struct plugins *p, enum cy_kind kind, const char *name, void **out_plugin);
void plugins_set_udp_send(
    struct plugins *p, size_t (*fn)(void *user, const struct cy_dgram *d, size_t n), void *user);
/* out_n: bytes of the password, which is copied to out. */
void plugins_set_password(struct plugins *p,
    enum cy_err (*fn)(void *user, const char *name, uint8_t *out, size_t cap, size_t *out_n), void *user);
/* The plugins that may say no (cygnet/authorize.h), 0, 1, ...; NULL: that was all. */
const char *plugins_asked_name(const struct plugins *p, size_t i);
/* Ask that one, on its thread; the answer comes through what was set. CY_E_LIMIT: so many wait for its thread already. */
enum cy_err plugins_ask(struct plugins *p, size_t i, uint64_t id, const struct cy_authorize_question *q,
    uint32_t max_queued) CY_MUST_USE;
void plugins_set_answer(
    struct plugins *p, enum cy_err (*fn)(void *user, uint64_t id, bool yes, const char *reason), void *user);
void plugins_reload(struct plugins *p, struct settings *settings);
void plugins_free(
    struct plugins *p); /* fini in reverse order; a plugin thread that hangs is given 1 s, then abandoned */

/* Simulated, with env->process: what the plugins' threads would do now. When there is something to do again, UINT64_MAX: when it comes. */
uint64_t plugins_step(struct plugins *p);

/* What a plugin's thread runs of it. */
enum plugin_hook { PLUGIN_HOOK_EVENT, PLUGIN_HOOK_TIMER, PLUGIN_HOOK_WATCH, PLUGIN_HOOK_CALL, PLUGIN_HOOK_N };
extern const char *const plugin_hook_names[PLUGIN_HOOK_N];

struct plugin_info {
	const char *name, *version, *path, *state; /* "loaded", or why not */
	const char *const *provides;               /* NULL-terminated */
	bool has_thread;
	struct bus_listener_stats listener; /* zero without one */
	uint64_t callbacks, callback_ns, max_callback_ns;
	uint64_t running_since_ns; /* 0 when idle */
	struct {
		uint64_t n, ns, cpu_ns;
	} hook[PLUGIN_HOOK_N];
};
void plugins_list(struct plugins *p, void (*cb)(void *user, const struct plugin_info *i), void *user);

#endif
