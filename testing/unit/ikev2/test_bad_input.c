/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a message, and what RFC 7296 (and 7383) want done about it, in every exchange and both directions. */
#include "duel.h"
#include "unit.h"

#include "daemon/wire/message.h"

static struct duel *d;

static void setup(void)
{
	d = duel_new();
}

static void teardown(void)
{
	duel_free(d);
	d = NULL;
}

/* --- A in a state, and a message of B for it ------------------------------------------------------------------------- */

enum at {
	HALF_OPEN, /* responder, waits for the IKE_AUTH request */
	WAIT_AUTH, /* initiator, waits for the IKE_AUTH response */
	UP_I,      /* established, it was the initiator */
	UP_R,
	WAIT_CHILD, /* waits for the response that makes a CHILD_SA */
	WAIT_REKEY, /* .. that rekeys the IKE_SA */
	WAIT_INFO,  /* .. to a liveness check */
};

static struct ike_sa *reach(enum at at)
{
	static const enum task_kind kinds[] = {
	    [WAIT_CHILD] = TASK_CHILD_CREATE, [WAIT_REKEY] = TASK_IKE_REKEY, [WAIT_INFO] = TASK_LIVENESS};
	struct ike_sa *sa;
	struct task *t;

	duel_reset(d);
	duel_start(
	    d, at == HALF_OPEN || at == UP_R ? &d->b : &d->a, at == HALF_OPEN || at == WAIT_AUTH ? 2 : 4);
	sa = duel_sa(&d->a);
	EXPECT(sa && duel_sa(&d->b) && duel_count(&d->a) == 1);
	EXPECT(sa->state == (at == HALF_OPEN || at == WAIT_AUTH ? IKE_CONNECTING : IKE_ESTABLISHED));
	if (at < WAIT_CHILD)
		return sa;
	t = task_new(kinds[at]);
	EXPECT(t);
	t->conn = at == WAIT_CHILD ? conn_ref(sa->conn) : NULL;
	task_queue(sa, t);
	duel_pump(d);
	EXPECT(sa->request.valid && sa->task == t);
	return sa;
}

static void deliver(const struct ike_header *h, uint8_t next, const void *plain, size_t n)
{
	uint8_t out[70000];

	duel_inject(
	    &d->a, out, duel_seal(d, duel_sa(&d->b), h, next, cy_slice(plain, n), 0, 0, out, sizeof(out)));
}

static struct ike_header proper(struct ike_sa *sa, uint8_t exchange, bool response)
{
	return duel_header(duel_sa(&d->b), exchange, response, response ? sa->request.msgid : sa->next_recv);
}

/* Of the last message of A: its first notify (0: none), with the first byte of its data. */
static uint16_t notify_in(const struct duel_dgram *dg, bool sealed, uint8_t *data)
{
	struct ike_sa *b = duel_sa(&d->b);
	uint8_t copy[4096];
	struct arena a;
	struct message m;
	struct wire_error why;
	struct payload *first, *n;
	uint16_t type = 0;

	EXPECT(dg && dg->n <= sizeof(copy));
	memcpy(copy, dg->p, dg->n);
	arena_init(&a, 65536);
	EXPECT(wire_message_parse(&a, cy_slice(copy, dg->n), &m, &why) == CY_OK);
	first = m.first;
	if (sealed) {
		struct protect_keys k;
		struct cy_slice plain;

		ike_protect_keys(b, false, &k);
		EXPECT(m.first && m.first->type == PAYLOAD_SK);
		EXPECT(protect_open(b->shard->protect, &k, (struct cy_buf){copy, dg->n}, m.first, &plain) ==
		    CY_OK);
		EXPECT(wire_chain_parse(&a, m.first->u.sk.inner_next, plain, &first, &why) == CY_OK);
	}
	n = wire_find(first, PAYLOAD_NOTIFY);
	if (n) {
		type = n->u.notify.type;
		*data = n->u.notify.data.n ? n->u.notify.data.p[0] : 0;
	}
	arena_fini(&a);
	return type;
}

#define COUNTER(name) SA_READ(d->a.d->sas, name)

/* --- malformed payloads behind the encryption -------------------------------------------------------------------------- */

static const struct {
	const char *what;
	uint8_t next, n;
	uint8_t bytes[16];
} faults[] = {
    {"3.2: a payload longer than the message", 41, 8, {0, 0, 0, 20, 0, 0, 64, 0}},
    {"3.2: a length that would lead to the same payload again", 41, 8, {41, 0, 0, 0, 0, 0, 64, 0}},
    {"3.2: a length below that of the generic header", 41, 4, {41, 0, 0, 3}},
    {"3.2: half of a generic header", 41, 2, {0, 0}},
    {"3.14: bytes behind the last payload", 43, 8, {0, 0, 0, 4, 1, 2, 3, 4}},
    {"3.10: a notify whose SPI is longer than itself", 41, 8, {0, 0, 0, 8, 3, 200, 64, 0}},
    {"3.14: encrypted inside of encrypted", 46, 8, {0, 0, 0, 8, 1, 2, 3, 4}},
    {"1.2-1.4: a payload that has no place there", 48, 8, {0, 0, 0, 8, 1, 1, 0, 4}},
};

struct where {
	enum at at;
	uint8_t exchange;
	bool response;
};

static const struct where requests[] = {{HALF_OPEN, EXCHANGE_IKE_AUTH, false},
    {UP_I, EXCHANGE_CREATE_CHILD_SA, false}, {UP_R, EXCHANGE_CREATE_CHILD_SA, false},
    {UP_I, EXCHANGE_INFORMATIONAL, false}, {UP_R, EXCHANGE_INFORMATIONAL, false}};
static const struct where responses[] = {{WAIT_AUTH, EXCHANGE_IKE_AUTH, true},
    {WAIT_CHILD, EXCHANGE_CREATE_CHILD_SA, true}, {WAIT_REKEY, EXCHANGE_CREATE_CHILD_SA, true},
    {WAIT_INFO, EXCHANGE_INFORMATIONAL, true}};

/* RFC 7296, 2.21.3: answered with INVALID_SYNTAX, which ends the IKE_SA at both ends. */
START_TEST(malformed_request_ends_the_sa)
{
	for (size_t w = 0; w < ARRAY_LEN(requests); w++)
		for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
			struct ike_sa *sa = reach(requests[w].at);
			struct ike_header h = proper(sa, requests[w].exchange, false);
			uint64_t sent = d->a.n_sent, counted = COUNTER(drop_syntax);
			uint8_t data = 0;

			/* in IKE_AUTH an EAP payload without IDi is a later round of the exchange (2.16) */
			if (requests[w].at == HALF_OPEN && faults[f].next == PAYLOAD_EAP)
				continue;
			deliver(&h, faults[f].next, faults[f].bytes, faults[f].n);
			ck_assert_msg(d->a.n_sent == sent + 1 && duel_count(&d->a) == 0 &&
			        COUNTER(drop_syntax) == counted + 1,
			    "state %d: %s: %llu answers, %zu IKE_SAs", requests[w].at, faults[f].what,
			    (unsigned long long)(d->a.n_sent - sent), duel_count(&d->a));
			ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), N_INVALID_SYNTAX);
		}
}
END_TEST

/* A response is never answered (2.1); one that is authentic and malformed leaves nothing to go on with. */
START_TEST(malformed_response_ends_the_sa)
{
	for (size_t w = 0; w < ARRAY_LEN(responses); w++)
		for (size_t f = 0; f < ARRAY_LEN(faults); f++) {
			struct ike_sa *sa = reach(responses[w].at);
			struct ike_header h = proper(sa, responses[w].exchange, true);
			uint64_t sent = d->a.n_sent;

			if (responses[w].at == WAIT_AUTH && faults[f].next == PAYLOAD_EAP)
				continue;
			deliver(&h, faults[f].next, faults[f].bytes, faults[f].n);
			ck_assert_msg(d->a.n_sent == sent && duel_count(&d->a) == 0, "state %d: %s",
			    responses[w].at, faults[f].what);
		}
}
END_TEST

/* RFC 7296, 2.5 and 3.10.1: the type is in the answer's data; 2.21.2: only before authentication it ends the IKE_SA. */
START_TEST(unknown_critical_payload)
{
	static const uint8_t critical[] = {0, 0x80, 0, 4}, ignored[] = {0, 0, 0, 8, 1, 2, 3, 4};

	for (size_t w = 0; w < ARRAY_LEN(requests); w++) {
		struct ike_sa *sa = reach(requests[w].at);
		struct ike_header h = proper(sa, requests[w].exchange, false);
		uint8_t data = 0;

		deliver(&h, 200, critical, sizeof(critical));
		ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), N_UNSUPPORTED_CRITICAL_PAYLOAD);
		ck_assert_int_eq(data, 200);
		ck_assert_uint_eq(duel_count(&d->a), requests[w].at == HALF_OPEN ? 0 : 1);
	}
	{ /* 2.5: not critical, so it is skipped */
		struct ike_sa *sa = reach(UP_R);
		struct ike_header h = proper(sa, EXCHANGE_INFORMATIONAL, false);
		uint8_t data = 0;

		deliver(&h, 200, ignored, sizeof(ignored));
		ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), 0);
		ck_assert_uint_eq(sa->next_recv, h.msgid + 1);
	}
}
END_TEST

/* 2.21.3: INVALID_SYNTAX as the answer to ours means that the peer has deleted the IKE_SA. */
START_TEST(invalid_syntax_answer_ends_the_sa)
{
	static const uint8_t notify[] = {0, 0, 0, 8, 0, 0, 0, N_INVALID_SYNTAX};
	static const uint8_t other[] = {0, 0, 0, 8, 0, 0, 0, N_NO_ADDITIONAL_SAS};

	for (size_t w = 1; w < ARRAY_LEN(responses); w++) {
		struct ike_sa *sa = reach(responses[w].at);
		struct ike_header h = proper(sa, responses[w].exchange, true);

		deliver(&h, PAYLOAD_NOTIFY, notify, sizeof(notify));
		ck_assert_uint_eq(duel_count(&d->a), 0);
	}
	{ /* others do not (1.3) */
		struct ike_sa *sa = reach(WAIT_CHILD);
		struct ike_header h = proper(sa, EXCHANGE_CREATE_CHILD_SA, true);

		deliver(&h, PAYLOAD_NOTIFY, other, sizeof(other));
		ck_assert_uint_eq(duel_count(&d->a), 1);
		ck_assert(!sa->task && sa->n_children == 1);
	}
}
END_TEST

/* --- messages that do not belong there ------------------------------------------------------------------------------------ */

/* 3.1, 2.2, 2.3: flags, SPIs, message IDs and the exchange type; each drop has its counter, no answer, no change. */
START_TEST(wrong_headers_are_counted_drops)
{
	for (int i = 0; i < 7; i++) {
		struct ike_sa *sa = reach(i == 6 ? WAIT_INFO : UP_I);
		struct ike_header h = proper(sa, EXCHANGE_INFORMATIONAL, i == 6);
		uint64_t sent = d->a.n_sent, unexpected = COUNTER(drop_unexpected),
		         replay = COUNTER(drop_replay), icv = COUNTER(drop_bad_icv),
		         stray = COUNTER(drop_stray), want_unexpected = 0, want_replay = 0, want_stray = 0,
		         want_sent = 0;

		switch (i) {
		case 0: /* 3.1: the I flag of the wrong end: SPIi and SPIr change their parts, and nobody has that SPI */
			h.flags ^= IKE_FLAG_INITIATOR;
			want_stray = want_sent = 1;
			break;
		case 1: /* 3.1: the peer's SPI is another one */
			h.spi_r ^= 1;
			want_unexpected = 1;
			break;
		case 2: /* 2.3: beyond the window */
			h.msgid += 1;
			want_replay = 1;
			break;
		case 3: /* 2.2: far away */
			h.msgid = 0xffffffff;
			want_replay = 1;
			break;
		case 4: /* 2.1: a response that nobody waits for */
			h.flags |= IKE_FLAG_RESPONSE;
			want_unexpected = 1;
			break;
		case 5: /* 2.1: to an IKE_SA that is there IKE_SA_INIT is a repetition, and this one is not */
			h.exchange = EXCHANGE_IKE_SA_INIT;
			want_replay = 1;
			break;
		case 6: /* 2.1: the response is of another exchange than the request */
			h.exchange = EXCHANGE_CREATE_CHILD_SA;
			want_unexpected = 1;
			break;
		}
		deliver(&h, 0, "", 0);
		ck_assert_msg(COUNTER(drop_unexpected) == unexpected + want_unexpected &&
		        COUNTER(drop_replay) == replay + want_replay &&
		        COUNTER(drop_stray) == stray + want_stray && COUNTER(drop_bad_icv) == icv &&
		        d->a.n_sent == sent + want_sent && duel_count(&d->a) == 1,
		    "case %d", i);
	}
}
END_TEST

/* 2.1: the same answer to the same request, byte for byte; older ones are gone (2.3). */
START_TEST(repeated_requests)
{
	struct ike_sa *sa = reach(UP_R);
	struct ike_header first = proper(sa, EXCHANGE_INFORMATIONAL, false), second;
	const struct duel_dgram *a, *b;
	uint64_t sent, replay, repeated = COUNTER(retransmits_in);

	deliver(&first, 0, "", 0);
	sent = d->a.n_sent;
	deliver(&first, 0, "", 0);
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_uint_eq(COUNTER(retransmits_in), repeated + 1);
	a = duel_last(&d->a, 0);
	b = duel_last(&d->a, 1);
	ck_assert(a->n == b->n && memcmp(a->p, b->p, a->n) == 0);
	second = proper(sa, EXCHANGE_INFORMATIONAL, false);
	deliver(&second, 0, "", 0);
	sent = d->a.n_sent;
	replay = COUNTER(drop_replay);
	deliver(&first, 0, "", 0);
	ck_assert_uint_eq(d->a.n_sent, sent);
	ck_assert_uint_eq(COUNTER(drop_replay), replay + 1);
}
END_TEST

/* 3.14: the checksum; 2.1: nobody answers what may be forged. */
START_TEST(bad_icv_is_a_counted_drop)
{
	static const enum at states[] = {HALF_OPEN, UP_I, UP_R};

	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		struct ike_sa *sa = reach(states[i]);
		struct ike_header h =
		    proper(sa, states[i] == HALF_OPEN ? EXCHANGE_IKE_AUTH : EXCHANGE_INFORMATIONAL, false);
		uint64_t sent = d->a.n_sent, icv = COUNTER(drop_bad_icv);
		uint8_t out[256];
		size_t n = duel_seal(d, duel_sa(&d->b), &h, 0, cy_slice("", 0), 0, 0, out, sizeof(out));

		for (size_t at = n - 25; at < n; at++) { /* IV, ciphertext, ICV */
			out[at] ^= 0x10;
			duel_inject(&d->a, out, n);
			out[at] ^= 0x10;
		}
		ck_assert_uint_eq(COUNTER(drop_bad_icv), icv + 25);
		ck_assert_uint_eq(d->a.n_sent, sent);
		ck_assert_uint_eq(duel_count(&d->a), 1);
		ck_assert_uint_eq(sa->next_recv, h.msgid);
	}
}
END_TEST

/* 1.2, 2.21.1: after IKE_SA_INIT everything is encrypted; what is not has no effect. */
START_TEST(unencrypted_messages_have_no_effect)
{
	static const uint8_t failed[] = {0, 0, 0, 8, 0, 0, 0, N_AUTHENTICATION_FAILED};
	static const struct where all[] = {{HALF_OPEN, EXCHANGE_IKE_AUTH, false},
	    {WAIT_AUTH, EXCHANGE_IKE_AUTH, true}, {UP_I, EXCHANGE_INFORMATIONAL, false},
	    {UP_R, EXCHANGE_CREATE_CHILD_SA, false}, {WAIT_INFO, EXCHANGE_INFORMATIONAL, true}};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		struct ike_sa *sa = reach(all[i].at);
		struct ike_header h = proper(sa, all[i].exchange, all[i].response);
		uint64_t sent = d->a.n_sent, clear = COUNTER(drop_unprotected);
		uint8_t out[64];
		struct writer w = writer_of(out, sizeof(out));

		h.next = PAYLOAD_NOTIFY;
		h.length = IKE_HEADER_LEN + sizeof(failed);
		write_u64(&w, h.spi_i);
		write_u64(&w, h.spi_r);
		write_u8(&w, h.next);
		write_u8(&w, 0x20);
		write_u8(&w, h.exchange);
		write_u8(&w, h.flags);
		write_u32(&w, h.msgid);
		write_u32(&w, h.length);
		write_bytes(&w, cy_slice(failed, sizeof(failed)));
		duel_inject(&d->a, out, w.n);
		ck_assert_uint_eq(COUNTER(drop_unprotected), clear + 1);
		ck_assert_uint_eq(d->a.n_sent, sent);
		ck_assert_uint_eq(duel_count(&d->a), 1);
	}
}
END_TEST

/* 1.2: an exchange that the state does not allow. */
START_TEST(exchange_out_of_place)
{
	static const uint8_t nonce[20] = {0, 0, 0, 20};
	struct ike_sa *sa = reach(WAIT_AUTH);
	struct ike_header h = proper(sa, EXCHANGE_CREATE_CHILD_SA, false);
	uint64_t sent = d->a.n_sent;
	uint8_t data = 0;

	/* malformed besides: it has no SA payload */
	deliver(&h, PAYLOAD_NONCE, nonce, sizeof(nonce));
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), N_INVALID_SYNTAX);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	/* an exchange type that nobody knows */
	sa = reach(UP_I);
	h = proper(sa, 99, false);
	deliver(&h, 0, "", 0);
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), N_INVALID_SYNTAX);
	ck_assert_uint_eq(duel_count(&d->a), 0);
}
END_TEST

/* 1.3.1, 2.21.3: a CHILD_SA asked for without selectors. */
START_TEST(child_without_selectors)
{
	static const uint8_t sa_ke_nonce[28 + 40 + 20] = {34, 0, 0, 28, 0, 0, 0, 24, 1, 3, 4, 1, 9, 9, 9, 9,
	    0, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128, [28] = 40, 0, 0, 40, 0, 31, [28 + 40] = 0, 0, 0, 20};
	struct ike_sa *sa = reach(UP_I);
	struct ike_header h = proper(sa, EXCHANGE_CREATE_CHILD_SA, false);
	uint8_t data = 0;

	deliver(&h, PAYLOAD_SA, sa_ke_nonce, sizeof(sa_ke_nonce));
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), true, &data), N_INVALID_SYNTAX);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	/* well formed, but before the IKE_AUTH response: the peer will repeat it */
	sa = reach(WAIT_AUTH);
	h = proper(sa, EXCHANGE_CREATE_CHILD_SA, false);
	{
		uint64_t sent = d->a.n_sent, unexpected = COUNTER(drop_unexpected);

		deliver(&h, PAYLOAD_SA, sa_ke_nonce, sizeof(sa_ke_nonce));
		ck_assert_uint_eq(d->a.n_sent, sent);
		ck_assert_uint_eq(COUNTER(drop_unexpected), unexpected + 1);
		ck_assert(duel_sa(&d->a) == sa && sa->next_recv == h.msgid);
	}
}
END_TEST

/* --- without an IKE_SA ------------------------------------------------------------------------------------------------------ */

static size_t clear_message(uint8_t *out, size_t cap, uint8_t version, uint8_t exchange, uint8_t flags,
    uint64_t spi_r, uint8_t next, struct cy_slice body)
{
	struct writer w = writer_of(out, cap);

	write_u64(&w, 0x1122334455667788);
	write_u64(&w, spi_r);
	write_u8(&w, next);
	write_u8(&w, version);
	write_u8(&w, exchange);
	write_u8(&w, flags);
	write_u32(&w, 0);
	write_u32(&w, (uint32_t)(IKE_HEADER_LEN + body.n));
	write_bytes(&w, body);
	EXPECT(!w.bad);
	return w.n;
}

/* 2.5: INVALID_MAJOR_VERSION, in a header of the version that we speak; not to responses. */
START_TEST(higher_major_version)
{
	uint8_t out[64], data = 0;
	uint64_t sent = d->a.n_sent;

	duel_inject(&d->a, out,
	    clear_message(
	        out, sizeof(out), 0x30, EXCHANGE_IKE_SA_INIT, IKE_FLAG_INITIATOR, 0, 0, cy_slice("", 0)));
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), false, &data), N_INVALID_MAJOR_VERSION);
	ck_assert_int_eq(duel_last(&d->a, 0)->p[17], 0x20);
	duel_inject(&d->a, out,
	    clear_message(
	        out, sizeof(out), 0x30, EXCHANGE_IKE_SA_INIT, IKE_FLAG_RESPONSE, 7, 0, cy_slice("", 0)));
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_uint_eq(COUNTER(drop_stray), 2);
}
END_TEST

/* 2.21.4, 1.5: INVALID_IKE_SPI, at most ten a second, never to a response. */
START_TEST(unknown_spi_is_answered_at_a_limit)
{
	uint8_t out[64], data = 0;
	uint64_t sent = d->a.n_sent, stray = COUNTER(drop_stray);

	for (int i = 0; i < 50; i++)
		duel_inject(&d->a, out,
		    clear_message(out, sizeof(out), 0x20, EXCHANGE_INFORMATIONAL, IKE_FLAG_INITIATOR, 99, 0,
		        cy_slice("", 0)));
	ck_assert_uint_eq(d->a.n_sent, sent + 10);
	ck_assert_uint_eq(COUNTER(drop_stray), stray + 50);
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), false, &data), N_INVALID_IKE_SPI);
	ck_assert(memcmp(duel_last(&d->a, 0)->p, out, 16) == 0); /* the SPIs are the request's */
	duel_advance(d, 2 * NS_PER_S);
	duel_inject(&d->a, out,
	    clear_message(out, sizeof(out), 0x20, EXCHANGE_INFORMATIONAL,
	        IKE_FLAG_RESPONSE | IKE_FLAG_INITIATOR, 99, 0, cy_slice("", 0)));
	ck_assert_uint_eq(d->a.n_sent, sent + 10);
}
END_TEST

/* 2.21.1: an IKE_SA_INIT request that is malformed is dropped; 2.5: an unknown critical payload is told. */
START_TEST(malformed_init_request)
{
	static const uint8_t critical[] = {0, 0x80, 0, 4};
	uint8_t out[128], data = 0;
	uint64_t sent = d->a.n_sent, syntax = COUNTER(drop_syntax);

	for (size_t f = 0; f < ARRAY_LEN(faults); f++)
		duel_inject(&d->a, out,
		    clear_message(out, sizeof(out), 0x20, EXCHANGE_IKE_SA_INIT, IKE_FLAG_INITIATOR, 0,
		        faults[f].next, cy_slice(faults[f].bytes, faults[f].n)));
	ck_assert_uint_eq(d->a.n_sent, sent);
	ck_assert_uint_eq(COUNTER(drop_syntax), syntax + ARRAY_LEN(faults));
	duel_inject(&d->a, out,
	    clear_message(out, sizeof(out), 0x20, EXCHANGE_IKE_SA_INIT, IKE_FLAG_INITIATOR, 0, 200,
	        cy_slice(critical, sizeof(critical))));
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_int_eq(notify_in(duel_last(&d->a, 0), false, &data), N_UNSUPPORTED_CRITICAL_PAYLOAD);
	ck_assert_int_eq(data, 200);
	ck_assert_uint_eq(duel_count(&d->a), 0);
}
END_TEST

/* 2.21.1: nobody has authenticated an IKE_SA_INIT response: one that leads nowhere is ignored, the true one still counts. */
START_TEST(malformed_init_response)
{
	static const uint8_t cookie[] = {0, 0, 0, 8, 0, 0, N_COOKIE >> 8, N_COOKIE & 255}; /* empty */
	static const uint8_t group[] = {0, 0, 0, 10, 0, 0, 0, N_INVALID_KE_PAYLOAD, 0, 2};
	struct ike_sa *sa;
	uint64_t syntax, sent;
	uint8_t out[128];

	duel_start(d, &d->a, 0);
	sa = duel_sa(&d->a);
	ck_assert(sa && sa->request.valid);
	syntax = COUNTER(drop_syntax);
	sent = d->a.n_sent;
	for (size_t f = 0; f < ARRAY_LEN(faults) + 2; f++) {
		struct cy_slice body = f < ARRAY_LEN(faults) ? cy_slice(faults[f].bytes, faults[f].n)
		    : f == ARRAY_LEN(faults)                 ? cy_slice(cookie, sizeof(cookie))
		                                             : cy_slice(group, sizeof(group));
		size_t n = clear_message(out, sizeof(out), 0x20, EXCHANGE_IKE_SA_INIT, IKE_FLAG_RESPONSE, 5,
		    f < ARRAY_LEN(faults) ? faults[f].next : PAYLOAD_NOTIFY, body);
		struct writer w = writer_of(out, 8);

		write_u64(&w, sa->spi_i);
		duel_inject(&d->a, out, n);
	}
	ck_assert_uint_eq(COUNTER(drop_syntax), syntax + ARRAY_LEN(faults) + 2);
	ck_assert_uint_eq(d->a.n_sent, sent);
	ck_assert(duel_sa(&d->a) == sa && sa->request.valid);
	/* the retransmitted request gets its true answer */
	d->pass = 1000;
	duel_advance(d, 10 * NS_PER_S);
	ck_assert_int_eq(sa->state, IKE_ESTABLISHED);
}
END_TEST

/* --- fragments ---------------------------------------------------------------------------------------------------------------- */

static void fragment(const struct ike_header *h, const void *p, size_t n, uint16_t no, uint16_t total)
{
	uint8_t out[70000];

	duel_inject(&d->a, out,
	    duel_seal(d, duel_sa(&d->b), h, no == 1 ? PAYLOAD_VENDOR : 0, cy_slice(p, n), no, total, out,
	        sizeof(out)));
}

/* RFC 7383, 2.6: what is dropped, what is kept, and that the message arrives in the end. */
START_TEST(fragments)
{
	static const uint8_t vendor[8] = {0, 0, 0, 8, 1, 2, 3, 4};
	struct ike_sa *sa = reach(UP_R);
	struct ike_header h = proper(sa, EXCHANGE_INFORMATIONAL, false);
	uint64_t dropped = COUNTER(drop_fragment), sent = d->a.n_sent, syntax = COUNTER(drop_syntax);

	/* number 0, total 0, number above the total: they fail as payloads (2.5), before or after the checksum */
	fragment(&h, vendor, 4, 0, 2);
	fragment(&h, vendor, 4, 3, 2);
	ck_assert_uint_eq(COUNTER(drop_fragment) + COUNTER(drop_syntax), dropped + syntax + 2);
	dropped = COUNTER(drop_fragment);
	fragment(&h, vendor, 4, 1, 65535); /* more than we would keep */
	ck_assert_uint_eq(COUNTER(drop_fragment), dropped + 1);
	ck_assert(!sa->frag_in_req.active);
	fragment(&h, vendor, 4, 1, 3);
	ck_assert_uint_eq(COUNTER(drop_fragment), dropped + 1);
	fragment(&h, vendor, 4, 1, 3); /* twice */
	ck_assert_uint_eq(COUNTER(drop_fragment), dropped + 2);
	fragment(&h, vendor + 4, 4, 2, 2); /* a smaller total is an older attempt */
	ck_assert_uint_eq(COUNTER(drop_fragment), dropped + 3);
	ck_assert_uint_eq(sa->frag_in_req.have, 1);
	fragment(&h, vendor, 2, 1, 4); /* a bigger one begins anew */
	ck_assert_uint_eq(sa->frag_in_req.have, 1);
	fragment(&h, vendor + 2, 2, 2, 4);
	fragment(&h, vendor + 6, 2, 4, 4);
	ck_assert_uint_eq(d->a.n_sent, sent);
	fragment(&h, vendor + 4, 2, 3, 4);
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_uint_eq(sa->next_recv, h.msgid + 1);
	ck_assert(!sa->frag_in_req.active);
	/* 2.6.1: of a repeated message the first fragment alone is answered */
	fragment(&h, vendor + 2, 2, 2, 4);
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	fragment(&h, vendor, 2, 1, 4);
	ck_assert_uint_eq(d->a.n_sent, sent + 2);
	/* half of a message, then all of it at once: nothing is left behind */
	h = proper(sa, EXCHANGE_INFORMATIONAL, false);
	fragment(&h, vendor, 4, 1, 2);
	ck_assert(sa->frag_in_req.active);
	deliver(&h, PAYLOAD_VENDOR, vendor, sizeof(vendor));
	ck_assert_uint_eq(d->a.n_sent, sent + 3);
	ck_assert(!sa->frag_in_req.active);
}
END_TEST

UNIT_TESTS(bad_input)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, malformed_request_ends_the_sa);
	tcase_add_test(tc, malformed_response_ends_the_sa);
	tcase_add_test(tc, unknown_critical_payload);
	tcase_add_test(tc, invalid_syntax_answer_ends_the_sa);
	tcase_add_test(tc, wrong_headers_are_counted_drops);
	tcase_add_test(tc, repeated_requests);
	tcase_add_test(tc, bad_icv_is_a_counted_drop);
	tcase_add_test(tc, unencrypted_messages_have_no_effect);
	tcase_add_test(tc, exchange_out_of_place);
	tcase_add_test(tc, child_without_selectors);
	tcase_add_test(tc, higher_major_version);
	tcase_add_test(tc, unknown_spi_is_answered_at_a_limit);
	tcase_add_test(tc, malformed_init_request);
	tcase_add_test(tc, malformed_init_response);
	tcase_add_test(tc, fragments);
}
