/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fragments of the vendors (Cisco's, which Windows and the BSDs know as well): pieces of a whole message, header and all, each a
 * message in clear with one payload of type 132. No RFC; nobody authenticates a piece, so one set at a time is kept, within bounds,
 * for as long as those of IKEv2 (fragment_timeout) and in half of their memory (fragment_memory).
 */
#include <stdlib.h>

#include "daemon/ikev1/ikev1.h"
#include "daemon/wire/codec.h"

#define PIECES_MAX 64
#define OVERHEAD   (IKE_HEADER_LEN + GENERIC_HEADER_LEN + 4)

struct v1_pieces {
	uint16_t id;
	uint8_t last, have; /* last: how many there are, 0 not yet known */
	size_t bytes;
	struct cy_buf piece[PIECES_MAX];
};

void v1_pieces_drop(struct v1 *v)
{
	struct v1_pieces *f = v->pieces;

	if (!f)
		return;
	__atomic_fetch_sub(&v->sa->shard->m->c.fragment_bytes, sizeof(*f) + f->bytes, __ATOMIC_RELAXED);
	for (size_t i = 0; i < PIECES_MAX; i++)
		free(f->piece[i].p);
	free(f);
	v->pieces = NULL;
}

void v1_pieces_late(struct timer *t)
{
	struct ike_sa *sa = container_of(t, struct ike_sa, t_fragments);
	struct v1 *v = v1_of(sa);

	if (v && v->pieces) {
		SA_COUNT(sa->shard->m, drop_fragment_timeout);
		v1_pieces_drop(v);
	}
}

static struct net_packet *join(const struct v1_pieces *f, const struct net_packet *like)
{
	struct net_packet *p = malloc(sizeof(*p) + f->bytes);
	size_t at = 0;

	if (!p)
		return NULL;
	*p = *like;
	list_init(&p->node);
	p->len = (uint32_t)f->bytes;
	for (uint8_t i = 0; i < f->last; i++) {
		memcpy(p->data + at, f->piece[i].p, f->piece[i].n);
		at += f->piece[i].n;
	}
	if (wire_header_parse(cy_slice(p->data, p->len), &p->h) || p->h.major != 1 ||
	    p->h.next == PAYLOAD_V1_FRAGMENT) {
		net_packet_free(p);
		return NULL;
	}
	return p;
}

/* False: it does not fit, or there is no memory. */
static bool add(struct v1_pieces *f, const struct v1_fragment *in, size_t max)
{
	struct cy_buf *b = &f->piece[in->number - 1];

	if (b->p)
		return cy_slice_eq(cy_slice(b->p, b->n), in->data);
	if ((f->last && in->number > f->last) || (in->last && f->last) || f->bytes + in->data.n > max)
		return false;
	for (uint8_t i = in->number; in->last && i < PIECES_MAX; i++)
		if (f->piece[i].p)
			return false; /* behind the last one */
	b->p = malloc(in->data.n);
	if (!b->p)
		return false;
	memcpy(b->p, in->data.p, in->data.n);
	b->n = in->data.n;
	f->bytes += b->n;
	f->have++;
	if (in->last)
		f->last = in->number;
	return true;
}

/* One set for an IKE_SA, and a limit for all together. False: no room. */
static bool take_piece(struct ike_sa *sa, const struct v1_fragment *in)
{
	struct sa_shard *s = sa->shard;
	const struct tuning *t = &s->d->tune;
	struct v1 *v = v1_of(sa);
	size_t before;
	bool ok;

	if (v->pieces && v->pieces->id != in->id)
		v1_pieces_drop(v);
	if (SA_READ(s->m, fragment_bytes) + (v->pieces ? 0 : sizeof(*v->pieces)) + in->data.n >
	    t->fragment_memory / 2) {
		SA_COUNT(s->m, drop_fragment_memory);
		return false;
	}
	if (!v->pieces) {
		v->pieces = calloc(1, sizeof(*v->pieces));
		if (!v->pieces)
			return false;
		v->pieces->id = in->id;
		__atomic_fetch_add(&s->m->c.fragment_bytes, sizeof(*v->pieces), __ATOMIC_RELAXED);
		worker_timer_set(s->w, &sa->t_fragments, worker_now(s->w) + t->fragment_timeout_ns);
	}
	before = v->pieces->bytes;
	ok = add(v->pieces, in, t->max_packet * 8);
	__atomic_fetch_add(&s->m->c.fragment_bytes, v->pieces->bytes - before, __ATOMIC_RELAXED);
	return ok;
}

/* Owns p. The whole message when this was the piece that completed it, else NULL. */
struct net_packet *v1_fragment(struct ike_sa *sa, struct net_packet *p)
{
	struct v1 *v = v1_of(sa);
	struct wire_error why = {0};
	struct net_packet *whole = NULL;
	struct payload *first;
	struct arena a;
	bool ok;

	arena_init(&a, 4096);
	ok = sa->conn && sa->conn->fragmentation != FRAG_NO &&
	    wire_v1_chain_parse(&a, p->h.next, cy_slice(p->data + IKE_HEADER_LEN, p->len - IKE_HEADER_LEN),
	        false, &first, &why) == CY_OK &&
	    first->u.fragment1.number <= PIECES_MAX;
	ok = ok && take_piece(sa, &first->u.fragment1);
	if (ok && v->pieces->last && v->pieces->have == v->pieces->last) {
		whole = join(v->pieces, p);
		ok = whole != NULL;
		v1_pieces_drop(v);
	}
	if (!ok)
		SA_COUNT(sa->shard->m, drop_fragment);
	arena_fini(&a);
	net_packet_free(p);
	return whole;
}

/* One message into as many datagrams as it needs. */
bool v1_split_message(struct ike_sa *sa, struct v1_exchange *x, struct cy_slice message)
{
	struct v1 *v = v1_of(sa);
	size_t size = sa->shard->d->tune.fragment_size, ip = (sa->local.family == AF_INET6 ? 40 : 20) + 8 + 4;
	size_t room = size > ip + OVERHEAD + 200 ? size - ip - OVERHEAD : 200;
	uint8_t number = 1;

	if (!v->peer_fragments || !sa->conn || sa->conn->fragmentation == FRAG_NO ||
	    sa->conn->fragmentation == FRAG_ACCEPT || message.n <= size - ip)
		return sent_add(&x->sent, message);
	v->fragment_id++;
	for (size_t at = 0; at < message.n; number++) {
		size_t n = message.n - at < room ? message.n - at : room;
		uint8_t *buf = malloc(OVERHEAD + n);
		struct writer w = writer_of(buf, OVERHEAD + n);
		struct ike_header h = {.spi_i = sa->spi_i,
		    .spi_r = sa->spi_r,
		    .next = PAYLOAD_V1_FRAGMENT,
		    .major = 1,
		    .exchange = x->type,
		    .msgid = x->msgid};
		bool ok;

		if (!buf || number > PIECES_MAX) {
			free(buf);
			return false;
		}
		wire_header_encode(&h, &w);
		write_u16(&w, 0);
		write_u16(&w, (uint16_t)(GENERIC_HEADER_LEN + 4 + n));
		write_u16(&w, v->fragment_id);
		write_u8(&w, number);
		write_u8(&w, at + n == message.n);
		write_bytes(&w, cy_slice(message.p + at, n));
		wire_length_set(&w, 0);
		ok = sent_add(&x->sent, writer_slice(&w));
		free(buf);
		if (!ok)
			return false;
		at += n;
	}
	return true;
}
