/* SPDX-License-Identifier: Apache-2.0 */
/* What a load test shows: a line a second, JSON at the end, a plot. */
#include "daemon/loadtest/load.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

void report_second(struct load *l)
{
	struct phase *p = l->now;
	double p50 = ms(hist_quantile(&p->last_second, 0.5)), p99 = ms(hist_quantile(&p->last_second, 0.99));
	uint64_t begun = p->attempted, done = p->done, failed = p->failed;
	struct second *s;

	for (uint32_t i = 0; i < p->n_series; i++) {
		begun -= p->series[i].begun;
		done -= p->series[i].done;
		failed -= p->series[i].failed;
	}
	if (p->n_series < SECONDS_MAX) {
		s = &p->series[p->n_series++];
		s->begun = (uint32_t)begun;
		s->done = (uint32_t)done;
		s->failed = (uint32_t)failed;
		s->in_flight = p->in_flight;
		s->p50_ms = (float)p50;
		s->p99_ms = (float)p99;
	}
	memset(&p->last_second, 0, sizeof(p->last_second));
	if (l->o->quiet)
		return;
	fprintf(stderr, "%-11s %6.1f s  %8llu done  %7llu/s  %6u in flight  p50 %.2f ms  p99 %.2f ms",
	    phase_names[p->kind], ms(env_now(l->d->env) - l->phase_start_ns) / 1000,
	    (unsigned long long)p->done, (unsigned long long)done, p->in_flight, p50, p99);
	if (p->failed)
		fprintf(stderr, "  %llu failed", (unsigned long long)p->failed);
	if (p->starved)
		fprintf(stderr, " (no client free: %llu)", (unsigned long long)p->starved);
	for (int i = 0; i < 3 && p->causes[i].n; i++)
		fprintf(stderr, "%s%s: %llu", i ? ", " : " (", p->causes[i].text,
		    (unsigned long long)p->causes[i].n);
	fputs(p->causes[0].n ? ")\n" : "\n", stderr);
}

/* For a program that measures the other side: one JSON object a line on standard output. */
void report_event(const struct load *l, const char *phase, const char *what)
{
	if (!l->o->events)
		return;
	printf("{\"event\":\"%s\",\"phase\":\"%s\"}\n", what, phase);
	fflush(stdout);
	if (strcmp(what, "end") == 0 || strcmp(what, "begin") == 0)
		(void)!fgetc(stdin); /* it has seen it */
}

static json_t *phase_json(const struct phase *p)
{
	json_t *causes = json_object(), *series = json_array();
	double rate = p->seconds > 0 ? (double)p->done / p->seconds : 0;

	for (int i = 0; i < CAUSES_MAX && p->causes[i].n; i++)
		json_object_set_new(causes, p->causes[i].text, json_integer((json_int_t)p->causes[i].n));
	for (uint32_t i = 0; i < p->n_series; i++)
		json_array_append_new(series,
		    json_pack("[i,i,i,f,f,i]", (int)p->series[i].done, (int)p->series[i].failed,
		        (int)p->series[i].in_flight, (double)p->series[i].p50_ms, (double)p->series[i].p99_ms,
		        (int)p->series[i].begun));
	return json_pack("{s:f,s:I,s:I,s:I,s:I,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:o,s:o}", "seconds", p->seconds,
	    "attempted", (json_int_t)p->attempted, "done", (json_int_t)p->done, "failed",
	    (json_int_t)p->failed, "no_client_free", (json_int_t)p->starved, "max_in_flight",
	    (int)p->max_in_flight, "per_s", rate, "p50_ms", ms(hist_quantile(&p->latency, 0.5)), "p90_ms",
	    ms(hist_quantile(&p->latency, 0.9)), "p99_ms", ms(hist_quantile(&p->latency, 0.99)), "p999_ms",
	    ms(hist_quantile(&p->latency, 0.999)), "max_ms", ms(p->latency.max), "causes", causes,
	    "per_second", series);
}

/* --- plot ---------------------------------------------------------------------------------------------------------- */

#define W    800
#define H    180
#define LEFT 70

struct plot {
	FILE *f;
	int top;
	double max;
	uint32_t n;
};

static void plot_line(const struct plot *pl, const struct phase *p, double (*value)(const struct second *),
    const char *color, const char *name, int legend)
{
	fprintf(pl->f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" points=\"", color);
	for (uint32_t i = 0; i < p->n_series; i++)
		fprintf(pl->f, "%.1f,%.1f ", LEFT + (double)W * i / (pl->n > 1 ? pl->n - 1 : 1),
		    pl->top + H - H * value(&p->series[i]) / pl->max);
	fprintf(pl->f, "\"/>\n<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", LEFT + 10 + legend,
	    pl->top - 6, color, name);
}

static double v_done(const struct second *s)
{
	return s->done;
}

static double v_failed(const struct second *s)
{
	return s->failed;
}

static double v_p50(const struct second *s)
{
	return (double)s->p50_ms;
}

static double v_p99(const struct second *s)
{
	return (double)s->p99_ms;
}

static double largest(const struct phase *p, double (*value)(const struct second *), double least)
{
	for (uint32_t i = 0; i < p->n_series; i++)
		if (value(&p->series[i]) > least)
			least = value(&p->series[i]);
	return least;
}

static void plot_axes(const struct plot *pl, const char *unit)
{
	for (int i = 0; i <= 4; i++) {
		double y = pl->top + H - H * i / 4.0;

		fprintf(pl->f,
		    "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#ddd\"/>\n"
		    "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.4g</text>\n",
		    LEFT, y, LEFT + W, y, LEFT - 6, y + 4, pl->max * i / 4.0);
	}
	fprintf(pl->f,
	    "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n"
	    "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%u s</text>\n",
	    LEFT - 6, pl->top - 8, unit, LEFT + W, pl->top + H + 16, pl->n);
}

static bool write_svg(const struct load *l, const char *path)
{
	FILE *f = fopen(path, "we");
	int top = 40, n = 0;

	if (!f)
		return false;
	for (int i = 0; i < PHASE_N; i++)
		n += l->phase[i].n_series > 0;
	fprintf(f,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
	    "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
	    W + LEFT + 20, n * 2 * (H + 60) + 20);
	for (int i = 0; i < PHASE_N; i++) {
		const struct phase *p = &l->phase[i];
		struct plot pl = {.f = f, .n = p->n_series};

		if (!p->n_series)
			continue;
		pl.top = top;
		pl.max = largest(p, v_done, largest(p, v_failed, 1));
		plot_axes(&pl, "/s");
		plot_line(&pl, p, v_done, "#06c", phase_names[i], 0);
		plot_line(&pl, p, v_failed, "#c00", "failed", 120);
		top += H + 60;
		pl.top = top;
		pl.max = largest(p, v_p99, 0.1);
		plot_axes(&pl, "ms");
		plot_line(&pl, p, v_p50, "#090", "p50", 0);
		plot_line(&pl, p, v_p99, "#c60", "p99", 120);
		top += H + 60;
	}
	fputs("</svg>\n", f);
	return fclose(f) == 0;
}

/* How long what the load test itself had to do waited for one of its workers: where that is not short, it is the limit. */
static double own_p99_ms(const struct load *l)
{
	struct hist all = {0};

	for (uint32_t i = 0; i < processor_n(l->d->processor); i++) {
		struct worker_stats s;

		worker_read_stats(processor_worker(l->d->processor, i), &s);
		for (int p = 0; p < PRIO_N; p++)
			hist_merge(&all, &s.latency[p]);
	}
	return ms(hist_quantile(&all, 0.99));
}

int report_end(const struct load *l)
{
	json_t *j = json_object(), *phases = json_object();
	const struct phase *s = &l->phase[PHASE_SETUP];
	int status = 0;

	for (int i = 0; i < PHASE_N; i++)
		if (l->phase[i].n_series)
			json_object_set_new(phases, phase_names[i], phase_json(&l->phase[i]));
	json_object_set_new(j, "remote", json_string(l->o->remote));
	json_object_set_new(j, "done", json_integer((json_int_t)s->done));
	json_object_set_new(j, "failed", json_integer((json_int_t)s->failed));
	json_object_set_new(j, "per_s", json_real(s->seconds > 0 ? (double)s->done / s->seconds : 0));
	json_object_set_new(j, "retransmits", json_integer((json_int_t)SA_READ(l->d->sas, retransmits_out)));
	json_object_set_new(j, "own_p99_ms", json_real(own_p99_ms(l)));
	json_object_set_new(j, "phases", phases);
	if (l->o->json && json_dump_file(j, l->o->json, JSON_COMPACT | JSON_PRESERVE_ORDER) != 0) {
		fprintf(stderr, "load-test: %s: %s\n", l->o->json, strerror(errno));
		status = 1;
	}
	if (!l->o->json) {
		json_dumpf(j, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
		putchar('\n');
	}
	if (l->o->svg && !write_svg(l, l->o->svg)) {
		fprintf(stderr, "load-test: %s: %s\n", l->o->svg, strerror(errno));
		status = 1;
	}
	json_decref(j);
	return status ? status : s->done == 0 ? 1 : 0;
}
