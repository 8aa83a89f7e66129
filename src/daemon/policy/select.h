/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which connection a peer means, and which part of the traffic both sides want. Pure functions over immutable conns.
 */
#ifndef DAEMON_POLICY_SELECT_H
#define DAEMON_POLICY_SELECT_H

#include "libcore/conf/conf.h"

/* --- traffic selectors (RFC 7296, 2.9) --- */
/*
 * Narrow what the peer proposed to what ours allows: the intersection of every pair, duplicates and contained ones removed,
 * most specific first when the peer's first selector is an acquire's packet. Returns the number written (0: TS_UNACCEPTABLE).
 * out has room for cap.
 */
size_t ts_narrow(const struct cy_ts *ours, size_t n_ours, const struct cy_ts *theirs, size_t n_theirs,
    struct cy_ts *out, size_t cap);
/* The same for what a peer may have at its end. Of a virtual network (end->virt) the addresses stay as it asked: they are allowed
   whole or not at all. */
size_t ts_narrow_end(const struct conn_end *end, const struct cy_ts *ours, size_t n_ours,
    const struct cy_ts *theirs, size_t n_theirs, struct cy_ts *out, size_t cap);
/* Is every selector of a inside some selector of b? (the responder's answer must be a subset of the offer) */
bool ts_list_subset(const struct cy_ts *a, size_t n_a, const struct cy_ts *b, size_t n_b);
/* Merge: drop selectors contained in others. Returns the new count. */
size_t ts_list_reduce(struct cy_ts *ts, size_t n);
/* The selectors an end stands for: its configured ones, or its address / virtual addresses when dynamic. An unspecified virtual
   address (one still to be assigned) stands for everything of its family; for transport mode only what concerns host itself
   is left. */
size_t ts_for_end(const struct conn_end *end, const struct cy_addr *host, const struct cy_addr *vips,
    size_t n_vips, bool for_transport, struct cy_ts *out, size_t cap);

/* --- connections --- */
/*
 * Index over many conns for the responder: by address pair first (only what the packet shows), then by identity. Built
 * at load, immutable, counted with the conf. 10,000 conns: a lookup touches only candidates.
 */
struct conn_index;
enum cy_err conn_index_new(const struct conf *conf, struct conn_index **out) CY_MUST_USE;
void conn_index_free(struct conn_index *ix);
/* Conns whose ends allow these addresses and version, best first (specific address before range before %any; the remote end
   before the local one). A DNS name counts as %any: who it is shows by identity. */
size_t conn_candidates(const struct conn_index *ix, const struct cy_addr *local, const struct cy_addr *remote,
    enum conn_version v, struct conn **out, size_t cap);
/* How well does an identity fit an end: ident_match's rank. An end that has no identity configured, no certificate and no key,
   but a single address, is called by that address. */
int conn_id_rank(const struct conn_end *end, const struct ident *id);
/*
 * After identities are known: rank candidates by ident_match of remote (and local, when the peer sent IDr). Returns the best or
 * NULL; out_why then holds one sentence: the nearest connection and what did not match, ours against theirs.
 */
struct conn *conn_match_ids(struct conn *const *candidates, size_t n, const struct ident *remote,
    const struct ident *local /* or NULL */, char *out_why, size_t why_cap);

#endif
