/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A daemon without IKE: socket-default and a data plane, and SAs and policies with keys from the commands that it reads.
 *
 *	tun_host PLUGINDIR PORT [kernel=PLUGIN] [SETTING=VALUE...]
 *
 * The data plane is kernel-tun unless another is named. When it does not open, "error N" is all it says. Each command is answered with lines that end in "ok" or "error N". Events come as lines that begin with "event".
 */
#include "fake_host.h"
#include "libcore/base/addr.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_SOCKETS 8
#define MAX_WORDS   64

struct tun_host {
	struct fake_host fake;
	const struct cy_kernel_ops *ops;
	void *kernel;
	const struct cy_socket_ops *sock_ops;
	void *sockets;
	struct cy_watch *watch[MAX_SOCKETS];
	int fd[MAX_SOCKETS];
	size_t n_fds;
	uint32_t features;
	bool quit;
};

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line) - 1, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	/* one write: events come from several threads */
	if (write(STDOUT_FILENO, line, (size_t)n) < 0)
		exit(1);
}

/* ---- events */

static void on_acquire(void *user, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
    const struct cy_ts *dst, int32_t cpu)
{
	char a[TS_STR_MAX], b[TS_STR_MAX];

	if (cpu < 0)
		say("event acquire %u %llu %s %s", reqid, (unsigned long long)cookie, ts_str(src, a),
		    ts_str(dst, b));
	else
		say("event acquire-cpu %d %u %llu", cpu, reqid, (unsigned long long)cookie);
}

static void on_expire(void *user, const struct cy_kernel_sa_id *id, bool hard)
{
	say("event expire %08x %s %s", id->spi, id->dir == CY_DIR_IN ? "in" : "out", hard ? "hard" : "soft");
}

static void on_mapping(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *src)
{
	char a[ADDR_STR_MAX];

	say("event mapping %08x %s", id->spi, addr_port_str(src, a));
}

static void on_network(void *user)
{
	say("event network");
}

static void on_overrun(void *user)
{
	say("event overrun");
}

/* ---- sockets */

static size_t udp_send(void *user, const struct cy_dgram *d, size_t n)
{
	struct tun_host *h = user;

	return h->sock_ops->send(h->sockets, 0, d, n);
}

/* As net.c does: what was received together is taken apart. */
static void esp_in(struct tun_host *h, struct cy_dgram d)
{
	uint32_t left = d.len, step = d.segment ? d.segment : d.len;
	struct cy_dgram one[64];
	size_t n = 0;

	for (d.segment = 0; left > 0; left -= d.len, d.data += d.len) {
		d.len = left < step ? left : step;
		one[n++] = d;
		if (n == 64 || left == d.len) {
			h->ops->esp_in(h->kernel, one, n);
			n = 0;
		}
	}
}

static void readable(void *user, uint32_t events)
{
	struct tun_host *h = user;

	for (size_t i = 0; i < h->n_fds; i++) {
		struct cy_dgram d[32];
		size_t n;

		while ((n = h->sock_ops->recv(h->sockets, 0, h->fd[i], d, 32)) > 0)
			for (size_t j = 0; h->ops->esp_in && j < n; j++)
				esp_in(h, d[j]);
	}
}

static void on_socket(void *user, int fd, int family, uint16_t port, bool natt)
{
	struct tun_host *h = user;

	if (h->ops->bypass_socket(h->kernel, fd, family) != CY_OK)
		exit(1);
	if (natt && h->ops->encap_socket && h->ops->encap_socket(h->kernel, fd, family, port) != CY_OK)
		exit(1);
}

static bool open_all(struct tun_host *h, const char *dir, const char *plugin, uint16_t port)
{
	static const struct cy_kernel_events proto = {.size = sizeof(proto),
	    .acquire = on_acquire,
	    .expire = on_expire,
	    .mapping = on_mapping,
	    .network_changed = on_network,
	    .overrun = on_overrun};
	struct cy_kernel_events ev = proto;
	struct cy_socket_config cfg = {.size = sizeof(cfg),
	    .port_natt = port,
	    .ipv4 = true,
	    .ipv6 = true,
	    .on_socket = on_socket,
	    .segments = true,
	    .user = h};
	enum cy_err err;
	uint32_t lanes;

	ev.user = h;
	if (!fake_host_load(&h->fake, dir, "openssl") || !fake_host_load(&h->fake, dir, "socket-default") ||
	    !fake_host_load(&h->fake, dir, plugin))
		return false;
	h->ops = h->fake.kernel_ops;
	h->sock_ops = h->fake.socket_ops;
	err = h->ops->open(h->fake.kernel_plugin, &ev, &h->features, &h->kernel);
	if (err != CY_OK) {
		say("error %d", (int)err);
		return false;
	}
	/* as the daemon does: what a crash left goes */
	if (h->ops->flush(h->kernel) != CY_OK ||
	    h->sock_ops->open(h->fake.socket_plugin, &cfg, &h->sockets, &lanes) != CY_OK)
		return false;
	h->fake.udp_send = udp_send;
	h->fake.udp_user = h;
	h->n_fds = h->sock_ops->fds(h->sockets, 0, h->fd, MAX_SOCKETS);
	for (size_t i = 0; i < h->n_fds; i++)
		if (h->fake.host.watch(&h->fake, h->fd[i], 1, readable, h, &h->watch[i]) != CY_OK)
			return false;
	return true;
}

/* ---- commands */

static const char *word(char **words, const char *key, const char *fallback)
{
	size_t n = strlen(key);

	for (; *words; words++)
		if (strncmp(*words, key, n) == 0 && (*words)[n] == '=')
			return *words + n + 1;
	return fallback;
}

static uint64_t number(char **words, const char *key, uint64_t fallback)
{
	const char *s = word(words, key, NULL);

	return s ? strtoull(s, NULL, 0) : fallback;
}

static size_t unhex(const char *s, uint8_t *out, size_t cap)
{
	size_t n = 0;

	for (unsigned v; n < cap && sscanf(s, "%2x", &v) == 1; s += 2)
		out[n++] = (uint8_t)v;
	return n;
}

static struct cy_addr address(char **words, const char *key)
{
	const char *s = word(words, key, NULL);
	struct cy_addr a = {0};

	if (s && addr_parse_port(s, &a) != CY_OK && addr_parse(s, &a) != CY_OK)
		say("# cannot read %s=%s", key, s);
	return a;
}

static struct cy_ts selector(char **words, const char *key)
{
	const char *s = word(words, key, NULL);
	struct cy_ts ts = {0};

	if (!s || ts_parse(s, &ts) != CY_OK)
		say("# cannot read %s=%s", key, s ? s : "");
	return ts;
}

static uint8_t direction(char **words)
{
	const char *s = word(words, "dir", "out");

	return strcmp(s, "in") == 0 ? CY_DIR_IN : strcmp(s, "fwd") == 0 ? CY_DIR_FWD : CY_DIR_OUT;
}

/* "value/mask" */
static struct cy_mark mark(char **words, const char *key)
{
	const char *s = word(words, key, NULL);
	struct cy_mark m = {0};
	char *end;

	if (s) {
		m.value = (uint32_t)strtoul(s, &end, 0);
		m.mask = *end == '/' ? (uint32_t)strtoul(end + 1, NULL, 0) : UINT32_MAX;
	}
	return m;
}

static enum cy_err sa_add(struct tun_host *h, char **w)
{
	uint8_t key[CY_MAX_CIPHER_KEY], integ_key[CY_MAX_MAC_LEN];
	struct cy_ts local, remote;
	struct cy_kernel_sa sa = {
	    .size = sizeof(sa),
	    .spi = (uint32_t)number(w, "spi", 0),
	    .src = address(w, "src"),
	    .dst = address(w, "dst"),
	    .proto = (uint8_t)number(w, "proto", CY_PROTO_ESP),
	    .mode = (uint8_t)number(w, "mode", CY_MODE_TUNNEL),
	    .dir = direction(w),
	    .encap = (uint8_t)number(w, "encap", 1),
	    .reqid = (uint32_t)number(w, "reqid", 1),
	    .encr = (uint16_t)number(w, "encr", CY_ENCR_AES_GCM_16),
	    .integ = (uint16_t)number(w, "integ", 0),
	    .encr_key = cy_slice(key, unhex(word(w, "key", ""), key, sizeof(key))),
	    .integ_key = cy_slice(integ_key, unhex(word(w, "ikey", ""), integ_key, sizeof(integ_key))),
	    .replay_window = (uint32_t)number(w, "window", 64),
	    .esn = (uint8_t)number(w, "esn", 0),
	    .copy_dscp = (uint8_t)number(w, "dscp", CY_DSCP_OUT),
	    .no_ecn = (uint8_t)number(w, "no_ecn", 0),
	    .no_pmtu_disc = (uint8_t)number(w, "no_pmtu_disc", 0),
	    .tfc_pad = (uint32_t)number(w, "tfc", 0),
	    .mark = mark(w, "mark"),
	    .set_mark = mark(w, "set_mark"),
	    .if_id = (uint32_t)number(w, "if_id", 0),
	    .cpu = (int32_t)number(w, "cpu", UINT64_MAX),
	    .life = {.soft_bytes = number(w, "soft_bytes", 0),
	        .hard_bytes = number(w, "hard_bytes", 0),
	        .soft_packets = number(w, "soft_packets", 0),
	        .hard_packets = number(w, "hard_packets", 0),
	        .soft_seconds = number(w, "soft_seconds", 0),
	        .hard_seconds = number(w, "hard_seconds", 0)},
	};

	if (word(w, "local", NULL)) {
		local = selector(w, "local");
		remote = selector(w, "remote");
		sa.ts_local = &local;
		sa.ts_remote = &remote;
		sa.n_ts_local = sa.n_ts_remote = 1;
	}
	return h->ops->sa_add(h->kernel, &sa);
}

static struct cy_kernel_sa_id identity(char **w)
{
	struct cy_kernel_sa_id id = {.spi = (uint32_t)number(w, "spi", 0),
	    .src = address(w, "src"),
	    .dst = address(w, "dst"),
	    .proto = (uint8_t)number(w, "proto", CY_PROTO_ESP),
	    .dir = direction(w),
	    .mark = mark(w, "mark"),
	    .if_id = (uint32_t)number(w, "if_id", 0)};

	return id;
}

static enum cy_err sa_query(struct tun_host *h, char **w)
{
	struct cy_kernel_sa_id id = identity(w);
	struct cy_kernel_sa_stats s;
	enum cy_err err = h->ops->sa_query(h->kernel, &id, &s);

	if (err == CY_OK)
		say("bytes=%llu packets=%llu seq=%llu replay=%llu integrity=%llu used=%llu",
		    (unsigned long long)s.bytes, (unsigned long long)s.packets, (unsigned long long)s.seq,
		    (unsigned long long)s.replay_drops, (unsigned long long)s.integrity_drops,
		    (unsigned long long)s.last_used);
	return err;
}

static struct cy_kernel_policy read_policy(char **w, struct cy_addr *route_src)
{
	struct cy_kernel_policy p = {
	    .size = sizeof(p),
	    .dir = direction(w),
	    .action = (uint8_t)number(w, "action", CY_POLICY_PROTECT),
	    .mode = (uint8_t)number(w, "mode", CY_MODE_TUNNEL),
	    .proto = (uint8_t)number(w, "proto", CY_PROTO_ESP),
	    .has_tmpl = (uint8_t)number(w, "tmpl", 1),
	    .cpu_acquire = (uint8_t)number(w, "cpu_acquire", 0),
	    .src = selector(w, "src"),
	    .dst = selector(w, "dst"),
	    .priority = (uint32_t)number(w, "priority", 1000),
	    .reqid = (uint32_t)number(w, "reqid", 1),
	    .tmpl_src = address(w, "tmpl_src"),
	    .tmpl_dst = address(w, "tmpl_dst"),
	    .mark = mark(w, "mark"),
	    .if_id = (uint32_t)number(w, "if_id", 0),
	    .cookie = number(w, "cookie", 0),
	    .want_route = (uint8_t)number(w, "want_route", 1),
	};

	if (word(w, "route_src", NULL)) {
		*route_src = address(w, "route_src");
		p.route_src = route_src;
	}
	return p;
}

static void say_counter(void *user, const char *name, uint64_t value)
{
	say("%s=%llu", name, (unsigned long long)value);
}

static enum cy_err command(struct tun_host *h, char **w)
{
	struct cy_addr a, b;

	if (strcmp(w[0], "sa-add") == 0)
		return sa_add(h, w + 1);
	if (strcmp(w[0], "sa-query") == 0)
		return sa_query(h, w + 1);
	if (strcmp(w[0], "sa-del") == 0) {
		struct cy_kernel_sa_id id = identity(w + 1);

		return h->ops->sa_del(h->kernel, &id);
	}
	if (strcmp(w[0], "sa-move") == 0) {
		struct cy_kernel_sa_id id = identity(w + 1);

		a = address(w + 1, "new_src");
		b = address(w + 1, "new_dst");
		return h->ops->sa_move(h->kernel, &id, &a, &b, number(w + 1, "encap", 1));
	}
	if (strncmp(w[0], "policy-", 7) == 0) {
		struct cy_kernel_policy p = read_policy(w + 1, &a);

		return strcmp(w[0], "policy-add") == 0 ? h->ops->policy_add(h->kernel, &p)
		                                       : h->ops->policy_del(h->kernel, &p);
	}
	if (strncmp(w[0], "addr-", 5) == 0) {
		a = address(w + 1, "addr");
		return h->ops->addr_set(
		    h->kernel, &a, (uint8_t)number(w + 1, "prefix", 32), strcmp(w[0], "addr-add") == 0);
	}
	if (strcmp(w[0], "source-for") == 0) {
		char s[ADDR_STR_MAX];
		enum cy_err err;

		a = address(w + 1, "dst");
		err = h->ops->source_for(h->kernel, &a, &b);
		if (err == CY_OK)
			say("%s", addr_str(&b, s));
		return err;
	}
	if (strcmp(w[0], "is-local") == 0) {
		a = address(w + 1, "addr");
		say("%s", h->ops->is_local(h->kernel, &a) ? "yes" : "no");
		return CY_OK;
	}
	if (strcmp(w[0], "counters") == 0) {
		h->ops->counters(h->kernel, say_counter, NULL);
		return CY_OK;
	}
	if (strcmp(w[0], "features") == 0) {
		say("%u", h->features);
		return CY_OK;
	}
	if (strcmp(w[0], "flush") == 0)
		return h->ops->flush(h->kernel);
	if (strcmp(w[0], "skip") == 0) {
		h->fake.skip_ns += number(w + 1, "seconds", 0) * 1000000000u;
		return CY_OK;
	}
	if (strcmp(w[0], "quit") == 0) {
		h->quit = true;
		return CY_OK;
	}
	return CY_E_UNSUPPORTED;
}

static void take_line(struct tun_host *h, char *line)
{
	char *words[MAX_WORDS + 1], *save;
	size_t n = 0;
	enum cy_err err;

	for (char *p = strtok_r(line, " ", &save); p && n < MAX_WORDS; p = strtok_r(NULL, " ", &save))
		words[n++] = p;
	words[n] = NULL;
	if (n == 0)
		return;
	err = command(h, words);
	if (err == CY_OK)
		say("ok");
	else
		say("error %d", (int)err);
}

static void take_input(struct tun_host *h)
{
	static char buf[65536];
	static size_t have;
	ssize_t n = read(STDIN_FILENO, buf + have, sizeof(buf) - have);
	char *end;

	if (n <= 0) {
		h->quit = true;
		return;
	}
	have += (size_t)n;
	while ((end = memchr(buf, '\n', have))) {
		size_t used = (size_t)(end - buf) + 1;

		*end = '\0';
		take_line(h, buf);
		have -= used;
		memmove(buf, buf + used, have);
	}
}

int main(int argc, char **argv)
{
	static struct tun_host h;
	struct fake_setting settings[32] = {{0}};
	const char *plugin = "kernel-tun";

	if (argc < 3) {
		fprintf(stderr, "usage: tun_host PLUGINDIR PORT [kernel=PLUGIN] [SETTING=VALUE...]\n");
		return 2;
	}
	fake_host_init(&h.fake);
	for (int i = 3; i < argc && i < 30; i++) {
		char *eq = strchr(argv[i], '=');

		if (!eq)
			return 2;
		*eq = '\0';
		settings[i - 3] = (struct fake_setting){argv[i], eq + 1};
		if (strcmp(argv[i], "kernel") == 0)
			plugin = eq + 1;
	}
	h.fake.settings = settings;
	if (!open_all(&h, argv[1], plugin, (uint16_t)atoi(argv[2])))
		return 1;
	say("ok");
	while (!h.quit)
		if (fake_host_run(&h.fake, STDIN_FILENO, 100))
			take_input(&h);
	(void)!h.ops->flush(h.kernel);
	/* the data plane sends through the sockets until it is closed */
	h.ops->close(h.kernel);
	h.sock_ops->close(h.sockets);
	fake_host_fini(&h.fake);
	return 0;
}
