/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several workers, and datagrams arrive where the program of socket-reuseport has the kernel put them: none is passed on to another
 * worker, of either version and in either role. The program itself runs here, in a machine for its instructions.
 */
#include "config.h"

#include "unit.h"

#include "ikev2/duel.h"
#include "plugins/socket-reuseport/steer.h"

#define WORKERS 5
#define TUNNELS 20

static struct duel *d;

static bool fetch(const struct cy_dgram *dg, uint32_t at, size_t n, uint32_t *out)
{
	*out = 0;
	if (at + n > dg->len)
		return false;
	for (size_t i = 0; i < n; i++)
		*out = *out << 8 | dg->data[at + i];
	return true;
}

static uint32_t run_program(const struct sock_filter *f, size_t n, const struct cy_dgram *dg)
{
	uint32_t a = 0, x = 0;

	for (size_t pc = 0; pc < n; pc++) {
		uint32_t k = f[pc].k;

		switch (f[pc].code) {
		case BPF_LD | BPF_ABS | BPF_W:
		case BPF_LD | BPF_ABS | BPF_B:
			if (!fetch(dg, k, BPF_SIZE(f[pc].code) == BPF_W ? 4 : 1, &a))
				return 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & k ? f[pc].jt : f[pc].jf;
			break;
		case BPF_ALU | BPF_RSH | BPF_K:
			a >>= k;
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= k;
			break;
		case BPF_ALU | BPF_XOR | BPF_K:
			a ^= k;
			break;
		case BPF_ALU | BPF_MUL | BPF_K:
			a *= k;
			break;
		case BPF_ALU | BPF_MOD | BPF_K:
			a %= k;
			break;
		case BPF_ALU | BPF_XOR | BPF_X:
			a ^= x;
			break;
		case BPF_ALU | BPF_ADD | BPF_X:
			a += x;
			break;
		case BPF_ALU | BPF_OR | BPF_X:
			a |= x;
			break;
		case BPF_MISC | BPF_TAX:
			x = a;
			break;
		case BPF_RET | BPF_A:
			return a;
		default:
			ck_abort_msg("instruction %zu of the program is unknown here: 0x%x", pc, f[pc].code);
		}
	}
	ck_abort_msg("the program has no end");
	return 0;
}

static uint32_t lane_of(const struct cy_socket_config *sockets, const struct cy_dgram *dg)
{
	struct sock_filter f[STEER_MAX];

	return run_program(f, steer_program(f, sockets->n_lanes, sockets->steer_key, dg->natt), dg);
}

static uint32_t first_lane(const struct cy_socket_config *sockets, const struct cy_dgram *dg)
{
	(void)sockets;
	(void)dg;
	return 0;
}

static uint64_t forwarded(void)
{
	struct net_counters a, b;

	net_read_counters(d->a.d->net, &a);
	net_read_counters(d->b.d->net, &b);
	ck_assert_uint_gt(a.rx_ike, 0);
	ck_assert_uint_gt(b.rx_ike, 0);
	return a.forwarded + b.forwarded;
}

static void task(struct duel_side *s, enum task_kind kind)
{
	struct ike_sa *sa = duel_sa(s);
	struct task *t = task_new(kind);

	ck_assert_ptr_nonnull(sa);
	if (kind == TASK_CHILD_REKEY) {
		ck_assert_uint_gt(sa->n_children, 0);
		t->child_id = list_entry(sa->children.next, struct child_sa, node)->id;
	}
	d->pass = 100;
	task_queue(sa, t);
	duel_pump(d);
}

/* The life of a tunnel, whose both ends begin something. */
static void life(struct duel_side *begins, bool rekey_ike)
{
	struct duel_side *side[2] = {begins, duel_other(begins)};
	uint32_t home;

	duel_start(d, begins, 100);
	ck_assert_uint_eq(duel_count(&d->a), 1);
	ck_assert_uint_eq(duel_count(&d->b), 1);
	home = duel_sa(&d->b)->shard->index;
	for (int i = 0; i < 2; i++) {
		task(side[i], TASK_CHILD_REKEY);
		task(side[i], TASK_LIVENESS);
		if (rekey_ike)
			task(side[i], TASK_IKE_REKEY);
		d->pass = 1000;
		duel_advance(d, 60 * NS_PER_S);
		ck_assert_uint_eq(duel_count(&d->a), 1);
		ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
	}
	ck_assert_uint_eq(duel_sa(&d->b)->shard->index, home);
	task(side[1], TASK_IKE_DELETE);
	ck_assert_uint_eq(duel_count(&d->a), 0);
	ck_assert_uint_eq(duel_count(&d->b), 0);
}

static void lives(const char *keys, bool rekey_ike)
{
	struct duel_config c = {.keys = keys, .workers = WORKERS, .steer = lane_of};

	d = duel_new_with(&c);
	for (int i = 0; i < TUNNELS; i++) {
		life(i & 1 ? &d->a : &d->b, rekey_ike);
		ck_assert_uint_eq(forwarded(), 0);
	}
	duel_free(d);
	/* and it would have been seen */
	c.steer = first_lane;
	d = duel_new_with(&c);
	for (int i = 0; i < TUNNELS; i++)
		life(i & 1 ? &d->a : &d->b, rekey_ike);
	ck_assert_uint_gt(forwarded(), 0);
	duel_free(d);
}

START_TEST(ikev2_is_never_passed_on)
{
	lives(NULL, true);
}
END_TEST

#ifdef HAVE_IKEV1
#	define V1_KEYS                                                                                      \
		"  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n  "        \
		"dpddelay=30\n"                                                                              \
		"  dpdaction=clear\n"

START_TEST(ikev1_is_never_passed_on)
{
	lives(V1_KEYS, false);
}
END_TEST

/* What takes over the CHILD_SAs of another IKE_SA is where they are. Its peer's messages arrive elsewhere, and are passed on once. */
START_TEST(a_successor_is_where_the_children_are)
{
	static const struct duel_config c = {.keys = V1_KEYS, .workers = WORKERS, .steer = lane_of};
	uint32_t home;
	uint64_t id, most = 0;

	d = duel_new_with(&c);
	duel_start(d, &d->a, 100);
	home = duel_sa(&d->b)->shard->index;
	for (int i = 0; i < 8; i++) {
		uint64_t before = forwarded();

		id = duel_sa(&d->a)->id;
		d->pass = 100;
		sa_reauthenticate(duel_sa(&d->a));
		duel_pump(d);
		d->pass = 100;
		duel_advance(d, 40 * NS_PER_S);
		ck_assert_uint_ne(duel_sa(&d->a)->id, id);
		ck_assert_uint_eq(duel_count(&d->b), 1);
		ck_assert_uint_eq(duel_sa(&d->b)->shard->index, home);
		ck_assert_uint_eq(duel_sa(&d->b)->n_children, 1);
		task(&d->b, TASK_LIVENESS);
		task(&d->a, TASK_LIVENESS);
		if (forwarded() - before > most)
			most = forwarded() - before;
	}
	ck_assert_uint_gt(most, 0);
	ck_assert_uint_eq(duel_sa(&d->a)->n_children, 1);
	duel_free(d);
}
END_TEST
#endif

UNIT_TESTS(steered)
{
	tcase_add_test(tc, ikev2_is_never_passed_on);
#ifdef HAVE_IKEV1
	tcase_add_test(tc, ikev1_is_never_passed_on);
	tcase_add_test(tc, a_successor_is_where_the_children_are);
#endif
}
