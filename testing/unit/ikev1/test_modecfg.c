/* SPDX-License-Identifier: Apache-2.0 */
/* Mode Config, pulled and pushed, and what Cisco's Unity clients know besides. */
#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"
#include "libcore/conf/conf.h"

#define KEYS                                                                                                 \
	"  keyexchange=ikev1\n  ike=aes128-sha256-modp2048\n  esp=aes_gcm128\n  ikelifetime=2h\n"            \
	"  salifetime=1h\n"
#define CLIENT "  leftmodecfgclient=yes\n  rightmodecfgserver=yes\n"
#define SERVER "  leftmodecfgserver=yes\n  rightmodecfgclient=yes\n  rightaddresspool=10.9.0.7-10.9.0.9\n"
#define UNITY  "  cisco-unity=yes\n"

static struct duel *d;
static char heard[4096];

static void on_line(struct up_watch *w, const char *text)
{
	size_t n = strlen(heard);

	(void)w;
	snprintf(heard + n, sizeof(heard) - n, "%s\n", text);
}

static void on_done(struct up_watch *w, bool ok, const char *why)
{
	(void)w;
	ck_assert_msg(ok, "%s", why);
}

static void up(const char *a, const char *b)
{
	struct duel_config c = {.setup = "  dialect=libreswan\n",
	    .keys = KEYS,
	    .no_subnets = true,
	    .right_b = "%any",
	    .conn_a = a,
	    .conn_b = b};
	struct up_watch w = {.line = on_line, .done = on_done};
	struct config *conf;

	list_init(&w.node);
	heard[0] = '\0';
	d = duel_new_with(&c);
	conf = daemon_config(d->a.d);
	d->pass = 100;
	sa_up(d->a.d, conf->conf->conns[0], &w);
	config_unref(conf);
	duel_pump(d);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
}

static struct child_sa *child_of(struct duel_side *s)
{
	return list_entry(duel_sa(s)->children.next, struct child_sa, node);
}

static bool spans(const struct cy_ts *ts, const char *lo, const char *hi)
{
	struct cy_addr l, h;

	ck_assert_int_eq(addr_parse(lo, &l), CY_OK);
	ck_assert_int_eq(addr_parse(hi, &h), CY_OK);
	return !ts->family_ip6 && memcmp(ts->lo, l.ip, 4) == 0 && memcmp(ts->hi, h.ip, 4) == 0;
}

START_TEST(address_pulled_and_pushed)
{
	for (int pull = 0; pull < 2; pull++) {
		up(pull ? CLIENT "  modecfgpull=yes\n" : CLIENT "  modecfgpull=no\n",
		    pull ? SERVER "  modecfgpull=yes\n  modecfgdns=192.0.2.53,192.0.2.54\n"
		         : SERVER "  modecfgpull=no\n  modecfgdns=192.0.2.53,192.0.2.54\n");
		ck_assert_uint_eq(duel_sa(&d->a)->n_vips, 1);
		ck_assert_uint_eq(duel_sa(&d->a)->n_dns, 2);
		ck_assert(spans(&child_of(&d->a)->ts_local[0], "10.9.0.7", "10.9.0.7"));
		ck_assert(spans(&child_of(&d->b)->ts_remote[0], "10.9.0.7", "10.9.0.7"));
		duel_free(d);
	}
}
END_TEST

/* ignore-peer-dns=yes: the client neither asks for name servers nor takes those that are pushed. */
START_TEST(without_name_servers)
{
	for (int pull = 0; pull < 2; pull++) {
		up(pull ? CLIENT "  modecfgpull=yes\n  ignore-peer-dns=yes\n"
		        : CLIENT "  modecfgpull=no\n  ignore-peer-dns=yes\n",
		    pull ? SERVER "  modecfgpull=yes\n  modecfgdns=192.0.2.53\n"
		         : SERVER "  modecfgpull=no\n  modecfgdns=192.0.2.53\n");
		ck_assert_uint_eq(duel_sa(&d->a)->n_vips, 1);
		ck_assert_uint_eq(duel_sa(&d->a)->n_dns, 0);
		duel_free(d);
	}
}
END_TEST

/* The server's networks are what the client's tunnel is for, banner and domain are shown to who brought it up. */
START_TEST(unity)
{
	up(CLIENT UNITY "  modecfgpull=yes\n  rightsubnet=0.0.0.0/0\n",
	    SERVER UNITY "  modecfgpull=yes\n  leftsubnet=10.2.0.0/16\n  modecfgbanner=\"be careful\"\n"
	                 "  modecfgdomains=\"corp.example other.example\"\n  modecfgsavepassword=yes\n"
	                 "  modecfgbackupservers=\"192.0.2.9 vpn2.example,2001:db8::9\"\n");
	ck_assert(duel_sa(&d->a)->save_password_said && duel_sa(&d->a)->save_password);
	ck_assert_str_eq(duel_sa(&d->a)->backups, "192.0.2.9,vpn2.example,2001:db8::9");
	ck_assert(v1_of(duel_sa(&d->a))->peer_unity && v1_of(duel_sa(&d->b))->peer_unity);
	ck_assert_uint_eq(v1_of(duel_sa(&d->a))->n_split, 1);
	ck_assert(spans(&child_of(&d->a)->ts_remote[0], "10.2.0.0", "10.2.255.255"));
	ck_assert(spans(&child_of(&d->b)->ts_local[0], "10.2.0.0", "10.2.255.255"));
	ck_assert_msg(strstr(heard, "banner of the peer: be careful"), "%s", heard);
	ck_assert_msg(strstr(heard, "domain of the peer: corp.example"), "%s", heard);
	duel_free(d);
}
END_TEST

/* The server wants a key exchange in quick mode, and says so: who has none configured makes one. */
START_TEST(unity_pfs)
{
	up(CLIENT UNITY "  modecfgpull=yes\n  pfs=no\n", SERVER UNITY "  modecfgpull=yes\n");
	ck_assert_uint_eq(child_of(&d->a)->suite.ke, CY_KE_MODP_2048);
	ck_assert_uint_eq(child_of(&d->b)->suite.ke, CY_KE_MODP_2048);
	duel_free(d);
	up(CLIENT UNITY "  modecfgpull=yes\n  pfs=no\n", SERVER UNITY "  modecfgpull=yes\n  pfs=no\n");
	ck_assert_uint_eq(child_of(&d->a)->suite.ke, CY_KE_NONE);
	duel_free(d);
}
END_TEST

/* Who does not ask for it has the whole of what it wants. */
START_TEST(without_unity)
{
	up(CLIENT "  modecfgpull=yes\n  rightsubnet=10.2.0.0/24\n",
	    SERVER UNITY "  modecfgpull=yes\n  leftsubnet=10.2.0.0/16\n  modecfgsavepassword=yes\n"
	                 "  modecfgbackupservers=192.0.2.9\n");
	ck_assert(!v1_of(duel_sa(&d->b))->peer_unity);
	ck_assert_uint_eq(v1_of(duel_sa(&d->a))->n_split, 0);
	ck_assert(!duel_sa(&d->a)->save_password_said && !duel_sa(&d->a)->backups);
	ck_assert(spans(&child_of(&d->a)->ts_remote[0], "10.2.0.0", "10.2.0.255"));
	duel_free(d);
}
END_TEST

UNIT_TESTS(modecfg)
{
	tcase_add_test(tc, address_pulled_and_pushed);
	tcase_add_test(tc, without_name_servers);
	tcase_add_test(tc, unity);
	tcase_add_test(tc, unity_pfs);
	tcase_add_test(tc, without_unity);
}
