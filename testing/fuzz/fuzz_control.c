/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client may send on the control socket, to a daemon whose clock, workers and control loop are run by hand. Bytes
 * 0x00 in the input are pauses: what came before is handled first, so that lines arrive in pieces.
 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/control/control.h"
#include "daemon/policy/select.h"
#include "daemon/run.h"
#include "libcore/conf/conf.h"
#include "libcore/cred/cred.h"
#include "libcore/run/worker.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct env env;
	uint64_t now;
	struct daemon *d;
	struct control *c;
};

/* --- the world around the daemon ------------------------------------------------------------------------------------- */

static uint64_t now_ns(struct env *e)
{
	return ((struct world *)(void *)e)->now; /* its first member */
}

static int64_t wall(struct env *e)
{
	(void)e;
	return 1700000000;
}

static void not_random(struct env *e, void *out, size_t n)
{
	(void)e;
	memset(out, 0x5a, n);
}

static enum cy_err k_open(void *plugin, const struct cy_kernel_events *ev, uint32_t *features, void **out)
{
	(void)ev;
	*features = CY_KERNEL_ESP_RAW | CY_KERNEL_POLICY | CY_KERNEL_ACQUIRE;
	*out = plugin;
	return CY_OK;
}

static void k_close(void *k)
{
	(void)k;
}

static enum cy_err k_policy(void *k, const struct cy_kernel_policy *p)
{
	(void)k;
	(void)p;
	return CY_OK;
}

static enum cy_err k_flush(void *k)
{
	(void)k;
	return CY_OK;
}

static enum cy_err k_source_for(void *k, const struct cy_addr *dst, struct cy_addr *out)
{
	(void)k;
	*out = *dst;
	return CY_OK;
}

static const struct cy_kernel_ops kernel = {.size = sizeof(kernel),
    .name = "fuzz",
    .open = k_open,
    .close = k_close,
    .policy_add = k_policy,
    .policy_del = k_policy,
    .source_for = k_source_for,
    .flush = k_flush};

static enum cy_err s_open(void *plugin, const struct cy_socket_config *cfg, void **out, uint32_t *lanes)
{
	(void)cfg;
	*out = plugin;
	*lanes = 1;
	return CY_OK;
}

static void s_close(void *s)
{
	(void)s;
}

static size_t s_fds(void *s, uint32_t lane, int *out, size_t cap)
{
	(void)s;
	(void)lane;
	(void)out;
	(void)cap;
	return 0;
}

static size_t s_send(void *s, uint32_t lane, const struct cy_dgram *d, size_t n)
{
	(void)s;
	(void)lane;
	(void)d;
	return n;
}

static const struct cy_socket_ops sockets = {
    .size = sizeof(sockets), .name = "fuzz", .open = s_open, .close = s_close, .fds = s_fds, .send = s_send};

static void no_problem(void *user, const struct conf_problem *p)
{
	(void)user;
	(void)p;
}

static enum cy_err configure(void *user, struct daemon *d, struct config **out)
{
	static const char text[] =
	    "config setup\n\tdialect=strongswan\n\n"
	    "conn home\n\tkeyexchange=ikev2\n\tleft=192.0.2.1\n\tright=192.0.2.2\n"
	    "\tleftsubnet=10.1.0.0/16\n\trightsubnet=10.2.0.0/16\n\tauthby=psk\n\tauto=add\n";
	static const struct cred_paths paths = {"/nowhere", "/nowhere", "/nowhere", "/nowhere"};
	struct config *c = calloc(1, sizeof(*c));

	(void)user;
	if (!c)
		return CY_E_NOMEM;
	c->refs = 1;
	c->index_free = conn_index_free;
	if (conf_load_text(text, sizeof(text) - 1, "fuzz", no_problem, NULL, &c->conf) ||
	    creds_new(d->crypto, d->log, &paths, &c->creds) || conn_index_new(c->conf, &c->index))
		abort();
	*out = c;
	return CY_OK;
}

static void no_log(void *user, const struct log_line *line)
{
	(void)user;
	(void)line;
}

static enum cy_err reload_hook(void *user, control_report_fn report, void *report_user)
{
	(void)user;
	report(report_user, CY_LOG_WARN, "nothing to reload");
	return CY_E_NOTFOUND;
}

static void stop_hook(void *user)
{
	(void)user;
}

static struct world *world_new(void)
{
	struct world *w = calloc(1, sizeof(*w));
	struct daemon_options o = {.no_control = true,
	    .workers = 1,
	    .log = no_log,
	    .kernel = &kernel,
	    .kernel_plugin = w,
	    .socket = &sockets,
	    .socket_plugin = w,
	    .plugindir = "/nowhere",
	    .configure = configure};
	struct control_config cfg = {
	    .listen_fd = -1, .allow_gid = UINT32_MAX, .hooks = {.reload = reload_hook, .stop = stop_hook}};
	char why[256] = "";

	if (!w)
		abort();
	w->env = (struct env){.now_ns = now_ns, .wall = wall, .random = not_random, .simulated = true};
	w->now = NS_PER_S;
	o.env = &w->env;
	if (daemon_new(&o, why, sizeof(why), &w->d) || daemon_start(w->d, why, sizeof(why)) ||
	    control_new(w->d, &cfg, &w->c)) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	return w;
}

/* --- one client ------------------------------------------------------------------------------------------------------- */

static void turn(struct world *w, int fd)
{
	char out[65536];

	for (int i = 0; i < 4; i++) {
		control_step(w->c);
		(void)worker_step(processor_worker(w->d->processor, 0), 1000);
		while (recv(fd, out, sizeof(out), MSG_DONTWAIT) > 0)
			;
	}
}

static void feed(struct world *w, int fd, const uint8_t *data, size_t n)
{
	while (n) {
		ssize_t sent = send(fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0) {
			data += sent;
			n -= (size_t)sent;
		}
		turn(w, fd);
		if (sent <= 0)
			return; /* it was disconnected */
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *w;
	int fds[2];

	if (!w)
		w = world_new();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0 ||
	    control_adopt(w->c, fds[1]))
		abort();
	turn(w, fds[0]);
	while (size) {
		const uint8_t *pause = memchr(data, 0, size);
		size_t n = pause ? (size_t)(pause - data) : size;

		feed(w, fds[0], data, n);
		w->now += 150 * NS_PER_MS;
		data += n + (pause != NULL);
		size -= n + (pause != NULL);
	}
	turn(w, fds[0]);
	close(fds[0]);
	w->now += NS_PER_S;
	control_step(w->c);
	control_step(w->c);
	return 0;
}
