/* SPDX-License-Identifier: Apache-2.0 */

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf_util.h"
#include "libcore/conf/settings.h"
#include "unit.h"

static struct told told;

static struct settings *load(const char *text)
{
	struct settings *s = NULL;

	memset(&told, 0, sizeof(told));
	ck_assert_int_eq(settings_load_text(text, "cygnet.conf", told_add, &told, &s), CY_OK);
	return s;
}

START_TEST(defaults)
{
	struct settings *s;

	ck_assert_int_eq(settings_load(NULL, told_add, &told, &s), CY_OK);
	ck_assert_int_eq(settings_int(s, "retransmit_tries"), 5);
	ck_assert_uint_eq(settings_ms(s, "retransmit_timeout"), 4000);
	ck_assert_uint_eq(settings_milli(s, "retransmit_base"), 1800);
	ck_assert_uint_eq(settings_ms(s, "half_open_timeout"), 30000);
	ck_assert_uint_eq(settings_ms(s, "keepalive_interval"), 20000);
	ck_assert_int_eq(settings_int(s, "port_nat_t"), 4500);
	ck_assert_int_eq(settings_int(s, "spi_min"), 0xc0000000);
	ck_assert_uint_eq(settings_bytes(s, "socket_rcvbuf"), 4u << 20);
	ck_assert(settings_bool(s, "install_routes") && !settings_bool(s, "send_vendor_id"));
	ck_assert_int_eq(settings_log_level(s, "ike"), CY_LOG_INFO);
	ck_assert_ptr_null(settings_str(s, "nothing"));
	ck_assert_int_eq(settings_int(s, "nothing"), 0);
	settings_unref(s);
}
END_TEST

/* Every default passes its own validation: written down, it is accepted. */
START_TEST(schema_accepts_its_defaults)
{
	for (const struct setting_def *d = settings_schema(); d->key; d++) {
		struct settings *s;
		char text[512];

		ck_assert(d->type && d->fallback && d->min && d->max && *d->help);
		snprintf(text, sizeof(text), "%s = %s\n", d->key, d->fallback);
		s = load(text);
		ck_assert_msg(settings_errors(s) == 0, "%s", told.text);
		ck_assert_str_eq(settings_str(s, d->key), d->fallback);
		settings_unref(s);
	}
}
END_TEST

/* A setting that nothing reads must say so. */
START_TEST(settings_are_read)
{
	for (const struct setting_def *d = settings_schema(); d->key; d++) {
		bool says_so = strncmp(d->help, "(No effect yet.)", 16) == 0;
		char cmd[512];
		int rc;

		/* the levels of groups are read in a loop */
		if (strncmp(d->key, "log.", 4) == 0 && strncmp(d->type, "enum(", 5) == 0)
			continue;
		snprintf(cmd, sizeof(cmd), "grep -rqE '\\b(s|settings), \"%s\"' %s/daemon", d->key, CONF_SRC);
		rc = system(cmd);
		ck_assert_msg((rc == 0) == !says_so, "%s is %s", d->key,
		    rc == 0 ? "read, but its help says that it has no effect" : "not read by the daemon");
	}
}
END_TEST

START_TEST(syntax)
{
	struct settings *s =
	    load("# comment\n"
	         "workers = 3 # here, too\n"
	         "load=\"a } # b\\\"\"\n"
	         "log { ike = debug; cfg = error }\n"
	         "log.net = trace\n"
	         "log {\n\tdefault = warn\n}\n"
	         "plugins {\n  updown {\n    key = value with blanks\n  }\n  tun.x { y = 1 } }\n"
	         "control_group =\n");

	ck_assert_msg(settings_errors(s) == 0, "%s", told.text);
	ck_assert_int_eq(settings_int(s, "workers"), 3);
	ck_assert_str_eq(settings_str(s, "load"), "a } # b\"");
	ck_assert_int_eq(settings_log_level(s, "IKE"), CY_LOG_DEBUG);
	ck_assert_int_eq(settings_log_level(s, "cfg"), CY_LOG_ERROR);
	ck_assert_int_eq(settings_log_level(s, "net"), CY_LOG_TRACE);
	ck_assert_int_eq(settings_log_level(s, "knl"), CY_LOG_WARN);
	ck_assert_str_eq(settings_str(s, "plugins.updown.key"), "value with blanks");
	ck_assert_str_eq(settings_str(s, "plugins.tun.x.y"), "1");
	ck_assert_str_eq(settings_str(s, "control_group"), "");
	settings_unref(s);
}
END_TEST

START_TEST(faults)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"workrs = 1", "1 error unknown setting workrs; did you mean workers?"},
	    {"\n\nworkers = many",
	        "3 error workers = many: not such a value, 0 is used; write a whole number"},
	    {"port = 70000", "write a value from 0 to 65535"},
	    {"port = -1", "write a value from 0 to 65535"},
	    {"retransmit_jitter = 21", "from 0 to 20"},
	    {"retransmit_timeout = 4 parsecs", "a time such as"},
	    {"retransmit_base = 0.5", "from 1 to 10"},
	    {"socket_rcvbuf = 1", "from 4k to 1G"},
	    {"ipv4 = perhaps", "write yes or no"},
	    {"log.ike = loud", "write one of default,error,warn"},
	    {"log.ikee = info", "did you mean log.ike?"},
	    {"log {", "1 error a section that does not end"},
	    {"}", "a } without its {"},
	    {"load = \"x", "a quote that does not end"},
	    {"load = \"x\" y", "something after the value"},
	    {"what is this", "not a setting"},
	    {"= 1", "not a setting"},
	    {"include other", "include works in files only"},
	    {"a{b{c{d{e{f{g{h{i{j=1}}}}}}}}}}", "nested too deep"},
	    {"spi_min = 0xd0000000", "spi_min is larger"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct settings *s = load(cases[i].text);

		ck_assert_msg(
		    strstr(told.text, cases[i].says) != NULL, "%s: says %s", cases[i].text, told.text);
		settings_unref(s);
	}
}
END_TEST

START_TEST(wrong_values_do_not_count)
{
	struct settings *s = load("port = x\nretransmit_tries = 7\nretransmit_tries = 8\nbogus = 1\n");

	ck_assert_int_eq(settings_int(s, "port"), 500);
	ck_assert_int_eq(settings_int(s, "retransmit_tries"), 8);
	ck_assert_ptr_nonnull(strstr(told.text, "2 warning retransmit_tries is set again in cygnet.conf:3"));
	ck_assert_uint_eq(settings_errors(s), 2);
	ck_assert_ptr_null(settings_str(s, "bogus"));
	settings_unref(s);
}
END_TEST

START_TEST(plugins_check_their_own)
{
	static const struct setting_def defs[] = {{"name", "string", "tun", "", "", "help"},
	    {"queues", "int", "1", "1", "8", "help"}, {"depth", "int", NULL, NULL, "9", "help"},
	    {NULL, NULL, NULL, NULL, NULL, NULL}};
	struct settings *s =
	    load("plugins {\n a {\n name = x\n queues = 9\n nmae = 1\n depth = 10\n }\n ab { foo = 1 }\n}\n");
	const char *key, *value;
	size_t at = 0;

	ck_assert_uint_eq(told.count, 0);
	ck_assert_int_eq(settings_check_plugin(s, "a", defs, told_add, &told), CY_E_PARSE);
	ck_assert_uint_eq(told.count, 3);
	ck_assert_ptr_nonnull(
	    strstr(told.text, "plugins.a.depth = 10: not such a value, the default is used"));
	ck_assert_ptr_nonnull(strstr(told.text, "4 error plugins.a.queues = 9"));
	ck_assert_ptr_nonnull(strstr(told.text, "did you mean plugins.a.name?"));
	ck_assert(settings_find(s, &at, "plugins.ab.", &key, &value));
	ck_assert_str_eq(key, "plugins.ab.foo");
	ck_assert(!settings_find(s, &at, "plugins.ab.", &key, &value));
	settings_unref(s);
}
END_TEST

START_TEST(files_and_includes)
{
	char dir[] = "/tmp/cygnet-set-XXXXXX", cmd[64];
	struct settings *s = NULL;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chdir(dir), 0);
	ck_assert_int_eq(mkdir("d", 0700), 0);
	f = fopen("a.conf", "w");
	fputs(
	    "workers = 1\nlog {\n include d/*.conf\n}\ninclude none*.conf\ninclude nowhere\ninclude a.conf\n",
	    f);
	fclose(f);
	f = fopen("d/x.conf", "w");
	fputs("ike = trace\n", f);
	fclose(f);
	memset(&told, 0, sizeof(told));
	ck_assert_int_eq(settings_load("a.conf", told_add, &told, &s), CY_OK);
	ck_assert_int_eq(settings_log_level(s, "ike"), CY_LOG_TRACE);
	ck_assert_ptr_nonnull(strstr(told.text, "6 error cannot read nowhere"));
	ck_assert_ptr_nonnull(strstr(told.text, "7 error cannot read a.conf: it includes itself"));
	ck_assert_uint_eq(told.count, 2);
	settings_unref(s);
	ck_assert_int_eq(settings_load("missing", told_add, &told, &s), CY_E_NOTFOUND);
	ck_assert_int_eq(chdir("/"), 0);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	ck_assert_int_eq(system(cmd), 0);
}
END_TEST

UNIT_TESTS(settings)
{
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, schema_accepts_its_defaults);
	tcase_add_test(tc, settings_are_read);
	tcase_add_test(tc, syntax);
	tcase_add_test(tc, faults);
	tcase_add_test(tc, wrong_values_do_not_count);
	tcase_add_test(tc, plugins_check_their_own);
	tcase_add_test(tc, files_and_includes);
}
