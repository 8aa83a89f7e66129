/* SPDX-License-Identifier: Apache-2.0 */
/* NAT detection and the move to the NAT-T port: RFC 7296, 2.23. */
#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

#define NATD_LEN 20

/* SHA-1(SPIi | SPIr | address | port) */
static bool natd_hash(
    const struct ike_sa *sa, uint64_t spi_i, uint64_t spi_r, const struct cy_addr *a, uint8_t out[NATD_LEN])
{
	uint8_t buf[8 + 8 + 16 + 2];
	struct writer w = writer_of(buf, sizeof(buf));
	struct cy_slice in;

	write_u64(&w, spi_i);
	write_u64(&w, spi_r);
	write_bytes(&w, cy_slice(a->ip, cy_addr_len(a)));
	write_u16(&w, a->port);
	in = writer_slice(&w);
	return hash_compute(sa->shard->d->crypto, CY_HASH_SHA1, &in, 1, out) == CY_OK;
}

bool v2_natd_add(struct ike_sa *sa, struct message *m)
{
	struct arena *a = &sa->step->a;
	uint8_t *src = arena_alloc(a, NATD_LEN), *dst = arena_alloc(a, NATD_LEN);

	if (!src || !dst || !natd_hash(sa, sa->spi_i, sa->spi_r, &sa->local, src) ||
	    !natd_hash(sa, sa->spi_i, sa->spi_r, &sa->remote, dst))
		return false;
	/* To have both ends encapsulate in UDP, claim a source the peer will not find: it then sees a NAT before us. */
	sa->encap_forced = sa->shard->d->tune.force_encap || (sa->conn && sa->conn->force_encap);
	if (sa->encap_forced)
		sa->shard->d->env->random(sa->shard->d->env, src, NATD_LEN);
	return message_notify(
	           a, m, 0, N_NAT_DETECTION_SOURCE_IP, cy_slice(NULL, 0), cy_slice(src, NATD_LEN)) &&
	    message_notify(
	        a, m, 0, N_NAT_DETECTION_DESTINATION_IP, cy_slice(NULL, 0), cy_slice(dst, NATD_LEN));
}

void v2_natd_check(struct ike_sa *sa, const struct payload *first, const struct net_packet *p)
{
	uint8_t here[NATD_LEN], there[NATD_LEN];
	bool src_seen = false, src_match = false, dst_seen = false, dst_match = false;

	/* The hashes in a request are made with SPIr zero. */
	if (!natd_hash(sa, p->h.spi_i, p->h.spi_r, &p->dst, here) ||
	    !natd_hash(sa, p->h.spi_i, p->h.spi_r, &p->src, there))
		return;
	for (const struct payload *n = first; n; n = n->next) {
		if (n->type != PAYLOAD_NOTIFY || n->u.notify.data.n != NATD_LEN)
			continue;
		if (n->u.notify.type == N_NAT_DETECTION_SOURCE_IP) {
			src_seen = true;
			src_match |= memcmp(n->u.notify.data.p, there, NATD_LEN) == 0;
		} else if (n->u.notify.type == N_NAT_DETECTION_DESTINATION_IP) {
			dst_seen = true;
			dst_match |= memcmp(n->u.notify.data.p, here, NATD_LEN) == 0;
		}
	}
	if (!src_seen || !dst_seen)
		return; /* the peer does not do NAT traversal */
	v2_init(sa)->peer_natt = true;
	sa->nat_there = !src_match;
	sa->nat_here = !dst_match;
	if (sa->nat_here)
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "local host is behind NAT, sending keep alives");
	if (sa->nat_there)
		ike_note(
		    sa, LOG_IKE, CY_LOG_INFO, "remote host is behind NAT, or asks for UDP encapsulation");
}
