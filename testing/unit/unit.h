/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runner of unit tests. Every test program is this runner and the test files of one layer; each file
 * registers its tests under a name of its own, before main() runs:
 *
 *	START_TEST(finds_what_was_added)
 *	{
 *		ck_assert_int_eq(1, 1);
 *	}
 *	END_TEST
 *
 *	UNIT_TESTS(hmap)
 *	{
 *		tcase_add_test(tc, finds_what_was_added);
 *	}
 *
 * Arguments of the program: names to run (all without). check's own variables work: CK_FORK=no for a
 * debugger, CK_RUN_CASE=hmap, CK_VERBOSITY=verbose. One thread.
 */
#ifndef UNIT_H
#define UNIT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

struct unit_tests {
	const char *name;
	void (*add)(TCase *tc);
	struct unit_tests *next;
};

void unit_register(struct unit_tests *tests);

/*
 * For inner loops and for threads: check's own assertions report each one that holds, and from one thread only.
 * The test that fails is the one that ends by signal 6.
 */
#define EXPECT(cond)                                                                                         \
	do {                                                                                                 \
		if (!(cond)) {                                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#define UNIT_TESTS(id)                                                                                       \
	static void unit_add_##id(TCase *tc);                                                                \
	__attribute__((constructor)) static void unit_register_##id(void)                                    \
	{                                                                                                    \
		static struct unit_tests tests = {#id, unit_add_##id, NULL};                                 \
		unit_register(&tests);                                                                       \
	}                                                                                                    \
	static void unit_add_##id(TCase *tc)

#endif
