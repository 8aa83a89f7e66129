/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to the data plane. Workers never call it: they submit a request, a list of steps prepared with its completion
 * node; one kernel thread executes requests in order and posts the completion to the worker. In the simulator requests
 * execute at once and the completion is a job.
 *
 * Policies are shared: CHILD_SAs with equal selectors (a rekeyed one and its successor) use one kernel policy, which
 * goes with its last user. Keys in steps are wiped when the request is freed.
 */
#ifndef DAEMON_KERNEL_KNL_H
#define DAEMON_KERNEL_KNL_H

#include <cygnet/kernel.h>

#include "daemon/core/daemon.h"
#include "daemon/kernel/knl_device.h"
#include "libcore/base/hmap.h"
#include "libcore/run/worker.h"

enum knl_op {
	KNL_SA_ADD,
	KNL_SA_DEL,
	KNL_SA_MOVE,
	KNL_SA_QUERY,
	KNL_POLICY_ADD,
	KNL_POLICY_DEL,
	KNL_POLICY_CPU, /* cpu_acquire of a policy is another now */
	KNL_ADDR_SET,
	KNL_SOURCE_FOR,
	KNL_DEVICE_USE,
	KNL_DEVICE_UNUSE,
	KNL_RESYNC,
	KNL_OP_N,
};
extern const char *const knl_op_names[KNL_OP_N];

struct knl_step {
	enum knl_op op;
	enum cy_err err; /* result of this step */
	bool done;
	union {
		struct {
			struct cy_kernel_sa sa;
			uint8_t encr_key[CY_MAX_CIPHER_KEY], integ_key[CY_MAX_MAC_LEN];
			struct cy_ts *ts; /* owned: the local ones, then the remote ones; counts in sa */
		} add;
		struct cy_kernel_sa_id id; /* DEL, QUERY */
		struct {
			struct cy_kernel_sa_id id;
			struct cy_addr new_src, new_dst;
			bool encap;
		} move;
		struct {
			struct cy_kernel_policy p;
			struct cy_addr route_src;
		} policy;
		struct {
			struct cy_addr addr;
			uint8_t prefix;
			bool on;
		} addr;
		struct {
			struct cy_addr dst, src; /* src: the answer; also used when dst is local */
			bool is_local;
		} source;
		struct {
			struct conn *conn; /* of a CHILD_SA; a reference */
		} device;
	} u;
	struct cy_kernel_sa_stats stats; /* QUERY; and of a deleted SA, read just before */
};

struct knl_req {
	struct job job;
	struct list node;
	struct worker *worker;
	void (*done)(struct worker *w, struct knl_req *r); /* owns r; calls knl_req_free */
	void *user;
	uint64_t sa_handle, op_id; /* for the IKE_SA that waits */
	uint64_t queued_ns;
	enum cy_err err; /* first failure */
	bool undo;       /* on failure take back the ADD steps before it, and skip the rest */
	uint32_t n, cap;
	struct knl *reserve; /* whose reserve it came from and goes back to, NULL */
	struct knl_step step[];
};

struct knl_stats {
	const char *name;
	uint32_t features, queued;
	uint64_t requests, steps, failures, max_ns, wait_max_ns;
	uint64_t running_since_ns;
	size_t policies, policies_owed; /* owed: which it refused to take out, and will be asked again */
	struct hist wait;               /* ns in the queue */
	struct {
		uint64_t n, failed, ns, max_ns;
	} op[KNL_OP_N];
};

/* One of those that a dump found. */
struct knl_sa {
	struct cy_kernel_sa_id id;
	struct cy_kernel_sa_stats stats;
};

/* Called on the kernel's threads; the layer above posts jobs to workers. */
struct knl_handlers {
	void *user;
	void (*acquire)(void *user, uint32_t reqid, uint64_t cookie, const struct cy_ts *src,
	    const struct cy_ts *dst, int32_t cpu);
	void (*expire)(void *user, const struct cy_kernel_sa_id *id, bool hard);
	void (*mapping)(void *user, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src);
	void (*network_changed)(void *user);
	/* Events were lost: what there was at that time. take is to be freed. */
	void (*resync)(void *user, struct knl_sa *take, size_t n, uint64_t at_ns);
};

enum cy_err knl_new(struct daemon *d, const struct cy_kernel_ops *ops, void *plugin,
    const struct knl_handlers *h, struct knl **out) CY_MUST_USE;
/* What the data plane tells is heard from now on: once all that the handlers use is there. */
void knl_listen(struct knl *k);
void knl_stop(struct knl *k); /* executes what is queued, flushes, closes */
void knl_free(struct knl *k);
uint32_t knl_features(const struct knl *k);
const struct cy_kernel_ops *knl_ops(const struct knl *k, void **out_handle);

/* How the data plane knows an SA. */
struct cy_kernel_sa_id knl_sa_id(const struct cy_kernel_sa *sa);

struct knl_req *knl_req_new(uint32_t cap) CY_MUST_USE;
/*
 * For what must be done even when memory is short: removals, and SAs that move. There are a few for that, with room for
 * KNL_RESERVE_STEPS; they come back when they are freed.
 */
struct knl_req *knl_req_needed(struct knl *k, uint32_t cap) CY_MUST_USE;
#define KNL_RESERVE       16
#define KNL_RESERVE_STEPS 8
void knl_req_free(struct knl_req *r);
/* The next step to fill in; asserts that there is room. */
struct knl_step *knl_req_add(struct knl_req *r, enum knl_op op);
void knl_submit(struct knl *k, struct knl_req *r); /* any thread; never blocks */
void knl_read_stats(struct knl *k, struct knl_stats *out);
struct knl_devices *knl_devices(struct knl *k); /* for knl_devices_list() */
/* There is another configuration, whose devices are wanted; when no memory is left for a request, a later one sees to it. Any thread. */
void knl_devices_changed(struct knl *k);
void knl_counters(struct knl *k, void (*cb)(void *user, const char *name, uint64_t value), void *user);

/* --- shared policies: kernel thread only (knl_policy.c) --- */
struct knl_policies;
struct knl_policies *knl_policies_new(const uint64_t key[2]);
void knl_policies_free(struct knl_policies *p);
size_t knl_policies_count(const struct knl_policies *p);
size_t knl_policies_owed(const struct knl_policies *p);
enum cy_err knl_policy_add(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p);
/* Of all its users with that reqid. */
enum cy_err knl_policy_cpu(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p);
enum cy_err knl_policy_del(
    struct knl_policies *t, const struct cy_kernel_ops *ops, void *k, const struct cy_kernel_policy *p);
/*
 * Does what the data plane refused to do when users went: their policy is taken out, or becomes the one of the next user. False
 * when it refuses again; then it is to be called later. A few at a time; costs nothing when nothing is owed.
 */
bool knl_policies_settle(struct knl_policies *t, const struct cy_kernel_ops *ops, void *k);

#endif
