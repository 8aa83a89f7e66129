/* SPDX-License-Identifier: Apache-2.0 */

#include "sad.h"

#include <stdlib.h>

/* Selectors of one CHILD_SA: as many as a TS payload can hold (RFC 7296, 3.13). */
#define MAX_TS 255

/* Bytes of the keying material that are the salt; needed before the algorithm is known, whose lookup wants bits. */
static size_t salt_of(uint16_t encr)
{
	switch (encr) {
	case CY_ENCR_AES_CTR:   /* RFC 3686, 5.1 */
	case CY_ENCR_AES_GCM_8: /* RFC 4106, 8.1 */
	case CY_ENCR_AES_GCM_12:
	case CY_ENCR_AES_GCM_16:
	case CY_ENCR_NULL_AES_GMAC:     /* RFC 4543, 3.2 */
	case CY_ENCR_CHACHA20_POLY1305: /* RFC 7634, 2 */
		return 4;
	case CY_ENCR_AES_CCM_8: /* RFC 4309, 7.1 */
	case CY_ENCR_AES_CCM_12:
	case CY_ENCR_AES_CCM_16:
		return 3;
	default:
		return 0;
	}
}

static enum cy_err set_cipher(struct kernel *k, const struct cy_kernel_sa *in, struct sa *sa)
{
	size_t salt = salt_of(in->encr);
	const struct cy_cipher_alg *alg;
	bool block_mode;

	if (in->encr_key.n < salt || in->encr_key.n > sizeof(sa->key))
		return CY_E_INVAL;
	alg = k->host->cipher(k->self, in->encr, (uint16_t)((in->encr_key.n - salt) * 8));
	if (!alg)
		return CY_E_UNSUPPORTED;
	if (alg->salt_len != salt)
		return CY_E_BUG;
	sa->cipher = alg;
	sa->salt_len = (uint8_t)salt;
	sa->key_len = (uint8_t)(in->encr_key.n - salt);
	memcpy(sa->key, in->encr_key.p, sa->key_len);
	if (salt)
		memcpy(sa->salt, in->encr_key.p + sa->key_len, salt);
	sa->iv_len = alg->iv_len;
	/* The ciphertext ends on a 4-byte boundary, and block modes want whole blocks (RFC 4303, 2.4). */
	block_mode = !alg->aead && in->encr != CY_ENCR_AES_CTR;
	sa->align = block_mode && alg->block_len > 4 ? alg->block_len : 4;
	if (alg->aead)
		sa->icv_len = alg->icv_len;
	return CY_OK;
}

static enum cy_err set_integ(struct kernel *k, const struct cy_kernel_sa *in, struct sa *sa)
{
	size_t key_len, icv_len;

	if (sa->cipher->aead)
		return in->integ ? CY_E_INVAL : CY_OK;
	/* confidentiality without integrity is a MAY that nobody should want (RFC 4303, 5) */
	if (!in->integ)
		return CY_E_UNSUPPORTED;
	if (!k->host->integ(k->self, in->integ, &sa->mac, &key_len, &icv_len))
		return CY_E_UNSUPPORTED;
	if (in->integ_key.n != key_len || key_len > sizeof(sa->integ_key) || icv_len > sa->mac->len)
		return CY_E_INVAL;
	memcpy(sa->integ_key, in->integ_key.p, key_len);
	sa->integ_key_len = (uint8_t)key_len;
	sa->icv_len = (uint8_t)icv_len;
	return CY_OK;
}

static enum cy_err set_selectors(const struct cy_kernel_sa *in, struct sa *sa)
{
	if (in->n_ts_local > MAX_TS || in->n_ts_remote > MAX_TS)
		return CY_E_LIMIT;
	/* one side alone selects nothing */
	if (in->n_ts_local == 0 || in->n_ts_remote == 0)
		return CY_OK;
	if (!in->ts_local || !in->ts_remote)
		return CY_E_INVAL;
	sa->ts = calloc(in->n_ts_local + in->n_ts_remote, sizeof(sa->ts[0]));
	if (!sa->ts)
		return CY_E_NOMEM;
	memcpy(sa->ts, in->ts_local, in->n_ts_local * sizeof(sa->ts[0]));
	memcpy(sa->ts + in->n_ts_local, in->ts_remote, in->n_ts_remote * sizeof(sa->ts[0]));
	sa->n_ts_local = in->n_ts_local;
	sa->n_ts_remote = in->n_ts_remote;
	return CY_OK;
}

static enum cy_err check_supported(struct kernel *k, const struct cy_kernel_sa *in)
{
	const char *what = in->proto != CY_PROTO_ESP ? "a protocol other than ESP"
	    : in->mode != CY_MODE_TUNNEL             ? "a mode other than tunnel"
	    : !in->encap                             ? "ESP without UDP encapsulation"
	    : in->mark.mask || in->if_id             ? "marks and interface IDs"
	    : in->set_mark.mask                      ? "marks on packets"
	    : in->cpu >= 0 && k->n_queues < 2        ? "SAs of CPUs with one thread (queues)"
	                                             : NULL;

	if (!what)
		return CY_OK;
	LOG(k, CY_LOG_WARN, "SA %08x: the TUN data plane does not do %s", in->spi, what);
	return CY_E_UNSUPPORTED;
}

static enum cy_err sa_fill(struct kernel *k, const struct cy_kernel_sa *in, struct sa *sa)
{
	uint64_t now = k->host->now_ns(k->self);
	struct sa_path *path = calloc(1, sizeof(*path));
	enum cy_err err;

	if (!path)
		return CY_E_NOMEM;
	path->src = in->src;
	path->dst = in->dst;
	atomic_init(&sa->path, path);
	sa->spi = in->spi;
	sa->dir = in->dir;
	sa->proto = in->proto;
	sa->mode = in->mode;
	sa->copy_dscp = in->copy_dscp;
	sa->no_ecn = in->no_ecn;
	sa->esn = in->esn;
	sa->no_pmtu_disc = in->no_pmtu_disc;
	sa->tfc_pad = in->tfc_pad;
	sa->cpu = in->dir == CY_DIR_OUT && in->cpu >= 0 ? in->cpu : -1;
	sa->cookie = in->cookie;
	sa->life = in->life;
	sa->soft_at = in->life.soft_seconds ? now + in->life.soft_seconds * NS_PER_S : 0;
	sa->hard_at = in->life.hard_seconds ? now + in->life.hard_seconds * NS_PER_S : 0;
	err = set_cipher(k, in, sa);
	if (err == CY_OK)
		err = set_integ(k, in, sa);
	if (err == CY_OK)
		err = set_selectors(in, sa);
	if (err == CY_OK && sa->dir == CY_DIR_IN)
		err = replay_init(&sa->replay, in->replay_window, sa->esn);
	return err;
}

enum cy_err sa_new(struct kernel *k, const struct cy_kernel_sa *in, struct sa **out)
{
	enum cy_err err = check_supported(k, in);
	struct sa *sa;

	if (err != CY_OK)
		return err;
	if (in->size < sizeof(*in) || (in->dir != CY_DIR_IN && in->dir != CY_DIR_OUT) || in->spi == 0 ||
	    in->reqid == 0 || in->src.family != in->dst.family || cy_addr_len(&in->dst) == 0 ||
	    (in->dir == CY_DIR_OUT && in->dst.port == 0))
		return CY_E_INVAL;
	sa = calloc(1, sizeof(*sa) + k->n_queues * sizeof(sa->crypt[0]));
	if (!sa)
		return CY_E_NOMEM;
	sa->n_crypt = k->n_queues;
	pthread_spin_init(&sa->lock, PTHREAD_PROCESS_PRIVATE);
	err = sa_fill(k, in, sa);
	if (err != CY_OK) {
		sa_free(&sa->rcu);
		return err;
	}
	*out = sa;
	return CY_OK;
}

void sa_free(struct rcu_node *node)
{
	struct sa *sa = container_of(node, struct sa, rcu);

	for (size_t i = 0; i < sa->n_crypt; i++) {
		if (sa->crypt[i].cipher)
			sa->cipher->ctx_free(sa->crypt[i].cipher);
		if (sa->crypt[i].mac)
			sa->mac->ctx_free(sa->crypt[i].mac);
	}
	free(atomic_load_explicit(&sa->path, memory_order_relaxed));
	free(sa->ts);
	replay_fini(&sa->replay);
	pthread_spin_destroy(&sa->lock);
	explicit_bzero(sa->key, sizeof(sa->key));
	explicit_bzero(sa->salt, sizeof(sa->salt));
	explicit_bzero(sa->integ_key, sizeof(sa->integ_key));
	free(sa);
}

enum cy_err sa_crypt_get(struct sa *sa, unsigned thread, struct sa_crypt **out)
{
	struct sa_crypt *c = &sa->crypt[thread];
	enum cy_err err;

	if (!c->cipher) {
		void *ctx;

		err = sa->cipher->ctx_new(sa->cipher, &ctx);
		if (err != CY_OK)
			return err;
		err = sa->cipher->ctx_key(ctx, cy_slice(sa->key, sa->key_len), sa->dir == CY_DIR_OUT);
		if (err != CY_OK) {
			sa->cipher->ctx_free(ctx);
			return err;
		}
		c->cipher = ctx;
	}
	if (sa->mac && !c->mac) {
		void *ctx;

		err = sa->mac->ctx_new(sa->mac, &ctx);
		if (err != CY_OK)
			return err;
		err = sa->mac->ctx_key(ctx, cy_slice(sa->integ_key, sa->integ_key_len));
		if (err != CY_OK) {
			sa->mac->ctx_free(ctx);
			return err;
		}
		c->mac = ctx;
	}
	*out = c;
	return CY_OK;
}

void sa_id(const struct sa *sa, struct cy_kernel_sa_id *out)
{
	const struct sa_path *path = sa_path(sa);

	memset(out, 0, sizeof(*out));
	out->spi = sa->spi;
	out->src = path->src;
	out->dst = path->dst;
	out->proto = sa->proto;
	out->dir = sa->dir;
}

bool sa_allows(const struct sa *sa, const struct flow *f)
{
	const struct cy_ts *local = sa->ts, *remote;

	if (!local)
		return true;
	remote = local + sa->n_ts_local;
	for (uint32_t i = 0; i < sa->n_ts_remote; i++)
		for (uint32_t j = 0; j < sa->n_ts_local; j++)
			if (sa->dir == CY_DIR_IN ? flow_matches(f, &remote[i], &local[j])
			                         : flow_matches(f, &local[j], &remote[i]))
				return true;
	return false;
}
