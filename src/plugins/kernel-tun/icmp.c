/* SPDX-License-Identifier: Apache-2.0 */

#include "queue.h"

#include <netinet/in.h>

#define ICMP4_HEADER      8
#define ICMP4_UNREACHABLE 3 /* code 4: fragmentation needed and DF set (RFC 792) */
#define ICMP4_FRAG_NEEDED 4
#define ICMP6_TOO_BIG     2 /* (RFC 4443, 3.2) */
#define ICMP6_MIN_MTU     1280
#define TTL               64

/* No error about an ICMP error, a later fragment, or what was not sent to and by one host (RFC 1122, 3.2.2). */
static bool may_answer_ip4(const uint8_t *p, size_t len)
{
	size_t header = (size_t)(p[0] & 15) * 4;

	if ((get_be16(p + 6) & 0x1fff) != 0 || p[12] == 0 || p[12] >= 224 || p[16] >= 224)
		return false;
	if (p[9] != IPPROTO_ICMP)
		return true;
	if (len <= header)
		return false;
	switch (p[header]) {
	case 0: /* echo reply and request, timestamps */
	case 8:
	case 13:
	case 14:
		return true;
	default:
		return false;
	}
}

static size_t too_big_ip4(const uint8_t *p, size_t len, size_t mtu, uint8_t *buf)
{
	/* as much as leaves 576 bytes in all (RFC 1812, 4.3.2.3) */
	size_t quote = len < 576 - IP4_HEADER - ICMP4_HEADER ? len : 576 - IP4_HEADER - ICMP4_HEADER;
	size_t total = IP4_HEADER + ICMP4_HEADER + quote;
	uint8_t *icmp = buf + IP4_HEADER;

	if (!may_answer_ip4(p, len))
		return 0;
	memset(buf, 0, IP4_HEADER + ICMP4_HEADER);
	buf[0] = 0x45;
	put_be16(buf + 2, (uint16_t)total);
	buf[8] = TTL;
	buf[9] = IPPROTO_ICMP;
	/* from where it was going: that is the address which reverse path filters expect from this device */
	memcpy(buf + 12, p + 16, 4);
	memcpy(buf + 16, p + 12, 4);
	put_be16(buf + 10, packet_sum_fold(packet_sum(buf, IP4_HEADER, 0)));
	icmp[0] = ICMP4_UNREACHABLE;
	icmp[1] = ICMP4_FRAG_NEEDED;
	put_be16(icmp + 6, (uint16_t)mtu); /* RFC 1191, 4 */
	memcpy(icmp + ICMP4_HEADER, p, quote);
	put_be16(icmp + 2, packet_sum_fold(packet_sum(icmp, ICMP4_HEADER + quote, 0)));
	return total;
}

static size_t too_big_ip6(const uint8_t *p, size_t len, size_t mtu, uint8_t *buf)
{
	size_t most = ICMP6_MIN_MTU - IP6_HEADER - 8, quote = len < most ? len : most;
	uint8_t *icmp = buf + IP6_HEADER;
	uint32_t sum;
	struct flow f;

	/* RFC 4443, 2.4 (e): not about ICMPv6 errors (types below 128); here also multicast senders and receivers */
	packet_flow(p, len, &f);
	if (p[8] == 0xff || p[24] == 0xff || (f.proto == IPPROTO_ICMPV6 && f.sport >> 8 < 128))
		return 0;
	/* IPv6 hosts do not go below this; the datagram is fragmented outside instead */
	if (mtu < ICMP6_MIN_MTU && len <= ICMP6_MIN_MTU)
		return 0;
	memset(buf, 0, IP6_HEADER + 8);
	buf[0] = 0x60;
	put_be16(buf + 4, (uint16_t)(8 + quote));
	buf[6] = IPPROTO_ICMPV6;
	buf[7] = TTL;
	memcpy(buf + 8, p + 24, 16);
	memcpy(buf + 24, p + 8, 16);
	icmp[0] = ICMP6_TOO_BIG;
	put_be32(icmp + 4, (uint32_t)(mtu < ICMP6_MIN_MTU ? ICMP6_MIN_MTU : mtu));
	memcpy(icmp + 8, p, quote);
	/* pseudo-header (RFC 8200, 8.1) */
	sum = packet_sum(buf + 8, 32, (uint32_t)(8 + quote) + IPPROTO_ICMPV6);
	put_be16(icmp + 2, packet_sum_fold(packet_sum(icmp, 8 + quote, sum)));
	return IP6_HEADER + 8 + quote;
}

size_t icmp_too_big(const uint8_t *inner, size_t len, size_t mtu, uint8_t *buf)
{
	return inner[0] >> 4 == 4 ? too_big_ip4(inner, len, mtu, buf) : too_big_ip6(inner, len, mtu, buf);
}
