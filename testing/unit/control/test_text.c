/* SPDX-License-Identifier: Apache-2.0 */
/* What the tool prints of an answer: the whole text, as people and scripts read it. */

#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ITEM(list, data) "{\"id\":1,\"event\":\"item\",\"list\":\"" list "\",\"data\":{" data "}}\n"
#define DATA(data)       "{\"id\":1,\"event\":\"data\",\"data\":{" data "}}\n"
#define DONE             "{\"id\":1,\"event\":\"done\",\"ok\":true}\n"

static void put(int fd, const char *text)
{
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* Runs the tool with a daemon that answers so. */
static void expect(const char *verb, const char *answer, const char *text)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char dir[] = "/tmp/cygnet-unit-XXXXXX", command[256], got[8192] = "";
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/socket", dir);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	snprintf(command, sizeof(command), "./ipsec --socket %s %s", sun.sun_path, verb);
	f = popen(command, "r");
	ck_assert_ptr_nonnull(f);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	put(fd, "{\"event\":\"hello\",\"protocol\":1,\"pid\":1}\n");
	put(fd, answer);
	put(fd, DONE);
	(void)!fread(got, 1, sizeof(got) - 1, f);
	ck_assert_int_eq(pclose(f), 0);
	close(fd);
	close(listener);
	unlink(sun.sun_path);
	rmdir(dir);
	ck_assert_str_eq(got, text);
}

START_TEST(statusall_sums_up_cpus_and_queues)
{
	expect("statusall",
	    DATA("\"sas\":{\"up\":1,\"ike_sas\":1}") ITEM("ike_sas",
	        "\"name\":\"a\",\"id\":1,\"state\":\"ESTABLISHED\",\"local\":\"192.0.2.1\","
	        "\"local_id\":\"x\",\"remote\":\"192.0.2.2\",\"remote_id\":\"y\",\"version\":2,"
	        "\"initiator\":true,\"spi_i\":\"01\",\"spi_r\":\"02\"") ITEM("children",
	        "\"name\":\"a\",\"id\":2,\"state\":\"INSTALLED\",\"mode\":\"TUNNEL\",\"protocol\":\"ESP\","
	        "\"spi_in\":\"03\",\"spi_out\":\"04\",\"algorithms\":\"X\",\"reqid\":7,\"local_ts\":[\"10.1."
	        "0.0/16\"],"
	        "\"remote_ts\":[\"10.2.0.0/"
	        "16\"],\"seen_in\":{\"cpu\":3,\"interface\":\"eth0\",\"queue\":\"rx-3\"},"
	        "\"seen_out\":{\"cpu\":1,\"thread\":1}") ITEM("esp_cpus",
	        "\"cpu\":0,\"sas_in\":129,\"sas_out\":1,\"packets_in\":6589,\"bytes_in\":2048,"
	        "\"packets_out\":10,\"bytes_out\":512,\"share\":97.25") ITEM("esp_cpus",
	        "\"cpu\":-1,\"sas_in\":0,\"sas_out\":128,\"packets_in\":0,\"bytes_in\":0,"
	        "\"packets_out\":187,\"bytes_out\":1048576,\"share\":2.75") ITEM("esp_queues",
	        "\"interface\":\"eth0\",\"name\":\"rx-3\",\"sas_in\":128,"
	        "\"packets_in\":600,\"bytes_in\":4096,\"share\":100.0"),
	    "Security Associations (1 up, 0 connecting):\n"
	    "        a[1]: ESTABLISHED, 192.0.2.1[x]...192.0.2.2[y]\n"
	    "        a[1]: IKEv2 SPIs: 01_i* 02_r\n"
	    "        a{2}:  INSTALLED, TUNNEL, reqid 7, ESP SPIs: 03_i 04_o\n"
	    "        a{2}:  the last packet in by CPU 3, eth0 rx-3, out by CPU 1, thread 1\n"
	    "        a{2}:  X, 0 bytes_i (0 pkts), 0 bytes_o (0 pkts)\n"
	    "        a{2}:   10.1.0.0/16 === 10.2.0.0/16\n"
	    "ESP by the CPU that carried the last packet of an SA:\n"
	    "  CPU 0: 129 SAs in with 6589 packets (2048 bytes), 1 SAs out with 10 packets (512 bytes), 97.2 "
	    "%\n"
	    "  CPU not known: 0 SAs in with 0 packets (0 bytes), 128 SAs out with 187 packets (1024.0 KiB), "
	    "2.8 "
	    "%\n"
	    "ESP by the receive queue of the last packet:\n"
	    "  eth0 rx-3: 128 SAs in with 600 packets (4096 bytes), 100.0 %\n");
}
END_TEST

START_TEST(cpus_is_a_table)
{
	expect("cpus",
	    DATA("\"interval_ms\":3100,\"data_plane\":\"kernel-netlink\",\"sa_count\":6,\"sas_seen\":true,"
	         "\"sas_counted\":true,"
	         "\"drops\":{\"XfrmInNoStates\":7}") ITEM("cpus",
	        "\"cpu\":0,\"sas_in\":2,\"sas_out\":1,\"esp_packets_per_second\":6589,"
	        "\"esp_bytes_per_second\":2121831,\"esp_share\":75.0,\"packets_per_second\":27231,"
	        "\"share\":99.5,\"softirq\":40.9,\"busy\":92.4,\"dropped\":3,\"squeezed\":86") ITEM("queues",
	        "\"interface\":\"eth0\",\"name\":\"rx-1\",\"rps\":\"0,2\",\"irq\":33,"
	        "\"irq_cpu\":0,\"irq_affinity\":\"0-1\",\"irqs_per_second\":193,\"sas_in\":2,"
	        "\"esp_packets_per_second\":7001,\"esp_share\":25.6")
	        ITEM("queues", "\"interface\":\"eth0\",\"name\":\"tx-1\",\"xps\":\"1\"") ITEM("sas",
	            "\"spi\":\"c2d2405b\",\"direction\":\"in\",\"cpu\":3,\"interface\":\"eth0\","
	            "\"queue\":\"rx-2\",\"connection\":\"psk\",\"peer\":\"192.0.2.2\",\"user\":\"u0\","
	            "\"encap\":true,\"packets_per_second\":5228,\"bytes_per_second\":1024"),
	    "6 SAs (each direction counts) in data plane kernel-netlink, seen for 3.1 seconds\n"
	    "  dropped by the data plane: XfrmInNoStates 7\n"
	    "CPU    SAs in SAs out    ESP      ESP/s      bytes/s  packets/s  share  softirq   busy  dropped "
	    "squeezed\n"
	    "0           2       1  75.0%       6589   2072.1 KiB      27231  99.5%    40.9%  92.4%        3 "
	    "      "
	    "86\n"
	    "Queues: where their interrupts go, and RPS or XPS\n"
	    "  eth0         rx-1    IRQ 33 on CPU 0, may be on 0-1, 193 a second  RPS to 0,2  2 SAs, 7001 "
	    "packets/s of them (25.6 %)\n"
	    "  eth0         tx-1    XPS from 1\n"
	    "Busiest SAs\n"
	    "  c2d2405b in   CPU 3, eth0 rx-2  psk, 192.0.2.2, user u0 in UDP  5228 packets/s (1024 "
	    "bytes/s)\n");
}
END_TEST

START_TEST(metrics_are_in_the_format)
{
	expect("metrics",
	    ITEM("metrics",
	        "\"name\":\"cygnet_cpu_esp_bytes\",\"type\":\"counter\",\"help\":\"Bytes.\","
	        "\"samples\":[{\"labels\":{\"cpu\":\"0\",\"direction\":\"in\"},\"value\":500},"
	        "{\"labels\":{\"cpu\":\"unknown\",\"direction\":\"out\"},\"value\":0}]") ITEM("metrics",
	        "\"name\":\"cygnet_cpu_esp_sas\",\"type\":\"gauge\",\"help\":\"SAs.\","
	        "\"samples\":[{\"labels\":{\"cpu\":\"0\",\"direction\":\"in\"},\"value\":1}]"),
	    "# TYPE cygnet_cpu_esp_bytes counter\n"
	    "# UNIT cygnet_cpu_esp_bytes bytes\n"
	    "# HELP cygnet_cpu_esp_bytes Bytes.\n"
	    "cygnet_cpu_esp_bytes_total{cpu=\"0\",direction=\"in\"} 500\n"
	    "cygnet_cpu_esp_bytes_total{cpu=\"unknown\",direction=\"out\"} 0\n"
	    "# TYPE cygnet_cpu_esp_sas gauge\n"
	    "# HELP cygnet_cpu_esp_sas SAs.\n"
	    "cygnet_cpu_esp_sas{cpu=\"0\",direction=\"in\"} 1\n"
	    "# EOF\n");
}
END_TEST

UNIT_TESTS(text)
{
	tcase_add_test(tc, statusall_sums_up_cpus_and_queues);
	tcase_add_test(tc, cpus_is_a_table);
	tcase_add_test(tc, metrics_are_in_the_format);
}
