/* SPDX-License-Identifier: Apache-2.0 */
/* Which connection a peer means: by addresses, then by identities. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/policy/select.h"

static struct conf *load(const char *text)
{
	struct conf *conf;

	ck_assert_int_eq(conf_load_text(text, strlen(text), "test", NULL, NULL, &conf), CY_OK);
	ck_assert_uint_eq(conf->n_errors, 0);
	return conf;
}

#define HEAD                                                                                                 \
	"config setup\n dialect=strongswan\nconn %default\n keyexchange=ikev2\n authby=secret\n auto=add\n"

static struct cy_addr addr(const char *text)
{
	struct cy_addr a;

	ck_assert_int_eq(addr_parse(text, &a), CY_OK);
	a.port = 4500;
	return a;
}

/* Names of the candidates in their order. */
static const char *candidates(const struct conn_index *ix, const char *local, const char *remote, size_t cap)
{
	static char text[1024];
	struct cy_addr l = addr(local), r = addr(remote);
	struct conn *out[32];
	size_t n = conn_candidates(ix, &l, &r, CONN_IKEV2, out, cap), at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", i ? " " : "", out[i]->name);
	return text;
}

START_TEST(nearest_address_first)
{
	struct conf *conf = load(HEAD "conn any\n left=%any\n right=%any\n"
	                              "conn net\n left=%any\n right=192.0.2.0/24\n"
	                              "conn half\n left=192.0.2.254\n right=192.0.2.0/25\n"
	                              "conn range\n left=%any\n right=192.0.2.5-192.0.2.9\n"
	                              "conn peer\n left=%any\n right=192.0.2.7\n"
	                              "conn peerhere\n left=198.51.100.1\n right=192.0.2.7\n"
	                              "conn two\n left=%any\n right=203.0.113.1,192.0.2.8\n"
	                              "conn six\n left=%any\n right=2001:db8::/32\n"
	                              "conn six6\n left=%any\n right=2001:db8::/48\n"
	                              "conn named\n left=%any\n right=gw.example.org\n"
	                              "conn off\n left=%any\n right=%any\n auto=ignore\n");
	struct conn_index *ix;

	ck_assert_int_eq(conn_index_new(conf, &ix), CY_OK);
	conf_unref(conf); /* the index keeps its own reference */
	ck_assert_str_eq(
	    candidates(ix, "198.51.100.1", "192.0.2.7", 32), "peerhere peer range net any named");
	ck_assert_str_eq(candidates(ix, "198.51.100.2", "192.0.2.7", 32), "peer range net any named");
	ck_assert_str_eq(candidates(ix, "192.0.2.254", "192.0.2.8", 32), "two range half net any named");
	ck_assert_str_eq(candidates(ix, "192.0.2.254", "192.0.2.8", 3), "two range half");
	ck_assert_str_eq(candidates(ix, "192.0.2.254", "192.0.2.8", 0), "");
	ck_assert_str_eq(candidates(ix, "198.51.100.1", "192.0.2.200", 32), "net any named");
	ck_assert_str_eq(candidates(ix, "198.51.100.1", "203.0.113.1", 32), "two any named");
	ck_assert_str_eq(candidates(ix, "2001:db8::1", "2001:db8::2", 32), "six6 six any named");
	conn_index_free(ix);
	conn_index_free(NULL);
}
END_TEST

START_TEST(nobody)
{
	struct conf *conf = load(HEAD "conn a\n left=192.0.2.1\n right=192.0.2.2\n");
	struct conn_index *ix;

	ck_assert_int_eq(conn_index_new(conf, &ix), CY_OK);
	ck_assert_str_eq(candidates(ix, "192.0.2.1", "192.0.2.2", 32), "a");
	ck_assert_str_eq(candidates(ix, "192.0.2.9", "192.0.2.2", 32), "");
	ck_assert_str_eq(candidates(ix, "192.0.2.1", "192.0.2.3", 32), "");
	ck_assert_str_eq(candidates(ix, "192.0.2.1", "::1", 32), "");
	conn_index_free(ix);
	conf_unref(conf);
}
END_TEST

/* The tree must find exactly what a look at every connection finds. */
START_TEST(ranges_like_a_plain_search)
{
	char *text = malloc(200000), *p = text;
	struct conn_index *ix;
	struct conf *conf;
	unsigned r = 1;

	p += sprintf(p, "%s", HEAD);
	for (int i = 0; i < 300; i++) {
		unsigned lo, hi;

		r = r * 1103515245 + 12345;
		lo = r >> 16 & 0xfff;
		r = r * 1103515245 + 12345;
		hi = lo + (r >> 16) % (i % 10 == 0 ? 1000 : 20);
		p += sprintf(p, "conn c%d\n left=%%any\n right=10.0.%u.%u-10.0.%u.%u\n", i, lo >> 8, lo & 255,
		    hi >> 8, hi & 255);
	}
	conf = load(text);
	free(text);
	ck_assert_int_eq(conn_index_new(conf, &ix), CY_OK);
	for (unsigned a = 0; a < 0x1400; a += 3) {
		struct conn *out[400];
		struct cy_addr local = addr("192.0.2.1"),
		               remote = {.family = AF_INET, .ip = {10, 0, (uint8_t)(a >> 8), (uint8_t)a}};
		size_t n = conn_candidates(ix, &local, &remote, CONN_IKEV2, out, 400), want = 0;

		for (size_t i = 0; i < conf->n_conns; i++)
			want += range_has(&conf->conns[i]->remote.host.ranges[0], &remote);
		ck_assert_uint_eq(n, want);
		for (size_t i = 0; i < n; i++) {
			ck_assert(range_has(&out[i]->remote.host.ranges[0], &remote));
			if (i)
				ck_assert_uint_le(range_count(&out[i - 1]->remote.host.ranges[0]),
				    range_count(&out[i]->remote.host.ranges[0]));
		}
		/* the best few are the first of all */
		if (n > 3) {
			struct conn *few[3];

			ck_assert_uint_eq(conn_candidates(ix, &local, &remote, CONN_IKEV2, few, 3), 3);
			ck_assert_mem_eq(few, out, sizeof(few));
		}
	}
	conn_index_free(ix);
	conf_unref(conf);
}
END_TEST

static struct ident id(const char *text)
{
	struct ident i;

	ck_assert_int_eq(ident_parse(text, &i), CY_OK);
	return i;
}

static const char *match(
    const struct conf *conf, const char *remote, const char *local, char *why, size_t cap)
{
	struct ident r = id(remote), l = {.type = ID_ANY};
	struct conn *c;

	if (local)
		l = id(local);
	c = conn_match_ids(conf->conns, conf->n_conns, &r, local ? &l : NULL, why, cap);
	ident_fini(&r);
	ident_fini(&l);
	return c ? c->name : NULL;
}

START_TEST(identities_choose)
{
	char why[300];
	struct conf *conf =
	    load(HEAD "conn a-any\n left=%any\n leftid=@gw\n right=%any\n rightid=%any\n"
	              "conn b-wild\n left=%any\n leftid=@gw\n right=%any\n rightid=*.example.org\n"
	              "conn c-exact\n left=%any\n leftid=@gw\n right=%any\n rightid=moon.example.org\n"
	              "conn d-other\n left=%any\n leftid=@gw2\n right=%any\n rightid=moon.example.org\n");

	ck_assert_str_eq(match(conf, "moon.example.org", NULL, why, sizeof(why)), "c-exact");
	ck_assert_str_eq(why, "");
	ck_assert_str_eq(match(conf, "sun.example.org", NULL, why, sizeof(why)), "b-wild");
	ck_assert_str_eq(match(conf, "10.0.0.1", NULL, why, sizeof(why)), "a-any");
	ck_assert_str_eq(match(conf, "moon.example.org", "@gw2", why, sizeof(why)), "d-other");
	ck_assert_str_eq(match(conf, "MOON.example.org", "@gw", why, sizeof(why)), "c-exact");
	ck_assert_ptr_null(match(conf, "moon.example.org", "@gw3", why, sizeof(why)));
	ck_assert_str_eq(why, "the nearest connection, 'a-any', has us as 'gw', the peer asked for 'gw3'");
	ck_assert_ptr_null(match(conf, "sun.example.org", "@gw2", why, sizeof(why)));
	conf_unref(conf);
}
END_TEST

START_TEST(a_failure_names_the_nearest)
{
	char why[300];
	struct conf *conf =
	    load(HEAD "conn a\n left=%any\n leftid=@gw\n right=%any\n rightid=moon.example.org\n");
	struct conf *none = load(HEAD);

	ck_assert_ptr_null(match(conf, "sun.example.org", NULL, why, sizeof(why)));
	ck_assert_str_eq(why,
	    "the nearest connection, 'a', wants the peer to be 'moon.example.org', it says it is "
	    "'sun.example.org'");
	ck_assert_ptr_null(match(none, "sun.example.org", NULL, why, sizeof(why)));
	ck_assert_str_eq(why, "no connection is for these addresses");
	/* cut off, ended */
	ck_assert_ptr_null(match(conf, "sun.example.org", NULL, why, 10));
	ck_assert_uint_eq(strlen(why), 9);
	ck_assert_ptr_null(match(conf, "sun.example.org", NULL, why, 0));
	conf_unref(conf);
	conf_unref(none);
}
END_TEST

/* No rightid= and one address: that address is the identity. With a range, or a certificate, it is not. */
START_TEST(an_address_is_an_identity)
{
	char why[300];
	struct conf *conf = load(HEAD "conn a\n left=192.0.2.1\n right=192.0.2.2\n");
	struct conf *net = load(HEAD "conn a\n left=192.0.2.1\n right=192.0.2.0/24\n");

	ck_assert_str_eq(match(conf, "192.0.2.2", NULL, why, sizeof(why)), "a");
	ck_assert_str_eq(match(conf, "192.0.2.2", "192.0.2.1", why, sizeof(why)), "a");
	ck_assert_ptr_null(match(conf, "192.0.2.3", NULL, why, sizeof(why)));
	ck_assert_str_eq(
	    why, "the nearest connection, 'a', wants the peer to be '192.0.2.2', it says it is '192.0.2.3'");
	ck_assert_ptr_null(match(conf, "moon.example.org", NULL, why, sizeof(why)));
	ck_assert_ptr_null(match(conf, "192.0.2.2", "@gw", why, sizeof(why)));
	ck_assert_str_eq(match(net, "moon.example.org", NULL, why, sizeof(why)), "a");
	conf_unref(conf);
	conf_unref(net);
}
END_TEST

/* 10,000 peers by address: what a look-up costs must not depend on their number. */
START_TEST(ten_thousand_are_no_burden)
{
	char *text = malloc(1 << 20), *p = text;
	struct cy_addr local = addr("192.0.2.1"), remote;
	struct timespec t0, t1;
	struct conn_index *ix;
	struct conn *out[8];
	struct conf *conf;
	double us;

	p += sprintf(p, "%s", HEAD);
	for (int i = 0; i < 10000; i++)
		p += sprintf(p, "conn c%d\n left=%%any\n right=10.%d.%d.1\n", i, i / 200, i % 200);
	conf = load(text);
	free(text);
	ck_assert_uint_eq(conf->n_conns, 10000);
	ck_assert_int_eq(conn_index_new(conf, &ix), CY_OK);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t0);
	for (int i = 0; i < 10000; i++) {
		remote = (struct cy_addr){
		    .family = AF_INET, .ip = {10, (uint8_t)(i / 200), (uint8_t)(i % 200), 1}};
		ck_assert_uint_eq(conn_candidates(ix, &local, &remote, CONN_IKEV2, out, 8), 1);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t1);
	us = ((double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec)) / 10000 / 1000;
	ck_assert_msg(us < 50, "%.1f us a look-up", us); /* one in 10,000 at a time would be a thousand */
	conn_index_free(ix);
	conf_unref(conf);
}
END_TEST

UNIT_TESTS(conns)
{
	tcase_add_test(tc, nearest_address_first);
	tcase_add_test(tc, nobody);
	tcase_add_test(tc, ranges_like_a_plain_search);
	tcase_add_test(tc, identities_choose);
	tcase_add_test(tc, a_failure_names_the_nearest);
	tcase_add_test(tc, an_address_is_an_identity);
	tcase_add_test(tc, ten_thousand_are_no_burden);
}
