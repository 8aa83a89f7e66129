/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "ipsec/ipsec.h"

static char last[32];

static void print_moves(json_t *s)
{
	printf("  steering %lld SAs: the busiest CPU has %lld %% of the mean; %lld packets, %lld of SAs not "
	       "steered, %lld "
	       "fragments\n",
	    (long long)get_int(s, "sas"), (long long)get_int(s, "spread"), (long long)get_int(s, "packets"),
	    (long long)get_int(s, "unknown"), (long long)get_int(s, "fragments"));
	printf("  %lld moves of SAs; %lld SAs went over at a gap, %lld at the limit, %lld are to go\n",
	    (long long)get_int(s, "moves"), (long long)get_int(s, "moved_at_gap"),
	    (long long)get_int(s, "moved_at_limit"), (long long)get_int(s, "moving"));
}

/* What the plugin that sends packets to CPUs says. */
static void print_steering(json_t *s)
{
	json_t *f;
	size_t i;

	if (get_bool(s, "watching"))
		printf("  watching %lld SAs, steering none: %lld packets, %lld of SAs not watched, %lld "
		       "fragments\n",
		    (long long)get_int(s, "sas"), (long long)get_int(s, "packets"),
		    (long long)get_int(s, "unknown"), (long long)get_int(s, "fragments"));
	else
		print_moves(s);
	if (get_int(s, "refused"))
		printf("  %lld SAs found no room and are not steered\n", (long long)get_int(s, "refused"));
	json_array_foreach(json_object_get(s, "interfaces"), i, f)
	    printf("  %s on %s: %s%s%s\n", get_bool(s, "watching") ? "watching" : "steering",
	        get_str(f, "name"), get_str(f, "mode"), *get_str(f, "why") ? ", " : "", get_str(f, "why"));
}

static void on_data(void *user, json_t *d)
{
	const char *name;
	json_t *v;
	size_t i;

	(void)user;
	printf("%lld SAs (each direction counts) in data plane %s, seen for %.1f seconds\n",
	    (long long)get_int(d, "sa_count"), get_str(d, "data_plane"), get_num(d, "interval_ms") / 1000);
	if (get_int(d, "sas_left_out"))
		printf("  %lld more were not looked at\n", (long long)get_int(d, "sas_left_out"));
	if (!get_bool(d, "sas_seen"))
		printf("  a worker did not answer in time: its SAs are missing\n");
	else if (!get_bool(d, "sas_counted"))
		printf("  the data plane did not answer in time: what some SAs carry is missing\n");
	if (has(d, "sa_cpus_how"))
		printf("  %s\n", get_str(d, "sa_cpus_how"));
	if (has(d, "sa_queues_how"))
		printf("  %s\n", get_str(d, "sa_queues_how"));
	if (has(d, "steering"))
		print_steering(json_object_get(d, "steering"));
	json_object_foreach(json_object_get(d, "drops"), name, v)
	    printf("  dropped by the data plane: %s %lld\n", name, (long long)json_integer_value(v));
	json_array_foreach(json_object_get(d, "sockets"), i, v) if (get_int(v, "dropped"))
	    printf("  dropped at the socket of port %lld: %lld\n", (long long)get_int(v, "port"),
	        (long long)get_int(v, "dropped"));
	if (get_int(d, "udp_receive_buffer_errors"))
		printf("  dropped at UDP sockets of this network namespace: %lld\n",
		    (long long)get_int(d, "udp_receive_buffer_errors"));
}

static void heading(const char *list)
{
	if (strcmp(list, last) == 0)
		return;
	snprintf(last, sizeof(last), "%s", list);
	if (strcmp(list, "cpus") == 0)
		printf("%-5s %7s %7s %6s %10s %12s %10s %6s %8s %6s %8s %8s\n", "CPU", "SAs in", "SAs out",
		    "ESP", "ESP/s", "bytes/s", "packets/s", "share", "softirq", "busy", "dropped",
		    "squeezed");
	else if (strcmp(list, "interfaces") == 0)
		puts("Interfaces: receive queues and what is hashed");
	else if (strcmp(list, "queues") == 0)
		puts("Queues: where their interrupts go, and RPS or XPS");
	else if (strcmp(list, "threads") == 0)
		puts("Threads of the data plane");
	else if (strcmp(list, "steering_cpus") == 0)
		puts("Steering: CPUs that received ESP is sent to");
	else if (strcmp(list, "sas") == 0)
		puts("Busiest SAs");
}

static const char *cpu_text(int64_t cpu, char out[32])
{
	if (cpu < 0)
		return "?";
	snprintf(out, 32, "%lld", (long long)cpu);
	return out;
}

static void print_queue(json_t *q)
{
	char cpu[32];

	printf("  %-12s %-6s", get_str(q, "interface"), get_str(q, "name"));
	if (has(q, "irq"))
		printf("  IRQ %lld on CPU %s, may be on %s, %lld a second", (long long)get_int(q, "irq"),
		    cpu_text(get_int(q, "irq_cpu"), cpu), get_str(q, "irq_affinity"),
		    (long long)get_int(q, "irqs_per_second"));
	if (*get_str(q, "rps"))
		printf("  RPS to %s", get_str(q, "rps"));
	if (*get_str(q, "xps"))
		printf("  XPS from %s", get_str(q, "xps"));
	if (has(q, "packets_per_second"))
		printf("  %lld packets/s, %lld dropped", (long long)get_int(q, "packets_per_second"),
		    (long long)get_int(q, "dropped"));
	if (has(q, "sas_in"))
		printf("  %lld SAs, %lld packets/s of them (%.1f %%)", (long long)get_int(q, "sas_in"),
		    (long long)get_int(q, "esp_packets_per_second"), get_num(q, "esp_share"));
	putchar('\n');
}

static void print_thread(json_t *t)
{
	char cpu[32], in[64], out[64];

	printf("  thread %lld on CPU %s: %lld SAs in, %lld out; %lld packets/s in (%s/s), %lld out (%s/s), "
	       "%.1f %%; queue %lld of "
	       "%lld, %lld dropped\n",
	    (long long)get_int(t, "thread"), cpu_text(get_int(t, "cpu"), cpu),
	    (long long)get_int(t, "sas_in"), (long long)get_int(t, "sas_out"),
	    (long long)get_int(t, "packets_in_per_second"),
	    text_bytes((uint64_t)get_int(t, "bytes_in_per_second"), in),
	    (long long)get_int(t, "packets_out_per_second"),
	    text_bytes((uint64_t)get_int(t, "bytes_out_per_second"), out), get_num(t, "share"),
	    (long long)get_int(t, "queued"), (long long)get_int(t, "queue_size"),
	    (long long)get_int(t, "dropped"));
}

static void print_sa(json_t *s)
{
	char cpu[32], thread[32], bytes[64];

	printf("  %s %-3s  CPU %s, ", get_str(s, "spi"), get_str(s, "direction"),
	    cpu_text(get_int(s, "cpu"), cpu));
	if (has(s, "queue"))
		printf("%s %s", get_str(s, "interface"), get_str(s, "queue"));
	else
		printf("thread %s", cpu_text(get_int(s, "thread"), thread));
	printf("  %s, %s%s%s%s", get_str(s, "connection"), get_str(s, "peer"),
	    *get_str(s, "user") ? ", user " : "", get_str(s, "user"), get_bool(s, "encap") ? " in UDP" : "");
	if (has(s, "packets_per_second"))
		printf("  %lld packets/s", (long long)get_int(s, "packets_per_second"));
	if (get_int(s, "bytes_per_second"))
		printf(" (%s/s)", text_bytes((uint64_t)get_int(s, "bytes_per_second"), bytes));
	putchar('\n');
}

static void on_item(void *user, const char *list, json_t *d)
{
	char bytes[64];

	(void)user;
	heading(list);
	if (strcmp(list, "cpus") == 0)
		printf("%-5lld %7lld %7lld %5.1f%% %10lld %12s %10lld %5.1f%% %7.1f%% %5.1f%% %8lld %8lld\n",
		    (long long)get_int(d, "cpu"), (long long)get_int(d, "sas_in"),
		    (long long)get_int(d, "sas_out"), get_num(d, "esp_share"),
		    (long long)get_int(d, "esp_packets_per_second"),
		    text_bytes((uint64_t)get_int(d, "esp_bytes_per_second"), bytes),
		    (long long)get_int(d, "packets_per_second"), get_num(d, "share"), get_num(d, "softirq"),
		    get_num(d, "busy"), (long long)get_int(d, "dropped"), (long long)get_int(d, "squeezed"));
	else if (strcmp(list, "interfaces") == 0)
		printf("  %-12s %s%s%lld receive queues, %lld packets/s, %lld dropped. %s\n",
		    get_str(d, "name"), get_str(d, "driver"), *get_str(d, "driver") ? ", " : "",
		    (long long)get_int(d, "rx_queues"), (long long)get_int(d, "packets_per_second"),
		    (long long)(get_int(d, "dropped") + get_int(d, "missed")), get_str(d, "hash"));
	else if (strcmp(list, "queues") == 0)
		print_queue(d);
	else if (strcmp(list, "threads") == 0)
		print_thread(d);
	else if (strcmp(list, "steering_cpus") == 0)
		printf("  CPU %-4lld %6lld SAs, %10lld packets/s, %12lld sent to it, %12lld arrived\n",
		    (long long)get_int(d, "cpu"), (long long)get_int(d, "sas"),
		    (long long)get_int(d, "packets_per_second"), (long long)get_int(d, "sent"),
		    (long long)get_int(d, "arrived"));
	else if (strcmp(list, "sas") == 0)
		print_sa(d);
}

static int run(const struct options *o)
{
	static const char *const lists[] = {
	    "cpus", "interfaces", "queues", "threads", "steering_cpus", "sas", NULL};
	struct call c = {.cmd = "cpus", .data = on_data, .item = on_item};

	if (!seconds_arg(o, &c.args))
		return STATUS_USAGE;
	if (o->lines >= 0) {
		if (!c.args)
			c.args = json_object();
		json_object_set_new(c.args, "sas", json_integer(o->lines));
	}
	return call_list(o, &c, lists);
}

const struct verb verb_cpus = {
    .name = "cpus",
    .args = "[SECONDS]",
    .summary = "Which CPU and which receive queue carry what, and which SAs",
    .help = "It looks for one second, or as long as is said.\n\n"
            "  -n, --lines N     list the N busiest SAs; 20 without it\n",
    .max_args = 1,
    .run = run,
};
