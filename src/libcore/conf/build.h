/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection being built from the entries that count for it. Private to conf/; lives during one load, on its thread.
 * Setters (keys.def) run in any order: what depends on several keys waits in `later` until build_finish().
 */
#ifndef LIBCORE_CONF_BUILD_H
#define LIBCORE_CONF_BUILD_H

#include "libcore/conf/conf.h"
#include "libcore/conf/raw.h"

/* The entry that counts for a key of a side, if any did this round. */
struct slot {
	uint32_t round, entry;
};

#define PROPOSAL_CACHE 64

/* Most connections share a few proposals. */
struct cached_proposal {
	char *text;
	enum proposal_proto proto;
	struct proposal_list list;
	bool strict, legacy;
};

struct build_end {
	const struct raw_entry *host, *auth, *subnet, *protoport, *sourceip, *ca;
	const struct raw_entry *pool;
	bool allowany, modecfgclient, modecfgserver;
	const struct raw_entry *xauth[4]; /* XAUTH_END_* */
	bool id_set;
	bool subnets; /* subnet is leftsubnets */
};

enum { XAUTH_END_SERVER, XAUTH_END_CLIENT, XAUTH_END_AUTH2, XAUTH_END_USER };

struct build {
	struct raw *raw;
	struct report *report;
	unsigned dialect; /* SS or LS */
	const struct conf_setup *setup;
	struct slot slots[2 * KEY_MAX];
	uint16_t order[2 * KEY_MAX]; /* slots filled this round */
	size_t n_order;
	uint32_t round;
	uint16_t key_also, key_auto;
	uint32_t first_default, n_defaults; /* sections conn %default, in raw->by_name */
	struct cached_proposal cache[PROPOSAL_CACHE];

	/* this connection */
	struct conn *c;
	struct raw_section *section;
	struct build_end end[2]; /* left, right */
	struct {
		const struct raw_entry *authby, *dns[3], *dpdaction, *dpddelay, *mark, *mark_in, *mark_out;
		const struct raw_entry *hostfamily, *keyexchange, *ikev2, *start, *esp, *ah;
		const struct raw_entry *xauth, *xauth_identity, *aggressive;
		const struct raw_entry *backups;
		bool authby_xauth;
		enum conn_version ikev2_version;
		const struct raw_entry *if_id[3], *vti[3], *ipsec_interface, *device_addr, *per_cpu, *clones;
		bool encap_dscp, decap_dscp, ignore_dns;
		uint32_t interval_ms, timeout_ms;
	} later;
	const struct raw_entry *bad_entry; /* one it takes that has no meaning */
	const struct raw_section *broken;  /* one it takes that has a line without a meaning */
	bool bad, nomem;
};

static inline struct conn_end *build_end(struct build *b, bool right)
{
	return right ? &b->c->remote : &b->c->local;
}

/* The entry cannot be used: told in full once, briefly to others who inherit it. Returns false for setters. */
bool build_fault(struct build *b, const struct raw_entry *e, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* "KEY=VALUE: what"; hint as for build_fault(). */
bool build_bad_value(struct build *b, const struct raw_entry *e, const char *hint, const char *what);
/* Told once an entry. */
void build_note(struct build *b, const struct raw_entry *e, enum cy_level level, const char *hint,
    const char *fmt, ...) __attribute__((format(printf, 5, 6)));
bool build_nomem(struct build *b);
/* One of the words of a table; *out its value. */
bool build_enum(struct build *b, const struct raw_entry *e, const struct name *words, uint32_t *out);

bool build_proposals(struct build *b, const struct raw_entry *e, enum proposal_proto proto,
    struct proposal_list *out, bool *out_strict);

/* ORs together the dialects that only the value of this entry can be from (dialect.c). */
unsigned dialect_of_value(const struct key *k, bool right, const char *value);
/* Decides; reports and fails when it cannot. */
enum cy_err dialect_choose(struct raw *r, enum conf_dialect asked, enum conf_dialect *out) CY_MUST_USE;

void build_init(struct build *b, struct raw *raw, const struct conf_setup *setup, enum conf_dialect dialect);
void build_fini(struct build *b);
/* Settles keys of the dialect, old spellings, and keys without effect, for all entries. */
void build_classify(struct build *b);
/* CY_OK and *out NULL: the section makes no connection, or a faulty one, which was reported. */
enum cy_err build_conn(struct build *b, struct raw_section *s, struct conn **out) CY_MUST_USE;
/* A connection with ts_per_child on a side as one for each pair (pairs.c); *out is an array to be freed. */
enum cy_err build_pairs(struct build *b, struct raw_section *s, struct conn *whole, struct conn ***out,
    size_t *out_n) CY_MUST_USE;

/* The last steps, in ends.c, auth.c, device.c and finish.c. False: reported. Addresses come after both ends. */
bool finish_end(struct build *b, bool right);
bool finish_addresses(struct build *b, bool right);
bool virtual_named(const char *value); /* "vhost:..." or "vnet:..." */
bool virtual_private_ok(const char *text);
bool finish_virtual(
    struct build *b, bool right); /* virtual.c: leftsubnet= of that kind, after leftprotoport= */
bool finish_auth(struct build *b);
bool finish_xauth(struct build *b);         /* xauth.c, while the ends are left and right */
bool finish_remote_access(struct build *b); /* xauth.c, when the ends are local and remote */
bool finish_device(struct build *b);        /* after the ends know which is ours */
bool finish_per_cpu(struct build *b);
bool build_finish(struct build *b);

#define SETTER(name) bool name(struct build *b, const struct raw_entry *e, size_t arg)
SETTER(set_addresspool);
SETTER(set_ah);
SETTER(set_aggressive);
SETTER(set_allowany);
SETTER(set_auth);
SETTER(set_authby);
SETTER(set_auto);
SETTER(set_bool);
SETTER(set_backups);
SETTER(set_banner);
SETTER(set_ca);
SETTER(set_cert);
SETTER(set_clones);
SETTER(set_closeaction);
SETTER(set_decap_dscp);
SETTER(set_device_addr);
SETTER(set_dns);
SETTER(set_domains);
SETTER(set_dpdaction);
SETTER(set_dpddelay);
SETTER(set_dpdtimeout);
SETTER(set_encap_dscp);
SETTER(set_encapsulation);
SETTER(set_end_bool);
SETTER(set_esn);
SETTER(set_esp);
SETTER(set_family);
SETTER(set_fragmentation);
SETTER(set_host);
SETTER(set_id);
SETTER(set_if_id);
SETTER(set_ignore_dns);
SETTER(set_ike);
SETTER(set_ikedscp);
SETTER(set_ikeport);
SETTER(set_ikev2);
SETTER(set_ipsec_interface);
SETTER(set_keyexchange);
SETTER(set_keyingtries);
SETTER(set_mark);
SETTER(set_mobike);
SETTER(set_modecfgclient);
SETTER(set_modecfgdns);
SETTER(set_modecfgserver);
SETTER(set_modeconfig);
SETTER(set_per_cpu);
SETTER(set_percent);
SETTER(set_phase2);
SETTER(set_protoport);
SETTER(set_pubkey);
SETTER(set_replay);
SETTER(set_require_id);
SETTER(set_retransmit);
SETTER(set_seconds);
SETTER(set_sendcert);
SETTER(set_sourceip);
SETTER(set_subnet);
SETTER(set_type);
SETTER(set_u32);
SETTER(set_u64);
SETTER(set_updown);
SETTER(set_xauth);
SETTER(set_xauth_end);
SETTER(set_xauth_identity);
SETTER(set_xauthby);
SETTER(set_xauthfail);
SETTER(set_vti);

#endif
