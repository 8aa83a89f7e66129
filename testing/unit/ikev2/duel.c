/* SPDX-License-Identifier: Apache-2.0 */
#include "duel.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/policy/select.h"
#include "daemon/run.h"
#include "daemon/wire/codec.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"
#include "libcore/cred/cred.h"
#include "quick_ke.h"

#define PUMP_MAX 20000 /* steps at one moment; more is a loop without end */

/* --- the world ------------------------------------------------------------------------------------------------------- */

static uint64_t now_ns(struct env *e)
{
	return ((struct duel_side *)(void *)e)->duel->now;
}

static int64_t wall(struct env *e)
{
	return 1800000000 + (int64_t)(now_ns(e) / NS_PER_S);
}

static void random_bytes(struct env *e, void *out, size_t n)
{
	struct duel_side *s = (struct duel_side *)(void *)e;
	uint8_t *p = out;

	for (size_t i = 0; i < n; i++) {
		s->random = s->random * 6364136223846793005ull + 1442695040888963407ull;
		p[i] = (uint8_t)(s->random >> 56);
	}
}

static enum cy_err k_open(void *plugin, const struct cy_kernel_events *ev, uint32_t *features, void **out)
{
	((struct duel_side *)plugin)->ev = ev;
	*features = CY_KERNEL_ESP_RAW | CY_KERNEL_ESP_UDP | CY_KERNEL_TRANSPORT | CY_KERNEL_ESN |
	    CY_KERNEL_IPV6 | CY_KERNEL_POLICY | CY_KERNEL_ACQUIRE;
	*out = plugin;
	return CY_OK;
}

static void k_close(void *k)
{
	(void)k;
}

static struct duel_sa *k_find(struct duel_side *s, const struct cy_kernel_sa_id *id)
{
	for (size_t i = 0; i < s->n_sas; i++)
		if (s->sas[i].id.spi == id->spi && s->sas[i].id.dir == id->dir)
			return &s->sas[i];
	return NULL;
}

static enum cy_err k_sa_add(void *k, const struct cy_kernel_sa *sa)
{
	struct duel_side *s = k;

	if (s->refuse_sa)
		return s->refuse_sa;
	if (s->n_sas == DUEL_SAS)
		return CY_E_LIMIT;
	s->sas[s->n_sas++] = (struct duel_sa){
	    .id = {.spi = sa->spi, .src = sa->src, .dst = sa->dst, .proto = sa->proto, .dir = sa->dir},
	    .life = sa->life};
	return CY_OK;
}

static enum cy_err k_sa_move(void *k, const struct cy_kernel_sa_id *id, const struct cy_addr *src,
    const struct cy_addr *dst, bool encap)
{
	struct duel_sa *sa = k_find(k, id);

	(void)encap;
	if (!sa)
		return CY_E_NOTFOUND;
	sa->id.src = *src;
	sa->id.dst = *dst;
	return CY_OK;
}

static enum cy_err k_sa_del(void *k, const struct cy_kernel_sa_id *id)
{
	struct duel_side *s = k;
	struct duel_sa *sa = k_find(s, id);

	if (!sa)
		return CY_E_NOTFOUND;
	*sa = s->sas[--s->n_sas];
	return CY_OK;
}

static enum cy_err k_sa_query(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	struct duel_sa *sa = k_find(k, id);

	if (!sa)
		return CY_E_NOTFOUND;
	*out = sa->stats;
	return CY_OK;
}

static enum cy_err k_sa_dump(void *k,
    void (*cb)(void *user, const struct cy_kernel_sa_id *id, const struct cy_kernel_sa_stats *stats),
    void *user)
{
	struct duel_side *s = k;

	for (size_t i = 0; i < s->n_sas; i++)
		cb(user, &s->sas[i].id, &s->sas[i].stats);
	return CY_OK;
}

static struct cy_kernel_policy *k_find_policy(struct duel_side *s, const struct cy_kernel_policy *p)
{
	for (size_t i = 0; i < s->n_policies; i++)
		if (s->policies[i].dir == p->dir &&
		    memcmp(&s->policies[i].src, &p->src, sizeof(p->src)) == 0 &&
		    memcmp(&s->policies[i].dst, &p->dst, sizeof(p->dst)) == 0)
			return &s->policies[i];
	return NULL;
}

static enum cy_err k_policy_add(void *k, const struct cy_kernel_policy *p)
{
	struct duel_side *s = k;
	struct cy_kernel_policy *at = k_find_policy(s, p);

	if (s->refuse_policy)
		return s->refuse_policy;
	if (!at && s->n_policies == DUEL_SAS)
		return CY_E_LIMIT;
	*(at ? at : &s->policies[s->n_policies++]) = *p;
	return CY_OK;
}

static enum cy_err k_policy_del(void *k, const struct cy_kernel_policy *p)
{
	struct duel_side *s = k;
	struct cy_kernel_policy *at = k_find_policy(s, p);

	if (!at)
		return CY_E_NOTFOUND;
	*at = s->policies[--s->n_policies];
	if (s->n_policies < s->least_policies)
		s->least_policies = s->n_policies;
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
	(void)dst;
	if (((struct duel_side *)k)->no_way)
		return CY_E_NOTFOUND;
	*out = ((struct duel_side *)k)->addr;
	return CY_OK;
}

static bool k_is_local(void *k, const struct cy_addr *a)
{
	return cy_addr_ip_eq(&((struct duel_side *)k)->addr, a);
}

static enum cy_err k_flush(void *k)
{
	(void)k;
	return CY_OK;
}

static const struct cy_kernel_ops kernel = {.size = sizeof(kernel),
    .name = "duel",
    .open = k_open,
    .close = k_close,
    .sa_add = k_sa_add,
    .sa_move = k_sa_move,
    .sa_del = k_sa_del,
    .sa_query = k_sa_query,
    .policy_add = k_policy_add,
    .policy_del = k_policy_del,
    .addr_set = k_addr_set,
    .source_for = k_source_for,
    .is_local = k_is_local,
    .flush = k_flush,
    .sa_dump = k_sa_dump};

static enum cy_err s_open(void *plugin, const struct cy_socket_config *cfg, void **out, uint32_t *lanes)
{
	((struct duel_side *)plugin)->sockets = *cfg;
	*out = plugin;
	*lanes = ((struct duel_side *)plugin)->duel->steer ? cfg->n_lanes : 1;
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

static uint8_t *copy_of(const uint8_t *p, size_t n)
{
	uint8_t *c = malloc(n ? n : 1);

	if (!c)
		abort();
	memcpy(c, p, n);
	return c;
}

static size_t s_send(void *sock, uint32_t lane, const struct cy_dgram *dg, size_t n)
{
	struct duel_side *s = sock;
	struct duel *d = s->duel;

	(void)lane;
	for (size_t i = 0; i < n; i++) {
		struct duel_dgram *k = &s->kept[s->n_sent++ % DUEL_KEPT];

		free(k->p);
		k->p = copy_of(dg[i].data, dg[i].len);
		k->n = dg[i].len;
		if (d->n_wire < ARRAY_LEN(d->wire)) {
			d->wire[d->n_wire].to = duel_other(s);
			d->wire[d->n_wire].p = copy_of(dg[i].data, dg[i].len);
			d->wire[d->n_wire].natt = dg[i].natt;
			d->wire[d->n_wire++].n = dg[i].len;
		}
	}
	return n;
}

static const struct cy_socket_ops sockets = {
    .size = sizeof(sockets), .name = "duel", .open = s_open, .close = s_close, .fds = s_fds, .send = s_send};

static void on_problem(void *user, const struct conf_problem *p)
{
	(void)user;
	if (p->level <= CY_LOG_ERROR) {
		fprintf(stderr, "%s:%u: %s\n", p->file, p->line, p->text);
		abort();
	}
}

static void on_cred(void *user, enum cy_level level, const char *text)
{
	(void)user;
	if (level <= CY_LOG_ERROR)
		fprintf(stderr, "%s\n", text);
}

static void load_keys(struct config *c)
{
	const struct conn *conn = c->conf->conns[0];
	const struct conn_end *end[2] = {&conn->local, &conn->remote};
	struct cy_pubkey *key;

	for (int i = 0; i < 2; i++)
		if (end[i]->auth[0].pubkey &&
		    creds_load_pubkey(c->creds, end[i]->auth[0].pubkey, &key, on_cred, NULL))
			abort();
}

static enum cy_err configure(void *user, struct daemon *daemon, struct config **out)
{
	struct duel_side *s = user;
	struct config *c = calloc(1, sizeof(*c));
	bool a = s == &s->duel->a;
	struct ident ids[2];
	const struct duel_config *dc = s->duel->config;
	const char *left = a && dc->left_a ? dc->left_a : a ? "10.0.0.1" : "10.0.0.2";
	const char *right = a ? dc->right_a : dc->right_b, *more = a ? dc->conn_a : dc->conn_b;
	const char *secrets = a ? dc->secrets_a : dc->secrets_b;
	char text[2000];
	char subnets[100];
	int n;

	snprintf(subnets, sizeof(subnets), "  leftsubnet=10.%d.0.0/16\n  rightsubnet=10.%d.0.0/16\n",
	    a ? 1 : 2, a ? 2 : 1);
	n = snprintf(text, sizeof(text),
	    "config setup\n%s\nconn net\n  authby=secret\n  left=%s\n  right=%s\n"
	    "  leftid=10.0.0.%d\n  rightid=10.0.0.%d\n%s  auto=add\n%s%s\n%s",
	    dc->setup ? dc->setup : "", left,
	    right   ? right
	        : a ? "10.0.0.2"
	            : "10.0.0.1",
	    a ? 1 : 2, a ? 2 : 1, dc->no_subnets ? "" : subnets,
	    dc->keys
	        ? dc->keys
	        : "  keyexchange=ikev2\n  ike=aes128gcm16-prfsha256-x25519!\n  esp=aes128gcm16-x25519!\n",
	    more ? more : "", a && dc->conns_a ? dc->conns_a : "");
	if (!c)
		return CY_E_NOMEM;
	c->refs = 1;
	c->index_free = conn_index_free;
	if (conf_load_text(text, (size_t)n, "duel", on_problem, NULL, &c->conf) ||
	    creds_new(daemon->crypto, daemon->log, NULL, &c->creds) || ident_parse("10.0.0.1", &ids[0]) ||
	    ident_parse("10.0.0.2", &ids[1]) || conn_index_new(c->conf, &c->index) ||
	    (secrets ? creds_load_secrets_text(c->creds, cy_slice_str(secrets), "duel", on_cred, NULL)
	             : creds_add_psk(c->creds, ids, 2, cy_slice_str("sesame"))))
		abort();
	load_keys(c);
	ident_fini(&ids[0]);
	ident_fini(&ids[1]);
	*out = c;
	return CY_OK;
}

static void on_log(void *user, const struct log_line *line)
{
	if (getenv("DUEL_LOG"))
		fprintf(stderr, "%s %s\n", (const char *)user, line->text);
}

static void boot(struct duel *d, struct duel_side *s, const char *name, const char *addr, uint64_t seed)
{
	const char *plugins = getenv("CYGNET_PLUGINDIR");
	struct daemon_options o = {.conf = "/nonexistent",
	    .secrets = "/nonexistent",
	    .settings = d->settings,
	    .rundir = "/nonexistent",
	    .plugindir = plugins ? plugins : ".libs",
	    .no_control = true,
	    .workers = d->config->workers ? d->config->workers : 1,
	    .user = s,
	    .env = &s->env,
	    .log = on_log,
	    .log_user = (void *)name,
	    .kernel = &kernel,
	    .kernel_plugin = s,
	    .socket = &sockets,
	    .socket_plugin = s,
	    .configure = configure};
	char why[256] = "";

	s->duel = d;
	s->seed = s->random = seed;
	s->env = (struct env){.now_ns = now_ns, .wall = wall, .random = random_bytes, .simulated = true};
	if (addr_parse(addr, &s->addr) || daemon_new(&o, why, sizeof(why), &s->d) ||
	    daemon_start(s->d, why, sizeof(why))) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	s->ke = quick_ke_new(s->d, false);
	if (!s->ke)
		abort();
}

struct duel *duel_new(void)
{
	static const struct duel_config plain = {0};

	return duel_new_with(&plain);
}

struct duel *duel_new_with(const struct duel_config *c)
{
	struct duel *d = calloc(1, sizeof(*d));
	int fd;

	if (!d)
		abort();
	d->config = c;
	d->steer = c->steer;
	fd = memfd_create("settings", MFD_CLOEXEC); /* nothing is left of it, whatever happens */
	snprintf(d->settings, sizeof(d->settings), "/proc/self/fd/%d", fd);
	if (fd < 0 ||
	    dprintf(fd,
	        "load = \"openssl\"\ncrypto_prefer = \"quick openssl\"\nikev1_phase2_delay = 0\n%s%s\n",
	        getenv("DUEL_LOG") ? "" : "log {\n\tdefault = error\n}\n",
	        c->settings ? c->settings : "") < 0)
		abort();
	d->now = 1000 * NS_PER_S;
	d->iv = 1ull << 40;
	boot(d, &d->a, "A", "10.0.0.1", 1);
	boot(d, &d->b, "B", "10.0.0.2", 2);
	if (c->nat_a && addr_parse(c->nat_a, &d->a.seen))
		abort();
	close(fd);
	duel_pump(d);
	duel_reset(d); /* the first input begins like all others */
	return d;
}

static void wire_clear(struct duel *d)
{
	for (size_t i = 0; i < d->n_wire; i++)
		free(d->wire[i].p);
	d->n_wire = 0;
}

void duel_free(struct duel *d)
{
	struct duel_side *sides[] = {&d->a, &d->b};

	duel_reset(d);
	for (size_t i = 0; i < 2; i++) {
		daemon_stop(sides[i]->d);
		daemon_free(sides[i]->d);
		quick_ke_free(sides[i]->ke);
		for (size_t j = 0; j < DUEL_KEPT; j++)
			free(sides[i]->kept[j].p);
	}
	wire_clear(d);
	free(d);
}

/* --- running --------------------------------------------------------------------------------------------------------- */

struct duel_side *duel_other(struct duel_side *s)
{
	return s == &s->duel->a ? &s->duel->b : &s->duel->a;
}

static size_t step(struct duel_side *s)
{
	size_t ran = 0;

	for (uint32_t i = 0; i < processor_n(s->d->processor); i++)
		ran += worker_step(processor_worker(s->d->processor, i), 1000);
	return ran;
}

static uint64_t next_due(struct duel_side *s)
{
	uint64_t due = UINT64_MAX;

	for (uint32_t i = 0; i < processor_n(s->d->processor); i++) {
		uint64_t at = worker_next_due(processor_worker(s->d->processor, i));

		due = at < due ? at : due;
	}
	return due;
}

static void arrive(struct duel_side *to, uint8_t *data, size_t n, bool natt)
{
	const struct duel_side *from = duel_other(to);
	struct cy_dgram dg = {.src = from->seen.family ? from->seen : from->addr,
	    .dst = to->addr,
	    .data = data,
	    .len = (uint32_t)n,
	    .natt = natt};
	struct worker *w = NULL;

	dg.src.port = dg.dst.port = natt ? 4500 : 500;
	if (to->duel->steer)
		w = processor_worker(to->d->processor, to->duel->steer(&to->sockets, &dg));
	net_inject(to->d->net, w, &dg);
}

void duel_inject(struct duel_side *to, const uint8_t *p, size_t n)
{
	uint8_t *data = copy_of(p, n); /* of its exact size, for AddressSanitizer */

	arrive(to, data, n, false);
	free(data);
	duel_pump(to->duel);
}

void duel_pump(struct duel *d)
{
	for (int i = 0;; i++) {
		size_t ran = step(&d->a) + step(&d->b);

		if (i > PUMP_MAX)
			abort();
		if (d->n_wire && d->pass) {
			d->pass--;
			arrive(d->wire[0].to, d->wire[0].p, d->wire[0].n, d->wire[0].natt);
			free(d->wire[0].p);
			memmove(&d->wire[0], &d->wire[1], --d->n_wire * sizeof(d->wire[0]));
		} else if (!ran) {
			break;
		}
	}
	if (!d->pass)
		wire_clear(d);
}

void duel_advance(struct duel *d, uint64_t ns)
{
	uint64_t end = d->now + ns;

	for (int i = 0;; i++) {
		uint64_t x = next_due(&d->a), y = next_due(&d->b);
		uint64_t due = x < y ? x : y;

		if (i > PUMP_MAX)
			abort();
		if (due > end)
			break;
		if (due > d->now)
			d->now = due;
		duel_pump(d);
	}
	d->now = end;
	duel_pump(d);
}

struct ike_sa *duel_sa(struct duel_side *s)
{
	struct ike_sa *sa = NULL;

	for (uint32_t i = 0; !sa && i < s->d->sas->n; i++) {
		size_t pos = 0;
		slab_handle h;

		sa = slab_next(&s->d->sas->shards[i].slab, &pos, &h);
	}
	return sa;
}

size_t duel_count(struct duel_side *s)
{
	size_t n = 0;

	for (uint32_t i = 0; i < s->d->sas->n; i++) {
		size_t pos = 0;
		slab_handle h;

		while (slab_next(&s->d->sas->shards[i].slab, &pos, &h))
			n++;
	}
	return n;
}

void duel_reset(struct duel *d)
{
	struct duel_side *sides[] = {&d->a, &d->b};
	struct ike_sa *sa;

	d->pass = 0;
	for (size_t i = 0; i < 2; i++)
		while ((sa = duel_sa(sides[i])))
			ike_sa_destroy(sa, NULL);
	duel_pump(d);
	d->now += 2 * NS_PER_S; /* the limit of answers to strangers begins anew */
	duel_pump(d);
	for (size_t i = 0; i < 2; i++) {
		sides[i]->random = sides[i]->seed;
		quick_ke_seed(sides[i]->ke, (uint32_t)sides[i]->seed);
	}
}

void duel_start(struct duel *d, struct duel_side *from, uint32_t pass)
{
	struct config *c = daemon_config(from->d);

	d->pass = pass;
	sa_initiate(from->d, c->conf->conns[0], NULL, 0, NULL, NULL);
	config_unref(c);
	duel_pump(d);
	d->pass = 0;
	duel_pump(d);
}

/* --- forging --------------------------------------------------------------------------------------------------------- */

struct ike_header duel_header(const struct ike_sa *by, uint8_t exchange, bool response, uint32_t msgid)
{
	return (struct ike_header){.spi_i = by->spi_i,
	    .spi_r = by->spi_r,
	    .major = 2,
	    .exchange = exchange,
	    .flags = (by->initiator ? IKE_FLAG_INITIATOR : 0) | (response ? IKE_FLAG_RESPONSE : 0),
	    .msgid = msgid};
}

size_t duel_seal(struct duel *d, struct ike_sa *by, const struct ike_header *h, uint8_t next,
    struct cy_slice plain, uint16_t no, uint16_t total, uint8_t *out, size_t cap)
{
	struct writer w = writer_of(out, cap);
	struct ike_header outer = *h;
	struct protect_keys k;
	const struct cy_cipher_alg *alg;
	uint8_t nonce[12];
	size_t iv_at, tag_at;
	void *ctx;

	ike_protect_keys(by, true, &k);
	alg = crypto_cipher(by->shard->d->crypto, k.encr, k.key_bits);
	if (!alg || !alg->aead || alg->salt_len + alg->iv_len != sizeof(nonce) || alg->ctx_new(alg, &ctx) ||
	    alg->ctx_key(ctx, cy_slice(k.encr_key.p, k.encr_key.n - alg->salt_len), true))
		abort();
	outer.next = total ? PAYLOAD_SKF : PAYLOAD_SK;
	wire_header_encode(&outer, &w);
	write_u8(&w, next);
	write_u8(&w, 0);
	write_u16(&w, (uint16_t)(4 + (total ? 4 : 0) + 8 + plain.n + 1 + alg->icv_len));
	if (total) {
		write_u16(&w, no);
		write_u16(&w, total);
	}
	iv_at = w.n;
	write_u64(&w, d->iv++);
	write_bytes(&w, plain);
	write_u8(&w, 0);
	tag_at = w.n;
	write_zero(&w, alg->icv_len);
	if (w.bad)
		abort();
	wire_length_set(&w, 0);
	memcpy(nonce, k.encr_key.p + k.encr_key.n - alg->salt_len, alg->salt_len);
	memcpy(nonce + alg->salt_len, out + iv_at, 8);
	if (alg->crypt(ctx, cy_slice(nonce, sizeof(nonce)), cy_slice(out, iv_at), out + iv_at + 8,
	        tag_at - iv_at - 8, out + tag_at))
		abort();
	alg->ctx_free(ctx);
	return w.n;
}

const struct duel_dgram *duel_last(const struct duel_side *s, uint64_t i)
{
	return i < s->n_sent && i < DUEL_KEPT ? &s->kept[(s->n_sent - 1 - i) % DUEL_KEPT] : NULL;
}
