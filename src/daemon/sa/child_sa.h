/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CHILD_SA: a pair of ESP SAs with their policies. Owned by its IKE_SA and moved to the successor when that is rekeyed.
 */
#ifndef DAEMON_SA_CHILD_SA_H
#define DAEMON_SA_CHILD_SA_H

#include "daemon/sa/ike_sa.h"

enum child_state {
	CHILD_CREATED,
	CHILD_INSTALLING,
	CHILD_INSTALLED,
	CHILD_REKEYING, /* our request to replace it is out */
	CHILD_REKEYED,  /* replaced; waits for its delete */
	CHILD_DELETING,
};
extern const struct name child_state_names[];

struct child_keys {
	struct secret encr_in, encr_out, integ_in, integ_out;
};

struct child_sa {
	struct list node;
	struct hnode by_spi_in, by_spi_out;
	struct list line; /* those that replace one another, in a ring: they come up and go down as one */
	struct ike_sa *sa;
	struct sa_shard *shard;
	uint64_t id;
	struct conn *conn; /* a reference */
	enum child_state state;
	uint32_t spi_in, spi_out;         /* host byte order */
	uint32_t reqid;                   /* 0: it is found when the CHILD_SA is installed */
	struct hnode by_owner;            /* m->by_owner, under its lock: reqid.c */
	struct claim *claim;              /* reqid.c */
	struct cy_mark mark_in, mark_out; /* the connection's, or its own */
	uint32_t if_id_in, if_id_out;
	int32_t cpu;      /* that sends on it (RFC 9611), -1 any */
	bool per_cpu;     /* of a group of such: percpu.h */
	bool is_fallback; /* the first of the group */
	bool group_full;  /* it shall not have more */
	uint8_t mode;     /* enum cy_ipsec_mode */
	bool encap, initiator;
	bool in_installed, out_installed, policies_installed;
	bool up_announced; /* it is of a line whose CHILD_UP was published: a CHILD_DOWN must follow */
	bool has_owner;    /* it is in by_owner */
	bool indexed_in, indexed_out;
	bool rekey_queued, deleting_rekeyed;
	struct cy_addr at_local, at_remote; /* where the data plane has it, or is about to */
	struct suite suite;
	uint32_t taken_out; /* pairs of selectors whose policies are out */
	struct cy_ts *ts_local, *ts_remote;
	uint32_t n_ts_local, n_ts_remote;
	struct child_keys keys; /* until both directions are installed */
	uint64_t rekeys;        /* id of the CHILD_SA this one replaces, 0 none */
	uint64_t successor;     /* id of the CHILD_SA that replaces this one */
	struct timer t_rekey, t_expire, t_out;
	uint64_t installed_ns, rekey_due_ns, expire_due_ns;
	uint64_t bytes_in, bytes_out, packets_in, packets_out, last_in_wall, last_out_wall; /* as last read */
	uint64_t collision; /* id of the CHILD_SA the peer made while we were rekeying this one, 0 none */
	struct secret collision_nonce; /* the smaller of its two */
	/* Closed; sa is NULL once the rest is owed to the data plane, on shard->owed. */
	struct farewell *farewell;
};

/* One that comes and goes with the traffic of its CPU: nothing makes it again when it is closed. */
static inline bool child_is_extra(const struct child_sa *c)
{
	return c->per_cpu && !c->is_fallback;
}

struct child_sa *child_new(
    struct ike_sa *sa, struct conn *conn) CY_MUST_USE; /* not yet on sa->children; SPI drawn */
void child_take_ids(
    struct child_sa *c, const struct child_sa *old); /* reqid, marks, if_ids, CPU of the one it replaces */
void child_set_rekeys(struct child_sa *c, struct child_sa *old); /* it replaces this one */
void child_adopt(struct ike_sa *sa, struct child_sa *c); /* put on sa's list, which is in order of ids */
void child_detach(struct child_sa *c);                   /* from its IKE_SA and the tables */
void child_free(struct child_sa *c);                     /* must not be installed */
enum cy_err child_set_ts(
    struct child_sa *c, const struct cy_ts *l, size_t n_l, const struct cy_ts *r, size_t n_r) CY_MUST_USE;
/* KEYMAT (RFC 7296, 2.17): keys of both directions from the IKE_SA's SK_d, nonces and an optional new shared secret. */
enum cy_err child_derive(struct child_sa *c, struct ike_sa *sa, struct cy_slice secret, struct cy_slice ni,
    struct cy_slice nr, bool we_initiate) CY_MUST_USE;

/* Before it is installed: it has a reqid, that of others of the peer for the same traffic. Any number of times. */
void reqid_hold(struct child_sa *c);
/*
 * Where it has to be: its traffic is for this peer (identities and user) alone; its selectors are set. False: another one has it. Any
 * number of times.
 */
bool child_claim(struct child_sa *c, char *why, size_t cap) CY_MUST_USE;
void reqid_release(struct child_sa *c);

/* Kernel requests; what to include. The caller submits with ike_kernel() and calls child_mark() on success. */
#define CHILD_PART_IN       1u
#define CHILD_PART_OUT      2u
#define CHILD_PART_POLICIES 4u
#define CHILD_PART_ALL      7u
/* The outbound policies as they are to be now, for percpu_set_full(). */
struct knl_req *child_policies_req(const struct child_sa *c) CY_MUST_USE;
struct knl_req *child_install_req(struct child_sa *c, unsigned parts) CY_MUST_USE;
void child_mark(
    struct child_sa *c, unsigned parts); /* these parts are installed now; keys no longer needed are wiped */
void child_up(struct child_sa *c);       /* event, timers */
/*
 * Remove from the kernel (no waiting) and from its IKE_SA, publish, free. why NULL: replaced by a rekey. When memory is too short for the
 * request, what is installed stays with the CHILD_SA itself, and is taken out later (shard->owed).
 */
void child_remove(struct child_sa *c, const char *why);
void child_owed_free(struct sa_shard *s); /* the data plane is flushed */
/* Another one (its id) has taken its place: it waits for its delete, ours or the peer's, but not for ever. */
void child_replaced(struct child_sa *c, uint64_t successor);
/* What replaced this CHILD_SA was closed by who made it: those that it replaced are in use again. */
void child_successor_gone(struct ike_sa *sa, uint64_t successor);
/* Start to send on it, after a rekey that the peer began. */
void child_switch_out(struct child_sa *c);
void child_set_spi_out(struct child_sa *c, uint32_t spi);
uint32_t policy_priority(const struct conn *conn, const struct cy_ts *a, const struct cy_ts *b, bool trap);
struct child_sa *child_by_id(struct ike_sa *sa, uint64_t id);
struct child_sa *child_find_in(struct sa_shard *s, uint32_t spi); /* of any IKE_SA of this worker */
struct child_sa *child_by_spi_out(struct ike_sa *sa, uint32_t spi);
void child_expire(struct child_sa *c, bool hard);             /* from the kernel or a timer */
void child_moved(struct child_sa *c); /* follow its IKE_SA */ /* the IKE_SA has new addresses */
/* How the data plane calls it: for KNL_SA_QUERY. */
struct cy_kernel_sa_id child_kernel_id(const struct child_sa *c, bool in);
const char *child_describe(
    const struct child_sa *c, char *out, size_t cap); /* "10.1.0.0/16 === 10.2.0.0/16" */

#endif
