/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipsec.conf in both dialects to a set of connections. One `conf` per load; immutable, counted; a reload diffs two.
 * Runs on any one thread; reads files, so never on a worker.
 */
#ifndef LIBCORE_CONF_CONF_H
#define LIBCORE_CONF_CONF_H

#include <stdio.h>

#include "libcore/base/log.h"
#include "libcore/conf/conn.h"

struct conf_problem {
	const char *file;
	uint32_t line;
	enum cy_level level; /* ERROR: the conn (or file) is not loaded; WARN; NOTICE: old spelling */
	const char *conn;    /* "" when not in a conn */
	const char *text;    /* what is wrong */
	const char *hint;    /* what to write instead, "" when none */
};
typedef void (*conf_problem_fn)(void *user, const struct conf_problem *p);

/* What is done with a certificate of which nothing says whether it was revoked. */
enum conf_strict {
	STRICT_NO,    /* it is accepted */
	STRICT_IFURI, /* refused where a server is known that should have said it */
	STRICT_YES
};

/* `config setup`. */
struct conf_setup {
	enum conf_dialect dialect;
	enum conn_unique unique;
	bool unique_set;
	enum conf_strict strict_crl;
	bool ocsp, fetch_crls;   /* servers are asked */
	uint32_t crl_interval_s; /* a CRL is got again after so long at most; 0: when it asks for it */
	uint32_t crl_timeout_ms, ocsp_timeout_ms; /* 0: fetch_timeout of cygnet.conf */
	bool no_ikev1;                            /* ikev1-policy=drop */
	char *virtual_private;                    /* text */
	char *charondebug;
	uint32_t ike_port, natt_port; /* 0 = default */
	char *secretsfile;
	uint32_t nhelpers;
	bool devices_unmanaged; /* ipsec-interface-managed=no */
};

/* ca NAME sections. */
struct conf_ca {
	char *name, *cacert;
	struct str_list crl_uris, ocsp_uris;
};

struct conf {
	uint32_t refs;
	struct conf_setup setup;
	struct conn **conns; /* sorted by name; each a reference */
	size_t n_conns;
	struct conf_ca *cas;
	size_t n_cas;
	uint32_t n_errors, n_warnings;
	uint64_t steps; /* taken to load it, for tests of how that grows */
};

/*
 * A relative include starts at the folder of the file it is in. A conn with errors is left out; others load. Fails, with the
 * reason reported, only when nothing can be said of the whole: path cannot be read, or its dialect cannot be told.
 * Connections with auto=ignore, or without auto, are only there for others to take from; they are not in the result.
 */
enum cy_err conf_load(const char *path, conf_problem_fn cb, void *user, struct conf **out) CY_MUST_USE;
/* From memory, for tests and fuzzing; includes are refused. */
enum cy_err conf_load_text(const char *text, size_t n, const char *name, conf_problem_fn cb, void *user,
    struct conf **out) CY_MUST_USE;
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf *c);
struct conn *conf_find(const struct conf *c, const char *name); /* borrowed */

/*
 * `ipsec check` without a daemon: prints every problem as "FILE:LINE: error: ...", each connection in plain words, and a
 * summary. *out: what was loaded (n_errors, n_warnings), the caller's reference. Fails as conf_load() does.
 */
enum cy_err conf_check(const char *path, FILE *to, struct conf **out) CY_MUST_USE;

/* What a reload must do, by name and digest. */
enum conf_change { CONF_ADDED = 1, CONF_REMOVED, CONF_CHANGED, CONF_SAME };
void conf_diff(const struct conf *before, const struct conf *after,
    void (*cb)(void *user, enum conf_change what, struct conn *before, struct conn *after), void *user);

#endif
