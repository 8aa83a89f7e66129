/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that connections share: what the data plane is asked for as users come and go. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/kernel/knl_device.h"
#include "libcore/base/addr.h"
#include "libcore/base/env.h"

/* A data plane that remembers. */
struct plane {
	unsigned adds, dels, addrs, routes;
	struct cy_kernel_device d;
	struct cy_ts last_route;
	enum cy_err refuse;
};

static enum cy_err add(void *kv, const struct cy_kernel_device *d, char *why, size_t why_cap)
{
	struct plane *k = kv;

	if (k->refuse) {
		snprintf(why, why_cap, "no such devices here");
		return k->refuse;
	}
	k->adds++;
	k->d = *d;
	return CY_OK;
}

static enum cy_err del(void *kv, const struct cy_kernel_device *d)
{
	struct plane *k = kv;

	ck_assert_str_eq(d->name, k->d.name);
	k->dels++;
	return CY_OK;
}

static enum cy_err set_addr(void *kv, const char *name, const struct cy_addr *a, uint8_t prefix, bool on)
{
	struct plane *k = kv;

	(void)name;
	(void)a;
	ck_assert_uint_eq(prefix, 24);
	k->addrs += on ? 1u : -1u;
	return CY_OK;
}

static enum cy_err set_route(
    void *kv, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on)
{
	struct plane *k = kv;

	(void)name;
	(void)local;
	k->last_route = *dst;
	k->routes += on ? 1u : -1u;
	return CY_OK;
}

static enum cy_err source_for(void *kv, const struct cy_addr *dst, struct cy_addr *out)
{
	(void)kv;
	(void)dst;
	return addr_parse("192.0.2.7", out);
}

static const struct cy_kernel_ops ops = {.size = sizeof(ops),
    .name = "test",
    .source_for = source_for,
    .device_add = add,
    .device_del = del,
    .device_addr = set_addr,
    .device_route = set_route};

static struct conn *conn_of(const char *name, uint32_t mark, const char *pool)
{
	struct conn *c;

	ck_assert_int_eq(conn_new(name, DIALECT_LIBRESWAN, &c), CY_OK);
	c->device = (struct conn_device){
	    .kind = CY_DEVICE_VTI, .name = "ipsec0", .shared = true, .routing = true, .managed = true};
	c->mark_in = c->mark_out = (struct cy_mark){mark, UINT32_MAX};
	ck_assert_int_eq(addr_parse("10.3.0.254", &c->local.device_addr), CY_OK);
	c->local.device_prefix = 24;
	c->remote.host.any = true;
	c->remote.pools.s = calloc(1, sizeof(char *));
	c->remote.pools.s[0] = strdup(pool);
	c->remote.pools.n = 1;
	return c;
}

static const uint64_t key[2] = {3, 4};
static struct env env;
static struct log *quiet;
static struct knl_devices *devices;
static struct plane k;
static char listed[256];

static void ignore(void *user, const struct log_line *line)
{
	(void)user;
	(void)line;
}

static void begin(void)
{
	memset(&k, 0, sizeof(k));
	env_real(&env);
	ck_assert_int_eq(log_new(&env, &quiet), CY_OK);
	log_set_direct(quiet, ignore, NULL);
	ck_assert_int_eq(knl_devices_new(quiet, key, &devices), CY_OK);
}

static void end(void)
{
	knl_devices_free(devices);
	log_free(quiet);
}

static void on_device(void *user, const struct knl_device_info *d)
{
	(void)user;
	snprintf(listed, sizeof(listed), "%s %u %s", d->name, d->users, d->why);
}

static const char *list(void)
{
	listed[0] = '\0';
	knl_devices_list(devices, on_device, NULL);
	return listed;
}

/* It is there for a loaded connection, and for its CHILD_SAs when that is no longer loaded. */
START_TEST(goes_with_its_last_user)
{
	struct conn *c = conn_of("c", 20, "10.3.0.1-10.3.0.254");
	char text[TS_STR_MAX];

	begin();
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, true), CY_OK);
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, true), CY_OK); /* loaded once */
	ck_assert_uint_eq(k.adds, 1);
	ck_assert_uint_eq(k.d.mark_in, 20);
	ck_assert_str_eq(addr_str(&k.d.local, text), "192.0.2.7");
	ck_assert_uint_eq(k.d.remote.family, 0);
	ck_assert_uint_eq(k.routes, 1);
	ck_assert_uint_eq(k.addrs, 1);
	ck_assert_str_eq(ts_str(&k.last_route, text), "10.3.0.0/24"); /* one route for the pool */
	for (int i = 0; i < 500; i++)
		ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, false), CY_OK);
	ck_assert_str_eq(list(), "ipsec0 501 ");
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, c, true), CY_OK);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, c, true), CY_E_NOTFOUND);
	for (int i = 0; i < 500; i++) {
		ck_assert_uint_eq(k.dels, 0);
		ck_assert_uint_eq(k.routes, 1);
		ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, c, false), CY_OK);
	}
	ck_assert_uint_eq(k.adds, 1);
	ck_assert_uint_eq(k.dels, 1);
	ck_assert_uint_eq(k.routes, 0);
	ck_assert_uint_eq(k.addrs, 0);
	ck_assert_str_eq(list(), "");
	conn_unref(c);
	end();
}
END_TEST

START_TEST(connections_share_it)
{
	struct conn *a = conn_of("a", 20, "10.3.0.0/24"), *b = conn_of("b", 20, "10.4.0.0/24");
	struct conn *same = conn_of("same", 20, "10.4.0.0/24"), *other = conn_of("other", 21, "10.5.0.0/24");

	begin();
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, a, true), CY_OK);
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, b, true), CY_OK);
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, same, true), CY_OK);
	ck_assert_uint_eq(k.adds, 1);
	ck_assert_uint_eq(k.routes, 2);
	ck_assert_uint_eq(k.addrs, 1);
	/* another key cannot be on the same device, and takes nothing from those that have it */
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, other, true), CY_E_EXISTS);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, other, true), CY_E_NOTFOUND);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, b, true), CY_OK);
	ck_assert_uint_eq(k.routes, 2);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, same, true), CY_OK);
	ck_assert_uint_eq(k.routes, 1);
	ck_assert_uint_eq(k.dels, 0);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, a, true), CY_OK);
	ck_assert_uint_eq(k.dels, 1);
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, other, true), CY_OK);
	conn_unref(a);
	conn_unref(b);
	conn_unref(same);
	conn_unref(other);
	end(); /* with a user still in it */
}
END_TEST

/* What could not be had at load is tried again with each CHILD_SA, which fails without it. */
START_TEST(tried_again)
{
	struct conn *c = conn_of("c", 20, "0.0.0.0/0");
	static const struct cy_kernel_ops none = {.size = sizeof(none), .name = "none"};

	begin();
	k.refuse = CY_E_UNSUPPORTED;
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, true), CY_E_UNSUPPORTED);
	ck_assert_str_eq(list(), "ipsec0 1 no such devices here");
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, false), CY_E_UNSUPPORTED);
	ck_assert_str_eq(list(), "ipsec0 1 no such devices here");
	k.refuse = CY_OK;
	ck_assert_int_eq(knl_device_use(devices, &ops, &k, c, false), CY_OK);
	ck_assert_str_eq(list(), "ipsec0 2 ");
	ck_assert_uint_eq(k.addrs, 1);
	ck_assert_uint_eq(k.routes, 0); /* there is none to everywhere */
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, c, false), CY_OK);
	ck_assert_int_eq(knl_device_unuse(devices, &ops, &k, c, true), CY_OK);
	ck_assert_uint_eq(k.dels, 1);
	ck_assert_int_eq(knl_device_use(devices, &none, &k, c, false), CY_E_UNSUPPORTED);
	ck_assert_str_eq(list(), "");
	conn_unref(c);
	end();
}
END_TEST

UNIT_TESTS(devices)
{
	tcase_add_test(tc, goes_with_its_last_user);
	tcase_add_test(tc, connections_share_it);
	tcase_add_test(tc, tried_again);
}
