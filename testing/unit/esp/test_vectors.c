/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include "rig.h"
#include "vectors.h"

#include <stdio.h>

static size_t unhex(const char *s, uint8_t *out)
{
	size_t n = 0;

	for (unsigned v; *s && sscanf(s, "%2x", &v) == 1; s += 2)
		out[n++] = (uint8_t)v;
	return n;
}

/* What is inside of others' packets: authentic, decrypted, and judged. */
START_TEST(others_packets)
{
	const struct esp_vector *v = &esp_vectors[_i];
	uint8_t esp[512], body[512], key[64], integ_key[64];
	size_t len = unhex(v->esp, esp), body_len = unhex(v->body, body), key_len = unhex(v->key, key);
	bool good = body[body_len - 1] == 4;
	struct cy_dgram d = {0};
	struct cy_buf inner;
	struct rig r;
	struct rig_sa s;
	struct sa *sa;
	enum cy_err err;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	rig_sa_init(&s, CY_DIR_IN, get_be32(esp), v->encr, key_len, v->integ, unhex(v->integ_key, integ_key));
	memcpy(s.key, key, key_len);
	memcpy(s.integ_key, integ_key, s.in.integ_key.n);
	s.in.esn = v->esn;
	sa = rig_sa_add(&r, &s);
	sa->replay.top = v->seq - 1;
	d.src = s.in.src;
	err = esp_decode(&r.esp, sa, &d, esp, len, &inner);
	ck_assert_msg(rig_count(&r, CNT_IN_BAD_ICV) == 0, "%s: not authentic", v->name);
	ck_assert_mem_eq(esp + 8 + sa->iv_len, body, body_len);
	ck_assert(sa->replay.top == v->seq);
	if (good) {
		ck_assert_int_eq(err, CY_OK);
		ck_assert_uint_eq(inner.n, get_be16(body + 2));
		ck_assert_mem_eq(inner.p, body, inner.n);
		ck_assert_uint_eq(rig_total(&r), 0);
	} else {
		ck_assert_int_eq(err, CY_E_PARSE);
		ck_assert_uint_eq(rig_count(&r, CNT_IN_BAD_NEXT_HEADER), 1);
	}
	/* a second time it is a replay */
	unhex(v->esp, esp);
	ck_assert_int_eq(esp_decode(&r.esp, sa, &d, esp, len, &inner), CY_E_DENIED);
	ck_assert_uint_eq(rig_count(&r, CNT_IN_REPLAY), 1);
	rig_fini(&r);
}
END_TEST

/* The same from us, where the IV is ours to choose: it is the sequence number. Made with Python's cryptography. */
static const struct {
	uint64_t seq;
	uint8_t esn;
	const char *esp;
} ours[] = {
    {5, 0,
        "010203040000000500000000000000055d39f8729b2a382e21d91e22e70dee21a37caddc6befaada18343fd88397ce0f00"
        "1282ea7f7d83e01b590e13cdd945fa56a48d5c10218d125da98aea230f3dfff5a15d7026fe7dca140614821ccaaedbda30"
        "c513325ad7f50ce369c30f32428aa7797ec930984135"},
    {0x200000003, 1,
        "01020304000000030000000200000003c532d0580517bdca1a524284ec394a99b9cb89567321172a668d920548c7f890ff"
        "cb91ec77b77fb5f0ba5843f5c68c685aea55538ca72aa4c37dbe4965aaa21c29424a1b66f46ddbabac551e9a901b52a411"
        "70a3536ec38bfd57ab0a7fc24a31f907db8282bac7ce"},
};

START_TEST(our_packets)
{
	uint8_t room[ESP_HEADROOM + 256 + ESP_TAILROOM], want[512], *inner = room + ESP_HEADROOM;
	size_t n = unhex(INNER, inner), want_len = unhex(ours[_i].esp, want);
	struct cy_buf out;
	struct rig r;
	struct rig_sa s;
	struct sa *sa;

	ck_assert(rig_init(&r, TEST_PLUGIN_DIR));
	rig_sa_init(&s, CY_DIR_OUT, 0x01020304, CY_ENCR_AES_GCM_16, 20, 0, 0);
	unhex(KEY_20 "a0a1a2a3", s.key);
	s.in.esn = ours[_i].esn;
	sa = rig_sa_add(&r, &s);
	atomic_store(&sa->seq, ours[_i].seq - 1);
	ck_assert_int_eq(esp_encode(&r.esp, sa, inner, n, ESP_TAILROOM, &out), CY_OK);
	ck_assert_uint_eq(out.n, want_len);
	ck_assert_mem_eq(out.p, want, want_len);
	rig_fini(&r);
}
END_TEST

UNIT_TESTS(vectors)
{
	tcase_add_loop_test(tc, others_packets, 0, (int)(sizeof(esp_vectors) / sizeof(esp_vectors[0])));
	tcase_add_loop_test(tc, our_packets, 0, (int)(sizeof(ours) / sizeof(ours[0])));
}
