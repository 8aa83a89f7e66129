/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: how a plugin is loaded and what it may ask of the daemon.
 *
 * A plugin is a shared object that exports one symbol, CYGNET_PLUGIN_SYMBOL, a `const struct cy_plugin`. Every struct
 * begins with its size and only ever grows at its end: both sides look at `size` before they use a later member.
 *
 * Life: the daemon reads the plugin's features, orders plugins so that what one needs is provided by others, calls
 * init() on the main thread, later fini() in reverse order.
 * Threads: event listeners, timers and watched descriptors of one plugin run on that plugin's own thread, which exists
 * from its first such request. A plugin that blocks there holds up itself alone: its event queue is bounded, what does
 * not fit is counted and shown. Functions in ops tables run on the threads their header names.
 */
#ifndef CYGNET_PLUGIN_H
#define CYGNET_PLUGIN_H

#include <cygnet/authorize.h>
#include <cygnet/crypto.h>
#include <cygnet/event.h>
#include <cygnet/fetch.h>
#include <cygnet/kernel.h>
#include <cygnet/lease.h>
#include <cygnet/socket.h>
#include <cygnet/steer.h>
#include <cygnet/types.h>
#include <cygnet/xauth.h>

#define CYGNET_ABI_MAJOR     1
#define CYGNET_ABI_MINOR     0
#define CYGNET_PLUGIN_SYMBOL "cygnet_plugin"
#define CYGNET_PLUGIN_EXPORT __attribute__((visibility("default")))

enum cy_level { CY_LOG_ERROR = 0, CY_LOG_WARN, CY_LOG_NOTICE, CY_LOG_INFO, CY_LOG_DEBUG, CY_LOG_TRACE };

/* What cy_host.provide() accepts. The ops struct must live until fini(). */
enum cy_kind {
	CY_KIND_CIPHER = 1, /* struct cy_cipher_alg */
	CY_KIND_HASH,       /* struct cy_hash_alg */
	CY_KIND_MAC,        /* struct cy_mac_alg */
	CY_KIND_KE,         /* struct cy_ke_alg */
	CY_KIND_PKI,        /* struct cy_pki_ops */
	CY_KIND_KERNEL,     /* struct cy_kernel_ops */
	CY_KIND_SOCKET,     /* struct cy_socket_ops */
	CY_KIND_LEASES,     /* struct cy_lease_store_ops */
	CY_KIND_LOG_SINK,   /* struct cy_log_sink, at most one of a plugin */
	CY_KIND_XAUTH,      /* struct cy_xauth_ops */
	CY_KIND_AUTHORIZE,  /* struct cy_authorize_ops */
	CY_KIND_STEER,      /* struct cy_steer_ops */
	CY_KIND_FETCHER,    /* struct cy_fetch_ops */
};

/* Does a struct of the other side, which begins with its size, reach to this member? */
#define CY_HAS(s, member) ((s)->size >= offsetof(__typeof__(*(s)), member) + sizeof((s)->member))

/* One line of the daemon's log. Strings are never NULL. */
struct cy_log_line {
	uint32_t size;
	uint32_t level; /* enum cy_level */
	int64_t wall;   /* Unix seconds */
	uint64_t ike_id;
	uint32_t thread; /* small number of the logging thread */
	uint32_t pad_;
	const char *group;       /* "IKE", "NET", ... */
	const char *conn, *user; /* "" when none */
	const char *text;        /* one line, control characters escaped */
};

/* line() runs on a thread of the log, never on a worker; what it is too slow for is counted and lost. It must not log. */
struct cy_log_sink {
	uint32_t size;
	const char *name;
	void (*line)(void *plugin, const struct cy_log_line *line);
	/* The daemon's own sink ("stderr", "syslog", "file") that would write the same a second time, or NULL. It is silent as
	   long as this one is there. */
	const char *instead_of;
};

struct cy_host;
struct cy_timer;
struct cy_watch;
struct cy_proc;

/* A process that the plugin wants run (a script). Everything is copied. */
struct cy_proc_spec {
	uint32_t size;
	const char *const *argv; /* NULL-terminated; argv[0] an absolute path */
	const char *const *envp; /* NULL-terminated; the whole environment */
	uint32_t deadline_ms;    /* then SIGTERM, and SIGKILL 2 s later; 0 = the daemon's default */
	/* On the plugin's thread, but not after it was told to end: fini() frees what was to be told. status as waitpid(2)
	   has it; output: up to 4 KiB of stdout and stderr. May be NULL. */
	void (*done)(void *user, int status, bool timed_out, struct cy_slice output);
	void *user;
};

/* The daemon's services. self is the plugin's own handle, given to init(). */
struct cy_host {
	uint32_t size;
	uint16_t abi_major, abi_minor;
	void (*log)(void *self, enum cy_level level, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));
	bool (*log_on)(void *self, enum cy_level level);
	/* Settings of this plugin: cygnet.conf, section plugins.NAME; key as in its options. Text lives until fini(). */
	const char *(*setting)(void *self, const char *key, const char *fallback);
	int64_t (*setting_int)(void *self, const char *key, int64_t fallback);
	bool (*setting_bool)(void *self, const char *key, bool fallback);

	/* Within init() only. CY_E_EXISTS: another plugin was first, ours is the second choice. */
	enum cy_err (*provide)(void *self, enum cy_kind kind, const void *ops, void *plugin);

	uint64_t (*now_ns)(void *self); /* monotonic */
	int64_t (*wall)(void *self);    /* Unix seconds */
	void (*random)(void *self, void *out, size_t n);

	/* Algorithms other plugins provide; NULL when there is none. */
	const struct cy_cipher_alg *(*cipher)(void *self, uint16_t encr, uint16_t key_bits);
	const struct cy_mac_alg *(*mac)(void *self, uint16_t mac);
	/* Integrity transform to its MAC, key length and truncated length. */
	bool (*integ)(
	    void *self, uint16_t integ, const struct cy_mac_alg **out, size_t *out_key_len, size_t *out_len);

	/* Events: on the plugin's thread, in order. mask: 1 << enum cy_event_kind. */
	enum cy_err (*subscribe)(
	    void *self, uint64_t mask, void (*cb)(void *user, const struct cy_event *ev), void *user);
	/*
	 * Timers and descriptors on the plugin's thread; they may be set and cancelled on any. period_ms 0: once. With out
	 * NULL a timer frees itself after it ran once; else it lives until it is cancelled. No callback begins after a
	 * cancel returns, but when called on another thread one may still be running.
	 */
	enum cy_err (*timer)(void *self, uint32_t delay_ms, uint32_t period_ms, void (*cb)(void *user),
	    void *user, struct cy_timer **out);
	void (*timer_cancel)(void *self, struct cy_timer *t);
	enum cy_err (*watch)(void *self, int fd, uint32_t epoll_events,
	    void (*cb)(void *user, uint32_t events), void *user, struct cy_watch **out);
	void (*watch_cancel)(void *self, struct cy_watch *w);
	enum cy_err (*spawn)(void *self, const struct cy_proc_spec *spec);
	/* Milliseconds since the slowest worker last finished a step or slept idle: a watchdog's question. */
	uint32_t (*slowest_worker_ms)(void *self);
	/* For data planes that speak ESP in UDP themselves: send from the IKE sockets. Any thread. */
	size_t (*udp_send)(void *self, const struct cy_dgram *d, size_t n);
	/* A hash of another plugin; NULL when there is none. */
	const struct cy_hash_alg *(*hash)(void *self, uint16_t hash);
	/* The XAUTH or EAP password of a user in ipsec.secrets. CY_E_NOTFOUND: none; CY_E_SHORT: out is too small. Any thread. */
	enum cy_err (*password)(void *self, const char *user, uint8_t *out, size_t cap, size_t *out_n);
	/* The answer to a question (authorize.h). Any thread. CY_E_NOTFOUND: it came too late. reason: one sentence, may be NULL. */
	enum cy_err (*authorize_answer)(void *self, uint64_t id, bool yes, const char *reason);
	/* A key exchange method of another plugin; NULL when there is none. */
	const struct cy_ke_alg *(*ke)(void *self, uint16_t ke);
};

struct cy_feature {
	enum { CY_FEATURE_END = 0, CY_PROVIDES, CY_NEEDS, CY_SOFT_NEEDS } rel;
	const char *what; /* "cipher:aes-gcm", "pki", "kernel", "socket", "leases", ... */
};

/*
 * An option a plugin understands in its section of cygnet.conf. A plugin's NAME.opt has one CY_OPTION(key, type, fallback, min, max,
 * help) a row, with cy_option's members in order, and is included where the table is made:
 *
 *	#define CY_OPTION(...) {__VA_ARGS__},
 *	static const struct cy_option options[] = {
 *	#include "NAME.opt"
 *	    {NULL}};
 */
struct cy_option {
	const char *key;  /* NULL ends a table */
	const char *type; /* "bool", "int", "string", "time", "size", "enum(a,b)" */
	const char *fallback;
	const char *min, *max; /* NULL: no bound */
	const char *help;
};

struct cy_plugin {
	uint32_t size;
	uint16_t abi_major, abi_minor;
	const char *name;    /* "openssl"; the file is cygnet-openssl.so */
	const char *version; /* of the plugin */
	const struct cy_feature *features;
	enum cy_err (*init)(const struct cy_host *host, void *self, void **out_plugin);
	void (*fini)(
	    void *plugin); /* no callback of its thread runs any more; on any one thread, within 5 s */
	/* A reload: settings may have changed. On the plugin's thread. May be NULL. */
	void (*reload)(void *plugin);
	const struct cy_option *options; /* may be NULL */
};

#endif
