/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segmentation and coalescing of kernel-tun. The first byte says what the rest is: a frame from the device, behind its virtio-net
 * header; or packets to be joined, each behind its length. Every buffer is as long as it may be used, and not longer.
 */

#include "fuzz.h"
#include "offload.h"
#include "packet.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_PACKETS 64

static uint8_t *copy(const uint8_t *data, size_t n)
{
	uint8_t *p = malloc(n ? n : 1);

	FUZZ_CHECK(p);
	memcpy(p, data, n);
	return p;
}

static size_t cut(const struct virtio_net_hdr *h, const uint8_t *data, size_t size)
{
	uint8_t *p = copy(data, size);
	struct frame f;
	size_t sum = 0;

	if (frame_open(h, p, size, &f) == CY_OK) {
		FUZZ_CHECK(f.len <= size && f.n >= 1);
		for (size_t i = 0; i < f.n; i++) {
			size_t n = frame_packet_len(&f, i), whole;
			uint8_t *to = malloc(n);

			FUZZ_CHECK(to && n <= frame_packet_len(&f, 0));
			FUZZ_CHECK(frame_packet(&f, i, to) == n);
			FUZZ_CHECK(packet_check(to, n, &whole) == CY_OK && whole == n);
			FUZZ_CHECK(memcmp(to + f.headers, f.p + f.headers + i * f.size, n - f.headers) == 0);
			sum += n - f.headers;
			free(to);
		}
		FUZZ_CHECK(sum == f.len - f.headers);
	}
	free(p);
	return sum;
}

static void written(void *user, const struct iovec *iov, int n)
{
	struct virtio_net_hdr h;
	uint8_t *whole;
	size_t len = 0, check;

	FUZZ_CHECK(n >= 2 && iov[0].iov_len == sizeof(h));
	memcpy(&h, iov[0].iov_base, sizeof(h));
	for (int i = 1; i < n; i++)
		len += iov[i].iov_len;
	FUZZ_CHECK(len <= FRAME_MAX);
	whole = malloc(len);
	FUZZ_CHECK(whole);
	len = 0;
	for (int i = 1; i < n; i++) {
		memcpy(whole + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	FUZZ_CHECK(packet_check(whole, len, &check) == CY_OK && check == len);
	/* what is joined can be cut again */
	if (n > 2)
		FUZZ_CHECK(h.gso_type && cut(&h, whole, len) == len - h.hdr_len);
	else
		FUZZ_CHECK(h.gso_type == 0 && h.flags == 0);
	*(size_t *)user += (size_t)n - 1;
	free(whole);
}

static void join(const uint8_t *data, size_t size)
{
	static struct coalesce c;
	uint8_t *packet[MAX_PACKETS];
	size_t n = 0, out = 0;

	coalesce_init(&c, true, true, written, &out);
	while (size > 2 && n < MAX_PACKETS) {
		size_t len = get_be16(data), whole;

		data += 2;
		size -= 2;
		if (len > size)
			len = size;
		if (packet_check(data, len, &whole) == CY_OK) {
			packet[n] = copy(data, whole);
			coalesce_add(&c, packet[n++], whole);
		}
		data += len;
		size -= len;
	}
	coalesce_flush(&c);
	FUZZ_CHECK(out == n);
	while (n > 0)
		free(packet[--n]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct virtio_net_hdr h;

	if (size < 1)
		return 0;
	if (data[0] & 1) {
		join(data + 1, size - 1);
	} else if (size > 1 + sizeof(h)) {
		memcpy(&h, data + 1, sizeof(h));
		cut(&h, data + 1 + sizeof(h), size - 1 - sizeof(h));
	}
	return 0;
}
