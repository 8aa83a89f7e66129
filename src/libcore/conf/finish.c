/* SPDX-License-Identifier: Apache-2.0 */
/* What depends on several keys of a connection, once all are read. */

#include <stdlib.h>
#include <strings.h>

#include "config.h"
#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

/* A fault of the connection as a whole. */
static bool conn_fault(struct build *b, const char *hint, const char *what)
{
	if (b->bad)
		return false; /* it may follow from another fault */
	b->bad = true;
	report_add(b->report, CY_LOG_ERROR, b->section->file->path, b->section->line, b->section->name, hint,
	    "%s", what);
	return false;
}

static bool finish_version(struct build *b)
{
	const struct raw_entry *e = b->later.keyexchange;

	if (b->later.ikev2 && !e) {
		e = b->later.ikev2;
		b->c->version = b->later.ikev2_version;
	}
	b->later.keyexchange = e;
#ifndef HAVE_IKEV1
	if (b->c->version == CONN_IKEV1 && e)
		return build_fault(b, e, "use keyexchange=ikev2 if the peer can",
		    "%s=%s: this cygnet is built without IKEv1", e->name, e->value);
#endif
	return true;
}

static bool finish_dpd(struct build *b)
{
	static const struct name words[] = {{DPD_NONE, "none"}, {DPD_CLEAR, "clear"}, {DPD_HOLD, "hold"},
	    {DPD_RESTART, "restart"}, {DPD_RESTART, "restart_by_peer"}, {0, NULL}};
	uint32_t v = DPD_NONE;

	if (b->later.dpdaction && !build_enum(b, b->later.dpdaction, words, &v))
		return false;
	b->c->dpd_unsaid = !b->later.dpddelay && !(b->later.dpdaction && v == DPD_NONE && b->dialect == SS);
	if (b->dialect == SS) {
		b->c->dpd_action = (enum conn_dpd)v;
		if (v == DPD_NONE) {
			if (b->later.dpddelay && b->c->dpd_delay_s)
				build_note(b, b->later.dpddelay, CY_LOG_NOTICE,
				    "write dpdaction=clear, hold or restart, too",
				    "dpddelay= has no effect without dpdaction=");
			b->c->dpd_delay_s = 0;
		}
		return true;
	}
	/* libreswan's delay alone switches it on, and what starts the connection decides what follows */
	if (b->later.dpdaction)
		build_note(b, b->later.dpdaction, CY_LOG_NOTICE, "remove it",
		    "dpdaction= has no effect in libreswan's dialect: auto= decides");
	switch (b->c->start) {
	case AUTO_START:
	case AUTO_KEEP:
		v = DPD_RESTART;
		break;
	case AUTO_ROUTE:
		v = DPD_HOLD;
		break;
	default:
		v = DPD_CLEAR;
	}
	b->c->dpd_action = b->c->dpd_delay_s || b->c->dpd_unsaid ? (enum conn_dpd)v : DPD_NONE;
	b->c->close_action = v == DPD_RESTART ? DPD_RESTART : DPD_NONE;
	return true;
}

/* ESN by the proposals of strongSwan, where it is a transform. */
static void finish_esn(struct conn *c)
{
	bool with = false, without = false;

	for (size_t i = 0; i < c->child.n; i++) {
		const struct proposal *p = &c->child.p[i];
		bool any = false;

		for (size_t j = 0; j < p->n; j++)
			if (p->t[j].type == TRANSFORM_ESN) {
				any = true;
				*(p->t[j].id ? &with : &without) = true;
			}
		without = without || !any;
	}
	c->allow_esn = with;
	c->require_esn = with && !without;
}

/* libreswan has a key for it instead: the transforms are made to fit. Longer sequence numbers are preferred. */
static bool apply_esn(struct build *b)
{
	struct conn *c = b->c;

	for (size_t i = 0; i < c->child.n; i++) {
		struct proposal *p = &c->child.p[i];
		uint8_t n = 0;

		for (size_t j = 0; j < p->n; j++)
			if (p->t[j].type != TRANSFORM_ESN)
				p->t[n++] = p->t[j];
		if (n + 2 > PROPOSAL_MAX_TRANSFORMS)
			return build_bad_value(b, b->later.ah ? b->later.ah : b->later.esp, "write fewer",
			    "too many algorithms");
		if (c->allow_esn)
			p->t[n++] = (struct transform){.type = TRANSFORM_ESN, .id = 1};
		if (!c->require_esn)
			p->t[n++] = (struct transform){.type = TRANSFORM_ESN, .id = 0};
		p->n = n;
	}
	return true;
}

/* The daemon multiplies the wait by 1.8 each time (cygnet.conf has it); tries until libreswan's total is reached. */
static void finish_retransmit(struct build *b)
{
	uint64_t wait = b->later.interval_ms ? b->later.interval_ms : 500;
	uint64_t total = b->later.timeout_ms ? b->later.timeout_ms : 60000, sum = wait;
	uint32_t tries = 0;

	if (!b->later.interval_ms && !b->later.timeout_ms)
		return;
	b->c->retransmit_timeout_ms = (uint32_t)wait;
	while (sum < total && tries < 30) {
		wait = wait * 9 / 5;
		sum += wait;
		tries++;
	}
	b->c->retransmit_tries = tries ? tries : 1;
}

static bool is_open(const struct host_spec *h)
{
	return (h->any || h->any_ip6) && !h->n_ranges && !h->dns.n && !h->defaultroute;
}

static bool finish_orientation(struct build *b)
{
	struct conn *c = b->c;
	struct host_spec *l = &c->local.host, *r = &c->remote.host;

	if (l->defaultroute && r->defaultroute)
		return conn_fault(
		    b, "write the peer's address for one of them", "left= and right= are both %defaultroute");
	if (b->dialect == LS && (!b->end[0].host || !b->end[1].host))
		return conn_fault(b, "write right=%any when any peer may come",
		    b->end[0].host ? "right= is missing" : "left= is missing");
	/* libreswan says %any of a peer; strongSwan also of this host, whichever address it has */
	if (r->defaultroute || (b->dialect == LS && is_open(l) && !is_open(r) && !l->defaultroute))
		conn_swap_ends(c);
	if (is_open(&c->remote.host) && (c->start == AUTO_START || c->start == AUTO_KEEP) &&
	    c->type <= TYPE_TRANSPORT)
		build_note(b, b->later.start, CY_LOG_WARN, "write auto=add",
		    "auto=%s cannot start it: the peer may be anywhere", b->later.start->value);
	return true;
}

static bool finish_child(struct build *b)
{
	const struct raw_entry *e = b->later.esp;
	struct conn *c = b->c;

	if (b->later.ah && e)
		return build_bad_value(b, e, "write one of them", "both esp= and ah=");
	if (b->later.ah) {
		e = b->later.ah;
		c->child_ah = true;
	}
	/* phase2=ah, or auth=ah, makes esp= the algorithms of AH */
	if (e && !build_proposals(b, e, c->child_ah ? PROTO_AH : PROTO_ESP, &c->child, &c->child_strict))
		return false;
	if (b->dialect == SS)
		finish_esn(c);
	else if (!apply_esn(b))
		return false;
	if (c->rekey_margin_s && c->rekey) {
		uint32_t margin = c->rekey_margin_s;

		/* a margin that leaves nothing would rekey without end */
		if ((c->ike_lifetime_s && c->ike_lifetime_s <= margin) ||
		    (c->child_lifetime_s && c->child_lifetime_s <= margin))
			return conn_fault(b, "make rekeymargin= (margintime=) smaller or the lifetime longer",
			    "a lifetime is not longer than the margin for rekeying before it ends");
	}
	return true;
}

bool build_finish(struct build *b)
{
	struct conn *c = b->c;
	bool good = finish_version(b);

	good = finish_end(b, false) && good;
	good = finish_end(b, true) && good;
	good = finish_addresses(b, false) && good;
	good = finish_addresses(b, true) && good;
	good = finish_auth(b) && good;
	good = finish_xauth(b) && good;
	good = finish_dpd(b) && good;
	good = finish_child(b) && good;
	good = finish_orientation(b) && good;
	good = finish_device(b) && good;
	good = finish_per_cpu(b) && good;
	finish_retransmit(b);
	c->unique = b->setup->unique;
	good = finish_remote_access(b) && good;
	if (b->later.encap_dscp)
		c->copy_dscp = b->later.decap_dscp ? CY_DSCP_YES : CY_DSCP_OUT;
	else
		c->copy_dscp = b->later.decap_dscp ? CY_DSCP_IN : CY_DSCP_NO;
	return good && !b->bad;
}
