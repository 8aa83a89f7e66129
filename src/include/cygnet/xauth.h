/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: who checks the names and passwords of users (XAUTH of IKEv1). A connection names its back end
 * (xauthby=pam: the provider whose name is "pam").
 *
 * A login has a number that the daemon chooses and never uses twice. begin() starts it and reply() goes on after a
 * challenge; each is answered exactly once through cy_xauth_login.answer, at once or later, on any thread. The daemon
 * has a deadline of its own: what comes after it is ignored. end() says that nobody waits for the login any more, or, when
 * it had succeeded, that its session is over; it may come at any time, also for a login the plugin knows nothing about
 * any more. A login that was refused or failed has ended by itself.
 *
 * Thread: begin(), reply() and end() of one login never overlap, but come on any thread. They must not wait: a worker may call
 * them. With CY_XAUTH_COMPUTES they take long (hashing), and run on the pool.
 */
#ifndef CYGNET_XAUTH_H
#define CYGNET_XAUTH_H

#include <cygnet/types.h>

enum cy_xauth_result {
	CY_XAUTH_OK = 1,    /* a session begins */
	CY_XAUTH_FAIL,      /* the user must not in: wrong name, password, time, account */
	CY_XAUTH_CHALLENGE, /* ask the user this, then reply() */
	CY_XAUTH_ERROR,     /* cannot tell: the back end is out of order */
};

/* What is asked for; what clients show depends on it. */
enum cy_xauth_prompt {
	CY_XAUTH_PASSWORD = 1, /* the password, or a new one */
	CY_XAUTH_PASSCODE,     /* a number that a token shows */
	CY_XAUTH_NEXT_PIN,     /* the next one that a token shows, or a new PIN */
	CY_XAUTH_ANSWER,       /* anything else */
};

/* Borrowed for the call, strings are never NULL. The daemon copies it. */
struct cy_xauth_answer {
	uint32_t size;
	uint32_t result;     /* enum cy_xauth_result */
	uint32_t prompt;     /* enum cy_xauth_prompt, of a challenge */
	const char *message; /* for the user: of a challenge the question */
	const char *reason;  /* for the log: why not */
	/* what the user gets instead of what the connection says; OK only */
	struct cy_addr address; /* family 0: none */
	const char *pool;       /* a range, "" none */
	const char *group;      /* "" none */
};

/* Borrowed for the call. */
struct cy_xauth_login {
	uint32_t size;
	uint64_t id;
	const char *user;
	struct cy_slice password; /* whatever bytes the client sent; no NUL at its end */
	const char *conn;
	const char *remote_id; /* identity of the IKE_SA: with a group's key the group's name */
	struct cy_addr local, remote;
	uint64_t session; /* number of the IKE_SA */
	uint32_t deadline_ms;
	void (*answer)(void *to, uint64_t id, const struct cy_xauth_answer *a);
	void *to;
};

#define CY_XAUTH_COMPUTES 1u

struct cy_xauth_ops {
	uint32_t size;
	uint32_t flags;
	const char *name; /* "pam", "generic", "none" */
	void (*begin)(void *plugin, const struct cy_xauth_login *login);
	void (*reply)(void *plugin, uint64_t id, struct cy_slice answer);
	void (*end)(void *plugin, uint64_t id);
	/* One line for statusall, or NULL: returns its length as snprintf() does. Any thread; must not wait. */
	int (*status)(void *plugin, char *out, size_t cap);
	/*
	 * Instead of begin(), with CY_XAUTH_COMPUTES, or NULL: answers if that takes neither waiting nor computing. False: it does, nothing
	 * has happened, and begin() comes. On a worker.
	 */
	bool (*quick)(void *plugin, const struct cy_xauth_login *login);
};

#endif
