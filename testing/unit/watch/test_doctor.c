/* SPDX-License-Identifier: Apache-2.0 */
/* Each diagnosis from the counters that mean it, and none from those of a daemon that is well. */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "daemon/watch/doctor.h"

static struct sample now, total;
static struct worker_stats workers[2][4];
static struct cy_socket_stats sockets[2][2];
static struct pool_owner_stats pool[2];
static struct sample_plugin plugins[2][1];
static struct sample_thread threads[4];
static struct sample_counter errors[2][2];
static struct machine machine;
static struct machine_cpu cpus[4];
static struct machine_queue queues[4];
static struct doctor_input in;

static struct finding found[64];
static size_t n_found;

static void on_finding(void *user, const struct finding *f)
{
	(void)user;
	ck_assert_uint_lt(n_found, ARRAY_LEN(found));
	found[n_found++] = *f;
	/* whatever it says, it says it in full and with what to do */
	ck_assert_uint_gt(strlen(f->text), 20);
	ck_assert_uint_gt(strlen(f->advice), 10);
	ck_assert_ptr_nonnull(f->unit);
	ck_assert_ptr_null(strstr(f->text, "nan"));
}

static size_t run(void)
{
	n_found = 0;
	return doctor_run(&in, on_finding, NULL);
}

static const struct finding *get(const char *id)
{
	for (size_t i = 0; i < n_found; i++)
		if (strcmp(found[i].id, id) == 0)
			return &found[i];
	return NULL;
}

/* Exactly this one, at this level. */
static const struct finding *only(const char *id, enum finding_level level)
{
	const struct finding *f;

	run();
	f = get(id);
	ck_assert_msg(
	    f != NULL, "%s was not found; the first of %zu: %s", id, n_found, n_found ? found[0].id : "");
	ck_assert_msg(n_found == 1, "also found: %s", strcmp(found[0].id, id) ? found[0].id : found[1].id);
	ck_assert_int_eq(f->level, level);
	return f;
}

static void says(const struct finding *f, const char *text, const char *advice)
{
	ck_assert_msg(strstr(f->text, text) != NULL, "no \"%s\" in: %s", text, f->text);
	ck_assert_msg(strstr(f->advice, advice) != NULL, "no \"%s\" in: %s", advice, f->advice);
}

/* A gateway in good health: 2 s, half the CPU used. */
static void setup(void)
{
	memset(&now, 0, sizeof(now));
	memset(&total, 0, sizeof(total));
	memset(workers, 0, sizeof(workers));
	memset(sockets, 0, sizeof(sockets));
	memset(pool, 0, sizeof(pool));
	memset(plugins, 0, sizeof(plugins));
	memset(errors, 0, sizeof(errors));
	memset(&machine, 0, sizeof(machine));
	memset(cpus, 0, sizeof(cpus));
	memset(queues, 0, sizeof(queues));
	now.ns = 2 * NS_PER_S;
	now.at_ns = 1000 * NS_PER_S;
	total.ns = 1000 * NS_PER_S;
	now.cpus = total.cpus = 4;
	now.workers = workers[0];
	total.workers = workers[1];
	now.n_workers = total.n_workers = 4;
	now.sockets = sockets[0];
	total.sockets = sockets[1];
	now.n_sockets = total.n_sockets = 2;
	now.pool = pool;
	now.n_pool = 2;
	now.plugins = plugins[0];
	total.plugins = plugins[1];
	now.n_plugins = total.n_plugins = 1;
	now.threads = threads;
	now.n_threads = 4;
	for (int i = 0; i < 4; i++) {
		workers[0][i].cpu_ns = workers[0][i].busy_ns = NS_PER_S;
		workers[0][i].max_step_kind = JOB_DATAGRAM;
		threads[i] = (struct sample_thread){.cpu_ns = NS_PER_S, .waited_ns = NS_PER_MS};
		snprintf(threads[i].name, sizeof(threads[i].name), "worker-%d", i);
		cpus[i] = (struct machine_cpu){
		    .cpu = (uint32_t)i, .processed = 100000, .softirq = 20, .idle = 100, .total = 200};
		queues[i] =
		    (struct machine_queue){.ifname = "eth0", .rx = true, .index = (uint32_t)i, .irq = -1};
	}
	for (int i = 0; i < 2; i++) {
		sockets[0][i] = (struct cy_socket_stats){
		    .family = AF_INET, .port = i ? 4500 : 500, .rcvbuf = 8 << 20, .rx_datagrams = 5000};
		sockets[1][i] = sockets[0][i];
	}
	pool[0].owner = "crypto";
	pool[1].owner = "pam";
	snprintf(plugins[0][0].name, sizeof(plugins[0][0].name), "updown");
	now.kernel.name = total.kernel.name = "kernel-netlink";
	now.net.rx_ike = now.net.tx_ike = 10000;
	now.sas.up = 500;
	machine.cpus = cpus;
	machine.n_cpus = 4;
	machine.queues = queues;
	machine.n_queues = 4;
	machine.rmem_max = 212992;
	machine.netdev_max_backlog = 1000;
	machine.n_ifs = 1;
	machine.ifs[0] = (struct machine_if){.name = "eth0",
	    .driver = "virtio_net",
	    .up = true,
	    .n_rx = 4,
	    .n_tx = 4,
	    .hash_esp = MACHINE_HASH_UNKNOWN,
	    .hash_udp = MACHINE_HASH_UNKNOWN,
	    .rx_packets = 400000};
	in = (struct doctor_input){.now = &now,
	    .total = &total,
	    .machine = &machine,
	    .inbox_max = 64,
	    .rcvbuf = 4 << 20,
	    .cookie_threshold = 100,
	    .half_open_limit = 10000,
	    .io_quota = 8};
}

static void hist_fill(struct hist *h, uint64_t value, int n)
{
	for (int i = 0; i < n; i++)
		hist_add(h, value);
}

START_TEST(nothing_limits_it)
{
	ck_assert_uint_eq(run(), 0);
	ck_assert_msg(n_found == 0, "%s: %s", found[0].id, found[0].text);
	in.machine = NULL; /* nor without what the machine says */
	run();
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

/* The founding case: the receive queue overflows while the workers sleep. */
START_TEST(receive_queue_overflows_with_idle_workers)
{
	const struct finding *f;

	sockets[0][1].kernel_drops = sockets[1][1].kernel_drops = 300;
	f = only("receive-queue", FINDING_LIMITS);
	ck_assert(f->value == 300);
	says(f, "port 4500", "socket_rcvbuf (now 4194304 bytes)");
	says(f, "8388608 bytes", "idle (50 %)");
	ck_assert_uint_eq(run(), 1);
	/* the kernel granted less than was asked for */
	sockets[0][1].rcvbuf = 425984;
	says(only("receive-queue", FINDING_LIMITS), "425984", "net.core.rmem_max (now 212992)");
	/* long ago */
	sockets[0][1].kernel_drops = 0;
	says(only("receive-queue", FINDING_PAST), "since the start", "rmem_max");
	ck_assert_uint_eq(run(), 0);
	/* before it overflows */
	sockets[1][1].kernel_drops = 0;
	sockets[0][1].rx_queue_bytes = 400000;
	says(only("receive-queue", FINDING_WARNS), "94 % full", "rmem_max");
}
END_TEST

START_TEST(receive_queue_overflows_because_a_worker_is_busy)
{
	sockets[0][0].kernel_drops = 10;
	for (int i = 0; i < 4; i++)
		workers[0][i].cpu_ns = i ? NS_PER_S / 10 : 2 * NS_PER_S;
	ck_assert_uint_eq(run(), 2);
	ck_assert_ptr_nonnull(get("worker-alone"));
	says(get("worker-alone"), "Worker 0", "socket-reuseport");
	says(get("receive-queue"), "10 datagrams", "only delays the loss");
}
END_TEST

START_TEST(workers_are_cpu_bound)
{
	for (int i = 0; i < 4; i++)
		workers[0][i].cpu_ns = 19 * NS_PER_S / 10;
	now.usage.kind[JOB_DATAGRAM][PRIO_MEDIUM].ns = 6 * NS_PER_S;
	now.usage.kind[JOB_TIMER][PRIO_HIGH].ns = 2 * NS_PER_S;
	says(only("workers-cpu", FINDING_LIMITS), "95 %", "ipsec usage 5");
	says(get("workers-cpu"), "datagram jobs (75 %)", "CPUs");
	now.cpus = 8;
	says(only("workers-cpu", FINDING_LIMITS), "95 %", "workers = 0");
}
END_TEST

START_TEST(somebody_else_has_the_cpus)
{
	for (int i = 0; i < 4; i++)
		threads[i].waited_ns = NS_PER_S;
	says(only("no-cpu", FINDING_LIMITS), "wanted to run for 8000 ms", "CPUWeight");
	cpus[0].steal = 100;
	run();
	ck_assert_ptr_nonnull(get("stolen"));
}
END_TEST

START_TEST(inboxes_are_full)
{
	now.sas.drop_inbox = total.sas.drop_inbox = 12;
	hist_fill(&now.usage.inbox_wait, 80 * NS_PER_MS, 100);
	says(only("inbox", FINDING_LIMITS), "12 datagrams", "inbox_max");
	ck_assert_ptr_nonnull(strstr(get("inbox")->text, "(64 datagrams)"));
	now.sas.drop_inbox = 0;
	only("inbox", FINDING_PAST);
}
END_TEST

START_TEST(back_ends_are_slow)
{
	hist_fill(&pool[1].time, 2500 * NS_PER_MS, 10);
	hist_fill(&pool[1].wait, NS_PER_MS, 10);
	says(only("slow-backend", FINDING_WARNS), "pam is slow", "server behind pam");
	hist_fill(&pool[1].wait, 700 * NS_PER_MS, 10);
	pool[1].queued = 40;
	pool[1].running = 8;
	says(only("slow-backend", FINDING_LIMITS), "40 are queued", "io_quota (now 8)");
	/* its own measurement of algorithms is nobody's back end */
	pool[1].owner = "speed";
	ck_assert_uint_eq(run(), 0);
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

START_TEST(logins_are_slow)
{
	/* setup: 2 s */
	now.xauth.in_progress = 100;
	now.xauth.ok = 90;
	now.xauth.refused = 10;
	says(only("slow-logins", FINDING_WARNS), "100 are in progress and 50.0 a second", "PAM");
	ck_assert_msg(get("slow-logins")->value > 1.9 && get("slow-logins")->value < 2.1, "2 s each");
	now.xauth.timeouts = 1;
	only("slow-logins", FINDING_LIMITS);
	/* many that are answered at once, and few that take their time */
	now.xauth.timeouts = 0;
	now.xauth.ok = 400;
	ck_assert_uint_eq(run(), 0);
	ck_assert_uint_eq(n_found, 0);
	now.xauth = (struct xauth_stats){.in_progress = 3};
	run();
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

START_TEST(a_crl_server_is_away)
{
	struct sources_stats *r = &now.revocation;

	r->n_hosts = 2;
	snprintf(r->host[0].name, sizeof(r->host[0].name), "good.example");
	r->host[0].asked = 100;
	snprintf(r->host[1].name, sizeof(r->host[1].name), "crl.example");
	r->host[1].asked = 5;
	ck_assert_uint_eq(run(), 0);
	ck_assert_uint_eq(n_found, 0);
	r->host[1].failed = 4;
	r->host[1].late = 3;
	r->waiting = 7;
	says(only("crl-server", FINDING_WARNS),
	    "crl.example, which CRLs or OCSP responses come from, failed 4 of 5", "ipsec listcrls");
	says(only("crl-server", FINDING_WARNS), "7 peers wait", "crluri=");
	r->host[1].failed = 0;
	r->host[1].running_ns = 500 * NS_PER_MS;
	run();
	ck_assert_uint_eq(n_found, 0);
	r->host[1].running_ns = 9 * NS_PER_S;
	says(only("crl-server", FINDING_WARNS), "asked for 9.0 s", "crluri=");
	r->outcome[OUTCOME_REFUSED] = 1;
	only("crl-server", FINDING_LIMITS);
}
END_TEST

START_TEST(computations_wait)
{
	hist_fill(&pool[0].wait, 200 * NS_PER_MS, 10);
	says(only("pool-cpu", FINDING_LIMITS), "wait for the pool", "curve25519");
}
END_TEST

START_TEST(scripts_are_slow)
{
	now.procs.killed = 3;
	says(only("slow-scripts", FINDING_WARNS), "3 were killed", "helper_limit");
	now.procs.refused = 1;
	only("slow-scripts", FINDING_LIMITS);
}
END_TEST

START_TEST(the_kernel_is_slow)
{
	hist_fill(&now.kernel.wait, 300 * NS_PER_MS, 100);
	now.kernel.op[KNL_POLICY_ADD].n = 10;
	now.kernel.op[KNL_POLICY_ADD].ns = NS_PER_S;
	says(only("slow-kernel", FINDING_LIMITS), "kernel-netlink is slow", "policy_add (100.000 ms each)");
	memset(&now.kernel.wait, 0, sizeof(now.kernel.wait));
	now.kernel.running_since_ns = now.at_ns - 3 * NS_PER_S;
	says(only("slow-kernel", FINDING_LIMITS), "running for 3000 ms", "policy_add");
	now.kernel.running_since_ns = 0;
	now.kernel.op[KNL_SA_ADD].failed = now.kernel.failures = 2;
	says(only("kernel-refuses", FINDING_WARNS), "sa_add most often", "group knl");
}
END_TEST

START_TEST(drops_in_xfrm_by_kind)
{
	now.errors = errors[0];
	total.errors = errors[1];
	now.n_errors = total.n_errors = 1;
	errors[0][0] = errors[1][0] = (struct sample_counter){"XfrmInStateProtoError", 50};
	says(only("data-plane-drops", FINDING_LIMITS), "integrity check failed", "sha256_96");
	/* a stray packet now and then is nothing to worry about */
	errors[0][0] = (struct sample_counter){"XfrmInNoStates", 1};
	errors[1][0] = (struct sample_counter){"XfrmInNoStates", 5};
	says(only("data-plane-drops", FINDING_WARNS), "SPI that no SA has", "dpddelay");
	errors[0][0].value = 1000;
	only("data-plane-drops", FINDING_LIMITS);
	errors[0][0].value = 0;
	only("data-plane-drops", FINDING_PAST);
	/* what a later kernel counts */
	errors[1][0] = (struct sample_counter){"XfrmBrandNew", 5};
	says(only("data-plane-drops", FINDING_PAST), "XfrmBrandNew", "documentation");
	/* what is no loss */
	errors[1][0] = errors[0][0] = (struct sample_counter){"EspOutQueued", 5};
	run();
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

START_TEST(every_counter_of_the_kernel_is_explained)
{
	/* include/uapi/linux/snmp.h, LINUX_MIB_XFRM*; names as in /proc/net/xfrm_stat */
	static const char *const names[] = {"XfrmInError", "XfrmInBufferError", "XfrmInHdrError",
	    "XfrmInNoStates", "XfrmInStateProtoError", "XfrmInStateModeError", "XfrmInStateSeqError",
	    "XfrmInStateExpired", "XfrmInStateMismatch", "XfrmInStateInvalid", "XfrmInTmplMismatch",
	    "XfrmInNoPols", "XfrmInPolBlock", "XfrmInPolError", "XfrmOutError", "XfrmOutBundleGenError",
	    "XfrmOutBundleCheckError", "XfrmOutNoStates", "XfrmOutStateProtoError", "XfrmOutStateModeError",
	    "XfrmOutStateSeqError", "XfrmOutStateExpired", "XfrmOutPolBlock", "XfrmOutPolDead",
	    "XfrmOutPolError", "XfrmFwdHdrError", "XfrmOutStateInvalid", "XfrmAcquireError"};
	const char *advice;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		advice = NULL;
		ck_assert_msg(doctor_error_text(names[i], &advice) != NULL, "%s", names[i]);
		ck_assert_ptr_nonnull(advice);
	}
	ck_assert_ptr_null(doctor_error_text("Xfrm", NULL));
}
END_TEST

START_TEST(peers_do_not_answer)
{
	now.sas.timeouts = total.sas.timeouts = 7;
	now.sas.retransmits_out = 35;
	says(only("peers-silent", FINDING_WARNS), "7 exchanges", "firewall");
	now.sas.timeouts = total.sas.timeouts = 0;
	now.sas.retransmits_out = 4000;
	only("peers-slow", FINDING_WARNS);
	now.sas.retransmits_out = 0;
	now.sas.retransmits_in = 4000;
	only("answers-lost", FINDING_WARNS);
}
END_TEST

START_TEST(floods)
{
	now.sas.drop_half_open_limit = total.sas.drop_half_open_limit = 5;
	now.sas.half_open = 10000;
	says(only("half-open", FINDING_LIMITS), "of 10000 allowed", "init_limit_half_open");
	setup();
	now.sas.cookies_sent = total.sas.cookies_sent = 50;
	says(only("cookies", FINDING_WARNS), "50 were sent", "cookie_threshold");
	setup();
	now.sas.firsts_kept = total.sas.firsts_kept = 60;
	now.sas.firsts_gone_on = 2;
	says(only("main-mode", FINDING_WARNS), "60 first messages", "forged addresses");
	setup();
	now.net.drop_queue_new = total.net.drop_queue_new = 7;
	now.sas.drop_late = total.sas.drop_late = 3;
	says(only("shed", FINDING_LIMITS), "0 first requests by the kernel for us, 7 and 0 others",
	    "receive_queue");
	now.sas.drop_pool = total.sas.drop_pool = 2;
	sockets[0][0].shed = sockets[1][0].shed = 5;
	says(only("shed", FINDING_LIMITS), "5 first requests by the kernel", "init_queue_time");
	sockets[0][0].shed = 0;
	says(only("shed", FINDING_LIMITS), "2 that would have for the pool", "init_queue_time");
	now.net.drop_queue_new = now.sas.drop_late = now.sas.drop_pool = 0;
	says(only("shed", FINDING_PAST), "3 first requests that had waited", "init_queue_time");
	setup();
	now.sas.drop_blocked = total.sas.drop_blocked = 4;
	says(only("blocked", FINDING_WARNS), "4 first requests", "block_threshold");
	setup();
	now.sas.drop_fragment_memory = total.sas.drop_fragment_memory = 6;
	says(only("fragment-memory", FINDING_LIMITS), "6 fragments", "fragment_memory");
	setup();
	now.net.drop_malformed = 1000;
	says(only("garbage", FINDING_WARNS), "500 messages a second", "Filter");
}
END_TEST

START_TEST(costly_algorithms)
{
	static const struct alg_speed speeds[] = {
	    {.kind = CY_KIND_CIPHER, .id = CY_ENCR_AES_GCM_16, .key_bits = 128, .aead = true, .ns = 500},
	    {.kind = CY_KIND_CIPHER, .id = CY_ENCR_3DES, .key_bits = 192, .ns = 50000},
	    {.kind = CY_KIND_CIPHER, .id = CY_ENCR_AES_CBC, .key_bits = 256, .ns = 700},
	    {.kind = CY_KIND_MAC, .id = CY_MAC_HMAC_SHA1, .ns = 1000},
	};
	struct conn_cost c = {.conn = "legacy",
	    .encr = CY_ENCR_3DES,
	    .key_bits = 0,
	    .integ = CY_INTEG_HMAC_SHA1_96,
	    .child_sas = 300};
	struct proposal p = {.proto = PROTO_ESP,
	    .n = 4,
	    .t = {{TRANSFORM_ENCR, 0, CY_ENCR_3DES, 0}, {TRANSFORM_ENCR, 0, CY_ENCR_AES_CBC, 256},
	        {TRANSFORM_INTEG, 0, CY_INTEG_HMAC_SHA1_96, 0}, {TRANSFORM_ESN, 0, 0, 0}}};
	struct proposal_list offers = {&p, 1};

	in.speeds = speeds;
	in.n_speeds = ARRAY_LEN(speeds);
	in.costs = &c;
	in.n_costs = 1;
	says(only("algorithms", FINDING_WARNS), "300 CHILD_SAs of connection legacy", "esp=aes128gcm16");
	ck_assert(get("algorithms")->value > 100);
	/* the connection allows something better */
	c.offers = &offers;
	says(only("algorithms", FINDING_WARNS), "AES_CBC_256", "did not choose it");
	/* what is good enough */
	c.encr = CY_ENCR_AES_CBC;
	c.key_bits = 256;
	c.offers = NULL;
	in.n_speeds = 0; /* nothing was measured */
	run();
	ck_assert_uint_eq(n_found, 0);
	in.n_speeds = ARRAY_LEN(speeds);
	c.encr = CY_ENCR_AES_GCM_16;
	c.key_bits = 128;
	c.integ = 0;
	run();
	ck_assert_uint_eq(n_found, 0);
}
END_TEST

START_TEST(clock_log_and_listeners)
{
	total.clock_jump_s = now.clock_jump_s = -3600;
	says(only("clock", FINDING_WARNS), "-3600 s", "time daemon");
	now.clock_jump_s = 0;
	only("clock", FINDING_PAST);
	setup();
	now.log_dropped = total.log_dropped = 40;
	says(only("log-lost", FINDING_WARNS), "40 lines", "faster sink");
	setup();
	plugins[0][0].listener.missed = plugins[1][0].listener.missed = 9;
	says(only("listener-lags", FINDING_WARNS), "updown lags behind: it missed 9", "Tunnels do not wait");
	setup();
	plugins[0][0].running_ms = 60000;
	says(only("listener-lags", FINDING_WARNS), "60000 ms", "accounting");
}
END_TEST

START_TEST(steps)
{
	workers[0][1].slow_steps = workers[1][1].slow_steps = 2;
	workers[0][1].max_step_ns = 35 * NS_PER_MS;
	says(only("slow-steps", FINDING_WARNS), "35 ms (datagram)", "statusall");
	setup();
	now.stuck_ms = 4000;
	says(only("worker-stuck", FINDING_LIMITS), "4000 ms", "watchdog");
}
END_TEST

START_TEST(steered_packets_get_lost)
{
	in.steer_sent = 100000;
	in.steer_lost = 40; /* these wait */
	run();
	ck_assert_uint_eq(n_found, 0);
	in.steer_lost = 20000;
	says(only("steer-drops", FINDING_LIMITS), "Of 100000 packets", "queue =");
}
END_TEST

START_TEST(one_cpu_receives_it_all)
{
	cpus[2].softirq = 190;
	cpus[2].idle = 0;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2 alone", "forceencaps=yes");
	ck_assert_ptr_nonnull(strstr(get("cpu-uneven")->advice, "cannot hash the SPI"));
	/* whose they are, where it is known */
	in.sas = (const struct busy_sa[]){{.cpu = 2, .packets = 100, .who = "10.0.0.7"},
	    {.cpu = 1, .packets = 9000, .who = "user elsewhere"},
	    {.cpu = 2, .packets = 600, .who = "user alice"}, {.cpu = 2, .packets = 40, .who = "user few"},
	    {.cpu = 2, .packets = 260, .who = "user bob"}, {.cpu = 2}};
	in.n_sas = 6;
	says(only("cpu-uneven", FINDING_LIMITS),
	    "Most of its ESP is of user alice (60 %), user bob (26 %), 10.0.0.7 (10 %).",
	    "per-cpu-sas=encap");
	in.n_sas = 0;
	/* what the plugin that steers could do */
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2",
	    "steer, which is not loaded, sends each SA to a CPU by load.");
	in.steer = STEER_OFF;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2",
	    "interfaces = eth0 in its section of cygnet.conf, and a restart.");
	in.steer = STEER_WATCHES;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2",
	    " Or set RPS. Or let the plugin steer, which only watches, send each SA "
	    "to a CPU by load: watch = no in its section of cygnet.conf, and a reload.");
	in.steer = STEER_ON;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2", "one SA is too much: ipsec cpus.");
	in.steer = STEER_OFF;
	/* one queue */
	machine.ifs[0].n_rx = 1;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2", "rps_cpus). Or let the plugin steer");
	/* a NIC that hashes ports and could hash SPIs */
	machine.ifs[0].n_rx = 4;
	snprintf(machine.ifs[0].driver, sizeof(machine.ifs[0].driver), "ice");
	machine.ifs[0].hash_udp = MACHINE_HASH_ADDRS | MACHINE_HASH_PORTS;
	machine.ifs[0].hash_esp = MACHINE_HASH_ADDRS;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2", "rx-flow-hash esp4 sdfn.");
	machine.ifs[0].hash_esp = MACHINE_HASH_ADDRS | MACHINE_HASH_PORTS;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2", "per-CPU SAs");
	/* devices without a driver */
	machine.ifs[0].driver[0] = '\0';
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 2",
	    "Spread it with RPS (/sys/class/net/IF/queues/rx-0/rps_cpus). Or let the plugin steer");
	snprintf(machine.ifs[0].driver, sizeof(machine.ifs[0].driver), "ice");
	/* all of them */
	for (int i = 0; i < 4; i++)
		cpus[i].softirq = 180;
	only("softirq", FINDING_LIMITS);
	/* one of two, the other of which does a little of it */
	machine.n_cpus = 2;
	cpus[0].softirq = 10;
	says(only("cpu-uneven", FINDING_LIMITS), "CPU 1 alone", "per-CPU SAs");
}
END_TEST

/* The queues that feed it, where that can be known, and nothing where it cannot. */
START_TEST(which_queue_is_overloaded)
{
	static const struct busy_sa sas[] = {
	    {.cpu = 2, .packets = 60000, .who = "user alice", .ifname = "eth0", .queue = 1},
	    {.cpu = 2, .packets = 20000, .who = "user bob", .ifname = "eth0", .queue = 3},
	    {.cpu = 0, .packets = 20000, .who = "user carol", .ifname = "eth0", .queue = 0},
	};

	cpus[2].softirq = 190;
	cpus[2].idle = 0;
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	/* as the plugin saw it, which only watches: packets of the interval of two seconds */
	in.sas = sas;
	in.n_sas = ARRAY_LEN(sas);
	in.steer = STEER_WATCHES;
	says(only("cpu-uneven", FINDING_LIMITS),
	    "of 4 CPUs. Its packets come by eth0 rx-1 (30000 packets/s of ESP, 60 % of eth0's), eth0 rx-3 "
	    "(10000 "
	    "packets/s of ESP, 20 % of eth0's). Most of its ESP is of user alice (75 %), user bob (25 %).",
	    "eth0: ");
	/* that is little of what the CPU does */
	cpus[2].processed = 1000000;
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	cpus[2].processed = 100000;
	/* it is not where it came any more */
	in.steer = STEER_ON;
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	in.n_sas = 0;
	/* by interrupts, and what the queues count */
	for (int i = 0; i < 4; i++) {
		queues[i].irq = 30 + i;
		queues[i].has_counters = true;
		snprintf(queues[i].irq_cpus, sizeof(queues[i].irq_cpus), "%d", 3 - i);
		cpus[i].processed = queues[3 - i].packets = i == 2 ? 280000 : 40000;
	}
	says(only("cpu-uneven", FINDING_LIMITS),
	    "of 4 CPUs. Its packets come by eth0 rx-1 (140000 packets/s, 70 % of eth0's).", "eth0: ");
	/* the queue is polled on another CPU than its interrupts go to */
	cpus[1].processed = 0;
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	cpus[1].processed = 40000;
	/* RPS takes it elsewhere */
	snprintf(queues[1].steering, sizeof(queues[1].steering), "0-3");
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	queues[1].steering[0] = '\0';
	/* any CPU may serve it */
	snprintf(queues[1].irq_cpus, sizeof(queues[1].irq_cpus), "0-3");
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	snprintf(queues[1].irq_cpus, sizeof(queues[1].irq_cpus), "2");
	/* what it receives is not counted, unless it is the only one */
	queues[1].has_counters = false;
	ck_assert_ptr_null(strstr(only("cpu-uneven", FINDING_LIMITS)->text, "come by"));
	machine.ifs[0].n_rx = 1;
	machine.queues = &queues[1];
	machine.n_queues = 1;
	machine.ifs[0].rx_packets = 280000;
	says(only("cpu-uneven", FINDING_LIMITS), "come by eth0 rx-1 (140000 packets/s, 100 % of eth0's).",
	    "eth0 has one receive queue");
	/* the backlog of that CPU is full, too */
	cpus[2].softirq = 20;
	cpus[2].idle = 100;
	cpus[2].dropped = 7;
	says(only("backlog", FINDING_LIMITS), "most at CPU 2. Its packets come by eth0 rx-1 (",
	    "netdev_max_backlog");
}
END_TEST

static const char *advice_for(const struct busy_sa *sas, size_t n)
{
	in.sas = sas;
	in.n_sas = n;
	return only("cpu-uneven", FINDING_LIMITS)->advice;
}

/* What the queues hash, and what would change that, for the ESP that makes the load. */
START_TEST(hashes_and_encapsulation)
{
	static const struct busy_sa one[] = {
	    {.cpu = -1, .packets = 60000, .peer = "192.0.2.1"},
	    {.cpu = -1, .packets = 20000, .peer = "192.0.2.2"},
	    {.cpu = -1, .packets = 20000, .peer = "192.0.2.3"},
	};
	static const struct busy_sa many[] = {
	    {.cpu = 2, .packets = 30000, .peer = "192.0.2.1"},
	    {.cpu = 2, .packets = 30000, .peer = "192.0.2.2"},
	    {.cpu = 2, .packets = 30000, .peer = "192.0.2.3"},
	    {.cpu = 1, .packets = 900000, .peer = "192.0.2.1"}, /* elsewhere */
	    {.cpu = 2, .packets = 1000, .peer = "192.0.2.4", .encap = true},
	};
	static const struct busy_sa udp[] = {
	    {.cpu = 2, .packets = 30000, .peer = "192.0.2.1", .encap = true},
	    {.cpu = 2, .packets = 30000, .peer = "192.0.2.1", .encap = true},
	    {.cpu = 2, .packets = 1000, .peer = "192.0.2.3"},
	};
	struct machine_if *f = &machine.ifs[0];
	const char *a;

	cpus[2].softirq = 190;
	cpus[2].idle = 0;
	/* virtio-net whose fields may be chosen, and are addresses: another port changes nothing before they are */
	f->hash_esp = f->hash_udp = MACHINE_HASH_ADDRS;
	a = advice_for(one, ARRAY_LEN(one));
	ck_assert_ptr_nonnull(strstr(a, "all ESP between two addresses comes on one queue"));
	ck_assert_ptr_nonnull(
	    strstr(a, ": ethtool -K eth0 rxhash on; ethtool -N eth0 rx-flow-hash udp4 sdfn."));
	ck_assert_ptr_nonnull(strstr(a, "per-cpu-sas=encap, at both ends"));
	ck_assert_ptr_null(strstr(a, "forceencaps"));
	ck_assert_ptr_null(strstr(a, "esp4"));
	/* peers of many addresses are told apart already, in UDP or not */
	a = advice_for(many, ARRAY_LEN(many));
	ck_assert_ptr_null(strstr(a, "forceencaps"));
	ck_assert_ptr_null(strstr(a, "per-cpu-sas"));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	a = advice_for(udp, ARRAY_LEN(udp));
	ck_assert_ptr_nonnull(strstr(a, "udp4 sdfn"));
	ck_assert_ptr_null(strstr(a, "encap, at"));
	ck_assert_ptr_null(strstr(a, "forceencaps"));
	/* ports as well */
	f->hash_udp |= MACHINE_HASH_PORTS;
	a = advice_for(udp, ARRAY_LEN(udp));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	ck_assert_ptr_nonnull(strstr(a, "(per-cpu-sas=encap), or another RSS key."));
	a = advice_for(one, ARRAY_LEN(one));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	ck_assert_ptr_nonnull(strstr(a, "per-cpu-sas=encap, at both ends"));
	/* only UDP is hashed */
	f->hash_esp = 0;
	a = advice_for(many, ARRAY_LEN(many));
	ck_assert_ptr_nonnull(strstr(a, "all ESP comes on one queue"));
	ck_assert_ptr_nonnull(strstr(a, "forceencaps=yes), which is hashed by their addresses."));
	ck_assert_ptr_null(strstr(a, "per-cpu-sas"));
	/* one that has no fields to choose */
	f->hash_udp = 0;
	a = advice_for(udp, ARRAY_LEN(udp));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	ck_assert_ptr_null(strstr(a, "forceencaps"));
	ck_assert_ptr_nonnull(strstr(a, "(per-cpu-sas=encap). Or set RPS."));
	a = advice_for(many, ARRAY_LEN(many));
	ck_assert_ptr_nonnull(strstr(a, "forceencaps=yes"));
	/* NICs that know ESP, with the SPI and without */
	snprintf(f->driver, sizeof(f->driver), "ice");
	f->hash_udp = f->hash_esp = MACHINE_HASH_ADDRS;
	a = advice_for(one, ARRAY_LEN(one));
	ck_assert_ptr_nonnull(strstr(a, "ethtool -N eth0 rx-flow-hash esp4 sdfn."));
	ck_assert_ptr_nonnull(strstr(a, ": ethtool -N eth0 rx-flow-hash udp4 sdfn."));
	f->hash_esp |= MACHINE_HASH_PORTS;
	a = advice_for(one, ARRAY_LEN(one));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	ck_assert_ptr_nonnull(strstr(a, "(per-cpu-sas=yes), or another RSS key."));
	/* nothing is known */
	f->hash_udp = f->hash_esp = MACHINE_HASH_UNKNOWN;
	a = advice_for(NULL, 0);
	ck_assert_ptr_nonnull(strstr(a, "forceencaps=yes"));
	ck_assert_ptr_nonnull(strstr(a, "per-cpu-sas=encap"));
	ck_assert_ptr_null(strstr(a, "ethtool"));
	ck_assert_ptr_nonnull(strstr(a, "sends each SA to a CPU by load."));
}
END_TEST

/* Advice is about the interface that the load comes by, not about the one with most packets. */
START_TEST(which_interface_is_overloaded)
{
	static const struct busy_sa sas[] = {
	    {.cpu = 2, .packets = 90000, .who = "user alice", .ifname = "eth1", .queue = 0},
	};

	cpus[2].softirq = 190;
	cpus[2].idle = 0;
	machine.n_ifs = 2;
	machine.ifs[1] = machine.ifs[0];
	snprintf(machine.ifs[1].name, sizeof(machine.ifs[1].name), "eth1");
	machine.ifs[1].n_rx = 1;
	machine.ifs[1].rx_packets = 90000;
	in.sas = sas;
	in.n_sas = 1;
	in.steer = STEER_WATCHES;
	says(only("cpu-uneven", FINDING_LIMITS),
	    "come by eth1 rx-0 (45000 packets/s of ESP, 100 % of eth1's)", "eth1 has one receive queue");
	/* the queue that drops */
	in.n_sas = 0;
	cpus[2].softirq = 20;
	cpus[2].idle = 100;
	machine.ifs[0].rx_missed = 5000;
	queues[1].drops = 1000;
	queues[3].drops = 4000;
	says(only("device-drops", FINDING_LIMITS), "of 400000. Most at its queue rx-3: 4000.",
	    "ethtool -G eth0");
}
END_TEST

START_TEST(dropped_before_anybody_sees_it)
{
	cpus[1].dropped = 70;
	says(only("backlog", FINDING_LIMITS), "most at CPU 1", "netdev_max_backlog (now 1000)");
	setup();
	cpus[0].squeezed = 5000;
	says(only("squeezed", FINDING_WARNS), "5000 times", "netdev_budget");
	setup();
	machine.ifs[0].rx_missed = 1000;
	says(only("device-drops", FINDING_LIMITS), "1000 missed", "ethtool -G eth0");
}
END_TEST

START_TEST(the_most_pressing_comes_first)
{
	now.log_dropped = total.log_dropped = 1;
	total.sas.drop_inbox = 3;
	hist_fill(&now.kernel.wait, 300 * NS_PER_MS, 10);
	ck_assert_uint_eq(run(), 1);
	ck_assert_uint_eq(n_found, 3);
	ck_assert_str_eq(found[0].id, "slow-kernel");
	ck_assert_str_eq(found[1].id, "log-lost");
	ck_assert_str_eq(found[2].id, "inbox");
}
END_TEST

UNIT_TESTS(doctor)
{
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, nothing_limits_it);
	tcase_add_test(tc, receive_queue_overflows_with_idle_workers);
	tcase_add_test(tc, receive_queue_overflows_because_a_worker_is_busy);
	tcase_add_test(tc, workers_are_cpu_bound);
	tcase_add_test(tc, somebody_else_has_the_cpus);
	tcase_add_test(tc, inboxes_are_full);
	tcase_add_test(tc, back_ends_are_slow);
	tcase_add_test(tc, logins_are_slow);
	tcase_add_test(tc, a_crl_server_is_away);
	tcase_add_test(tc, computations_wait);
	tcase_add_test(tc, scripts_are_slow);
	tcase_add_test(tc, the_kernel_is_slow);
	tcase_add_test(tc, drops_in_xfrm_by_kind);
	tcase_add_test(tc, every_counter_of_the_kernel_is_explained);
	tcase_add_test(tc, peers_do_not_answer);
	tcase_add_test(tc, floods);
	tcase_add_test(tc, costly_algorithms);
	tcase_add_test(tc, clock_log_and_listeners);
	tcase_add_test(tc, steps);
	tcase_add_test(tc, steered_packets_get_lost);
	tcase_add_test(tc, one_cpu_receives_it_all);
	tcase_add_test(tc, which_queue_is_overloaded);
	tcase_add_test(tc, which_interface_is_overloaded);
	tcase_add_test(tc, hashes_and_encapsulation);
	tcase_add_test(tc, dropped_before_anybody_sees_it);
	tcase_add_test(tc, the_most_pressing_comes_first);
}
