/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequences of IKEv1 messages for a daemon: in clear, in the vendors' fragments, and encrypted with its own keys and the IV it expects,
 * with a right HASH or none, so that parsers and states behind the encryption are reached in both roles. The input is a list of
 * actions: how it begins, then one message or one step of time after the other. Besides the sanitizers: every datagram is accounted
 * for, the number of IKE_SAs is bounded, nothing loops, nothing is left.
 *
 * One pair of daemons serves all inputs; between them all IKE_SAs are destroyed.
 *
 * fuzz options: -max_len=2000
 */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/wire/codec.h"
#include "daemon/wire/generate.h"
#include "duel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ACTIONS_MAX 24
#define SAS_MAX     (2 * ACTIONS_MAX + 4)
#define ROOM        4096

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static void inject(struct duel *d, const uint8_t *p, size_t n)
{
	struct net_counters before, after;

	net_read_counters(d->a.d->net, &before);
	duel_inject(&d->a, p, n);
	net_read_counters(d->a.d->net, &after);
	must(after.rx_ike + after.drop_short + after.drop_malformed ==
	        before.rx_ike + before.drop_short + before.drop_malformed + 1,
	    "a datagram was not counted");
	must(duel_count(&d->a) <= SAS_MAX, "too many IKE_SAs");
}

static uint8_t exchange_of(uint8_t how)
{
	static const uint8_t types[] = {EXCHANGE_V1_QUICK, EXCHANGE_V1_INFORMATIONAL, EXCHANGE_V1_TRANSACTION,
	    EXCHANGE_V1_MAIN, EXCHANGE_V1_AGGRESSIVE, EXCHANGE_V1_QUICK, EXCHANGE_V1_INFORMATIONAL, 99};

	return types[how % 8];
}

static void header(
    struct writer *w, const struct ike_sa *a, uint8_t type, uint8_t next, uint8_t flags, uint32_t msgid)
{
	struct ike_header h = {.spi_i = a ? a->spi_i : 7,
	    .spi_r = a ? a->spi_r : 0,
	    .next = next,
	    .major = 1,
	    .exchange = type,
	    .flags = flags,
	    .msgid = msgid};

	wire_header_encode(&h, w);
}

/* In clear, of any exchange. */
static void clear(struct duel *d, uint8_t how, uint8_t next, uint8_t bend, struct cy_slice body)
{
	uint8_t buf[ROOM];
	struct writer w = writer_of(buf, sizeof(buf));

	header(&w, how & 8 ? NULL : duel_sa(&d->a), exchange_of(how), next, 0, how & 16 ? bend : 0);
	write_bytes(&w, body);
	if (w.bad)
		return;
	wire_length_set(&w, 0);
	inject(d, buf, w.n);
}

/* Encrypted as A expects it, in an exchange that is under way (bend odd) or a new one. */
static void sealed(struct duel *d, uint8_t how, uint8_t bend, uint8_t next, struct cy_slice body)
{
	struct ike_sa *a = duel_sa(&d->a);
	struct v1 *v = a && a->version == 1 ? v1_of(a) : NULL;
	struct v1_exchange *x = NULL, tmp = {.msgid = 0};
	uint8_t buf[ROOM], iv[V1_BLOCK_MAX], type = exchange_of(how);
	struct writer w = writer_of(buf, sizeof(buf));
	struct prf_info prf;
	size_t rest;

	if (!v || !v->keyed || !crypto_prf(a->shard->d->crypto, a->suite.prf, &prf))
		return;
	if (bend & 1 && !list_empty(&v->exchanges)) {
		struct list *n;
		uint32_t i = bend >> 1;

		list_foreach (n, &v->exchanges) {
			x = list_entry(n, struct v1_exchange, node);
			if (i-- == 0)
				break;
		}
		type = x->type;
	}
	tmp.msgid = x ? x->msgid : 1u + bend;
	if (x)
		memcpy(iv, x->iv, sizeof(iv));
	else if (v1_iv_phase2(a, tmp.msgid, iv))
		return;
	header(&w, a, type, how & 32 ? PAYLOAD_V1_HASH : next,
	    V1_FLAG_ENCRYPTED | (how & 16 ? V1_FLAG_COMMIT : 0), tmp.msgid);
	if (how & 32) {
		write_u8(&w, next);
		write_u8(&w, 0);
		write_u16(&w, (uint16_t)(4 + prf.out_len));
		write_zero(&w, prf.out_len);
	}
	rest = w.n;
	write_bytes(&w, body);
	if (w.bad)
		return;
	if (how & 32 &&
	    v1_prf_hash(a, &tmp, V1_HASH_1, cy_slice(NULL, 0), cy_slice(NULL, 0),
	        cy_slice(buf + rest, w.n - rest), buf + IKE_HEADER_LEN + 4))
		return;
	while ((w.n - IKE_HEADER_LEN) % v->block && !w.bad)
		write_u8(&w, 0);
	if (w.bad || w.n == IKE_HEADER_LEN)
		return;
	wire_length_set(&w, 0);
	if (protect_cbc(a->shard->protect, a->suite.encr, a->suite.key_bits, secret_slice(&v->encr_key),
	        cy_slice(iv, v->block), (struct cy_buf){buf + IKE_HEADER_LEN, w.n - IKE_HEADER_LEN}, true))
		return;
	inject(d, buf, w.n);
}

/* Valid payloads, from the tables, with a few bytes changed by the input. */
static void generated(struct duel *d, uint8_t how, uint8_t bend, uint64_t seed, struct cy_slice edits)
{
	static const uint8_t types[] = {PAYLOAD_V1_SA, PAYLOAD_V1_NONCE, PAYLOAD_V1_KE, PAYLOAD_V1_ID,
	    PAYLOAD_V1_ID, PAYLOAD_V1_NOTIFY, PAYLOAD_V1_DELETE, PAYLOAD_V1_CONFIG, PAYLOAD_V1_HASH,
	    PAYLOAD_V1_VENDOR, PAYLOAD_V1_NATD, PAYLOAD_V1_CERT, PAYLOAD_V1_SIG, PAYLOAD_V1_CERTREQ,
	    PAYLOAD_V1_FRAGMENT, PAYLOAD_V1_NATOA};
	struct ike_header h = {.major = 1};
	uint8_t next, buf[ROOM];
	struct writer w = writer_of(buf, sizeof(buf));
	struct message m;
	struct arena a;

	arena_init(&a, 4 * 1024 * 1024);
	message_init(&m, &h);
	for (size_t i = 0; i < 16; i++)
		if (seed >> i & 1 && wire_generate_payload(&a, &seed, &m, types[i]))
			break;
	if (wire_chain_encode(&m, &w, &next) == CY_OK && w.n && w.n < ROOM - 200) {
		for (size_t i = 0; i + 3 <= edits.n; i += 3)
			buf[((size_t)edits.p[i] << 8 | edits.p[i + 1]) % w.n] ^= edits.p[i + 2];
		if (how & 64)
			clear(d, how, next, bend, writer_slice(&w));
		else
			sealed(d, how | 32, bend, next, writer_slice(&w));
	}
	arena_fini(&a);
}

static void task(struct duel *d, uint8_t how)
{
	static const enum task_kind kinds[] = {TASK_CHILD_CREATE, TASK_CHILD_REKEY, TASK_CHILD_DELETE,
	    TASK_LIVENESS, TASK_IKE_REKEY, TASK_IKE_DELETE};
	struct ike_sa *a = duel_sa(&d->a);
	enum task_kind kind = kinds[how % 6];
	struct task *t;

	if (!a || a->state != IKE_ESTABLISHED || !(t = task_new(kind)))
		return;
	if (kind == TASK_CHILD_CREATE)
		t->conn = conn_ref(a->conn);
	else if (!list_empty(&a->children))
		t->child_id = list_entry(list_first(&a->children), struct child_sa, node)->id;
	task_queue(a, t);
	duel_pump(d);
}

static void act(struct duel *d, struct reader *r)
{
	uint8_t kind = read_u8(r), how = read_u8(r), bend = read_u8(r), next = read_u8(r);
	uint16_t n = read_u16(r);
	struct cy_slice body;

	if (r->bad)
		return;
	if (n > reader_left(r))
		n = (uint16_t)reader_left(r);
	body = read_bytes(r, n);
	switch (kind % 6) {
	case 0:
		clear(d, how, next, bend, body);
		break;
	case 1:
		sealed(d, how, bend, next, body);
		break;
	case 2:
	case 3:
		generated(d, how, bend, (uint64_t)next << 8 | (how ^ bend) | 1u << (next % 16), body);
		break;
	case 4:
		task(d, how);
		break;
	case 5: /* time, or the wire works for a moment */
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
	static const struct duel_config ikev1 = {
	    .keys = "  keyexchange=ikev1\n  ike=aes128-sha256-x25519!\n  esp=aes128gcm16-x25519!\n"};
	static struct duel *d;
	struct reader r = reader_of(cy_slice(data, size));
	uint8_t start = read_u8(&r);

	if (!d)
		d = duel_new_with(&ikev1);
	d->a.d->tune.ikev1_commit = d->b.d->tune.ikev1_commit = start >= 128;
	if (start % 23)
		duel_start(d, start & 1 ? &d->a : &d->b, start % 11);
	for (int i = 0; i < ACTIONS_MAX && reader_left(&r); i++)
		act(d, &r);
	duel_reset(d);
	must(duel_count(&d->a) == 0 && SA_READ(d->a.d->sas, ike_sas) == 0 &&
	        SA_READ(d->a.d->sas, half_open) == 0 && SA_READ(d->a.d->sas, up) == 0 &&
	        SA_READ(d->a.d->sas, child_sas) == 0,
	    "the counts of SAs do not add up");
	return 0;
}
