/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: the plain types that every other header uses.
 *
 * Everything in <cygnet/...> is what a plugin may include, and the daemon itself uses the same types, so that
 * nothing is converted at the border. These headers hold declarations and small inline helpers only: a
 * plugin resolves no symbol from the daemon, it calls through struct cy_host (plugin.h).
 *
 * Thread: values, no thread of their own. Ownership: a slice borrows; whoever allocates frees.
 */
#ifndef CYGNET_TYPES_H
#define CYGNET_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define CY_MUST_USE __attribute__((warn_unused_result))

/* Result of a call. A protocol outcome (which notify to send) is never one of these. */
enum cy_err {
	CY_OK = 0,
	CY_E_NOMEM,       /* allocation failed */
	CY_E_INVAL,       /* the caller's argument is unusable */
	CY_E_PARSE,       /* input (peer, file) is malformed */
	CY_E_SHORT,       /* buffer or input too short */
	CY_E_NOTFOUND,    /* no such thing */
	CY_E_EXISTS,      /* already there */
	CY_E_LIMIT,       /* a configured or built-in limit is reached */
	CY_E_UNSUPPORTED, /* not built, not loaded, or not offered by the kernel */
	CY_E_AUTH,        /* integrity check, signature or login failed */
	CY_E_DENIED,      /* policy or privileges forbid it */
	CY_E_IO,          /* the operating system failed; errno is logged where it happened */
	CY_E_TIMEOUT,     /* deadline passed */
	CY_E_CANCELLED,   /* the owner went away */
	CY_E_AGAIN,       /* nothing now, try when ready */
	CY_E_BUSY,        /* conflicting operation in progress */
	CY_E_BUG,         /* an invariant was broken; reported, never ignored */
};

/* Borrowed read-only bytes. {NULL,0} is empty. */
struct cy_slice {
	const uint8_t *p;
	size_t n;
};

/* Borrowed writable bytes. */
struct cy_buf {
	uint8_t *p;
	size_t n;
};

static inline struct cy_slice cy_slice(const void *p, size_t n)
{
	return (struct cy_slice){(const uint8_t *)p, n};
}

static inline struct cy_slice cy_slice_str(const char *s)
{
	return (struct cy_slice){(const uint8_t *)s, s ? strlen(s) : 0};
}

/* Not constant time: for public data only. */
static inline bool cy_slice_eq(struct cy_slice a, struct cy_slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/*
 * An IP address with an optional UDP port. family is AF_INET, AF_INET6 or 0 (unset, "%any"). port is in host
 * byte order, 0 means none. ip is in network byte order, IPv4 in its first 4 bytes, the rest zero.
 */
struct cy_addr {
	uint16_t family;
	uint16_t port;
	uint32_t scope; /* IPv6 interface index for link-local addresses, else 0 */
	uint8_t ip[16];
};

static inline size_t cy_addr_len(const struct cy_addr *a)
{
	return a->family == AF_INET ? 4 : a->family == AF_INET6 ? 16 : 0;
}

/* Same address, ports ignored. */
static inline bool cy_addr_ip_eq(const struct cy_addr *a, const struct cy_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, cy_addr_len(a)) == 0;
}

static inline bool cy_addr_eq(const struct cy_addr *a, const struct cy_addr *b)
{
	return cy_addr_ip_eq(a, b) && a->port == b->port;
}

/*
 * A traffic selector (RFC 7296, 3.13.1): an inclusive address range, one protocol (0 = any) and an inclusive port
 * range in host byte order (0..65535 = any; 65535..0 = OPAQUE). For ICMP the ports hold type << 8 | code.
 */
struct cy_ts {
	uint8_t family_ip6; /* 0: TS_IPV4_ADDR_RANGE, 1: TS_IPV6_ADDR_RANGE */
	uint8_t proto;      /* IP protocol number, 0 = any */
	uint16_t port_lo, port_hi;
	uint8_t lo[16], hi[16]; /* network byte order; IPv4 in the first 4 bytes */
};

/* An XFRM mark: value and mask. mask 0 means unset. */
struct cy_mark {
	uint32_t value, mask;
};

#endif
