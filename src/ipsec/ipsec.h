/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the verbs of the control tool share: options, exit statuses, and the conversation with the daemon
 * (doc/control-protocol.md). One thread; memory that lives as long as the program is not freed.
 */
#ifndef IPSEC_IPSEC_H
#define IPSEC_IPSEC_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum status {
	STATUS_OK = 0,
	STATUS_FAILED = 1,    /* it was tried and did not work */
	STATUS_USAGE = 2,     /* the command line is wrong */
	STATUS_NO_DAEMON = 3, /* no daemon answers */
	STATUS_DENIED = 4,    /* the daemon does not let us */
	STATUS_NOT_FOUND = 5, /* no such connection or SA */
	STATUS_TIMEOUT = 6,   /* begun, but not finished in time */
};

struct options {
	const char *socket; /* of the daemon */
	const char *rundir;
	bool json;
	/* start, restart, check */
	const char *conf, *secrets, *settings, *plugindir;
	bool nofork, debug;
	bool another; /* up */
	/* log */
	bool follow, speed;
	int lines; /* cpus, too */
	/* the rest of the command line */
	int argc;
	char **argv;
};

struct verb {
	const char *name;
	const char *args;    /* "NAME", "[NAME]", "" */
	const char *summary; /* one line */
	const char *help;    /* more, or NULL */
	int min_args, max_args;
	int (*run)(const struct options *o);
};
extern const struct verb verb_check, verb_cpus, verb_doctor, verb_down, verb_leases, verb_listalgs,
    verb_listcerts, verb_listcrls, verb_load_test, verb_log, verb_loglevel, verb_metrics, verb_purgecrls,
    verb_reload, verb_restart, verb_route, verb_start, verb_stats, verb_status, verb_statusall, verb_stop,
    verb_unroute, verb_up, verb_usage, verb_version;

/* --- client.c --- */
struct call {
	const char *cmd;
	json_t *args; /* more members of the request, or NULL; taken */
	/* Each may be NULL. Objects are borrowed. */
	void (*data)(void *user, json_t *data);
	void (*item)(void *user, const char *list, json_t *data);
	void (*progress)(void *user, const char *level, const char *text);
	void *user;
	bool quiet; /* say nothing about a failure */
};
/* Runs one command to its end; explains a failure on standard error. Returns an exit status. */
int call_run(const struct options *o, struct call *c);
int daemon_pid(const struct options *o); /* of the daemon that answers, 0 none */

/* --- text.c --- */
const char *text_duration(int64_t seconds, char out[64]); /* "5 minutes" */
const char *text_bytes(uint64_t n, char out[64]);
const char *get_str(const json_t *o, const char *key); /* "" when absent */
int64_t get_int(const json_t *o, const char *key);
double get_num(const json_t *o, const char *key);
bool get_bool(const json_t *o, const char *key);
bool has(const json_t *o, const char *key);
void print_list(const char *indent, const char *title, const json_t *array); /* "title: a, b, c" */

/* --- json_out.c: --json: one object, written while it comes in --- */
struct json_out;
struct json_out *json_out_new(
    const char *const *lists); /* lists that are there even when empty; NULL-terminated */
void json_out_data(void *out, json_t *data);
/* An item of "children" goes into the ike_sas item before it, one of "leases" into the pool of its name. */
void json_out_item(void *out, const char *list, json_t *data);
void json_out_end(struct json_out *out);
/* As call_run(), with --json: what would be printed goes into one object instead. */
int call_list(const struct options *o, struct call *c, const char *const *lists);

/* --- start.c --- */
int load_test(char **argv); /* does not return when it could be run */
int start_daemon(const struct options *o);
int stop_daemon(const struct options *o, bool must_run);

/* --- status.c: both status and statusall; lists are there in JSON even when empty --- */
int status_run(const struct options *o, const char *cmd, const char *const *lists);
/* The first argument, a number of seconds, into a request; NULL without one. False: it is none. */
bool seconds_arg(const struct options *o, json_t **out);

/* --- status_text.c --- */
void status_print_data(void *user, json_t *data);
void status_print_item(void *user, const char *list, json_t *data);
void status_print_end(void);

#endif
