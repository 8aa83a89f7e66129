/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which daemon was this file written for? Keys and values that only one of them has decide; a file that has some of each,
 * or none, is an error: the same words mean different things (lifetimes, proposals, addresses).
 */

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

static bool one_of(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (; *list; list += strspn(list, " ")) {
		size_t len = strcspn(list, " ");

		if (len == n && strncasecmp(list, word, n) == 0)
			return true;
		list += len;
	}
	return false;
}

/* ike=, esp=: '!' is strongSwan's; ';', '+' and '_' are libreswan's, but for strongSwan's "ke1_mlkem768". */
static unsigned proposal_dialect(const char *v)
{
	size_t n = strlen(v);
	unsigned all = 0;

	if (n && v[n - 1] == '!')
		all |= SS;
	for (size_t i = 0; i < n; i++) {
		if (v[i] == ';' || v[i] == '+')
			all |= LS;
		if (v[i] != '_')
			continue;
		if (i >= 3 && isdigit((unsigned char)v[i - 1]) && strncasecmp(v + i - 3, "ke", 2) == 0)
			all |= SS;
		else
			all |= LS;
	}
	return all;
}

static unsigned words_dialect(
    const char *value, const char *seps, const char *strongswan, const char *libreswan)
{
	unsigned all = 0;
	bool cut = false;
	char word[64];

	while (value_next(&value, seps, word, sizeof(word), &cut))
		all |= one_of(strongswan, word) ? SS : one_of(libreswan, word) ? LS : 0;
	return all;
}

unsigned dialect_of_value(const struct key *k, bool right, const char *v)
{
	/* "secret" and "rsasig" of authby are known to both */
	static const char by[] =
	    "rsa-sha1 rsa-sha2 rsa-sha2_256 rsa-sha2_384 rsa-sha2_512 ecdsa-sha2 ecdsa-sha2_256 "
	    "ecdsa-sha2_384 ecdsa-sha2_512 eddsa null";
	static const struct {
		const char *key, *strongswan, *libreswan;
	} words[] = {
	    {"auto", "", "ondemand up keep"},
	    {"authby", "psk pubkey xauthpsk xauthrsasig ecdsasig", by},
	    {"fragmentation", "accept", ""},
	    {"uniqueids", "replace keep never", ""},
	    {"dpdaction", "none", ""},
	    {"type", "transport_proxy", "reject"},
	};

	if (one_of("ike esp ah", k->name))
		return proposal_dialect(v);
	if (strcmp(k->name, "leftsubnet") == 0)
		return virtual_named(v) ? LS : 0;
	if (strcmp(k->name, "leftsourceip") == 0)
		return strpbrk(v, "%/,") ? SS : 0;
	if (strcmp(k->name, "mark") == 0)
		return *v == '%' ? SS : strncmp(v, "-1", 2) == 0 ? LS : 0;
	if (strcmp(k->name, "tfc") == 0)
		return *v == '%' ? SS : 0;
	if (strcmp(k->name, "leftauth") == 0) {
		if (one_of("rsasig secret eddsa null eaponly none", v))
			return LS;
		return one_of("psk pubkey rsa ecdsa ed25519 ed448 xauth", v) || strchr(v, '-') ||
		        strncasecmp(v, "ike:", 4) == 0
		    ? SS
		    : 0;
	}
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(words[i].key, k->name) == 0)
			return words_dialect(v, ",|", words[i].strongswan, words[i].libreswan);
	return 0;
}

/* What the entry says of the dialect: 0 nothing. An old spelling says nothing: both daemons had it. */
static unsigned dialect_of_entry(const struct raw_entry *e)
{
	unsigned by_key, by_value;

	if (e->key == KEY_NONE)
		return 0;
	by_key = key_dialects(e->key);
	if (by_key != BOTH)
		return by_key;
	by_value = dialect_of_value(&conf_keys[e->key], e->right, e->value);
	return by_value == BOTH ? 0 : by_value;
}

static void told_by(const struct raw_entry *e, const struct raw_section *ca, char *buf, size_t cap)
{
	if (e)
		snprintf(buf, cap, "%.60s=%.100s in %.200s:%u", e->name, e->value, e->file->path, e->line);
	else
		snprintf(buf, cap, "ca %.60s in %.200s:%u", ca->name, ca->file->path, ca->line);
}

/* Keys that both have and understand differently, for the message. */
static const struct raw_entry *first_clash(const struct raw *r)
{
	static const char clashes[] =
	    "leftsourceip authby leftauth ike esp dpdaction dpddelay keyingtries ikelifetime "
	    "keylife lifetime keyexchange mobike leftcert leftsendcert pfs";

	for (uint32_t i = 0; i < r->n_entries; i++)
		if (r->entries[i].key != KEY_NONE && one_of(clashes, conf_keys[r->entries[i].key].name))
			return &r->entries[i];
	return NULL;
}

enum cy_err dialect_choose(struct raw *r, enum conf_dialect asked, enum conf_dialect *out)
{
	const struct raw_entry *first[BOTH + 1] = {NULL}, *clash;
	const struct raw_section *ca = NULL, *conn = NULL;
	char ss[400], ls[400];

	if (asked != DIALECT_AUTO) {
		*out = asked;
		return CY_OK;
	}
	for (uint32_t i = 0; i < r->n_sections; i++) {
		if (!ca && r->sections[i].kind == RAW_CA)
			ca = &r->sections[i];
		if (!conn && r->sections[i].kind == RAW_CONN)
			conn = &r->sections[i];
	}
	for (uint32_t i = 0; i < r->n_entries; i++) {
		unsigned d = dialect_of_entry(&r->entries[i]);

		r->steps++;
		if (!first[d])
			first[d] = &r->entries[i];
	}
	if ((first[SS] || ca) && first[LS]) {
		told_by(first[SS], ca, ss, sizeof(ss));
		told_by(first[LS], NULL, ls, sizeof(ls));
		report_add(r->report, CY_LOG_ERROR, first[LS]->file->path, first[LS]->line, "",
		    "use one dialect, and write dialect=strongswan or dialect=libreswan in config setup",
		    "two dialects in one configuration: %s is strongSwan's, %s is libreswan's", ss, ls);
		return CY_E_PARSE;
	}
	if (first[SS] || ca || first[LS]) {
		*out = first[LS] ? DIALECT_LIBRESWAN : DIALECT_STRONGSWAN;
		return CY_OK;
	}
	if (!conn) {
		*out = DIALECT_STRONGSWAN; /* nothing to understand */
		return CY_OK;
	}
	clash = first_clash(r);
	if (clash)
		report_add(r->report, CY_LOG_ERROR, clash->file->path, clash->line, "",
		    "write dialect=strongswan or dialect=libreswan in config setup",
		    "no key tells the dialect, and %.60s= does not mean the same in both", clash->name);
	else
		report_add(r->report, CY_LOG_ERROR, conn->file->path, conn->line, conn->name,
		    "write dialect=strongswan or dialect=libreswan in config setup",
		    "no key tells the dialect, and their defaults differ (lifetimes, proposals)");
	return CY_E_PARSE;
}
