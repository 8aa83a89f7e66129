/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of cygnet.conf, each by what it changes. */
#include "unit.h"

#include "ikev2/duel.h"
#include "daemon/wire/message.h"

static struct duel *d;

/* --- dpd_delay ----------------------------------------------------------------------------------------------------------- */

static uint64_t checks_in(const struct duel_config *c, uint64_t ns)
{
	uint64_t n;

	d = duel_new_with(c);
	d->b.d->tune.dpd_delay_s = 0; /* who hears of the other has no need to ask */
	duel_start(d, &d->a, 4);
	d->pass = 1000;
	duel_advance(d, ns);
	n = SA_READ(d->a.d->sas, liveness_sent);
	duel_free(d);
	return n;
}

START_TEST(dpd_delay_is_of_connections_that_do_not_say)
{
	static const struct duel_config nothing = {0}, unsaid = {.settings = "dpd_delay = 10s"},
	                                off = {.settings = "dpd_delay = 10s", .conn_a = "  dpdaction=none\n"},
	                                own = {.settings = "dpd_delay = 10s",
	                                    .conn_a = "  dpddelay=100s\n  dpdaction=clear\n"};

	ck_assert_uint_eq(checks_in(&nothing, 60 * NS_PER_S), 0);
	ck_assert_uint_ge(checks_in(&unsaid, 60 * NS_PER_S), 4);
	ck_assert_uint_eq(checks_in(&off, 60 * NS_PER_S), 0);
	ck_assert_uint_eq(checks_in(&own, 60 * NS_PER_S), 0);
	ck_assert_uint_eq(checks_in(&own, 150 * NS_PER_S), 1);
}
END_TEST

/* --- fragment_timeout ------------------------------------------------------------------------------------------------------ */

/* One half of an empty INFORMATIONAL request of B; how many answers that brings. */
static uint64_t half(uint16_t no)
{
	struct ike_sa *sa = duel_sa(&d->a);
	struct ike_header h = duel_header(duel_sa(&d->b), EXCHANGE_INFORMATIONAL, false, sa->next_recv);
	uint64_t sent = d->a.n_sent;
	uint8_t out[512];

	duel_inject(&d->a, out,
	    duel_seal(d, duel_sa(&d->b), &h, PAYLOAD_NONE, cy_slice(NULL, 0), no, 2, out, sizeof(out)));
	return d->a.n_sent - sent;
}

START_TEST(fragments_that_are_old_are_not_completed)
{
	static const struct duel_config c = {.settings = "fragment_timeout = 5s"};

	d = duel_new_with(&c);
	duel_start(d, &d->a, 4);
	ck_assert_uint_eq(half(1), 0);
	duel_advance(d, 4 * NS_PER_S);
	ck_assert_uint_eq(half(2), 1);
	ck_assert_uint_eq(half(1), 0);
	duel_advance(d, 6 * NS_PER_S);
	ck_assert_uint_eq(half(2), 0);
	ck_assert_uint_eq(half(1), 1);
	duel_free(d);
}
END_TEST

/* --- spi_min, spi_max -------------------------------------------------------------------------------------------------------- */

static void spis_between(const struct duel_config *c, uint32_t min, uint32_t max)
{
	d = duel_new_with(c);
	for (int i = 0; i < 20; i++) {
		struct child_sa *child;

		duel_start(d, &d->a, 4);
		child = list_entry(list_first(&duel_sa(&d->a)->children), struct child_sa, node);
		ck_assert_uint_ge(child->spi_in, min);
		ck_assert_uint_le(child->spi_in, max);
		duel_reset(d);
	}
	duel_free(d);
}

START_TEST(spis_are_from_their_range)
{
	static const struct duel_config plain = {0},
	                                low = {.settings = "spi_min = 0x1000\nspi_max = 0x12fff"},
	                                wrong = {.settings = "spi_min = 0x2000\nspi_max = 0x1000"};

	spis_between(&plain, 0xc0000000, 0xcfffffff);
	spis_between(&low, 0x1000, 0x12fff);
	spis_between(&wrong, 0xc0000000, 0xcfffffff);
}
END_TEST

/* --- sockets ------------------------------------------------------------------------------------------------------------------- */

START_TEST(buffers_are_asked_for)
{
	static const struct duel_config c = {.settings = "socket_rcvbuf = 256k\nsocket_sndbuf = 64k"};

	d = duel_new();
	ck_assert_uint_eq(d->a.sockets.sndbuf, 1u << 20);
	duel_free(d);
	d = duel_new_with(&c);
	ck_assert_uint_eq(d->a.sockets.rcvbuf, 256u << 10);
	ck_assert_uint_eq(d->a.sockets.sndbuf, 64u << 10);
	duel_free(d);
}
END_TEST

/* The loopback interface is number 1 of every host. */
START_TEST(what_comes_over_an_ignored_interface_is_dropped)
{
	static const struct duel_config c = {.settings = "interfaces_ignore = \"lo\""};
	uint8_t data[28] = {0};
	struct net_counters n;
	struct cy_dgram dg = {.data = data, .len = sizeof(data), .ifindex = 1};

	d = duel_new_with(&c);
	dg.src = d->b.addr;
	dg.dst = d->a.addr;
	net_inject(d->a.d->net, NULL, &dg);
	net_read_counters(d->a.d->net, &n);
	ck_assert_uint_eq(n.drop_interface, 1);
	ck_assert_uint_eq(n.drop_malformed + n.rx_ike + n.drop_version, 0);
	duel_start(d, &d->a, 4); /* of unknown interfaces: as ever */
	ck_assert_ptr_nonnull(duel_sa(&d->a));
	duel_free(d);
}
END_TEST

UNIT_TESTS(sa_settings)
{
	tcase_add_test(tc, dpd_delay_is_of_connections_that_do_not_say);
	tcase_add_test(tc, fragments_that_are_old_are_not_completed);
	tcase_add_test(tc, spis_are_from_their_range);
	tcase_add_test(tc, buffers_are_asked_for);
	tcase_add_test(tc, what_comes_over_an_ignored_interface_is_dropped);
}
