/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and certificates from files. */

#include "libcore/cred/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcore/base/text.h"

char *cred_path(const char *dir, const char *name)
{
	char *path;

	if (name[0] == '/')
		return strdup(name);
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

static enum cy_err check_mode(const struct stat *st, const char *path, const struct cred_where *w)
{
	const struct cred_where whole = {.file = path, .report = w->report, .user = w->user};

	if ((st->st_mode & (S_IROTH | S_IWOTH)) == 0)
		return CY_OK;
	cred_say(&whole, CY_LOG_ERROR,
	    "everybody may %s this file (mode %04o), so it is not used: chmod 600 it",
	    st->st_mode & S_IWOTH ? "write" : "read", (unsigned)(st->st_mode & 07777));
	return CY_E_DENIED;
}

enum cy_err cred_read_file(const char *path, bool strict, const struct cred_where *w, struct secret *out)
{
	struct secret s = {0};
	enum cy_err e = CY_OK;
	struct stat st;
	size_t n = 0;
	ssize_t got = 0;
	int fd;

	/* not to wait for a writer of a FIFO */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		e = errno == ENOENT ? CY_E_NOTFOUND : errno == EACCES ? CY_E_DENIED : CY_E_IO;
		cred_say(w, CY_LOG_ERROR, "cannot open %s: %s", path, strerror(errno));
		goto out;
	}
	if (!S_ISREG(st.st_mode) || (uintmax_t)st.st_size > CRED_FILE_MAX) {
		cred_say(w, CY_LOG_ERROR, "%s %s", path,
		    S_ISREG(st.st_mode) ? "is larger than 16 MiB" : "is not a file");
		e = CY_E_INVAL;
		goto out;
	}
	if (strict)
		e = check_mode(&st, path, w);
	if (!e && st.st_size > 0)
		e = secret_init(&s, (size_t)st.st_size);
	while (!e && n < s.n && (got = read(fd, s.p + n, s.n - n)) > 0)
		n += (size_t)got;
	if (!e && n < s.n) {
		cred_say(
		    w, CY_LOG_ERROR, "cannot read %s: %s", path, got < 0 ? strerror(errno) : "it shrank");
		e = CY_E_IO;
	}
out:
	if (fd >= 0)
		close(fd);
	if (e)
		secret_fini(&s);
	else
		secret_move(out, &s);
	return e;
}

/* --- private keys --- */

static int give_pass(void *user, char *buf, size_t cap)
{
	const char *pass = user;
	size_t n = pass ? strlen(pass) : 0;

	if (!pass || n > cap)
		return -1;
	memcpy(buf, pass, n);
	return (int)n;
}

static const char *key_type_name(enum cy_key_type t)
{
	switch (t) {
	case CY_KEY_RSA:
		return "RSA";
	case CY_KEY_ECDSA:
		return "ECDSA";
	case CY_KEY_ED25519:
		return "Ed25519";
	case CY_KEY_ED448:
		return "Ed448";
	}
	return "unknown";
}

enum cy_err cred_load_privkey_file(
    struct creds *c, enum cred_kind kind, const char *name, const char *pass, const struct cred_where *w)
{
	char *path = cred_path(c->paths.private_dir, name);
	struct secret data = {0};
	struct cy_privkey *key;
	const char *why = NULL;
	enum cy_err e;

	if (!path)
		return CY_E_NOMEM;
	if (!c->pki) {
		cred_say(
		    w, CY_LOG_ERROR, "%s: no plugin reads private keys; load one, such as openssl", name);
		free(path);
		return CY_E_UNSUPPORTED;
	}
	e = cred_read_file(path, true, w, &data);
	if (!e) {
		e = c->pki->privkey_load(secret_slice(&data), give_pass, (void *)pass, &key, &why);
		if (e)
			cred_say(w, CY_LOG_ERROR, "%s holds no private key that can be read: %s", path,
			    why ? why : err_text(e));
	}
	secret_fini(&data);
	if (!e) {
		enum cy_key_type type = c->pki->privkey_info(key)->type;
		if ((kind == CRED_RSA && type != CY_KEY_RSA) || (kind == CRED_ECDSA && type != CY_KEY_ECDSA))
			cred_say(w, CY_LOG_NOTICE, "%s is not what it is announced as: its key is %s", path,
			    key_type_name(type));
		e = creds_add_privkey(c, key);
	}
	free(path);
	return e;
}

/* --- files with several things in them --- */

struct bundle {
	struct creds *c;
	const struct cred_where *w;
	const char *path;
	const char *pass; /* NULL: none */
	bool keys;        /* take private keys too */
	size_t n_certs, n_keys, n_left_out;
	struct creds_cert **certs; /* those that could be read, in their order */
	size_t n, cap;
	enum cy_err err;
};

static int bundle_pass(void *user, char *buf, size_t cap)
{
	const struct bundle *b = user;

	return give_pass((void *)b->pass, buf, cap);
}

static void bundle_cert(void *user, struct cy_slice der)
{
	struct bundle *b = user;
	struct creds_cert *cert = NULL;
	const char *why = NULL;
	enum cy_err e = creds_store_cert(b->c, der, 0, &cert, &why);

	b->n_certs++;
	if (!e && !cred_grow(&b->certs, b->n, &b->cap, sizeof(struct creds_cert *)))
		e = CY_E_NOMEM;
	if (!e) {
		b->certs[b->n++] = cert;
		return;
	}
	/* one bad certificate of a bundle does not spoil the others */
	cred_say(b->w, CY_LOG_WARN, "%s: certificate %zu is left out: %s", b->path, b->n_certs,
	    why ? why : err_text(e));
	b->n_left_out++;
	b->err = b->err ? b->err : e;
}

/* Whose file is it? The first certificate's; only if that is a CA's, the first's that is not. NULL: it has none. */
static struct creds_cert *bundle_leaf(const struct bundle *b)
{
	for (size_t i = 0; i < b->n; i++)
		if (!(b->certs[i]->info->flags & CY_CERT_CA)) {
			if (i > 0)
				cred_say(b->w, CY_LOG_NOTICE,
				    "%s begins with a CA; its certificate %zu (%s) is taken as the one meant",
				    b->path, i + 1, b->certs[i]->info->subject);
			return b->certs[i];
		}
	return b->n ? b->certs[0] : NULL;
}

static void bundle_key(void *user, struct cy_privkey *take)
{
	struct bundle *b = user;

	if (!b->keys) {
		b->c->pki->privkey_unref(take);
		return;
	}
	b->n_keys++;
	if (creds_add_privkey(b->c, take))
		b->err = CY_E_NOMEM;
}

static enum cy_err load_bundle(struct bundle *b, const char *path, const char *pass, bool strict)
{
	struct secret data = {0};
	const char *why = NULL;
	enum cy_err e;

	b->path = path;
	if (!b->c->pki) {
		cred_say(
		    b->w, CY_LOG_ERROR, "%s: no plugin reads certificates; load one, such as openssl", path);
		return CY_E_UNSUPPORTED;
	}
	e = cred_read_file(path, strict, b->w, &data);
	if (e)
		return e;
	b->pass = pass;
	e = b->c->pki->bundle_load(secret_slice(&data), bundle_pass, b, bundle_cert, bundle_key, &why);
	secret_fini(&data);
	if (!e && b->n_certs + b->n_keys == 0)
		e = CY_E_PARSE;
	if (e)
		cred_say(b->w, CY_LOG_ERROR, "%s holds nothing that can be read: %s", path,
		    why ? why : err_text(e));
	return e ? e : b->n_certs && b->n_left_out == b->n_certs ? b->err : CY_OK;
}

enum cy_err cred_load_p12(struct creds *c, const char *name, const char *pass, const struct cred_where *w)
{
	struct bundle b = {.c = c, .w = w, .keys = true};
	char *path = cred_path(c->paths.private_dir, name);
	enum cy_err e = path ? load_bundle(&b, path, pass, true) : CY_E_NOMEM;
	struct creds_cert *leaf = e ? NULL : bundle_leaf(&b);

	if (leaf)
		leaf->flags |= CRED_CERT_LOADED;
	for (size_t i = 0; i < b.n && !e; i++) {
		const struct cy_cert_info *info = b.certs[i]->info;
		/* whoever made it put the CA in for us to trust: charon does, and road warriors get just this file */
		if ((info->flags & CY_CERT_CA) && (info->flags & CY_CERT_SELF_SIGNED))
			e = creds_store_cert(c, info->der, CRED_CERT_ANCHOR, NULL, NULL);
	}
	if (!e && b.n_keys == 0)
		cred_say(w, CY_LOG_WARN, "%s holds no private key", path);
	free(b.certs);
	free(path);
	return e;
}

enum cy_err creds_load_cert(
    struct creds *c, const char *file, struct cy_cert **out_cert, cred_report_fn report, void *user)
{
	const struct cred_where w = {.report = report, .user = user};
	struct bundle b = {.c = c, .w = &w};
	struct cy_cert *known = creds_cert_by_file(c, file);
	char *path;
	enum cy_err e;

	/* ten thousand connections with one certificate read it once */
	if (known) {
		if (out_cert)
			*out_cert = known;
		return CY_OK;
	}
	path = cred_path(c->paths.certs_dir, file);
	e = path ? load_bundle(&b, path, NULL, false) : CY_E_NOMEM;
	struct creds_cert *leaf = e ? NULL : bundle_leaf(&b);

	if (!e && !leaf) {
		cred_say(&w, CY_LOG_ERROR, "%s holds no certificate that can be read", path);
		e = CY_E_PARSE;
	}
	if (!e) {
		leaf->flags |= CRED_CERT_LOADED;
		e = creds_name(c, file, leaf->cert, NULL);
	}
	if (!e && out_cert)
		*out_cert = leaf->cert;
	free(b.certs);
	free(path);
	return e;
}

/* --- CA certificates --- */

static void ca_cert(void *user, struct cy_slice der)
{
	struct bundle *b = user;
	struct creds_cert *cert = NULL;
	const char *why = NULL;
	enum cy_err e = creds_store_cert(b->c, der, 0, &cert, &why);

	b->n_certs++;
	/* charon trusts whatever lies in cacerts; one that is no CA could sign nothing we accept anyhow */
	if (!e && !(cert->info->flags & CY_CERT_CA)) {
		e = CY_E_INVAL;
		why = "it is not a CA certificate";
	}
	if (!e)
		e = creds_store_cert(b->c, der, CRED_CERT_ANCHOR, NULL, &why);
	if (!e)
		return;
	cred_say(b->w, CY_LOG_WARN, "%s: certificate %zu%s%s%s is left out: %s", b->path, b->n_certs,
	    cert ? " (" : "", cert ? cert->info->subject : "", cert ? ")" : "", why ? why : err_text(e));
	b->n_left_out++;
}

static void ca_key(void *user, struct cy_privkey *key)
{
	struct bundle *b = user;

	cred_say(b->w, CY_LOG_WARN, "%s holds the private key of a CA, which does not belong here", b->path);
	b->c->pki->privkey_unref(key);
}

static enum cy_err load_ca_file(struct creds *c, const char *path, const struct cred_where *w)
{
	struct bundle b = {.c = c, .w = w, .path = path};
	struct secret data = {0};
	const char *why = NULL;
	enum cy_err e = cred_read_file(path, false, w, &data);

	if (e)
		return e;
	e = c->pki->bundle_load(secret_slice(&data), bundle_pass, &b, ca_cert, ca_key, &why);
	secret_fini(&data);
	if (!e && b.n_certs == b.n_left_out) {
		e = CY_E_PARSE;
		why = "no CA certificate is in it";
	}
	if (e)
		cred_say(w, CY_LOG_ERROR, "%s is not used: %s", path, why ? why : err_text(e));
	return e;
}

static int visible(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && d->d_name[n - 1] != '~';
}

enum cy_err creds_load_cacerts(struct creds *c, const char *dir_or_file, cred_report_fn report, void *user)
{
	const struct cred_where w = {.report = report, .user = user};
	char *path = cred_path(c->paths.cacerts_dir, dir_or_file ? dir_or_file : ".");
	struct dirent **names;
	enum cy_err e = CY_OK;
	struct stat st;
	int n;

	if (!path)
		return CY_E_NOMEM;
	if (stat(path, &st) < 0) {
		e = errno == ENOENT ? CY_E_NOTFOUND : CY_E_IO;
		cred_say(&w, dir_or_file ? CY_LOG_ERROR : CY_LOG_INFO, "cannot open %s: %s", path,
		    strerror(errno));
	} else if (!c->pki) {
		cred_say(
		    &w, CY_LOG_WARN, "%s: no plugin reads certificates; load one, such as openssl", path);
		e = CY_E_UNSUPPORTED;
	} else if (!S_ISDIR(st.st_mode)) {
		e = load_ca_file(c, path, &w);
	} else if ((n = scandir(path, &names, visible, alphasort)) < 0) {
		cred_say(&w, CY_LOG_ERROR, "cannot read %s: %s", path, strerror(errno));
		e = CY_E_IO;
	} else {
		for (int i = 0; i < n; i++) {
			char *file = cred_path(path, names[i]->d_name);
			/* a folder of CAs is as good as its good files */
			if (file && stat(file, &st) == 0 && S_ISREG(st.st_mode) && load_ca_file(c, file, &w))
				cred_say(
				    &w, CY_LOG_DEBUG, "%s: going on with the other CA certificates", path);
			free(file);
			free(names[i]);
		}
		free(names);
	}
	free(path);
	return e;
}

enum cy_err creds_load_ca(
    struct creds *c, const char *file, const struct cred_uris *uris, cred_report_fn report, void *user)
{
	enum cy_err e;

	c->loading_uris = uris;
	e = creds_load_cacerts(c, file, report, user);
	c->loading_uris = NULL;
	return e;
}

/* --- raw public keys --- */

static enum cy_err take_pubkey(
    struct creds *c, struct cy_slice data, struct cy_pubkey **out, const char **out_why)
{
	struct secret spki = {0};
	struct cy_pubkey *key;
	enum cy_err e;

	if (cred_spki_of_ssh(data, &spki) == CY_OK || cred_spki_of_pkcs1(data, &spki) == CY_OK)
		data = secret_slice(&spki);
	e = c->pki->pubkey_load(data, &key, out_why);
	secret_fini(&spki);
	if (e)
		return e;
	for (size_t i = 0; i < c->n_pubkeys; i++)
		if (cy_slice_eq(c->pki->pubkey_spki(c->pubkeys[i]), c->pki->pubkey_spki(key))) {
			c->pki->pubkey_unref(key);
			*out = c->pubkeys[i];
			return CY_OK;
		}
	if (!cred_grow(&c->pubkeys, c->n_pubkeys, &c->cap_pubkeys, sizeof(*c->pubkeys))) {
		c->pki->pubkey_unref(key);
		return CY_E_NOMEM;
	}
	*out = c->pubkeys[c->n_pubkeys++] = key;
	return CY_OK;
}

/* "ssh-ed25519 AAAA... comment", as in a .pub file: the second word is the key in base64. */
static bool ssh_line(struct cy_slice text, struct secret *out)
{
	static const char *const kinds[] = {"ssh-", "ecdsa-sha2-"};
	const char *p = (const char *)text.p, *end = p + text.n, *from;
	char *digits;
	bool ok = false;

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		ok |= text.n > strlen(kinds[i]) && memcmp(p, kinds[i], strlen(kinds[i])) == 0;
	if (!ok)
		return false;
	while (p < end && *p != ' ' && *p != '\t')
		p++;
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	for (from = p; p<end && * p> ' '; p++)
		;
	if (asprintf(&digits, "0s%.*s", (int)(p - from), from) < 0)
		return false;
	ok = cred_decode(cy_slice_str(digits), out) == CY_OK;
	free(digits);
	return ok;
}

enum cy_err creds_load_pubkey(
    struct creds *c, const char *text, struct cy_pubkey **out, cred_report_fn report, void *user)
{
	const struct cred_where w = {.report = report, .user = user};
	struct cy_pubkey *known = creds_pubkey_by_text(c, text);
	const char *why = NULL, *value = text;
	struct secret data = {0}, ssh = {0};
	enum cy_err e = CY_OK;

	if (known) {
		*out = known;
		return CY_OK;
	}

	if (!c->pki) {
		cred_say(&w, CY_LOG_ERROR, "no plugin reads public keys; load one, such as openssl");
		return CY_E_UNSUPPORTED;
	}
	/* the decoded bytes tell the formats apart, so the prefixes say nothing new */
	if (strncmp(text, "dns:", 4) == 0 || strncmp(text, "ssh:", 4) == 0)
		value += 4;
	if (value[0] == '0' && value[1] && strchr("xXsS", value[1])) {
		e = cred_decode(cy_slice_str(value), &data);
		if (e)
			why = "it is neither hexadecimal digits after 0x nor base64 after 0s";
	} else {
		char *path = cred_path(c->paths.certs_dir, value);
		e = path ? cred_read_file(path, false, &w, &data) : CY_E_NOMEM;
		free(path);
		if (e)
			return e;
		if (ssh_line(secret_slice(&data), &ssh))
			secret_move(&data, &ssh);
	}
	if (!e)
		e = take_pubkey(c, secret_slice(&data), out, &why);
	if (!e && out)
		e = creds_name(c, text, NULL, *out);
	if (e)
		cred_say(&w, CY_LOG_ERROR, "public key %.24s%s: %s", text, strlen(text) > 24 ? "..." : "",
		    why ? why : err_text(e));
	secret_fini(&data);
	secret_fini(&ssh);
	return e;
}

enum cy_err cred_ident_resolve(const struct crypto *crypto, struct ident *id)
{
	const struct cy_pki_ops *pki = crypto ? crypto_pki(crypto) : NULL;
	struct ident der;
	uint8_t *p;
	size_t n;
	char *text;
	enum cy_err e;

	if (id->type != ID_DN_TEXT)
		return CY_OK;
	if (!pki)
		return CY_E_UNSUPPORTED;
	text = text_dup(id->p, id->n);
	if (!text)
		return CY_E_NOMEM;
	e = pki->name_parse(text, &p, &n);
	free(text);
	if (e)
		return e;
	e = ident_set(&der, ID_DER_ASN1_DN, cy_slice(p, n));
	free(p);
	if (e)
		return e;
	ident_fini(id);
	*id = der;
	return CY_OK;
}
