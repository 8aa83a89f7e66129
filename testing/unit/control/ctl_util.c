/* SPDX-License-Identifier: Apache-2.0 */

#include "ctl_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "unit.h"

#include "libcore/crypto/registry.h"

/* --- a data plane and a network ------------------------------------------------------------------------------------ */

static enum cy_err k_open(void *plugin, const struct cy_kernel_events *ev, uint32_t *features, void **out)
{
	(void)ev;
	*features = CY_KERNEL_ESP_RAW | CY_KERNEL_ESP_UDP | CY_KERNEL_POLICY | CY_KERNEL_ACQUIRE;
	*out = plugin;
	return CY_OK;
}

static void k_close(void *k)
{
	(void)k;
}

static enum cy_err k_sa_add(void *k, const struct cy_kernel_sa *sa)
{
	struct ctl *t = k;

	(void)sa;
	return __atomic_load_n(&t->refuse, __ATOMIC_RELAXED) ? CY_E_BUSY : CY_OK;
}

static enum cy_err k_sa_move(void *k, const struct cy_kernel_sa_id *id, const struct cy_addr *src,
    const struct cy_addr *dst, bool encap)
{
	(void)k;
	(void)id;
	(void)src;
	(void)dst;
	(void)encap;
	return CY_OK;
}

static enum cy_err k_sa_del(void *k, const struct cy_kernel_sa_id *id)
{
	(void)k;
	(void)id;
	return CY_OK;
}

static enum cy_err k_sa_query(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct ctl *t = k;
	uint32_t ms = __atomic_load_n(&t->query_ms, __ATOMIC_RELAXED);

	__atomic_add_fetch(&t->queries, 1, __ATOMIC_RELAXED);
	if (ms)
		(void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
	out->packets = __atomic_load_n(&t->packets, __ATOMIC_RELAXED);
	out->bytes = 100 * out->packets;
	return CY_OK;
}

static enum cy_err k_sa_place(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_place *out)
{
	struct ctl *t = k;
	uint64_t packets = __atomic_load_n(&t->packets, __ATOMIC_RELAXED);
	int32_t cpu = __atomic_load_n(&t->cpu, __ATOMIC_RELAXED);

	if (cpu < 0)
		return CY_E_NOTFOUND;
	*out = (struct cy_kernel_place){
	    .size = sizeof(*out), .lane = -1, .cpu = cpu, .packets = packets, .bytes = 100 * packets};
	if (id->dir == CY_DIR_IN) {
		out->rx_if = if_nametoindex("lo");
		out->rx_queue = __atomic_load_n(&t->rx_queue, __ATOMIC_RELAXED);
	}
	return CY_OK;
}

static enum cy_err k_policy(void *k, const struct cy_kernel_policy *p)
{
	(void)k;
	(void)p;
	return CY_OK;
}

static enum cy_err k_addr_set(void *k, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	(void)k;
	(void)addr;
	(void)prefix;
	(void)on;
	return CY_OK;
}

static enum cy_err k_source_for(void *k, const struct cy_addr *dst, struct cy_addr *out)
{
	(void)k;
	*out = *dst;
	return CY_OK;
}

static bool k_is_local(void *k, const struct cy_addr *addr)
{
	(void)k;
	return addr->family == AF_INET && addr->ip[0] == 127;
}

static enum cy_err k_flush(void *k)
{
	(void)k;
	return CY_OK;
}

static const struct cy_kernel_ops kernel = {.size = sizeof(kernel),
    .name = "test",
    .open = k_open,
    .close = k_close,
    .sa_add = k_sa_add,
    .sa_move = k_sa_move,
    .sa_del = k_sa_del,
    .sa_query = k_sa_query,
    .policy_add = k_policy,
    .policy_del = k_policy,
    .addr_set = k_addr_set,
    .source_for = k_source_for,
    .is_local = k_is_local,
    .flush = k_flush,
    .sa_place = k_sa_place};

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
	struct ctl *t = s;

	(void)lane;
	(void)cap;
	out[0] = t->readable;
	return 1;
}

struct ctl_datagram {
	struct ctl_datagram *next;
	struct cy_dgram d;
	uint8_t data[];
};

static void free_datagrams(struct ctl_datagram *d)
{
	while (d) {
		struct ctl_datagram *next = d->next;

		free(d);
		d = next;
	}
}

static size_t s_recv(void *s, uint32_t lane, int fd, struct cy_dgram *out, size_t max)
{
	struct ctl *t = s;
	struct ctl_datagram *d;
	uint64_t count;
	size_t n = 0;

	(void)lane;
	(void)max; /* never so many at once */
	(void)!read(fd, &count, sizeof(count));
	free_datagrams(t->being_read);
	pthread_mutex_lock(&t->lock);
	t->being_read = t->in;
	t->in = NULL;
	t->in_end = &t->in;
	pthread_mutex_unlock(&t->lock);
	for (d = t->being_read; d && n < max; d = d->next)
		out[n++] = d->d;
	return n;
}

void ctl_put(struct ctl *t, const struct cy_dgram *d)
{
	struct ctl_datagram *copy = malloc(sizeof(*copy) + d->len);
	uint64_t one = 1;

	if (!copy)
		return;
	copy->next = NULL;
	copy->d = *d;
	copy->d.data = copy->data;
	memcpy(copy->data, d->data, d->len);
	pthread_mutex_lock(&t->lock);
	*t->in_end = copy;
	t->in_end = &copy->next;
	pthread_mutex_unlock(&t->lock);
	(void)!write(t->readable, &one, sizeof(one));
}

static size_t s_send(void *s, uint32_t lane, const struct cy_dgram *d, size_t n)
{
	struct ctl *t = s, *peer = __atomic_load_n(&t->peer, __ATOMIC_ACQUIRE);

	(void)lane;
	for (size_t i = 0; peer && i < n; i++)
		if (__atomic_load_n(&t->lose, __ATOMIC_RELAXED))
			__atomic_sub_fetch(&t->lose, 1, __ATOMIC_RELAXED); /* of one worker at a time */
		else
			ctl_put(peer, &d[i]);
	return n;
}

void ctl_join(struct ctl *t, struct ctl *peer)
{
	__atomic_store_n(&t->peer, peer, __ATOMIC_RELEASE);
}

static const struct cy_socket_ops sockets = {.size = sizeof(sockets),
    .name = "test",
    .open = s_open,
    .close = s_close,
    .fds = s_fds,
    .recv = s_recv,
    .send = s_send};

static int64_t wall(struct env *e)
{
	struct ctl *t = (struct ctl *)((char *)e - offsetof(struct ctl, env));

	return (int64_t)time(NULL) + __atomic_load_n(&t->wall_off, __ATOMIC_RELAXED);
}

/* --- the daemon ------------------------------------------------------------------------------------------------------- */

static void no_log(void *user, const struct log_line *line)
{
	(void)user;
	if (getenv("CTL_LOG"))
		log_sink_stderr(NULL, line);
}

static enum cy_err reload_hook(void *user, control_report_fn report, void *report_user)
{
	struct ctl *t = user;

	return daemon_reload(t->d, report, report_user);
}

static void stop_hook(void *user)
{
	struct ctl *t = user;

	__atomic_add_fetch(&t->stops, 1, __ATOMIC_RELAXED);
}

static const char *path(const struct ctl *t, const char *name, char out[128])
{
	snprintf(out, 128, "%s/%s", t->dir, name);
	return out;
}

void ctl_write(const struct ctl *t, const char *name, const char *text)
{
	char p[128];
	int fd = open(path(t, name, p), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

void ctl_start(struct ctl *t, const char *conf, const struct control_config *cfg)
{
	char a[128], b[128], c[128], why[256] = "";
	struct control_config cc = cfg ? *cfg : (struct control_config){0};
	struct daemon_options o = {.no_control = true,
	    .workers = 2,
	    .log = no_log,
	    .kernel = &kernel,
	    .kernel_plugin = t,
	    .socket = &sockets,
	    .socket_plugin = t,
	    .env = &t->env,
	    .plugindir = "."};

	memset(t, 0, sizeof(*t));
	t->packets = 1;
	t->cpu = -1;
	env_real(&t->env);
	t->env.wall = wall;
	pthread_mutex_init(&t->lock, NULL);
	t->in_end = &t->in;
	t->readable = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ck_assert_int_ge(t->readable, 0);
	snprintf(t->dir, sizeof(t->dir), "/tmp/cygnet-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(t->dir));
	ctl_write(t, "ipsec.conf", conf);
	ctl_write(t, "ipsec.secrets", ": PSK \"of a test\"\n");
	ctl_write(t, "cygnet.conf", "load = openssl\n");
	o.conf = path(t, "ipsec.conf", a);
	o.secrets = path(t, "ipsec.secrets", b);
	o.settings = path(t, "cygnet.conf", c);
	o.rundir = t->dir;
	ck_assert_msg(daemon_new(&o, why, sizeof(why), &t->d) == CY_OK, "%s", why);
	ck_assert_msg(daemon_start(t->d, why, sizeof(why)) == CY_OK, "%s", why);
	cc.listen_fd = -1;
	cc.allow_gid = UINT32_MAX;
	cc.hooks = (struct control_hooks){.reload = reload_hook, .stop = stop_hook, .user = t};
	ck_assert_int_eq(control_new(t->d, &cc, &t->c), CY_OK);
	ck_assert_int_eq(control_start(t->c), CY_OK);
}

void ctl_need_crypto(const struct ctl *t)
{
	ck_assert_msg(crypto_ke(t->d->crypto, CY_KE_X25519) != NULL, "this test needs the plugin openssl");
}

void ctl_stop(struct ctl *t)
{
	static const char *const names[] = {"ipsec.conf", "ipsec.secrets", "cygnet.conf"};
	char p[128];

	control_stop(t->c);
	daemon_stop(t->d);
	control_free(t->c);
	daemon_free(t->d);
	free_datagrams(t->in);
	free_datagrams(t->being_read);
	close(t->readable);
	pthread_mutex_destroy(&t->lock);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path(t, names[i], p));
	ck_assert_int_eq(rmdir(t->dir), 0);
}

/* --- a client ----------------------------------------------------------------------------------------------------------- */

void ctl_connect(struct ctl *t, struct ctl_client *cl)
{
	int fds[2];
	json_t *hello;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ck_assert_int_eq(control_adopt(t->c, fds[1]), CY_OK);
	cl->fd = fds[0];
	cl->n = 0;
	hello = ctl_next(cl);
	ck_assert_ptr_nonnull(hello);
	ck_assert_str_eq(json_string_value(json_object_get(hello, "event")), "hello");
	ck_assert_int_eq(json_integer_value(json_object_get(hello, "protocol")), 1);
	json_decref(hello);
}

void ctl_send(struct ctl_client *cl, const char *text)
{
	ck_assert_int_eq(send(cl->fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

#define HANGS_MS 60000 /* how long it may take says nothing: a machine may have other things to do */

json_t *ctl_next(struct ctl_client *cl)
{
	json_error_t error;
	char *nl;
	json_t *v;

	while (!(nl = memchr(cl->buf, '\n', cl->n))) {
		struct pollfd p = {.fd = cl->fd, .events = POLLIN};
		ssize_t n;

		ck_assert_int_eq(poll(&p, 1, HANGS_MS), 1);
		ck_assert_uint_lt(cl->n, sizeof(cl->buf));
		n = recv(cl->fd, cl->buf + cl->n, sizeof(cl->buf) - cl->n, 0);
		if (n <= 0)
			return NULL;
		cl->n += (size_t)n;
	}
	v = json_loadb(cl->buf, (size_t)(nl - cl->buf), JSON_REJECT_DUPLICATES, &error);
	ck_assert_msg(v != NULL, "%s in %.*s", error.text, (int)(nl - cl->buf), cl->buf);
	cl->n -= (size_t)(nl + 1 - cl->buf);
	memmove(cl->buf, nl + 1, cl->n);
	return v;
}

size_t ctl_done(struct ctl_client *cl, const char *code)
{
	for (size_t before = 0;; before++) {
		json_t *v = ctl_next(cl);
		bool ok;

		ck_assert_ptr_nonnull(v);
		if (strcmp(json_string_value(json_object_get(v, "event")), "done") != 0) {
			json_decref(v);
			continue;
		}
		ok = json_is_true(json_object_get(v, "ok"));
		ck_assert_int_eq(ok, code == NULL);
		if (code)
			ck_assert_str_eq(
			    json_string_value(json_object_get(json_object_get(v, "error"), "code")), code);
		json_decref(v);
		return before;
	}
}

json_t *ctl_rest(struct ctl_client *cl)
{
	json_t *all = json_object(), *v;

	while ((v = ctl_next(cl))) {
		const char *event = json_string_value(json_object_get(v, "event"));
		const char *list = json_string_value(json_object_get(v, "list"));

		if (strcmp(event, "done") == 0) {
			ck_assert(json_is_true(json_object_get(v, "ok")));
			json_decref(v);
			return all;
		}
		if (list && !json_object_get(all, list))
			json_object_set_new(all, list, json_array());
		if (list)
			json_array_append(json_object_get(all, list), json_object_get(v, "data"));
		else
			json_object_update(all, json_object_get(v, "data"));
		json_decref(v);
	}
	ck_abort_msg("no end of the answer");
	return NULL;
}

json_t *ctl_answer(struct ctl_client *cl, const char *text)
{
	ctl_send(cl, text);
	return ctl_rest(cl);
}

json_t *ctl_row(json_t *all, const char *list, const char *k1, const char *v1, const char *k2, const char *v2)
{
	json_t *o;
	size_t i;

	json_array_foreach(json_object_get(all, list), i, o)
	{
		const char *a = json_string_value(json_object_get(o, k1));
		const char *b = k2 ? json_string_value(json_object_get(o, k2)) : NULL;

		if (a && strcmp(a, v1) == 0 && (!k2 || (b && strcmp(b, v2) == 0)))
			return o;
	}
	return NULL;
}

void ctl_close(struct ctl_client *cl)
{
	close(cl->fd);
}
