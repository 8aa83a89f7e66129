/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stateless cookies against spoofed floods: RFC 7296, 2.6. Cookie = version | difficulty and PRF of the puzzle that came with it
 * (RFC 8019), or zeros | SipHash128(secret, Ni | IPi | port | SPIi | puzzle). The secret changes every two minutes; the one
 * before is still taken.
 */
#include "daemon/ikev2/ikev2.h"
#include "libcore/base/addr.h"

#define COOKIE_LIFE_NS (120 * NS_PER_S)
#define COOKIE_LEN     23

static void secret_for(struct sa_manager *m, uint32_t version, bool *known, uint64_t out[4])
{
	pthread_mutex_lock(&m->cookie_lock);
	*known = version == m->cookie_version || version + 1 == m->cookie_version;
	memcpy(out, m->cookie_secret[version & 1], sizeof(m->cookie_secret[0]));
	pthread_mutex_unlock(&m->cookie_lock);
}

static uint32_t current_version(struct sa_manager *m)
{
	uint64_t now = env_now(m->d->env);
	uint32_t v;

	pthread_mutex_lock(&m->cookie_lock);
	if (now - m->cookie_since_ns > COOKIE_LIFE_NS) {
		m->cookie_version++;
		m->cookie_since_ns = now;
		m->d->env->random(
		    m->d->env, m->cookie_secret[m->cookie_version & 1], sizeof(m->cookie_secret[0]));
	}
	v = m->cookie_version;
	pthread_mutex_unlock(&m->cookie_lock);
	return v;
}

static void compute(const uint64_t secret[4], uint32_t version, const struct net_packet *p,
    struct cy_slice ni, struct v2_puzzle puzzle, uint8_t out[COOKIE_LEN])
{
	uint8_t in[V2_NONCE_MAX + 16 + 2 + 8 + 3];
	struct writer w = writer_of(in, sizeof(in)), o = writer_of(out, COOKIE_LEN);

	write_bytes(&w, ni);
	write_bytes(&w, cy_slice(p->src.ip, 16));
	write_u16(&w, p->src.port);
	write_u64(&w, p->h.spi_i);
	write_u8(&w, puzzle.bits);
	write_u16(&w, puzzle.prf);
	write_u32(&o, version);
	write_u8(&o, puzzle.bits);
	write_u16(&o, puzzle.prf);
	write_u64(&o, siphash24(secret, in, w.n));
	write_u64(&o, siphash24(secret + 2, in, w.n));
}

size_t v2_cookie_make(struct sa_manager *m, const struct net_packet *p, struct cy_slice ni,
    struct v2_puzzle puzzle, uint8_t out[64])
{
	uint32_t version = current_version(m);
	uint64_t secret[4];
	bool known;

	secret_for(m, version, &known, secret);
	compute(secret, version, p, ni, puzzle, out);
	mem_wipe(secret, sizeof(secret));
	return COOKIE_LEN;
}

bool v2_cookie_valid(struct sa_manager *m, const struct net_packet *p, struct cy_slice ni,
    struct cy_slice cookie, struct v2_puzzle *out_puzzle)
{
	uint8_t want[COOKIE_LEN];
	struct reader r = reader_of(cookie);
	uint32_t version = read_u32(&r);
	struct v2_puzzle puzzle;
	uint64_t secret[4];
	bool known;

	puzzle.bits = read_u8(&r);
	puzzle.prf = read_u16(&r);

	if (cookie.n != COOKIE_LEN)
		return false;
	(void)current_version(m);
	secret_for(m, version, &known, secret);
	if (known)
		compute(secret, version, p, ni, puzzle, want);
	mem_wipe(secret, sizeof(secret));
	if (!known || !mem_eq_ct(want, cookie.p, COOKIE_LEN))
		return false;
	*out_puzzle = puzzle;
	return true;
}
