/* SPDX-License-Identifier: Apache-2.0 */
/* arena, slab, hmap. */

#include "unit.h"

#include <stdlib.h>

#include "libcore/base/arena.h"
#include "libcore/base/hmap.h"
#include "libcore/base/slab.h"
#include "siphash_vectors.h"

static uint64_t next_random(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

START_TEST(arena_gives_zeroed_aligned_memory)
{
	struct arena a;
	uint64_t seed = 7;

	arena_init(&a, 0);
	for (int round = 0; round < 5; round++) {
		for (int i = 0; i < 500; i++) {
			size_t n = next_random(&seed) % (i % 50 == 0 ? 100000 : 300);
			uint8_t *p = arena_alloc(&a, n);

			EXPECT(p && (uintptr_t)p % 16 == 0 && is_zero(p, n));
			memset(p, 0xa5, n);
		}
		arena_reset(&a);
		EXPECT(a.used == 0);
	}
	ck_assert_str_eq(arena_strdup(&a, "hello"), "hello");
	ck_assert_str_eq(arena_printf(&a, "%d-%s", 42, "x"), "42-x");
	ck_assert_mem_eq(arena_dup(&a, "abc", 3), "abc", 3);
	ck_assert_ptr_nonnull(arena_dup(&a, NULL, 0));
	arena_fini(&a);
	arena_fini(&a);
}
END_TEST

START_TEST(arena_limit)
{
	struct arena a;

	arena_init(&a, 1000);
	ck_assert_ptr_nonnull(arena_alloc(&a, 900));
	ck_assert_ptr_null(arena_alloc(&a, 200));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX));
	ck_assert_ptr_null(arena_alloc(&a, SIZE_MAX - 20));
	ck_assert_ptr_nonnull(arena_alloc(&a, 50));
	arena_reset(&a);
	ck_assert_ptr_nonnull(arena_alloc(&a, 900));
	arena_fini(&a);
}
END_TEST

#define OBJECTS 5000
START_TEST(slab_against_a_model)
{
	struct slab s;
	static slab_handle live[OBJECTS], dead[OBJECTS];
	size_t n = 0, n_dead = 0;
	uint64_t seed = (uint64_t)_i * 77 + 1;
	size_t size = (size_t[]){1, 40, 333}[_i];

	slab_init(&s, size, 0);
	for (int step = 0; step < 60000; step++) {
		/* waves, so that chunks come and go */
		bool grow = (step / 6000) % 2 ? next_random(&seed) % 4 == 0 : next_random(&seed) % 4 != 0;

		if (grow && n < OBJECTS) {
			uint8_t *p = slab_alloc(&s, &live[n]);

			EXPECT(p && live[n] && is_zero(p, size));
			memset(p, (int)(live[n] % 255 + 1), size);
			n++;
		} else if (n) {
			size_t k = next_random(&seed) % n;
			slab_handle h = live[k];

			EXPECT(*(uint8_t *)slab_get(&s, h) == h % 255 + 1);
			slab_free(&s, h);
			slab_free(&s, h); /* stale: harmless */
			dead[n_dead++ % OBJECTS] = h;
			live[k] = live[--n];
		}
		if (step % 500 == 0) {
			size_t pos = 0, seen = 0;
			slab_handle h;
			uint8_t *p;

			EXPECT(s.n_used == n);
			for (size_t i = 0; i < n; i++)
				EXPECT(slab_get(&s, live[i]));
			for (size_t i = 0; i < n_dead && i < OBJECTS; i++)
				EXPECT(!slab_get(&s, dead[i]));
			while ((p = slab_next(&s, &pos, &h))) {
				EXPECT(slab_get(&s, h) == p && *p == h % 255 + 1);
				seen++;
			}
			EXPECT(seen == n);
		}
	}
	/* freeing what the iteration returns */
	for (size_t pos = 0;;) {
		slab_handle h;

		if (!slab_next(&s, &pos, &h))
			break;
		slab_free(&s, h);
	}
	ck_assert_uint_eq(s.n_used, 0);
	/* one chunk may stay; the rest has gone back */
	n = 0;
	for (size_t i = 0; i < s.n_chunks; i++)
		n += s.chunks[i] != NULL;
	ck_assert_uint_le(n, 1);
	slab_fini(&s);
}
END_TEST

START_TEST(slab_limits_and_nonsense)
{
	struct slab s;
	slab_handle h[4];

	slab_init(&s, 8, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_ptr_nonnull(slab_alloc(&s, &h[i]));
	ck_assert_ptr_null(slab_alloc(&s, &h[3]));
	ck_assert_ptr_null(slab_get(&s, 0));
	ck_assert_ptr_null(slab_get(&s, UINT64_MAX));
	ck_assert_ptr_null(slab_get(&s, h[0] + 1000));
	slab_free(&s, 0);
	slab_free(&s, h[1]);
	ck_assert_ptr_nonnull(slab_alloc(&s, &h[3]));
	ck_assert(h[3] != h[1]);
	ck_assert_ptr_null(slab_get(&s, h[1]));
	slab_fini(&s);
	slab_fini(NULL);
}
END_TEST

START_TEST(siphash)
{
	uint64_t key[2] = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	uint8_t in[64];

	for (size_t n = 0; n < 64; n++) {
		in[n] = (uint8_t)n;
		ck_assert_msg(siphash24(key, in, n) == siphash_vectors[n], "length %zu", n);
	}
}
END_TEST

struct entry {
	struct hnode node;
	uint64_t key;
	bool in;
};

static struct entry *find(struct hmap *m, uint64_t key, uint64_t hash)
{
	struct hnode *n;

	for (n = hmap_first(m, hash); n; n = hmap_next(n))
		if (container_of(n, struct entry, node)->key == key)
			return container_of(n, struct entry, node);
	return NULL;
}

/* With all hashes, and with a hash of few values, where everything collides. */
START_TEST(hmap_against_a_model)
{
	static struct entry e[20000];
	struct hmap m;
	uint64_t seed = 5, key[2] = {1, 2};
	size_t n_in = 0, biggest = 0;

	memset(e, 0, sizeof(e));
	ck_assert_int_eq(hmap_init(&m, key), CY_OK);
	for (int step = 0; step < 100000; step++) {
		size_t k = next_random(&seed) % (_i ? 300 : 20000);
		uint64_t hash;
		bool wave = (step / 25000) % 2;

		e[k].key = k;
		hash = _i ? k % 3 : hmap_hash(&m, &e[k].key, sizeof(e[k].key));
		EXPECT((find(&m, k, hash) == &e[k]) == e[k].in);
		if (e[k].in && (wave || k % 2)) {
			hmap_del(&m, &e[k].node);
			e[k].in = false;
			n_in--;
		} else if (!e[k].in && !wave) {
			hmap_add(&m, &e[k].node, hash);
			e[k].in = true;
			n_in++;
		}
		EXPECT(m.n == n_in);
		if (m.mask > biggest)
			biggest = m.mask;
	}
	if (!_i)
		ck_assert_uint_ge(biggest, 4095);
	/* delete all while iterating */
	{
		struct hnode *n, *tmp;
		size_t b, seen = 0;

		hmap_foreach (&m, b, n, tmp) {
			seen++;
			hmap_del(&m, n);
		}
		ck_assert_uint_eq(seen, n_in);
		ck_assert_uint_eq(m.n, 0);
	}
	/* and it shrinks again */
	for (int i = 0; i < 100; i++) {
		hmap_add(&m, &e[0].node, 1);
		hmap_del(&m, &e[0].node);
	}
	ck_assert_uint_le(m.mask, 1023);
	hmap_fini(&m);
	ck_assert_ptr_null(hmap_first(&m, 1));
}
END_TEST

/* An addition moves a few buckets, whatever the size of the table; everything is found meanwhile. */
START_TEST(hmap_grows_little_by_little)
{
	static const uint64_t key[2] = {5, 6};
	enum { N = 100000 };
	struct entry *e = calloc(N, sizeof(*e));
	struct hmap m;
	size_t moving = 0, b, seen = 0;
	struct hnode *n, *tmp;

	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(hmap_init(&m, key), CY_OK);
	for (size_t i = 0; i < N; i++) {
		size_t moved = m.moved, n_old = m.n_old;

		e[i].key = i;
		hmap_add(&m, &e[i].node, hmap_hash(&m, &e[i].key, sizeof(e[i].key)));
		moving += m.n_old != 0;
		if (m.n_old && m.n_old == n_old)
			ck_assert_uint_le(m.moved - moved, 8);
		else if (n_old) /* the last ones */
			ck_assert_uint_le(n_old - moved, 8);
		ck_assert_uint_le(m.n, m.mask + 1); /* it has moved before it must grow again */
		if (i % 97 == 0)
			for (size_t k = i % 13; k <= i; k += 1 + i / 50)
				ck_assert_ptr_eq(find(&m, k, hmap_hash(&m, &k, sizeof(k))), &e[k]);
	}
	ck_assert_uint_gt(moving, N / 8);
	/* in the middle of a move everything is there once, and can be taken out */
	for (size_t i = 0; i < 40000; i++)
		hmap_del(&m, &e[i].node);
	for (size_t i = 0; m.n_old == 0 && i < 40000; i++)
		hmap_add(&m, &e[i].node, e[i].node.hash);
	hmap_foreach (&m, b, n, tmp) {
		seen++;
		if (seen % 2)
			hmap_del(&m, n);
	}
	ck_assert_uint_eq(seen, m.n + (seen + 1) / 2);
	hmap_fini(&m);
	free(e);
}
END_TEST

UNIT_TESTS(memory)
{
	tcase_add_test(tc, arena_gives_zeroed_aligned_memory);
	tcase_add_test(tc, arena_limit);
	tcase_add_loop_test(tc, slab_against_a_model, 0, 3);
	tcase_add_test(tc, slab_limits_and_nonsense);
	tcase_add_test(tc, siphash);
	tcase_add_loop_test(tc, hmap_against_a_model, 0, 2);
	tcase_add_test(tc, hmap_grows_little_by_little);
}
