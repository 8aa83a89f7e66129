/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/run/usage.h"

#include <stdlib.h>

#define CPU_STEPS 64 /* the CPU clock is read at least so often */
#define NO_KEY    0

const char *const usage_op_names[USAGE_OP_N] = {
    [USAGE_ENCRYPT] = "encrypt",
    [USAGE_DECRYPT] = "decrypt",
    [USAGE_MAC] = "mac",
    [USAGE_PRF] = "prf",
    [USAGE_KEYGEN] = "keygen",
    [USAGE_DERIVE] = "derive",
    [USAGE_SIGN] = "sign",
    [USAGE_VERIFY] = "verify",
    [USAGE_CHAIN] = "chain",
    [USAGE_REVOCATION] = "revocation",
};

static _Thread_local struct usage_lane *self;

/* One writer: a plain add of an atomic that nobody else changes. */
#define LOAD(p)     __atomic_load_n((p), __ATOMIC_RELAXED)
#define STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)

static void cell_add(struct usage_cell *c, uint64_t n, uint64_t ns)
{
	STORE(&c->n, LOAD(&c->n) + n);
	STORE(&c->ns, LOAD(&c->ns) + ns);
}

struct usage_lane *usage_self(void)
{
	return self;
}

struct usage_lane *usage_enter(struct usage_lane *l)
{
	struct usage_lane *before = self;

	self = l;
	return before;
}

/* --- the costliest ------------------------------------------------------------------------------------------------------ */

static unsigned int bucket(uint64_t key)
{
	return (unsigned int)((key ^ key >> 32) & 255);
}

static void heap_swap(struct usage_top *t, uint32_t a, uint32_t b)
{
	uint16_t x = t->heap[a];

	t->heap[a] = t->heap[b];
	t->heap[b] = x;
	t->pos[t->heap[a]] = (uint16_t)a;
	t->pos[t->heap[b]] = (uint16_t)b;
}

static uint64_t cost(const struct usage_top *t, uint32_t place)
{
	return t->e[t->heap[place]].ns;
}

static void sift_down(struct usage_top *t, uint32_t at)
{
	for (;;) {
		uint32_t least = at, l = 2 * at + 1, r = l + 1;

		if (l < t->n && cost(t, l) < cost(t, least))
			least = l;
		if (r < t->n && cost(t, r) < cost(t, least))
			least = r;
		if (least == at)
			return;
		heap_swap(t, at, least);
		at = least;
	}
}

static void sift_up(struct usage_top *t, uint32_t at)
{
	while (at && cost(t, at) < cost(t, (at - 1) / 2)) {
		heap_swap(t, at, (at - 1) / 2);
		at = (at - 1) / 2;
	}
}

static int look_up(const struct usage_top *t, uint64_t key)
{
	for (uint16_t i = t->head[bucket(key)]; i; i = t->chain[i - 1])
		if (t->e[i - 1].key == key)
			return i - 1;
	return -1;
}

static void unchain(struct usage_top *t, uint16_t at)
{
	uint16_t *link = &t->head[bucket(t->e[at].key)];

	while (*link != at + 1)
		link = &t->chain[*link - 1];
	*link = t->chain[at];
}

static int enter(struct usage_top *t, uint64_t key)
{
	uint16_t at;
	uint64_t ns = 0;

	if (t->n < USAGE_TOP) {
		at = (uint16_t)t->n++;
		t->heap[at] = t->pos[at] = at;
	} else {
		at = t->heap[0];
		ns = t->e[at].ns;
		unchain(t, at);
	}
	t->e[at] = (struct usage_entry){.key = key, .ns = ns, .over_ns = ns};
	t->chain[at] = t->head[bucket(key)];
	t->head[bucket(key)] = (uint16_t)(at + 1);
	sift_up(t, t->pos[at]);
	return at;
}

int usage_top_find(
    struct usage_top *t, uint64_t key, void (*label)(void *arg, char *out, size_t cap), void *arg)
{
	int at;

	if (key == NO_KEY)
		return -1;
	at = look_up(t, key);
	if (at < 0) {
		at = enter(t, key);
		label(arg, t->e[at].label, sizeof(t->e[at].label));
	}
	return at;
}

void usage_top_charge(struct usage_top *t, int at, uint64_t key, uint64_t ns)
{
	if (at < 0 || t->e[at].key != key)
		return;
	t->e[at].n++;
	t->e[at].ns += ns;
	sift_down(t, t->pos[at]);
}

/* --- lanes ----------------------------------------------------------------------------------------------------------------- */

void usage_lane_init(struct usage_lane *l, struct env *env, bool worker)
{
	memset(l, 0, sizeof(*l));
	l->env = env;
	l->worker = worker;
	l->conn_at = l->peer_at = -1;
	pthread_mutex_init(&l->lock, NULL);
}

void usage_lane_fini(struct usage_lane *l)
{
	pthread_mutex_destroy(&l->lock);
}

static void charge_subject(struct usage_lane *l, uint64_t ns)
{
	cell_add(&l->class[l->subject.class % USAGE_CLASSES], 1, ns);
	if (!l->subject.conn && !l->subject.peer)
		return;
	if (!l->found || pthread_mutex_trylock(&l->lock) != 0) {
		cell_add(&l->skipped, 1, ns);
		return;
	}
	usage_top_charge(&l->conns, l->conn_at, l->subject.conn, ns);
	usage_top_charge(&l->peers, l->peer_at, l->subject.peer, ns);
	pthread_mutex_unlock(&l->lock);
}

void usage_step_begin(struct usage_lane *l, uint64_t now)
{
	l->begun_ns = now;
	l->charged_ns = 0;
	l->step_op_ns = 0;
	l->has_subject = false;
	/* the thread that runs it is known only now */
	if (!l->cpu_ns && l->env->cpu_ns)
		l->cpu_ns = l->env->cpu_ns(l->env);
}

static void cpu_read(struct usage_lane *l)
{
	l->cpu_ns = l->env->cpu_ns(l->env);
	l->cpu_charged_ns = 0;
	l->cpu_steps = 0;
}

/*
 * The CPU time of a step: what the thread used since its clock was last read, without what is charged already; what lies
 * between steps makes it a little more, so it is never more than the step took.
 */
static uint64_t cpu_time(struct usage_lane *l, uint64_t took)
{
	uint64_t used, cpu = took;

	if (!l->env->cpu_ns)
		return took;
	if (took <= USAGE_LONG_NS) {
		l->cpu_charged_ns += took;
		if (++l->cpu_steps >= CPU_STEPS)
			cpu_read(l);
		return took;
	}
	used = l->env->cpu_ns(l->env) - l->cpu_ns;
	used = used > l->cpu_charged_ns ? used - l->cpu_charged_ns : 0;
	if (used < took) {
		cpu = used;
		cell_add(&l->long_steps, 1, took - used);
	}
	cpu_read(l);
	return cpu;
}

uint64_t usage_step_end(struct usage_lane *l, uint64_t now, uint8_t kind, uint8_t prio)
{
	uint64_t took = now > l->begun_ns ? now - l->begun_ns : 0, cpu = cpu_time(l, took);

	cell_add(&l->kind[kind % USAGE_KINDS][prio % USAGE_PRIOS], 1, cpu);
	if (l->has_subject) {
		charge_subject(l, cpu > l->charged_ns ? cpu - l->charged_ns : 0);
	}
	return cpu;
}

void usage_about(const struct usage_subject *s)
{
	struct usage_lane *l = self;

	if (!l || !l->worker)
		return;
	if (l->has_subject) {
		uint64_t ns;

		if (l->subject.ike_id == s->ike_id && l->subject.class == s->class &&
		    l->subject.conn == s->conn && l->subject.peer == s->peer)
			return;
		ns = env_now(l->env) - l->begun_ns;
		ns = ns > l->charged_ns ? ns - l->charged_ns : 0;
		charge_subject(l, ns);
		l->charged_ns += ns;
	}
	l->subject = *s;
	l->subject.arg = NULL;
	l->has_subject = true;
	l->found = (s->conn || s->peer) && pthread_mutex_trylock(&l->lock) == 0;
	if (!l->found)
		return;
	l->conn_at = usage_top_find(&l->conns, s->conn, s->conn_label, s->arg);
	l->peer_at = usage_top_find(&l->peers, s->peer, s->peer_label, s->arg);
	pthread_mutex_unlock(&l->lock);
}

void usage_inbox_waited(uint64_t ns)
{
	if (self)
		hist_add(&self->inbox_wait, ns);
}

void usage_op_end(enum usage_op op, uint16_t alg, uint64_t begun)
{
	struct usage_lane *l = self;
	uint32_t key = 1 + ((uint32_t)op << 16 | alg), at;
	uint64_t ns = 0;

	if (!l)
		return;
	if (begun)
		ns = env_now(l->env) - begun;
	if (ns > l->step_op_ns) {
		l->step_op_ns = ns;
		l->step_op_key = key;
	}
	at = key * 0x9e3779b1u >> 26; /* USAGE_OPS places */
	for (uint32_t i = 0; i < USAGE_OPS; i++) {
		struct usage_op_cell *c = &l->op[(at + i) % USAGE_OPS];

		if (!c->key)
			STORE(&c->key, key);
		if (c->key == key || i == USAGE_OPS - 1) {
			cell_add(&c->c, 1, ns);
			STORE(&c->untimed, LOAD(&c->untimed) + !begun);
			return;
		}
	}
}

/* --- reading ----------------------------------------------------------------------------------------------------------------- */

static void cell_sum(struct usage_cell *to, const struct usage_cell *from)
{
	to->n += LOAD(&from->n);
	to->ns += LOAD(&from->ns);
}

static void op_sum(struct usage_sum *s, const struct usage_op_cell *from)
{
	uint32_t key = LOAD(&from->key);

	for (size_t i = 0; key && i < USAGE_OPS; i++)
		if (!s->op[i].key || s->op[i].key == key || i == USAGE_OPS - 1) {
			s->op[i].key = s->op[i].key ? s->op[i].key : key;
			cell_sum(&s->op[i].c, &from->c);
			s->op[i].untimed += LOAD(&from->untimed);
			return;
		}
}

static void entries_add(
    struct usage_entry **all, size_t *n_all, const struct usage_entry *more, size_t n_more)
{
	struct usage_entry *e = n_more ? realloc(*all, (*n_all + n_more) * sizeof(*e)) : NULL;
	size_t n_before = *n_all;

	if (!e)
		return;
	*all = e;
	for (size_t i = 0; i < n_more; i++) {
		size_t k = 0;

		while (k < n_before && e[k].key != more[i].key)
			k++;
		if (k == n_before) {
			e[(*n_all)++] = more[i];
			continue;
		}
		e[k].n += more[i].n;
		e[k].ns += more[i].ns;
		e[k].over_ns += more[i].over_ns;
	}
}

void usage_sum_add(struct usage_sum *s, struct usage_lane *l)
{
	struct usage_entry *e;
	size_t n_conns, n_peers;

	for (int k = 0; k < USAGE_KINDS; k++)
		for (int p = 0; p < USAGE_PRIOS; p++)
			cell_sum(&s->kind[k][p], &l->kind[k][p]);
	for (int i = 0; i < USAGE_CLASSES; i++)
		cell_sum(&s->class[i], &l -> class[i]);
	for (int i = 0; i < USAGE_OPS; i++)
		op_sum(s, &l->op[i]);
	cell_sum(&s->long_steps, &l->long_steps);
	hist_merge(&s->inbox_wait, &l->inbox_wait);
	e = l->worker ? malloc(2 * USAGE_TOP * sizeof(*e)) : NULL;
	if (!e)
		return;
	pthread_mutex_lock(&l->lock);
	n_conns = l->conns.n;
	n_peers = l->peers.n;
	memcpy(e, l->conns.e, n_conns * sizeof(*e));
	memcpy(e + USAGE_TOP, l->peers.e, n_peers * sizeof(*e));
	pthread_mutex_unlock(&l->lock);
	entries_add(&s->conns, &s->n_conns, e, n_conns);
	entries_add(&s->peers, &s->n_peers, e + USAGE_TOP, n_peers);
	free(e);
}

static void cell_since(struct usage_cell *now, const struct usage_cell *before)
{
	now->n -= before->n;
	now->ns -= before->ns;
}

static void entries_since(
    struct usage_entry *now, size_t *n, const struct usage_entry *before, size_t n_before)
{
	size_t kept = 0;

	for (size_t i = 0; i < *n; i++) {
		struct usage_entry e = now[i];

		for (size_t k = 0; k < n_before; k++) {
			if (before[k].key != e.key)
				continue;
			/* it may have gone and come back as a cheaper one */
			e.n = e.n > before[k].n ? e.n - before[k].n : 0;
			e.ns = e.ns > before[k].ns ? e.ns - before[k].ns : 0;
			e.over_ns = e.over_ns > before[k].over_ns ? e.over_ns - before[k].over_ns : 0;
		}
		if (e.n)
			now[kept++] = e;
	}
	*n = kept;
}

void usage_sum_since(struct usage_sum *now, const struct usage_sum *before)
{
	for (int k = 0; k < USAGE_KINDS; k++)
		for (int p = 0; p < USAGE_PRIOS; p++)
			cell_since(&now->kind[k][p], &before->kind[k][p]);
	for (int i = 0; i < USAGE_CLASSES; i++)
		cell_since(&now->class[i], &before -> class[i]);
	for (int i = 0; i < USAGE_OPS; i++)
		for (int k = 0; k < USAGE_OPS; k++)
			if (now->op[i].key && now->op[i].key == before->op[k].key) {
				cell_since(&now->op[i].c, &before->op[k].c);
				now->op[i].untimed -= before->op[k].untimed;
			}
	cell_since(&now->long_steps, &before->long_steps);
	hist_since(&now->inbox_wait, &before->inbox_wait);
	entries_since(now->conns, &now->n_conns, before->conns, before->n_conns);
	entries_since(now->peers, &now->n_peers, before->peers, before->n_peers);
}

static int costlier(const void *a, const void *b)
{
	uint64_t x = ((const struct usage_entry *)a)->ns, y = ((const struct usage_entry *)b)->ns;

	return x < y ? 1 : x > y ? -1 : 0;
}

static int op_costlier(const void *a, const void *b)
{
	uint64_t x = usage_op_ns(a), y = usage_op_ns(b);

	return x < y ? 1 : x > y ? -1 : 0;
}

void usage_sum_sort(struct usage_sum *s)
{
	if (s->n_conns)
		qsort(s->conns, s->n_conns, sizeof(*s->conns), costlier);
	if (s->n_peers)
		qsort(s->peers, s->n_peers, sizeof(*s->peers), costlier);
	qsort(s->op, USAGE_OPS, sizeof(s->op[0]), op_costlier);
}

void usage_sum_fini(struct usage_sum *s)
{
	free(s->conns);
	free(s->peers);
	memset(s, 0, sizeof(*s));
}
