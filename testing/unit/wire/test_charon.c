/* SPDX-License-Identifier: Apache-2.0 */
/* What strongSwan sends opens with its keys, is well-formed to us, and prints as it prints it itself. */
#include "unit.h"

#include "charon.h"
#include "crypto/crypto_host.h"
#include "daemon/wire/protect.h"
#include "hex.h"

struct reader_of_sa {
	struct protect_cache *cache;
	struct arena arena;
	struct frag_set frags;
	struct protect_keys in, out; /* of the initiator, of the responder */
};

static void check_chain(
    struct reader_of_sa *r, const struct ike_header *h, uint8_t next, struct cy_slice plain, const char *want)
{
	uint8_t again_bytes[2048], next_again;
	struct writer w = writer_of(again_bytes, sizeof(again_bytes));
	struct message m = {.h = *h};
	struct wire_error why;
	char text[400];
	enum cy_err err;

	err = wire_chain_parse(&r->arena, next, plain, &m.first, &why);
	ck_assert_msg(err == CY_OK, "%s: %s", want, why.text);
	err = wire_check(h, m.first, true, &why);
	ck_assert_msg(err == CY_OK, "%s: %s", want, why.text);
	ck_assert_str_eq(wire_print(h, m.first, text, sizeof(text)), want);
	/* built by us it is what they built, byte by byte */
	ck_assert_int_eq(wire_chain_encode(&m, &w, &next_again), CY_OK);
	ck_assert_uint_eq(w.n, plain.n);
	ck_assert_uint_eq(next_again, next);
	ck_assert(w.n == 0 || memcmp(again_bytes, plain.p, w.n) == 0);
}

static void check_protected(
    struct reader_of_sa *r, struct cy_buf b, struct message *m, const struct charon_message *from)
{
	const struct protect_keys *k = m->h.flags & IKE_FLAG_INITIATOR ? &r->in : &r->out;
	struct cy_slice plain, whole;
	char text[400];

	ck_assert_int_eq(protect_open(r->cache, k, b, m->first, &plain), CY_OK);
	if (m->first->type == PAYLOAD_SK) {
		check_chain(r, &m->h, m->first->u.sk.inner_next, plain, from->text);
		return;
	}
	ck_assert_str_eq(wire_print(&m->h, m->first, text, sizeof(text)), from->text);
	ck_assert_int_eq(frag_add(&r->frags, m->h.msgid, m->first, plain, 65536),
	    from->whole ? FRAG_COMPLETE : FRAG_STORED);
	if (from->whole) {
		ck_assert_int_eq(frag_join(&r->frags, &r->arena, &whole), CY_OK);
		check_chain(r, &m->h, r->frags.next, whole, from->whole);
	}
}

START_TEST(charon_is_understood)
{
	const struct charon_sa *sa = &charon_sas[_i];
	struct crypto_host *host = crypto_host_new("openssl", NULL);
	struct cy_buf ei = hex_bytes(sa->ei), er = hex_bytes(sa->er), ai = hex_bytes(sa->ai),
	              ar = hex_bytes(sa->ar);
	struct reader_of_sa r = {.frags = {.active = false}};
	struct env env;

	if (!host)
		goto out;
	env_real(&env);
	r.in = (struct protect_keys){.encr = sa->encr,
	    .key_bits = sa->key_bits,
	    .integ = sa->integ,
	    .encr_key = cy_slice(ei.p, ei.n),
	    .integ_key = cy_slice(ai.p, ai.n)};
	r.out = r.in;
	r.out.encr_key = cy_slice(er.p, er.n);
	r.out.integ_key = cy_slice(ar.p, ar.n);
	arena_init(&r.arena, 0);
	ck_assert_int_eq(protect_cache_new(crypto_host_crypto(host), &env, &r.cache), CY_OK);
	for (const struct charon_message *from = sa->messages; from->hex; from++) {
		struct cy_buf b = hex_bytes(from->hex);
		struct wire_error why;
		struct message m;
		char text[400];

		ck_assert_msg(
		    wire_message_parse(&r.arena, cy_slice(b.p, b.n), &m, &why) == CY_OK, "%s", why.text);
		ck_assert_msg(wire_check(&m.h, m.first, false, &why) == CY_OK, "%s", why.text);
		if (m.h.exchange == EXCHANGE_IKE_SA_INIT) {
			uint8_t again[2048];
			struct writer w = writer_of(again, sizeof(again));

			ck_assert_str_eq(wire_print(&m.h, m.first, text, sizeof(text)), from->text);
			ck_assert_int_eq(wire_message_encode(&m, &w), CY_OK);
			ck_assert_uint_eq(w.n, b.n);
			ck_assert_mem_eq(again, b.p, b.n);
		} else {
			check_protected(&r, b, &m, from);
		}
		free(b.p);
	}
	ck_assert_uint_eq(r.frags.have, _i ? 2 : 0);
	protect_cache_free(r.cache);
	arena_fini(&r.arena);
	crypto_host_free(host);
out:
	frag_fini(&r.frags);
	free(ei.p);
	free(er.p);
	free(ai.p);
	free(ar.p);
}
END_TEST

UNIT_TESTS(charon)
{
	tcase_add_loop_test(tc, charon_is_understood, 0, 2);
}
