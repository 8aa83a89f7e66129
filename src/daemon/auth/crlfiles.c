/* SPDX-License-Identifier: Apache-2.0 */
/* CRLs of files: a folder of them is read as a whole, at the start and with each reload. Who issued them must be a certificate that is loaded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/auth/sources_impl.h"
#include "libcore/base/dn.h"
#include "libcore/base/err.h"
#include "libcore/cred/cred.h"

struct load {
	struct sources *s;
	void (*report)(void *user, enum cy_level level, const char *text);
	void *user;
	const char *name;
	struct cy_crl *crl; /* the file that is being read */
	struct cy_slice data;
	bool taken;
	const char *why;
};

static void say(struct load *l, enum cy_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void say(struct load *l, enum cy_level level, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (l->report)
		l->report(l->user, level, text);
}

/* Takes crl in any case. */
static enum cy_err put(
    struct sources *s, struct cy_cert *issuer, struct cy_crl *crl, const char *name, const char **out_why)
{
	const struct cy_crl_info *i = s->pki->crl_info(crl);
	struct cy_crl *gone = crl;
	enum cy_err e = CY_OK;
	struct source *src;

	pthread_mutex_lock(&s->lock);
	src = source_find(s, SOURCE_FILE, NULL, NULL, issuer);
	if (!src)
		src = source_add(s, SOURCE_FILE, name, NULL, issuer);
	if (!src) {
		e = CY_E_NOMEM;
		*out_why = err_text(e);
	} else if (src->crl && !src->old && i->this_update <= src->info.this_update) {
		e = CY_E_EXISTS;
		*out_why = "another file has one of the same issuer that is not older";
	} else {
		source_set_crl(s, src, &gone, s->d->env->wall(s->d->env));
		src->old = false;
	}
	pthread_mutex_unlock(&s->lock);
	if (gone)
		s->pki->crl_unref(gone);
	return e;
}

enum cy_err sources_add_crl(
    struct sources *s, struct cy_cert *issuer, struct cy_slice data, const char *name, const char **out_why)
{
	struct cy_crl *crl;
	enum cy_err e;

	*out_why = "no plugin reads CRLs (openssl)";
	if (!s->can)
		return CY_E_UNSUPPORTED;
	e = source_read_crl(s, issuer, data, s->d->env->wall(s->d->env), &crl, out_why);
	return e ? e : put(s, issuer, crl, name, out_why);
}

static void try_issuer(void *user, struct cy_cert *cert, bool ca, bool has_key)
{
	struct load *l = user;
	const struct cy_cert_info *i = l->s->pki->cert_info(cert);
	const char *why;

	(void)ca;
	(void)has_key;
	if (l->taken || !(i->flags & CY_CERT_CA) ||
	    !dn_eq(i->subject_der, l->s->pki->crl_info(l->crl)->issuer_der))
		return;
	if (sources_add_crl(l->s, cert, l->data, l->name, &why))
		l->why = why;
	else
		l->taken = true;
}

static uint8_t *read_file(struct load *l, const char *path, size_t *out_n)
{
	uint64_t max = l->s->d->tune.crl_size_max;
	/* not to wait for a writer of a FIFO */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
	uint8_t *data = NULL;
	struct stat st;

	if (!f || fstat(fd, &st) < 0) {
		say(l, CY_LOG_ERROR, "cannot read %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		data = NULL;
	} else if ((uint64_t)st.st_size > max) {
		say(l, CY_LOG_ERROR, "%s is not used: it is larger than crl_size_max", path);
	} else if ((data = malloc((size_t)st.st_size + 1)) == NULL) {
		say(l, CY_LOG_ERROR, "%s is not used: out of memory", path);
	} else {
		*out_n = fread(data, 1, (size_t)st.st_size, f);
	}
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	return data;
}

static void load_file(struct load *l, const struct creds *c, const char *path)
{
	const char *why = NULL;
	size_t n = 0;
	uint8_t *data = read_file(l, path, &n);

	if (!data)
		return;
	l->name = path;
	l->data = cy_slice(data, n);
	l->taken = false;
	l->why = "its issuer is none of the CA certificates that are loaded";
	if (l->s->pki->crl_load(l->data, &l->crl, &why)) {
		l->why = why ? why : "it is no CRL";
	} else {
		creds_list(c, try_issuer, l);
		l->s->pki->crl_unref(l->crl);
	}
	if (!l->taken)
		say(l, CY_LOG_ERROR, "%s is not used: %s", path, l->why);
	free(data);
}

/* True of each file that was there: what is not read again goes. */
static void mark_old(struct sources *s)
{
	struct hnode *n, *tmp;
	size_t b;

	pthread_mutex_lock(&s->lock);
	hmap_foreach (&s->table, b, n, tmp)
		container_of(n, struct source, node)->old =
		    container_of(n, struct source, node)->kind == SOURCE_FILE;
	pthread_mutex_unlock(&s->lock);
}

static int visible(const struct dirent *d)
{
	size_t n = strlen(d->d_name);

	return d->d_name[0] != '.' && d->d_name[n - 1] != '~';
}

void sources_load_files(struct sources *s, const struct creds *c, const char *dir,
    void (*report)(void *user, enum cy_level level, const char *text), void *user)
{
	struct load l = {.s = s, .report = report, .user = user};
	struct dirent **names = NULL;
	char path[4096];
	int n = 0;

	mark_old(s);
	if (dir && (n = scandir(dir, &names, visible, alphasort)) < 0)
		say(&l, CY_LOG_ERROR, "cannot read %s: %s", dir, strerror(errno));
	if (n > 0 && !s->can)
		say(&l, CY_LOG_WARN, "%s: no plugin reads CRLs; load one, such as openssl", dir);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]->d_name);
		if (s->can)
			load_file(&l, c, path);
		free(names[i]);
	}
	free(names);
	sources_drop_files(s);
}
