/* SPDX-License-Identifier: Apache-2.0 */

#include "fake_host.h"

#include <dlfcn.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

__attribute__((format(printf, 3, 4))) static void host_log(
    void *self, enum cy_level level, const char *fmt, ...)
{
	struct fake_host *h = self;
	va_list ap;

	if (level > h->level)
		return;
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
}

static bool host_log_on(void *self, enum cy_level level)
{
	struct fake_host *h = self;

	return level <= h->level;
}

static const char *host_setting(void *self, const char *key, const char *fallback)
{
	struct fake_host *h = self;

	for (const struct fake_setting *s = h->settings; s && s->key; s++)
		if (strcmp(s->key, key) == 0)
			return s->value;
	return fallback;
}

static int64_t host_setting_int(void *self, const char *key, int64_t fallback)
{
	const char *s = host_setting(self, key, NULL);

	return s ? strtoll(s, NULL, 0) : fallback;
}

static bool host_setting_bool(void *self, const char *key, bool fallback)
{
	const char *s = host_setting(self, key, NULL);

	return s ? strcmp(s, "yes") == 0 : fallback;
}

static enum cy_err host_provide(void *self, enum cy_kind kind, const void *ops, void *plugin)
{
	struct fake_host *h = self;

	switch (kind) {
	case CY_KIND_CIPHER:
		if (h->n_cipher < FAKE_MAX_ALGS)
			h->cipher[h->n_cipher++] = ops;
		break;
	case CY_KIND_MAC:
		if (h->n_mac < FAKE_MAX_ALGS)
			h->mac[h->n_mac++] = ops;
		break;
	case CY_KIND_KERNEL:
		h->kernel_ops = ops;
		h->kernel_plugin = plugin;
		break;
	case CY_KIND_SOCKET:
		h->socket_ops = ops;
		h->socket_plugin = plugin;
		break;
	default:
		break;
	}
	return CY_OK;
}

static uint64_t host_now_ns(void *self)
{
	struct fake_host *h = self;
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec + h->skip_ns;
}

static int64_t host_wall(void *self)
{
	return time(NULL);
}

static void host_random(void *self, void *out, size_t n)
{
	struct fake_host *h = self;
	uint8_t *p = out;

	if (!h->random_seed) {
		if (getrandom(out, n, 0) != (ssize_t)n)
			abort();
		return;
	}
	for (size_t i = 0; i < n; i++) {
		h->random_seed = h->random_seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (uint8_t)(h->random_seed >> 56);
	}
}

static const struct cy_cipher_alg *host_cipher(void *self, uint16_t encr, uint16_t key_bits)
{
	struct fake_host *h = self;

	for (size_t i = 0; i < h->n_cipher; i++)
		for (size_t j = 0; h->cipher[i]->id == encr && j < h->cipher[i]->n_key_bits; j++)
			if (h->cipher[i]->key_bits[j] == key_bits)
				return h->cipher[i];
	return NULL;
}

static const struct cy_mac_alg *host_mac(void *self, uint16_t mac)
{
	struct fake_host *h = self;

	for (size_t i = 0; i < h->n_mac; i++)
		if (h->mac[i]->id == mac)
			return h->mac[i];
	return NULL;
}

static bool host_integ(
    void *self, uint16_t integ, const struct cy_mac_alg **out, size_t *out_key_len, size_t *out_len)
{
	static const struct {
		uint16_t integ, mac;
		uint8_t key_len, len;
	} table[] = {
	    {CY_INTEG_HMAC_MD5_96, CY_MAC_HMAC_MD5, 16, 12},
	    {CY_INTEG_HMAC_SHA1_96, CY_MAC_HMAC_SHA1, 20, 12},
	    {CY_INTEG_AES_XCBC_96, CY_MAC_AES_XCBC, 16, 12},
	    {CY_INTEG_AES_CMAC_96, CY_MAC_AES_CMAC, 16, 12},
	    {CY_INTEG_HMAC_SHA2_256_128, CY_MAC_HMAC_SHA2_256, 32, 16},
	    {CY_INTEG_HMAC_SHA2_384_192, CY_MAC_HMAC_SHA2_384, 48, 24},
	    {CY_INTEG_HMAC_SHA2_512_256, CY_MAC_HMAC_SHA2_512, 64, 32},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].integ == integ) {
			*out = host_mac(self, table[i].mac);
			*out_key_len = table[i].key_len;
			*out_len = table[i].len;
			return *out != NULL;
		}
	return false;
}

static enum cy_err host_timer(void *self, uint32_t delay_ms, uint32_t period_ms, void (*cb)(void *user),
    void *user, struct cy_timer **out)
{
	struct fake_host *h = self;

	for (size_t i = 0; i < FAKE_MAX_TIMERS; i++)
		if (h->timer[i].due == 0) {
			h->timer[i] = (struct cy_timer){
			    cb, user, host_now_ns(h) + delay_ms * 1000000ull, period_ms * 1000000ull};
			*out = &h->timer[i];
			return CY_OK;
		}
	return CY_E_LIMIT;
}

static void host_timer_cancel(void *self, struct cy_timer *t)
{
	t->due = 0;
}

static enum cy_err host_watch(void *self, int fd, uint32_t events, void (*cb)(void *user, uint32_t events),
    void *user, struct cy_watch **out)
{
	struct fake_host *h = self;

	for (size_t i = 0; i < FAKE_MAX_TIMERS; i++)
		if (h->watch[i].fd < 0) {
			h->watch[i] = (struct cy_watch){fd, events, cb, user};
			*out = &h->watch[i];
			return CY_OK;
		}
	return CY_E_LIMIT;
}

static void host_watch_cancel(void *self, struct cy_watch *w)
{
	w->fd = -1;
}

static size_t host_udp_send(void *self, const struct cy_dgram *d, size_t n)
{
	struct fake_host *h = self;

	return h->udp_send ? h->udp_send(h->udp_user, d, n) : 0;
}

void fake_host_init(struct fake_host *h)
{
	memset(h, 0, sizeof(*h));
	h->level = CY_LOG_NOTICE;
	h->host = (struct cy_host){
	    .size = sizeof(h->host),
	    .abi_major = CYGNET_ABI_MAJOR,
	    .abi_minor = CYGNET_ABI_MINOR,
	    .log = host_log,
	    .log_on = host_log_on,
	    .setting = host_setting,
	    .setting_int = host_setting_int,
	    .setting_bool = host_setting_bool,
	    .provide = host_provide,
	    .now_ns = host_now_ns,
	    .wall = host_wall,
	    .random = host_random,
	    .cipher = host_cipher,
	    .mac = host_mac,
	    .integ = host_integ,
	    .timer = host_timer,
	    .timer_cancel = host_timer_cancel,
	    .watch = host_watch,
	    .watch_cancel = host_watch_cancel,
	    .udp_send = host_udp_send,
	};
	for (size_t i = 0; i < FAKE_MAX_TIMERS; i++)
		h->watch[i].fd = -1;
}

bool fake_host_load(struct fake_host *h, const char *dir, const char *name)
{
	const struct cy_plugin *def = NULL;
	void *so, *instance = NULL;
	char path[512];

	if (h->n_plugins == FAKE_MAX_PLUGINS)
		return false;
	snprintf(path, sizeof(path), "%s/cygnet-%s.so", dir, name);
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (so)
		def = dlsym(so, CYGNET_PLUGIN_SYMBOL);
	if (!def) {
		fprintf(stderr, "%s\n", dlerror());
		return false;
	}
	if (def->init(&h->host, h, &instance) != CY_OK) {
		fprintf(stderr, "%s: init failed\n", path);
		return false;
	}
	h->plugin[h->n_plugins].so = so;
	h->plugin[h->n_plugins].instance = instance;
	h->plugin[h->n_plugins++].def = def;
	return true;
}

void fake_host_fini(struct fake_host *h)
{
	/* not dlclose()d: a leak checker wants the names of what is in there */
	while (h->n_plugins > 0) {
		h->n_plugins--;
		h->plugin[h->n_plugins].def->fini(h->plugin[h->n_plugins].instance);
	}
}

static void run_timers(struct fake_host *h)
{
	for (size_t i = 0; i < FAKE_MAX_TIMERS; i++) {
		struct cy_timer *t = &h->timer[i];
		uint64_t now = host_now_ns(h);

		if (t->due == 0 || t->due > now)
			continue;
		t->due = t->period ? now + t->period : 0;
		t->cb(t->user);
	}
}

bool fake_host_run(struct fake_host *h, int fd, int timeout_ms)
{
	struct pollfd p[FAKE_MAX_TIMERS + 1];
	struct cy_watch *of[FAKE_MAX_TIMERS];
	size_t n = 0;
	bool readable;

	for (size_t i = 0; i < FAKE_MAX_TIMERS; i++)
		if (h->watch[i].fd >= 0) {
			of[n] = &h->watch[i];
			p[n++] = (struct pollfd){.fd = h->watch[i].fd, .events = (short)h->watch[i].events};
		}
	p[n] = (struct pollfd){.fd = fd, .events = POLLIN};
	if (poll(p, n + 1, timeout_ms) < 0)
		return false;
	readable = fd >= 0 && p[n].revents;
	for (size_t i = 0; i < n; i++)
		if (p[i].revents && of[i]->fd == p[i].fd)
			of[i]->cb(of[i]->user, (uint32_t)p[i].revents);
	run_timers(h);
	return readable;
}
