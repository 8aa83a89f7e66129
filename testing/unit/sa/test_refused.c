/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 7296, 2.21 and 1.4.1: the peer has made a CHILD_SA, and we do not take its answer: it is closed there. */
#include "unit.h"

#include "ikev2/duel.h"
#include "daemon/wire/message.h"

static struct duel *d;

/* SA with one proposal (SPI 0x01020304), nonce, TSi and TSr; what is wrong with it is written in. */
static const uint8_t answer[] = {
    /* SA: ESP, AES-GCM-16 with 128 bits, X25519, no ESN */
    40, 0, 0, 44, 0, 0, 0, 40, 1, 3, 4, 3, 1, 2, 3, 4, 3, 0, 0, 12, 1, 0, 0, 20, 0x80, 14, 0, 128, 3, 0, 0, 8,
    4, 0, 0, 31, 0, 0, 0, 8, 5, 0, 0, 0,
    /* nonce */
    44, 0, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
    /* TSi: 10.1.0.0/16 */
    45, 0, 0, 24, 1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 1, 0, 0, 10, 1, 255, 255,
    /* TSr: 10.2.0.0/16 */
    0, 0, 0, 24, 1, 0, 0, 0, 7, 0, 0, 16, 0, 0, 255, 255, 10, 2, 0, 0, 10, 2, 255, 255};

#define ENCR_ID  23
#define TSR_ADDR (44 + 20 + 24 + 17)

/* A has sent its request; B's honest answer is lost. */
static struct ike_sa *wait_for_answer(enum task_kind kind)
{
	struct ike_sa *sa;
	struct task *t = task_new(kind);

	duel_start(d, &d->a, 4);
	sa = duel_sa(&d->a);
	EXPECT(sa && sa->state == IKE_ESTABLISHED && t);
	if (kind == TASK_CHILD_CREATE)
		t->conn = conn_ref(sa->conn);
	else
		t->child_id = list_entry(list_first(&sa->children), struct child_sa, node)->id;
	task_queue(sa, t);
	duel_pump(d);
	EXPECT(sa->request.valid && sa->task == t && t->fresh);
	return sa;
}

/* The SPI that A's last message deletes. */
static uint32_t deleted_spi(void)
{
	const struct duel_dgram *dg = duel_last(&d->a, 0);
	struct ike_sa *b = duel_sa(&d->b);
	struct protect_keys k;
	struct arena a;
	struct message m;
	struct wire_error why;
	struct cy_slice plain;
	struct payload *first;
	uint8_t copy[2048];
	uint32_t spi = 0;

	EXPECT(dg && dg->n <= sizeof(copy));
	memcpy(copy, dg->p, dg->n);
	arena_init(&a, 65536);
	EXPECT(wire_message_parse(&a, cy_slice(copy, dg->n), &m, &why) == CY_OK);
	ike_protect_keys(b, false, &k);
	EXPECT(m.first && m.first->type == PAYLOAD_SK && m.h.exchange == EXCHANGE_INFORMATIONAL);
	EXPECT(protect_open(b->shard->protect, &k, (struct cy_buf){copy, dg->n}, m.first, &plain) == CY_OK);
	EXPECT(wire_chain_parse(&a, m.first->u.sk.inner_next, plain, &first, &why) == CY_OK);
	if (first && first->type == PAYLOAD_DELETE && plain.n >= 12 && first->u.del.proto == PROTO_ESP)
		spi = (uint32_t)plain.p[8] << 24 | (uint32_t)plain.p[9] << 16 | (uint32_t)plain.p[10] << 8 |
		    plain.p[11];
	arena_fini(&a);
	return spi;
}

static void refuse(enum task_kind kind, size_t at, uint8_t value)
{
	struct ike_sa *sa = wait_for_answer(kind);
	struct ike_header h = duel_header(duel_sa(&d->b), EXCHANGE_CREATE_CHILD_SA, true, sa->request.msgid);
	uint64_t sent = d->a.n_sent;
	uint32_t spi = sa->task->fresh->spi_in;
	uint8_t plain[sizeof(answer)], out[2048];

	memcpy(plain, answer, sizeof(plain));
	plain[at] = value;
	if (at == TSR_ADDR) /* the end of the range, too */
		plain[at + 4] = value;
	duel_inject(&d->a, out,
	    duel_seal(
	        d, duel_sa(&d->b), &h, PAYLOAD_SA, cy_slice(plain, sizeof(plain)), 0, 0, out, sizeof(out)));
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(d->a.n_sent, sent + 1);
	ck_assert_uint_eq(deleted_spi(), spi);
	ck_assert_uint_eq(d->a.n_sas, 2); /* the old one goes on */
	duel_reset(d);
}

START_TEST(an_answer_that_we_refuse_is_deleted)
{
	static const enum task_kind kinds[] = {TASK_CHILD_CREATE, TASK_CHILD_REKEY};

	d = duel_new();
	for (size_t i = 0; i < 2; i++) {
		refuse(kinds[i], ENCR_ID, 12);  /* another algorithm than was offered */
		refuse(kinds[i], TSR_ADDR, 77); /* a selector outside */
		refuse(kinds[i], TSR_ADDR, 2);  /* good as it is, but without the key exchange of the suite */
	}
	duel_free(d);
}
END_TEST

/* An answer that is an error has made nothing. */
START_TEST(an_error_is_not_answered)
{
	static const uint8_t notify[] = {0, 0, 0, 8, 0, 0, 0, N_NO_PROPOSAL_CHOSEN};
	struct ike_sa *sa;
	struct ike_header h;
	uint8_t out[512];
	uint64_t sent;

	d = duel_new();
	sa = wait_for_answer(TASK_CHILD_CREATE);
	h = duel_header(duel_sa(&d->b), EXCHANGE_CREATE_CHILD_SA, true, sa->request.msgid);
	sent = d->a.n_sent;
	duel_inject(&d->a, out,
	    duel_seal(d, duel_sa(&d->b), &h, PAYLOAD_NOTIFY, cy_slice(notify, sizeof(notify)), 0, 0, out,
	        sizeof(out)));
	ck_assert_uint_eq(d->a.n_sent, sent);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	duel_free(d);
}
END_TEST

UNIT_TESTS(refused)
{
	tcase_add_test(tc, an_answer_that_we_refuse_is_deleted);
	tcase_add_test(tc, an_error_is_not_answered);
}
