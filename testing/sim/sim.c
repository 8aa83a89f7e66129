/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/policy/select.h"
#include "daemon/sa/manager.h"
#include "libcore/conf/conf.h"
#include "libcore/cred/cred.h"
#include "libcore/run/bus.h"
#include "quick_ke.h"

/* --- time and events --------------------------------------------------------------------------------------------------- */

struct sim_event {
	uint64_t at, seq;
	void (*fn)(void *user);
	void *user;
};

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

void sim_at(struct sim *s, uint64_t ns, void (*fn)(void *user), void *user)
{
	struct sim_event *e = malloc(sizeof(*e));
	size_t i;

	if (!e)
		abort();
	*e = (struct sim_event){ns, s->seq++, fn, user};
	if (s->n_heap == s->cap_heap) {
		s->cap_heap = s->cap_heap ? 2 * s->cap_heap : 64;
		s->heap = realloc(s->heap, s->cap_heap * sizeof(*s->heap));
		if (!s->heap)
			abort();
	}
	for (i = s->n_heap++; i && before(e, s->heap[(i - 1) / 2]); i = (i - 1) / 2)
		s->heap[i] = s->heap[(i - 1) / 2];
	s->heap[i] = e;
}

static struct sim_event *pop(struct sim *s)
{
	struct sim_event *top = s->heap[0], *last = s->heap[--s->n_heap];
	size_t i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= s->n_heap)
			break;
		if (c + 1 < s->n_heap && before(s->heap[c + 1], s->heap[c]))
			c++;
		if (!before(s->heap[c], last))
			break;
		s->heap[i] = s->heap[c];
		i = c;
	}
	if (s->n_heap)
		s->heap[i] = last;
	return top;
}

static uint64_t e_now(struct env *e)
{
	return ((struct sim_env *)e)->sim->now + ((struct sim_env *)e)->ahead_ns;
}

static void e_pass(struct env *e, uint64_t until_ns)
{
	struct sim_env *x = (struct sim_env *)e;

	if (until_ns > e_now(e))
		x->ahead_ns = until_ns - x->sim->now;
}

static int64_t e_wall(struct env *e)
{
	struct sim_node *n = container_of((struct sim_env *)e, struct sim_node, env);

	return 1800000000 + (int64_t)(n->sim->now / NS_PER_S) + n->wall_off;
}

static void e_random(struct env *e, void *out, size_t n)
{
	sim_prng_fill(&((struct sim_env *)e)->prng, out, n);
}

/* Names of hosts: "a.sim" is node a. */
static int e_look_up(struct env *e, const char *name, int family, struct cy_addr *out)
{
	struct sim_node *n = container_of((struct sim_env *)e, struct sim_node, env), *found = NULL;

	(void)family;
	if (n->no_names)
		return EAI_AGAIN;
	for (uint32_t i = 0; i < n->sim->n_nodes; i++)
		if (strncmp(name, n->sim->nodes[i]->name, strlen(n->sim->nodes[i]->name)) == 0 &&
		    strcmp(name + strlen(n->sim->nodes[i]->name), ".sim") == 0)
			found = n->sim->nodes[i];
	if (!found)
		return EAI_NONAME;
	*out = found->addr;
	return 0;
}

/* --- answers that take time, and nodes that do nothing --------------------------------------------------------------- */

struct deferred {
	struct sim_node *n;
	uint32_t boot;
	enum env_slow what;
	void (*fn)(void *user);
	void *user;
};

static void answer(void *user)
{
	struct deferred *d = user;

	if (d->n->d && d->n->boots == d->boot) { /* not for a daemon that is gone */
		if (d->what == ENV_KERNEL)
			d->n->in_kernel--;
		sim_memory_enter(d->n);
		d->fn(d->user);
		sim_memory_leave();
	}
	free(d);
}

static void e_defer(struct env *e, enum env_slow what, void (*fn)(void *user), void *user)
{
	struct sim_node *n = container_of((struct sim_env *)e, struct sim_node, env);
	struct deferred *d = malloc(sizeof(*d));

	if (!d)
		abort();
	*d = (struct deferred){n, n->boots, what, fn, user};
	if (what == ENV_KERNEL)
		n->in_kernel++;
	sim_at(n->sim, n->sim->now + sim_prng_below(&n->sim->prng, n->slow_ns[what] + 1), answer, d);
}

void sim_slow(struct sim_node *n, enum env_slow what, uint64_t at_most_ns)
{
	n->slow_ns[what] = at_most_ns;
	n->env.e.defer = e_defer; /* and it stays: what is asked later is answered later */
}

static void nothing(void *user)
{
	(void)user;
}

void sim_stop_for(struct sim_node *n, uint64_t ns)
{
	n->stopped_until = n->sim->now + ns;
	sim_at(n->sim, n->stopped_until, nothing, NULL);
}

bool sim_is_stopped(const struct sim_node *n)
{
	return n->sim->now < n->stopped_until;
}

/* --- the simulation -------------------------------------------------------------------------------------------------------- */

void sim_init(struct sim *s, uint64_t seed)
{
	const char *plugins = getenv("CYGNET_PLUGINDIR");

	memset(s, 0, sizeof(*s));
	s->now = 1000 * NS_PER_S;
	s->plugindir = plugins ? plugins : ".libs";
	s->faults.delay_ns = 5 * NS_PER_MS;
	s->faults.jitter_ns = 1 * NS_PER_MS;
	s->check_every = 1;
	s->keys = sim_set_new();
	s->wire = sim_set_new();
	s->seed = seed;
	s->ivs = sim_set_new();
	s->windows = sim_set_new();
	sim_prng_seed(&s->prng, seed);
}

void sim_fail(struct sim *s, const char *fmt, ...)
{
	va_list ap;

	if (s->failure[0])
		return;
	va_start(ap, fmt);
	vsnprintf(s->failure, sizeof(s->failure), fmt, ap);
	va_end(ap);
}

static void keep_line(struct sim_node *n, const char *text)
{
	size_t len = strlen(text);

	if (n->n_log + len + 2 > n->cap_log) {
		n->cap_log = 2 * (n->cap_log + len + 4096);
		n->log = realloc(n->log, n->cap_log);
		if (!n->log)
			abort();
	}
	memcpy(n->log + n->n_log, text, len);
	n->n_log += len;
	n->log[n->n_log++] = '\n';
	n->log[n->n_log] = '\0';
}

static void on_log(void *user, const struct log_line *l)
{
	struct sim_node *n = user;

	if (n->sim->keep_logs)
		keep_line(n, l->text);
	sim_scripts_log(n, l->text);
	if (n->sim->verbose)
		printf("%10.3f %-8s %s <%s|%llu> %s\n", (double)(n->sim->now - 1000 * NS_PER_S) / 1e9,
		    n->name, log_group_names[l->group], l->conn, (unsigned long long)l->ike_id, l->text);
}

struct sim_node *sim_add(
    struct sim *s, const char *name, const char *addr, const char *conf, const char *secrets)
{
	struct sim_node *n = calloc(1, sizeof(*n));

	if (!n || addr_parse(addr, &n->addr))
		abort();
	n->sim = s;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->index = s->n_nodes;
	n->env = (struct sim_env){.e = {.now_ns = e_now,
	                              .wall = e_wall,
	                              .random = e_random,
	                              .look_up = e_look_up,
	                              .process = sim_script,
	                              .pass = e_pass,
	                              .simulated = true},
	    .sim = s};
	sim_prng_seed(&n->env.prng, sim_prng_next(&s->prng));
	sim_prng_seed(&n->starving.prng, sim_prng_next(&s->prng));
	sim_prng_seed(&n->scripts.prng, s->seed ^ 0x5c217 ^ (uint64_t)n->index << 32);
	sim_prng_seed(&n->fetch.prng, s->seed ^ 0xfe7c4 ^ (uint64_t)n->index << 32);
	sim_prng_seed(&n->scripts.starving.prng, s->seed ^ 0x57a2e ^ (uint64_t)n->index << 32);
	n->conf_text = strdup(conf);
	n->secrets_text = strdup(secrets);
	n->settings_text = strdup("");
	n->devices_text = strdup("");
	n->workers = 1;
	n->kernel.n = n;
	list_init(&n->kernel.sas);
	list_init(&n->kernel.policies);
	list_init(&n->kernel.devices);
	list_init(&n->logins);
	list_init(&n->stored);
	list_init(&n->scripts.lanes);
	s->nodes[s->n_nodes++] = n;
	return n;
}

static void on_conf(void *user, const struct conf_problem *p)
{
	struct sim_node *n = user;

	/* of IKEv1 some things are warned of that are tried here */
	if (p->level <= (strstr(n->conf_text, "keyexchange=ikev1") ? CY_LOG_ERROR : CY_LOG_WARN))
		sim_fail(n->sim, "%s: %s:%u: %s", n->name, p->file, p->line, p->text);
}

static enum cy_err add_key(struct creds *c, struct daemon *d, uint64_t number)
{
	const struct cy_pki_ops *pki = crypto_pki(d->crypto);
	struct cy_privkey *key;
	enum cy_err e = pki ? sim_key_private(pki, number, &key) : CY_E_UNSUPPORTED;

	return e ? e : creds_add_privkey(c, key);
}

/* "ed25519 name": who he is is said by a certificate. */
static enum cy_err add_cert(struct creds *c, struct daemon *d, const char *kind, const char *name)
{
	const struct cy_pki_ops *pki = crypto_pki(d->crypto);
	struct cy_privkey *key;
	struct sim_cert cert;
	enum cy_err e;

	for (int k = 0; k < SIM_KEY_KINDS; k++)
		if (strcmp(kind, sim_key_kinds[k]) == 0) {
			if (!pki || !sim_cert((enum sim_key_kind)k, name, &cert))
				return CY_E_UNSUPPORTED;
			e = pki->privkey_load(cert.key, NULL, NULL, &key, NULL);
			if (!e)
				e = creds_add_privkey(c, key);
			if (!e)
				e = creds_add_cert(c, cert.ca, true, NULL);
			return e ? e : creds_add_cert(c, cert.cert, false, NULL);
		}
	return CY_E_INVAL;
}

/* What the daemon does when it loads a configuration: the public keys that connections name. */
static enum cy_err load_pubkeys(struct creds *c, struct conf *conf)
{
	for (size_t i = 0; i < conf->n_conns; i++) {
		const struct conn_end *ends[2] = {&conf->conns[i]->local, &conf->conns[i]->remote};

		for (size_t j = 0; j < 2; j++)
			for (size_t k = 0; k < ends[j]->n_auth; k++) {
				struct cy_pubkey *key;
				enum cy_err e = ends[j]->auth[k].pubkey
				    ? creds_load_pubkey(c, ends[j]->auth[k].pubkey, &key, NULL, NULL)
				    : CY_OK;

				if (e)
					return e;
			}
	}
	return CY_OK;
}

/* A ca section is about the one authority that there is. */
static enum cy_err set_uris(struct creds *c, const struct conf *conf)
{
	enum cy_err e = CY_OK;
	struct cy_cert *ca;
	struct sim_cert of;

	for (size_t i = 0; i < conf->n_cas && !e; i++) {
		const struct conf_ca *s = &conf->cas[i];
		const struct cred_uris uris = {.crl = (const char *const *)s->crl_uris.s,
		    .n_crl = s->crl_uris.n,
		    .ocsp = (const char *const *)s->ocsp_uris.s,
		    .n_ocsp = s->ocsp_uris.n};

		e = sim_cert(SIM_ED25519, "Simulated CA", &of) ? creds_add_cert(c, of.ca, true, &ca)
		                                               : CY_E_UNSUPPORTED;
		if (!e)
			e = creds_set_uris(c, ca, &uris);
	}
	return e;
}

static enum cy_err add_psk(struct creds *c, const char *a, const char *b, const char *key)
{
	struct ident ids[2];
	enum cy_err e = ident_parse(a, &ids[0]);

	if (e)
		return e;
	e = ident_parse(b, &ids[1]);
	if (!e) {
		e = creds_add_psk(c, ids, 2, cy_slice_str(key));
		ident_fini(&ids[1]);
	}
	ident_fini(&ids[0]);
	return e;
}

/* "id id : PSK text", "user : XAUTH text", "KEY number" or "CERT kind name" a line; the simulator has no files. */
static enum cy_err add_secrets(struct creds *c, struct daemon *d, const char *text)
{
	char line[512];
	const char *p = text;

	while (*p) {
		size_t n = strcspn(p, "\n");
		char a[128], b[128], key[128];
		enum cy_err e;

		snprintf(line, sizeof(line), "%.*s", (int)n, p);
		p += n + (p[n] == '\n');
		if (sscanf(line, "KEY %127s", key) == 1) {
			e = add_key(c, d, strtoull(key, NULL, 10));
			if (e)
				return e;
			continue;
		}
		if (sscanf(line, "CERT %127s %127s", a, b) == 2) {
			e = add_cert(c, d, a, b);
			if (e)
				return e;
			continue;
		}
		if (strstr(line, " : XAUTH ")) {
			e = creds_load_secrets_text(c, cy_slice_str(line), "secrets", NULL, NULL);
			if (e)
				return e;
			continue;
		}
		if (sscanf(line, "%127s %127s : PSK %127s", a, b, key) != 3)
			continue;
		e = add_psk(c, a, b, key);
		if (e)
			return e;
	}
	return CY_OK;
}

/* "connection number" a line: what ipsec-interface=number makes of a connection in the other dialect. */
static void set_devices(struct conf *conf, const char *text)
{
	char name[64];
	unsigned number;

	for (const char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (sscanf(p, "%63s %u", name, &number) != 2)
			continue;
		for (size_t i = 0; i < conf->n_conns; i++) {
			struct conn *c = conf->conns[i];

			if (strcmp(c->name, name) != 0)
				continue;
			c->device = (struct conn_device){
			    .kind = CY_DEVICE_XFRM, .shared = true, .routing = true, .managed = true};
			snprintf(c->device.name, sizeof(c->device.name), "ipsec%u", number);
			c->if_id_in = c->if_id_out = number;
		}
	}
}

static void index_free(struct conn_index *ix)
{
	conn_index_free(ix);
}

static enum cy_err configure(void *user, struct daemon *d, struct config **out)
{
	struct sim_node *n = user;
	struct config *c = calloc(1, sizeof(*c));
	enum cy_err e;

	if (!c)
		return CY_E_NOMEM;
	c->refs = 1;
	c->index_free = index_free;
	e = conf_load_text(n->conf_text, strlen(n->conf_text), n->name, on_conf, n, &c->conf);
	if (!e)
		set_devices(c->conf, n->devices_text);
	if (!e)
		e = creds_new(d->crypto, d->log, NULL, &c->creds);
	if (!e)
		e = add_secrets(c->creds, d, n->secrets_text);
	if (!e)
		e = load_pubkeys(c->creds, c->conf);
	if (!e)
		e = set_uris(c->creds, c->conf);
	if (!e) {
		daemon_keep_same(d, c->conf);
		e = conn_index_new(c->conf, &c->index);
	}
	if (e) {
		config_unref(c);
		return e;
	}
	*out = c;
	return CY_OK;
}

static void on_event(void *user, const struct cy_event *ev)
{
	struct sim_node *n = user;

	if (ev->kind < SIM_EVENT_KINDS)
		n->events[ev->kind]++;
}

static void on_wake(void *user)
{
	((struct sim_node *)user)->events_wait = true;
}

/* The file with a node's settings, in memory: the plugins it needs, and what the test says. */
static int write_settings(struct sim_node *n, char *path, size_t cap)
{
	int fd = memfd_create("settings", MFD_CLOEXEC);

	if (fd < 0)
		return -1;
	snprintf(path, cap, "/proc/self/fd/%d", fd);
	if (dprintf(
	        fd, "load = \"openssl updown\"\ncrypto_prefer = \"quick openssl\"\n%s", n->settings_text) > 0)
		return fd;
	close(fd);
	return -1;
}

static enum cy_err provide(void *user, struct plugins *plugins)
{
	struct sim_node *n = user;
	enum cy_err e = sim_xauth_provide(n, plugins);

	if (!e)
		e = sim_authorize_provide(n, plugins);
	if (!e)
		e = sim_fetch_provide(n, plugins);
	return e ? e : sim_store_provide(n, plugins);
}

bool sim_boot(struct sim_node *n)
{
	char path[64];
	int settings;
	struct daemon_options o = {.conf = "/nonexistent",
	    .secrets = "/nonexistent",
	    .settings = path,
	    .rundir = "/nonexistent",
	    .plugindir = n->sim->plugindir,
	    .no_control = true,
	    .workers = n->workers,
	    .user = n,
	    .env = &n->env.e,
	    .log = on_log,
	    .log_user = n,
	    .kernel = &sim_kernel_ops,
	    .kernel_plugin = &n->kernel,
	    .socket = &sim_socket_ops,
	    .socket_plugin = n,
	    .provide = provide,
	    .configure = configure};
	char why[256] = "";

	if (n->d)
		return true;
	if (n->sim->leak)
		(void)malloc(64);
	n->boots++;
	sim_scripts_boot(n);
	n->in_kernel = 0;
	n->stopped_until = 0;
	settings = write_settings(n, path, sizeof(path));
	if (settings < 0) {
		sim_fail(n->sim, "%s: the settings cannot be written", n->name);
		return false;
	}
	if (daemon_new(&o, why, sizeof(why), &n->d) == CY_OK && !(n->ke = quick_ke_new(n->d, n->slow_ke)))
		snprintf(why, sizeof(why), "no X25519 in the plugins of %s", n->sim->plugindir);
	close(settings);
	if (n->d && n->fragments)
		n->d->tune.fragment_size = n->fragments;
	if (!n->d || !n->ke ||
	    bus_subscribe(n->d->bus, "sim", UINT64_MAX, 0, on_event, on_wake, n, &n->listener) ||
	    daemon_start(n->d, why, sizeof(why))) {
		sim_fail(n->sim, "%s does not start: %s", n->name, why);
		return false;
	}
	quick_ke_seed(n->ke, (uint32_t)sim_prng_next(&n->env.prng));
	return true;
}

void sim_halt(struct sim_node *n)
{
	bool must_end;

	if (!n->d)
		return;
	must_end = sim_scripts_must_end(n);
	if (n->listener)
		bus_unsubscribe(n->d->bus, n->listener);
	n->listener = NULL;
	n->events_wait = false;
	daemon_stop(n->d);
	daemon_free(n->d);
	n->d = NULL;
	n->env.ahead_ns = 0;
	if (must_end)
		sim_scripts_check_down(n);
	sim_scripts_clear(n);
	sim_xauth_clear(n);
	quick_ke_free(n->ke);
	n->ke = NULL;
	n->stopped_until = 0;
}

void sim_reload(struct sim_node *n)
{
	if (!n->d)
		return;
	sim_memory_enter(n);
	(void)!daemon_reload(n->d, NULL, NULL);
	sim_memory_leave();
}

void sim_kill(struct sim_node *n)
{
	n->open = false;
	n->kernel.frozen = true;
	sim_halt(n);
}

static bool all_closed(void *user)
{
	struct sim *s = user;

	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d && SA_READ(s->nodes[i]->d->sas, ike_sas))
			return false;
	return true;
}

static bool scripts_idle(void *user)
{
	struct sim *s = user;

	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (!sim_scripts_idle(s->nodes[i]))
			return false;
	return true;
}

void sim_recover(struct sim_node *n)
{
	n->kernel.fail_adds = n->kernel.fail_policies = n->kernel.fail_devices = n->kernel.lose_events = 0;
	memset(n->slow_ns, 0, sizeof(n->slow_ns));
	n->stopped_until = 0;
	n->listener_stalls = false;
	n->xauth.slow_ns = n->xauth.refuse = n->xauth.error = n->xauth.rounds = 0;
	n->xauth.silent = n->authorize.silent = n->no_names = false;
	n->fetch.slow_ns = n->fetch.fail = 0;
	n->fetch.silent = n->fetch.nonsense = false;
	n->authorize.slow_ns = n->authorize.refuse = n->store_fails = 0;
	n->scripts.slow_ns = n->scripts.fail = n->scripts.crash = 0;
	n->scripts.silent = false;
	n->starving.thousandths = 0;
	n->starving.fail_at = n->starving.to = 0;
	n->drop[0].n = n->drop[1].n = 0;
}

bool sim_teardown(struct sim *s, bool finally)
{
	s->faults = (struct sim_faults){.delay_ns = 5 * NS_PER_MS};
	for (uint32_t i = 0; i < s->n_nodes; i++) {
		sim_recover(s->nodes[i]);
		if (s->nodes[i]->d)
			sa_manager_shutdown(s->nodes[i]->d->sas);
	}
	if (!finally) /* it goes on afterwards */
		for (uint32_t i = 0; i < s->n_nodes; i++)
			if (s->nodes[i]->d)
				s->nodes[i]->d->sas->stopping = false;
	/* an answer to a delete may have nobody left to give it: as long as the retransmissions go on */
	if (!sim_run(s, NS_PER_S, NULL, NULL) || !sim_run(s, 400 * NS_PER_S, all_closed, s) ||
	    !sim_run(s, NS_PER_S, NULL, NULL) || !sim_run(s, 3600 * NS_PER_S, scripts_idle, s))
		return false;
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d)
			sim_check_empty(s, s->nodes[i]);
	for (uint32_t i = 0; i < s->n_nodes; i++) {
		sim_scripts_check(s->nodes[i]);
		if (sim_scripts_must_end(s->nodes[i]))
			sim_scripts_check_down(s->nodes[i]);
	}
	return s->failure[0] == '\0';
}

void sim_fini(struct sim *s)
{
	for (uint32_t i = 0; i < s->n_nodes; i++)
		sim_halt(s->nodes[i]);
	while (s->n_heap) { /* flights free themselves when they arrive nowhere */
		struct sim_event *e = pop(s);

		e->fn(e->user);
		free(e);
	}
	for (uint32_t i = 0; i < s->n_nodes; i++) {
		sim_kernel_clear(&s->nodes[i]->kernel);
		sim_store_clear(s->nodes[i]);
		free(s->nodes[i]->conf_text);
		free(s->nodes[i]->secrets_text);
		free(s->nodes[i]->settings_text);
		free(s->nodes[i]->devices_text);
		free(s->nodes[i]->log);
		free(s->nodes[i]);
	}
	for (uint32_t i = 0; i < s->n_nats; i++)
		free(s->nats[i].map);
	sim_set_free(s->keys);
	sim_set_free(s->wire);
	sim_set_free(s->ivs);
	sim_set_free(s->windows);
	free(s->heap);
	free(s->heard);
}

static uint64_t next_due(struct sim *s)
{
	uint64_t due = s->n_heap ? s->heap[0]->at : UINT64_MAX;

	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d && !sim_is_stopped(s->nodes[i]))
			for (uint32_t w = 0; w < processor_n(s->nodes[i]->d->processor); w++) {
				uint64_t t = worker_next_due(processor_worker(s->nodes[i]->d->processor, w));

				due = t < due ? t : due;
			}
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d && !sim_is_stopped(s->nodes[i]) && !s->nodes[i]->listener_stalls &&
		    s->nodes[i]->scripts.due < due)
			due = s->nodes[i]->scripts.due;
	return due;
}

static void step_worker(struct sim_node *n, uint32_t w)
{
	sim_memory_enter(n);
	worker_step(processor_worker(n->d->processor, w), 1000);
	sim_memory_leave();
}

static void step(struct sim *s)
{
	while (s->n_heap && s->heap[0]->at <= s->now) {
		struct sim_event *e = pop(s);

		e->fn(e->user);
		free(e);
	}
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d && !sim_is_stopped(s->nodes[i]))
			for (uint32_t w = 0; s->nodes[i]->d && w < processor_n(s->nodes[i]->d->processor);
			     w++)
				step_worker(s->nodes[i], w);
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->d && !sim_is_stopped(s->nodes[i]))
			sim_scripts_step(s->nodes[i]);
	for (uint32_t i = 0; i < s->n_nodes; i++)
		if (s->nodes[i]->events_wait && !s->nodes[i]->listener_stalls) {
			s->nodes[i]->events_wait = false;
			bus_drain(s->nodes[i]->listener, 100000);
		}
}

bool sim_run(struct sim *s, uint64_t for_ns, bool (*done)(void *user), void *user)
{
	uint64_t end = s->now + for_ns;

	while (!done || !done(user)) {
		uint64_t due = next_due(s);

		if (due > end) {
			s->now = end;
			break;
		}
		if (due > s->now)
			s->now = due;
		step(s);
		if (!sim_check(s))
			return false;
	}
	return s->failure[0] == '\0';
}
