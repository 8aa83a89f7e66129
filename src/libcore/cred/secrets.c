/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipsec.secrets. An entry is `IDENTITIES : KIND VALUES`; it begins a line, and indented lines after it belong to it. Both daemons'
 * users write it, so both spellings are read: text in single or double quotes or bare, 0x, 0s, several entries indented.
 * What stands in the file is never shown, except where it is known to be an identity or a file's name.
 */

#include "libcore/cred/private.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

#include "libcore/base/names.h"
#include "libcore/base/text.h"

#define MAX_INCLUDE_DEPTH 10
#define MAX_IDS           256
#define MAX_VALUES        8

enum token_kind { TOKEN_END, TOKEN_WORD, TOKEN_STRING, TOKEN_COLON, TOKEN_BAD };

struct token {
	enum token_kind kind;
	struct cy_slice text;
};

struct parser {
	struct creds *c;
	struct cred_where at;
	const char *p, *end;
	bool bad; /* something was left out */
	bool lax;
	uint32_t depth;
};

struct entry {
	struct ident ids[MAX_IDS];
	size_t n_ids;
	struct token kind;
	struct token values[MAX_VALUES];
	size_t n_values;
	bool colon;
};

static const struct name kind_names[] = {
    {CRED_PSK, "PSK"},
    {CRED_RSA, "RSA"},
    {CRED_ECDSA, "ECDSA"},
    {CRED_PKCS8, "PKCS8"},
    {CRED_P12, "P12"},
    {CRED_XAUTH, "XAUTH"},
    {CRED_EAP, "EAP"},
    {CRED_NTLM, "NTLM"},
    {CRED_PIN, "PIN"},
    {0, NULL},
};
static const char *const kind_words[] = {
    "PSK", "RSA", "ECDSA", "PKCS8", "P12", "XAUTH", "EAP", "NTLM", "PIN", NULL};

static enum cy_err parse_file(
    struct creds *c, const char *path, bool lax, uint32_t depth, const struct cred_where *from);

static void complain(struct parser *s, const char *text)
{
	cred_say(&s->at, CY_LOG_ERROR, "%s", text);
	s->bad = true;
}

/* --- tokens --- */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

static void skip_line(struct parser *s)
{
	while (s->p < s->end && *s->p != '\n')
		s->p++;
}

/* A ':' that is a word of its own, or stands right before the kind. */
static bool is_colon(const struct parser *s, const char *p)
{
	if (*p != ':' || (p > s->end - 1))
		return false;
	return p + 1 == s->end || is_blank(p[1]) || p[1] == '\n' || isupper((unsigned char)p[1]);
}

/* Does the line at p have a colon, and so begins an entry? */
static bool has_colon(const struct parser *s, const char *p)
{
	char quote = 0;

	for (const char *from = p; p < s->end && *p != '\n'; p++) {
		if (quote)
			quote = *p == quote ? 0 : quote;
		else if (*p == '"' || *p == '\'')
			quote = *p;
		else if (*p == '#' && (p == from || is_blank(p[-1])))
			return false;
		else if (is_colon(s, p) && (p == from || is_blank(p[-1])))
			return true;
	}
	return false;
}

static bool is_include(const struct parser *s, const char *p)
{
	return s->end - p > 8 && memcmp(p, "include", 7) == 0 && is_blank(p[7]);
}

/*
 * Skip blanks, comments and line ends that do not end the entry. Returns false at its end, p then at the start of a
 * line. complete: the entry has all it needs, so that an indented line with a colon is the next one.
 */
static bool skip_within(struct parser *s, bool complete)
{
	for (;;) {
		while (s->p < s->end && is_blank(*s->p))
			s->p++;
		if (s->p < s->end && *s->p == '#')
			skip_line(s);
		if (s->p == s->end)
			return false;
		if (*s->p != '\n')
			return true;
		s->p++;
		s->at.line++;
		/* empty lines and comments do not end an entry, a word at the margin does */
		const char *q = s->p;
		while (q < s->end && is_blank(*q))
			q++;
		if (q < s->end && (*q == '\n' || *q == '#'))
			continue;
		if (q == s->p || (complete && (has_colon(s, q) || is_include(s, q))))
			return false;
	}
}

static struct token next_token(struct parser *s, bool complete)
{
	struct token t = {TOKEN_END, {NULL, 0}};
	const char *from;

	if (!skip_within(s, complete))
		return t;
	from = s->p;
	if (is_colon(s, from)) {
		s->p++;
		return (struct token){TOKEN_COLON, cy_slice(from, 1)};
	}
	if (*from == '"' || *from == '\'') {
		for (s->p++; s->p < s->end && *s->p != *from && *s->p != '\n'; s->p++)
			;
		if (s->p == s->end || *s->p == '\n') {
			t.kind = TOKEN_BAD;
			return t;
		}
		t = (struct token){TOKEN_STRING, cy_slice(from + 1, (size_t)(s->p - from) - 1)};
		s->p++;
		return t;
	}
	while (s->p < s->end && !is_blank(*s->p) && *s->p != '\n')
		s->p++;
	return (struct token){TOKEN_WORD, cy_slice(from, (size_t)(s->p - from))};
}

/* Go on with the next line at the margin. */
static void skip_entry(struct parser *s)
{
	do
		skip_line(s);
	while (skip_within(s, true));
}

/* --- the parts of an entry --- */

static bool token_is(const struct token *t, const char *word)
{
	return t->kind == TOKEN_WORD && t->text.n == strlen(word) && memcmp(t->text.p, word, t->text.n) == 0;
}

/* A copy with its NUL, to be wiped and freed by wipe_text; NULL when it has a NUL within. */
static char *token_text(const struct token *t)
{
	if (t->text.n == 0)
		return strdup("");
	if (memchr(t->text.p, '\0', t->text.n))
		return NULL;
	return text_dup(t->text.p, t->text.n);
}

static void wipe_text(char *s)
{
	if (s)
		mem_wipe(s, strlen(s));
	free(s);
}

static bool add_id(struct parser *s, struct entry *e, const struct token *t)
{
	char *text = token_text(t);
	struct ident id;
	enum cy_err err;

	if (!text || e->n_ids == MAX_IDS) {
		complain(s, text ? "more than 256 identities" : "a NUL in an identity");
		free(text);
		return false;
	}
	/* %any6 and the obsolete 0.0.0.0 are other ways to say anybody */
	if (strcmp(text, "%any6") == 0 || strcmp(text, "0.0.0.0") == 0 || strcmp(text, "::") == 0 ||
	    strcmp(text, "0::0") == 0)
		err = ident_parse("%any", &id);
	else
		err = ident_parse(text, &id);
	/* it is not repeated: where the colon was forgotten, the secret is among these words */
	if (!err && id.type == ID_DN_TEXT && cred_ident_resolve(s->c->crypto, &id) != CY_OK) {
		ident_fini(&id);
		cred_say(&s->at, CY_LOG_ERROR, "identity %zu is not a distinguished name", e->n_ids + 1);
		err = CY_E_PARSE;
	} else if (err) {
		cred_say(&s->at, CY_LOG_ERROR, "identity %zu cannot be read", e->n_ids + 1);
	}
	free(text);
	if (err) {
		s->bad = true;
		return false;
	}
	e->ids[e->n_ids++] = id;
	return true;
}

static void entry_fini(struct entry *e)
{
	for (size_t i = 0; i < e->n_ids; i++)
		ident_fini(&e->ids[i]);
	e->n_ids = 0;
}

/* Hand the entry's identities and value to the store. */
static void store(struct parser *s, struct entry *e, enum cred_kind kind, struct secret *value)
{
	struct ident *ids = NULL;

	if (e->n_ids) {
		ids = calloc(e->n_ids, sizeof(*ids));
		if (!ids) {
			secret_fini(value);
			complain(s, "out of memory");
			return;
		}
		memcpy(ids, e->ids, e->n_ids * sizeof(*ids));
	}
	if (creds_take_secret(s->c, kind, ids, e->n_ids, value) != CY_OK)
		complain(s, "out of memory");
	e->n_ids = 0;
}

static void shared_secret(struct parser *s, struct entry *e, enum cred_kind kind)
{
	const struct token *t = &e->values[0];
	struct secret value = {0};
	enum cy_err err;

	if (e->n_values != 1) {
		complain(s,
		    e->n_values ? "one secret is wanted, there are several words: put it in \"quotes\""
		                : "the secret is missing");
		return;
	}
	if (token_is(t, "%prompt")) {
		complain(s, "%prompt: a daemon cannot ask; write the secret here");
		return;
	}
	if (t->kind == TOKEN_WORD && t->text.n >= 2 && t->text.p[0] == '0' && strchr("xXsS", t->text.p[1])) {
		err = cred_decode(t->text, &value);
		if (err == CY_E_PARSE)
			complain(s,
			    strchr("xX", t->text.p[1])
			        ? "the secret after 0x is not an even number of hexadecimal digits"
			        : "the secret after 0s is not base64");
	} else {
		if (t->kind == TOKEN_WORD)
			cred_say(&s->at, CY_LOG_NOTICE, "the secret should be in \"quotes\"");
		err = secret_dup(&value, t->text);
	}
	if (!err && value.n == 0) {
		complain(s, "the secret is empty");
		err = CY_E_PARSE;
	}
	if (!err)
		store(s, e, kind, &value);
	else if (err != CY_E_PARSE)
		complain(s, err_text(err));
	secret_fini(&value);
}

static void private_key(struct parser *s, struct entry *e, enum cred_kind kind)
{
	char *name, *pass = NULL;
	enum cy_err err;

	if (e->n_values == 0) {
		complain(s, "the name of the key's file is missing");
		return;
	}
	if (token_is(&e->values[0], "{")) {
		complain(s,
		    "a key written out in this file is not read: convert it to PEM, and name the file here");
		return;
	}
	if (e->n_values > 2) {
		complain(s, "after the key's file only its \"pass phrase\" may follow");
		return;
	}
	if (e->n_values == 2 && token_is(&e->values[1], "%prompt")) {
		complain(s, "%prompt: a daemon cannot ask; write the pass phrase here or decrypt the key");
		return;
	}
	name = token_text(&e->values[0]);
	if (e->n_values == 2)
		pass = token_text(&e->values[1]);
	if (!name || (e->n_values == 2 && !pass)) {
		complain(s, "a NUL in a name or pass phrase");
	} else {
		err = kind == CRED_P12 ? cred_load_p12(s->c, name, pass, &s->at)
		                       : cred_load_privkey_file(s->c, kind, name, pass, &s->at);
		s->bad |= err != CY_OK;
	}
	free(name);
	wipe_text(pass);
}

static void finish_entry(struct parser *s, struct entry *e)
{
	enum cred_kind kind = 0;

	for (size_t i = 0; kind_names[i].name; i++)
		if (token_is(&e->kind, kind_names[i].name))
			kind = (enum cred_kind)kind_names[i].value;
	switch (kind) {
	case CRED_PSK:
	case CRED_XAUTH:
	case CRED_EAP:
	case CRED_NTLM:
		shared_secret(s, e, kind);
		return;
	case CRED_RSA:
	case CRED_ECDSA:
	case CRED_PKCS8:
	case CRED_P12:
		private_key(s, e, kind);
		return;
	case CRED_PIN:
		complain(s, "PIN: smart cards are not supported; use a key in a file");
		return;
	}
	if (token_is(&e->kind, "PPKS") || token_is(&e->kind, "PPK")) {
		complain(s, "post-quantum preshared keys (RFC 8784) are not supported yet");
		return;
	}
	/* what stands here instead may be the secret itself, so it is not repeated */
	char *word = e->kind.kind == TOKEN_WORD ? token_text(&e->kind) : NULL;
	const char *near = word ? name_nearest(kind_words, word) : NULL;
	wipe_text(word);
	cred_say(&s->at, CY_LOG_ERROR, "after \":\" there is no kind of secret%s%s%s",
	    near ? "; did you mean " : "", near ? near : ": PSK, RSA, ECDSA, PKCS8, P12, XAUTH, EAP or NTLM",
	    near ? "?" : "");
	s->bad = true;
}

/* --- include --- */

static int no_glob_error(const char *path, int err)
{
	(void)path;
	(void)err;
	return 0;
}

static void include(struct parser *s)
{
	struct token t = next_token(s, false);
	const char *slash = strrchr(s->at.file, '/');
	char *pattern, *name;
	glob_t g = {0};

	if (t.kind != TOKEN_WORD && t.kind != TOKEN_STRING) {
		complain(s, "include what? the name of a file is missing");
		skip_entry(s);
		return;
	}
	name = token_text(&t);
	if (!name || s->depth >= MAX_INCLUDE_DEPTH) {
		complain(s, name ? "files include each other more than 10 deep" : "a NUL in a file's name");
		free(name);
		skip_entry(s);
		return;
	}
	if (name[0] == '/' || !slash)
		pattern = strdup(name);
	else if (asprintf(&pattern, "%.*s/%s", (int)(slash - s->at.file), s->at.file, name) < 0)
		pattern = NULL;
	free(name);
	switch (pattern ? glob(pattern, 0, no_glob_error, &g) : GLOB_NOSPACE) {
	case 0:
		for (size_t i = 0; i < g.gl_pathc; i++)
			if (parse_file(s->c, g.gl_pathv[i], s->lax, s->depth + 1, &s->at))
				s->bad = true;
		globfree(&g);
		break;
	case GLOB_NOMATCH:
		/* distributions ship an include of a file that need not exist */
		cred_say(&s->at, CY_LOG_INFO, "nothing to include: there is no %s", pattern);
		break;
	default:
		complain(s, "out of memory");
	}
	free(pattern);
	skip_entry(s);
}

/* --- the file --- */

/* From its first token on; p is then at the start of the next line of another entry, or at the end. */
static void entry(struct parser *s, struct entry *e)
{
	uint32_t line = s->at.line, after;
	bool ok = true;

	*e = (struct entry){0};
	for (;;) {
		struct token t = next_token(s, e->colon && e->kind.kind != TOKEN_END && e->n_values > 0);
		if (t.kind == TOKEN_END)
			break;
		if (t.kind == TOKEN_BAD) {
			complain(s, "a quote is opened and not closed on this line");
			ok = false;
			skip_entry(s);
			break;
		}
		if (!ok)
			continue;
		if (!e->colon && t.kind == TOKEN_COLON)
			e->colon = true;
		else if (!e->colon)
			ok = add_id(s, e, &t);
		else if (e->kind.kind == TOKEN_END)
			e->kind = t;
		else if (e->n_values < MAX_VALUES)
			e->values[e->n_values++] = t;
	}
	after = s->at.line;
	s->at.line = line;
	if (ok && (!e->colon || e->kind.kind == TOKEN_END))
		complain(s,
		    e->colon ? "after \":\" the kind of secret is missing"
		             : "no \":\" between the identities and the secret");
	else if (ok)
		finish_entry(s, e);
	s->at.line = after;
	entry_fini(e);
}

static void parse_text(struct parser *s)
{
	struct entry *e = calloc(1, sizeof(*e));

	if (!e) {
		complain(s, "out of memory");
		return;
	}
	s->at.line = 1;
	while (s->p < s->end) {
		while (s->p < s->end && is_blank(*s->p))
			s->p++;
		if (s->p < s->end && *s->p == '#')
			skip_line(s);
		if (s->p == s->end)
			break;
		if (*s->p == '\n') {
			s->p++;
			s->at.line++;
			continue;
		}
		if (is_include(s, s->p)) {
			s->p += 7;
			include(s);
			continue;
		}
		entry(s, e);
	}
	mem_wipe(e, sizeof(*e));
	free(e);
}

enum cy_err creds_load_secrets_text(
    struct creds *c, struct cy_slice text, const char *name, cred_report_fn report, void *user)
{
	struct parser s = {
	    .c = c,
	    .at = {.file = name, .report = report, .user = user},
	    .p = (const char *)text.p,
	    .end = (const char *)text.p + text.n,
	    .depth = MAX_INCLUDE_DEPTH,
	};

	if (text.n)
		parse_text(&s);
	return s.bad ? CY_E_PARSE : CY_OK;
}

/* from: who wants it, where it cannot be opened. */
static enum cy_err parse_file(
    struct creds *c, const char *path, bool lax, uint32_t depth, const struct cred_where *from)
{
	struct parser s = {
	    .c = c,
	    .at = {.file = path, .report = from->report, .user = from->user},
	    .lax = lax,
	    .depth = depth,
	};
	struct secret text = {0};
	enum cy_err e = cred_read_file(path, !lax, from, &text);

	if (e)
		return e;
	s.p = (const char *)text.p;
	s.end = s.p + text.n;
	if (text.n)
		parse_text(&s);
	secret_fini(&text);
	return s.bad ? CY_E_PARSE : CY_OK;
}

enum cy_err creds_load_secrets(struct creds *c, const char *path, bool lax, cred_report_fn report, void *user)
{
	const struct cred_where from = {.report = report, .user = user};

	return parse_file(c, path, lax, 0, &from);
}
