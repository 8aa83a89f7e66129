/* SPDX-License-Identifier: Apache-2.0 */
/* What a peer can do, by its Vendor IDs, and whether there is a NAT: RFC 3947, 3 and 4, and the drafts before it. */
#include "daemon/ikev1/ikev1.h"
#include "libcore/base/addr.h"
#include "libcore/base/err.h"

enum vendor { VID_NATT_RFC, VID_NATT_03, VID_NATT_02N, VID_NATT_02, VID_DPD, VID_XAUTH, VID_UNITY, VID_FRAG };

static const struct {
	enum vendor what;
	uint8_t n;
	uint8_t id[20];
} vendors[] = {
    /* MD5 of "RFC 3947", of "draft-ietf-ipsec-nat-t-ike-03", of "-02\n" and of "-02" (RFC 3947, 3.1) */
    {VID_NATT_RFC, 16,
        {0x4a, 0x13, 0x1c, 0x81, 0x07, 0x03, 0x58, 0x45, 0x5c, 0x57, 0x28, 0xf2, 0x0e, 0x95, 0x45, 0x2f}},
    {VID_NATT_03, 16,
        {0x7d, 0x94, 0x19, 0xa6, 0x53, 0x10, 0xca, 0x6f, 0x2c, 0x17, 0x9d, 0x92, 0x15, 0x52, 0x9d, 0x56}},
    {VID_NATT_02N, 16,
        {0x90, 0xcb, 0x80, 0x91, 0x3e, 0xbb, 0x69, 0x6e, 0x08, 0x63, 0x81, 0xb5, 0xec, 0x42, 0x7b, 0x1f}},
    {VID_NATT_02, 16,
        {0xcd, 0x60, 0x46, 0x43, 0x35, 0xdf, 0x21, 0xf8, 0x7c, 0xfd, 0xb2, 0xfc, 0x68, 0xb6, 0xa4, 0x48}},
    /* RFC 3706, 5.1, version 1.0 */
    {VID_DPD, 16,
        {0xaf, 0xca, 0xd7, 0x13, 0x68, 0xa1, 0xf1, 0xc9, 0x6b, 0x86, 0x96, 0xfc, 0x77, 0x57, 0x01, 0x00}},
    /* draft-ietf-ipsec-isakmp-xauth-06, 2. */
    {VID_XAUTH, 8, {0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12}},
    {VID_UNITY, 16,
        {0x12, 0xf5, 0xf2, 0x8c, 0x45, 0x71, 0x68, 0xa9, 0x70, 0x2d, 0x9f, 0xe2, 0x74, 0xcc, 0x01, 0x00}},
    /* MD5 of "FRAGMENTATION" and four bytes of flags, which some leave out: in main and aggressive mode */
    {VID_FRAG, 20,
        {0x40, 0x48, 0xb7, 0xd5, 0x6e, 0xbc, 0xe8, 0x85, 0x25, 0xe7, 0xde, 0x7f, 0x00, 0xd6, 0xc2, 0xd3, 0x80,
            0x00, 0x00, 0x00}},
};

static bool add(struct ike_sa *sa, struct message *m, enum vendor what)
{
	for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
		if (vendors[i].what == what) {
			struct payload *p = message_add(&sa->step->a, m, PAYLOAD_V1_VENDOR);

			if (!p)
				return false;
			p->u.vendor1 = cy_slice(vendors[i].id, vendors[i].n);
		}
	return true;
}

bool v1_add_vendors(struct ike_sa *sa, struct message *m)
{
	static const enum vendor natt[] = {VID_NATT_RFC, VID_NATT_03, VID_NATT_02N, VID_NATT_02};
	struct v1 *v = v1_of(sa);
	const struct conn *c = sa->conn;
	bool ok = add(sa, m, VID_DPD);

	if (ok && (c->local.xauth_server || c->local.xauth_client))
		ok = add(sa, m, VID_XAUTH);
	if (ok && c->cisco_unity)
		ok = add(sa, m, VID_UNITY);
	if (ok && c->fragmentation != FRAG_NO)
		ok = add(sa, m, VID_FRAG);

	if (sa->initiator) {
		for (size_t i = 0; i < ARRAY_LEN(natt) && ok; i++)
			ok = add(sa, m, natt[i]);
	} else if (v->natt != V1_NATT_NONE && ok) {
		ok = add(sa, m,
		    v->natt == V1_NATT_RFC            ? VID_NATT_RFC
		        : v->natt == V1_NATT_DRAFT_03 ? VID_NATT_03
		                                      : VID_NATT_02N);
		if (ok && v->natt == V1_NATT_DRAFT_02) /* they are told apart by nothing else */
			ok = add(sa, m, VID_NATT_02);
	}
	return ok;
}

static void see(struct v1 *v, enum vendor what)
{
	enum v1_natt natt = what == VID_NATT_RFC          ? V1_NATT_RFC
	    : what == VID_NATT_03                         ? V1_NATT_DRAFT_03
	    : what == VID_NATT_02N || what == VID_NATT_02 ? V1_NATT_DRAFT_02
	                                                  : V1_NATT_NONE;

	if (natt > v->natt)
		v->natt = natt;
	v->peer_dpd |= what == VID_DPD;
	v->peer_xauth |= what == VID_XAUTH;
	v->peer_unity |= what == VID_UNITY;
	v->peer_fragments |= what == VID_FRAG;
}

static bool is_vendor(struct cy_slice id, size_t i)
{
	size_t n = vendors[i].n;

	if (vendors[i].what == VID_FRAG) /* whatever its flags */
		return id.n >= 16 && memcmp(id.p, vendors[i].id, 16) == 0;
	return id.n == n && memcmp(id.p, vendors[i].id, n) == 0;
}

void v1_read_vendors(struct ike_sa *sa, const struct payload *first)
{
	for (const struct payload *p = wire_find(first, PAYLOAD_V1_VENDOR); p;
	     p = wire_find_after(p, PAYLOAD_V1_VENDOR))
		for (size_t i = 0; i < ARRAY_LEN(vendors); i++)
			if (is_vendor(p->u.vendor1, i))
				see(v1_of(sa), vendors[i].what);
}

/* --- NAT discovery --------------------------------------------------------------------------------------------------------- */

/* HASH(CKY-I | CKY-R | address | port), RFC 3947, 3.2; its length, 0 on failure */
static size_t natd_hash(const struct ike_sa *sa, const struct cy_addr *a, uint8_t out[CY_MAX_HASH_LEN])
{
	const struct cy_hash_alg *alg = crypto_hash(sa->shard->d->crypto, v1_hash_of(sa->suite.prf));
	uint8_t buf[8 + 8 + 16 + 2];
	struct writer w = writer_of(buf, sizeof(buf));
	struct cy_slice in;

	write_u64(&w, sa->spi_i);
	write_u64(&w, sa->spi_r);
	write_bytes(&w, cy_slice(a->ip, cy_addr_len(a)));
	write_u16(&w, a->port);
	in = writer_slice(&w);
	return alg && alg->digest(alg, &in, 1, out) == CY_OK ? alg->len : 0;
}

static uint8_t natd_type(const struct ike_sa *sa)
{
	return v1_of(sa)->natt == V1_NATT_RFC ? PAYLOAD_V1_NATD : PAYLOAD_V1_NATD_DRAFT;
}

/* The first one is of the other end, the second ours. */
bool v1_add_natd(struct ike_sa *sa, struct message *m)
{
	uint8_t hash[CY_MAX_HASH_LEN];

	if (v1_of(sa)->natt == V1_NATT_NONE)
		return true;
	sa->encap_forced = sa->shard->d->tune.force_encap || (sa->conn && sa->conn->force_encap);
	for (int ours = 0; ours < 2; ours++) {
		size_t n = natd_hash(sa, ours ? &sa->local : &sa->remote, hash);
		struct payload *p = message_add(&sa->step->a, m, natd_type(sa));
		uint8_t *copy = n ? arena_dup(&sa->step->a, hash, n) : NULL;

		if (!p || !copy)
			return false;
		/* a source that the peer cannot find is a NAT before us: both ends encapsulate */
		if (ours && sa->encap_forced)
			sa->shard->d->env->random(sa->shard->d->env, copy, n);
		p->u.natd1 = cy_slice(copy, n);
	}
	return true;
}

void v1_check_natd(struct ike_sa *sa, const struct payload *first, const struct net_packet *p)
{
	uint8_t here[CY_MAX_HASH_LEN], there[CY_MAX_HASH_LEN];
	size_t n = natd_hash(sa, &p->dst, here), seen = 0;
	bool here_match = false, there_match = false;

	if (v1_of(sa)->natt == V1_NATT_NONE || !n || !natd_hash(sa, &p->src, there))
		return;
	for (const struct payload *d = first; d; d = d->next) {
		if (d->type != PAYLOAD_V1_NATD && d->type != PAYLOAD_V1_NATD_DRAFT)
			continue;
		if (seen++ == 0)
			here_match = d->u.natd1.n == n && memcmp(d->u.natd1.p, here, n) == 0;
		else
			there_match |= d->u.natd1.n == n && memcmp(d->u.natd1.p, there, n) == 0;
	}
	if (seen < 2)
		return;
	v1_of(sa)->peer_natt = true;
	sa->nat_here = !here_match;
	sa->nat_there = !there_match;
	if (sa->nat_here)
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "local host is behind NAT, sending keep alives");
	if (sa->nat_there)
		ike_note(
		    sa, LOG_IKE, CY_LOG_INFO, "remote host is behind NAT, or asks for UDP encapsulation");
}

/* RFC 3947, 4 */
void v1_float_ports(struct ike_sa *sa)
{
	if (!v1_of(sa)->peer_natt || sa->natt || !(sa->nat_here || sa->nat_there || sa->encap_forced))
		return;
	sa->natt = true;
	sa->local.port = sa->shard->d->tune.port_natt;
	sa->remote.port = sa->shard->d->tune.port_natt;
}
