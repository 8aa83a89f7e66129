/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of a connection that stand for themselves. */

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

#define YEAR_S (366ull * 86400)

static bool take_bool(struct build *b, const struct raw_entry *e, bool *out)
{
	if (value_bool(e->value, out))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_bool)
{
	return take_bool(b, e, (bool *)((char *)b->c + arg));
}

SETTER(set_end_bool)
{
	return take_bool(b, e, (bool *)((char *)build_end(b, e->right) + arg));
}

static bool take_ms(struct build *b, const struct raw_entry *e, uint64_t *out)
{
	if (!value_ms(e->value, out))
		return build_bad_value(b, e, "write a number with s, m, h or d, as in 30s", "not a time");
	if (*out > YEAR_S * 1000)
		return build_bad_value(b, e, "write at most 366d", "more than a year");
	return true;
}

static bool take_seconds(struct build *b, const struct raw_entry *e, uint32_t *out)
{
	uint64_t ms;

	if (!take_ms(b, e, &ms))
		return false;
	*out = (uint32_t)((ms + 999) / 1000);
	return true;
}

SETTER(set_seconds)
{
	return take_seconds(b, e, (uint32_t *)(void *)((char *)b->c + arg));
}

static bool take_u32(struct build *b, const struct raw_entry *e, uint32_t max, uint32_t *out)
{
	char hint[64];
	uint64_t v;

	if (value_u64(e->value, &v) && v <= max) {
		*out = (uint32_t)v;
		return true;
	}
	snprintf(hint, sizeof(hint), "write a number from 0 to %u", max);
	return build_bad_value(b, e, hint, "not such a number");
}

SETTER(set_u32)
{
	return take_u32(b, e, UINT32_MAX - 1, (uint32_t *)(void *)((char *)b->c + arg));
}

SETTER(set_u64)
{
	uint64_t *out = (uint64_t *)(void *)((char *)b->c + arg);

	if (value_u64(e->value, out) || value_bytes(e->value, out))
		return true;
	return build_bad_value(b, e, "write a number, which may end in k, M or G", "not a number");
}

SETTER(set_percent)
{
	char digits[16];
	size_t n = strlen(e->value);
	uint64_t v;

	if (n && e->value[n - 1] == '%')
		n--;
	if (n < sizeof(digits)) {
		memcpy(digits, e->value, n);
		digits[n] = 0;
		if (value_u64(digits, &v) && v <= 1000) {
			*(uint32_t *)(void *)((char *)b->c + arg) = (uint32_t)v;
			return true;
		}
	}
	return build_bad_value(b, e, "write something like 100%", "not a percentage from 0% to 1000%");
}

SETTER(set_auto)
{
	static const struct name strongswan[] = {{AUTO_ADD, "add"}, {AUTO_ROUTE, "route"},
	    {AUTO_START, "start"}, {AUTO_IGNORE, "ignore"}, {0, NULL}};
	static const struct name libreswan[] = {{AUTO_ADD, "add"}, {AUTO_ROUTE, "ondemand"},
	    {AUTO_ROUTE, "route"}, {AUTO_START, "start"}, {AUTO_START, "up"}, {AUTO_KEEP, "keep"},
	    {AUTO_IGNORE, "ignore"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, b->dialect == LS ? libreswan : strongswan, &v))
		return false;
	b->c->start = (enum conn_auto)v;
	b->later.start = e;
	return true;
}

SETTER(set_type)
{
	static const struct name strongswan[] = {{TYPE_TUNNEL, "tunnel"}, {TYPE_TRANSPORT, "transport"},
	    {TYPE_PASS, "passthrough"}, {TYPE_PASS, "pass"}, {TYPE_DROP, "drop"}, {0, NULL}};
	static const struct name libreswan[] = {{TYPE_TUNNEL, "tunnel"}, {TYPE_TRANSPORT, "transport"},
	    {TYPE_PASS, "passthrough"}, {TYPE_DROP, "drop"}, {TYPE_DROP, "reject"}, {0, NULL}};
	uint32_t v;

	if (strcasecmp(e->value, "transport_proxy") == 0 || strcasecmp(e->value, "beet") == 0)
		return build_bad_value(b, e, "write type=tunnel or type=transport", "this mode is not built");
	if (!build_enum(b, e, b->dialect == LS ? libreswan : strongswan, &v))
		return false;
	b->c->type = (enum conn_type)v;
	return true;
}

SETTER(set_keyexchange)
{
	static const struct name words[] = {
	    {CONN_IKE_ANY, "ike"}, {CONN_IKEV1, "ikev1"}, {CONN_IKEV2, "ikev2"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	b->c->version = (enum conn_version)v;
	b->later.keyexchange = e;
	if (b->dialect == LS && v == CONN_IKE_ANY) {
		build_note(b, e, CY_LOG_NOTICE, "write keyexchange=ikev2", "keyexchange=ike is an old value");
		b->c->version = CONN_IKEV2;
		b->later.keyexchange = NULL; /* ikev2= of such an old file decides (build_finish) */
	}
	return true;
}

SETTER(set_ikev2)
{
	static const struct name words[] = {{CONN_IKEV1, "no"}, {CONN_IKEV1, "never"}, {CONN_IKEV2, "yes"},
	    {CONN_IKEV2, "insist"}, {CONN_IKEV2, "permit"}, {CONN_IKEV2, "propose"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	build_note(b, e, CY_LOG_NOTICE,
	    v == CONN_IKEV1 ? "write keyexchange=ikev1" : "write keyexchange=ikev2",
	    "ikev2= is an old spelling");
	b->later.ikev2 = e;
	b->later.ikev2_version = (enum conn_version)v;
	return true;
}

SETTER(set_fragmentation)
{
	static const struct name strongswan[] = {
	    {FRAG_YES, "yes"}, {FRAG_ACCEPT, "accept"}, {FRAG_FORCE, "force"}, {FRAG_NO, "no"}, {0, NULL}};
	static const struct name libreswan[] = {
	    {FRAG_YES, "yes"}, {FRAG_FORCE, "force"}, {FRAG_NO, "no"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, b->dialect == LS ? libreswan : strongswan, &v))
		return false;
	b->c->fragmentation = (enum conn_frag)v;
	return true;
}

SETTER(set_dpdaction)
{
	b->later.dpdaction = e;
	return true;
}

SETTER(set_dpddelay)
{
	b->later.dpddelay = e;
	return take_seconds(b, e, &b->c->dpd_delay_s);
}

SETTER(set_dpdtimeout)
{
	return take_seconds(b, e, &b->c->dpd_timeout_s);
}

static const struct name dpd_words[] = {{DPD_NONE, "none"}, {DPD_CLEAR, "clear"}, {DPD_HOLD, "hold"},
    {DPD_RESTART, "restart"}, {DPD_RESTART, "restart_by_peer"}, {0, NULL}};

SETTER(set_closeaction)
{
	uint32_t v;

	if (!build_enum(b, e, dpd_words, &v))
		return false;
	b->c->close_action = (enum conn_dpd)v;
	return true;
}

SETTER(set_keyingtries)
{
	uint32_t v;

	if (strcasecmp(e->value, "%forever") == 0)
		v = 0;
	else if (!take_u32(b, e, 1000000, &v))
		return false;
	/* libreswan tries for ever whatever this says */
	if (b->dialect == SS)
		b->c->keyingtries = v;
	return true;
}

SETTER(set_mobike)
{
	if (!take_bool(b, e, &b->c->mobike))
		return false;
	if (b->c->mobike)
		build_note(b, e, CY_LOG_WARN, "", "mobike=yes has no effect: MOBIKE is not built yet");
	return true;
}

SETTER(set_ikedscp)
{
	uint8_t v = 0;
	size_t n = strlen(e->value);

	for (size_t i = 0; i < n; i++) {
		if ((e->value[i] != '0' && e->value[i] != '1') || n > 6)
			return build_bad_value(b, e, "write something like 101110", "not six binary digits");
		v = (uint8_t)(v << 1 | (e->value[i] == '1'));
	}
	b->c->ike_dscp = v;
	return true;
}

SETTER(set_replay)
{
	return take_u32(b, e, 4096, &b->c->replay_window);
}

SETTER(set_esn)
{
	if (strcasecmp(e->value, "either") == 0 || strcasecmp(e->value, "both") == 0) {
		b->c->allow_esn = true;
		b->c->require_esn = false;
		return true;
	}
	if (!value_bool(e->value, &b->c->allow_esn))
		return build_bad_value(b, e, "write yes, no or either", "no such value");
	b->c->require_esn = b->c->allow_esn;
	return true;
}

SETTER(set_encapsulation)
{
	if (strcasecmp(e->value, "auto") == 0) {
		b->c->force_encap = false;
		return true;
	}
	if (!value_bool(e->value, &b->c->force_encap))
		return build_bad_value(b, e, "write yes, no or auto", "no such value");
	if (!b->c->force_encap && strcasecmp(e->value, "no") == 0)
		build_note(b, e, CY_LOG_WARN, "write encapsulation=auto",
		    "encapsulation=no has no effect: behind a NAT packets are encapsulated");
	return true;
}

SETTER(set_encap_dscp)
{
	return take_bool(b, e, &b->later.encap_dscp);
}

SETTER(set_decap_dscp)
{
	return take_bool(b, e, &b->later.decap_dscp);
}

SETTER(set_retransmit)
{
	uint64_t ms;

	/* an interval without a unit is milliseconds, a timeout seconds */
	if ((arg != 0 || !value_u64(e->value, &ms) || ms > YEAR_S) && !take_ms(b, e, &ms))
		return false;
	if (arg == 0)
		b->later.interval_ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	else
		b->later.timeout_ms = ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
	return true;
}

SETTER(set_phase2)
{
	static const struct name words[] = {{0, "esp"}, {1, "ah"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	b->c->child_ah = v;
	return true;
}

SETTER(set_require_id)
{
	bool v;

	if (!take_bool(b, e, &v))
		return false;
	if (!v)
		build_note(b, e, CY_LOG_WARN, "",
		    "%s=no has no effect: an identity must be in its certificate", e->name);
	return true;
}

SETTER(set_family)
{
	static const struct name words[] = {{4, "ipv4"}, {6, "ipv6"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	if (arg)
		b->later.hostfamily = e;
	return true;
}

/* ---- proposals */

static uint32_t text_hash(const char *s, enum proposal_proto proto)
{
	uint32_t h = 2166136261u ^ (uint32_t)proto;

	while (*s)
		h = (h ^ (unsigned char)*s++) * 16777619u;
	return h;
}

bool build_proposals(struct build *b, const struct raw_entry *e, enum proposal_proto proto,
    struct proposal_list *out, bool *out_strict)
{
	struct cached_proposal *c = &b->cache[text_hash(e->value, proto) % PROPOSAL_CACHE];
	enum cy_err err;
	char *why = NULL;

	if (!c->text || c->proto != proto || strcmp(c->text, e->value) != 0) {
		free(c->text);
		proposal_list_fini(&c->list);
		memset(c, 0, sizeof(*c));
		err =
		    proposal_parse(e->value, proto, b->dialect == LS, &c->list, &c->strict, &c->legacy, &why);
		if (err) {
			proposal_list_fini(&c->list);
			memset(c, 0, sizeof(*c));
			if (err == CY_E_NOMEM)
				return build_nomem(b);
			build_fault(b, e, "", "%s=%.200s: %s", e->name, e->value, why ? why : err_text(err));
			free(why);
			return false;
		}
		free(why);
		c->proto = proto;
		c->text = strdup(e->value);
		if (!c->text)
			return build_nomem(b);
	}
	proposal_list_fini(out);
	memset(out, 0, sizeof(*out));
	if (proposal_list_dup(out, &c->list))
		return build_nomem(b);
	/* libreswan's list replaces the defaults */
	*out_strict = c->strict || b->dialect == LS;
	if (c->legacy) {
		char hint[256] = "write ";
		size_t at = strlen(hint);

		(void)proposal_legacy_str(&c->list, hint + at, sizeof(hint) - at);
		build_note(b, e, CY_LOG_WARN, hint,
		    "%s=%.200s has what is weak today, for peers that have nothing better", e->name,
		    e->value);
	}
	return true;
}

SETTER(set_ike)
{
	return build_proposals(b, e, PROTO_IKE, &b->c->ike, &b->c->ike_strict);
}

/* build_finish() knows whether esp= are the algorithms of AH. */
SETTER(set_esp)
{
	b->later.esp = e;
	return true;
}

SETTER(set_ah)
{
	b->later.ah = e;
	return true;
}
