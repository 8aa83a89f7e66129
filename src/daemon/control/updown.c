/* SPDX-License-Identifier: Apache-2.0 */
/* up and down. What happens is told by workers, and posted from there to the control thread. */
#include <stdio.h>
#include <stdlib.h>

#include "daemon/control/private.h"
#include "daemon/sa/manager.h"
#include "libcore/conf/conf.h"

/* --- up ------------------------------------------------------------------------------------------------------------------ */

struct up_one {
	struct up_watch watch;
	struct up *up;
};

/* All connections that the name means; the last one that is up, or failed, answers. Told on workers, which may be several. */
struct up {
	struct post post; /* the verdict: allocated with the request, so it always arrives */
	struct request *r;
	struct control *c;
	uint32_t left, failed; /* atomics */
	char why[512];         /* of the first that failed */
	struct up_one one[];
};

struct up_line {
	struct post post;
	struct request *r;
	char text[];
};

static void line_back(struct control *c, struct post *p)
{
	struct up_line *l = container_of(p, struct up_line, post);

	(void)c;
	if (!request_gone(l->r))
		request_progress(l->r, l->text);
	free(l);
}

static void up_line(struct up_watch *w, const char *text)
{
	struct up *up = container_of(w, struct up_one, watch)->up;
	size_t n = strlen(text) + 1;
	struct up_line *l = malloc(sizeof(*l) + n);

	if (!l)
		return;
	/* the request is kept by the verdict, which comes last */
	l->post.fn = line_back;
	list_init(&l->post.node);
	l->r = up->r;
	memcpy(l->text, text, n);
	control_post(up->c, &l->post);
}

static void up_back(struct control *c, struct post *p)
{
	struct up *up = container_of(p, struct up, post);

	(void)c;
	if (!request_gone(up->r)) {
		if (up->failed)
			request_fail(up->r, "failed", "%s", up->why);
		else
			request_done(up->r);
	}
	request_unref(up->r);
	free(up);
}

static void up_done(struct up_watch *w, bool ok, const char *why)
{
	struct up *up = container_of(w, struct up_one, watch)->up;

	if (!ok && __atomic_fetch_add(&up->failed, 1, __ATOMIC_RELAXED) == 0)
		snprintf(up->why, sizeof(up->why), "%s", why && *why ? why : "no reason is known");
	if (__atomic_sub_fetch(&up->left, 1, __ATOMIC_ACQ_REL) == 0)
		control_post(up->c, &up->post);
}

static void up_begin(struct request *r, struct up *up, struct conn *const *conns, size_t n)
{
	list_init(&up->post.node);
	up->post.fn = up_back;
	up->r = request_ref(r);
	up->c = r->control;
	up->left = (uint32_t)n;
	for (size_t i = 0; i < n; i++) {
		struct up_watch *w = &up->one[i].watch;

		list_init(&w->node);
		w->line = up_line;
		w->done = up_done;
		up->one[i].up = up;
		if (request_flag(r, "another"))
			sa_initiate(r->control->d, conns[i], w, 0, NULL, NULL);
		else
			sa_up(r->control->d, conns[i], w);
	}
}

void cmd_up(struct request *r)
{
	struct config *config;
	struct conn **conns;
	size_t n = request_conns(r, &config, &conns);
	struct up *up;

	if (!n)
		return;
	up = calloc(1, sizeof(*up) + n * sizeof(up->one[0]));
	if (!up)
		request_fail(r, "limit", "out of memory");
	else if (conns[0]->type == TYPE_PASS || conns[0]->type == TYPE_DROP)
		request_fail(r, "failed",
		    "connection %s is a policy without a tunnel: ipsec route %s installs it", conns[0]->name,
		    conns[0]->name);
	else
		up_begin(r, up, conns, n);
	if (up && !up->r)
		free(up);
	free(conns);
	config_unref(config);
}

/* --- down ------------------------------------------------------------------------------------------------------------------ */

#define DOWN_TICKS 100 /* of TICK_NS: 10 s */

/* The request counts what still is there until nothing is, or it has waited long enough. */
struct down {
	struct post post;
	struct request *r;
	struct control *c;
	char what[160];
	uint64_t max_ike_id, max_child_id; /* what comes up again meanwhile does not count */
	uint32_t found, left;
	unsigned int ticks;
	bool told, asking;
};

static void down_tick(struct request *r);

static void down_free(void *state)
{
	free(state);
}

static void count_back(struct control *c, struct post *p)
{
	struct down *d = container_of(p, struct down, post);
	struct request *r = d->r;

	(void)c;
	d->asking = false;
	if (!request_gone(r)) {
		if (d->left == 0)
			request_done(r);
		else if (d->ticks >= DOWN_TICKS)
			request_fail(r, "timeout",
			    "the peer has not answered yet: %u of %u are still being closed, which goes on",
			    d->left, d->found);
	}
	request_unref(r);
}

static void counted(void *user, uint32_t n)
{
	struct down *d = user;

	d->left = n;
	control_post(d->c, &d->post);
}

static void ask(struct request *r)
{
	struct down *d = r->state;

	d->asking = true;
	request_ref(r);
	d->post.fn = count_back;
	sa_count_named(d->c->d, d->what, d->max_ike_id, d->max_child_id, counted, d);
}

static void down_tick(struct request *r)
{
	struct down *d = r->state;

	d->ticks++;
	if (!d->asking)
		ask(r);
}

static void terminated_back(struct control *c, struct post *p)
{
	struct down *d = container_of(p, struct down, post);
	struct request *r = d->r;

	(void)c;
	if (!request_gone(r)) {
		if (!d->found) {
			request_fail(r, "not-found", "nothing is up that is called %s", d->what);
		} else {
			request_want_ticks(r, down_tick);
			ask(r);
		}
	}
	request_unref(r);
}

static void terminated(void *user, uint32_t n)
{
	struct down *d = user;

	d->found = n;
	control_post(d->c, &d->post);
}

void cmd_down(struct request *r)
{
	const char *name = request_arg(r, "name");
	struct sa_manager *sas = r->control->d->sas;
	struct down *d;

	if (!name || !*name) {
		request_fail(r, "bad-request", "which connection? \"name\" is missing");
		return;
	}
	if (strlen(name) >= sizeof(d->what)) {
		request_fail(r, "not-found", "nothing is up that has so long a name");
		return;
	}
	d = calloc(1, sizeof(*d));
	if (!d) {
		request_fail(r, "limit", "out of memory");
		return;
	}
	snprintf(d->what, sizeof(d->what), "%s", name);
	d->r = request_ref(
	    r); /* the one the first post gives back; also kept as the address of the state's owner */
	d->c = r->control;
	d->post.fn = terminated_back;
	r->state = d;
	r->state_free = down_free;
	d->max_ike_id = __atomic_load_n(&sas->next_ike_id, __ATOMIC_RELAXED);
	d->max_child_id = __atomic_load_n(&sas->next_child_id, __ATOMIC_RELAXED);
	sa_terminate(r->control->d, d->what, terminated, d);
}
