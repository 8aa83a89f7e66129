/* SPDX-License-Identifier: Apache-2.0 */
#include "unit.h"

#include <net/if.h>

#include "daemon/net/interfaces.h"
#include "libcore/base/addr.h"

static struct interfaces *make(const char *use, const char *ignore)
{
	struct interfaces *i;

	ck_assert_int_eq(interfaces_new(use, ignore, &i), CY_OK);
	return i;
}

START_TEST(names)
{
	struct interfaces *i = make("", " ");

	ck_assert_ptr_null(i);
	ck_assert(interfaces_has_name(i, "eth0") && interfaces_has_index(i, 1));
	i = make("eth0, wlan0", NULL);
	ck_assert(interfaces_has_name(i, "eth0") && interfaces_has_name(i, "wlan0"));
	ck_assert(!interfaces_has_name(i, "eth01") && !interfaces_has_name(i, "eth") &&
	    !interfaces_has_name(i, ""));
	interfaces_free(i);
	i = make(NULL, "eth1");
	ck_assert(interfaces_has_name(i, "eth0") && !interfaces_has_name(i, "eth1"));
	interfaces_free(i);
	i = make("eth0 eth1", "eth1");
	ck_assert(interfaces_has_name(i, "eth0") && !interfaces_has_name(i, "eth1") &&
	    !interfaces_has_name(i, "eth2"));
	interfaces_free(i);
}
END_TEST

START_TEST(indexes_and_addresses)
{
	uint32_t lo = if_nametoindex("lo");
	struct cy_addr own, other;
	struct interfaces *i = make(NULL, "lo");

	ck_assert_uint_ne(lo, 0);
	ck_assert_int_eq(addr_parse("127.0.0.1", &own), CY_OK);
	ck_assert_int_eq(addr_parse("192.0.2.77", &other), CY_OK);
	for (int round = 0; round < 3; round++) {
		ck_assert(!interfaces_has_index(i, lo));
		ck_assert(interfaces_has_index(
		    i, lo + 64000)); /* the same place of the table; not there: unknown */
		if (round == 1)
			interfaces_forget(i);
	}
	ck_assert(interfaces_has_index(i, 0));
	ck_assert(!interfaces_has_addr(i, &own));
	ck_assert(interfaces_has_addr(i, &other)); /* of no interface */
	interfaces_free(i);
	i = make("lo", NULL);
	ck_assert(interfaces_has_index(i, lo) && interfaces_has_addr(i, &own));
	interfaces_free(i);
}
END_TEST

UNIT_TESTS(interfaces)
{
	tcase_add_test(tc, names);
	tcase_add_test(tc, indexes_and_addresses);
}
