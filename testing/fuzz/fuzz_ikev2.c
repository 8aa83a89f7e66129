/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of IKE messages for a daemon: in clear, and encrypted with the keys of its peer, so that parsers and states behind the
 * encryption are reached in both roles. The input is a list of actions: how it begins, then one message or one step of time after
 * the other. Besides the sanitizers: every datagram is accounted for, the number of IKE_SAs is bounded, nothing loops.
 *
 * One pair of daemons serves all inputs; between them all IKE_SAs are destroyed. It keeps a little of its own then (records, rings),
 * at which libFuzzer would look for leaks after each input; they are looked for at the end.
 *
 * fuzz options: -detect_leaks=0
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/wire/generate.h"
#include "daemon/wire/message.h"
#include "duel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTIONS_MAX 24
#define SAS_MAX     (2 * ACTIONS_MAX + 4)

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

/* Every datagram has been counted once by the network layer. */
static uint64_t seen(struct duel_side *s)
{
	struct net_counters c;

	net_read_counters(s->d->net, &c);
	return c.rx_ike + c.drop_short + c.drop_version + c.drop_malformed + c.drop_nomem;
}

/* What an IKE_SA's look at a message changes, one way or another. */
static uint64_t traces(struct duel_side *s)
{
	const uint64_t *c = &s->d->sas->c.established;
	const uint64_t *end = (const uint64_t *)(const void *)(&s->d->sas->c + 1);
	uint64_t sum = s->n_sent;
	struct ike_sa *sa = duel_sa(s);

	for (; c < end; c++)
		sum += *c;
	if (sa)
		sum += sa->next_recv + sa->next_send + sa->frag_in_req.have + sa->frag_in_resp.have +
		    sa->frag_in_req.msgid + sa->frag_in_resp.msgid + sa->frag_in_req.total +
		    sa->frag_in_resp.total;
	return sum + 1000003 * duel_count(s);
}

static void inject(struct duel *d, const uint8_t *p, size_t n)
{
	uint64_t before = seen(&d->a), trace = traces(&d->a);
	struct ike_header h;

	duel_inject(&d->a, p, n);
	must(seen(&d->a) == before + 1, "a datagram was not counted");
	must(traces(&d->a) != trace || wire_header_parse(cy_slice(p, n), &h) != CY_OK ||
	        n > d->a.d->tune.max_packet || duel_count(&d->a) > 1,
	    "a message left no trace");
	must(duel_count(&d->a) <= SAS_MAX, "too many IKE_SAs");
}

/* The exchange, message ID, flags and SPIs that fit, unless the input wants others. */
static struct ike_header header_for(struct ike_sa *a, struct ike_sa *b, uint8_t how, uint8_t bend)
{
	bool response = how & 1;
	struct ike_header h = duel_header(b, (uint8_t)(EXCHANGE_IKE_AUTH + (how >> 1) % 3), response,
	    response ? (a->request.valid ? a->request.msgid : a->next_send) : a->next_recv);

	if (response && a->request.valid && !(how & 0x40))
		h.exchange = a->request.parts[0].p[18];
	if (bend & 1)
		h.msgid += (uint32_t)(bend >> 4) - 8;
	if (bend & 2)
		h.exchange = bend >> 2;
	if ((bend & 0xc) == 0xc)
		h.flags ^= bend >> 4;
	return h;
}

static void sealed(struct duel *d, uint8_t how, uint8_t bend, uint8_t next, struct cy_slice plain,
    uint16_t no, uint16_t total)
{
	struct ike_sa *a = duel_sa(&d->a), *b = duel_sa(&d->b);
	struct ike_header h;
	uint8_t *out;
	size_t n;

	if (!a || !b || !b->keys.all.n)
		return;
	h = header_for(a, b, how, bend);
	out = malloc(plain.n + 128);
	must(out != NULL, "no memory");
	n = duel_seal(d, b, &h, next, plain, no, total, out, plain.n + 128);
	inject(d, out, n);
	free(out);
}

/* A valid message of the exchange, from the tables, with a few bytes changed by the input. */
static void generated(struct duel *d, uint8_t how, uint8_t bend, uint64_t seed, struct cy_slice edits)
{
	struct arena a;
	struct message m;
	bool encrypted;
	uint8_t next, *buf = malloc(65536);
	struct writer w = writer_of(buf, 65536);

	must(buf != NULL, "no memory");
	arena_init(&a, 4 * 1024 * 1024);
	if (wire_generate(&a, &seed, &m, &encrypted) == CY_OK && wire_chain_encode(&m, &w, &next) == CY_OK &&
	    w.n < 9000) {
		for (size_t i = 0; w.n && i + 3 <= edits.n; i += 3)
			buf[((size_t)edits.p[i] << 8 | edits.p[i + 1]) % w.n] ^= edits.p[i + 2];
		how = (uint8_t)((how & ~1u) | !!(m.h.flags & IKE_FLAG_RESPONSE));
		if (m.h.exchange != EXCHANGE_IKE_SA_INIT)
			how = (uint8_t)((how & 0x41) | (m.h.exchange - EXCHANGE_IKE_AUTH) << 1);
		sealed(d, how, bend, next, writer_slice(&w), 0, 0);
	}
	arena_fini(&a);
	free(buf);
}

static void task(struct duel *d, uint8_t kind)
{
	static const enum task_kind kinds[] = {TASK_CHILD_CREATE, TASK_IKE_REKEY, TASK_LIVENESS,
	    TASK_IKE_DELETE, TASK_CHILD_REKEY, TASK_CHILD_DELETE};
	struct ike_sa *sa = duel_sa(&d->a);
	struct task *t;
	struct list *n;

	if (!sa || sa->state != IKE_ESTABLISHED)
		return;
	t = task_new(kinds[kind % ARRAY_LEN(kinds)]);
	must(t != NULL, "no memory");
	t->conn = t->kind == TASK_CHILD_CREATE ? conn_ref(sa->conn) : NULL;
	if ((n = list_first(&sa->children)))
		t->child_id = t->kind == TASK_CHILD_REKEY || t->kind == TASK_CHILD_DELETE
		    ? list_entry(n, struct child_sa, node)->id
		    : 0;
	task_queue(sa, t);
	duel_pump(d);
}

static void act(struct duel *d, struct reader *r)
{
	uint8_t kind = read_u8(r), how = read_u8(r), bend = read_u8(r), next = read_u8(r);
	uint16_t n = read_u16(r), no, total;
	uint64_t seed;
	struct cy_slice body;

	if (r->bad)
		return;
	if (n > reader_left(r))
		n = (uint16_t)reader_left(r);
	body = read_bytes(r, n);
	switch (kind % 8) {
	case 0: /* as it is */
		inject(d, body.p, body.n);
		break;
	case 1: /* in clear to the IKE_SA that is there: SPIs are put in, and the length */
		if (duel_sa(&d->a) && body.n >= IKE_HEADER_LEN) {
			struct ike_sa *a = duel_sa(&d->a);
			uint8_t *copy = malloc(body.n);
			struct writer w = writer_of(copy, body.n);

			must(copy != NULL, "no memory");
			memcpy(copy, body.p, body.n);
			write_u64(&w, a->spi_i);
			write_u64(&w, how & 1 ? a->spi_r : how);
			w.n = body.n;
			write_u16_at(&w, 24, 0);
			write_u16_at(&w, 26, (uint16_t)body.n);
			inject(d, copy, body.n);
			free(copy);
		}
		break;
	case 2:
	case 3:
		sealed(d, how, bend, next, body, 0, 0);
		break;
	case 4: {
		struct reader f = reader_of(body);

		no = read_u8(&f);
		total = read_u8(&f);
		if (total && no)
			sealed(d, how, bend, next, read_bytes(&f, reader_left(&f)), no, total);
		break;
	}
	case 5:
		seed = (uint64_t)next << 8 | how;
		generated(d, how, bend, seed, body);
		break;
	case 6:
		task(d, how);
		break;
	case 7: /* time, or the wire works for a moment */
		if (how & 1)
			d->pass = bend % 8;
		duel_advance(d, (uint64_t)next * 100 * NS_PER_MS);
		d->pass = 0;
		duel_pump(d);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct duel *d;
	struct reader r = reader_of(cy_slice(data, size));
	uint8_t start = read_u8(&r);

	if (!d)
		d = duel_new();
	switch (start % 6) {
	case 0: /* a stranger's view of it */
		break;
	case 1:
		duel_start(d, &d->a, 0);
		break;
	case 2:
		duel_start(d, &d->a, 2);
		break;
	case 3:
		duel_start(d, &d->b, 2);
		break;
	case 4:
		duel_start(d, &d->a, 4);
		break;
	case 5:
		duel_start(d, &d->b, 4);
		break;
	}
	for (int i = 0; i < ACTIONS_MAX && reader_left(&r); i++)
		act(d, &r);
	duel_reset(d);
	must(duel_count(&d->a) == 0 && SA_READ(d->a.d->sas, ike_sas) == 0 &&
	        SA_READ(d->a.d->sas, half_open) == 0 && SA_READ(d->a.d->sas, up) == 0 &&
	        SA_READ(d->a.d->sas, child_sas) == 0,
	    "the counts of SAs do not add up");
	return 0;
}
