/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/conf/keys.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/base/names.h"
#include "libcore/conf/build.h"

#define AT(field)                                          offsetof(struct conn, field)
#define END_AT(field)                                      offsetof(struct conn_end, field)
#define K(name, sections, dialects, state, text, set, arg) {name, sections, dialects, state, text, set, arg},

const struct key conf_keys[] = {
#include "libcore/conf/keys.def"
};
const size_t conf_n_keys = ARRAY_LEN(conf_keys);

_Static_assert(ARRAY_LEN(conf_keys) < KEY_MAX, "KEY_MAX is too small");

uint16_t key_find(const char *name, size_t n, bool *out_right, uint64_t *steps)
{
	char lower[48];
	size_t lo = 0, hi = conf_n_keys, at = 0;

	*out_right = false;
	if (n == 0 || n >= sizeof(lower) - 1)
		return KEY_NONE;
	if (n >= 5 && strncasecmp(name, "right", 5) == 0) {
		*out_right = true;
		memcpy(lower, "left", 4);
		name += 5;
		n -= 5;
		at = 4;
	}
	for (size_t i = 0; i < n; i++)
		lower[at++] = (char)tolower((unsigned char)name[i]);
	lower[at] = 0;
	/* the first of the rows that are not smaller */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		++*steps;
		if (strcmp(conf_keys[mid].name, lower) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == conf_n_keys || strcmp(conf_keys[lo].name, lower) != 0)
		return KEY_NONE;
	return (uint16_t)lo;
}

static bool same_name(uint16_t a, uint16_t b)
{
	return b < conf_n_keys && strcmp(conf_keys[a].name, conf_keys[b].name) == 0;
}

uint16_t key_in_dialect(uint16_t first, unsigned dialects)
{
	for (uint16_t k = first; same_name(first, k); k++)
		if (conf_keys[k].dialects & dialects)
			return k;
	return KEY_NONE;
}

unsigned key_dialects(uint16_t first)
{
	unsigned all = 0;

	for (uint16_t k = first; same_name(first, k); k++)
		all |= conf_keys[k].dialects;
	return all;
}

bool key_is_sided(const struct key *k)
{
	return strncmp(k->name, "left", 4) == 0;
}

const char *key_name(const struct key *k, bool right, char *buf, size_t cap)
{
	if (!right)
		return k->name;
	snprintf(buf, cap, "right%s", k->name + 4);
	return buf;
}

const char *key_nearest(const char *typed, unsigned sections, unsigned dialects, char *buf, size_t cap)
{
	const char *names[KEY_MAX + 1];
	bool right = strncasecmp(typed, "right", 5) == 0;
	char left[48];
	const char *found;
	size_t n = 0;

	if (right) {
		if (strlen(typed) + 1 > sizeof(left))
			return NULL;
		snprintf(left, sizeof(left), "left%s", typed + 5);
		typed = left;
	}
	for (size_t i = 0; i < conf_n_keys; i++) {
		const struct key *k = &conf_keys[i];

		if ((k->sections & sections) && (k->dialects & dialects) && k->state != DEAD &&
		    (!right || key_is_sided(k)))
			names[n++] = k->name;
	}
	names[n] = NULL;
	found = name_nearest(names, typed);
	if (!found || !right)
		return found;
	snprintf(buf, cap, "right%s", found + 4);
	return buf;
}

const char *key_counterpart(const char *name)
{
	static const char *const pairs[][2] = {{"leftaddresspool", "leftsourceip"},
	    {"salifetime", "lifetime"}, {"ipsec-lifetime", "lifetime"}, {"phase2alg", "esp"},
	    {"encapsulation", "forceencaps"}, {"forceencaps", "encapsulation"},
	    {"replay-window", "replay_window"}, {"replay_window", "replay-window"}, {"mark-in", "mark_in"},
	    {"mark_in", "mark-in"}, {"mark-out", "mark_out"}, {"mark_out", "mark-out"},
	    {"sha2-truncbug", "sha256_96"}, {"sha256_96", "sha2-truncbug"}, {"leftsigkey", "leftrsasigkey"},
	    {"leftpubkey", "leftsigkey"}, {"leftecdsakey", "leftsigkey"}, {"lefteddsakey", "leftsigkey"},
	    {"aggrmode", "aggressive"}, {"ipsec-max-bytes", "lifebytes"}, {"lifebytes", "ipsec-max-bytes"},
	    {"ipsec-max-packets", "lifepackets"}, {"lifepackets", "ipsec-max-packets"},
	    {"margintime", "rekeymargin"}, {"ike-frag", "fragmentation"}, {"crl-strict", "strictcrlpolicy"},
	    {"strictcrlpolicy", "crl-strict"}, {"ikev2", "keyexchange"}, {"leftusername", "xauth_identity"},
	    {"leftxauthusername", "xauth_identity"}, {"xauth_identity", "leftusername"},
	    {"modecfgpull", "modeconfig"}, {"modeconfig", "modecfgpull"}, {"xauthby", "leftauth2"},
	    {"leftauth2", "xauthby"}};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
		if (strcmp(pairs[i][0], name) == 0)
			return pairs[i][1];
	return NULL;
}

void key_text(const struct key *k, char *buf, size_t cap)
{
	snprintf(buf, cap, "%.*s", (int)strcspn(k->text, "|"), k->text);
}

bool key_asks_nothing(const struct key *k, const char *value)
{
	static const char *const nothing[] = {"no", "never", "none", "0", "off", "false", "n", "disabled"};
	const char *list = strchr(k->text, '|');
	size_t n = strlen(value);

	for (size_t i = 0; i < ARRAY_LEN(nothing); i++)
		if (strcasecmp(value, nothing[i]) == 0)
			return true;
	while (list) {
		const char *item = list + 1;
		size_t len = strcspn(item, ",");

		if (len == n && strncasecmp(item, value, n) == 0)
			return true;
		list = strchr(item, ',');
	}
	return false;
}
