/* SPDX-License-Identifier: Apache-2.0 */
/* IKEv1's additions for remote access: who gives user and password (XAUTH), who gives addresses (Mode Config). */

#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "libcore/base/err.h"
#include "libcore/conf/build.h"
#include "libcore/conf/value.h"

static bool copy_str(struct build *b, char **out, const char *s)
{
	free(*out);
	*out = strdup(s);
	return *out ? true : build_nomem(b);
}

SETTER(set_xauth)
{
	b->later.xauth = e;
	return true;
}

SETTER(set_xauth_identity)
{
	b->later.xauth_identity = e;
	return true;
}

SETTER(set_aggressive)
{
	b->later.aggressive = e;
	if (value_bool(e->value, &b->c->aggressive))
		return true;
	return build_bad_value(b, e, "write yes or no", "neither yes nor no");
}

SETTER(set_xauth_end)
{
	b->end[e->right].xauth[arg] = e;
	return true;
}

SETTER(set_xauthby)
{
	static const struct name words[] = {
	    {0, "file"}, {1, "pam"}, {2, "alwaysok"}, {0, "generic"}, {2, "none"}, {0, NULL}};
	static const char *const backends[] = {"generic", "pam", "none"};
	uint32_t v;

	return build_enum(b, e, words, &v) && copy_str(b, &b->c->xauth_backend, backends[v]);
}

SETTER(set_xauthfail)
{
	static const struct name words[] = {{0, "hard"}, {1, "soft"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	b->c->xauth_soft = v;
	if (v)
		build_note(b, e, CY_LOG_WARN, "", "xauthfail=soft: a wrong password lets a user in, too");
	return true;
}

SETTER(set_modeconfig)
{
	static const struct name words[] = {{0, "push"}, {1, "pull"}, {0, NULL}};
	uint32_t v;

	if (!build_enum(b, e, words, &v))
		return false;
	b->c->modecfg_pull = v;
	return true;
}

SETTER(set_banner)
{
	return copy_str(b, &b->c->modecfg_banner, e->value);
}

SETTER(set_domains)
{
	const char *at = e->value;
	bool cut = false;
	char item[256];

	while (value_next(&at, ", \t", item, sizeof(item), &cut)) {
		if (cut)
			return build_bad_value(b, e, "write names of domains", "a name that is too long");
		if (strs_add(&b->c->dns_domains, item))
			return build_nomem(b);
	}
	return true;
}

SETTER(set_backups)
{
	const char *at = e->value;
	bool cut = false;
	char item[256];

	b->later.backups = e;
	while (value_next(&at, ", \t", item, sizeof(item), &cut)) {
		if (cut ||
		    item[strspn(item, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:")])
			return build_bad_value(
			    b, e, "write addresses and names of the DNS", "no such server");
		if (b->c->modecfg_backups.n == 16)
			return build_bad_value(b, e, "write at most 16", "too many servers");
		if (strs_add(&b->c->modecfg_backups, item))
			return build_nomem(b);
	}
	return true;
}

/* "xauth", "xauth-pam": the back end that strongSwan's users name so. */
static bool backend_word(struct build *b, const struct raw_entry *e)
{
	static const char *const words[][2] = {{"xauth", "generic"}, {"xauth-generic", "generic"},
	    {"xauth-pam", "pam"}, {"xauth-noauth", "none"}, {"xauth-none", "none"}};

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcasecmp(words[i][0], e->value) == 0)
			return copy_str(b, &b->c->xauth_backend, words[i][1]);
	return build_bad_value(
	    b, e, "write xauth-generic, xauth-pam or xauth-noauth", "this back end of XAUTH is not built");
}

/* leftauth2=, and leftauth= of a side that does nothing else first (hybrid authentication). */
static bool take_round(struct build *b, bool right, const struct raw_entry *e)
{
	if (strncasecmp(e->value, "xauth", 5) != 0)
		return build_bad_value(b, e, "write xauth or remove it",
		    "a second authentication round (RFC 4739) is not built yet");
	if (!backend_word(b, e))
		return false;
	build_end(b, right)->xauth_client = true;
	build_end(b, !right)->xauth_server = true;
	return true;
}

static bool take_flag(struct build *b, const struct raw_entry *e, bool *out)
{
	bool v = false;

	if (e && !value_bool(e->value, &v))
		return build_bad_value(b, e, "write yes or no", "neither yes nor no");
	*out = *out || v;
	return true;
}

/* leftxauthserver= of one side says the same as rightxauthclient= of the other. */
static bool take_flags(struct build *b)
{
	struct conn_end *end[2] = {build_end(b, false), build_end(b, true)};

	for (int i = 0; i < 2; i++)
		if (!take_flag(b, b->end[i].xauth[XAUTH_END_SERVER], &end[i]->xauth_server) ||
		    !take_flag(b, b->end[i].xauth[XAUTH_END_CLIENT], &end[i]->xauth_client))
			return false;
	for (int i = 0; i < 2; i++) {
		end[i]->xauth_server = end[i]->xauth_server || end[!i]->xauth_client;
		end[!i]->xauth_client = end[i]->xauth_server;
	}
	return true;
}

/* Which key says that there is XAUTH, for messages. */
static const struct raw_entry *xauth_entry(const struct build *b)
{
	for (int i = 0; i < 2; i++) {
		for (int k = 0; k < XAUTH_END_USER; k++)
			if (b->end[i].xauth[k])
				return b->end[i].xauth[k];
		if (b->end[i].auth && strncasecmp(b->end[i].auth->value, "xauth", 5) == 0)
			return b->end[i].auth;
	}
	return b->later.authby;
}

bool finish_xauth(struct build *b)
{
	struct conn_end *end[2] = {build_end(b, false), build_end(b, true)};

	for (int i = 0; i < 2; i++) {
		const struct raw_entry *e = b->end[i].xauth[XAUTH_END_AUTH2];

		if (e && !take_round(b, i, e))
			return false;
		if (b->end[i].auth && strncasecmp(b->end[i].auth->value, "xauth", 5) == 0) {
			if (!take_round(b, i, b->end[i].auth))
				return false;
			end[i]->auth[0].method = AUTH_XAUTH;
		}
		e = b->end[i].xauth[XAUTH_END_USER];
		if (e && !copy_str(b, &end[i]->xauth_user, e->value))
			return false;
	}
	if (!take_flags(b))
		return false;
	for (int i = 0; i < 2; i++) {
		if (end[i]->xauth_server && end[i]->xauth_client)
			return build_fault(
			    b, xauth_entry(b), "say it of one side", "both sides ask for user and password");
		end[i]->modecfg_client = b->end[i].modecfgclient || b->end[!i].modecfgserver ||
		    b->end[i].pool || (b->dialect == SS && b->end[i].sourceip);
		end[!i]->modecfg_server = end[i]->modecfg_client;
	}
	return true;
}

/* strongSwan's authby=xauthpsk with xauth=server: which side is meant is known when the sides are. */
static bool finish_role(struct build *b)
{
	static const struct name words[] = {{0, "client"}, {1, "server"}, {0, NULL}};
	struct conn *c = b->c;
	uint32_t v = 0;

	if (b->later.xauth && !build_enum(b, b->later.xauth, words, &v))
		return false;
	if (!b->later.authby_xauth)
		return true;
	c->local.xauth_server = c->remote.xauth_client = v;
	c->local.xauth_client = c->remote.xauth_server = !v;
	return true;
}

bool finish_remote_access(struct build *b)
{
	struct conn *c = b->c;
	const struct raw_entry *e;
	bool any;

	if (!finish_role(b))
		return false;
	any = c->local.xauth_server || c->local.xauth_client;
	e = any ? xauth_entry(b) : NULL;
	if (b->later.xauth_identity) {
		struct conn_end *client = c->local.xauth_server ? &c->remote : &c->local;

		/* %any: whoever it is, and that is so without it */
		if (strcasecmp(b->later.xauth_identity->value, "%any") != 0 &&
		    !copy_str(b, &client->xauth_user, b->later.xauth_identity->value))
			return false;
	}
	if (c->local.xauth_server && !c->xauth_backend && !copy_str(b, &c->xauth_backend, "generic"))
		return false;
	if (any && c->version == CONN_IKEV2 && b->later.keyexchange)
		return build_fault(b, e, "write keyexchange=ikev1",
		    "%s=%.100s: asking for user and password is of IKEv1, and this connection is of IKEv2",
		    e->name, e->value);
	if (any && c->version != CONN_IKEV1) {
		build_note(b, e, CY_LOG_NOTICE, "write keyexchange=ikev1",
		    "asking for user and password is of IKEv1, so this connection is");
		c->version = CONN_IKEV1;
	}
#ifndef HAVE_IKEV1
	if (any)
		return build_fault(
		    b, e, "", "%s=%.100s: this cygnet is built without IKEv1", e->name, e->value);
#endif
	/* libreswan ignores uniqueids there: all users of a group have the group's identity */
	if (b->dialect == LS && c->local.xauth_server && !b->setup->unique_set)
		c->unique = UNIQUE_NO;
	if (b->dialect == LS && c->local.xauth_server && c->rekey)
		build_note(b, e, CY_LOG_NOTICE, "write rekey=no",
		    "with XAUTH clients begin a new IKE_SA themselves, as only they know the password");
	if (c->modecfg_backups.n && !c->cisco_unity)
		build_note(b, b->later.backups, CY_LOG_NOTICE, "write cisco-unity=yes, too",
		    "modecfgbackupservers= has no effect without cisco-unity=");
	if (c->version == CONN_IKEV1 && c->aggressive &&
	    (c->local.auth[0].method == AUTH_PSK || c->remote.auth[0].method == AUTH_PSK))
		build_note(b, b->later.aggressive ? b->later.aggressive : e, CY_LOG_WARN,
		    "use main mode, or certificates",
		    "aggressive mode shows whoever listens a hash by which the pre-shared key can be "
		    "guessed");
	if (c->version == CONN_IKEV1 && b->setup->no_ikev1)
		return build_fault(b, b->later.keyexchange ? b->later.keyexchange : e,
		    "write ikev1-policy=accept there", "ikev1-policy= in config setup refuses IKEv1");
	return true;
}
