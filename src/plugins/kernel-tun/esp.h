/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ESP in tunnel mode (RFC 4303), in place: a packet is wrapped and unwrapped where it lies, between head and tail room.
 *
 * Runs on ESP threads; struct esp is one thread's, and what of the SA is shared is atomic or locked in there.
 */
#ifndef KERNEL_TUN_ESP_H
#define KERNEL_TUN_ESP_H

#include "sad.h"

#define ESP_HEADER   8  /* SPI, sequence number */
#define ESP_MAX_IV   16 /* of the block ciphers */
#define ESP_HEADROOM 64 /* header and IV; keeps packets aligned */
#define ESP_MAX_ICV  64
/* up to 255 bytes of padding, pad length, next header, ICV; TFC padding comes on top */
#define ESP_TAILROOM (256 + 2 + ESP_MAX_ICV)

/* One ESP thread's working state. */
struct esp {
	struct kernel *k;
	unsigned thread;
	struct counters *counters;
	uint64_t now; /* monotonic ns and Unix seconds, as of this batch */
	int64_t wall;
	uint8_t random[512]; /* for IVs, used from its end */
	size_t n_random;
	uint8_t *scratch; /* for ESN resynchronisation, made when needed */
	size_t scratch_len;
};

void esp_init(struct esp *e, struct kernel *k, unsigned thread, struct counters *counters);
void esp_fini(struct esp *e);

/*
 * Wraps the len bytes at inner, a packet that packet_check() accepted, with ESP_HEADROOM before it and tail bytes after
 * it. CY_E_LIMIT: the SA can carry no more. Failures are counted.
 */
enum cy_err esp_encode(struct esp *e, struct sa *sa, uint8_t *inner, size_t len, size_t tail,
    struct cy_buf *out_esp) CY_MUST_USE;

/*
 * Unwraps the len bytes of ESP at esp. d: where it came from, for ECN
 * and NAT mappings. out_inner is empty for a dummy. Failures are counted, in the SA as well.
 */
enum cy_err esp_decode(struct esp *e, struct sa *sa, const struct cy_dgram *d, uint8_t *esp, size_t len,
    struct cy_buf *out_inner) CY_MUST_USE;

/* The longest inner packet of this SA that keeps the datagram within outer_mtu; at least 68. */
size_t esp_max_inner(const struct sa *sa, size_t outer_mtu);

/* esp.c: what both directions share */
struct esp_layout {
	uint8_t *esp;    /* SPI */
	uint8_t *iv;     /* after the sequence number */
	uint8_t *body;   /* what is encrypted */
	size_t body_len; /* with padding, pad length and next header */
	uint8_t *icv;    /* after it */
	uint64_t seq;    /* all of it, where only half is sent */
};
/* AEAD: encrypts or decrypts and verifies. */
enum cy_err esp_aead(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l) CY_MUST_USE;
/* Separate algorithms: the cipher's half, and the ICV. out_icv: ESP_MAX_ICV bytes. */
enum cy_err esp_cipher(struct sa *sa, struct sa_crypt *c, const struct esp_layout *l) CY_MUST_USE;
enum cy_err esp_mac(
    struct sa *sa, struct sa_crypt *c, const struct esp_layout *l, uint8_t *out_icv) CY_MUST_USE;

#endif
