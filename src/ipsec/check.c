/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a configuration as the daemon would, without one. */
#include "config.h"

#include <stdlib.h>

#include "ipsec/ipsec.h"
#include "libcore/base/err.h"
#include "libcore/conf/conf.h"

struct checker {
	json_t *problems; /* with --json */
	uint32_t errors, warnings;
};

static const char *level_name(enum cy_level level)
{
	return level == CY_LOG_ERROR ? "error" : level == CY_LOG_WARN ? "warning" : "notice";
}

static void on_problem(void *user, const struct conf_problem *p)
{
	struct checker *ch = user;

	ch->errors += p->level == CY_LOG_ERROR;
	ch->warnings += p->level == CY_LOG_WARN;
	if (ch->problems) {
		json_array_append_new(ch->problems,
		    json_pack("{s:s,s:i,s:s,s:s,s:s,s:s}", "file", p->file, "line", (int)p->line, "level",
		        level_name(p->level), "connection", p->conn, "text", p->text, "hint", p->hint));
		return;
	}
	printf("%s:%u: %s: %s%s%s", p->file, p->line, level_name(p->level), p->conn, *p->conn ? ": " : "",
	    p->text);
	if (*p->hint)
		printf("\n        %s", p->hint);
	putchar('\n');
}

static void describe(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_conns; i++) {
		char *text = conn_describe(conf->conns[i]);

		if (text)
			printf("\n%s\n", text);
		free(text);
	}
}

static void print_json(const struct checker *ch, const struct conf *conf, const char *file)
{
	json_t *conns = json_array(), *doc;

	for (size_t i = 0; conf && i < conf->n_conns; i++) {
		char *text = conn_describe(conf->conns[i]);

		json_array_append_new(conns,
		    json_pack("{s:s,s:s,s:i,s:s}", "name", conf->conns[i]->name, "file",
		        conf->conns[i]->file ? conf->conns[i]->file : "", "line", (int)conf->conns[i]->line,
		        "description", text ? text : ""));
		free(text);
	}
	doc = json_pack("{s:s,s:i,s:i,s:O,s:o}", "file", file, "errors", (int)ch->errors, "warnings",
	    (int)ch->warnings, "problems", ch->problems, "connections", conns);
	json_dumpf(doc, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(doc);
}

static int run(const struct options *o)
{
	const char *file = o->argc ? o->argv[0] : o->conf ? o->conf : SYSCONFDIR "/ipsec.conf";
	struct checker ch = {.problems = o->json ? json_array() : NULL};
	struct conf *conf = NULL;
	enum cy_err e = conf_load(file, on_problem, &ch, &conf);

	if (e && !ch.errors) {
		ch.errors++;
		fprintf(stderr, "ipsec: %s: %s\n", file, err_text(e));
	}
	if (o->json) {
		print_json(&ch, conf, file);
	} else {
		if (conf)
			describe(conf);
		printf("%s%zu connections, %u errors, %u warnings\n", conf && conf->n_conns ? "\n" : "",
		    conf ? conf->n_conns : 0, ch.errors, ch.warnings);
	}
	conf_unref(conf);
	json_decref(ch.problems);
	return ch.errors ? STATUS_FAILED : STATUS_OK;
}

const struct verb verb_check = {
    .name = "check",
    .args = "[FILE]",
    .summary = "Check a configuration file without a daemon",
    .help =
        "Says for every problem where it is, what is wrong, and what to write instead; then in plain words "
        "what each\n"
        "connection does. Status 1 when there are errors. FILE is " SYSCONFDIR "/ipsec.conf by default.\n",
    .max_args = 1,
    .run = run,
};
