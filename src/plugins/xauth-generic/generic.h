/* SPDX-License-Identifier: Apache-2.0 */
/* Users and their passwords. check.c computes for long; everything may be called on any thread, one at a time for a struct passwd. */
#ifndef XAUTH_GENERIC_H
#define XAUTH_GENERIC_H

#include <sys/stat.h>

#include <cygnet/types.h>

#define PASSWORD_MAX 1024

/* One line of the file; points into its text. */
struct entry {
	const char *user, *hash, *conns, *address;
	uint32_t line;
};

struct passwd {
	char *text; /* NULs between the fields */
	size_t n_text;
	struct entry *e; /* sorted by user, those of one user as in the file */
	size_t n;
	struct timespec mtime;
	off_t size;
	ino_t inode;
	bool there;
};

typedef void (*passwd_complain)(void *user, uint32_t line, const char *what);

/* Reads the file again when it has changed; what was read before goes on when it cannot be. A file that is not there is empty. */
enum cy_err passwd_refresh(
    struct passwd *p, const char *path, passwd_complain complain, void *user) CY_MUST_USE;
/* Takes text, malloc'd and NUL-terminated. */
enum cy_err passwd_parse(struct passwd *p, char *text, passwd_complain complain, void *user) CY_MUST_USE;
void passwd_clear(struct passwd *p);
/* The first entry of the user for this connection. *out_other: there are entries, of other connections only. */
const struct entry *passwd_find(const struct passwd *p, const char *user, const char *conn, bool *out_other);

/* Is it what crypt(3) makes, and not a password as it is typed? */
bool check_is_hash(const char *s);
/* Is this the password? CY_E_AUTH: no. CY_E_UNSUPPORTED: crypt(3) does not know the hash. */
enum cy_err check_hash(const char *hash, struct cy_slice password) CY_MUST_USE;
enum cy_err check_plain(const char *secret, struct cy_slice password) CY_MUST_USE;
/* Of nobody: takes as long as a wrong password of another (like: his hash, or NULL). Never CY_OK. */
enum cy_err check_nobody(const char *like, struct cy_slice password) CY_MUST_USE;

#endif
