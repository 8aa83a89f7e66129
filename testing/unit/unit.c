/* SPDX-License-Identifier: Apache-2.0 */

#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Seconds after which a test counts as hung. Not a measure of speed: sanitizers on a busy machine take their time. */
#define HUNG_AFTER 300

static struct unit_tests *registered;

void unit_register(struct unit_tests *tests)
{
	struct unit_tests **at = &registered;

	while (*at && strcmp((*at)->name, tests->name) < 0)
		at = &(*at)->next;
	tests->next = *at;
	*at = tests;
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	Suite *suite = suite_create(slash ? slash + 1 : argv[0]);
	int failed, cases = 0;
	SRunner *runner;

	for (struct unit_tests *t = registered; t; t = t->next) {
		if (!wanted(t->name, argc, argv))
			continue;
		TCase *tc = tcase_create(t->name);
		tcase_set_timeout(tc, HUNG_AFTER);
		t->add(tc);
		suite_add_tcase(suite, tc);
		cases++;
	}
	runner = srunner_create(suite);
	if (cases == 0) {
		srunner_free(runner);
		fprintf(stderr, "no tests\n");
		/* to automake a skipped test; a name that matches nothing is a mistake */
		return argc == 1 ? 77 : EXIT_FAILURE;
	}
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
