/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One helper of the plugin xauth-pam: a process that may wait inside PAM. It handles one login at a time, each with a PAM handle and
 * a conversation of its own, and keeps the handles of those it let in until their sessions end. It ends with its
 * socket, and knows nothing of the daemon.
 */

#include "config.h"
#include "proto.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <security/pam_appl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cygnet/xauth.h>

struct session {
	struct session *next;
	uint64_t id;
	pam_handle_t *pam;
	struct login *login; /* the conversation goes on pointing to it */
};

/* A login in progress, or what its conversation needs while its session lasts. */
struct login {
	uint64_t id;
	char *secret; /* the password as it came; given to the first question, then gone */
	size_t n_secret;
	bool asking;        /* authenticating: the user is there to answer */
	bool gave_up;       /* the daemon does not wait any more */
	char message[1024]; /* for the user, from the modules */
};

static struct session *sessions;
static struct msg in, out;

/* It is given neither an environment nor a standard error: what a sanitizer has to say goes where testing/lib/sanitized looks. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#	define REPORTS "log_exe_name=1:log_path=" STATEDIR "/sanitizer"
#	define DEFAULTS(sanitizer, options)                                                                 \
		const char *__##sanitizer##_default_options(void);                                           \
		__attribute__((visibility("default"))) const char *__##sanitizer##_default_options(void)     \
		{                                                                                            \
			return options;                                                                      \
		}
DEFAULTS(asan, REPORTS ":handle_abort=1")
DEFAULTS(tsan, REPORTS)
DEFAULTS(ubsan, REPORTS ":abort_on_error=1")
#endif

static void wipe(void *p, size_t n)
{
	explicit_bzero(p, n);
}

static void wipe_secret(struct login *l)
{
	if (l->secret)
		wipe(l->secret, l->n_secret);
	free(l->secret);
	l->secret = NULL;
	l->n_secret = 0;
}

/* --- the socket ------------------------------------------------------------------------------------------------------ */

static void send_out(void)
{
	while (send(HELPER_FD, out.p, out.n, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			_exit(0); /* the daemon is gone */
	wipe(&out, sizeof(out));
}

static void receive_in(enum msg_type *type, uint64_t *id, const char *fields[FIELD_N], size_t lens[FIELD_N])
{
	ssize_t n;

	do
		n = recv(HELPER_FD, in.p, sizeof(in.p) - 1, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		_exit(0);
	in.n = (size_t)n;
	if (!msg_read(&in, type, id, fields, lens))
		_exit(2);
}

/* --- the conversation ------------------------------------------------------------------------------------------------ */

static bool has_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	for (; *text; text++)
		if (strncasecmp(text, word, n) == 0)
			return true;
	return false;
}

/* What the client shall call it, from what the module says. */
static enum cy_xauth_prompt prompt_of(const char *text)
{
	if (has_word(text, "pin"))
		return CY_XAUTH_NEXT_PIN;
	if (has_word(text, "code") || has_word(text, "token") || has_word(text, "otp"))
		return CY_XAUTH_PASSCODE;
	return has_word(text, "password") ? CY_XAUTH_PASSWORD : CY_XAUTH_ANSWER;
}

static char *ask(struct login *l, const char *text)
{
	const char *fields[FIELD_N];
	char digit = (char)('0' + prompt_of(text)), question[1536];
	size_t lens[FIELD_N];
	enum msg_type type;
	char *answer = NULL;
	uint64_t id;

	if (!l->asking || l->gave_up)
		return NULL;
	/* what was said before belongs to the question */
	snprintf(question, sizeof(question), "%s%s%s", l->message, *l->message ? "\n" : "", text);
	l->message[0] = '\0';
	msg_init(&out, MSG_ASK, l->id);
	(void)msg_put(&out, FIELD_PROMPT, &digit, 1);
	msg_text(&out, FIELD_MESSAGE, question);
	send_out();
	for (;;) {
		receive_in(&type, &id, fields, lens);
		if (type == MSG_CLOSE || id != l->id)
			continue; /* the plugin sends nothing else while we are busy */
		if (type == MSG_REPLY && fields[FIELD_SECRET])
			answer = strndup(fields[FIELD_SECRET], lens[FIELD_SECRET]);
		else
			l->gave_up = true;
		wipe(&in, sizeof(in));
		return answer;
	}
}

static void say(struct login *l, const char *text)
{
	size_t n = strlen(l->message);

	snprintf(l->message + n, sizeof(l->message) - n, "%s%s", n ? "\n" : "", text);
}

static char *answer_of(struct login *l, const char *text, bool hidden)
{
	char *s;

	if (hidden && l->secret) {
		s = strdup(l->secret);
		wipe_secret(l);
		return s;
	}
	return ask(l, text);
}

static int converse(int n, const struct pam_message **msg, struct pam_response **resp, void *data)
{
	struct login *l = data;
	struct pam_response *r = n > 0 && n <= PAM_MAX_NUM_MSG ? calloc((size_t)n, sizeof(*r)) : NULL;

	if (!r)
		return PAM_CONV_ERR;
	for (int i = 0; i < n; i++) {
		const char *text = msg[i]->msg ? msg[i]->msg : "";
		int style = msg[i]->msg_style;

		if (style == PAM_ERROR_MSG || style == PAM_TEXT_INFO) {
			say(l, text);
			continue;
		}
		r[i].resp = style == PAM_PROMPT_ECHO_OFF || style == PAM_PROMPT_ECHO_ON
		    ? answer_of(l, text, style == PAM_PROMPT_ECHO_OFF)
		    : NULL;
		if (r[i].resp)
			continue;
		for (int k = 0; k < n; k++) {
			if (r[k].resp)
				wipe(r[k].resp, strlen(r[k].resp));
			free(r[k].resp);
		}
		free(r);
		return PAM_CONV_ERR;
	}
	*resp = r;
	return PAM_SUCCESS;
}

/* --- logins ---------------------------------------------------------------------------------------------------------- */

static void set_env(pam_handle_t *pam, const char *name, const char *value)
{
	char text[FIELD_MAX + 64];

	snprintf(text, sizeof(text), "%s=%s", name, value ? value : "");
	(void)pam_putenv(pam, text);
}

static int start(struct login *l, const char *f[FIELD_N], pam_handle_t **out_pam)
{
	const struct pam_conv conv = {.conv = converse, .appdata_ptr = l};
	int e = pam_start_confdir(
	    f[FIELD_SERVICE] ? f[FIELD_SERVICE] : "", f[FIELD_USER], &conv, f[FIELD_CONFDIR], out_pam);

	if (e == PAM_SUCCESS && f[FIELD_RHOST])
		e = pam_set_item(*out_pam, PAM_RHOST, f[FIELD_RHOST]);
	if (e == PAM_SUCCESS && f[FIELD_TTY])
		e = pam_set_item(*out_pam, PAM_TTY, f[FIELD_TTY]);
	if (e == PAM_SUCCESS) {
		set_env(*out_pam, "CYGNET_CONN", f[FIELD_CONN]);
		set_env(*out_pam, "CYGNET_REMOTE_ID", f[FIELD_REMOTE_ID]);
	}
	return e;
}

/* What of PAM's errors are about the user; the others mean that PAM does not work. */
static bool is_verdict(int e)
{
	switch (e) {
	case PAM_AUTH_ERR:
	case PAM_CRED_INSUFFICIENT:
	case PAM_USER_UNKNOWN:
	case PAM_MAXTRIES:
	case PAM_PERM_DENIED:
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD:
	case PAM_AUTHTOK_EXPIRED:
	case PAM_CRED_EXPIRED:
	case PAM_CRED_UNAVAIL:
	case PAM_SESSION_ERR:
	case PAM_CONV_ERR:
		return true;
	default:
		return false;
	}
}

static void put_result(char digit, const char *reason, const char *message)
{
	(void)msg_put(&out, FIELD_RESULT, &digit, 1);
	msg_text(&out, FIELD_REASON, reason);
	msg_text(&out, FIELD_MESSAGE, message);
}

static int phases(pam_handle_t *pam, struct login *l, bool sessions_wanted, const char **out_phase)
{
	int e;

	*out_phase = "authentication";
	l->asking = true;
	e = pam_authenticate(pam, PAM_DISALLOW_NULL_AUTHTOK);
	l->asking = false;
	wipe_secret(l);
	if (e)
		return e;
	*out_phase = "account";
	e = pam_acct_mgmt(pam, PAM_DISALLOW_NULL_AUTHTOK);
	if (e)
		return e;
	*out_phase = "credentials";
	e = pam_setcred(pam, PAM_ESTABLISH_CRED);
	if (e || !sessions_wanted)
		return e;
	*out_phase = "session";
	e = pam_open_session(pam, PAM_SILENT);
	if (e)
		(void)pam_setcred(pam, PAM_DELETE_CRED | PAM_SILENT);
	return e;
}

static void login(uint64_t id, const char *f[FIELD_N], const size_t lens[FIELD_N])
{
	struct login *l = calloc(1, sizeof(*l));
	struct session *s = calloc(1, sizeof(*s));
	bool sessions_wanted = f[FIELD_SESSIONS] && *f[FIELD_SESSIONS] == '1';
	const char *phase = "start";
	pam_handle_t *pam = NULL;
	char reason[256];
	int e = PAM_BUF_ERR;

	msg_init(&out, MSG_DONE, id);
	if (l && s && f[FIELD_USER]) {
		l->id = id;
		l->n_secret = lens[FIELD_SECRET];
		/* PAM has texts: what is after a NUL in a password would never count */
		if (!memchr(f[FIELD_SECRET] ? f[FIELD_SECRET] : "", 0, l->n_secret))
			l->secret = strndup(f[FIELD_SECRET] ? f[FIELD_SECRET] : "", l->n_secret);
		e = l->secret ? start(l, f, &pam) : PAM_AUTH_ERR;
	}
	wipe(&in, sizeof(in));
	if (e == PAM_SUCCESS)
		e = phases(pam, l, sessions_wanted, &phase);
	msg_init(&out, MSG_DONE, id);
	if (e == PAM_SUCCESS) {
		put_result('0', "", l->message);
		msg_text(&out, FIELD_ADDRESS, pam_getenv(pam, "CYGNET_ADDRESS"));
		msg_text(&out, FIELD_POOL, pam_getenv(pam, "CYGNET_POOL"));
		msg_text(&out, FIELD_GROUP, pam_getenv(pam, "CYGNET_GROUP"));
		if (sessions_wanted) {
			*s = (struct session){sessions, id, pam, l};
			sessions = s;
			l->message[0] = '\0';
			send_out();
			return;
		}
	} else {
		snprintf(reason, sizeof(reason), "PAM %s: %s%s", phase, pam_strerror(pam, e),
		    l && l->gave_up ? " (no answer from the user)" : "");
		put_result(is_verdict(e) ? '1' : '2', reason, l ? l->message : "");
	}
	if (pam)
		(void)pam_end(pam, e);
	if (l)
		wipe_secret(l);
	free(l);
	free(s);
	send_out();
}

static void close_session(uint64_t id, const char *f[FIELD_N])
{
	struct login fresh = {.id = id}, *l = &fresh;
	pam_handle_t *pam = NULL;
	struct session **at, *s = NULL;
	int e = PAM_SUCCESS;

	for (at = &sessions; *at; at = &(*at)->next)
		if ((*at)->id == id) {
			s = *at;
			*at = s->next;
			break;
		}
	if (s) {
		pam = s->pam;
		l = s->login;
	} else {
		e = f[FIELD_USER] ? start(l, f, &pam) : PAM_USER_UNKNOWN;
	}
	wipe(&in, sizeof(in));
	if (e == PAM_SUCCESS) {
		e = pam_close_session(pam, PAM_SILENT);
		(void)pam_setcred(pam, PAM_DELETE_CRED | PAM_SILENT);
	}
	msg_init(&out, MSG_CLOSED, id);
	put_result(e == PAM_SUCCESS ? '0' : '2', e == PAM_SUCCESS ? "" : pam_strerror(pam, e), "");
	if (pam)
		(void)pam_end(pam, e);
	if (s)
		free(l);
	free(s);
	send_out();
}

int main(void)
{
	const struct rlimit none = {0, 0};
	const char *fields[FIELD_N];
	size_t lens[FIELD_N];
	enum msg_type type;
	uint64_t id;

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)signal(SIGPIPE, SIG_IGN);
	msg_init(&out, MSG_READY, 0);
	send_out();
	for (;;) {
		receive_in(&type, &id, fields, lens);
		if (type == MSG_LOGIN)
			login(id, fields, lens);
		else if (type == MSG_CLOSE)
			close_session(id, fields);
		wipe(&in, sizeof(in)); /* a reply that came too late, too */
	}
}
