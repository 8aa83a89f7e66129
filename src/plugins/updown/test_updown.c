/* SPDX-License-Identifier: Apache-2.0 */
/* The environment of updown scripts, as scripts of the field expect it. */

#include "updown.h"

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/addr.h"
#include "libcore/base/err.h"

#include "unit.h"

static const char *get(const struct env_list *env, const char *name)
{
	size_t n = strlen(name);
	const char *found = NULL;

	for (size_t i = 0; i < env->n; i++)
		if (strncmp(env->s[i], name, n) == 0 && env->s[i][n] == '=') {
			ck_assert_msg(!found, "%s is set twice", name);
			found = env->s[i] + n + 1;
		}
	return found;
}

struct fixture {
	struct cy_event ev;
	struct cy_ts local, remote;
	struct cy_addr vips[4], dns[3];
};

static void init(struct fixture *f, const char *me, const char *peer, const char *local, const char *remote)
{
	*f = (struct fixture){0};
	f->ev.size = sizeof(f->ev);
	f->ev.kind = CY_EV_CHILD_UP;
	f->ev.conn = "net-net";
	f->ev.reason = f->ev.user = f->ev.updown = "";
	f->ev.local_id = "moon.example.org";
	f->ev.remote_id = "C=CH, CN=sun";
	f->ev.ike_id = 7;
	f->ev.reqid = 3;
	f->ev.spi_in = 0xc0ffee01;
	f->ev.spi_out = 0xc;
	f->ev.mode = CY_MODE_TUNNEL;
	f->ev.proto = CY_PROTO_ESP;
	ck_assert_int_eq(addr_parse(me, &f->ev.local), CY_OK);
	ck_assert_int_eq(addr_parse(peer, &f->ev.remote), CY_OK);
	ck_assert_int_eq(ts_parse(local, &f->local), CY_OK);
	ck_assert_int_eq(ts_parse(remote, &f->remote), CY_OK);
	f->ev.ts_local = &f->local;
	f->ev.ts_remote = &f->remote;
	f->ev.n_ts_local = f->ev.n_ts_remote = 1;
	f->ev.vips = f->vips;
	f->ev.dns = f->dns;
}

static struct env_list make(const struct fixture *f)
{
	struct env_list env = {0};

	updown_env(&env, &f->ev, &f->local, &f->remote, "eth0");
	ck_assert(!env.bad);
	ck_assert_ptr_null(env.s[env.n]);
	return env;
}

struct pair {
	const char *name, *value; /* NULL: not set */
};

static void check_pairs(const struct env_list *env, const struct pair *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *v = get(env, p[i].name);
		if (!p[i].value)
			ck_assert_msg(!v, "%s is %s, should not be set", p[i].name, v);
		else
			ck_assert_msg(v && strcmp(v, p[i].value) == 0, "%s is %s, not %s", p[i].name,
			    v ? v : "unset", p[i].value);
	}
}

START_TEST(net_to_net)
{
	static const struct pair want[] = {
	    {"PLUTO_VERSION", "1.1"},
	    {"PLUTO_VERB", "up-client"},
	    {"PLUTO_CONNECTION", "net-net"},
	    {"PLUTO_INTERFACE", "eth0"},
	    {"PLUTO_REQID", "3"},
	    {"PLUTO_PROTO", "esp"},
	    {"PLUTO_UNIQUEID", "7"},
	    {"PLUTO_ME", "192.0.2.1"},
	    {"PLUTO_MY_ID", "moon.example.org"},
	    {"PLUTO_MY_CLIENT", "10.1.0.0/16"},
	    {"PLUTO_MY_CLIENT_NET", "10.1.0.0"},
	    {"PLUTO_MY_CLIENT_MASK", "255.255.0.0"},
	    {"PLUTO_MY_PORT", "0"},
	    {"PLUTO_MY_PROTOCOL", "0"},
	    {"PLUTO_PEER", "192.0.2.2"},
	    {"PLUTO_PEER_ID", "C=CH, CN=sun"},
	    {"PLUTO_PEER_CLIENT", "10.2.3.128/25"},
	    {"PLUTO_PEER_CLIENT_MASK", "255.255.255.128"},
	    {"PLUTO_PEER_PORT", "443"},
	    {"PLUTO_PEER_PROTOCOL", "6"},
	    {"PLUTO_MY_SOURCEIP", NULL},
	    {"PLUTO_PEER_SOURCEIP", NULL},
	    {"PLUTO_XAUTH_ID", NULL},
	    {"PLUTO_UDP_ENC", NULL},
	    {"PLUTO_MARK_IN", NULL},
	    {"PLUTO_IF_ID_IN", NULL},
	    {"PLUTO_HOST_ACCESS", NULL},
	    {"PLUTO_INBYTES", NULL},
	    {"SPI_IN", "0xc0ffee01"},
	    {"SPI_OUT", "0xc"},
	};
	struct fixture f;

	init(&f, "192.0.2.1", "192.0.2.2", "10.1.0.0/16", "10.2.3.128/25[tcp/443]");
	struct env_list env = make(&f);
	check_pairs(&env, want, ARRAY_LEN(want));
	ck_assert_ptr_nonnull(get(&env, "PATH"));
	env_fini(&env);
}
END_TEST

START_TEST(verbs)
{
	static const struct {
		const char *me, *peer, *local, *remote, *up, *down;
	} cases[] = {
	    {"192.0.2.1", "192.0.2.2", "192.0.2.1/32", "10.2.0.0/16", "up-host", "down-host"},
	    {"192.0.2.1", "192.0.2.2", "10.1.0.1/32", "192.0.2.2/32", "up-client", "down-client"},
	    {"2001:db8::1", "2001:db8::2", "2001:db8::1/128", "fd00::/8", "up-host-v6", "down-host-v6"},
	    {"2001:db8::1", "2001:db8::2", "10.1.0.0/16", "10.2.0.0/16", "up-client-v6", "down-client-v6"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct fixture f;
		init(&f, cases[i].me, cases[i].peer, cases[i].local, cases[i].remote);
		struct env_list env = make(&f);
		ck_assert_str_eq(get(&env, "PLUTO_VERB"), cases[i].up);
		env_fini(&env);
		f.ev.kind = CY_EV_CHILD_DOWN;
		f.ev.bytes_in = 1ull << 40;
		env = make(&f);
		ck_assert_str_eq(get(&env, "PLUTO_VERB"), cases[i].down);
		ck_assert_str_eq(get(&env, "PLUTO_INBYTES"), "1099511627776");
		env_fini(&env);
	}
}
END_TEST

START_TEST(virtual_addresses)
{
	static const struct pair server[] = {
	    {"PLUTO_PEER_SOURCEIP", "10.3.0.5"},
	    {"PLUTO_PEER_SOURCEIP4_1", "10.3.0.5"},
	    {"PLUTO_PEER_SOURCEIP6_1", "fd00::5"},
	    {"PLUTO_PEER_SOURCEIP4_2", "10.3.0.6"},
	    {"PLUTO_MY_SOURCEIP", NULL},
	    {"PLUTO_XAUTH_ID", "alice"},
	};
	static const struct pair client[] = {
	    {"PLUTO_MY_SOURCEIP", "10.3.0.5"},
	    {"PLUTO_MY_SOURCEIP4_1", "10.3.0.5"},
	    {"PLUTO_PEER_SOURCEIP", NULL},
	    {"PLUTO_DNS4_1", "10.1.0.53"},
	    {"PLUTO_DNS6_1", "fd00::53"},
	    {"PLUTO_DNS4_2", "10.1.0.54"},
	};
	struct env_list env;
	struct fixture f;

	init(&f, "192.0.2.1", "192.0.2.2", "10.1.0.0/16", "10.3.0.5/32");
	addr_parse("10.3.0.5", &f.vips[0]);
	addr_parse("fd00::5", &f.vips[1]);
	addr_parse("10.3.0.6", &f.vips[2]);
	f.ev.n_vips = 3;
	f.ev.user = "alice";
	/* whoever began the present IKE_SA: after a rekeying that says nothing */
	for (int initiator = 0; initiator < 2; initiator++) {
		f.ev.initiator = (uint8_t)initiator;
		env = make(&f);
		check_pairs(&env, server, ARRAY_LEN(server));
		env_fini(&env);
	}
	init(&f, "192.0.2.1", "192.0.2.2", "10.3.0.5/32", "0.0.0.0/0");
	addr_parse("10.3.0.5", &f.vips[0]);
	f.ev.n_vips = 1;
	f.ev.initiator = 1;
	addr_parse("10.1.0.53", &f.dns[0]);
	addr_parse("fd00::53", &f.dns[1]);
	addr_parse("10.1.0.54", &f.dns[2]);
	f.ev.n_dns = 3;
	env = make(&f);
	check_pairs(&env, client, ARRAY_LEN(client));
	env_fini(&env);
}
END_TEST

START_TEST(extras)
{
	static const struct pair want[] = {
	    {"PLUTO_MARK_IN", "20/0xffffffff"},
	    {"PLUTO_MARK_OUT", "21/0x0000ffff"},
	    {"PLUTO_IF_ID_IN", "42"},
	    {"PLUTO_IF_ID_OUT", "43"},
	    {"PLUTO_UDP_ENC", "4500"},
	    {"PLUTO_HOST_ACCESS", "1"},
	    {"PLUTO_PROTO", "ah"},
	    {"PLUTO_SA_TYPE", "transport"},
	};
	struct fixture f;

	init(&f, "192.0.2.1", "192.0.2.2", "192.0.2.1/32", "192.0.2.2/32");
	f.ev.mark_in = (struct cy_mark){20, 0xffffffff};
	f.ev.mark = (struct cy_mark){21, 0xffff};
	f.ev.if_id_in = 42;
	f.ev.if_id = 43;
	f.ev.encap = 1;
	f.ev.remote.port = 4500;
	f.ev.hostaccess = 1;
	f.ev.proto = CY_PROTO_AH;
	f.ev.mode = CY_MODE_TRANSPORT;
	struct env_list env = make(&f);
	check_pairs(&env, want, ARRAY_LEN(want));
	env_fini(&env);
}
END_TEST

/* What a peer calls itself must not reach a shell as more than a word. */
START_TEST(words_of_the_peer)
{
	struct fixture f;

	init(&f, "192.0.2.1", "192.0.2.2", "10.1.0.0/16", "10.2.0.0/16");
	f.ev.remote_id = "x`id`$(id)\nPLUTO_VERB=evil;id|id&id>f<f\"\\O'Brien";
	f.ev.user = "$HOME";
	struct env_list env = make(&f);
	ck_assert_str_eq(get(&env, "PLUTO_PEER_ID"),
	    "x?id?"
	    "?(id)?PLUTO_VERB=evil?id?id?id?f?f??O'Brien");
	ck_assert_str_eq(get(&env, "PLUTO_XAUTH_ID"), "?HOME");
	env_fini(&env);
}
END_TEST

START_TEST(range_that_is_no_subnet)
{
	struct fixture f;

	init(&f, "192.0.2.1", "192.0.2.2", "10.1.0.1-10.1.0.9", "0.0.0.0/0[udp/1000-2000]");
	struct env_list env = make(&f);
	ck_assert_str_eq(get(&env, "PLUTO_MY_CLIENT"), "10.1.0.0/28");
	ck_assert_str_eq(get(&env, "PLUTO_PEER_CLIENT"), "0.0.0.0/0");
	ck_assert_str_eq(get(&env, "PLUTO_PEER_CLIENT_MASK"), "0.0.0.0");
	ck_assert_str_eq(get(&env, "PLUTO_PEER_PORT"), "0");
	env_fini(&env);
}
END_TEST

START_TEST(interface_of_an_address)
{
	struct cy_addr a;
	char name[64] = "";

	addr_parse("127.0.0.1", &a);
	ck_assert(updown_interface(&a, name, sizeof(name)));
	ck_assert_str_eq(name, "lo");
	addr_parse("192.0.2.77", &a);
	ck_assert(!updown_interface(&a, name, sizeof(name)));
}
END_TEST

UNIT_TESTS(updown)
{
	tcase_add_test(tc, net_to_net);
	tcase_add_test(tc, verbs);
	tcase_add_test(tc, virtual_addresses);
	tcase_add_test(tc, extras);
	tcase_add_test(tc, words_of_the_peer);
	tcase_add_test(tc, range_that_is_no_subnet);
	tcase_add_test(tc, interface_of_an_address);
}
