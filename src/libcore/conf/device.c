/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ties a connection's traffic to a device: marks with VTI devices, if_ids with XFRM interfaces. And how many SAs it
 * may have, one a CPU.
 */

#include <net/if.h>
#include <stdio.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

/* ---- setters */

SETTER(set_mark)
{
	if (arg == MARK_BOTH)
		b->later.mark = e;
	else if (arg == MARK_IN)
		b->later.mark_in = e;
	else
		b->later.mark_out = e;
	return true;
}

SETTER(set_if_id)
{
	b->later.if_id[arg] = e;
	return true;
}

SETTER(set_vti)
{
	b->later.vti[arg] = e;
	return true;
}

SETTER(set_ipsec_interface)
{
	(void)arg;
	b->later.ipsec_interface = e;
	return true;
}

SETTER(set_device_addr)
{
	struct conn_end *end = build_end(b, e->right);
	struct cy_addr a;
	char text[64];
	size_t n = strcspn(e->value, "/");
	uint64_t prefix = 0;

	(void)arg;
	if (n >= sizeof(text))
		return build_bad_value(b, e, "write it as 10.3.0.1/24", "not an address");
	memcpy(text, e->value, n);
	text[n] = 0;
	if (addr_parse(text, &a))
		return build_bad_value(b, e, "write it as 10.3.0.1/24", "not an address");
	prefix = cy_addr_len(&a) * 8;
	if (e->value[n] && (!value_u64(e->value + n + 1, &prefix) || prefix > cy_addr_len(&a) * 8))
		return build_bad_value(b, e, "write it as 10.3.0.1/24", "a bad prefix length");
	end->device_addr = a;
	end->device_addr.port = 0;
	end->device_prefix = (uint8_t)prefix;
	b->later.device_addr = e;
	return true;
}

SETTER(set_per_cpu)
{
	static const struct name words[] = {
	    {PCPU_NO, "no"}, {PCPU_YES, "yes"}, {PCPU_ENCAP, "encap"}, {0, NULL}};
	uint32_t v;

	(void)arg;
	if (!build_enum(b, e, words, &v))
		return false;
	b->c->per_cpu = (enum conn_pcpu)v;
	b->later.per_cpu = e;
	return true;
}

SETTER(set_clones)
{
	uint64_t v;

	(void)arg;
	if (!value_u64(e->value, &v) || v > CONN_CLONES_MAX)
		return build_bad_value(
		    b, e, "write how many SAs there may be besides the first", "not a number from 0 to 1024");
	b->c->clones = (uint32_t)v;
	b->later.clones = e;
	return true;
}

/* ---- marks and if_ids */

static enum conn_own_id own_id(const struct build *b, const struct raw_entry *e)
{
	size_t n = strcspn(e->value, "/");

	if (b->dialect == SS && n == 7 && strncasecmp(e->value, "%unique", n) == 0)
		return OWN_ID_CHILD;
	if (b->dialect == SS && n == 11 && strncasecmp(e->value, "%unique-dir", n) == 0)
		return OWN_ID_DIRECTION;
	if (b->dialect == LS && n == 2 && strncmp(e->value, "-1", n) == 0)
		return OWN_ID_CHILD;
	return OWN_ID_NO;
}

static bool take_mark(
    struct build *b, const struct raw_entry *e, struct cy_mark *out, enum conn_own_id *out_own)
{
	const char *slash = strchr(e->value, '/');
	char text[64];

	*out_own = own_id(b, e);
	if (*out_own != OWN_ID_NO) {
		snprintf(text, sizeof(text), "0%s", slash ? slash : "");
		if (value_mark(text, out))
			return true;
	} else if (value_mark(e->value, out)) {
		return true;
	}
	return build_bad_value(b, e, "write it as 20 or 0x14/0xff", "not a mark");
}

static bool finish_marks(struct build *b)
{
	struct conn *c = b->c;
	bool good = true;

	if (b->later.mark) {
		good = take_mark(b, b->later.mark, &c->mark_in, &c->mark_in_own);
		c->mark_out = c->mark_in;
		c->mark_out_own = c->mark_in_own;
	}
	if (b->later.mark_in)
		good = take_mark(b, b->later.mark_in, &c->mark_in, &c->mark_in_own) && good;
	if (b->later.mark_out)
		good = take_mark(b, b->later.mark_out, &c->mark_out, &c->mark_out_own) && good;
	return good;
}

static bool take_if_id(struct build *b, const struct raw_entry *e, uint32_t *out, enum conn_own_id *out_own)
{
	uint64_t v = 0;

	*out_own = own_id(b, e);
	if (*out_own == OWN_ID_NO && (!value_u64(e->value, &v) || v > UINT32_MAX))
		return build_bad_value(
		    b, e, "write a number, %unique or %unique-dir", "not the number of an interface");
	*out = (uint32_t)v;
	return true;
}

static bool finish_if_ids(struct build *b)
{
	struct conn *c = b->c;
	bool good = true;

	if (b->later.if_id[MARK_BOTH]) {
		good = take_if_id(b, b->later.if_id[MARK_BOTH], &c->if_id_in, &c->if_id_in_own);
		c->if_id_out = c->if_id_in;
		c->if_id_out_own = c->if_id_in_own;
	}
	if (b->later.if_id[MARK_IN])
		good = take_if_id(b, b->later.if_id[MARK_IN], &c->if_id_in, &c->if_id_in_own) && good;
	if (b->later.if_id[MARK_OUT])
		good = take_if_id(b, b->later.if_id[MARK_OUT], &c->if_id_out, &c->if_id_out_own) && good;
	return good;
}

/* ---- devices */

static bool bad_name(const char *s)
{
	size_t n = strlen(s);

	return n == 0 || n >= IFNAMSIZ || s[strcspn(s, "/: \t%")] || strcmp(s, ".") == 0 ||
	    strcmp(s, "..") == 0;
}

static bool take_flag(struct build *b, const struct raw_entry *e, bool *out)
{
	if (!e || value_bool(e->value, out))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

static bool finish_vti(struct build *b, const struct raw_entry *e)
{
	struct conn *c = b->c;

	if (bad_name(e->value))
		return build_bad_value(b, e, "write a name as ipsec0", "not the name of a network interface");
	if (c->type != TYPE_TUNNEL)
		return build_bad_value(b, e, "write type=tunnel", "a VTI device carries tunnels only");
	if (c->mark_in_own != OWN_ID_NO || c->mark_out_own != OWN_ID_NO)
		return build_bad_value(
		    b, e, "write a number for mark=", "a VTI device has one mark for all its tunnels");
	if (!c->mark_in.value || !c->mark_out.value)
		return build_bad_value(b, e, "write mark=, e.g. mark=20/0xffffffff",
		    "a VTI device finds its tunnels by their mark, and there is none");
	c->device.kind = CY_DEVICE_VTI;
	snprintf(c->device.name, sizeof(c->device.name), "%s", e->value);
	return true;
}

static bool finish_ipsec_interface(struct build *b, const struct raw_entry *e)
{
	struct conn *c = b->c;
	uint64_t number = 0;
	bool yes;

	if (!value_u64(e->value, &number) && value_bool(e->value, &yes))
		number = yes;
	else if (number > UINT32_MAX || !value_u64(e->value, &number))
		return build_bad_value(b, e, "write yes, no or a number", "not the number of an interface");
	if (!number)
		return true;
	c->device.kind = CY_DEVICE_XFRM;
	snprintf(c->device.name, sizeof(c->device.name), "ipsec%u", (uint32_t)number);
	c->device.shared = true;
	c->if_id_in = c->if_id_out = (uint32_t)number;
	return true;
}

bool finish_device(struct build *b)
{
	const struct raw_entry *vti = b->later.vti[VTI_INTERFACE], *xfrm = b->later.ipsec_interface;
	struct conn *c = b->c;
	bool good = finish_marks(b) && finish_if_ids(b);

	c->device.routing = true;
	c->device.managed = !b->setup->devices_unmanaged;
	good = take_flag(b, b->later.vti[VTI_ROUTING], &c->device.routing) && good;
	good = take_flag(b, b->later.vti[VTI_SHARED], &c->device.shared) && good;
	if (good && xfrm)
		good = finish_ipsec_interface(b, xfrm);
	if (good && vti && c->device.kind)
		return build_bad_value(
		    b, vti, "write one of them", "both vti-interface= and ipsec-interface=");
	if (good && vti)
		good = finish_vti(b, vti);
	if (!good)
		return false;
	if (!c->device.kind) {
		c->device = (struct conn_device){.managed = c->device.managed};
		for (int i = VTI_ROUTING; i <= VTI_SHARED; i++)
			if (b->later.vti[i])
				build_note(b, b->later.vti[i], CY_LOG_WARN, "write vti-interface=, too",
				    "%s= has no effect without vti-interface=", b->later.vti[i]->name);
		if (b->later.device_addr)
			build_note(b, b->later.device_addr, CY_LOG_WARN,
			    "write vti-interface= or ipsec-interface=, too",
			    "%s= has no effect: the connection has no device", b->later.device_addr->name);
		c->local.device_addr = c->remote.device_addr = (struct cy_addr){0};
		c->local.device_prefix = c->remote.device_prefix = 0;
	}
	return true;
}

/* ---- SAs of CPUs */

bool finish_per_cpu(struct build *b)
{
	struct conn *c = b->c;

	if (b->later.clones && !b->later.per_cpu)
		c->per_cpu = c->clones ? PCPU_YES : PCPU_NO;
	if (c->per_cpu != PCPU_NO && c->version == CONN_IKEV1)
		return build_bad_value(b, b->later.per_cpu ? b->later.per_cpu : b->later.clones,
		    "use keyexchange=ikev2", "IKEv1 has no SAs of CPUs");
	if (c->per_cpu == PCPU_ENCAP)
		c->force_encap = true;
	return true;
}
