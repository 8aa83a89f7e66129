/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor WORKLOAD [N]: CPU that OpenSSL 3 needs for the responder's share of the cryptography of one IKE_SA with its CHILD_SA, in
 * microseconds, as the mean of N. Contexts are made once and used again, and nothing else is done: less than this is not possible
 * with this library.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

struct work {
	bool modp;
	const char *sign; /* NULL, "rsa", "ecdsa" */
	bool aead, mac;   /* the messages': AEAD, or CBC with a MAC besides */
	bool v1;
};

struct state {
	EVP_MD *sha256, *sha1;
	EVP_MD_CTX *md;
	EVP_CIPHER_CTX *cipher;
	EVP_CIPHER *gcm, *cbc;
	BIGNUM *p, *g, *peer_y;
	BN_MONT_CTX *mont;
	EVP_PKEY *peer, *ours, *theirs, *ca;
	unsigned char sig[512], buf[4096];
	size_t sig_len;
};

static void check(bool ok)
{
	if (!ok) {
		fprintf(stderr, "floor: OpenSSL failed\n");
		exit(1);
	}
}

static void digest(struct state *s, const EVP_MD *md, size_t n, unsigned char *out)
{
	check(EVP_DigestInit_ex2(s->md, md, NULL) && EVP_DigestUpdate(s->md, s->buf, n) &&
	    EVP_DigestFinal_ex(s->md, out, NULL));
}

/* HMAC of n bytes: the padded key is a block of 64 before each of two hashes */
static void hmac(struct state *s, size_t n)
{
	unsigned char out[32];

	digest(s, s->sha256, 64 + n, out);
	digest(s, s->sha256, 64 + 32, out);
}

static void seal(struct state *s, const struct work *w, int encrypt, int n)
{
	unsigned char key[16] = {1}, iv[16] = {2}, tag[16] = {0};
	int done;

	if (w->aead) {
		check(EVP_CipherInit_ex2(s->cipher, s->gcm, key, iv, encrypt, NULL) == 1);
		if (!encrypt)
			EVP_CIPHER_CTX_ctrl(s->cipher, EVP_CTRL_AEAD_SET_TAG, 16, tag);
		EVP_CipherUpdate(s->cipher, NULL, &done, s->buf, 32);
		EVP_CipherUpdate(s->cipher, s->buf, &done, s->buf, n);
		(void)EVP_CipherFinal_ex(
		    s->cipher, s->buf, &done); /* the tag of nothing is wrong, at the same cost */
		return;
	}
	check(EVP_CipherInit_ex2(s->cipher, s->cbc, key, iv, encrypt, NULL) == 1);
	EVP_CIPHER_CTX_set_padding(s->cipher, 0);
	EVP_CipherUpdate(s->cipher, s->buf, &done, s->buf, n / 16 * 16);
	if (w->mac)
		hmac(s, (size_t)n + 48);
}

static void exchange_x25519(struct state *s)
{
	unsigned char priv[32], pub[32], secret[32];
	size_t n = 32;
	EVP_PKEY *key;
	EVP_PKEY_CTX *ctx;

	check(RAND_bytes(priv, 32) == 1);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, priv, 32);
	check(key && EVP_PKEY_get_raw_public_key(key, pub, &n));
	ctx = EVP_PKEY_CTX_new(key, NULL);
	check(ctx && EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer_ex(ctx, s->peer, 0) == 1 &&
	    EVP_PKEY_derive(ctx, secret, &n) == 1);
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
}

static void exchange_modp(struct state *s)
{
	BN_CTX *ctx = BN_CTX_new();
	BIGNUM *x = BN_new(), *r = BN_new();

	check(ctx && x && r && BN_rand(x, 256, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY));
	BN_set_flags(x, BN_FLG_CONSTTIME);
	check(BN_mod_exp_mont_consttime(r, s->g, x, s->p, ctx, s->mont) == 1);
	check(BN_mod_exp_mont_consttime(r, s->peer_y, x, s->p, ctx, s->mont) == 1);
	BN_free(r);
	BN_clear_free(x);
	BN_CTX_free(ctx);
}

static void sign(struct state *s, EVP_PKEY *key)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	s->sig_len = sizeof(s->sig);
	check(md && EVP_DigestSignInit_ex(md, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
	    EVP_DigestSign(md, s->sig, &s->sig_len, s->buf, 600) == 1);
	EVP_MD_CTX_free(md);
}

static void verify(struct state *s, EVP_PKEY *key)
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	check(md && EVP_DigestVerifyInit_ex(md, NULL, "SHA256", NULL, NULL, key, NULL) == 1);
	(void)EVP_DigestVerify(md, s->sig, s->sig_len, s->buf, 600); /* whatever it says costs the same */
	EVP_MD_CTX_free(md);
}

/* An exchange under an IKEv1 SA: hashes over n bytes and their messages, some opened, some sealed (RFC 2409, 5.5; appendix B for the IV) */
static void exchange_v1(struct state *s, const struct work *w, int messages, int n)
{
	unsigned char out[32];

	digest(s, s->sha256, 16 + 4, out);
	for (int i = 0; i < messages; i++) {
		hmac(s, 4 + (size_t)n);
		seal(s, w, i & 1, n + 36);
	}
}

/* IKEv1: main mode with a PSK (RFC 2409, 5.4), XAUTH, quick mode without PFS */
static void one_v1(struct state *s, const struct work *w)
{
	unsigned char out[32];

	check(RAND_bytes(out, 32) == 1);
	for (int i = 0; i < 4; i++) /* NAT detection, RFC 3947 3.2 */
		digest(s, s->sha256, 22, out);
	exchange_x25519(s);
	hmac(s, 64);                /* SKEYID */
	for (int i = 0; i < 3; i++) /* SKEYID_d, _a, _e */
		hmac(s, 32 + 32 + 16 + 1);
	digest(s, s->sha256, 64, out); /* IV */
	hmac(s, 200);                  /* HASH_I, HASH_R */
	hmac(s, 200);
	seal(s, w, 0, 80);
	seal(s, w, 1, 64);
	exchange_v1(s, w, 2, 40); /* name and password */
	exchange_v1(s, w, 2, 24); /* the result */
	exchange_v1(s, w, 3, 140);
	for (int i = 0; i < 2; i++) /* KEYMAT of both directions */
		hmac(s, 1 + 4 + 32 + 32);
}

static void one(struct state *s, const struct work *w)
{
	unsigned char out[32];

	if (w->v1) {
		one_v1(s, w);
		return;
	}
	/* IKE_SA_INIT: SPI, nonce, two NAT detection hashes checked and two made (RFC 7296, 2.23) */
	check(RAND_bytes(out, 32) == 1);
	for (int i = 0; i < 4; i++)
		digest(s, s->sha1, 22, out);
	if (w->modp)
		exchange_modp(s);
	else
		exchange_x25519(s);
	/* SKEYSEED and prf+ (2.14): 136 bytes with AEAD, 224 with a MAC */
	hmac(s, w->modp ? 256 : 32);
	for (int i = 0; i < (w->aead ? 5 : 7); i++)
		hmac(s, 32 + 64 + 16 + 1);
	/* IKE_AUTH: a message opened and one sealed, both AUTH payloads (2.15), KEYMAT (2.17) */
	seal(s, w, 0, w->sign ? 1200 : 300);
	hmac(s, 20);
	hmac(s, 20);
	if (w->sign) {
		verify(s, s->theirs);
		verify(s, s->ca);
		sign(s, s->ours);
	} else {
		for (int i = 0; i < 4; i++)
			hmac(s, i & 1 ? 400 : 17);
	}
	for (int i = 0; i < (w->aead ? 2 : 3); i++)
		hmac(s, 32 + 64 + 1);
	seal(s, w, 1, w->sign ? 1200 : 200);
}

static void prepare(struct state *s, const struct work *w)
{
	bool rsa = w->sign && strcmp(w->sign, "rsa") == 0;

	s->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	s->sha1 = EVP_MD_fetch(NULL, "SHA1", NULL);
	s->gcm = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	s->cbc = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL);
	s->md = EVP_MD_CTX_new();
	s->cipher = EVP_CIPHER_CTX_new();
	s->peer = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
	s->p = BN_get_rfc3526_prime_2048(NULL);
	s->g = BN_new();
	s->mont = BN_MONT_CTX_new();
	s->peer_y = BN_new();
	check(s->sha256 && s->sha1 && s->gcm && s->cbc && s->md && s->cipher && s->peer && s->p && s->g &&
	    s->mont && s->peer_y);
	BN_set_word(s->g, 2);
	BN_CTX *ctx = BN_CTX_new();
	check(BN_MONT_CTX_set(s->mont, s->p, ctx) == 1 && BN_rand_range(s->peer_y, s->p) == 1);
	BN_CTX_free(ctx);
	if (w->sign) {
		s->ours = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		s->theirs = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		s->ca = rsa ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");
		check(s->ours && s->theirs && s->ca);
		sign(s, s->theirs);
	}
}

static double cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		struct work w;
	} all[] = {{"W1", {.aead = true}}, {"W2", {.modp = true, .mac = true}},
	    {"W3r", {.sign = "rsa", .aead = true}}, {"W3e", {.sign = "ecdsa", .aead = true}},
	    {"W4", {.v1 = true}}};
	int n = argc > 2 ? atoi(argv[2]) : 500;
	static struct state s;
	double begin;

	for (size_t i = 0; argc > 1 && n > 0 && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(argv[1], all[i].name) != 0)
			continue;
		prepare(&s, &all[i].w);
		for (int k = 0; k < 20; k++)
			one(&s, &all[i].w);
		begin = cpu_us();
		for (int k = 0; k < n; k++)
			one(&s, &all[i].w);
		printf("%.1f\n", (cpu_us() - begin) / n);
		return 0;
	}
	fprintf(stderr, "Usage: floor W1|W2|W3r|W3e|W4 [N]\n");
	return 2;
}
