/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A random run: everything is drawn from the seed. Some daemons with connections between them live through some twenty
 * minutes of faults, rekeying and administrators; then the network heals, and within fifteen minutes traffic must flow
 * on every connection.
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/sa/manager.h"
#include "sim.h"

#define NODES_MAX 4
#define HEAL_NS   (600 * NS_PER_S) /* by itself: retransmissions give up, liveness notices, restarts */
#define UP_NS     (300 * NS_PER_S) /* then somebody says up where he has said down */

struct link {
	struct sim_node *a, *b; /* b initiates */
	char name[16], a_ip[32], b_ip[32];
	char *conf[2][2]; /* by end: of the connection, and with another lifetime */
	uint32_t is[2];   /* which of them an end has, GONE none */
};
#define GONE 2

struct world {
	struct sim *s;
	struct sim_node *nodes[NODES_MAX];
	const char *setup[NODES_MAX]; /* of their configurations */
	uint32_t n;
	struct link links[NODES_MAX * NODES_MAX];
	uint32_t n_links;
	struct sim_prng scripts, fetch; /* what is drawn for them: all else stays what it was */
};

static uint32_t draw(struct world *w, uint32_t n)
{
	return (uint32_t)sim_prng_below(&w->s->prng, n);
}

static bool chance(struct world *w, uint32_t percent)
{
	return draw(w, 100) < percent;
}

static void append(char **to, const char *text)
{
	char *more;

	if (asprintf(&more, "%s%s", *to, text) < 0)
		abort();
	free(*to);
	*to = more;
}

/*
 * Does the client (b) get an address, is it pushed, and does a user log in before that? Not drawn either, and of IKEv2 in every fourth
 * run only: what the others were good for they still are.
 */
struct remote_access {
	bool address, push, login;
};

static struct remote_access remote_access(const struct world *w, uint32_t i, uint32_t j)
{
	static const struct remote_access v1[] = {{true, false, true}, {true, true, true},
	    {false, false, true}, {true, false, false}, {true, true, false}, {false, false, false}};
	uint64_t n = w->s->seed + 2 * i + j;

	if (w->s->v1)
		return v1[n % ARRAY_LEN(v1)];
	return (struct remote_access){.address = w->s->seed % 4 == 3 && n % 2};
}

/* How two prove who they are. HYBRID: the server by a certificate, the user logs in. Not drawn. */
enum proof { BY_PSK, BY_KEY, BY_CERT, BY_HYBRID };

/* What keys there are in the certificates of a run. Of IKEv1 only RSA goes with XAUTH. */
static enum sim_key_kind cert_kind(const struct world *w)
{
	return w->s->seed % 4 == 1 ? SIM_RSA : w->s->v1 ? (w->s->seed % 2 ? SIM_RSA : SIM_P256) : SIM_ED25519;
}

static enum proof proof(const struct world *w, uint32_t i, uint32_t j)
{
	uint64_t n = w->s->seed + i + j;
	bool odd = n / 3 % 2, login = remote_access(w, i, j).login;
	char text[SIM_KEY_TEXT];

	if (n % 3 || !sim_key_public(1, text) || (login && cert_kind(w) != SIM_RSA))
		return BY_PSK;
	if (!w->s->v1)
		return odd ? BY_CERT : BY_KEY;
	return login && odd ? BY_HYBRID : BY_CERT;
}

static uint64_t key_number(const struct world *w, uint32_t node)
{
	return w->s->seed * NODES_MAX + node;
}

/* What a connection has for it, at one end. */
static void remote_access_text(
    const struct world *w, uint32_t i, uint32_t j, bool client, char *out, size_t cap)
{
	struct remote_access ra = remote_access(w, i, j);
	const char *round = proof(w, i, j) == BY_HYBRID ? "" : "2"; /* logging in is the second */
	int at = 0;

	out[0] = '\0';
	if (ra.login)
		at += client
		    ? snprintf(out, cap, "  leftauth%s=xauth\n  xauth_identity=u%u%u\n", round, i, j)
		    : snprintf(out, cap, "  rightauth%s=xauth-%s\n", round, j % 2 ? "pam" : "generic");
	if (ra.address && client)
		at += snprintf(out + at, cap - (size_t)at, "  leftsourceip=%%config\n");
	else if (ra.address)
		at +=
		    snprintf(out + at, cap - (size_t)at, "  rightsourceip=10.%u.0.0/29\n", 100 + 10 * i + j);
	if (ra.push)
		snprintf(out + at, cap - (size_t)at, "  modeconfig=push\n");
}

/* Both ends have auto=start, so that each has a tunnel of its own. Not drawn. Who gives addresses begins with nobody. */
static bool both_begin(const struct world *w, const struct link *l, uint32_t i, uint32_t j)
{
	struct remote_access ra = remote_access(w, i, j);

	return (w->s->seed + i + j) % 4 == 1 && !l->b->nat && !ra.address && !ra.login;
}

/* authby= and what goes with it, of node me towards other; the higher number is the client. */
static void auth_text(struct world *w, uint32_t me, uint32_t other, char *out, size_t cap)
{
	uint32_t i = me < other ? me : other, j = me < other ? other : me;
	bool login = remote_access(w, i, j).login;
	char ours[SIM_KEY_TEXT], theirs[SIM_KEY_TEXT];

	switch (proof(w, i, j)) {
	case BY_PSK:
		snprintf(out, cap, login ? "leftauth=psk\n  rightauth=psk" : "authby=secret");
		break;
	case BY_KEY:
		if (!sim_key_public(key_number(w, me), ours) || !sim_key_public(key_number(w, other), theirs))
			abort();
		snprintf(out, cap, "authby=pubkey\n  leftsigkey=%s\n  rightsigkey=%s", ours, theirs);
		break;
	case BY_CERT:
		snprintf(out, cap, login ? "leftauth=pubkey\n  rightauth=pubkey" : "authby=pubkey");
		break;
	case BY_HYBRID:
		snprintf(out, cap, me == j ? "rightauth=pubkey" : "leftauth=pubkey");
		break;
	}
}

static void secrets_text(const struct world *w, uint32_t i, uint32_t j, uint32_t me, char *out, size_t cap)
{
	static const char users[] =
	    "u%u%u : XAUTH pw-u%u%u\nu%u%u/answer : XAUTH more-u%u%u\n@n%u @n%u : PSK sesame%u%u\n";
	enum proof how = proof(w, i, j);
	int at = 0;

	if (how == BY_KEY)
		at = snprintf(out, cap, "KEY %llu\n", (unsigned long long)key_number(w, me));
	else if (how == BY_CERT || how == BY_HYBRID)
		at = snprintf(out, cap, "CERT %s n%u\n", sim_key_kinds[cert_kind(w)], me);
	snprintf(out + at, cap - (size_t)at, users, i, j, i, j, i, j, i, j, i, j, i, j);
}

/* What else a connection may have, both of its ends alike: CHILD_SAs of CPUs, aggressive mode. */
static const char *extras(struct world *w)
{
	if (w->s->v1)
		return chance(w, 30) ? "  aggressive=yes\n" : "";
	return !chance(w, 20) ? "" : chance(w, 30) ? "  per-cpu-sas=encap\n" : "  per-cpu-sas=yes\n";
}

/* The configuration of a node from what its connections are now. */
static void configure(struct world *w, struct sim_node *n)
{
	uint64_t x = w->s->seed + n->index; /* not drawn */

	free(n->conf_text);
	n->conf_text = strdup(w->setup[n->index]);
	if (x % 6 == 1)
		append(&n->conf_text, x % 4 ? "  strictcrlpolicy=yes\n" : "  strictcrlpolicy=ifuri\n");
	if (x % 3)
		append(
		    &n->conf_text, "ca sim\n  cacert=sim.pem\n  auto=add\n  crluri=http://crl.sim/ca.crl\n");
	if (x % 3 == 2)
		append(&n->conf_text, "  ocspuri=http://ocsp.sim/\n");
	for (uint32_t i = 0; i < w->n_links; i++) {
		const struct link *l = &w->links[i];

		for (int side = 0; side < 2; side++)
			if ((side ? l->b : l->a) == n && l->is[side] != GONE)
				append(&n->conf_text, l->conf[side][l->is[side]]);
	}
}

/* An administrator changes a connection, removes it or puts it back, and reads the files again. */
static void reload(struct world *w, struct link *l, int side)
{
	l->is[side] = draw(w, 3);
	configure(w, side ? l->b : l->a);
	sim_reload(side ? l->b : l->a);
}

static void add_link(struct world *w, uint32_t i, uint32_t j)
{
	static const char *const esp[] = {"aes128gcm16!", "aes128gcm16-x25519!", "aes128-sha256-x25519!",
	    "aes256gcm16,aes128gcm16-x25519!"};
	struct link *l = &w->links[w->n_links++];
	uint32_t ike_life = 120 + draw(w, 600), life = 60 + draw(w, 240), margin = 10 + draw(w, 20);
	const char *suite = esp[draw(w, 4)], *reauth = chance(w, 20) ? "yes" : "no";
	const char *frag = chance(w, 50) ? "yes" : "no", *more = extras(w);
	uint32_t device = chance(w, 15) ? 1 + draw(w, 3) : 0;
	char text[2048];
	/* Not drawn. Of IKEv1 a key is chosen by the address, which a name does not show. */
	bool named = (w->s->seed + 3 * i + j) % 5 == 0 && (!w->s->v1 || proof(w, i, j) != BY_PSK),
	     route = (w->s->seed + i + 2 * j) % 4 == 1;

	l->a = w->nodes[i];
	l->b = w->nodes[j];
	snprintf(l->name, sizeof(l->name), "c%u%u", i, j);
	snprintf(l->a_ip, sizeof(l->a_ip), "10.%u.0.1", i + 1);
	snprintf(l->b_ip, sizeof(l->b_ip), "10.%u.0.1", j + 1);
	for (int side = 0; side < 2; side++) {
		uint32_t me = side ? j : i, other = side ? i : j;
		uint32_t lasts = life + draw(w, 60), ike_lasts = ike_life + draw(w, 100);
		char right[32], auth[512], access[256];

		remote_access_text(w, i, j, side, access, sizeof(access));
		snprintf(
		    right, sizeof(right), side && named ? "n%u.sim" : "192.0.2.%u", other + !(side && named));
		auth_text(w, me, other, auth, sizeof(auth));
		for (uint32_t v = 0; v < 2; v++) {
			snprintf(text, sizeof(text),
			    "conn %s\n  keyexchange=%s\n  %s\n  left=192.0.2.%u\n  leftid=@n%u\n"
			    "  right=%s\n  rightid=@n%u\n  leftsubnet=10.%u.0.0/16\n  "
			    "rightsubnet=10.%u.0.0/16\n"
			    "  ike=%s!\n  esp=%s\n  ikelifetime=%us\n  lifetime=%us\n"
			    "  margintime=%us\n  reauth=%s\n  fragmentation=%s\n  dpddelay=30s\n"
			    "  dpdaction=%s\n  keyingtries=%%forever\n  auto=%s\n%s%s%s",
			    l->name, w->s->v1 ? "ikev1" : "ikev2", auth, me + 1, me,
			    !side && l->b->nat ? "%any" : right, other, me + 1, other + 1,
			    w->s->v1 ? "aes128-sha256-x25519" : "aes128gcm16-prfsha256-x25519", suite,
			    ike_lasts, lasts + 20 * v, margin, reauth, frag, side ? "restart" : "clear",
			    !side       ? both_begin(w, l, i, j) ? "start" : "add"
			        : route ? "route"
			                : "start",
			    more, access, (w->s->seed + i + j + side) % 3 ? "  leftupdown=/updown\n" : "");
			l->conf[side][v] = strdup(text);
		}
		secrets_text(w, i, j, me, text, sizeof(text));
		append(side ? &l->b->secrets_text : &l->a->secrets_text, text);
		snprintf(text, sizeof(text), "%s %u\n", l->name, device);
		if (device)
			append(side ? &l->b->devices_text : &l->a->devices_text, text);
	}
}

/* What the back end of a node gives to those who log in: nothing, an address, one of a pool, one of a group's. Not drawn. */
static void users_get(const struct world *w, uint32_t i)
{
	struct sim_node *n = w->nodes[i];
	char text[64];

	snprintf(text, sizeof(text), "group_pools = \"others= staff=10.%u.0.0/32,10.%u.0.0/29\"\n", 200 + i,
	    210 + i);
	append(&n->settings_text, text);
	snprintf(text, sizeof(text), "10.%u.0.10", 220 + i);
	switch ((w->s->seed + i) % 4) {
	case 0:
		if (addr_parse(text, &n->xauth.address))
			abort();
		break;
	case 1:
		snprintf(n->xauth.pool, sizeof(n->xauth.pool), "10.%u.0.0/29", 230 + i);
		break;
	case 2:
		snprintf(n->xauth.group, sizeof(n->xauth.group), "staff");
		break;
	default:
		break;
	}
}

static void make_world(struct world *w)
{
	static const uint32_t fragments[] = {0, 400, 250};
	char name[32], addr[32];

	w->n = 2 + draw(w, NODES_MAX - 1);
	if (chance(w, 40))
		sim_nat_add(w->s, "nat", "203.0.113.1");
	for (uint32_t i = 0; i < w->n; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		snprintf(addr, sizeof(addr), "192.0.2.%u", i + 1);
		w->setup[i] = chance(w, 70) ? "config setup\n" : "config setup\n  uniqueids=no\n";
		w->nodes[i] = sim_add(w->s, name, addr, "", "");
		w->nodes[i]->workers = 1 + draw(w, 3);
		w->nodes[i]->slow_ke = chance(w, 30);
		if (chance(w, 30))
			sim_slow(w->nodes[i], ENV_KERNEL, draw(w, 20) * NS_PER_MS);
		if (w->s->n_nats && i == w->n - 1)
			w->nodes[i]->nat = &w->s->nats[0];
		w->nodes[i]->fragments = fragments[draw(w, 3)];
		if (chance(w, 20))
			append(&w->nodes[i]->settings_text, "cookie_threshold_total = 1\n");
		if ((w->s->seed + i) % 5 == 2)
			append(&w->nodes[i]->settings_text, "init_limit_half_open = 1\n");
		users_get(w, i);
		w->nodes[i]->fetch.life_s = 100 + (uint32_t)(w->s->seed + i) % 5 * 200;
		if ((w->s->seed + i) % 3 == 0) /* not drawn: what follows stays what it was */
			append(&w->nodes[i]->settings_text, "ikev1_commit = yes\n");
		if ((w->s->seed + i) % 4 == 0)
			append(&w->nodes[i]->settings_text,
			    "plugins {\n  updown {\n    parallel = 1\n    queue = 3\n  }\n}\n");
	}
	for (uint32_t i = 0; i < w->n; i++)
		for (uint32_t j = i + 1; j < w->n; j++)
			if (j == i + 1 || chance(w, 40))
				add_link(w, i, j);
	for (uint32_t i = 0; i < w->n; i++)
		configure(w, w->nodes[i]);
}

static void draw_faults(struct world *w)
{
	struct sim_faults *f = &w->s->faults;

	f->loss = chance(w, 50) ? draw(w, 300) : 0;
	f->duplicate = chance(w, 50) ? draw(w, 200) : 0;
	f->reorder = chance(w, 50) ? draw(w, 300) : 0;
	f->corrupt = chance(w, 30) ? draw(w, 50) : 0;
	f->fragment_loss = chance(w, 20) ? draw(w, 400) : 0;
	f->delay_ns = (1 + draw(w, 60)) * NS_PER_MS;
	f->jitter_ns = (1 + draw(w, 30)) * NS_PER_MS;
	f->partition = chance(w, 8);
}

/* One node has a bad time, or what it had is over. */
static void ail(struct world *w, struct sim_node *n)
{
	static const enum cy_err errors[] = {CY_E_NOMEM, CY_E_EXISTS, CY_E_BUSY, CY_E_IO};
	static const uint64_t slow[] = {5 * NS_PER_MS, 100 * NS_PER_MS, 3 * NS_PER_S, 40 * NS_PER_S};

	switch (draw(w, w->s->v1 ? 21 : 17)) {
	case 0:
		sim_stop_for(n, (1 + draw(w, chance(w, 70) ? 20 : 400)) * NS_PER_S);
		break;
	case 1:
		n->wall_off += (int64_t)draw(w, 200000) - 100000;
		break;
	case 2:
		sim_slow(n, ENV_KERNEL, slow[draw(w, 4)]);
		break;
	case 3:
		sim_slow(n, ENV_POOL, slow[draw(w, 4)]);
		break;
	case 4:
		n->listener_stalls = true;
		break;
	case 5:
		n->kernel.fail_with = errors[draw(w, 4)];
		n->kernel.fail_adds = 1 + draw(w, 3);
		break;
	case 6:
		n->kernel.fail_with = errors[draw(w, 4)];
		n->kernel.fail_policies = 1 + draw(w, 3);
		break;
	case 7:
		n->kernel.lose_events = 500;
		break;
	case 8:
		n->starving.thousandths = 1 + draw(w, 60);
		break;
	case 9:
		n->kernel.fail_with = errors[draw(w, 4)];
		n->kernel.fail_devices = 1 + draw(w, 3);
		break;
	case 11:
		n->authorize.slow_ns = slow[draw(w, 4)];
		break;
	case 12:
		n->authorize.silent = true;
		break;
	case 13:
		n->authorize.refuse = draw(w, 1000);
		break;
	case 14:
		sim_slow(n, ENV_IO, slow[draw(w, 4)]);
		break;
	case 15:
		n->store_fails = draw(w, 1000);
		break;
	case 16:
		n->no_names = true;
		break;
	case 17:
		n->xauth.slow_ns = slow[draw(w, 4)];
		break;
	case 18:
		n->xauth.silent = true;
		break;
	case 19:
		n->xauth.refuse = draw(w, 1000);
		n->xauth.error = draw(w, 1000);
		break;
	case 20:
		n->xauth.rounds = draw(w, 4);
		break;
	default:
		sim_recover(n);
		break;
	}
}

/* The scripts of a node fail, are slow or do not end. */
static void ail_scripts(struct world *w)
{
	static const uint64_t slow[] = {100 * NS_PER_MS, 2 * NS_PER_S, 25 * NS_PER_S};
	uint64_t x = sim_prng_next(&w->scripts);
	struct sim_node *n = w->nodes[x / 64 % w->n];

	switch (x % 64) {
	case 0:
	case 1:
	case 2:
		n->scripts.slow_ns = slow[x % 64];
		break;
	case 3:
		n->scripts.fail = (uint32_t)sim_prng_below(&w->scripts, 1000);
		break;
	case 4:
		n->scripts.crash = (uint32_t)sim_prng_below(&w->scripts, 1000);
		break;
	case 5:
		n->scripts.silent = true;
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		n->scripts.slow_ns = n->scripts.fail = n->scripts.crash = 0;
		n->scripts.silent = false;
		break;
	default:
		break;
	}
}

/* The servers of CRLs and OCSP that a node asks are slow, fail, send nonsense or never answer. */
static void ail_fetch(struct world *w)
{
	static const uint64_t slow[] = {100 * NS_PER_MS, 3 * NS_PER_S, 30 * NS_PER_S};
	uint64_t x = sim_prng_next(&w->fetch);
	struct sim_node *n = w->nodes[x / 64 % w->n];

	switch (x % 64) {
	case 0:
	case 1:
	case 2:
		n->fetch.slow_ns = slow[x % 64];
		break;
	case 3:
	case 4:
		n->fetch.fail = (uint32_t)sim_prng_below(&w->fetch, 1001);
		break;
	case 5:
	case 6:
		n->fetch.silent = true;
		break;
	case 7:
		n->fetch.nonsense = true;
		break;
	case 8:
	case 9:
	case 10:
	case 11:
		n->fetch.slow_ns = n->fetch.fail = 0;
		n->fetch.silent = n->fetch.nonsense = false;
		break;
	default:
		break;
	}
}

static void one_act(struct world *w)
{
	struct link *l = &w->links[draw(w, w->n_links)];
	struct sim_node *n = chance(w, 50) ? l->a : l->b;
	enum sim_act act = chance(w, 50) ? SIM_REKEY_CHILD : SIM_REKEY_IKE;

	switch (draw(w, 20)) {
	case 0:
	case 1:
	case 2:
	case 3: /* both at once */
		sim_act(l->a, act, l->name);
		sim_act(l->b, chance(w, 80) ? act : SIM_REKEY_CHILD, l->name);
		break;
	case 4:
	case 5:
		sim_act(n, act, l->name);
		break;
	case 6:
		sim_act(l->a, act, l->name);
		sim_act(l->b, chance(w, 50) ? SIM_DELETE_CHILD : SIM_EXPIRE_CHILD, l->name);
		break;
	case 7:
		sim_up(l->b, l->name);
		break;
	case 8:
		sim_down(n, l->name);
		break;
	case 9:
		sim_down(l->a, l->name);
		sim_down(l->b, l->name);
		break;
	case 10: /* both close CHILD_SAs, or one closes and the other replaces the IKE_SA */
		sim_act(l->a, SIM_DELETE_CHILD, l->name);
		sim_act(l->b, chance(w, 50) ? SIM_DELETE_CHILD : SIM_REKEY_IKE, l->name);
		break;
	case 13:
	case 14:
	case 15:
	case 16:
		ail(w, n);
		break;
	case 11:
		if (chance(w, 50))
			sim_kill(n);
		else
			sim_halt(n);
		break;
	case 12:
		if (w->s->n_nats)
			sim_nat_rebind(&w->s->nats[0]);
		break;
	case 17:
	case 18:
		reload(w, l, n == l->b);
		break;
	default:
		sim_act(l->b, SIM_REAUTH, l->name);
		break;
	}
}

static bool flows(struct link *l)
{
	bool back = sim_ping(l->b, l->a, l->b_ip, l->a_ip), there = sim_ping(l->a, l->b, l->a_ip, l->b_ip);

	return there && back;
}

static bool all_flow(struct world *w)
{
	bool all = true;

	for (uint32_t i = 0; i < w->n_links; i++)
		all &= flows(&w->links[i]);
	return all;
}

/* No IKE_SA half made, replaced or half closed. */
static bool settled(void *user)
{
	struct world *w = user;

	for (uint32_t i = 0; i < w->n; i++)
		if (sim_count_sas(w->nodes[i], IKE_ESTABLISHED) != sim_count_sas(w->nodes[i], -1))
			return false;
	return true;
}

/* The CHILD_SAs and policies of a node, for who looks for what went wrong. */
static void show(struct sim_node *n)
{
	struct sa_manager *m = n->d ? n->d->sas : NULL;
	struct hnode *h, *tmp;
	struct list *l;
	size_t b;

	for (uint32_t i = 0; m && i < m->n; i++)
		hmap_foreach (&m->shards[i].child_in, b, h, tmp) {
			const struct child_sa *c = container_of(h, struct child_sa, by_spi_in);

			printf("%s: %s{%llu} of [%llu], state %d, reqid %u, CPU %d%s%s, in %d, out %d, "
			       "policies %d\n",
			    n->name, c->conn->name, (unsigned long long)c->id,
			    c->sa ? (unsigned long long)c->sa->id : 0, c->state, c->reqid, c->cpu,
			    c->per_cpu ? ", per CPU" : "", c->is_fallback ? ", first" : "", c->in_installed,
			    c->out_installed, c->policies_installed);
		}
	list_foreach (l, &n->kernel.policies) {
		const struct cy_kernel_policy *p = &list_entry(l, struct sim_kpol, node)->p;

		if (p->dir == CY_DIR_OUT)
			printf("%s: policy of reqid %u, cookie %08llx\n", n->name, p->reqid,
			    (unsigned long long)p->cookie);
	}
}

static void heal(struct world *w)
{
	struct sim *s = w->s;

	s->faults = (struct sim_faults){.delay_ns = 5 * NS_PER_MS, .jitter_ns = NS_PER_MS};
	for (uint32_t i = 0; i < w->n_links; i++)
		for (int side = 0; side < 2; side++)
			w->links[i].is[side] %= GONE;
	for (uint32_t i = 0; i < w->n; i++) {
		configure(w, w->nodes[i]);
		sim_recover(w->nodes[i]);
		sim_boot(w->nodes[i]);
		sim_reload(w->nodes[i]);
	}
	sim_run(s, HEAL_NS, NULL, NULL);
	for (uint64_t t = 0; t < UP_NS && !s->failure[0]; t += 5 * NS_PER_S) {
		if (t % (60 * NS_PER_S) == 0)
			for (uint32_t i = 0; i < w->n_links; i++)
				if (!flows(&w->links[i]))
					sim_up(w->links[i].b, w->links[i].name);
		sim_run(s, 5 * NS_PER_S, NULL, NULL);
		if (t >= 120 * NS_PER_S && all_flow(w))
			return;
	}
	for (uint32_t i = 0; i < w->n_links; i++)
		if (!flows(&w->links[i]))
			sim_fail(s, "no traffic on %s long after the network healed", w->links[i].name);
	for (uint32_t i = 0; s->verbose && s->failure[0] && i < w->n; i++)
		show(w->nodes[i]);
}

void sim_random(struct sim *s)
{
	struct world w = {.s = s};
	uint64_t end;

	sim_prng_seed(&w.scripts, s->seed ^ 0x5c21975);
	sim_prng_seed(&w.fetch, s->seed ^ 0xfe7c4);
	make_world(&w);
	for (uint32_t i = 0; i < w.n && !s->failure[0]; i++)
		sim_boot(w.nodes[i]);
	for (end = s->now + 1200 * NS_PER_S; s->now < end && !s->failure[0];) {
		draw_faults(&w);
		sim_run(s, (1 + draw(&w, 60)) * NS_PER_S, NULL, NULL);
		for (uint32_t i = draw(&w, 3); i-- > 0;)
			one_act(&w);
		ail_scripts(&w);
		ail_fetch(&w);
		for (uint32_t i = 0; i < w.n; i++) /* who sends next */
			w.nodes[i]->kernel.cpu = (int32_t)draw(&w, 5) - 1;
		(void)all_flow(&w);
		if (chance(&w, 60))
			for (uint32_t i = 0; i < w.n; i++)
				sim_boot(w.nodes[i]);
	}
	if (!s->failure[0])
		heal(&w);
	if (!s->failure[0] && sim_run(s, 60 * NS_PER_S, settled, &w) && !settled(&w))
		sim_fail(s, "an IKE_SA is stuck between two states");
	for (uint32_t i = 0; i < w.n; i++) {
		struct knl_stats st;

		sim_check_leases(s, w.nodes[i]);
		if (!w.nodes[i]->d)
			continue;
		sim_store_check(w.nodes[i]);
		knl_read_stats(w.nodes[i]->d->knl, &st);
		if (st.policies_owed)
			sim_fail(s, "%s: %zu policies are still to be taken out", w.nodes[i]->name,
			    st.policies_owed);
	}
	if (!s->failure[0])
		sim_teardown(s, true);
	for (uint32_t i = 0; i < w.n_links; i++)
		for (int k = 0; k < 4; k++)
			free(w.links[i].conf[k / 2][k % 2]);
	if (s->verbose)
		printf("sent %llu, lost %llu, duplicated %llu, corrupted %llu\n",
		    (unsigned long long)s->stats.sent, (unsigned long long)s->stats.lost,
		    (unsigned long long)s->stats.duplicated, (unsigned long long)s->stats.corrupted);
}
