/* SPDX-License-Identifier: Apache-2.0 */
/* status and statusall for people, in the manner of charon's. */
#include <string.h>
#include <time.h>

#include "ipsec/ipsec.h"

static char last_list[32];
static int64_t n_sas, n_up;

static json_t *member(json_t *o, const char *key)
{
	return json_object_get(o, key);
}

static int64_t nth(const json_t *array, size_t i)
{
	return json_integer_value(json_array_get(array, i));
}

/* Counters that are not zero, "name=1 other=2"; skip names what is printed elsewhere. */
static void print_counters(const char *title, json_t *o)
{
	const char *name;
	json_t *v;
	int n = 0;

	json_object_foreach(o, name, v)
	{
		if (!json_is_integer(v) || !json_integer_value(v))
			continue;
		if (!n++)
			printf("  %s:", title);
		printf("%s %s %lld", n > 1 ? "," : "", name, (long long)json_integer_value(v));
	}
	if (n)
		putchar('\n');
}

/* --- the daemon ------------------------------------------------------------------------------------------------------------- */

static void print_slow(json_t *w)
{
	json_t *s, *op;
	size_t i;

	json_array_foreach(member(w, "slow"), i, s)
	{
		char at[32] = "";
		time_t t = (time_t)get_int(s, "time");
		struct tm tm;

		if (localtime_r(&t, &tm))
			strftime(at, sizeof(at), "%b %d %T", &tm);
		printf("    %s worker %lld: %lld us (%lld us of CPU), %s", at,
		    (long long)get_int(s, "worker"), (long long)get_int(s, "us"),
		    (long long)get_int(s, "cpu_us"), get_str(s, "kind"));
		if (has(s, "ike_id"))
			printf(", %s of %s[%lld] (%s)", get_str(s, "exchange"), get_str(s, "connection"),
			    (long long)get_int(s, "ike_id"), get_str(s, "peer"));
		op = member(s, "crypto");
		if (op)
			printf(", %s %s by %s for %lld us", get_str(op, "operation"),
			    get_str(op, "algorithm"), get_str(op, "plugin"), (long long)get_int(op, "us"));
		if (has(s, "stack"))
			printf(", in %s", get_str(s, "stack"));
		putchar('\n');
	}
}

static void print_workers(json_t *w)
{
	json_t *working = member(w, "working"), *queued = member(w, "queued"), *p;
	size_t i;

	printf("  worker threads: %lld of %lld idle, %lld/%lld/%lld/%lld working, job queue: "
	       "%lld/%lld/%lld/%lld, "
	       "scheduled: %lld\n",
	    (long long)get_int(w, "idle"), (long long)get_int(w, "total"), (long long)nth(working, 0),
	    (long long)nth(working, 1), (long long)nth(working, 2), (long long)nth(working, 3),
	    (long long)nth(queued, 0), (long long)nth(queued, 1), (long long)nth(queued, 2),
	    (long long)nth(queued, 3), (long long)get_int(w, "scheduled"));
	if (get_int(w, "stuck_ms") > 100)
		printf("  a worker has been in one step for %lld ms\n", (long long)get_int(w, "stuck_ms"));
	json_array_foreach(member(w, "latency"), i, p) if (get_int(p, "jobs"))
	    printf("  job latency %s: p50 %lld us, p99 %lld us, max %lld us, %lld jobs\n",
	        get_str(p, "priority"), (long long)get_int(p, "p50_us"), (long long)get_int(p, "p99_us"),
	        (long long)get_int(p, "max_us"), (long long)get_int(p, "jobs"));
	if (has(w, "max_step_us"))
		printf("  longest step of a worker: %lld us (%s), steps over 10 ms: %lld\n",
		    (long long)get_int(w, "max_step_us"), get_str(w, "max_step_kind"),
		    (long long)get_int(w, "slow_steps"));
	print_slow(w);
}

static void print_cpus(json_t *cpus)
{
	json_t *c;
	size_t i;

	json_array_foreach(cpus, i, c)
	    printf("  CPU %lld: %lld packets received, %.1f %% in softirqs, %lld dropped from its backlog\n",
	        (long long)get_int(c, "cpu"), (long long)get_int(c, "packets"), get_num(c, "softirq"),
	        (long long)get_int(c, "dropped"));
}

static void print_plugins(json_t *plugins)
{
	json_t *p;
	size_t i;

	printf("  loaded plugins:");
	json_array_foreach(plugins, i, p) if (strcmp(get_str(p, "state"), "loaded") == 0)
	    printf(" %s", get_str(p, "name"));
	putchar('\n');
	json_array_foreach(plugins, i, p)
	{
		json_t *l = member(p, "listener");

		if (strcmp(get_str(p, "state"), "loaded") != 0)
			printf("  plugin %s: %s\n", get_str(p, "name"), get_str(p, "state"));
		if (has(p, "running_ms"))
			printf("  plugin %s: a callback has been running for %lld ms\n", get_str(p, "name"),
			    (long long)get_int(p, "running_ms"));
		if (l)
			printf("  listener %s: %lld delivered, %lld missed, %lld queued, longest %lld us\n",
			    get_str(p, "name"), (long long)get_int(l, "delivered"),
			    (long long)get_int(l, "missed"), (long long)get_int(l, "queued"),
			    (long long)get_int(l, "max_us"));
	}
}

static void print_pool(json_t *pool)
{
	json_t *p;
	size_t i;

	json_array_foreach(pool, i, p)
	    printf("  pool %s: %lld runs, %lld running, %lld queued, p50 %lld us, p99 %lld us, max %lld us\n",
	        get_str(p, "owner"), (long long)get_int(p, "runs"), (long long)get_int(p, "running"),
	        (long long)get_int(p, "queued"), (long long)get_int(p, "p50_us"),
	        (long long)get_int(p, "p99_us"), (long long)get_int(p, "max_us"));
}

static void print_authorize(json_t *all)
{
	json_t *p;
	size_t i;

	json_array_foreach(all, i, p) printf(
	    "  authorization by %s: %lld asked, %lld waiting, %lld yes, %lld no, %lld not answered in time, "
	    "%lld refused because too many wait, %lld answers too late, longest %lld us\n",
	    get_str(p, "name"), (long long)get_int(p, "asked"), (long long)get_int(p, "waiting"),
	    (long long)get_int(p, "yes"), (long long)get_int(p, "no"), (long long)get_int(p, "timeouts"),
	    (long long)get_int(p, "refused"), (long long)get_int(p, "late"), (long long)get_int(p, "max_us"));
}

static void print_revocation(json_t *r)
{
	json_t *h;
	size_t i;

	print_counters("revocation", r);
	json_array_foreach(member(r, "hosts"), i, h)
	{
		printf("  CRLs and OCSP from %s: asked %lld times, %lld failed (%lld in a row), %lld not "
		       "answered in "
		       "time, longest %lld ms",
		    get_str(h, "host"), (long long)get_int(h, "asked"), (long long)get_int(h, "failed"),
		    (long long)get_int(h, "failed_in_a_row"), (long long)get_int(h, "late"),
		    (long long)get_int(h, "max_ms"));
		if (get_int(h, "running_ms") > 1000)
			printf(", has been asked for %lld ms", (long long)get_int(h, "running_ms"));
		putchar('\n');
	}
	if (*get_str(r, "plugin"))
		printf("  fetching: %s\n", get_str(r, "plugin"));
}

static void print_sockets(json_t *sockets)
{
	char in[64], out[64];
	json_t *s;
	size_t i;

	json_array_foreach(sockets, i, s)
	    printf("  socket %s port %lld: %lld in (%s), %lld out (%s), receive queue %lld of %lld bytes, "
	           "dropped by the kernel: %lld, and first requests that were too many: %lld\n",
	        get_str(s, "family"), (long long)get_int(s, "port"), (long long)get_int(s, "rx_datagrams"),
	        text_bytes((uint64_t)get_int(s, "rx_bytes"), in), (long long)get_int(s, "tx_datagrams"),
	        text_bytes((uint64_t)get_int(s, "tx_bytes"), out), (long long)get_int(s, "rx_queue"),
	        (long long)get_int(s, "rx_buffer"), (long long)get_int(s, "kernel_drops"),
	        (long long)get_int(s, "shed"));
}

static void print_devices(json_t *devices)
{
	json_t *d;
	size_t i;

	json_array_foreach(devices, i, d)
	{
		if (strcmp(get_str(d, "kind"), "vti") == 0)
			printf("  VTI device %s, ikey %lld, okey %lld", get_str(d, "name"),
			    (long long)get_int(d, "mark_in"), (long long)get_int(d, "mark_out"));
		else
			printf("  XFRM interface %s, if_id %lld", get_str(d, "name"),
			    (long long)get_int(d, "if_id"));
		printf(", %lld users%s%s\n", (long long)get_int(d, "users"),
		    has(d, "error") ? ": it cannot be had: " : "", get_str(d, "error"));
	}
}

static void print_kernel(json_t *k)
{
	printf("  data plane: %s", get_str(k, "name"));
	if (has(k, "requests"))
		printf(", %lld requests, %lld failed, %lld queued, longest %lld us, %lld policies",
		    (long long)get_int(k, "requests"), (long long)get_int(k, "failures"),
		    (long long)get_int(k, "queued"), (long long)get_int(k, "max_us"),
		    (long long)get_int(k, "policies"));
	if (get_int(k, "policies_owed"))
		printf(", %lld that it refused to take out", (long long)get_int(k, "policies_owed"));
	if (get_int(k, "running_ms") > 1000)
		printf(", in one request for %lld ms", (long long)get_int(k, "running_ms"));
	putchar('\n');
	print_counters("data plane errors", member(k, "errors"));
	print_devices(member(k, "devices"));
}

static void print_all(json_t *d)
{
	char up[64], since[32] = "", a[64], b[64];
	time_t t = (time_t)get_int(d, "started");
	json_t *m = member(d, "memory"), *v;
	const char *name;
	struct tm tm;
	size_t i;

	if (localtime_r(&t, &tm))
		strftime(since, sizeof(since), "%b %d %T %Y", &tm);
	printf("Status of IKE daemon (cygnet %s):\n", get_str(d, "version"));
	printf("  uptime: %s, since %s, process %lld\n", text_duration(get_int(d, "uptime"), up), since,
	    (long long)get_int(d, "pid"));
	printf("  memory: %s resident, heap %s used", text_bytes((uint64_t)get_int(m, "resident"), a),
	    text_bytes((uint64_t)get_int(m, "heap_used"), b));
	printf(" of %s\n", text_bytes((uint64_t)get_int(m, "heap"), a));
	print_workers(member(d, "workers"));
	print_plugins(member(d, "plugins"));
	print_kernel(member(d, "kernel"));
	print_pool(member(d, "pool"));
	print_authorize(member(d, "authorize"));
	print_counters("helper processes", member(d, "helpers"));
	if (get_int(member(d, "helpers"), "oldest_ms") > 1000)
		printf("  a helper process of %s has been running for %lld ms\n",
		    get_str(member(d, "helpers"), "oldest_owner"),
		    (long long)get_int(member(d, "helpers"), "oldest_ms"));
	print_counters("IKE_SAs", member(d, "sas"));
	print_counters("network", member(d, "net"));
	print_sockets(member(d, "sockets"));
	print_counters("XAUTH", member(d, "xauth"));
	json_object_foreach(member(member(d, "xauth"), "backends"), name, v)
	    printf("  XAUTH by %s%s%s\n", name, *json_string_value(v) ? ": " : "", json_string_value(v));
	print_revocation(member(d, "revocation"));
	print_counters("control", member(d, "control"));
	print_cpus(member(d, "cpus"));
	if (get_int(d, "log_dropped"))
		printf("  log: %lld lines lost\n", (long long)get_int(d, "log_dropped"));
	json_array_foreach(
	    member(d, "log_sinks"), i, v) if (get_int(v, "lost") || get_int(v, "running_ms") > 1000)
	    printf("  log sink %s: %lld lines queued, %lld lost, in one line for %lld ms\n",
	        get_str(v, "name"), (long long)get_int(v, "queued"), (long long)get_int(v, "lost"),
	        (long long)get_int(v, "running_ms"));
	puts("Listening IP addresses:");
	json_array_foreach(member(d, "listening"), i, v) printf("  %s\n", json_string_value(v));
}

void status_print_data(void *user, json_t *d)
{
	json_t *sas = member(d, "sas");

	(void)user;
	n_up = get_int(sas, "up");
	n_sas = get_int(sas, "ike_sas");
	if (has(d, "memory"))
		print_all(d);
}

/* --- connections --------------------------------------------------------------------------------------------------------------- */

static void join(const json_t *array, char *out, size_t cap)
{
	json_t *v;
	size_t i, at = 0;

	out[0] = '\0';
	json_array_foreach(array, i, v)
	{
		int n = snprintf(out + at, cap - at, "%s%s", i ? " " : "", json_string_value(v));

		if (n < 0 || (size_t)n >= cap - at)
			return;
		at += (size_t)n;
	}
}

static void print_end(const char *name, const char *side, json_t *end)
{
	json_t *a;
	size_t i;

	json_array_foreach(member(end, "auth"), i, a) printf(
	    "%12s:   %s: [%s] uses %s authentication\n", name, side, get_str(a, "id"), get_str(a, "method"));
}

static void print_conn(json_t *c)
{
	char l[512], r[512];
	json_t *local = member(c, "local"), *remote = member(c, "remote");

	join(member(local, "hosts"), l, sizeof(l));
	join(member(remote, "hosts"), r, sizeof(r));
	printf("%12s:  %s...%s  %s, auto=%s", get_str(c, "name"), l, r, get_str(c, "version"),
	    get_str(c, "auto"));
	if (get_int(c, "dpd_delay"))
		printf(", dpddelay=%llds", (long long)get_int(c, "dpd_delay"));
	putchar('\n');
	print_end(get_str(c, "name"), "local ", local);
	print_end(get_str(c, "name"), "remote", remote);
	join(member(local, "ts"), l, sizeof(l));
	join(member(remote, "ts"), r, sizeof(r));
	printf("%12s:   child:  %s === %s %s\n", get_str(c, "name"), l, r, get_str(c, "type"));
}

/* --- SAs -------------------------------------------------------------------------------------------------------------------------- */

static void print_in(const json_t *o, const char *key, const char *what)
{
	char text[64];
	int64_t v = get_int(o, key);

	if (!has(o, key))
		return;
	if (v < 0)
		printf(", %s now", what);
	else
		printf(", %s in %s", what, text_duration(v, text));
}

static void print_ike(json_t *sa)
{
	char text[64], name[128];
	json_t *waiting = member(sa, "tasks_waiting");

	snprintf(name, sizeof(name), "%s[%lld]", get_str(sa, "name"), (long long)get_int(sa, "id"));
	printf("%12s: %s", name, get_str(sa, "state"));
	if (has(sa, "established"))
		printf(" %s ago", text_duration(get_int(sa, "established"), text));
	printf(", %s[%s]...%s[%s]\n", get_str(sa, "local"), get_str(sa, "local_id"), get_str(sa, "remote"),
	    get_str(sa, "remote_id"));
	if (*get_str(sa, "user"))
		printf("%12s: user: '%s'\n", name, get_str(sa, "user"));
	printf("%12s: IKEv%lld SPIs: %s_i%s %s_r%s", name, (long long)get_int(sa, "version"),
	    get_str(sa, "spi_i"), get_bool(sa, "initiator") ? "*" : "", get_str(sa, "spi_r"),
	    get_bool(sa, "initiator") ? "" : "*");
	print_in(sa, "rekey_in", "rekeying");
	print_in(sa, "reauth_in", "reauthentication");
	print_in(sa, "expires_in", "expires");
	putchar('\n');
	if (*get_str(sa, "algorithms"))
		printf("%12s: IKE proposal: %s\n", name, get_str(sa, "algorithms"));
	/* A peer that forces UDP encapsulation looks like one behind a NAT. */
	if (get_bool(sa, "nat_local") || get_bool(sa, "nat_remote"))
		printf("%12s: NAT in front of %s\n", name,
		    !get_bool(sa, "nat_remote")     ? "us"
		        : get_bool(sa, "nat_local") ? "both"
		                                    : "the peer, or UDP encapsulation that it forces");
	if (get_bool(sa, "encap_forced"))
		printf("%12s: UDP encapsulation forced by our configuration\n", name);
	if (has(sa, "task"))
		printf("%12s: active task: %s, sent %lld times\n", name, get_str(sa, "task"),
		    (long long)get_int(sa, "tries") + 1);
	if (json_array_size(waiting)) {
		printf("%12s: ", name);
		print_list("", "waiting tasks", waiting);
	}
	if (json_array_size(member(sa, "vips"))) {
		printf("%12s: ", name);
		print_list("", "virtual addresses", member(sa, "vips"));
	}
	if (*get_str(sa, "backup_servers"))
		printf("%12s: backup servers: %s\n", name, get_str(sa, "backup_servers"));
	if (member(sa, "save_password"))
		printf("%12s: the peer %s that the user's password is kept\n", name,
		    get_bool(sa, "save_password") ? "allows" : "does not allow");
	if (get_int(sa, "inbox") || get_int(sa, "inbox_dropped"))
		printf("%12s: inbox: %lld datagrams, %lld dropped\n", name, (long long)get_int(sa, "inbox"),
		    (long long)get_int(sa, "inbox_dropped"));
}

static void print_seen(json_t *seen, const char *before)
{
	const char *sep = " ";

	fputs(before, stdout);
	if (has(seen, "cpu")) {
		printf(" CPU %lld", (long long)get_int(seen, "cpu"));
		sep = ", ";
	}
	if (has(seen, "thread")) {
		printf("%sthread %lld", sep, (long long)get_int(seen, "thread"));
		sep = ", ";
	}
	if (has(seen, "queue"))
		printf("%s%s %s", sep, get_str(seen, "interface"), get_str(seen, "queue"));
}

static void print_child(json_t *c)
{
	char name[128], text[64], l[1024], r[1024];

	snprintf(name, sizeof(name), "%s{%lld}", get_str(c, "name"), (long long)get_int(c, "id"));
	printf("%12s:  %s, %s, reqid %lld, %s%s SPIs: %s_i %s_o\n", name, get_str(c, "state"),
	    get_str(c, "mode"), (long long)get_int(c, "reqid"), get_str(c, "protocol"),
	    get_bool(c, "encap") ? " in UDP" : "", get_str(c, "spi_in"), get_str(c, "spi_out"));
	if (has(c, "cpu"))
		printf("%12s:  of CPU %lld\n", name, (long long)get_int(c, "cpu"));
	else if (has(c, "per_cpu"))
		printf("%12s:  of all CPUs that have none\n", name);
	if (has(c, "seen_in") || has(c, "seen_out")) {
		printf("%12s:  the last packet", name);
		if (has(c, "seen_in"))
			print_seen(member(c, "seen_in"), " in by");
		if (has(c, "seen_out"))
			print_seen(member(c, "seen_out"), has(c, "seen_in") ? ", out by" : " out by");
		putchar('\n');
	}
	if (has(c, "mark_in") || has(c, "mark_out"))
		printf("%12s:  marks %s_i %s_o\n", name, get_str(c, "mark_in"), get_str(c, "mark_out"));
	if (has(c, "if_id_in") || has(c, "if_id_out"))
		printf("%12s:  if_ids %lld_i %lld_o\n", name, (long long)get_int(c, "if_id_in"),
		    (long long)get_int(c, "if_id_out"));
	printf("%12s:  %s%s, %lld bytes_i (%lld pkts", name, get_str(c, "algorithms"),
	    get_bool(c, "esn") ? "/ESN" : "", (long long)get_int(c, "bytes_in"),
	    (long long)get_int(c, "packets_in"));
	if (has(c, "last_in"))
		printf(", %s ago", text_duration((int64_t)time(NULL) - get_int(c, "last_in"), text));
	printf("), %lld bytes_o (%lld pkts", (long long)get_int(c, "bytes_out"),
	    (long long)get_int(c, "packets_out"));
	if (has(c, "last_out"))
		printf(", %s ago", text_duration((int64_t)time(NULL) - get_int(c, "last_out"), text));
	putchar(')');
	if (has(c, "installed"))
		printf(", installed %s ago", text_duration(get_int(c, "installed"), text));
	print_in(c, "rekey_in", "rekeying");
	print_in(c, "expires_in", "expires");
	putchar('\n');
	join(member(c, "local_ts"), l, sizeof(l));
	join(member(c, "remote_ts"), r, sizeof(r));
	printf("%12s:   %s === %s\n", name, l, r);
}

static void print_esp_cpu(json_t *c)
{
	char in[64], out[64], cpu[32] = "not known";

	if (get_int(c, "cpu") >= 0)
		snprintf(cpu, sizeof(cpu), "%lld", (long long)get_int(c, "cpu"));
	printf("  CPU %s: %lld SAs in with %lld packets (%s), %lld SAs out with %lld packets (%s), %.1f %%\n",
	    cpu, (long long)get_int(c, "sas_in"), (long long)get_int(c, "packets_in"),
	    text_bytes((uint64_t)get_int(c, "bytes_in"), in), (long long)get_int(c, "sas_out"),
	    (long long)get_int(c, "packets_out"), text_bytes((uint64_t)get_int(c, "bytes_out"), out),
	    get_num(c, "share"));
}

static void print_esp_queue(json_t *q)
{
	char in[64];

	printf("  %s %s: %lld SAs in with %lld packets (%s), %.1f %%\n", get_str(q, "interface"),
	    get_str(q, "name"), (long long)get_int(q, "sas_in"), (long long)get_int(q, "packets_in"),
	    text_bytes((uint64_t)get_int(q, "bytes_in"), in), get_num(q, "share"));
}

static void heading(const char *list)
{
	if (strcmp(list, "children") == 0 || strcmp(list, last_list) == 0)
		return;
	snprintf(last_list, sizeof(last_list), "%s", list);
	if (strcmp(list, "connections") == 0)
		puts("Connections:");
	else if (strcmp(list, "routed") == 0)
		puts("Routed connections:");
	else if (strcmp(list, "esp_cpus") == 0)
		puts("ESP by the CPU that carried the last packet of an SA:");
	else if (strcmp(list, "esp_queues") == 0)
		puts("ESP by the receive queue of the last packet:");
	else
		printf("Security Associations (%lld up, %lld connecting):\n", (long long)n_up,
		    (long long)(n_sas - n_up));
}

void status_print_item(void *user, const char *list, json_t *data)
{
	(void)user;
	heading(list);
	if (strcmp(list, "connections") == 0)
		print_conn(data);
	else if (strcmp(list, "routed") == 0)
		printf("%12s: reqid %lld, %lld acquires\n", get_str(data, "name"),
		    (long long)get_int(data, "reqid"), (long long)get_int(data, "acquires"));
	else if (strcmp(list, "ike_sas") == 0)
		print_ike(data);
	else if (strcmp(list, "children") == 0)
		print_child(data);
	else if (strcmp(list, "esp_cpus") == 0)
		print_esp_cpu(data);
	else if (strcmp(list, "esp_queues") == 0)
		print_esp_queue(data);
}

void status_print_end(void)
{
	if (strcmp(last_list, "ike_sas") == 0 || strncmp(last_list, "esp_", 4) == 0)
		return;
	heading("ike_sas");
	puts("  none");
}
