/* SPDX-License-Identifier: Apache-2.0 */
/* What ends up in a struct conn, above all where the dialects mean different things by the same word. */

#include "config.h"

#include <stdio.h>

#include "conf_util.h"
#include "unit.h"

static struct told told;

#define ENDS "left=192.0.2.1;right=192.0.2.2;"

static struct conn *ss(const char *keys)
{
	struct conn *c = ss_conn(keys, &told);

	ck_assert_msg(c != NULL, "%s", told.text);
	return c;
}

static struct conn *ls(const char *keys)
{
	struct conn *c = ls_conn(keys, &told);

	ck_assert_msg(c != NULL, "%s", told.text);
	return c;
}

static bool addr_is(const struct cy_addr *a, const char *text)
{
	struct cy_addr want;

	ck_assert_int_eq(addr_parse(text, &want), CY_OK);
	return cy_addr_ip_eq(a, &want);
}

static bool ts_is(const struct cy_ts *ts, const char *text)
{
	struct cy_ts want;

	ck_assert_int_eq(ts_parse(text, &want), CY_OK);
	return ts_eq(ts, &want);
}

static bool id_is(const struct ident *id, uint16_t type, const char *text)
{
	return id->type == type && id->n == strlen(text) && memcmp(id->p, text, id->n) == 0;
}

START_TEST(defaults_differ)
{
	struct conn *s = ss(ENDS), *l = ls(ENDS);

	ck_assert_int_eq(s->version, CONN_IKEV2);
	ck_assert_int_eq(l->version, CONN_IKEV2);
	ck_assert_uint_eq(s->ike_lifetime_s, 3 * 3600);
	ck_assert_uint_eq(l->ike_lifetime_s, 8 * 3600);
	ck_assert_uint_eq(s->child_lifetime_s, 3600);
	ck_assert_uint_eq(l->child_lifetime_s, 8 * 3600);
	ck_assert_uint_eq(s->keyingtries, 3);
	ck_assert_uint_eq(l->keyingtries, 0);
	ck_assert(s->mobike && !l->mobike);
	ck_assert(!s->pfs && l->pfs);
	ck_assert_int_eq(s->local.sendcert, SENDCERT_IFASKED);
	ck_assert_int_eq(l->local.sendcert, SENDCERT_ALWAYS);
	ck_assert_int_eq(s->fragmentation, FRAG_YES);
	ck_assert_int_eq(s->dialect, DIALECT_STRONGSWAN);
	ck_assert_int_eq(l->dialect, DIALECT_LIBRESWAN);
	for (int i = 0; i < 2; i++) {
		const struct conn *c = i ? s : l;

		ck_assert_uint_eq(c->rekey_margin_s, 540);
		ck_assert_uint_eq(c->rekey_fuzz_pct, 100);
		ck_assert_uint_eq(c->dpd_delay_s, 0); /* strongSwan: no dpdaction; libreswan: no dpddelay */
		ck_assert_uint_eq(c->replay_window, UINT32_MAX);
		ck_assert_int_eq(c->copy_dscp, CY_DSCP_OUT);
		ck_assert(c->rekey && c->install_policy && !c->force_encap);
		ck_assert(c->local.ts_dynamic && c->remote.ts_dynamic);
		ck_assert_int_eq(c->local.auth[0].method, AUTH_PUBKEY);
	}
	conn_unref(s);
	conn_unref(l);
}
END_TEST

START_TEST(dpd_of_each_dialect)
{
	struct conn *c = ss(ENDS "dpddelay=10s");

	ck_assert_uint_eq(c->dpd_delay_s, 0);
	ck_assert_ptr_nonnull(strstr(told.text, "no effect without dpdaction"));
	conn_unref(c);
	c = ss(ENDS "dpdaction=clear");
	ck_assert_uint_eq(c->dpd_delay_s, 30);
	ck_assert_int_eq(c->dpd_action, DPD_CLEAR);
	conn_unref(c);
	c = ls(ENDS "dpddelay=10;dpdaction=restart");
	ck_assert_uint_eq(c->dpd_delay_s, 10);
	ck_assert_int_eq(c->dpd_action, DPD_CLEAR); /* auto=add */
	conn_unref(c);
	c = ls(ENDS "dpddelay=1m;auto=start");
	ck_assert_uint_eq(c->dpd_delay_s, 60);
	ck_assert_int_eq(c->dpd_action, DPD_RESTART);
	conn_unref(c);
}
END_TEST

START_TEST(sourceip_of_each_dialect)
{
	struct conn *c = ss("left=192.0.2.1;right=%any;rightsourceip=10.3.0.0/24,fd00::/112,10.4.0.1");

	ck_assert_uint_eq(c->remote.pools.n, 3);
	ck_assert_str_eq(c->remote.pools.s[0], "10.3.0.0/24");
	ck_assert_str_eq(c->remote.pools.s[2], "10.4.0.1");
	ck_assert(!c->local.request_vip4 && !c->local.request_vip6);
	conn_unref(c);
	c = ss("left=%any;leftsourceip=%config4,%config6,10.1.2.3;right=192.0.2.1");
	ck_assert(c->local.request_vip4 && c->local.request_vip6);
	ck_assert_uint_eq(c->local.n_request_addrs, 1);
	ck_assert(addr_is(&c->local.request_addrs[0], "10.1.2.3"));
	conn_unref(c);
	c = ls(ENDS "leftsourceip=10.1.0.1");
	ck_assert(addr_is(&c->local.source_ip, "10.1.0.1"));
	ck_assert_uint_eq(c->local.pools.n, 0);
	conn_unref(c);
	ck_assert_ptr_null(ls_conn(ENDS "rightsourceip=10.3.0.0/24", &told));
	ck_assert_ptr_nonnull(strstr(told.text, "rightaddresspool="));
	c = ls("left=192.0.2.1;right=%any;rightaddresspool=10.3.0.5-10.3.0.9;modecfgdns=10.0.0.1 10.0.0.2;"
	       "leftmodecfgserver=yes");
	ck_assert_str_eq(c->remote.pools.s[0], "10.3.0.5-10.3.0.9");
	ck_assert_uint_eq(c->remote.n_dns, 2);
	ck_assert_uint_eq(c->local.n_dns, 0);
	conn_unref(c);
	c = ls("left=%defaultroute;leftmodecfgclient=yes;right=192.0.2.1;rightsubnet=::/0,0.0.0.0/0");
	ck_assert(c->local.request_vip4 && c->local.request_vip6 && !c->local.ignore_dns);
	conn_unref(c);
	c = ls("left=%defaultroute;leftmodecfgclient=yes;right=192.0.2.1;ignore-peer-dns=yes");
	ck_assert(c->local.request_vip4 && !c->local.request_vip6 && c->local.ignore_dns);
	conn_unref(c);
}
END_TEST

START_TEST(authentication)
{
	struct conn *c = ss(ENDS "authby=psk");

	ck_assert_int_eq(c->local.auth[0].method, AUTH_PSK);
	ck_assert_int_eq(c->remote.auth[0].method, AUTH_PSK);
	conn_unref(c);
	c = ss(ENDS "authby=secret;rightauth=pubkey");
	ck_assert_int_eq(c->local.auth[0].method, AUTH_PSK);
	ck_assert_int_eq(c->remote.auth[0].method, AUTH_PUBKEY);
	conn_unref(c);
	c = ss(ENDS "rightauth=ike:ecdsa-sha384-sha512;leftauth=rsa");
	ck_assert_uint_eq(c->remote.auth[0].key_types, 1u << CY_KEY_ECDSA);
	ck_assert_uint_eq(c->remote.auth[0].hashes, 1u << CY_HASH_SHA2_384 | 1u << CY_HASH_SHA2_512);
	ck_assert_uint_eq(c->local.auth[0].key_types, 1u << CY_KEY_RSA);
	ck_assert_uint_eq(c->local.auth[0].hashes, 0);
	ck_assert_uint_eq(told.count, 0);
	conn_unref(c);
	c = ls(ENDS "authby=rsa-sha2_384,eddsa");
	ck_assert_uint_eq(
	    c->remote.auth[0].key_types, 1u << CY_KEY_RSA | 1u << CY_KEY_ED25519 | 1u << CY_KEY_ED448);
	ck_assert_uint_eq(c->remote.auth[0].hashes, 1u << CY_HASH_SHA2_384 | 1u << CY_HASH_IDENTITY);
	conn_unref(c);
	c = ls(ENDS "leftauth=secret;rightauth=rsasig");
	ck_assert_int_eq(c->local.auth[0].method, AUTH_PSK);
	ck_assert_uint_eq(c->remote.auth[0].key_types, 1u << CY_KEY_RSA);
	conn_unref(c);
	ck_assert_ptr_null(ls_conn(ENDS "authby=pubkey", &told));
	ck_assert_ptr_null(ls_conn(ENDS "authby=secret,rsasig", &told));
	ck_assert_ptr_null(ss_conn(ENDS "authby=rsa-sha2", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftauth=psk-sha256", &told));
	ck_assert_ptr_null(ss_conn(ENDS "authby=xautheap", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftauth2=psk", &told));
	ck_assert_ptr_null(ls_conn(ENDS "leftauth=xauth", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftauth=eap", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftauth=", &told));
	ck_assert_ptr_null(ss_conn(ENDS "authby=never", &told));
	ck_assert_ptr_null(ls_conn(ENDS "authby=never", &told));
}
END_TEST

START_TEST(identities)
{
	struct conn *c = ss(ENDS);

	/* nobody else may come when nobody is named */
	ck_assert_int_eq(c->remote.auth[0].id.type, ID_IPV4_ADDR);
	ck_assert_int_eq(c->remote.auth[0].id.p[3], 2);
	conn_unref(c);
	c = ss(ENDS "rightid=%any;leftid=@moon");
	ck_assert_int_eq(c->remote.auth[0].id.type, ID_ANY);
	ck_assert(id_is(&c->local.auth[0].id, ID_FQDN, "moon"));
	conn_unref(c);
	c = ss("left=192.0.2.1;right=gw.example.org");
	ck_assert(id_is(&c->remote.auth[0].id, ID_FQDN, "gw.example.org"));
	conn_unref(c);
	c = ls("left=192.0.2.1;right=gw.example.org");
	ck_assert_int_eq(c->remote.auth[0].id.type, ID_ANY);
	ck_assert_ptr_nonnull(strstr(told.text, "any identity is accepted"));
	conn_unref(c);
	c = ss("left=192.0.2.1;right=192.0.2.0/24");
	ck_assert_int_eq(c->remote.auth[0].id.type, ID_ANY);
	conn_unref(c);
	c = ss(ENDS "rightcert=peer.pem");
	ck_assert_int_eq(c->remote.auth[0].id.type, ID_ANY);
	ck_assert_str_eq(c->remote.auth[0].certs.s[0], "peer.pem");
	conn_unref(c);
	c = ss(ENDS "leftid=\"C=CH, O=x\";rightca=\"C=CH, CN=ca\";leftca=%any");
	ck_assert_int_eq(c->local.auth[0].id.type, ID_DN_TEXT);
	ck_assert_int_eq(c->remote.auth[0].ca.type, ID_DN_TEXT);
	ck_assert_int_eq(c->local.auth[0].ca.type, ID_ANY);
	conn_unref(c);
	c = ss(ENDS "leftca=\"C=CH, CN=ca\";rightca=%same");
	ck_assert_int_eq(c->remote.auth[0].ca.type, ID_DN_TEXT);
	conn_unref(c);
}
END_TEST

START_TEST(which_side_is_ours)
{
	struct conn *c = ss("left=192.0.2.1;leftid=@l;right=%defaultroute;rightid=@r;authby=psk");
	uint64_t digest[2];

	ck_assert(c->local.host.defaultroute && id_is(&c->local.auth[0].id, ID_FQDN, "r"));
	memcpy(digest, c->digest, sizeof(digest));
	conn_swap_ends(c);
	ck_assert(id_is(&c->local.auth[0].id, ID_FQDN, "l"));
	ck_assert(memcmp(digest, c->digest, sizeof(digest)) != 0);
	conn_swap_ends(c);
	ck_assert(memcmp(digest, c->digest, sizeof(digest)) == 0);
	conn_unref(c);
	/* strongSwan's %any may be this host, libreswan's is the peer */
	c = ss("left=%any;right=192.0.2.1");
	ck_assert(c->local.host.any && c->remote.host.n_ranges == 1);
	conn_unref(c);
	c = ls("left=%any;right=192.0.2.1");
	ck_assert(c->remote.host.any && c->local.host.n_ranges == 1);
	conn_unref(c);
	c = ss("");
	ck_assert(c->remote.host.any && c->local.host.any);
	conn_unref(c);
}
END_TEST

START_TEST(hosts)
{
	struct conn *c = ss(
	    "left=192.0.2.1,10.0.0.0/8,gw.example.org;right=2001:db8::1-2001:db8::9,%any6;leftikeport=4510");

	ck_assert_uint_eq(c->local.host.names.n, 3);
	ck_assert_uint_eq(c->local.host.n_ranges, 2);
	ck_assert(addr_is(&c->local.host.ranges[1].hi, "10.255.255.255"));
	ck_assert_str_eq(c->local.host.dns.s[0], "gw.example.org");
	ck_assert(!c->local.host.any && c->remote.host.any_ip6 && !c->remote.host.any);
	ck_assert_uint_eq(c->local.host.port, 4510);
	conn_unref(c);
	c = ss("left=192.0.2.1;right=%gw.example.org");
	ck_assert(c->remote.host.any && c->remote.host.dns.n == 1);
	conn_unref(c);
	c = ss("left=192.0.2.1;right=192.0.2.2;rightallowany=yes");
	ck_assert(c->remote.host.any && c->remote.host.n_ranges == 1);
	conn_unref(c);
	ck_assert_ptr_null(ls_conn("left=%eth0;right=192.0.2.1", &told));
	ck_assert_ptr_null(ls_conn("left=192.0.2.1;right=192.0.2.2;hostaddrfamily=ipv6", &told));
	c = ls("left=192.0.2.1;right=192.0.2.2;hostaddrfamily=ipv4");
	conn_unref(c);
}
END_TEST

START_TEST(selectors)
{
	struct conn *c =
	    ss(ENDS "leftsubnet=10.1.0.0/16,10.2.0.0/16[tcp/80],%dynamic;leftprotoport=udp/1701");

	ck_assert_uint_eq(c->local.n_ts, 2);
	ck_assert(ts_is(&c->local.ts[0], "10.1.0.0/16[17/1701]"));
	ck_assert(ts_is(&c->local.ts[1], "10.2.0.0/16[6/80]"));
	ck_assert(c->local.ts_dynamic && !c->local.ts_per_child);
	ck_assert_uint_eq(c->local.ts_proto, 17);
	ck_assert_uint_eq(c->local.ts_port_lo, 1701);
	ck_assert_uint_eq(c->local.ts_port_hi, 1701);
	conn_unref(c);
	c = ss(ENDS "leftprotoport=tcp/%opaque;rightprotoport=17/1000-2000");
	ck_assert(c->local.ts_port_lo == 65535 && c->local.ts_port_hi == 0);
	ck_assert(c->remote.ts_port_lo == 1000 && c->remote.ts_port_hi == 2000);
	conn_unref(c);
	c = ss(ENDS "leftprotoport=47;rightprotoport=%any");
	ck_assert(c->local.ts_proto == 47 && c->local.ts_port_lo == 0 && c->local.ts_port_hi == 65535);
	ck_assert(c->remote.ts_proto == 0);
	conn_unref(c);
	ck_assert_ptr_null(ss_conn(ENDS "leftprotoport=tcp/9-1", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftprotoport=%any/80", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftprotoport=tcp/70000", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftsubnet=%dynamic[tcp", &told));
	ck_assert_ptr_null(ss_conn(ENDS "leftsubnet=,", &told));
	ck_assert_ptr_null(ls_conn(ENDS "leftsubnet=10.0.0.0/8;leftsubnets=10.0.0.0/8", &told));
}
END_TEST

START_TEST(proposals)
{
	struct conn *c = ss(ENDS "ike=aes128-sha256-x25519!;esp=aes256gcm16-esn,aes128gcm16-esn-noesn");

	ck_assert(c->ike.n == 1 && c->ike_strict && c->child.n == 2 && !c->child_strict);
	ck_assert_int_eq(c->child.p[0].proto, PROTO_ESP);
	ck_assert(c->allow_esn && !c->require_esn);
	conn_unref(c);
	c = ss(ENDS "esp=aes256gcm16-esn!");
	ck_assert(c->allow_esn && c->require_esn);
	conn_unref(c);
	c = ss(ENDS "ah=sha256");
	ck_assert(c->child_ah && c->child.p[0].proto == PROTO_AH);
	conn_unref(c);
	c = ls(ENDS "ike=aes256-sha2;phase2=ah;phase2alg=sha2_256");
	ck_assert(c->ike_strict && c->child_ah && c->child_strict && c->child.p[0].proto == PROTO_AH);
	conn_unref(c);
	c = ls(ENDS "esp=aes_gcm256;esn=no");
	ck_assert(!c->allow_esn);
	for (size_t i = 0; i < c->child.p[0].n; i++)
		ck_assert(c->child.p[0].t[i].type != TRANSFORM_ESN || c->child.p[0].t[i].id == 0);
	conn_unref(c);
	ck_assert_ptr_null(ss_conn(ENDS "esp=aes128;ah=sha256", &told));
	ck_assert_ptr_null(ss_conn(ENDS "ike=aes128-foo", &told));
	ck_assert_ptr_nonnull(strstr(told.text, "foo"));
}
END_TEST

START_TEST(marks_and_numbers)
{
	struct conn *c = ss(ENDS "mark=20/0xff;mark_in=7");

	ck_assert(c->mark_in.value == 7 && c->mark_in.mask == UINT32_MAX);
	ck_assert(c->mark_out.value == 20 && c->mark_out.mask == 0xff);
	conn_unref(c);
	c = ss(ENDS "mark_in=%unique-dir;mark_out=%unique/0xff;if_id=%unique");
	ck_assert(c->mark_in_own == OWN_ID_DIRECTION && c->mark_in.mask == UINT32_MAX);
	ck_assert(c->mark_out_own == OWN_ID_CHILD && c->mark_out.mask == 0xff);
	ck_assert(c->if_id_in_own == OWN_ID_CHILD && c->if_id_out_own == OWN_ID_CHILD);
	conn_unref(c);
	c = ls(ENDS "mark=-1/0xffff");
	ck_assert(c->mark_in_own == OWN_ID_CHILD && c->mark_in.mask == 0xffff);
	conn_unref(c);
	c = ss(ENDS "if_id=7;if_id_out=0x10");
	ck_assert(c->if_id_in == 7 && c->if_id_out == 16 && c->if_id_in_own == OWN_ID_NO);
	conn_unref(c);
	ck_assert_ptr_null(ss_conn(ENDS "if_id=many", &told));
	ck_assert_ptr_null(ss_conn(ENDS "mark=-1", &told));
	ck_assert_ptr_null(ss_conn(ENDS "mark=%unique/0", &told));
	ck_assert_ptr_null(ls_conn(ENDS "mark=%unique", &told));
	c = ss(ENDS "ikelifetime=90m;lifetime=2h;margintime=1m;rekeyfuzz=0%;lifebytes=10M;ikedscp=101110;"
	            "replay_window=0");
	ck_assert_uint_eq(c->ike_lifetime_s, 5400);
	ck_assert_uint_eq(c->child_lifetime_s, 7200);
	ck_assert_uint_eq(c->rekey_margin_s, 60);
	ck_assert_uint_eq(c->rekey_fuzz_pct, 0);
	ck_assert_uint_eq(c->life_bytes, 10u << 20);
	ck_assert_uint_eq(c->ike_dscp, 46);
	ck_assert_uint_eq(c->replay_window, 0);
	conn_unref(c);
	c = ls(ENDS "retransmit-interval=500;retransmit-timeout=60s");
	ck_assert_uint_eq(c->retransmit_timeout_ms, 500); /* plain numbers are milliseconds here */
	ck_assert_uint_eq(c->retransmit_tries, 7); /* 0.5 s and 7 waits, each 1.8 times as long, pass 60 s */
	conn_unref(c);
}
END_TEST

#ifdef HAVE_IKEV1
START_TEST(users)
{
	struct conn *c = ss(ENDS "keyexchange=ikev1;authby=xauthpsk;xauth=server;rightsourceip=10.3.0.0/24");

	ck_assert_int_eq(c->local.auth[0].method, AUTH_PSK);
	ck_assert(c->local.xauth_server && c->remote.xauth_client);
	ck_assert(!c->local.xauth_client && !c->remote.xauth_server);
	ck_assert_str_eq(c->xauth_backend, "generic");
	ck_assert(c->local.modecfg_server && c->remote.modecfg_client && c->modecfg_pull);
	ck_assert_int_eq(c->unique, UNIQUE_REPLACE);
	conn_unref(c);
	c = ss(ENDS "keyexchange=ikev1;authby=xauthrsasig;xauth_identity=alice;modeconfig=push");
	ck_assert_int_eq(c->local.auth[0].method, AUTH_PUBKEY);
	ck_assert(c->local.xauth_client && c->remote.xauth_server && !c->modecfg_pull);
	ck_assert_str_eq(c->local.xauth_user, "alice");
	ck_assert_ptr_null(c->xauth_backend);
	conn_unref(c);
	c = ss(ENDS "keyexchange=ikev1;leftauth=pubkey;rightauth=xauth-pam;xauth_identity=%any");
	ck_assert_int_eq(c->remote.auth[0].method, AUTH_XAUTH);
	ck_assert(c->local.xauth_server);
	ck_assert_str_eq(c->xauth_backend, "pam");
	ck_assert_ptr_null(c->remote.xauth_user);
	conn_unref(c);
	/* the right side is this host: what is said of it goes with it */
	c = ss("left=192.0.2.1;right=%defaultroute;keyexchange=ikev1;authby=psk;rightauth2=xauth-noauth");
	ck_assert(c->local.xauth_client && c->remote.xauth_server);
	conn_unref(c);
	c = ls(ENDS "keyexchange=ikev1;rekey=no;authby=secret;leftxauthserver=yes;rightaddresspool=10.3.0.1-"
	            "10.3.0.9");
	ck_assert(c->local.xauth_server && c->remote.xauth_client && c->local.modecfg_server);
	ck_assert_str_eq(c->xauth_backend, "generic");
	ck_assert(!c->modecfg_pull && !c->xauth_soft);
	ck_assert_int_eq(c->unique, UNIQUE_NO); /* all of a group have its identity */
	ck_assert_uint_eq(told.count, 0);
	conn_unref(c);
	c = ls(ENDS
	    "keyexchange=ikev1;rekey=no;authby=secret;rightxauthclient=yes;xauthby=file;leftxauthserver=no");
	ck_assert(c->local.xauth_server);
	ck_assert_str_eq(c->xauth_backend, "generic");
	conn_unref(c);
	c = ls(ENDS
	    "keyexchange=ikev1;authby=secret;leftxauthclient=yes;leftusername=bob;leftmodecfgclient=yes");
	ck_assert(c->local.xauth_client && c->local.modecfg_client && c->remote.modecfg_server);
	ck_assert_str_eq(c->local.xauth_user, "bob");
	conn_unref(c);
	c = ls(ENDS "authby=secret;leftxauthserver=yes;rekey=no");
	ck_assert_int_eq(c->version, CONN_IKEV1);
	ck_assert_uint_eq(told.count, 1);
	conn_unref(c);
	ck_assert_ptr_null(ls_conn(ENDS "authby=secret;keyexchange=ikev2;leftxauthserver=yes", &told));
	ck_assert_ptr_null(ls_conn(ENDS "keyexchange=ikev1;leftxauthserver=yes;rightxauthserver=yes", &told));
	ck_assert_ptr_null(ls_conn(ENDS "keyexchange=ikev1;leftxauthserver=yes;xauthby=radius", &told));
	ck_assert_ptr_null(ls_conn(ENDS "keyexchange=ikev1;leftxauthserver=perhaps", &told));
	ck_assert_ptr_null(ss_conn(ENDS "keyexchange=ikev1;authby=xauthpsk;xauth=both", &told));
	ck_assert_ptr_null(ss_conn(ENDS "keyexchange=ikev1;rightauth2=xauth-eap", &told));
}
END_TEST
#else
/* Built without it: whoever asks for it, in whatever words, is told. */
START_TEST(users)
{
	static const char *const ss[] = {
	    ENDS "keyexchange=ikev1", ENDS "keyexchange=ikev1;authby=xauthpsk;xauth=server"};
	static const char *const ls[] = {ENDS "keyexchange=ikev1", ENDS "ikev2=never",
	    ENDS "keyexchange=ike;ikev2=no", ENDS "authby=secret;leftxauthserver=yes;rekey=no"};

	for (size_t i = 0; i < sizeof(ss) / sizeof(*ss); i++) {
		ck_assert_ptr_null(ss_conn(ss[i], &told));
		ck_assert_msg(strstr(told.text, "built without IKEv1"), "%s", told.text);
	}
	for (size_t i = 0; i < sizeof(ls) / sizeof(*ls); i++) {
		ck_assert_ptr_null(ls_conn(ls[i], &told));
		ck_assert_msg(strstr(told.text, "built without IKEv1"), "%s", told.text);
	}
}
END_TEST
#endif

START_TEST(devices)
{
	struct conn *c =
	    ls(ENDS "mark-in=20;mark-out=21;vti-interface=ipsec0;vti-shared=yes;leftvti=10.3.0.1/24");

	ck_assert_int_eq(c->device.kind, CY_DEVICE_VTI);
	ck_assert_str_eq(c->device.name, "ipsec0");
	ck_assert(c->device.shared && c->device.routing && c->device.managed);
	ck_assert(c->local.device_addr.ip[0] == 10 && c->local.device_prefix == 24);
	conn_unref(c);
	c = ls(ENDS "ipsec-interface=yes;leftinterface-ip=fd03::1");
	ck_assert(c->device.kind == CY_DEVICE_XFRM && c->if_id_in == 1 && c->if_id_out == 1);
	ck_assert_str_eq(c->device.name, "ipsec1");
	ck_assert_uint_eq(c->local.device_prefix, 128);
	conn_unref(c);
	c = ls(ENDS "ipsec-interface=no;vti-routing=no;leftvti=10.3.0.1");
	ck_assert(c->device.kind == 0 && c->local.device_addr.family == 0);
	conn_unref(c);
	ck_assert_ptr_null(ls_conn(ENDS "vti-interface=ipsec0", &told));
	ck_assert_ptr_nonnull(strstr(told.text, "write mark="));
	ck_assert_ptr_null(ls_conn(ENDS "mark=-1;vti-interface=ipsec0", &told));
	ck_assert_ptr_null(ls_conn(ENDS "mark=5;vti-interface=ipsec0;type=transport", &told));
	ck_assert_ptr_null(ls_conn(ENDS "mark=5;vti-interface=a-name-that-is-too-long", &told));
	ck_assert_ptr_null(ls_conn(ENDS "mark=5;vti-interface=ipsec0;ipsec-interface=1", &told));
	ck_assert_ptr_null(ls_conn(ENDS "ipsec-interface=4294967296", &told));
	ck_assert_ptr_null(ls_conn(ENDS "ipsec-interface=1;leftvti=10.3.0.1/33", &told));
	c = ls(ENDS "clones=3");
	ck_assert(c->per_cpu == PCPU_YES && c->clones == 3);
	conn_unref(c);
	c = ss(ENDS "per_cpu_sas=encap");
	ck_assert(c->per_cpu == PCPU_ENCAP && c->clones == 0);
	conn_unref(c);
	ck_assert_ptr_null(ss_conn(ENDS "per-cpu-sas=maybe", &told));
	ck_assert_ptr_null(ls_conn(ENDS "clones=-2", &told));
}
END_TEST

START_TEST(versions)
{
	struct conn *c = ss(ENDS "keyexchange=ike");

	ck_assert_int_eq(c->version, CONN_IKE_ANY);
	conn_unref(c);
	c = ls(ENDS "keyexchange=ike;ikev2=insist");
	ck_assert_int_eq(c->version, CONN_IKEV2);
	conn_unref(c);
#ifdef HAVE_IKEV1
	c = ss(ENDS "keyexchange=ikev1");
	ck_assert_int_eq(c->version, CONN_IKEV1);
	conn_unref(c);
	c = ls(ENDS "ikev2=never");
	ck_assert_int_eq(c->version, CONN_IKEV1);
	conn_unref(c);
	c = ls(ENDS "keyexchange=ike;ikev2=no");
	ck_assert_int_eq(c->version, CONN_IKEV1);
	conn_unref(c);
	c = ls(ENDS "ikev2=no;keyexchange=ike");
	ck_assert_int_eq(c->version, CONN_IKEV1);
	conn_unref(c);
#endif
}
END_TEST

#ifdef HAVE_IKEV1
#	define OF_IKEV1_SS                                                                                  \
		"keyexchange=ikev1", "rightauth2=xauth-pam", "leftauth2=xauth", "xauth_identity=x",
#	define OF_IKEV1_LS                                                                                  \
		"leftxauthserver=yes", "leftxauthclient=yes", "xauthfail=soft", "xauthby=pam",               \
		    "leftusername=x",
#else
#	define OF_IKEV1_SS
#	define OF_IKEV1_LS
#endif

/* Every key that means something must change the digest: a reload compares nothing else. */
START_TEST(digest_covers)
{
	static const char *const strongswan[] = {"ikelifetime=2h", "lifetime=2h", "margintime=1m",
	    "rekeyfuzz=50%", "keyingtries=7", "leftid=@x", "rightid=@x", "left=192.0.2.9", "right=192.0.2.9",
	    "leftsubnet=10.0.0.0/8", "rightsubnet=10.0.0.0/8", "leftprotoport=tcp/80", "rightprotoport=tcp",
	    "rightsourceip=10.0.0.0/24", "leftsourceip=%config", "leftsourceip=%config6",
	    "leftsourceip=10.1.1.1", "rightdns=10.0.0.1", "leftcert=a.pem", "rightcert=a.pem",
	    "leftsigkey=a.key", "leftca=\"C=CH\"", "rightca=\"C=CH\"", "authby=psk", "leftauth=ecdsa",
	    "rightauth=ike:pubkey-sha256", "leftsendcert=never", "leftupdown=/bin/x", "lefthostaccess=yes",
	    "leftfirewall=yes", "leftikeport=4500", "rightikeport=4500", "leftallowany=yes",
	    "rightallowany=yes", "type=transport", "auto=route", "auto=start", "ike=aes128-sha256-x25519",
	    "ike=aes128-sha256-x25519!", "esp=aes128gcm16", "ah=sha256", "mobike=no", "rekey=no", "reauth=no",
	    "forceencaps=yes", "installpolicy=no", "sha256_96=yes", "fragmentation=force",
	    "closeaction=restart", "dpdaction=hold", "ikedscp=000001", "lifebytes=1000", "lifepackets=1000",
	    "marginbytes=10", "marginpackets=10", "mark=7", "mark_in=7", "mark_out=7", "mark=%unique",
	    "mark=%unique-dir", "if_id=7", "if_id_in=7", "if_id_out=7", "if_id=%unique", "per-cpu-sas=yes",
	    "per-cpu-sas=encap", "reqid=9", "replay_window=64", "dpdtimeout=9s", OF_IKEV1_SS "aggressive=yes",
	    "modeconfig=push"};
	static const char *const libreswan[] = {"pfs=no", "esn=no", "esn=yes", "encapsulation=yes",
	    "encap-dscp=no", "decap-dscp=yes", "nopmtudisc=yes", "priority=77", "dpddelay=10",
	    "leftsourceip=10.1.1.1", "leftmodecfgclient=yes", "rightaddresspool=10.0.0.0/24", "auto=keep",
	    "retransmit-interval=500ms", "retransmit-timeout=10s", "mark=9", "mark=9;vti-interface=a",
	    "mark=9;vti-interface=b", "mark=9;vti-interface=a;vti-routing=no",
	    "mark=9;vti-interface=a;leftvti=10.0.0.1/24", "ipsec-interface=1", "ipsec-interface=2",
	    "clones=2", "sha2-truncbug=yes", "phase2=ah", "leftsendcert=never", "leftrsasigkey=0sAQ",
	    OF_IKEV1_LS "modecfgpull=yes", "cisco-unity=yes", "modecfgbanner=x", "modecfgdomains=x",
	    "modecfgsavepassword=yes", "modecfgbackupservers=x", "rightsubnet=vhost:%no",
	    "rightsubnet=vnet:%no", "rightsubnet=vnet:%all", "leftmodecfgserver=yes"};
	char keys[512];

	for (int round = 0; round < 2; round++) {
		const char *const *list = round ? libreswan : strongswan;
		size_t n =
		    round ? sizeof(libreswan) / sizeof(*libreswan) : sizeof(strongswan) / sizeof(*strongswan);
		uint64_t seen[128][2];
		struct conn *c = round ? ls(ENDS) : ss(ENDS);

		memcpy(seen[n], c->digest, sizeof(seen[n]));
		conn_unref(c);
		c = round ? ls(ENDS) : ss(ENDS);
		ck_assert(memcmp(seen[n], c->digest, sizeof(seen[n])) == 0);
		conn_unref(c);
		for (size_t i = 0; i < n; i++) {
			snprintf(keys, sizeof(keys), ENDS "%s", list[i]);
			c = round ? ls(keys) : ss(keys);
			memcpy(seen[i], c->digest, sizeof(seen[i]));
			conn_unref(c);
			for (size_t j = 0; j < i; j++)
				ck_assert_msg(memcmp(seen[i], seen[j], sizeof(seen[i])) != 0, "%s is like %s",
				    list[i], list[j]);
			ck_assert_msg(
			    memcmp(seen[i], seen[n], sizeof(seen[i])) != 0, "%s changes nothing", list[i]);
		}
	}
}
END_TEST

static void pairs_of(const char *keys, const char *const *want, size_t n)
{
	char text[1024];
	struct conf *c;

	snprintf(text, sizeof(text),
	    "config setup\n\tdialect=libreswan\nconn a-b\n\tauto=add\n\tleft=192.0.2.1\n\tright=192.0.2.2\n"
	    "conn a\n\tauto=add\n\tleft=192.0.2.1\n\tright=192.0.2.2\n\t%s\n"
	    "conn b\n\tauto=add\n\tleft=192.0.2.1\n\tright=192.0.2.2\n",
	    keys);
	c = load_text(text, &told);
	ck_assert_uint_eq(told.count, 0);
	ck_assert_uint_eq(c->n_conns, n + 2);
	ck_assert_ptr_nonnull(conf_find(c, "a-b"));
	ck_assert_ptr_nonnull(conf_find(c, "b"));
	for (size_t i = 1; i < c->n_conns; i++)
		ck_assert_int_lt(strcmp(c->conns[i - 1]->name, c->conns[i]->name), 0);
	for (size_t i = 0; i < n; i++) {
		char name[32], local[TS_STR_MAX], remote[TS_STR_MAX], is[300];
		const struct conn *conn;

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(want[i], " "), want[i]);
		conn = conf_find(c, name);
		ck_assert_msg(conn != NULL, "%s", name);
		ck_assert(
		    conn_is_called(conn, "a") && conn_is_called(conn, name) && !conn_is_called(conn, "b"));
		snprintf(is, sizeof(is), "%s %s %s", name, ts_str(&conn->local.ts[0], local),
		    ts_str(&conn->remote.ts[0], remote));
		ck_assert_str_eq(is, want[i]);
		ck_assert(conn->local.n_ts == 1);
		for (size_t j = 0; j < i; j++)
			ck_assert_int_ne(memcmp(conn->digest, c->conns[j]->digest, sizeof(conn->digest)), 0);
	}
	conf_unref(c);
}

/* libreswan: every pair is a connection of its own, and the name means all of them. */
START_TEST(pairs_of_subnets)
{
	static const char *const both[] = {"a/1x1 10.1.0.0/16 10.8.0.0/16", "a/1x2 10.1.0.0/16 10.9.0.0/16",
	    "a/2x1 10.2.0.0/16 10.8.0.0/16", "a/2x2 10.2.0.0/16 10.9.0.0/16"};
	static const char *const left[] = {"a/1x0 10.1.0.0/16 10.8.0.0/16", "a/2x0 10.2.0.0/16 10.8.0.0/16"};
	static const char *const families[] = {
	    "a/1x1 10.1.0.0/16 10.8.0.0/16", "a/2x2 fd00:1::/32 fd00:2::/32"};
	struct conn *c;

	pairs_of("leftsubnets={10.1.0.0/16 10.2.0.0/16}\n\trightsubnets={10.8.0.0/16,10.9.0.0/16}", both, 4);
	pairs_of("leftsubnets={10.1.0.0/16 10.2.0.0/16}\n\trightsubnet=10.8.0.0/16,10.9.0.0/16", left, 2);
	pairs_of(
	    "leftsubnets={10.1.0.0/16 fd00:1::/32}\n\trightsubnets={10.8.0.0/16 fd00:2::/32}", families, 2);
	c = ls(ENDS "leftsubnets={10.1.0.0/16};rightsubnets={10.9.0.0/16}"); /* one pair: as leftsubnet= */
	ck_assert(c->local.n_ts == 1 && !c->local.ts_per_child && !c->alias);
	conn_unref(c);
}
END_TEST

START_TEST(policies_without_a_tunnel)
{
	struct conn *c =
	    ss("left=192.0.2.1;right=%any;leftsubnet=10.1.0.0/16;rightsubnet=10.2.0.0/16;type=passthrough");

	ck_assert_int_eq(c->type, TYPE_PASS);
	conn_unref(c);
	c = ss("left=192.0.2.1;right=%any;leftsubnet=10.1.0.0/16;rightsubnet=10.2.0.0/16;type=drop");
	ck_assert_int_eq(c->type, TYPE_DROP);
	conn_unref(c);
}
END_TEST

static void note_change(void *user, enum conf_change what, struct conn *before, struct conn *after)
{
	static const char letters[] = {
	    [CONF_ADDED] = 'A', [CONF_REMOVED] = 'R', [CONF_CHANGED] = 'C', [CONF_SAME] = 'S'};
	char *out = user;
	size_t n = strlen(out);

	snprintf(out + n, 64 - n, "%c%s ", letters[what], (after ? after : before)->name);
}

START_TEST(reload_touches_what_changed)
{
	static const char head[] = "config setup\n\tdialect=strongswan\n";
	char text[512], out[64] = "";
	struct conf *before, *after;

	snprintf(text, sizeof(text), "%sconn c\n\tauto=add\nconn a\n\tauto=add\nconn b\n\tauto=add\n", head);
	before = load_text(text, &told);
	snprintf(text, sizeof(text),
	    "%sconn d\n\tauto=add\nconn b\n\tauto=add\n\trekey=no\nconn a\n\tauto=add\n", head);
	after = load_text(text, &told);
	ck_assert_uint_eq(before->n_conns, 3);
	ck_assert_str_eq(before->conns[0]->name, "a");
	ck_assert_ptr_eq(conf_find(before, "b"), before->conns[1]);
	ck_assert_ptr_null(conf_find(before, "x"));
	conf_diff(before, after, note_change, out);
	ck_assert_str_eq(out, "Sa Cb Rc Ad ");
	out[0] = 0;
	conf_diff(NULL, after, note_change, out);
	ck_assert_str_eq(out, "Aa Ab Ad ");
	conf_unref(before);
	conf_unref(after);
}
END_TEST

START_TEST(setup_is_read)
{
	struct conf *c =
	    load_text("config setup\n\tdialect=strongswan\n\tuniqueids=keep\n\tcharondebug=\"ike 2\"\n"
	              "config setup\n\tuniqueids=never\nconn a\n\tauto=add\n",
	        &told);

	ck_assert_int_eq(c->setup.unique, UNIQUE_NEVER);
	ck_assert(c->setup.unique_set);
	ck_assert_str_eq(c->setup.charondebug, "ike 2");
	ck_assert_int_eq(c->conns[0]->unique, UNIQUE_NEVER);
	conf_unref(c);
	c = load_text("config setup\n\tdialect=libreswan\n\tuniqueids=keep\n\tnhelpers=4\n", &told);
	ck_assert_uint_eq(c->n_errors, 1);
	ck_assert_uint_eq(c->setup.nhelpers, 4);
	conf_unref(c);
	c = load_text("ca x\n\tcacert=x.pem\n\tcrluri=http://a\n\tcrluri2=http://b\n\tauto=add\nca "
	              "%default\n\tocspuri=http://o\n"
	              "ca y\n\tcacert=y.pem\n",
	    &told);
	ck_assert_uint_eq(c->n_cas, 1);
	ck_assert_str_eq(c->cas[0].cacert, "x.pem");
	ck_assert_uint_eq(c->cas[0].crl_uris.n, 2);
	ck_assert_str_eq(c->cas[0].ocsp_uris.s[0], "http://o");
	conf_unref(c);
}
END_TEST

static struct conf *with_setup(const char *dialect, const char *lines)
{
	char text[512];

	snprintf(text, sizeof(text), "config setup\n\tdialect=%s\n%s", dialect, lines);
	return load_text(text, &told);
}

START_TEST(revocation)
{
	struct conf *c = with_setup("strongswan", "");

	ck_assert_int_eq(c->setup.strict_crl, STRICT_NO);
	ck_assert(c->setup.ocsp && c->setup.fetch_crls);
	ck_assert_uint_eq(c->setup.crl_timeout_ms + c->setup.ocsp_timeout_ms + c->setup.crl_interval_s, 0);
	conf_unref(c);
	c = with_setup("strongswan", "\tstrictcrlpolicy=ifuri\n\tcrlcheckinterval=10m\n");
	ck_assert_uint_eq(c->n_errors + c->n_warnings, 0);
	ck_assert_int_eq(c->setup.strict_crl, STRICT_IFURI);
	ck_assert_uint_eq(c->setup.crl_interval_s, 600);
	conf_unref(c);
	c = with_setup("strongswan", "\tstrictcrlpolicy=yes\n");
	ck_assert_int_eq(c->setup.strict_crl, STRICT_YES);
	conf_unref(c);
	c = with_setup("strongswan", "\tstrictcrlpolicy=perhaps\n");
	ck_assert_uint_eq(c->n_errors, 1);
	conf_unref(c);
	/* nobody is asked that was not told to */
	c = with_setup("libreswan", "");
	ck_assert(!c->setup.ocsp && !c->setup.fetch_crls);
	conf_unref(c);
	c = with_setup("libreswan", "\tocsp-enable=yes\n\tocsp-timeout=2\n\tcrl-timeout=5\n");
	ck_assert(c->setup.ocsp && !c->setup.fetch_crls);
	ck_assert_uint_eq(c->setup.ocsp_timeout_ms, 2000);
	ck_assert_uint_eq(c->setup.crl_timeout_ms, 5000);
	conf_unref(c);
	c = with_setup("libreswan", "\tcrlcheckinterval=3600\n");
	ck_assert(!c->setup.ocsp && c->setup.fetch_crls);
	conf_unref(c);
	c = with_setup("libreswan", "\tcrl-strict=yes\n\tocsp-strict=no\n");
	ck_assert_int_eq(c->setup.strict_crl, STRICT_YES);
	ck_assert(c->setup.fetch_crls);
	conf_unref(c);
	c = with_setup("libreswan", "\tcrl-strict=ifuri\n\tcrl-timeout=soon\n\tocsp-enable=perhaps\n");
	ck_assert_uint_eq(c->n_errors, 3);
	conf_unref(c);
}
END_TEST

UNIT_TESTS(conn)
{
	tcase_add_test(tc, defaults_differ);
	tcase_add_test(tc, dpd_of_each_dialect);
	tcase_add_test(tc, sourceip_of_each_dialect);
	tcase_add_test(tc, authentication);
	tcase_add_test(tc, identities);
	tcase_add_test(tc, which_side_is_ours);
	tcase_add_test(tc, hosts);
	tcase_add_test(tc, selectors);
	tcase_add_test(tc, proposals);
	tcase_add_test(tc, marks_and_numbers);
	tcase_add_test(tc, users);
	tcase_add_test(tc, devices);
	tcase_add_test(tc, versions);
	tcase_add_test(tc, digest_covers);
	tcase_add_test(tc, pairs_of_subnets);
	tcase_add_test(tc, policies_without_a_tunnel);
	tcase_add_test(tc, reload_touches_what_changed);
	tcase_add_test(tc, setup_is_read);
	tcase_add_test(tc, revocation);
}
