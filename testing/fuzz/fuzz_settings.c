/* SPDX-License-Identifier: Apache-2.0 */
/* cygnet.conf: whatever it says, every setting has a value within its bounds. */

#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/text.h"
#include "libcore/conf/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "not so: %s\n", #condition);                                         \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

static void problem(void *user, const struct conf_problem *p)
{
	uint32_t *errors = user;

	MUST(*p->file && *p->text);
	for (const char *s = p->text; *s; s++)
		MUST((unsigned char)*s >= 0x20 && *s != 0x7f);
	*errors += p->level == CY_LOG_ERROR;
}

static void check_bounds(const struct settings *s, const struct setting_def *d)
{
	const char *value = settings_str(s, d->key);

	MUST(value);
	if (strcmp(d->type, "int") == 0 && *d->min)
		MUST(settings_int(s, d->key) >= strtoll(d->min, NULL, 0));
	if (strcmp(d->type, "int") == 0 && *d->max)
		MUST(settings_int(s, d->key) <= strtoll(d->max, NULL, 0));
	if (strncmp(d->type, "enum(", 5) == 0)
		MUST(*value && strstr(d->type, value));
	if (strcmp(d->type, "time") == 0)
		MUST(settings_ms(s, d->key) <= 366ull * 86400 * 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct setting_def plugin[] = {{"name", "string", "x", NULL, NULL, "help"},
	    {"n", "int", "1", "-5", "5", "help"}, {NULL, NULL, NULL, NULL, NULL, NULL}};
	char *text = text_dup(data, size);
	struct settings *s = NULL;
	uint32_t errors = 0;
	const char *key, *value;
	size_t at = 0;

	MUST(text);
	MUST(settings_load_text(text, "input", problem, &errors, &s) == CY_OK);
	MUST(settings_errors(s) == errors);
	for (const struct setting_def *d = settings_schema(); d->key; d++)
		check_bounds(s, d);
	MUST(settings_log_level(s, "ike") <= CY_LOG_TRACE);
	while (settings_find(s, &at, "plugins.", &key, &value))
		MUST(settings_str(s, key) == value);
	errors = 0;
	MUST((settings_check_plugin(s, "p", plugin, problem, &errors) == CY_OK) == (errors == 0));
	settings_unref(s);
	free(text);
	return 0;
}
