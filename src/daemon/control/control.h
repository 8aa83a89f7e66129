/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: newline-delimited JSON, described in doc/control-protocol.md. One thread of its own serves all
 * clients; what it needs from IKE_SAs it asks the workers for by jobs and gets back by messages, so that no client can hold up a
 * worker and a busy worker holds up only the clients that asked about its SAs.
 */
#ifndef DAEMON_CONTROL_CONTROL_H
#define DAEMON_CONTROL_CONTROL_H

#include "daemon/core/daemon.h"

struct control;

typedef void (*control_report_fn)(void *user, enum cy_level level, const char *text);

/* What only the wiring above can do. */
struct control_hooks {
	/* On a thread made for it, so it may take its time. */
	enum cy_err (*reload)(void *user, control_report_fn report, void *report_user);
	void (*stop)(void *user); /* asks the main thread to end; returns at once */
	void *user;
};

struct control_config {
	const char *socket;   /* path, for messages */
	int listen_fd;        /* taken over, -1: none (tests) */
	uint32_t max_clients; /* 0: 64 */
	uint32_t out_max;     /* bytes waiting for one client, 0: 4 MiB */
	uint64_t stall_ns;    /* a client that takes nothing for so long is disconnected, 0: 10 s */
	uint32_t allow_gid;   /* members may connect; UINT32_MAX: only root and our own user */
	struct control_hooks hooks;
};

struct control_stats {
	uint64_t accepted, refused, closed, dropped_unread, dropped_line, bad_requests, requests;
	uint32_t clients;
};

/*
 * Bind the socket, before privileges are given up: mode 0660 with a group (may be NULL), else 0600. A socket left by a daemon that is
 * gone is replaced, a living one means CY_E_EXISTS.
 */
enum cy_err control_listen(const char *path, const char *group, int *out_fd, uint32_t *out_gid, char *why,
    size_t why_cap) CY_MUST_USE;

enum cy_err control_new(struct daemon *d, const struct control_config *cfg, struct control **out) CY_MUST_USE;
enum cy_err control_start(struct control *c) CY_MUST_USE; /* its thread */
/* Instead of a thread: do what there is to do, without waiting (fuzzing, simulator). */
void control_step(struct control *c);
/* A connected stream socket as a client (tests); takes fd. Any thread. */
enum cy_err control_adopt(struct control *c, int fd);
/* Clients are told and closed; returns when the thread has ended. Workers still run. */
void control_stop(struct control *c);
/* Workers are stopped: nothing posts any more. */
void control_free(struct control *c);
void control_read_stats(struct control *c, struct control_stats *out);

#endif
