/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of sources: what the files that keep, get and read them share. */
#ifndef DAEMON_AUTH_SOURCES_IMPL_H
#define DAEMON_AUTH_SOURCES_IMPL_H

#include <pthread.h>

#include "daemon/auth/sources.h"
#include "libcore/base/hmap.h"
#include "libcore/run/pool.h"
#include "libcore/run/worker.h"

#define SOURCE_NONCE 32 /* RFC 9654, 2.1 */

enum source_state { SOURCE_IDLE, SOURCE_FETCHING, SOURCE_DIGESTING };

struct source {
	struct hnode node;
	struct list used;  /* in sources.used, longest ago first */
	struct list busy;  /* in sources.busy while it is FETCHING */
	struct list waits; /* source_wait */
	uint32_t refs;     /* the table's, and of who works on it; with the mutex */
	enum source_kind kind;
	char *url; /* of a file its name */
	struct source_host *host;
	struct cy_cert *cert, *issuer; /* references; cert: OCSP only */
	/* getting it */
	enum source_state state;
	uint64_t id, asked_ns, timeout_ns;
	uint8_t nonce[SOURCE_NONCE];
	uint32_t failures; /* in a row */
	uint64_t retry_ns;
	char why[160];
	/* what is there */
	struct cy_crl *crl;
	struct cy_revocation_info info; /* OCSP; of a CRL only its times */
	bool has, wanted;               /* wanted: it was of use since it came */
	bool old;                       /* of a file: it was not read again yet */
	int64_t came;                   /* Unix seconds */
	uint32_t refresh_s;
	uint64_t bytes;
};

struct sources {
	struct daemon *d;
	const struct cy_pki_ops *pki; /* NULL: there are no certificates, either */
	bool can;                     /* it reads CRLs and OCSP responses */
	const struct cy_fetch_ops *ops;
	void *plugin;
	pthread_mutex_t lock;
	bool stopped, keyed;
	struct hmap table;
	struct list used, busy;
	uint64_t last_id;
	struct sources_stats stats;
	/* on worker 0: what is due */
	struct job arm;
	bool armed;
	struct timer tick;
	bool walk; /* a CRL came, or began to be of use: when must which be got again? */
	uint64_t walk_ns;
};

/* With the mutex. */
enum source_end {
	SOURCE_CAME,
	SOURCE_UNFIT,  /* the server answered, and that is of no use */
	SOURCE_SILENT, /* the server did not */
};
void source_settle(struct sources *s, struct source *src, enum source_end end, const char *why);
bool source_unref(struct source *src); /* true: it must be freed, without the mutex */
void source_free(struct sources *s, struct source *src);
/* Takes out what was not used for longest until n bytes fit; the caller frees what is on `out`, without the mutex. */
bool source_room_for_crl(struct sources *s, uint64_t n, struct list *out);
bool source_room_for_one(struct sources *s, struct list *out);
void source_release(struct sources *s, struct source *src); /* its caller's reference; without the mutex */
void source_free_all(struct sources *s, struct list *gone); /* without the mutex */
struct source *source_find(const struct sources *s, enum source_kind kind, const char *url,
    struct cy_cert *cert, struct cy_cert *issuer);
struct source *source_add(
    struct sources *s, enum source_kind kind, const char *url, struct cy_cert *cert, struct cy_cert *issuer);
void source_drop(struct sources *s, struct source *src); /* from the table; the caller has its reference */
void source_arm(struct sources *s);

/* digest.c: reads what has come, on the pool. Takes a reference to src. False: no memory. */
bool source_digest(struct sources *s, struct source *src, const struct cy_slice *body) CY_MUST_USE;
/* A CRL that may be used for what this issuer has issued; the caller's. */
enum cy_err source_read_crl(struct sources *s, struct cy_cert *issuer, struct cy_slice data, int64_t now,
    struct cy_crl **out, const char **out_why);
uint64_t source_crl_bytes(const struct cy_crl_info *i);
/* With the mutex: *crl is there from now on; what it replaces, or NULL, is *crl, for the caller to free without the mutex. */
void source_set_crl(struct sources *s, struct source *src, struct cy_crl **crl, int64_t now);

#endif
