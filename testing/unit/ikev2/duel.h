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

struct duel;

struct duel_dgram {
	uint8_t *p;
	size_t n;
};

struct duel_side {
	struct env env; /* first */
	struct duel *duel;
	struct daemon *d;
	struct cy_addr addr;
	uint64_t random;
	uint64_t n_sent;                   /* ever */
	struct duel_dgram kept[DUEL_KEPT]; /* the last ones, by n_sent % DUEL_KEPT */
};

struct duel {
	uint64_t now;
	struct duel_side a, b;
	char settings[64];
	const char *keys; /* of both ends' connection */
	uint32_t pass;    /* so many datagrams may still arrive by themselves */
	struct {
		struct duel_side *to;
		uint8_t *p;
		size_t n;
	} wire[256];
	size_t n_wire;
	uint64_t iv;
};

struct duel *duel_new(void);
/* With other keys of the connection: lines, each with blanks before it. */
struct duel *duel_new_with(const char *keys);
void duel_free(struct duel *d);
void duel_reset(struct duel *d); /* no IKE_SA is left on either side */
/* Work until nothing is left to do at this time. */
void duel_pump(struct duel *d);
void duel_advance(struct duel *d, uint64_t ns);
/* from begins an IKE_SA; so many datagrams arrive, 4 of them make a tunnel. */
void duel_start(struct duel *d, struct duel_side *from, uint32_t pass);
struct ike_sa *duel_sa(struct duel_side *s); /* the first one, or NULL */
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
