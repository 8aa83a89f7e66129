/* SPDX-License-Identifier: Apache-2.0 */
/* err, rw, secret, names, list, env. */

#include "unit.h"

#include "libcore/base/env.h"
#include "libcore/base/list.h"
#include "libcore/base/names.h"
#include "libcore/base/rw.h"
#include "libcore/base/secret.h"

START_TEST(every_error_has_words)
{
	for (int e = 0; e <= CY_E_BUG; e++) {
		ck_assert_str_ne(err_text((enum cy_err)e), "unknown error");
		for (int f = 0; f < e; f++)
			ck_assert_str_ne(err_text((enum cy_err)e), err_text((enum cy_err)f));
	}
	ck_assert_str_eq(err_text((enum cy_err)99), "unknown error");
	ck_assert_str_eq(err_text((enum cy_err) - 1), "unknown error");
}
END_TEST

START_TEST(read_in_order)
{
	const uint8_t in[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
	struct reader r = reader_of(cy_slice(in, sizeof(in)));
	struct cy_slice s;

	ck_assert_uint_eq(read_u8(&r), 1);
	ck_assert_uint_eq(read_u16(&r), 0x0203);
	ck_assert_uint_eq(read_u32(&r), 0x04050607);
	ck_assert(read_u64(&r) == 0x08090a0b0c0d0e0full);
	s = read_bytes(&r, 1);
	ck_assert(s.p == in + 15 && s.n == 1);
	read_skip(&r, 1);
	s = read_rest(&r);
	ck_assert(s.p == in + 17 && s.n == 1);
	ck_assert_uint_eq(reader_left(&r), 0);
	ck_assert(!r.bad);
	s = read_rest(&r);
	ck_assert(s.n == 0 && !r.bad);
}
END_TEST

START_TEST(read_is_sticky)
{
	const uint8_t in[] = {1, 2, 3};
	struct reader r = reader_of(cy_slice(in, sizeof(in)));

	ck_assert_uint_eq(read_u32(&r), 0);
	ck_assert(r.bad);
	ck_assert_uint_eq(read_u8(&r), 0); /* though one would be there */
	ck_assert_uint_eq(read_rest(&r).n, 0);
	r = reader_of(cy_slice(in, sizeof(in)));
	ck_assert_ptr_null(read_bytes(&r, SIZE_MAX).p);
	ck_assert(r.bad);
	r = reader_of(cy_slice(NULL, 0));
	ck_assert_uint_eq(read_rest(&r).n, 0);
	ck_assert(!r.bad);
	(void)read_u8(&r);
	ck_assert(r.bad);
}
END_TEST

START_TEST(write_in_order)
{
	uint8_t buf[24];
	struct writer w = writer_of(buf, sizeof(buf));
	const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 'a', 'b', 0, 0, 0xff};

	write_u8(&w, 1);
	write_u16(&w, 0);
	write_u32(&w, 0x04050607);
	write_u64(&w, 0x08090a0b0c0d0e0full);
	write_bytes(&w, cy_slice_str("ab"));
	write_bytes(&w, cy_slice(NULL, 0));
	write_zero(&w, 2);
	*write_space(&w, 1) = 0xff;
	write_u16_at(&w, 1, 0x0203);
	ck_assert(!w.bad);
	ck_assert(cy_slice_eq(writer_slice(&w), cy_slice(want, sizeof(want))));
	write_u64(&w, 1);
	ck_assert(w.bad);
	write_u8(&w, 1); /* though there is room */
	ck_assert_uint_eq(w.n, sizeof(want));
	ck_assert_ptr_null(write_space(&w, 1));
	w = writer_of(buf, 4);
	write_u16(&w, 1);
	write_u16_at(&w, 1, 1);
	ck_assert(w.bad);
	w = writer_of(NULL, 0);
	write_u8(&w, 1);
	ck_assert(w.bad);
	w = writer_of(buf, 4);
	write_zero(&w, SIZE_MAX);
	ck_assert(w.bad);
}
END_TEST

START_TEST(secrets)
{
	struct secret a = {0}, b = {0};
	uint8_t key[] = {1, 2, 3, 4};

	ck_assert(mem_eq_ct("abc", "abc", 3));
	ck_assert(!mem_eq_ct("abc", "abd", 3));
	ck_assert(mem_eq_ct("abc", "abd", 2));
	ck_assert(mem_eq_ct(NULL, NULL, 0));
	ck_assert_int_eq(secret_dup(&a, cy_slice(key, 4)), CY_OK);
	mem_wipe(key, sizeof(key));
	ck_assert_uint_eq(key[3], 0);
	ck_assert_uint_eq(secret_slice(&a).n, 4);
	ck_assert_uint_eq(a.p[3], 4);
	ck_assert_int_eq(secret_init(&b, 8), CY_OK);
	ck_assert_uint_eq(b.p[7], 0);
	secret_move(&b, &a);
	ck_assert_ptr_null(a.p);
	ck_assert_uint_eq(b.n, 4);
	secret_move(&b, &b);
	ck_assert_uint_eq(b.n, 4);
	secret_fini(&b);
	ck_assert(b.p == NULL && b.n == 0);
	secret_fini(&b);
	secret_fini(NULL);
	ck_assert_int_eq(secret_init(&a, 0), CY_OK);
	ck_assert_uint_eq(a.n, 0);
	secret_fini(&a);
}
END_TEST

static const struct name colours[] = {{1, "Red"}, {2, "green"}, {300, "blue"}, {0, NULL}};

START_TEST(names)
{
	const char *a, *b;

	ck_assert_str_eq(name_of(colours, 300), "blue");
	ck_assert_ptr_null(name_of(colours, 0));
	ck_assert_str_eq(name_or_number(colours, 2), "green");
	a = name_or_number(colours, 4294967295u);
	b = name_or_number(colours, 7);
	ck_assert_str_eq(a, "(4294967295)");
	ck_assert_str_eq(b, "(7)");
	ck_assert_uint_eq(name_find(colours, "rED")->value, 1);
	ck_assert_ptr_null(name_find(colours, "re"));
	ck_assert_ptr_null(name_find(colours, "redd"));
	ck_assert_ptr_null(name_find(colours, ""));
}
END_TEST

START_TEST(nearest_name)
{
	static const char *const keys[] = {"leftsubnet", "leftcert", "keyexchange", "ike", "esp", NULL};
	char many[200];

	ck_assert_str_eq(name_nearest(keys, "leftsubent"), "leftsubnet"); /* swapped */
	ck_assert_str_eq(name_nearest(keys, "LeftSubnets"), "leftsubnet");
	ck_assert_str_eq(name_nearest(keys, "keyexchnge"), "keyexchange");
	ck_assert_str_eq(name_nearest(keys, "eps"), "esp");
	ck_assert_ptr_null(name_nearest(keys, "mobike"));
	ck_assert_ptr_null(name_nearest(keys, "xx"));
	ck_assert_ptr_null(name_nearest(keys, ""));
	memset(many, 'a', sizeof(many) - 1);
	many[sizeof(many) - 1] = '\0';
	ck_assert_ptr_null(name_nearest(keys, many));
}
END_TEST

/* The whole table, of which name_nearest() looks at a band. */
static size_t plain_distance(const char *a, const char *b)
{
	size_t d[40][40], na = strlen(a), nb = strlen(b);

	for (size_t i = 0; i <= na; i++)
		for (size_t j = 0; j <= nb; j++) {
			if (i == 0 || j == 0) {
				d[i][j] = i + j;
				continue;
			}
			d[i][j] = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (d[i - 1][j] + 1 < d[i][j])
				d[i][j] = d[i - 1][j] + 1;
			if (d[i][j - 1] + 1 < d[i][j])
				d[i][j] = d[i][j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	return d[na][nb];
}

START_TEST(nearest_name_is_what_the_whole_table_says)
{
	uint32_t x = 1;
	size_t found = 0;

	for (int round = 0; round < 20000; round++) {
		char words[2][33];
		const char *one[] = {words[0], NULL};
		size_t limit;

		for (int w = 0; w < 2; w++) {
			size_t n = (x = x * 1664525u + 1013904223u) >> 27;

			for (size_t i = 0; i < n; i++) {
				x = x * 1664525u + 1013904223u;
				/* the second is like the first, mostly */
				words[w][i] = (char)('a' + (x >> 20) % 3);
				if (w && x >> 29 && i < strlen(words[0]))
					words[w][i] = words[0][i];
			}
			words[w][n] = '\0';
		}
		limit = strlen(words[1]) / 3;
		limit = limit < 5 ? limit : 5;
		found += plain_distance(words[0], words[1]) <= limit;
		ck_assert_int_eq(
		    name_nearest(one, words[1]) != NULL, plain_distance(words[0], words[1]) <= limit);
	}
	ck_assert_uint_gt(found, 1000);
}
END_TEST

struct item {
	int v;
	struct list node;
};

START_TEST(lists)
{
	struct item items[6] = {0};
	struct list a, b, *at, *tmp;
	int sum = 0;

	list_init(&a);
	list_init(&b);
	ck_assert(list_empty(&a));
	ck_assert_ptr_null(list_first(&a));
	ck_assert_ptr_null(list_pop(&a));
	list_del(&items[0].node); /* zero: harmless */
	for (int i = 0; i < 6; i++) {
		items[i].v = i;
		list_push(i < 3 ? &a : &b, &items[i].node);
	}
	list_splice(&a, &b);
	ck_assert(list_empty(&b));
	list_splice(&a, &b);
	list_foreach_safe (at, tmp, &a) {
		struct item *it = list_entry(at, struct item, node);

		ck_assert_int_eq(it->v, sum++);
		if (it->v % 2)
			list_del(at);
	}
	ck_assert(!list_linked(&items[1].node));
	ck_assert(list_linked(&items[2].node));
	list_push_front(&a, &items[5].node);
	ck_assert_int_eq(list_entry(list_pop(&a), struct item, node)->v, 5);
	ck_assert_int_eq(list_entry(list_pop(&a), struct item, node)->v, 0);
	ck_assert_int_eq(list_entry(list_pop(&a), struct item, node)->v, 2);
	ck_assert_int_eq(list_entry(list_pop(&a), struct item, node)->v, 4);
	ck_assert(list_empty(&a));
}
END_TEST

START_TEST(real_env)
{
	struct env e;
	uint64_t t, counts[3] = {0}, a, b;

	env_real(&e);
	ck_assert(!e.simulated);
	t = env_now(&e);
	ck_assert_uint_ge(env_now(&e), t);
	ck_assert_int_gt(e.wall(&e), 1700000000);
	a = env_rand64(&e);
	b = env_rand64(&e);
	ck_assert(a != b);
	for (int i = 0; i < 3000; i++)
		counts[env_rand_below(&e, 3)]++;
	for (int i = 0; i < 3; i++)
		ck_assert(counts[i] > 800 && counts[i] < 1200);
	ck_assert_uint_eq(env_rand_below(&e, 1), 0);
}
END_TEST

UNIT_TESTS(bytes)
{
	tcase_add_test(tc, every_error_has_words);
	tcase_add_test(tc, read_in_order);
	tcase_add_test(tc, read_is_sticky);
	tcase_add_test(tc, write_in_order);
	tcase_add_test(tc, secrets);
	tcase_add_test(tc, names);
	tcase_add_test(tc, nearest_name);
	tcase_add_test(tc, nearest_name_is_what_the_whole_table_says);
	tcase_add_test(tc, lists);
	tcase_add_test(tc, real_env);
}
