/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon as small as a plugin can bear, for tests of data planes: loads plugins, finds the algorithms they provide,
 * and runs their timers and descriptors from the caller's loop. One thread, but for the clock, randomness and algorithms,
 * which ESP threads ask for.
 */
#ifndef TESTING_FAKE_HOST_H
#define TESTING_FAKE_HOST_H

#include <cygnet/plugin.h>

#define FAKE_MAX_ALGS    64
#define FAKE_MAX_PLUGINS 8
#define FAKE_MAX_TIMERS  16

struct cy_timer {
	void (*cb)(void *user);
	void *user;
	uint64_t due, period; /* ns; due 0: free */
};

struct cy_watch {
	int fd; /* -1: free */
	uint32_t events;
	void (*cb)(void *user, uint32_t events);
	void *user;
};

struct fake_setting {
	const char *key, *value;
};

struct fake_host {
	struct cy_host host;
	enum cy_level level;
	const struct fake_setting *settings; /* ends with key NULL; may be NULL */
	_Atomic(uint64_t) skip_ns;           /* added to the clock */
	uint64_t random_seed;                /* not 0: randomness is a sequence that starts here */

	const struct cy_cipher_alg *cipher[FAKE_MAX_ALGS];
	const struct cy_mac_alg *mac[FAKE_MAX_ALGS];
	size_t n_cipher, n_mac;
	const struct cy_kernel_ops *kernel_ops;
	void *kernel_plugin;
	const struct cy_socket_ops *socket_ops;
	void *socket_plugin;

	size_t (*udp_send)(void *user, const struct cy_dgram *d, size_t n);
	void *udp_user;

	struct cy_timer timer[FAKE_MAX_TIMERS];
	struct cy_watch watch[FAKE_MAX_TIMERS];
	struct {
		void *so, *instance;
		const struct cy_plugin *def;
	} plugin[FAKE_MAX_PLUGINS];
	size_t n_plugins;
};

void fake_host_init(struct fake_host *h);
/* dlopen()s DIR/cygnet-NAME.so and initialises it; false: said why on stderr. */
bool fake_host_load(struct fake_host *h, const char *dir, const char *name);
/* fini() of every plugin, the last first. */
void fake_host_fini(struct fake_host *h);
/* Waits up to timeout_ms for descriptors (and fd, if not negative), runs what is due; true when fd is readable. */
bool fake_host_run(struct fake_host *h, int fd, int timeout_ms);

#endif
