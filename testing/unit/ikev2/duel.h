/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two daemons in one process under virtual time, A the one that is tested, B the honest peer whose keys the test borrows to
 * forge messages that A must take as authentic. Nothing arrives unless the test lets it. One thread.
 */
#ifndef UNIT_IKEV2_DUEL_H
#define UNIT_IKEV2_DUEL_H

#include "daemon/core/daemon.h"
#include "daemon/sa/manager.h"

#define DUEL_KEPT 32
#define DUEL_SAS  64

struct duel;
struct quick_ke;

struct duel_dgram {
	uint8_t *p;
	size_t n;
};

/* An SA, or a policy, that the data plane has. */
struct duel_sa {
	struct cy_kernel_sa_id id;
	struct cy_kernel_sa_stats stats;
	struct cy_lifetime life;
};

struct duel_side {
	struct env env; /* first */
	struct duel *duel;
	struct daemon *d;
	struct cy_addr addr; /* where it is; a test may move it */
	struct cy_addr seen; /* where the other one sees it, when there is a NAT (family 0: none) */
	uint64_t seed, random;
	struct quick_ke *ke;
	uint64_t n_sent;                   /* ever */
	struct duel_dgram kept[DUEL_KEPT]; /* the last ones, by n_sent % DUEL_KEPT */
	/* the data plane */
	const struct cy_kernel_events *ev;
	struct duel_sa sas[DUEL_SAS];
	size_t n_sas;
	struct cy_kernel_policy policies[DUEL_SAS];
	size_t n_policies, least_policies;    /* least: ever, since the test set it */
	bool no_way;                          /* source_for() finds none */
	enum cy_err refuse_sa, refuse_policy; /* what adding one is answered with */
	struct cy_socket_config sockets;      /* as it was asked for */
};

struct duel {
	uint64_t now;
	struct duel_side a, b;
	char settings[64];
	uint32_t (*steer)(const struct cy_socket_config *sockets, const struct cy_dgram *dg);
	const struct duel_config *config; /* as long as it is made and reloaded */
	uint32_t pass;                    /* so many datagrams may still arrive by themselves */
	struct {
		struct duel_side *to;
		uint8_t *p;
		size_t n;
		bool natt;
	} wire[256];
	size_t n_wire;
	uint64_t iv;
};

/* What a test wants otherwise than it is. Text may be NULL. */
struct duel_config {
	const char *left_a, *right_a, *right_b; /* in place of their addresses */
	const char *setup;                      /* lines of config setup */
	const char *conn_a, *conn_b;            /* lines of their connections; a later line counts */
	const char *conns_a;                    /* whole sections besides */
	const char *keys;     /* lines of both ends' connection in place of version and proposals */
	const char *settings; /* lines of cygnet.conf */
	const char *secrets_a, *secrets_b; /* ipsec.secrets, in place of one key for both */
	const char *nat_a;                 /* B sees A at this address */
	bool no_subnets;                   /* leftsubnet and rightsubnet are not set */
	uint32_t workers;                  /* of each end, 0 is one */
	/* the lane where a datagram arrives, of as many as there are workers; NULL: there is one lane */
	uint32_t (*steer)(const struct cy_socket_config *sockets, const struct cy_dgram *dg);
};

struct duel *duel_new(void);
struct duel *duel_new_with(const struct duel_config *c);
void duel_free(struct duel *d);
void duel_reset(struct duel *d); /* no IKE_SA is left on either side, and what is random begins anew */
/* Work until nothing is left to do at this time. */
void duel_pump(struct duel *d);
void duel_advance(struct duel *d, uint64_t ns);
/* from begins an IKE_SA; so many datagrams arrive, 4 of them make a tunnel. */
void duel_start(struct duel *d, struct duel_side *from, uint32_t pass);
struct ike_sa *duel_sa(struct duel_side *s); /* the first one (of the first worker that has any), or NULL */
size_t duel_count(struct duel_side *s);
struct duel_side *duel_other(struct duel_side *s);
/* One datagram that seems to come from the other side. */
void duel_inject(struct duel_side *to, const uint8_t *p, size_t n);
/* What `by` would send with these bytes inside of SK (total 0), or of SKF. */
size_t duel_seal(struct duel *d, struct ike_sa *by, const struct ike_header *h, uint8_t next,
    struct cy_slice plain, uint16_t no, uint16_t total, uint8_t *out, size_t cap);
/* Header of a message that `by` could send next: a request, or the response to the last one. */
struct ike_header duel_header(const struct ike_sa *by, uint8_t exchange, bool response, uint32_t msgid);
/* The last datagram that s sent, and the one i before it. */
const struct duel_dgram *duel_last(const struct duel_side *s, uint64_t i);

#endif
