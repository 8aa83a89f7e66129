/* SPDX-License-Identifier: Apache-2.0 */
/* What ethtool says about an interface's receive hash and its queues' counters: ioctls that only read. */
#include <ctype.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/watch/machine.h"

#define STATS_MAX 16384

static bool ask(const char *ifname, void *cmd)
{
	struct ifreq r = {.ifr_data = cmd};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;

	if (fd < 0)
		return false;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%.15s", ifname);
	rc = ioctl(fd, SIOCETHTOOL, &r);
	close(fd);
	return rc == 0;
}

static uint8_t hash_of(const char *ifname, uint32_t flow_type)
{
	struct ethtool_rxnfc c = {.cmd = ETHTOOL_GRXFH, .flow_type = flow_type};
	uint8_t hash = 0;

	if (!ask(ifname, &c))
		return MACHINE_HASH_UNKNOWN;
	if (c.data & (RXH_IP_SRC | RXH_IP_DST))
		hash |= MACHINE_HASH_ADDRS;
	if (c.data & (RXH_L4_B_0_1 | RXH_L4_B_2_3))
		hash |= MACHINE_HASH_PORTS;
	return hash;
}

static uint8_t nic_hash(const char *ifname, bool esp)
{
	uint8_t hash = hash_of(ifname, esp ? ESP_V4_FLOW : UDP_V4_FLOW), ip;

	/* ESP that is not told apart is IP like any other */
	if (!esp || hash)
		return hash;
	ip = hash_of(ifname, IPV4_FLOW);
	return ip & MACHINE_HASH_UNKNOWN ? 0 : ip;
}

/* "rx_queue_3_packets", "rx3_packets", "rx-3.packets", "queue_3_rx_packets"... : is it of a queue, which, and what of it? */
static bool parse_counter(const char *name, bool *rx, uint32_t *index, char *what, size_t cap)
{
	const char *digits = strpbrk(name, "0123456789"), *end;

	if (!digits || (!strstr(name, "rx") && !strstr(name, "tx")) || digits - name > 9)
		return false;
	*rx = strstr(name, "rx") != NULL;
	*index = (uint32_t)strtoul(digits, (char **)&end, 10);
	while (*end && !isalpha((unsigned char)*end))
		end++;
	if (strncmp(end, "rx_", 3) == 0 || strncmp(end, "tx_", 3) == 0)
		end += 3;
	snprintf(what, cap, "%s", end);
	return *what;
}

static void take(struct machine_queue *q, const char *what, uint64_t value)
{
	if (strcmp(what, "packets") == 0) {
		q->packets = value;
		q->has_counters = true;
	} else if (strcmp(what, "bytes") == 0) {
		q->bytes = value;
	} else if (strcmp(what, "drops") == 0 || strcmp(what, "dropped") == 0 || strcmp(what, "drop") == 0) {
		q->drops = value;
	}
}

static void nic_counters(const char *ifname, struct machine_queue *q, size_t n_q)
{
	union {
		struct ethtool_sset_info i;
		uint32_t words[sizeof(struct ethtool_sset_info) / 4 + 1]; /* and one number */
	} info = {.words = {0}};
	struct ethtool_gstrings *names;
	struct ethtool_stats *values;
	uint32_t n, index;
	char name[ETH_GSTRING_LEN + 1], what[ETH_GSTRING_LEN + 1];
	bool rx;

	info.i.cmd = ETHTOOL_GSSET_INFO;
	info.i.sset_mask = 1ull << ETH_SS_STATS;
	if (!ask(ifname, &info) || !info.i.sset_mask || info.i.data[0] > STATS_MAX) {
		machine_qstats(ifname, q, n_q);
		return;
	}
	n = info.i.data[0];
	names = calloc(1, sizeof(*names) + (size_t)n * ETH_GSTRING_LEN);
	values = calloc(1, sizeof(*values) + (size_t)n * sizeof(values->data[0]));
	if (names && values) {
		*names =
		    (struct ethtool_gstrings){.cmd = ETHTOOL_GSTRINGS, .string_set = ETH_SS_STATS, .len = n};
		*values = (struct ethtool_stats){.cmd = ETHTOOL_GSTATS, .n_stats = n};
	}
	if (names && values && ask(ifname, names) && ask(ifname, values)) {
		for (uint32_t i = 0; i < n; i++) {
			snprintf(name, sizeof(name), "%.*s", ETH_GSTRING_LEN,
			    (const char *)names->data + (size_t)i * ETH_GSTRING_LEN);
			if (!parse_counter(name, &rx, &index, what, sizeof(what)))
				continue;
			for (size_t k = 0; k < n_q; k++)
				if (q[k].rx == rx && q[k].index == index && strcmp(q[k].ifname, ifname) == 0)
					take(&q[k], what, values->data[i]);
		}
	}
	free(names);
	free(values);
	machine_qstats(ifname, q, n_q);
}

const struct machine_nic_ops machine_ethtool = {.hash = nic_hash, .counters = nic_counters};
