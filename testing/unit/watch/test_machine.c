/* SPDX-License-Identifier: Apache-2.0 */
/* /proc and /sys of other machines. */

#include "unit.h"

#include <errno.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/watch/machine.h"
#include "daemon/watch/sample.h"

static char root[64];

static void setup(void)
{
	snprintf(root, sizeof(root), "/tmp/cygnet-unit-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void teardown(void)
{
	ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void make_dirs(char *path)
{
	for (char *s = strchr(path + 1, '/'); s; s = strchr(s + 1, '/')) {
		*s = '\0';
		ck_assert(mkdir(path, 0755) == 0 || errno == EEXIST);
		*s = '/';
	}
}

static void file(const char *text, const char *fmt, ...)
{
	char path[512];
	va_list ap;
	int n = snprintf(path, sizeof(path), "%s", root);
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(path + n, sizeof(path) - (size_t)n, fmt, ap);
	va_end(ap);
	make_dirs(path);
	f = fopen(path, "w");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	fclose(f);
}

static void link_to(const char *to, const char *at)
{
	char path[512];

	snprintf(path, sizeof(path), "%s%s", root, at);
	make_dirs(path);
	ck_assert_int_eq(symlink(to, path), 0);
}

/* A virtio-net guest with 2 CPUs and 2 queues, all on queue 0. */
static void virtio_guest(void)
{
	file("cpu  10 0 10 80 0 0 100 0 0 0\n"
	     "cpu0 5 0 5 10 0 0 80 0 0 0\n"
	     "cpu1 5 0 5 70 0 0 20 0 0 0\n"
	     "intr 1 2 3\n",
	    "/proc/stat");
	file("000003e8 00000005 00000002 00000000 00000000 00000000 00000000 00000000 00000000 0000000a "
	     "00000000 00000000 "
	     "00000000 00000000 00000000\n"
	     "00000064 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
	     "00000000 00000000 "
	     "00000001 00000000 00000000\n",
	    "/proc/net/softnet_stat");
	file("Ip: Forwarding\nIp: 1\n"
	     "Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors\n"
	     "Udp: 100 1 7 90 6 0\n"
	     "UdpLite: InDatagrams\nUdpLite: 0\n",
	    "/proc/net/snmp");
	file("212992\n", "/proc/sys/net/core/rmem_max");
	file("1000\n", "/proc/sys/net/core/netdev_max_backlog");
	file("           CPU0       CPU1\n"
	     "  1:          9          0   IO-APIC   1-edge      i8042\n"
	     " 24:          0          0   PCI-MSI 49152-edge      virtio0-config\n"
	     " 25:       5000          1   PCI-MSI 49153-edge      virtio0-input.0\n"
	     " 26:          3          0   PCI-MSI 49154-edge      virtio0-output.0\n"
	     " 27:          0         20   PCI-MSI 49155-edge      virtio0-input.1\n"
	     "NMI:          0          0   Non-maskable interrupts\n",
	    "/proc/interrupts");
	file("0\n", "/proc/irq/25/effective_affinity_list");
	file("0-1\n", "/proc/irq/27/smp_affinity_list");
	for (int i = 0; i < 2; i++) {
		file(i ? "0\n" : "3\n", "/sys/class/net/eth0/queues/rx-%d/rps_cpus", i);
		file("0\n", "/sys/class/net/eth0/queues/rx-%d/rps_flow_cnt", i);
		file(i ? "2\n" : "1\n", "/sys/class/net/eth0/queues/tx-%d/xps_cpus", i);
	}
	file("up\n", "/sys/class/net/eth0/operstate");
	file("1100\n", "/sys/class/net/eth0/statistics/rx_packets");
	file("11\n", "/sys/class/net/eth0/statistics/rx_dropped");
	link_to("../../../devices/virtio0", "/sys/class/net/eth0/device");
	file("", "/sys/devices/virtio0/here");
	link_to("../../bus/virtio/drivers/virtio_net", "/sys/devices/virtio0/driver");
	file("unknown\n", "/sys/class/net/lo/operstate");
}

static const struct machine_queue *queue(const struct machine *m, bool rx, uint32_t index)
{
	for (size_t i = 0; i < m->n_queues; i++)
		if (m->queues[i].rx == rx && m->queues[i].index == index)
			return &m->queues[i];
	ck_abort_msg("there is no queue %u", index);
	return NULL;
}

START_TEST(a_virtio_guest)
{
	struct machine *m;
	char text[256];

	virtio_guest();
	m = machine_read(root, NULL);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->n_cpus, 2);
	ck_assert_uint_eq(m->cpus[0].processed, 1000);
	ck_assert_uint_eq(m->cpus[0].dropped, 5);
	ck_assert_uint_eq(m->cpus[0].squeezed, 2);
	ck_assert_uint_eq(m->cpus[0].received_rps, 10);
	ck_assert_uint_eq(m->cpus[0].softirq, 80);
	ck_assert_uint_eq(m->cpus[0].total, 100);
	ck_assert_uint_eq(m->cpus[1].processed, 100);
	ck_assert_uint_eq(m->udp_rcvbuf_errors, 6);
	ck_assert_uint_eq(m->udp_in_errors, 7);
	ck_assert_uint_eq(m->rmem_max, 212992);
	ck_assert_uint_eq(m->n_ifs, 1); /* without lo */
	ck_assert_str_eq(m->ifs[0].name, "eth0");
	ck_assert_str_eq(m->ifs[0].driver, "virtio_net");
	ck_assert_str_eq(m->ifs[0].device, "virtio0");
	ck_assert_uint_eq(m->ifs[0].n_rx, 2);
	ck_assert_uint_eq(m->ifs[0].rx_dropped, 11);
	ck_assert_uint_eq(m->n_queues, 4);
	ck_assert_str_eq(queue(m, true, 0)->steering, "0-1");
	ck_assert_str_eq(queue(m, true, 1)->steering, "");
	ck_assert_str_eq(queue(m, false, 1)->steering, "1");
	ck_assert_int_eq(queue(m, true, 0)->irq, 25);
	ck_assert_uint_eq(queue(m, true, 0)->irqs, 5001);
	ck_assert_int_eq(queue(m, true, 0)->irq_cpu, 0);
	ck_assert_str_eq(queue(m, true, 0)->irq_cpus, "0");
	ck_assert_int_eq(queue(m, true, 1)->irq, 27);
	ck_assert_int_eq(queue(m, true, 1)->irq_cpu, 1);
	ck_assert_str_eq(queue(m, true, 1)->irq_cpus, "0-1");
	ck_assert_int_eq(queue(m, false, 0)->irq, 26);
	ck_assert_int_eq(queue(m, false, 1)->irq, -1);
	machine_hash_text(&m->ifs[0], text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "cannot hash the SPI of ESP"));
	machine_free(m);
}
END_TEST

/* Kernels before 5.10 have no CPU number in softnet_stat, and drivers name their interrupts as they like. */
START_TEST(other_shapes)
{
	struct machine *m;

	file("0000000a 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
	     "00000000\n"
	     "0000000b 00000001 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
	     "00000000\n"
	     "rubbish\n",
	    "/proc/net/softnet_stat");
	file("            CPU0       CPU2\n"
	     " 40:          1          2   PCI-MSI 1-edge      ens1f0-TxRx-0\n"
	     " 41:          0          7   PCI-MSI 2-edge      ens1f0-TxRx-1\n"
	     " 42:          0          9   PCI-MSI 3-edge      ens1f00-TxRx-1\n"
	     " 43:          5",
	    "/proc/interrupts");
	for (int i = 0; i < 2; i++)
		file("00000000,00000000\n", "/sys/class/net/ens1f0/queues/rx-%d/rps_cpus", i);
	m = machine_read(root, NULL);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->n_cpus, 2);
	ck_assert_uint_eq(m->cpus[1].cpu, 1);
	ck_assert_uint_eq(m->cpus[1].processed, 11);
	ck_assert_int_eq(queue(m, true, 1)->irq, 41);
	ck_assert_int_eq(queue(m, true, 1)->irq_cpu, 2);
	ck_assert_uint_eq(queue(m, true, 1)->irqs, 7);
	machine_free(m);
}
END_TEST

START_TEST(nothing_there)
{
	struct machine *m = machine_read(root, NULL);

	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->n_cpus + m->n_ifs + m->n_queues, 0);
	ck_assert_uint_eq(m->rmem_max, 0);
	machine_free(m);
}
END_TEST

START_TEST(what_came_in_between)
{
	struct machine *a, *b;

	virtio_guest();
	a = machine_read(root, NULL);
	/* the counters of softnet_stat have 32 bits: CPU 1 went over */
	a->cpus[1].processed = 0xfffffff0u;
	file("1200\n", "/sys/class/net/eth0/statistics/rx_packets");
	b = machine_read(root, NULL);
	machine_since(b, a);
	ck_assert_uint_eq(b->cpus[0].processed, 0);
	ck_assert_uint_eq(b->cpus[1].processed, 116);
	ck_assert_uint_eq(b->ifs[0].rx_packets, 100);
	ck_assert_uint_eq(b->packets, 100);
	ck_assert_uint_eq(queue(b, true, 0)->irqs, 0);
	ck_assert_uint_eq(b->udp_rcvbuf_errors, 0);
	machine_free(a);
	machine_free(b);
}
END_TEST

START_TEST(masks)
{
	static const struct {
		const char *mask, *list;
	} cases[] = {{"", ""}, {"0", ""}, {"00000000,00000000", ""}, {"1", "0"}, {"5", "0,2"}, {"f", "0-3"},
	    {"ff0", "4-11"}, {"80000000", "31"}, {"00000001,00000000", "32"},
	    {"00000001,80000001", "0,31-32"}};
	char text[64], small[4];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		machine_mask_list(cases[i].mask, text, sizeof(text));
		ck_assert_str_eq(text, cases[i].list);
	}
	machine_mask_list("5555", small, sizeof(small));
	ck_assert_str_eq(small, "0,2");
}
END_TEST

static uint8_t hash_esp, hash_udp;

static uint8_t nic_hash(const char *ifname, bool esp)
{
	(void)ifname;
	return esp ? hash_esp : hash_udp;
}

START_TEST(what_a_nic_hashes)
{
	static const struct machine_nic_ops nic = {.hash = nic_hash};
	struct machine_if i = {.name = "eth0", .driver = "ice", .n_rx = 4};
	struct machine *m;
	char text[256];

	hash_esp = MACHINE_HASH_ADDRS;
	hash_udp = MACHINE_HASH_ADDRS | MACHINE_HASH_PORTS;
	virtio_guest();
	m = machine_read(root, &nic);
	ck_assert_uint_eq(m->ifs[0].hash_esp, hash_esp);
	ck_assert_uint_eq(m->ifs[0].hash_udp, hash_udp);
	machine_free(m);
	i.hash_esp = hash_esp;
	i.hash_udp = hash_udp;
	machine_hash_text(&i, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "ESP: by addresses only"));
	ck_assert_ptr_nonnull(strstr(text, "UDP-encapsulated ESP: by addresses and ports"));
	i.hash_esp = MACHINE_HASH_UNKNOWN;
	machine_hash_text(&i, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "does not say"));
	i.n_rx = 1;
	machine_hash_text(&i, text, sizeof(text));
	ck_assert_ptr_nonnull(strstr(text, "one receive queue"));
}
END_TEST

START_TEST(threads_of_a_process)
{
	struct sample_thread *t;
	char dir[128];
	size_t n;

	file("5000000 2000000 7\n", "/self/task/11/schedstat");
	file("worker-0\n", "/self/task/11/comm");
	file("nonsense\n", "/self/task/12/schedstat");
	file("x\n", "/self/task/13/comm"); /* it has just ended */
	snprintf(dir, sizeof(dir), "%s/self", root);
	t = sample_threads(dir, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_str_eq(t[0].name, "worker-0");
	ck_assert_uint_eq(t[0].tid, 11);
	ck_assert_uint_eq(t[0].cpu_ns, 5000000);
	ck_assert_uint_eq(t[0].waited_ns, 2000000);
	free(t);
	free(sample_threads("/nowhere", &n));
	ck_assert_uint_eq(n, 0);
}
END_TEST

UNIT_TESTS(machine)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_virtio_guest);
	tcase_add_test(tc, other_shapes);
	tcase_add_test(tc, nothing_there);
	tcase_add_test(tc, what_came_in_between);
	tcase_add_test(tc, masks);
	tcase_add_test(tc, what_a_nic_hashes);
	tcase_add_test(tc, threads_of_a_process);
}
