/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logins with a user's name and password (XAUTH). The back ends are plugins (cy_xauth_ops); what is here is in front of them:
 * a bounded number of logins in progress, a deadline for each answer, limits and lock-out by user and by address, sessions a user
 * may have, and counters.
 *
 * xauth_begin, xauth_reply and xauth_end are called on the worker that owns the login. Answers come back there as a job, never
 * from within the call. IKE_SAs use ike_xauth_*() of sa/ike_sa.h, which are found again by handle.
 */
#ifndef DAEMON_AUTH_XAUTH_H
#define DAEMON_AUTH_XAUTH_H

#include <cygnet/xauth.h>

#include "daemon/core/daemon.h"
#include "libcore/base/ident.h"
#include "libcore/run/worker.h"

struct conn;
struct xauth;

#define XAUTH_USER_MAX     256  /* bytes of a name */
#define XAUTH_PASSWORD_MAX 1024 /* bytes of a password or answer */

/* Valid for the call of done; strings are never NULL. */
struct xauth_answer {
	enum cy_xauth_result result;
	enum cy_xauth_prompt prompt; /* CHALLENGE */
	bool soft;                   /* OK, but the user was refused: xauthfail=soft lets him in */
	const char *message;         /* for the user, "" none */
	const char *reason;          /* for the log */
	struct cy_addr address;      /* family 0: none */
	const char *pool, *group;    /* "" none */
};

/* Who waits for an answer; owned by the caller until done, which is called exactly once for every begin and reply. */
struct xauth_wait {
	void (*done)(struct worker *w, struct xauth_wait *x, const struct xauth_answer *a);
};

/* Everything is copied. */
struct xauth_request {
	const char *backend; /* conn->xauth_backend */
	const char *user;
	struct cy_slice password;
	const char *conn, *remote_id;
	struct cy_addr local, remote;
	uint64_t session; /* number of the IKE_SA */
	bool soft;
};

enum cy_err xauth_new(struct daemon *d, struct xauth **out) CY_MUST_USE;
void xauth_free(struct xauth *x); /* workers and pool are stopped, plugins not yet */

/* The login's number, for the others: 0 when there is no memory (then done is not called). */
uint64_t xauth_begin(
    struct xauth *x, struct worker *w, const struct xauth_request *q, struct xauth_wait *wait);
/* After a challenge. False: no such login or none that was asked; done is not called. */
bool xauth_reply(
    struct xauth *x, struct worker *w, uint64_t login, struct cy_slice answer, struct xauth_wait *wait);
/* Nobody waits any more, or the session that began with OK is over. Who waits is told CY_XAUTH_ERROR later. 0 is fine. */
void xauth_end(struct xauth *x, struct worker *w, uint64_t login);

struct xauth_stats {
	uint64_t begun, ok, refused, errors, timeouts, challenges, cancelled;
	uint64_t limit_queue, limit_user, limit_address, limit_sessions, locked_user, locked_address,
	    lockouts;
	uint32_t in_progress, in_progress_max, sessions;
	uint64_t answer_max_ms;
};
void xauth_read_stats(struct xauth *x, struct xauth_stats *out); /* any thread */
/* Each back end that is loaded, with its line of status. Main or control thread. */
void xauth_backends(
    struct xauth *x, void (*cb)(void *user, const char *name, const char *status), void *user);
bool xauth_has_backend(struct xauth *x, const char *name);

/*
 * What we answer as a client: xauth_identity= / leftusername=, else our identity; and the password of an XAUTH entry in
 * ipsec.secrets. password borrows from the configuration. CY_E_NOTFOUND: there is no password; user is set all the same.
 */
enum cy_err xauth_own(const struct config *c, const struct conn *conn, const struct ident *my_id,
    char user[XAUTH_USER_MAX], struct cy_slice *out_password) CY_MUST_USE;
/* What else we answer: the XAUTH entry of "USER/WHICH". */
enum cy_err xauth_own_answer(
    const struct config *c, const char *user, const char *which, struct cy_slice *out) CY_MUST_USE;

#endif
