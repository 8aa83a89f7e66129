/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs in the kernel. The first one runs for each packet of an interface and gives ESP, and ESP in UDP, to the CPU that the
 * slot of its SPI names; everything else, and whatever it does not understand, goes its usual way. The second one runs on that CPU
 * and counts what arrived.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

#define IP_FRAGMENT 0x3fff /* more fragments, offset */
#define VLAN_TAGS   2
#define EXTENSIONS  4

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1); /* as many as there are CPUs: set when it is loaded */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct bpf_cpumap_val));
} cpus SEC(".maps");

/* SPI in network byte order to the number of its slot */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set when it is loaded */
	__type(key, __u32);
	__type(value, __u32);
} spis SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set when it is loaded */
	__type(key, __u32);
	__type(value, struct steer_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_TOTALS);
	__type(key, __u32);
	__type(value, __u64);
} totals SEC(".maps");

/* by CPU: what was sent to it, and what came there */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1); /* as many as there are CPUs */
	__type(key, __u32);
	__type(value, __u64);
} sent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* as many as there are CPUs */
	__type(key, __u32);
	__type(value, struct steer_count);
} arrived SEC(".maps");

volatile struct steer_config config = {.natt_port = 4500};

struct vlan_tag {
	__be16 tci, type;
};

struct extension {
	__u8 next, len;
};

static __always_inline int count(__u32 what, int verdict)
{
	__u64 *n = bpf_map_lookup_elem(&totals, &what);

	if (n)
		(*n)++;
	return verdict;
}

/*
 * Packets are read by offset, copied to the stack: without CAP_PERFMON, which the daemon does not keep, a program may not add a length that
 * is in a packet to a pointer.
 */
#define READ(ctx, at, to) (bpf_xdp_load_bytes(ctx, at, to, sizeof(*(to))) == 0)

/* The EtherType behind VLAN tags; *at is behind it then. 0: too short. */
static __always_inline __be16 link_header(struct xdp_md *ctx, __u32 *at)
{
	struct ethhdr eth;
	struct vlan_tag tag;

	if (!READ(ctx, 0, &eth))
		return 0;
	*at = sizeof(eth);
	tag.type = eth.h_proto;
#pragma unroll
	for (int i = 0; i < VLAN_TAGS; i++) {
		if (tag.type != bpf_htons(ETH_P_8021Q) && tag.type != bpf_htons(ETH_P_8021AD))
			break;
		if (!READ(ctx, *at, &tag))
			return 0;
		*at += sizeof(tag);
	}
	return tag.type;
}

/* The protocol within IPv4; *at is moved to it. IPPROTO_FRAGMENT: a fragment. -1: too short. */
static __always_inline int ipv4_header(struct xdp_md *ctx, __u32 *at)
{
	struct iphdr ip;

	if (!READ(ctx, *at, &ip) || ip.ihl < 5)
		return -1;
	*at += ip.ihl * 4;
	return ip.frag_off & bpf_htons(IP_FRAGMENT) ? IPPROTO_FRAGMENT : ip.protocol;
}

/* The same within IPv6, behind the extension headers that have a length in the second byte (RFC 8200, 4). */
static __always_inline int ipv6_header(struct xdp_md *ctx, __u32 *at)
{
	struct extension h;
	struct ipv6hdr ip;

	if (!READ(ctx, *at, &ip))
		return -1;
	*at += sizeof(ip);
	h.next = ip.nexthdr;
#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		if (h.next != IPPROTO_HOPOPTS && h.next != IPPROTO_ROUTING && h.next != IPPROTO_DSTOPTS)
			break;
		if (!READ(ctx, *at, &h))
			return -1;
		*at += ((__u32)h.len + 1) * 8;
	}
	return h.next;
}

/*
 * The CPU of an SA. When another one is wanted, the packets that still wait for the old one should be done with before the first goes to the
 * new one; otherwise they would overtake each other. So it is changed when there was none for a while, or in the end without that. When steering
 * begins the old one is STEER_STAYS: what waits then does so where it came.
 */
static __always_inline __u32 cpu_of(struct steer_slot *slot)
{
	__u32 cpu = *(volatile __u32 *)&slot->cpu, want = *(volatile __u32 *)&slot->want;
	__u64 now;

	if (cpu == want)
		return cpu;
	now = bpf_ktime_get_ns();
	/* another CPU may have written a later time than ours */
	if ((__s64)(now - slot->last_ns) >= (__s64)slot->gap_ns) {
		slot->moved_gap++;
		slot->cpu = want;
		return want;
	}
	if (now >= slot->deadline_ns) {
		slot->moved_late++;
		slot->cpu = want;
		return want;
	}
	slot->last_ns = now;
	return cpu;
}

static __always_inline int to_cpu(struct xdp_md *ctx, __u32 spi)
{
	__u32 *number = bpf_map_lookup_elem(&spis, &spi), cpu;
	struct steer_slot *slot;
	__u64 *n;

	if (!number)
		return count(STEER_UNKNOWN, XDP_PASS);
	slot = bpf_map_lookup_elem(&slots, number);
	if (!slot)
		return XDP_PASS;
	__sync_fetch_and_add(&slot->packets, 1);
	__sync_fetch_and_add(&slot->bytes, bpf_xdp_get_buff_len(ctx));
	slot->came_cpu = bpf_get_smp_processor_id();
	slot->came_if = ctx->ingress_ifindex;
	slot->came_queue = ctx->rx_queue_index;
	cpu = cpu_of(slot);
	if (cpu == STEER_STAYS)
		return count(STEER_SENT, XDP_PASS);
	n = bpf_map_lookup_elem(&sent, &cpu);
	if (!n)
		return XDP_PASS;
	(*n)++;
	count(STEER_SENT, 0);
	return bpf_redirect_map(&cpus, cpu, XDP_PASS);
}

/*
 * Not "xdp.frags": with it, what a cpumap took in generic mode was lost on its CPU as packets with a bad IP header (seen with Linux
 * 6.18; perhaps because the kernel copies the packet for such a program, and the copy does not know where its link layer ends).
 */
SEC("xdp")
int cygnet_steer(struct xdp_md *ctx)
{
	__u32 at = 0, spi;
	__be16 type = link_header(ctx, &at);
	int proto;

	if (type == bpf_htons(ETH_P_IP))
		proto = ipv4_header(ctx, &at);
	else if (type == bpf_htons(ETH_P_IPV6))
		proto = ipv6_header(ctx, &at);
	else
		return count(STEER_OTHER, XDP_PASS);
	if (proto == IPPROTO_FRAGMENT)
		return count(STEER_FRAGMENT, XDP_PASS);
	if (proto == IPPROTO_UDP) {
		struct udphdr udp;
		if (!READ(ctx, at, &udp) || udp.dest != bpf_htons(config.natt_port))
			return count(STEER_OTHER, XDP_PASS);
		at += sizeof(udp);
	} else if (proto != IPPROTO_ESP) {
		return count(STEER_OTHER, XDP_PASS);
	}
	/* too short: a keepalive (RFC 3948, 2.3); zero: the non-ESP marker, so it is IKE (2.2) */
	if (!READ(ctx, at, &spi) || spi == 0)
		return count(STEER_OTHER, XDP_PASS);
	return to_cpu(ctx, spi);
}

SEC("xdp/cpumap")
int cygnet_arrived(struct xdp_md *ctx __attribute__((unused)))
{
	__u32 cpu = bpf_get_smp_processor_id();
	struct steer_count *c = bpf_map_lookup_elem(&arrived, &cpu);

	if (c)
		c->n++;
	return XDP_PASS;
}

const char program_license[] SEC("license") = "Apache-2.0";
