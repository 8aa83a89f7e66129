/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of quick mode share; for nobody else. On the worker of the IKE_SA. */
#ifndef IKEV1_QUICK_H
#define IKEV1_QUICK_H

#include "daemon/ikev1/ikev1.h"

/* Both roles; x->state. */
struct quick {
	struct ike_sa *sa;
	struct child_sa *child; /* owned until adopted */
	struct suite suites[V1_SUITES_MAX];
	size_t n_suites;
	struct cy_ts l, r;
	struct cy_ts id_l, id_r; /* responder: what the peer calls them */
	bool with_ids;
	uint8_t ni[V1_NONCE_MAX], nr[V1_NONCE_MAX];
	size_t n_ni, n_nr;
	const struct cy_ke_alg *ke;
	void *ke_key;
	uint8_t ke_pub[CY_MAX_KE_PUBLIC];
	uint8_t proposal, transform; /* numbers of what was chosen */
	uint64_t old_id;
};

/* Becomes x->state, which goes with the exchange. NULL without memory. */
struct quick *quick_new(struct ike_sa *sa, struct v1_exchange *x) CY_MUST_USE;
struct cy_slice quick_ni(const struct quick *q);
struct cy_slice quick_nr(const struct quick *q);

/* --- ends --- */
void quick_task_over(struct ike_sa *sa, struct v1_exchange *x, bool ok, const char *why);
void quick_fail(
    struct ike_sa *sa, struct v1_exchange *x, const char *why); /* ends the step when there is one */
/* A rekeying that failed is tried once more before the end. old_id 0: it was none. */
void quick_old_stays(struct ike_sa *sa, uint64_t old_id);
/* The end that began the rekeying closes the old one, when the peer is sure to have the new one. */
void quick_retire(struct ike_sa *sa, struct child_sa *old, uint64_t successor, bool ours);
/* Another one for the same traffic, the youngest. */
struct child_sa *quick_same_traffic(struct ike_sa *sa, const struct child_sa *c);
/* Where both ends began one at the same time there are two. One stays, which both would choose; it is returned. */
struct child_sa *quick_settle(struct ike_sa *sa, struct child_sa *c);
void quick_delete_there(
    struct ike_sa *sa, struct child_sa *c); /* the peer has it, this end could not install it */

/*
 * What installs these parts of the CHILD_SA, with keys from the exchange and from what k agreed on (NULL: no key exchange of its own).
 * Takes k, and what came of it before (err).
 */
enum cy_err quick_install_req(struct ike_sa *sa, struct quick *q, struct ike_ke *k, enum cy_err err,
    unsigned parts, struct knl_req **out) CY_MUST_USE;

/* --- messages --- */
bool quick_add_rest(struct ike_sa *sa, struct quick *q, struct cy_slice nonce); /* after SA: nonce and KE */
bool quick_same_suite(const struct suite *a, const struct suite *b);
uint32_t quick_spi(const struct v1_proposal *p);

/* What to do with each, by its place in the exchange. All end the step. */
void quick_first(struct ike_sa *sa, struct v1_exchange *x);
void quick_second(struct ike_sa *sa, struct v1_exchange *x);
void quick_third(struct ike_sa *sa, struct v1_exchange *x);
void quick_fourth(struct ike_sa *sa, struct v1_exchange *x);
bool quick_unconfirmed(const struct v1_exchange *x); /* as initiator: the fourth is waited for */

#endif
