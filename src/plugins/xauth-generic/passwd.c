/* SPDX-License-Identifier: Apache-2.0 */
/* The file of users as libreswan has it, which is htpasswd's with two fields more. */

#include "generic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_MAX (64u << 20)

void passwd_clear(struct passwd *p)
{
	if (p->text)
		explicit_bzero(p->text, p->n_text);
	free(p->text);
	free(p->e);
	*p = (struct passwd){0};
}

static int by_user(const void *pa, const void *pb)
{
	const struct entry *a = pa, *b = pb;
	int d = strcmp(a->user, b->user);

	return d ? d : a->line < b->line ? -1 : a->line > b->line;
}

/* NAME:HASH:CONNECTIONS:ADDRESS; an IPv6 address has colons of its own, and is the last. */
static const char *parse_line(char *line, struct entry *out)
{
	char *f[4] = {line, NULL, NULL, NULL};
	uint8_t ip[16];

	for (int i = 1; i < 4 && f[i - 1]; i++) {
		f[i] = strchr(f[i - 1], ':');
		if (f[i])
			*f[i]++ = '\0';
	}
	if (!*f[0])
		return "no name";
	if (!f[1] || !*f[1])
		return "no hash of a password: this user cannot log in";
	/* spaces around what a human wrote */
	for (int i = 2; i < 4; i++)
		if (f[i])
			f[i] += strspn(f[i], " \t");
	if (f[3])
		f[3][strcspn(f[3], " \t")] = '\0';
	if (f[3] && *f[3] && inet_pton(AF_INET, f[3], ip) != 1 && inet_pton(AF_INET6, f[3], ip) != 1)
		return "the last field is no address";
	out->user = f[0];
	out->hash = f[1];
	out->conns = f[2] ? f[2] : "";
	out->address = f[3] ? f[3] : "";
	return NULL;
}

enum cy_err passwd_parse(struct passwd *p, char *text, passwd_complain complain, void *user)
{
	struct entry *e = NULL;
	size_t n = 0, cap = 0, n_text = strlen(text);
	uint32_t line = 0;
	char *next;

	for (char *at = text; at && *at; at = next) {
		const char *why;
		struct entry one = {0};

		next = strchr(at, '\n');
		if (next)
			*next++ = '\0';
		line++;
		at[strcspn(at, "\r")] = '\0';
		if (!*at || *at == '#')
			continue;
		why = parse_line(at, &one);
		if (why) {
			complain(user, line, why);
			continue;
		}
		one.line = line;
		if (n == cap) {
			struct entry *more = reallocarray(e, cap ? cap * 2 : 64, sizeof(*e));

			if (!more) {
				explicit_bzero(text, n_text);
				free(text);
				free(e);
				return CY_E_NOMEM;
			}
			e = more;
			cap = cap ? cap * 2 : 64;
		}
		e[n++] = one;
	}
	if (n)
		qsort(e, n, sizeof(*e), by_user);
	passwd_clear(p);
	p->text = text;
	p->n_text = n_text;
	p->e = e;
	p->n = n;
	return CY_OK;
}

static enum cy_err read_all(int fd, size_t size, char **out)
{
	char *text = malloc(size + 1);
	size_t n = 0;

	if (!text)
		return CY_E_NOMEM;
	while (n < size) {
		ssize_t got = read(fd, text + n, size - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			explicit_bzero(text, n);
			free(text);
			return CY_E_IO;
		}
		if (got == 0)
			break;
		n += (size_t)got;
	}
	text[n] = '\0';
	*out = text;
	return CY_OK;
}

static bool unchanged(const struct passwd *p, const struct stat *st)
{
	return p->there && p->inode == st->st_ino && p->size == st->st_size &&
	    p->mtime.tv_sec == st->st_mtim.tv_sec && p->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

enum cy_err passwd_refresh(struct passwd *p, const char *path, passwd_complain complain, void *user)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum cy_err e = CY_E_IO;
	char *text = NULL;
	struct stat st;

	if (fd < 0 && errno == ENOENT) {
		passwd_clear(p);
		return CY_OK;
	}
	if (fd < 0)
		return CY_E_IO;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
		e = unchanged(p, &st) ? CY_E_EXISTS : st.st_size > (off_t)FILE_MAX ? CY_E_LIMIT : CY_OK;
		if (!e)
			e = read_all(fd, (size_t)st.st_size, &text);
	}
	close(fd);
	if (e)
		return e == CY_E_EXISTS ? CY_OK : e;
	if (st.st_mode & 077)
		complain(user, 0, "others than its owner may read it; chmod 600 changes that");
	e = passwd_parse(p, text, complain, user);
	if (e)
		return e;
	p->there = true;
	p->inode = st.st_ino;
	p->size = st.st_size;
	p->mtime = st.st_mtim;
	return CY_OK;
}

/* "", "home", "home,work": is this connection among them? */
static bool allows(const char *list, const char *conn)
{
	size_t n = strlen(conn);
	bool any = false;

	for (const char *at = list; *at;) {
		size_t len;

		at += strspn(at, ", \t");
		len = strcspn(at, ", \t");
		any = any || len;
		if (len && len == n && memcmp(at, conn, n) == 0)
			return true;
		at += len;
	}
	return !any;
}

const struct entry *passwd_find(const struct passwd *p, const char *user, const char *conn, bool *out_other)
{
	size_t lo = 0, hi = p->n;

	*out_other = false;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(p->e[mid].user, user) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < p->n && strcmp(p->e[lo].user, user) == 0; lo++) {
		if (allows(p->e[lo].conns, conn))
			return &p->e[lo];
		*out_other = true;
	}
	return NULL;
}
