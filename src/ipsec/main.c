/* SPDX-License-Identifier: Apache-2.0 */
/* ipsec: the control tool. Options may stand before or after the verb. */
#include "config.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "ipsec/ipsec.h"
#include "libcore/base/names.h"

static const struct verb *const verbs[] = {&verb_start, &verb_stop, &verb_restart, &verb_reload, &verb_up,
    &verb_down, &verb_route, &verb_unroute, &verb_status, &verb_statusall, &verb_stats, &verb_doctor,
    &verb_usage, &verb_cpus, &verb_metrics, &verb_leases, &verb_listalgs, &verb_listcerts, &verb_listcrls,
    &verb_purgecrls, &verb_log, &verb_loglevel, &verb_check, &verb_load_test, &verb_version, NULL};

static void usage(FILE *to)
{
	fputs("Usage: ipsec [OPTION]... VERB [ARGUMENT]...\n\n", to);
	for (const struct verb *const *v = verbs; *v; v++)
		fprintf(to, "  %-9s %-16s %s\n", (*v)->name, (*v)->args, (*v)->summary);
	fputs("\n"
	      "  --json          print what a query finds as JSON\n"
	      "  --rundir DIR    run directory of the daemon (" PKGRUNDIR ")\n"
	      "  --socket FILE   its control socket (DIR/control.sock)\n"
	      "  --help          print this, or with a verb, more about it\n"
	      "\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage, 3 no daemon runs, 4 not permitted, 5 no such "
	      "connection or SA,\n"
	      "6 not finished in time.\n",
	    to);
}

static void verb_help(const struct verb *v)
{
	printf("Usage: ipsec [OPTION]... %s%s%s\n\n%s.\n", v->name, *v->args ? " " : "", v->args, v->summary);
	if (v->help)
		printf("\n%s", v->help);
}

static const struct verb *find(const char *name)
{
	const char *names[sizeof(verbs) / sizeof(verbs[0])] = {NULL}, *near;

	for (size_t i = 0; verbs[i]; i++) {
		names[i] = verbs[i]->name;
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	}
	near = name_nearest(names, name);
	fprintf(stderr, "ipsec: unknown verb '%s'%s%s%s\n", name, near ? ": did you mean '" : "",
	    near ? near : "", near ? "'?" : "");
	return NULL;
}

enum {
	OPT_JSON = 256,
	OPT_RUNDIR,
	OPT_SOCKET,
	OPT_HELP,
	OPT_VERSION,
	OPT_CONF,
	OPT_SECRETS,
	OPT_SETTINGS,
	OPT_PLUGINDIR,
	OPT_NOFORK,
	OPT_DEBUG,
	OPT_ANOTHER,
	OPT_SPEED,
};

static const struct option long_options[] = {{"json", no_argument, NULL, OPT_JSON},
    {"rundir", required_argument, NULL, OPT_RUNDIR}, {"socket", required_argument, NULL, OPT_SOCKET},
    {"help", no_argument, NULL, OPT_HELP}, {"version", no_argument, NULL, OPT_VERSION},
    {"conf", required_argument, NULL, OPT_CONF}, {"secrets", required_argument, NULL, OPT_SECRETS},
    {"settings", required_argument, NULL, OPT_SETTINGS},
    {"plugindir", required_argument, NULL, OPT_PLUGINDIR}, {"nofork", no_argument, NULL, OPT_NOFORK},
    {"debug", no_argument, NULL, OPT_DEBUG}, {"another", no_argument, NULL, OPT_ANOTHER},
    {"speed", no_argument, NULL, OPT_SPEED}, {"follow", no_argument, NULL, 'f'},
    {"lines", required_argument, NULL, 'n'}, {0}};

static bool number(const char *text, int *out)
{
	char *end;
	long v = strtol(text, &end, 10);

	if (*end || end == text || v < 0 || v > 1000000)
		return false;
	*out = (int)v;
	return true;
}

/* Returns false after a wrong option. */
static bool parse(int argc, char **argv, struct options *o, bool *out_help)
{
	int c;

	while ((c = getopt_long(argc, argv, "fn:h", long_options, NULL)) != -1)
		switch (c) {
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_RUNDIR:
			o->rundir = optarg;
			break;
		case OPT_SOCKET:
			o->socket = optarg;
			break;
		case OPT_VERSION:
			puts("ipsec (cygnet) " PACKAGE_VERSION);
			exit(STATUS_OK);
		case OPT_CONF:
			o->conf = optarg;
			break;
		case OPT_SECRETS:
			o->secrets = optarg;
			break;
		case OPT_SETTINGS:
			o->settings = optarg;
			break;
		case OPT_PLUGINDIR:
			o->plugindir = optarg;
			break;
		case OPT_NOFORK:
			o->nofork = true;
			break;
		case OPT_DEBUG:
			o->debug = true;
			break;
		case OPT_ANOTHER:
			o->another = true;
			break;
		case OPT_SPEED:
			o->speed = true;
			break;
		case 'f':
			o->follow = true;
			break;
		case 'n':
			if (!number(optarg, &o->lines)) {
				fprintf(stderr, "ipsec: --lines: '%s' is not a number\n", optarg);
				return false;
			}
			break;
		case 'h':
		case OPT_HELP:
			*out_help = true;
			break;
		default:
			return false;
		}
	return true;
}

int main(int argc, char **argv)
{
	struct options o = {.lines = -1};
	const struct verb *v;
	bool help = false;
	static char path[4096];

	/* its options are its own */
	if (argc > 1 && strcmp(argv[1], verb_load_test.name) == 0)
		return load_test(argv + 1);
	if (!parse(argc, argv, &o, &help)) {
		fputs("Try 'ipsec --help'.\n", stderr);
		return STATUS_USAGE;
	}
	if (optind == argc) {
		usage(help ? stdout : stderr);
		return help ? STATUS_OK : STATUS_USAGE;
	}
	v = find(argv[optind]);
	if (!v)
		return STATUS_USAGE;
	if (help) {
		verb_help(v);
		return STATUS_OK;
	}
	o.argc = argc - optind - 1;
	o.argv = argv + optind + 1;
	if (o.argc < v->min_args || o.argc > v->max_args) {
		fprintf(stderr, "Usage: ipsec %s%s%s\n", v->name, *v->args ? " " : "", v->args);
		return STATUS_USAGE;
	}
	if (!o.socket) {
		snprintf(path, sizeof(path), "%s/control.sock", o.rundir ? o.rundir : PKGRUNDIR);
		o.socket = path;
	}
	return v->run(&o);
}
