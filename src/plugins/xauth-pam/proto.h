/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the plugin and its helpers say to each other, over a SOCK_SEQPACKET pair: one message a datagram, a type, the login's
 * number, and fields. Both sides are of one build. Whoever has written or read a message wipes it.
 */
#ifndef XAUTH_PAM_PROTO_H
#define XAUTH_PAM_PROTO_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define MSG_MAX   8192
#define FIELD_MAX 2048
#define HELPER_FD 3

enum msg_type {
	/* to the helper */
	MSG_LOGIN = 1, /* the fields up to FIELD_SESSIONS */
	MSG_REPLY,     /* to MSG_ASK: FIELD_SECRET */
	MSG_GIVE_UP,   /* instead of a reply */
	MSG_CLOSE,     /* the session of this login; with the fields of a login when another helper had it */
	/* from it */
	MSG_READY,  /* once, before anything else; the login's number is 0 */
	MSG_ASK,    /* FIELD_PROMPT, FIELD_MESSAGE */
	MSG_DONE,   /* FIELD_RESULT and the rest */
	MSG_CLOSED, /* FIELD_RESULT, FIELD_REASON */
};

enum msg_field {
	FIELD_SERVICE = 1,
	FIELD_CONFDIR,
	FIELD_USER,
	FIELD_SECRET,
	FIELD_RHOST,
	FIELD_TTY,
	FIELD_CONN,
	FIELD_REMOTE_ID,
	FIELD_SESSIONS, /* "1": open a session */
	FIELD_RESULT,   /* "0": let in, "1": refused, "2": PAM is out of order */
	FIELD_PROMPT,   /* enum cy_xauth_prompt as a digit */
	FIELD_MESSAGE,
	FIELD_REASON,
	FIELD_ADDRESS,
	FIELD_POOL,
	FIELD_GROUP,
	FIELD_N
};

struct msg {
	size_t n;
	uint8_t p[MSG_MAX];
};

/* Member by member: of the whole this compiler believes, with sanitizers, that it is smaller. */
static inline void msg_wipe(struct msg *m)
{
	explicit_bzero(m->p, sizeof(m->p));
	m->n = 0;
}

static inline void msg_init(struct msg *m, enum msg_type type, uint64_t id)
{
	m->p[0] = (uint8_t)type;
	memcpy(m->p + 1, &id, sizeof(id));
	m->n = 9;
}

/* False: it does not fit. */
static inline bool msg_put(struct msg *m, enum msg_field f, const void *p, size_t n)
{
	uint16_t len = (uint16_t)n;

	if (n > FIELD_MAX || m->n + 3 + n > sizeof(m->p))
		return false;
	m->p[m->n] = (uint8_t)f;
	memcpy(m->p + m->n + 1, &len, 2);
	memcpy(m->p + m->n + 3, p, n);
	m->n += 3 + n;
	return true;
}

/* A text, cut where it is too long; an empty one is left out. */
static inline void msg_text(struct msg *m, enum msg_field f, const char *s)
{
	size_t n = s ? strlen(s) : 0;

	if (n)
		(void)msg_put(m, f, s, n < FIELD_MAX ? n : FIELD_MAX);
}

/* With a NUL after each field: fields[f] and lens[f] point into m, NULL where there is none. False: not such a message. */
static inline bool msg_read(struct msg *m, enum msg_type *out_type, uint64_t *out_id,
    const char *fields[FIELD_N], size_t lens[FIELD_N])
{
	size_t at = 9;

	for (int i = 0; i < FIELD_N; i++) {
		fields[i] = NULL;
		lens[i] = 0;
	}
	if (m->n < 9 || m->n >= sizeof(m->p))
		return false;
	*out_type = (enum msg_type)m->p[0];
	memcpy(out_id, m->p + 1, sizeof(*out_id));
	while (at < m->n) {
		uint8_t f = m->p[at];
		uint16_t len;

		if (m->n - at < 3)
			return false;
		memcpy(&len, m->p + at + 1, 2);
		if (f == 0 || f >= FIELD_N || len > m->n - at - 3)
			return false;
		/* its header makes room for the NUL */
		memmove(m->p + at, m->p + at + 3, len);
		m->p[at + len] = 0;
		fields[f] = (const char *)m->p + at;
		lens[f] = len;
		at += 3u + len;
	}
	return true;
}

#endif
