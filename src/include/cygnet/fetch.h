/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: who gets what a URL names (CRLs and OCSP responses; RFC 5280 4.2.1.13, RFC 6960 appendix A).
 *
 * A request has a number that the daemon chooses and never uses twice. begin() starts it; it is answered exactly once through
 * cy_fetch_request.answer, at once or later, on any thread. The daemon has a deadline of its own: what comes after it is ignored.
 * cancel() says that nobody waits any more; it may come at any time, also for a request that has been answered, and is not answered.
 *
 * Thread: begin() and cancel() come on any thread, also at the same time for different requests. They must not wait.
 */
#ifndef CYGNET_FETCH_H
#define CYGNET_FETCH_H

#include <cygnet/types.h>

enum cy_fetch_result {
	CY_FETCH_OK = 1,
	CY_FETCH_FAILED,  /* refused, not found, no such name, broken: reason says what */
	CY_FETCH_TOO_BIG, /* more than max_bytes */
	CY_FETCH_LATE,    /* not there by the deadline */
	CY_FETCH_BUSY,    /* the plugin has as many as it takes */
};

/* Borrowed for the call; reason is never NULL. The daemon copies it. */
struct cy_fetch_answer {
	uint32_t size;
	uint32_t result;      /* enum cy_fetch_result */
	struct cy_slice body; /* OK only */
	const char *reason;   /* for the log, one sentence: why not */
};

/* Borrowed for the call. */
struct cy_fetch_request {
	uint32_t size;
	uint32_t deadline_ms;
	uint64_t id;
	const char *url;
	struct cy_slice post;     /* n > 0: sent with POST, instead of GET */
	const char *content_type; /* of post; NULL without */
	uint64_t max_bytes;       /* of the answer's body */
	void (*answer)(void *to, uint64_t id, const struct cy_fetch_answer *a);
	void *to;
};

struct cy_fetch_ops {
	uint32_t size;
	uint32_t flags;             /* 0 */
	const char *name;           /* "curl" */
	const char *const *schemes; /* "http", "https", "ldap", ...; NULL-terminated, lower case */
	void (*begin)(void *plugin, const struct cy_fetch_request *request);
	void (*cancel)(void *plugin, uint64_t id);
	/* One line for statusall, or NULL: returns its length as snprintf() does. Any thread; must not wait. */
	int (*status)(void *plugin, char *out, size_t cap);
};

#endif
