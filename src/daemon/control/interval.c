/* SPDX-License-Identifier: Apache-2.0 */
/* For queries about a span of time: two samples and what came between them. Control thread. */
#include <stdlib.h>

#include "daemon/control/private.h"
#include "daemon/control/span.h"

#define LATE (5 * NS_PER_S) /* for what a query waits for besides the time */

struct interval {
	struct sample *before;
	struct machine *machine;
	uint64_t due_ns;
	const struct span_query *q;
	void *arg;
};

static void interval_free(void *state)
{
	struct interval *i = state;

	sample_free(i->before);
	machine_free(i->machine);
	if (i->q->arg_free)
		i->q->arg_free(i->arg);
	free(i);
}

static struct machine *read_machine(struct request *r, const struct span_query *q)
{
	return q->machine ? machine_read("", r->control->d->env->simulated ? NULL : &machine_ethtool) : NULL;
}

static void finish(struct request *r, struct interval *i)
{
	struct span s = {.now = sample_take(r->control->d),
	    .total = i->q->total ? sample_take(r->control->d) : NULL,
	    .machine = read_machine(r, i->q)};
	struct jw w = {0};

	if (!s.now || (i->q->total && !s.total)) {
		request_fail(r, "limit", "out of memory");
	} else {
		if (i->before)
			sample_since(s.now, i->before);
		if (i->machine && s.machine)
			machine_since(s.machine, i->machine);
		i->q->fn(r, &w, &s, i->arg);
		request_send_all(r, &w); /* frees i */
	}
	sample_free(s.now);
	sample_free(s.total);
	machine_free(s.machine);
}

static void interval_tick(struct request *r)
{
	struct interval *i = r->state;
	uint64_t now = env_now(r->control->d->env);

	if (now < i->due_ns || (i->q->ready && !i->q->ready(i->arg) && now < i->due_ns + LATE))
		return;
	request_no_ticks(r);
	finish(r, i);
}

void request_span(struct request *r, uint64_t ns, const struct span_query *q, void *take_arg)
{
	struct interval *i = calloc(1, sizeof(*i));

	if (!i) {
		if (q->arg_free)
			q->arg_free(take_arg);
		request_fail(r, "limit", "out of memory");
		return;
	}
	i->q = q;
	i->arg = take_arg;
	r->state = i;
	r->state_free = interval_free;
	if (ns) {
		i->before = sample_take(r->control->d);
		i->machine = read_machine(r, q);
		if (!i->before) {
			request_fail(r, "limit", "out of memory");
			return;
		}
	}
	i->due_ns = env_now(r->control->d->env) + ns;
	if (!ns && !q->ready)
		finish(r, i);
	else
		request_want_ticks(r, interval_tick);
}

bool request_seconds(struct request *r, double fallback, uint64_t *out_ns)
{
	const json_t *v = json_object_get(r->args, "seconds");
	double s = json_is_number(v) ? json_number_value(v) : fallback;

	if ((v && !json_is_number(v)) || !(s >= 0 && s <= 3600)) {
		request_fail(r, "bad-request", "\"seconds\" is a number from 0 to 3600");
		return false;
	}
	*out_ns = (uint64_t)(s * (double)NS_PER_S);
	return true;
}
