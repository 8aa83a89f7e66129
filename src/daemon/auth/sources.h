/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What says whether certificates were revoked: CRLs by their URL, OCSP responses by URL and certificate, CRLs of files. They are got by
 * a plugin (cygnet/fetch.h), once however many wait for them, read and checked on the pool, and kept within limits of bytes and number.
 * What has failed is asked again later and later. A CRL that is used is got again before its end; until then it stays.
 *
 * Any thread; the mutex is held for a look-up only. Who waits is called back, with the mutex held, and may only post a job.
 */
#ifndef DAEMON_AUTH_SOURCES_H
#define DAEMON_AUTH_SOURCES_H

#include <cygnet/fetch.h>

#include "daemon/core/daemon.h"
#include "libcore/base/list.h"
#include "libcore/crypto/registry.h"

struct creds;
struct sources;

/* CRLReason (RFC 5280, 5.3.1): such a revocation may be taken back. */
#define SOURCE_REASON_HOLD 6

enum source_kind { SOURCE_OCSP = 1, SOURCE_FILE, SOURCE_CRL, SOURCE_RESPONDER /* only that it fails */ };

struct source_question {
	enum source_kind kind;
	const char *url; /* NULL of files */
	struct cy_cert *cert, *issuer;
	int64_t now;         /* Unix seconds */
	uint64_t timeout_ns; /* of getting it */
	uint32_t refresh_s;  /* a CRL is got again after so long at most; 0: when it asks for it */
	bool insist;         /* wait also for what failed before */
	bool look;           /* wait for nothing */
};

struct source_said {
	struct cy_revocation_info info;
	bool outdated;
	char why[192]; /* not SAYS: why not */
};

enum source_result { SOURCE_SAYS = 1, SOURCE_WAIT, SOURCE_MUTE };

/* Who waits; zero before. */
struct source_wait {
	struct list node;
	void (*ready)(struct source_wait *w);
};

enum cy_err sources_new(struct daemon *d, struct sources **out) CY_MUST_USE;
void sources_start(struct sources *s); /* the plugins are loaded: who fetches? */
void sources_stop(struct sources *s);  /* no job is posted and nothing put into the pool any more */
void sources_clear(struct sources *s); /* workers and pool are stopped: nothing of a plugin is left in it */
void sources_free(struct sources *s);  /* nor do plugins answer */

/* WAIT: ready is called once, unless sources_forget() comes before. To ask again while it waits is fine. */
enum source_result sources_ask(struct sources *s, const struct source_question *q, struct source_wait *wait,
    struct source_said *out) CY_MUST_USE;
void sources_forget(struct sources *s, struct source_wait *wait); /* harmless when it does not wait */
/* What came of asking them all for one peer. */
enum source_outcome { OUTCOME_GOOD, OUTCOME_REVOKED, OUTCOME_ACCEPTED, OUTCOME_REFUSED, OUTCOME_N };
void sources_count(struct sources *s, enum source_outcome what);
const struct cy_pki_ops *sources_pki(const struct sources *s); /* whose certificates they are about */
bool sources_fetch(const struct sources *s); /* is there a plugin that gets what a URL names? */

/* --- CRLs of files: main thread, control thread --- */
/* Those of a folder, for the issuers of the certificates in c, in the place of those that were there. dir NULL: none. */
void sources_load_files(struct sources *s, const struct creds *c, const char *dir,
    void (*report)(void *user, enum cy_level level, const char *text), void *user);
enum cy_err sources_add_crl(
    struct sources *s, struct cy_cert *issuer, struct cy_slice data, const char *name, const char **out_why);
void sources_drop_files(struct sources *s); /* those that were not read again */
/* What has failed may be asked again now. */
void sources_retry(struct sources *s);
/* All that came from servers goes; how many. */
uint64_t sources_purge(struct sources *s);

/* Worker 0 has a timer of it. On that worker. */
bool sources_ticks(const struct sources *s);

/* --- looking --- */
#define SOURCE_HOSTS 32
struct source_host {
	char name[64]; /* "others" of what has no room */
	uint64_t asked, failed, late, max_ns;
	uint64_t running_ns; /* so long nothing has come to what it is asked now, 0 nothing */
	uint32_t in_a_row;   /* failures since the last answer */
};
struct sources_stats {
	uint64_t asked, answered, failed, late, too_late, refused /* too many wait */, evicted;
	uint64_t outcome[OUTCOME_N]; /* of peers; good, revoked, and not known: accepted, refused */
	uint64_t bytes, max_ns, waited, background;
	uint32_t entries, crls, fetching, waiting, waiting_max;
	struct source_host host[SOURCE_HOSTS];
	uint32_t n_hosts;
};
void sources_read_stats(struct sources *s, struct sources_stats *out);
/* One line of what the plugin says of itself; "" none. */
void sources_plugin_status(struct sources *s, char *out, size_t cap);

struct source_info {
	enum source_kind kind;
	const char *url, *issuer, *subject /* OCSP */, *why;
	int64_t this_update, next_update;
	uint64_t n_revoked, bytes;
	uint32_t failures, status /* OCSP: enum cy_revocation */;
	bool has, busy;
};
void sources_list(struct sources *s, void (*cb)(void *user, const struct source_info *i), void *user);

#endif
