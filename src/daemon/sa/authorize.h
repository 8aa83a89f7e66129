/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins that may say no to a peer (cygnet/authorize.h), as a step of the IKE_SA that waits for their answer: the SA is busy,
 * the worker is not. What is asked waits here under a number until the answer comes, on any thread, or its time is over, on the
 * SA's worker; whoever takes it out first decides. The mutex is held for a look-up only.
 */
#ifndef DAEMON_SA_AUTHORIZE_H
#define DAEMON_SA_AUTHORIZE_H

#include "daemon/sa/manager.h"

#define AUTHORIZE_MAX 8 /* plugins that are asked */

struct authorize;

struct authorize_stats {
	const char *name;
	uint64_t asked, yes, no, timeouts, refused /* queue full */, late, max_ns;
	uint32_t waiting;
};

enum cy_err authorize_new(struct daemon *d, struct authorize **out) CY_MUST_USE;
void authorize_free(struct authorize *a); /* workers are stopped */
/* From plugins: cy_host.authorize_answer. CY_E_NOTFOUND: too late. */
enum cy_err authorize_answer(void *authorize, uint64_t id, bool yes, const char *reason);
size_t authorize_read_stats(struct authorize *a, struct authorize_stats *out, size_t cap);

/* cont is called once, perhaps at once; not when the SA goes before. */
void ike_authorize(struct ike_sa *sa, void (*cont)(struct ike_sa *sa, bool yes, const char *why));

#endif
