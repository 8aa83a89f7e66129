/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the kernel as the kernel would read them; selectors against the ranges they stand for. */

#include "algs.h"
#include "net.h"
#include "xfrm_policy.h"
#include "xfrm_sa.h"

#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/udp.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"

#include "unit.h"

static const uint8_t key_bytes[64] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20,
    21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46,
    47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64};

struct decoded {
	const struct xfrm_usersa_info *x;
	const struct nlattr *a[KN_XFRMA_MAX + 1];
};

static struct cy_addr addr(const char *s)
{
	struct cy_addr a;

	ck_assert(addr_parse(s, &a) == CY_OK || addr_parse_port(s, &a) == CY_OK);
	return a;
}

static struct cy_ts ts(const char *s)
{
	struct cy_ts t;

	ck_assert_msg(ts_parse(s, &t) == CY_OK, "%s", s);
	return t;
}

static struct cy_kernel_sa an_sa(void)
{
	return (struct cy_kernel_sa){.size = sizeof(struct cy_kernel_sa),
	    .spi = 0x12345678,
	    .src = addr("192.0.2.1"),
	    .dst = addr("192.0.2.2"),
	    .proto = CY_PROTO_ESP,
	    .mode = CY_MODE_TUNNEL,
	    .dir = CY_DIR_OUT,
	    .reqid = 16390,
	    .encr = CY_ENCR_AES_GCM_16,
	    .encr_key = cy_slice(key_bytes, 20),
	    .cpu = -1};
}

static struct decoded encode(struct nl_msg *m, const struct cy_kernel_sa *sa)
{
	struct decoded d;
	const char *why = "";
	enum cy_err err = sa_encode(m, sa, &why);

	ck_assert_msg(err == CY_OK, "%s: %s", err_text(err), why);
	ck_assert_int_eq(m->nlh.nlmsg_type, XFRM_MSG_NEWSA);
	ck_assert_uint_le(m->nlh.nlmsg_len, NL_MSG_MAX);
	d.x = mnl_nlmsg_get_payload(&m->nlh);
	nl_attrs(&m->nlh, sizeof(*d.x), d.a, KN_XFRMA_MAX);
	return d;
}

static void refuse(const struct cy_kernel_sa *sa, enum cy_err want)
{
	const char *why = "";
	struct nl_msg m;

	ck_assert_int_eq(sa_encode(&m, sa, &why), want);
	ck_assert_str_ne(why, "");
}

/* ---- SAs */

START_TEST(aead_ciphers)
{
	static const struct {
		uint16_t id;
		size_t key;
		const char *name;
		unsigned icv;
	} v[] = {
	    {CY_ENCR_AES_GCM_8, 20, "rfc4106(gcm(aes))", 64},
	    {CY_ENCR_AES_GCM_12, 28, "rfc4106(gcm(aes))", 96},
	    {CY_ENCR_AES_GCM_16, 36, "rfc4106(gcm(aes))", 128},
	    {CY_ENCR_AES_CCM_8, 19, "rfc4309(ccm(aes))", 64},
	    {CY_ENCR_AES_CCM_12, 27, "rfc4309(ccm(aes))", 96},
	    {CY_ENCR_AES_CCM_16, 35, "rfc4309(ccm(aes))", 128},
	    {CY_ENCR_NULL_AES_GMAC, 20, "rfc4543(gcm(aes))", 128},
	    {CY_ENCR_CHACHA20_POLY1305, 36, "rfc7539esp(chacha20,poly1305)", 128},
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct cy_kernel_sa sa = an_sa();
		const struct xfrm_algo_aead *alg;
		struct decoded d;
		struct nl_msg m;

		sa.encr = v[i].id;
		sa.encr_key.n = v[i].key;
		d = encode(&m, &sa);
		alg = nl_value(d.a[XFRMA_ALG_AEAD], sizeof(*alg) + v[i].key);
		ck_assert_ptr_nonnull(alg);
		ck_assert_str_eq(alg->alg_name, v[i].name);
		ck_assert_uint_eq(alg->alg_key_len, v[i].key * 8);
		ck_assert_uint_eq(alg->alg_icv_len, v[i].icv);
		ck_assert_mem_eq(alg->alg_key, key_bytes, v[i].key);
		ck_assert_ptr_null(d.a[XFRMA_ALG_CRYPT]);
		ck_assert_ptr_null(d.a[XFRMA_ALG_AUTH_TRUNC]);
		sa.integ = CY_INTEG_HMAC_SHA1_96;
		sa.integ_key = cy_slice(key_bytes, 20);
		refuse(&sa, CY_E_INVAL);
	}
}
END_TEST

START_TEST(ciphers_and_macs)
{
	static const struct {
		uint16_t id;
		size_t key;
		const char *name;
	} c[] = {
	    {CY_ENCR_3DES, 24, "cbc(des3_ede)"},
	    {CY_ENCR_NULL, 0, "ecb(cipher_null)"},
	    {CY_ENCR_AES_CBC, 32, "cbc(aes)"},
	    {CY_ENCR_AES_CTR, 20, "rfc3686(ctr(aes))"},
	    {CY_ENCR_CAMELLIA_CBC, 16, "cbc(camellia)"},
	};
	static const struct {
		uint16_t id;
		size_t key;
		const char *name;
		unsigned trunc;
	} g[] = {
	    {CY_INTEG_HMAC_MD5_96, 16, "hmac(md5)", 96},
	    {CY_INTEG_HMAC_SHA1_96, 20, "hmac(sha1)", 96},
	    {CY_INTEG_AES_XCBC_96, 16, "xcbc(aes)", 96},
	    {CY_INTEG_AES_CMAC_96, 16, "cmac(aes)", 96},
	    {CY_INTEG_HMAC_SHA2_256_128, 32, "hmac(sha256)", 128},
	    {CY_INTEG_HMAC_SHA2_384_192, 48, "hmac(sha384)", 192},
	    {CY_INTEG_HMAC_SHA2_512_256, 64, "hmac(sha512)", 256},
	    {CY_INTEG_HMAC_SHA2_256_96, 32, "hmac(sha256)", 96},
	};

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++)
		for (size_t j = 0; j < sizeof(g) / sizeof(g[0]); j++) {
			struct cy_kernel_sa sa = an_sa();
			const struct xfrm_algo *crypt;
			const struct xfrm_algo_auth *auth;
			struct decoded d;
			struct nl_msg m;

			sa.encr = c[i].id;
			sa.encr_key = cy_slice(key_bytes, c[i].key);
			sa.integ = g[j].id;
			sa.integ_key = cy_slice(key_bytes, g[j].key);
			d = encode(&m, &sa);
			crypt = nl_value(d.a[XFRMA_ALG_CRYPT], sizeof(*crypt) + c[i].key);
			auth = nl_value(d.a[XFRMA_ALG_AUTH_TRUNC], sizeof(*auth) + g[j].key);
			ck_assert(crypt && auth && !d.a[XFRMA_ALG_AEAD]);
			ck_assert_str_eq(crypt->alg_name, c[i].name);
			ck_assert_uint_eq(crypt->alg_key_len, c[i].key * 8);
			ck_assert(memcmp(crypt->alg_key, key_bytes, c[i].key) == 0);
			ck_assert_str_eq(auth->alg_name, g[j].name);
			ck_assert_uint_eq(auth->alg_key_len, g[j].key * 8);
			ck_assert_uint_eq(auth->alg_trunc_len, g[j].trunc);
			ck_assert_mem_eq(auth->alg_key, key_bytes, g[j].key);
			/* encryption without integrity is refused (RFC 7296, 3.3.2) */
			sa.integ = 0;
			refuse(&sa, CY_E_INVAL);
		}
}
END_TEST

START_TEST(names_and_tag)
{
	struct cy_kernel_sa sa = an_sa();
	struct nl_msg m;
	struct decoded d = encode(&m, &sa);

	ck_assert_uint_eq(ntohl(d.x->id.spi), 0x12345678);
	ck_assert_int_eq(d.x->id.proto, 50);
	ck_assert_mem_eq(&d.x->id.daddr, "\xc0\x00\x02\x02", 4);
	ck_assert_mem_eq(&d.x->saddr, "\xc0\x00\x02\x01", 4);
	ck_assert_int_eq(d.x->family, AF_INET);
	ck_assert_uint_eq(d.x->reqid, 16390);
	ck_assert_int_eq(d.x->mode, XFRM_MODE_TUNNEL);
	ck_assert_uint_eq(d.x->seq & TAG_SEQ_MASK, TAG_SEQ);
	/* a tunnel takes both families */
	ck_assert_int_eq(d.x->sel.family, 0);
	ck_assert(d.x->flags & XFRM_STATE_AF_UNSPEC);
	ck_assert(d.x->lft.hard_byte_limit == XFRM_INF && d.x->lft.soft_packet_limit == XFRM_INF);
	ck_assert(d.x->lft.hard_add_expires_seconds == 0);
	for (int i = 0; i <= KN_XFRMA_MAX; i++)
		ck_assert_msg(!d.a[i] || i == XFRMA_ALG_AEAD, "attribute %d was not asked for", i);
	nl_wipe(&m);
	for (size_t i = 0; i < 300; i++)
		ck_assert_int_eq(m.bytes[i], 0);
}
END_TEST

START_TEST(replay_windows)
{
	static const struct {
		uint8_t dir, esn;
		uint32_t asked, small, large;
	} v[] = {
	    {CY_DIR_IN, 0, 0, 0, 0},
	    {CY_DIR_IN, 0, 32, 32, 0},
	    {CY_DIR_IN, 0, 33, 0, 33},
	    {CY_DIR_IN, 0, 128, 0, 128},
	    {CY_DIR_IN, 0, 100000, 0, 4096},
	    {CY_DIR_IN, 1, 0, 0, 32},
	    {CY_DIR_IN, 1, 64, 0, 64},
	    {CY_DIR_OUT, 0, 128, 0, 0},
	    {CY_DIR_OUT, 1, 128, 0, 1},
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct cy_kernel_sa sa = an_sa();
		const struct xfrm_replay_state_esn *r;
		struct decoded d;
		struct nl_msg m;

		sa.dir = v[i].dir;
		sa.esn = v[i].esn;
		sa.replay_window = v[i].asked;
		d = encode(&m, &sa);
		ck_assert_uint_eq(d.x->replay_window, v[i].small);
		ck_assert_int_eq(!!(d.x->flags & XFRM_STATE_ESN), v[i].esn);
		r = nl_value(d.a[XFRMA_REPLAY_ESN_VAL], sizeof(*r));
		ck_assert_int_eq(r != NULL, v[i].large != 0);
		if (!r)
			continue;
		ck_assert_uint_eq(r->replay_window, v[i].large);
		ck_assert_uint_eq(r->bmp_len, (v[i].large + 31) / 32);
		ck_assert_uint_eq(
		    mnl_attr_get_payload_len(d.a[XFRMA_REPLAY_ESN_VAL]), sizeof(*r) + r->bmp_len * 4);
	}
}
END_TEST

START_TEST(encapsulation)
{
	struct cy_kernel_sa sa = an_sa();
	const struct xfrm_encap_tmpl *e;
	struct decoded d;
	struct nl_msg m;

	sa.encap = 1;
	refuse(&sa, CY_E_INVAL);
	sa.src.port = 4500;
	sa.dst.port = 1027;
	d = encode(&m, &sa);
	e = nl_value(d.a[XFRMA_ENCAP], sizeof(*e));
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(e->encap_type, UDP_ENCAP_ESPINUDP);
	ck_assert_int_eq(ntohs(e->encap_sport), 4500);
	ck_assert_int_eq(ntohs(e->encap_dport), 1027);
	ck_assert_ptr_null(d.a[KN_XFRMA_MTIMER_THRESH]);
	sa.dir = CY_DIR_IN;
	d = encode(&m, &sa);
	ck_assert_ptr_nonnull(d.a[KN_XFRMA_MTIMER_THRESH]);
	sa.proto = CY_PROTO_AH;
	refuse(&sa, CY_E_INVAL);
}
END_TEST

START_TEST(dscp_and_flags)
{
	static const struct {
		uint8_t dscp, dir;
		bool decap, dont_encap;
	} v[] = {
	    {CY_DSCP_OUT, CY_DIR_IN, false, false},
	    {CY_DSCP_OUT, CY_DIR_OUT, false, false},
	    {CY_DSCP_NO, CY_DIR_IN, false, false},
	    {CY_DSCP_NO, CY_DIR_OUT, false, true},
	    {CY_DSCP_IN, CY_DIR_IN, true, false},
	    {CY_DSCP_IN, CY_DIR_OUT, false, true},
	    {CY_DSCP_YES, CY_DIR_IN, true, false},
	    {CY_DSCP_YES, CY_DIR_OUT, false, false},
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct cy_kernel_sa sa = an_sa();
		bool out = v[i].dir == CY_DIR_OUT;
		struct decoded d;
		struct nl_msg m;

		sa.dir = v[i].dir;
		sa.copy_dscp = v[i].dscp;
		sa.no_pmtu_disc = sa.no_ecn = 1;
		sa.tfc_pad = 1400;
		d = encode(&m, &sa);
		ck_assert_int_eq(!!(d.x->flags & XFRM_STATE_DECAP_DSCP), v[i].decap);
		ck_assert_int_eq(
		    nl_u32(d.a[XFRMA_SA_EXTRA_FLAGS]), v[i].dont_encap ? XFRM_SA_XFLAG_DONT_ENCAP_DSCP : 0);
		ck_assert(d.x->flags & XFRM_STATE_NOECN);
		ck_assert_int_eq(!!(d.x->flags & XFRM_STATE_NOPMTUDISC), out);
		ck_assert_uint_eq(nl_u32(d.a[XFRMA_TFCPAD]), out ? 1400 : 0);
	}
}
END_TEST

START_TEST(marks_lifetimes_cpus)
{
	struct cy_kernel_sa sa = an_sa();
	const struct xfrm_mark *mark;
	struct decoded d;
	struct nl_msg m;

	sa.mark = (struct cy_mark){0x10, 0xff};
	sa.set_mark = (struct cy_mark){0x20, 0xf0};
	sa.if_id = 42;
	sa.cpu = 3;
	sa.life = (struct cy_lifetime){1000, 2000, 10, 20, 30, 40};
	d = encode(&m, &sa);
	mark = nl_value(d.a[XFRMA_MARK], sizeof(*mark));
	ck_assert(mark && mark->v == 0x10 && mark->m == 0xff);
	ck_assert(nl_u32(d.a[XFRMA_SET_MARK]) == 0x20 && nl_u32(d.a[XFRMA_SET_MARK_MASK]) == 0xf0);
	ck_assert_uint_eq(nl_u32(d.a[XFRMA_IF_ID]), 42);
	ck_assert_uint_eq(nl_u32(d.a[KN_XFRMA_SA_PCPU]), 3);
	ck_assert_int_eq(mnl_attr_get_u8(d.a[KN_XFRMA_SA_DIR]), KN_SA_DIR_OUT);
	ck_assert(d.x->lft.soft_byte_limit == 1000 && d.x->lft.hard_byte_limit == 2000);
	ck_assert(d.x->lft.soft_packet_limit == 10 && d.x->lft.hard_packet_limit == 20);
	ck_assert(d.x->lft.soft_add_expires_seconds == 30 && d.x->lft.hard_add_expires_seconds == 40);
}
END_TEST

START_TEST(transport_selectors)
{
	struct cy_kernel_sa sa = an_sa();
	struct cy_ts local = ts("192.0.2.1/32[udp/500]"), remote = ts("192.0.2.2/32[udp]");
	struct decoded d;
	struct nl_msg m;

	sa.mode = CY_MODE_TRANSPORT;
	sa.ts_local = &local;
	sa.ts_remote = &remote;
	sa.n_ts_local = sa.n_ts_remote = 1;
	d = encode(&m, &sa);
	ck_assert_int_eq(d.x->mode, XFRM_MODE_TRANSPORT);
	ck_assert(!(d.x->flags & XFRM_STATE_AF_UNSPEC));
	ck_assert_mem_eq(&d.x->sel.saddr, "\xc0\x00\x02\x01", 4);
	ck_assert_int_eq(d.x->sel.proto, 17);
	ck_assert_int_eq(ntohs(d.x->sel.sport), 500);
	/* seen from the other side the source is the peer */
	sa.dir = CY_DIR_IN;
	d = encode(&m, &sa);
	ck_assert_mem_eq(&d.x->sel.daddr, "\xc0\x00\x02\x01", 4);
	ck_assert_int_eq(ntohs(d.x->sel.dport), 500);
	/* what one selector cannot say is left to the policies */
	local = ts("192.0.2.1/32[udp/500-600]");
	d = encode(&m, &sa);
	ck_assert(d.x->sel.family == AF_INET && d.x->sel.prefixlen_d == 0 && d.x->sel.proto == 0);
	sa.n_ts_local = 2;
	d = encode(&m, &sa);
	ck_assert(d.x->sel.family == AF_INET && d.x->sel.prefixlen_d == 0);
}
END_TEST

START_TEST(bad_sas)
{
	struct cy_kernel_sa sa = an_sa();

	sa.spi = 255; /* reserved: RFC 4303, 2.1 */
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.dst = addr("2001:db8::1");
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.reqid = 0;
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.proto = 51;
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.mode = 9;
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.encr = 99;
	refuse(&sa, CY_E_UNSUPPORTED);
	sa = an_sa();
	sa.size--;
	refuse(&sa, CY_E_INVAL);
	sa = an_sa();
	sa.encr_key.n = NL_MSG_MAX; /* not read: it is refused before */
	refuse(&sa, CY_E_INVAL);
}
END_TEST

/* ---- SAs that move: the answer is made of what an SA was installed with */

static void answer(struct nl_msg *m, const struct cy_kernel_sa *sa, bool esn)
{
	struct xfrm_usersa_info *x;
	const char *why;

	ck_assert_int_eq(sa_encode(m, sa, &why), CY_OK);
	x = mnl_nlmsg_get_payload(&m->nlh);
	x->curlft = (struct xfrm_lifetime_cur){.bytes = 7000, .packets = 70, .add_time = 1234567};
	if (!esn) {
		struct xfrm_replay_state r = {.oseq = 500, .seq = 600, .bitmap = 0xf0f0};

		nl_put(m, XFRMA_REPLAY_VAL, &r, sizeof(r));
	}
}

START_TEST(moved)
{
	struct cy_kernel_sa sa = an_sa();
	struct cy_addr src = addr("198.51.100.7:4500"), dst = addr("203.0.113.9:1234");
	const struct xfrm_replay_state *r;
	const struct xfrm_encap_tmpl *e;
	struct xfrm_lifetime_cur life;
	const struct xfrm_usersa_info *x;
	const struct nlattr *a[KN_XFRMA_MAX + 1];
	struct nl_msg old, m;

	sa.mark = (struct cy_mark){1, 1};
	sa.if_id = 7;
	sa.life.hard_seconds = 99;
	for (int out = 0; out < 2; out++) {
		sa.dir = out ? CY_DIR_OUT : CY_DIR_IN;
		answer(&old, &sa, false);
		ck_assert_int_eq(sa_encode_moved(&m, &old.nlh, out, &src, &dst, true), CY_OK);
		ck_assert_int_eq(m.nlh.nlmsg_type, XFRM_MSG_NEWSA);
		x = mnl_nlmsg_get_payload(&m.nlh);
		nl_attrs(&m.nlh, sizeof(*x), a, KN_XFRMA_MAX);
		ck_assert_mem_eq(&x->id.daddr, dst.ip, 4);
		ck_assert_mem_eq(&x->saddr, src.ip, 4);
		ck_assert(x->id.spi == htonl(sa.spi) && x->lft.hard_add_expires_seconds == 99);
		ck_assert_uint_eq(x->seq & TAG_SEQ_MASK, TAG_SEQ);
		ck_assert(a[XFRMA_ALG_AEAD] && a[XFRMA_MARK] && nl_u32(a[XFRMA_IF_ID]) == 7);
		e = nl_value(a[XFRMA_ENCAP], sizeof(*e));
		ck_assert(e && ntohs(e->encap_sport) == 4500 && ntohs(e->encap_dport) == 1234);
		r = nl_value(a[XFRMA_REPLAY_VAL], sizeof(*r));
		/* no sequence number twice; the window as it was */
		ck_assert(r && r->seq == 600 && r->bitmap == 0xf0f0);
		ck_assert(out ? r->oseq > 500 : r->oseq == 500);
		ck_assert_ptr_nonnull(nl_value(a[XFRMA_LTIME_VAL], sizeof(life)));
		memcpy(&life, mnl_attr_get_payload(a[XFRMA_LTIME_VAL]), sizeof(life));
		ck_assert(life.bytes == 7000 && life.packets == 70 && life.add_time == 1234567);
		ck_assert_int_eq(sa_encode_moved(&m, &old.nlh, out, &src, &dst, false), CY_OK);
		nl_attrs(&m.nlh, sizeof(*x), a, KN_XFRMA_MAX);
		ck_assert_ptr_null(a[XFRMA_ENCAP]);
	}
}
END_TEST

START_TEST(moved_esn)
{
	struct cy_kernel_sa sa = an_sa();
	struct cy_addr src = addr("198.51.100.7"), dst = addr("203.0.113.9");
	const struct nlattr *a[KN_XFRMA_MAX + 1];
	struct xfrm_replay_state_esn *r;
	struct nl_msg old, m;

	sa.esn = 1;
	answer(&old, &sa, true);
	nl_attrs(&old.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	r = mnl_attr_get_payload(a[XFRMA_REPLAY_ESN_VAL]);
	r->oseq = UINT32_MAX - 5;
	r->oseq_hi = 3;
	r->seq = 17;
	r->bmp[0] = 0xabcdef;
	ck_assert_int_eq(sa_encode_moved(&m, &old.nlh, true, &src, &dst, false), CY_OK);
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	ck_assert_ptr_null(a[XFRMA_REPLAY_VAL]);
	r = mnl_attr_get_payload(a[XFRMA_REPLAY_ESN_VAL]);
	ck_assert_uint_eq(r->oseq_hi, 4);
	ck_assert_uint_lt(r->oseq, 100000);
	ck_assert(r->seq == 17 && r->bmp[0] == 0xabcdef);
	/* without ESN the sequence ends, and does not begin again */
	sa.esn = 0;
	answer(&old, &sa, false);
	nl_attrs(&old.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	((struct xfrm_replay_state *)mnl_attr_get_payload(a[XFRMA_REPLAY_VAL]))->oseq = UINT32_MAX - 5;
	ck_assert_int_eq(sa_encode_moved(&m, &old.nlh, true, &src, &dst, false), CY_OK);
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	ck_assert_uint_eq(
	    ((struct xfrm_replay_state *)mnl_attr_get_payload(a[XFRMA_REPLAY_VAL]))->oseq, UINT32_MAX);
}
END_TEST

/* ---- policies */

START_TEST(policies)
{
	struct cy_kernel_policy p = {.size = sizeof(p),
	    .dir = CY_DIR_OUT,
	    .action = CY_POLICY_PROTECT,
	    .mode = CY_MODE_TUNNEL,
	    .proto = CY_PROTO_ESP,
	    .has_tmpl = 1,
	    .src = ts("10.1.0.0/16"),
	    .dst = ts("10.2.0.0/16"),
	    .priority = 1234,
	    .reqid = 16390,
	    .tmpl_src = addr("192.0.2.1"),
	    .tmpl_dst = addr("192.0.2.2"),
	    .mark = {1, 3},
	    .if_id = 5};
	struct xfrm_selector sel[SELECTORS_MAX];
	const struct xfrm_userpolicy_info *x;
	const struct nlattr *a[XFRMA_MAX + 1];
	const struct xfrm_user_tmpl *t;
	struct nl_msg m;
	size_t n;

	ck_assert_int_eq(selectors_of(&p.src, &p.dst, sel, &n), CY_OK);
	ck_assert_uint_eq(n, 1);
	policy_encode(&m, XFRM_MSG_NEWPOLICY, &p, sel, TAG_INDEX | 8 | XFRM_POLICY_OUT);
	x = mnl_nlmsg_get_payload(&m.nlh);
	nl_attrs(&m.nlh, sizeof(*x), a, XFRMA_MAX);
	ck_assert(x->dir == XFRM_POLICY_OUT && x->action == XFRM_POLICY_ALLOW && x->priority == 1234);
	ck_assert(x->lft.hard_byte_limit == XFRM_INF && x->lft.hard_packet_limit == XFRM_INF);
	ck_assert_uint_eq(x->index & TAG_INDEX_MASK, TAG_INDEX);
	ck_assert_mem_eq(&x->sel.saddr, "\x0a\x01\x00\x00", 4);
	ck_assert(x->sel.prefixlen_s == 16 && x->sel.prefixlen_d == 16 && x->sel.family == AF_INET);
	t = nl_value(a[XFRMA_TMPL], sizeof(*t));
	ck_assert(
	    t && t->reqid == 16390 && t->mode == XFRM_MODE_TUNNEL && t->id.proto == 50 && t->id.spi == 0);
	ck_assert(t->optional == 0 && t->aalgos == UINT32_MAX && t->ealgos == UINT32_MAX);
	ck_assert_mem_eq(&t->saddr, "\xc0\x00\x02\x01", 4);
	ck_assert_mem_eq(&t->id.daddr, "\xc0\x00\x02\x02", 4);
	ck_assert_uint_eq(nl_u32(a[XFRMA_IF_ID]), 5);
	ck_assert_ptr_nonnull(a[XFRMA_MARK]);
	/* the ends of a transport policy are the packet's */
	p.mode = CY_MODE_TRANSPORT;
	p.dir = CY_DIR_FWD;
	policy_encode(&m, XFRM_MSG_UPDPOLICY, &p, sel, 0);
	nl_attrs(&m.nlh, sizeof(*x), a, XFRMA_MAX);
	t = nl_value(a[XFRMA_TMPL], sizeof(*t));
	ck_assert(t && t->mode == XFRM_MODE_TRANSPORT && t->id.daddr.a4 == 0 && t->saddr.a4 == 0);
	ck_assert_int_eq(x->dir, XFRM_POLICY_FWD);
	/* nothing to protect with: nothing passes */
	p.has_tmpl = 0;
	policy_encode(&m, XFRM_MSG_UPDPOLICY, &p, sel, 0);
	nl_attrs(&m.nlh, sizeof(*x), a, XFRMA_MAX);
	ck_assert(x->action == XFRM_POLICY_BLOCK && !a[XFRMA_TMPL]);
	p.action = CY_POLICY_DISCARD;
	p.has_tmpl = 1;
	policy_encode(&m, XFRM_MSG_UPDPOLICY, &p, sel, 0);
	nl_attrs(&m.nlh, sizeof(*x), a, XFRMA_MAX);
	ck_assert(x->action == XFRM_POLICY_BLOCK && !a[XFRMA_TMPL]);
	p.action = CY_POLICY_PASS;
	policy_encode(&m, XFRM_MSG_UPDPOLICY, &p, sel, 0);
	nl_attrs(&m.nlh, sizeof(*x), a, XFRMA_MAX);
	ck_assert(x->action == XFRM_POLICY_ALLOW && !a[XFRMA_TMPL]);
}
END_TEST

/* ---- selectors */

/* As xfrm_selector_match() compares one of the two ports or addresses. */
static bool bits_match(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	if (memcmp(a, b, bits / 8) != 0)
		return false;
	return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

static bool matches(
    const struct xfrm_selector *s, const uint8_t *src, const uint8_t *dst, uint16_t sport, uint16_t dport)
{
	return bits_match(src, (const uint8_t *)&s->saddr, s->prefixlen_s) &&
	    bits_match(dst, (const uint8_t *)&s->daddr, s->prefixlen_d) &&
	    !((htons(sport) ^ s->sport) & s->sport_mask) && !((htons(dport) ^ s->dport) & s->dport_mask);
}

static bool within(const struct cy_ts *t, const uint8_t *ip, uint16_t port)
{
	size_t n = t->family_ip6 ? 16 : 4;

	return memcmp(ip, t->lo, n) >= 0 && memcmp(ip, t->hi, n) <= 0 && port >= t->port_lo &&
	    port <= t->port_hi;
}

/* An address near the ends of the range, where mistakes are. */
static void near(const struct cy_ts *t, uint8_t out[16])
{
	size_t n = t->family_ip6 ? 16 : 4;
	unsigned carry = (unsigned)(rand() % 5);

	memcpy(out, rand() % 2 ? t->lo : t->hi, n);
	out[n - 1] = (uint8_t)(out[n - 1] + carry - 2);
	if (rand() % 8 == 0)
		out[rand() % n] ^= (uint8_t)(1 << rand() % 8);
}

START_TEST(selectors_match_ranges)
{
	srand(1);
	for (int round = 0; round < 3000; round++) {
		struct xfrm_selector sel[SELECTORS_MAX];
		struct cy_ts src = ts("10.1.0.0/16"), dst = ts("10.2.3.0-10.2.3.255[tcp]");
		size_t n, n_match;
		enum cy_err err;

		src.proto = 6;
		if (round % 2) {
			dst = ts("2001:db8::/64[tcp]");
			src = ts("2001:db8:1::/48[tcp]");
		}
		/* a small range across a carry, and ports likewise */
		dst.lo[(round % 2 ? 16 : 4) - 1] = (uint8_t)(rand() % 200);
		dst.hi[(round % 2 ? 16 : 4) - 1] = (uint8_t)(200 + rand() % 56);
		if (round % 3 == 0) {
			dst.port_lo = (uint16_t)(rand() % 300);
			dst.port_hi = (uint16_t)(dst.port_lo + rand() % 300);
		}
		err = selectors_of(&src, &dst, sel, &n);
		if (err == CY_E_LIMIT)
			continue;
		EXPECT(err == CY_OK && n > 0);
		for (int i = 0; i < 40; i++) {
			uint8_t s[16] = {0}, d[16] = {0};
			uint16_t sport = (uint16_t)rand(),
			         dport = (uint16_t)(rand() % 4 ? dst.port_lo + rand() % 4 - 2
			                                       : dst.port_hi + rand() % 4 - 2);

			near(&src, s);
			near(&dst, d);
			n_match = 0;
			for (size_t j = 0; j < n; j++)
				n_match += matches(&sel[j], s, d, sport, dport);
			/* each packet of the range is in one piece, and no other in any */
			EXPECT(n_match == (within(&src, s, sport) && within(&dst, d, dport)));
		}
	}
}
END_TEST

START_TEST(selector_counts)
{
	static const struct {
		const char *src, *dst;
		size_t n;
		enum cy_err err;
	} v[] = {
	    {"10.1.0.0/16", "0.0.0.0/0", 1, CY_OK},
	    {"::/0", "::/0", 1, CY_OK},
	    {"10.1.0.1-10.1.0.6", "10.2.0.0/16", 4, CY_OK},
	    {"10.1.0.1-10.1.0.6", "10.2.0.1-10.2.0.6", 16, CY_OK},
	    {"0.0.0.1-255.255.255.254", "10.2.0.0/16", 62, CY_OK},
	    {"0.0.0.1-255.255.255.254", "0.0.0.1-255.255.255.254", 0, CY_E_LIMIT},
	    {"10.1.0.0/16[tcp/1-65534]", "10.2.0.0/16[tcp]", 30, CY_OK},
	    {"10.1.0.0/16", "2001:db8::/64", 0, CY_E_INVAL},
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		struct cy_ts src = ts(v[i].src), dst = ts(v[i].dst);
		struct xfrm_selector sel[SELECTORS_MAX];
		size_t n = 0;

		ck_assert_msg(selectors_of(&src, &dst, sel, &n) == v[i].err && n == v[i].n, "%s, %s: %zu",
		    v[i].src, v[i].dst, n);
	}
}
END_TEST

START_TEST(selector_types)
{
	struct cy_ts src = ts("10.1.0.0/16[icmp/2048]"), dst = ts("10.2.0.0/16[icmp]"), a, b;
	struct xfrm_selector sel[SELECTORS_MAX];
	size_t n;

	/* type 8, code 0 */
	ck_assert_int_eq(selectors_of(&src, &dst, sel, &n), CY_OK);
	ck_assert(n == 1 && sel[0].proto == 1 && ntohs(sel[0].sport) == 8 && sel[0].sport_mask == 0xffff);
	ck_assert(ntohs(sel[0].dport) == 0 && sel[0].dport_mask == 0xffff);
	ck_assert_int_eq(selector_to_ts(&sel[0], &a, &b), CY_OK);
	ck_assert(a.port_lo == 2048 && a.port_hi == 2048 && b.port_lo == 2048);
	/* type 3, any code */
	src.port_lo = 3 << 8;
	src.port_hi = 3 << 8 | 255;
	ck_assert_int_eq(selectors_of(&src, &dst, sel, &n), CY_OK);
	ck_assert(n == 1 && ntohs(sel[0].sport) == 3 && sel[0].dport_mask == 0);
	ck_assert_int_eq(selector_to_ts(&sel[0], &a, &b), CY_OK);
	ck_assert(a.port_lo == 3 << 8 && a.port_hi == (3 << 8 | 255));
	/* several types, but not all their codes: the kernel has no such thing */
	src.port_hi = 5 << 8 | 7;
	ck_assert_int_eq(selectors_of(&src, &dst, sel, &n), CY_E_UNSUPPORTED);
	/* OPAQUE (RFC 7296, 3.13.1) */
	src = ts("10.1.0.0/16[udp]");
	dst = src;
	src.port_lo = 65535;
	src.port_hi = 0;
	ck_assert_int_eq(selectors_of(&src, &dst, sel, &n), CY_E_UNSUPPORTED);
	/* a protocol without ports has any */
	memset(&sel[0], 0, sizeof(sel[0]));
	sel[0].family = AF_INET;
	sel[0].proto = 47;
	sel[0].prefixlen_s = sel[0].prefixlen_d = 32;
	sel[0].sport_mask = sel[0].dport_mask = 0xffff;
	ck_assert_int_eq(selector_to_ts(&sel[0], &a, &b), CY_OK);
	ck_assert(ts_any_port(&a) && ts_any_port(&b) && a.proto == 47);
	sel[0].family = AF_UNIX;
	ck_assert_int_eq(selector_to_ts(&sel[0], &a, &b), CY_E_PARSE);
}
END_TEST

/* ---- messages and tables */

START_TEST(full_messages)
{
	static const uint8_t big[NL_MSG_MAX];
	struct nl_msg m;
	uint32_t len;

	nl_begin(&m, XFRM_MSG_GETSA, 0, 8);
	nl_put_u32(&m, 1, 7);
	len = m.nlh.nlmsg_len;
	nl_put(&m, 2, big, sizeof(big));
	ck_assert(m.full);
	ck_assert_uint_eq(m.nlh.nlmsg_len, len);
	nl_put(&m, 3, big, SIZE_MAX);
	ck_assert_uint_eq(m.nlh.nlmsg_len, len);
	ck_assert_ptr_null(nl_reserve(&m, 4, NL_MSG_MAX - len));
	ck_assert_ptr_nonnull(nl_reserve(&m, 4, NL_MSG_MAX - len - 4));
	ck_assert_uint_eq(m.nlh.nlmsg_len, NL_MSG_MAX);
}
END_TEST

/* Attributes of lengths that are not so. */
START_TEST(bad_answers)
{
	const struct nlattr *a[KN_XFRMA_MAX + 1];
	struct nl_msg m;
	struct nlattr *first;

	nl_begin(&m, XFRM_MSG_NEWSA, 0, sizeof(struct xfrm_usersa_info));
	nl_put_u32(&m, XFRMA_IF_ID, 5);
	nl_put_u32(&m, XFRMA_TFCPAD, 6);
	nl_put_u32(&m, 200, 6);
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	ck_assert(nl_u32(a[XFRMA_IF_ID]) == 5 && nl_u32(a[XFRMA_TFCPAD]) == 6);
	ck_assert_ptr_null(nl_value(a[XFRMA_IF_ID], 5));
	first = (struct nlattr *)a[XFRMA_IF_ID];
	first->nla_len = 2;
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	ck_assert(!a[XFRMA_IF_ID] && !a[XFRMA_TFCPAD]);
	first->nla_len = 60000;
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	ck_assert_ptr_null(a[XFRMA_IF_ID]);
	m.nlh.nlmsg_len = sizeof(m.nlh) + 10;
	nl_attrs(&m.nlh, sizeof(struct xfrm_usersa_info), a, KN_XFRMA_MAX);
	for (int i = 0; i <= KN_XFRMA_MAX; i++)
		ck_assert_ptr_null(a[i]);
}
END_TEST

struct number {
	struct tnode node;
	uint32_t n;
};

START_TEST(tables)
{
	static const uint64_t key[2] = {1, 2};
	struct number *v = calloc(10000, sizeof(*v));
	struct table t;
	size_t pos = 0, n = 0;

	ck_assert_int_eq(table_init(&t, key), CY_OK);
	for (uint32_t i = 0; i < 10000; i++) {
		v[i].n = i;
		table_add(&t, &v[i].node, table_hash(&t, &i, sizeof(i)));
	}
	for (uint32_t i = 0; i < 10000; i += 2)
		table_del(&t, &v[i].node);
	for (uint32_t i = 0; i < 10000; i++) {
		struct tnode *f = table_first(&t, table_hash(&t, &i, sizeof(i)));

		while (f && table_entry(f, struct number, node)->n != i)
			f = table_next(f);
		EXPECT((f != NULL) == (i % 2 == 1));
	}
	ck_assert_uint_eq(t.n, 5000);
	while (table_take(&t, &pos))
		n++;
	ck_assert_uint_eq(n, 5000);
	ck_assert_uint_eq(t.n, 0);
	table_fini(&t);
	free(v);
}
END_TEST

/* The attributes of a link and of its kind. */
static void decode_device(const struct cy_kernel_device *d, const char *kind, const struct nlattr **data)
{
	static struct nl_msg m;
	const struct nlattr *a[IFLA_GROUP + 1], *at, *info[IFLA_INFO_DATA + 1] = {NULL};

	device_encode(&m, d);
	ck_assert(!m.full);
	ck_assert_int_eq(m.nlh.nlmsg_type, RTM_NEWLINK);
	ck_assert(m.nlh.nlmsg_flags & NLM_F_EXCL); /* what is there already is not changed */
	nl_attrs(&m.nlh, sizeof(struct ifinfomsg), a, IFLA_GROUP);
	ck_assert_str_eq(mnl_attr_get_str(a[IFLA_IFNAME]), d->name);
	ck_assert_uint_ne(nl_u32(a[IFLA_GROUP]), 0); /* tells it from an administrator's at once */
	mnl_attr_for_each_nested(at, a[IFLA_LINKINFO]) info[mnl_attr_get_type(at)] = at;
	ck_assert_str_eq(mnl_attr_get_str(info[IFLA_INFO_KIND]), kind);
	memset(data, 0, 6 * sizeof(*data));
	mnl_attr_for_each_nested(at, info[IFLA_INFO_DATA]) data[mnl_attr_get_type(at)] = at;
}

START_TEST(device_kinds)
{
	struct cy_kernel_device d = {.size = sizeof(d),
	    .kind = CY_DEVICE_VTI,
	    .name = "ipsec0",
	    .local = addr("192.0.2.1"),
	    .mark_in = 20,
	    .mark_out = 21};
	const struct nlattr *a[6];

	/* by linux/if_tunnel.h: 2 ikey, 3 okey, 4 local, 5 remote */
	decode_device(&d, "vti", a);
	ck_assert_uint_eq(nl_u32(a[2]), htonl(20));
	ck_assert_uint_eq(nl_u32(a[3]), htonl(21));
	ck_assert(memcmp(mnl_attr_get_payload(a[4]), d.local.ip, 4) == 0);
	ck_assert_ptr_null(a[5]);
	d.remote = addr("192.0.2.9");
	decode_device(&d, "vti", a);
	ck_assert(memcmp(mnl_attr_get_payload(a[5]), d.remote.ip, 4) == 0);
	d.local = addr("2001:db8::1");
	d.remote = addr("2001:db8::9");
	decode_device(&d, "vti6", a);
	ck_assert_uint_eq(mnl_attr_get_payload_len(a[5]), 16);
	d.kind = CY_DEVICE_XFRM;
	d.if_id = 7;
	decode_device(&d, "xfrm", a);
	ck_assert_uint_eq(nl_u32(a[IFLA_XFRM_IF_ID]), 7);
}
END_TEST

UNIT_TESTS(xfrm)
{
	tcase_add_test(tc, aead_ciphers);
	tcase_add_test(tc, ciphers_and_macs);
	tcase_add_test(tc, names_and_tag);
	tcase_add_test(tc, replay_windows);
	tcase_add_test(tc, encapsulation);
	tcase_add_test(tc, dscp_and_flags);
	tcase_add_test(tc, marks_lifetimes_cpus);
	tcase_add_test(tc, transport_selectors);
	tcase_add_test(tc, bad_sas);
	tcase_add_test(tc, moved);
	tcase_add_test(tc, moved_esn);
	tcase_add_test(tc, policies);
	tcase_add_test(tc, selectors_match_ranges);
	tcase_add_test(tc, selector_counts);
	tcase_add_test(tc, selector_types);
	tcase_add_test(tc, full_messages);
	tcase_add_test(tc, bad_answers);
	tcase_add_test(tc, tables);
	tcase_add_test(tc, device_kinds);
}
