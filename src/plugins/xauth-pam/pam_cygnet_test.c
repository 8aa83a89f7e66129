/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PAM module for tests of real PAM. Arguments of its line: sleep=MS waits in authentication; log=FILE appends a line for
 * each phase. Users: "uN" has the password "pN"; "die" ends the process, "hang" never returns; "otp" is asked for a code, which
 * is 123456; "expired" has an account that is; "static" gets an address, "pool" a pool and a group, "group" a group.
 */

#include <errno.h>
#include <fcntl.h>
#include <security/pam_appl.h>
#include <security/pam_modules.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

EXPORT int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv);
EXPORT int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv);
EXPORT int pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv);
EXPORT int pam_sm_open_session(pam_handle_t *h, int flags, int argc, const char **argv);
EXPORT int pam_sm_close_session(pam_handle_t *h, int flags, int argc, const char **argv);

static const char *argument(int argc, const char **argv, const char *name)
{
	size_t n = strlen(name);

	for (int i = 0; i < argc; i++)
		if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
			return argv[i] + n + 1;
	return NULL;
}

static const char *user_of(pam_handle_t *h)
{
	const char *user = NULL;

	return pam_get_user(h, &user, NULL) == PAM_SUCCESS && user ? user : "";
}

static void note(pam_handle_t *h, int argc, const char **argv, const char *phase)
{
	const char *file = argument(argc, argv, "log");
	const void *rhost = NULL, *tty = NULL;
	char line[512];
	int fd, n;

	if (!file)
		return;
	(void)pam_get_item(h, PAM_RHOST, &rhost);
	(void)pam_get_item(h, PAM_TTY, &tty);
	n = snprintf(line, sizeof(line), "%s %s %s %s %s\n", phase, user_of(h),
	    rhost ? (const char *)rhost : "-", tty ? (const char *)tty : "-",
	    pam_getenv(h, "CYGNET_CONN") ? pam_getenv(h, "CYGNET_CONN") : "-");
	fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t)n) != n)
		(void)!ftruncate(fd, 0);
	close(fd);
}

/* One question; the answer is malloc'd. */
static char *ask(pam_handle_t *h, int style, const char *text)
{
	const struct pam_message m = {style, text}, *pm = &m;
	const struct pam_conv *c = NULL;
	struct pam_response *r = NULL;
	char *answer;

	if (pam_get_item(h, PAM_CONV, (const void **)&c) || !c || c->conv(1, &pm, &r, c->appdata_ptr))
		return NULL;
	answer = r ? r->resp : NULL;
	free(r);
	return answer;
}

int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = user_of(h), *ms = argument(argc, argv, "sleep");
	char *password = ask(h, PAM_PROMPT_ECHO_OFF, "Password: "), want[128], *code;
	long wait = ms ? strtol(ms, NULL, 10) : 0;
	bool right;

	(void)flags;
	note(h, argc, argv, "auth");
	if (wait)
		(void)nanosleep(&(struct timespec){wait / 1000, wait % 1000 * 1000000}, NULL);
	if (strcmp(user, "die") == 0)
		_exit(1);
	while (strcmp(user, "hang") == 0)
		(void)pause();
	snprintf(want, sizeof(want), "p%s", *user ? user + 1 : "");
	right = password && strcmp(password, want) == 0;
	free(password);
	if (!right)
		return PAM_AUTH_ERR;
	if (strcmp(user, "otp") == 0) {
		free(ask(h, PAM_TEXT_INFO, "A code is needed."));
		code = ask(h, PAM_PROMPT_ECHO_ON, "Passcode: ");
		right = code && strcmp(code, "123456") == 0;
		free(code);
	}
	return right ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
	note(h, argc, argv, flags & PAM_DELETE_CRED ? "uncred" : "cred");
	return PAM_SUCCESS;
}

int pam_sm_acct_mgmt(pam_handle_t *h, int flags, int argc, const char **argv)
{
	const char *user = user_of(h);

	(void)flags;
	note(h, argc, argv, "account");
	if (strcmp(user, "static") == 0)
		(void)pam_putenv(h, "CYGNET_ADDRESS=10.9.8.7");
	if (strcmp(user, "pool") == 0) {
		(void)pam_putenv(h, "CYGNET_POOL=10.7.0.0/24");
		(void)pam_putenv(h, "CYGNET_GROUP=staff");
	}
	if (strcmp(user, "group") == 0)
		(void)pam_putenv(h, "CYGNET_GROUP=staff");
	if (strcmp(user, "expired") == 0) {
		free(ask(h, PAM_ERROR_MSG, "Your account has expired."));
		return PAM_ACCT_EXPIRED;
	}
	return PAM_SUCCESS;
}

int pam_sm_open_session(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags;
	note(h, argc, argv, "open");
	return PAM_SUCCESS;
}

int pam_sm_close_session(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)flags;
	note(h, argc, argv, "close");
	return PAM_SUCCESS;
}
