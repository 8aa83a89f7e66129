/* SPDX-License-Identifier: Apache-2.0 */
/* Which pre-shared key: in main mode by the addresses (RFC 2409, 5.4), in aggressive mode by the identity. Signatures: by the key. */
#include <stdio.h>
#include <unistd.h>

#include "duel.h"
#include "unit.h"

#include "daemon/ikev1/ikev1.h"

#define KEYS       "  keyexchange=ikev1\n  ike=aes128-sha256-modp2048!\n  esp=aes128gcm16-modp2048!\n"
#define AGGRESSIVE KEYS "  aggressive=yes\n"
#define TWO                                                                                                  \
	"@one : PSK \"of one\"\n"                                                                            \
	"@two : PSK \"of two\"\n"

static struct duel *d;

static bool comes_up(const struct duel_config *c)
{
	bool up;

	d = duel_new_with(c);
	duel_start(d, &d->a, 20);
	up = duel_sa(&d->b) && duel_sa(&d->b)->state == IKE_ESTABLISHED && duel_sa(&d->b)->n_children == 1;
	if (up)
		ck_assert_int_eq(duel_sa(&d->a)->state, IKE_ESTABLISHED);
	return up;
}

/* Many peers of one connection, each with a key for its address. */
START_TEST(main_mode_by_address)
{
	static const struct duel_config c = {.keys = KEYS,
	    .right_b = "%any",
	    .conn_b = "  rightid=%any\n",
	    .secrets_a = "10.0.0.2 : PSK \"of this address\"\n",
	    .secrets_b = "10.0.0.7 : PSK \"of another\"\n%any : PSK \"of the rest\"\n"
	                 "10.0.0.1 : PSK \"of this address\"\n"};

	ck_assert(comes_up(&c));
	duel_free(d);
}
END_TEST

START_TEST(aggressive_mode_by_identity)
{
	static const char *const ids[] = {"  leftid=@one\n", "  leftid=@two\n"};

	for (int i = 0; i < 2; i++) {
		struct duel_config c = {.keys = AGGRESSIVE,
		    .right_b = "%any",
		    .conn_a = ids[i],
		    .conn_b = "  rightid=%any\n",
		    .secrets_a = TWO,
		    .secrets_b = TWO};

		ck_assert(comes_up(&c));
		duel_free(d);
	}
}
END_TEST

/* Two connections for any peer, each with its key: main mode has to take one, and says so. */
START_TEST(main_mode_says_whose_key_it_took)
{
	static const struct duel_config c = {.keys = KEYS,
	    .right_a = "%any",
	    .conn_a = "  rightid=@one\n",
	    .conns_a = "conn other\n  also=net\n  rightid=@two\n  rightsubnet=10.3.0.0/16\n",
	    .conn_b = "  leftid=@two\n",
	    .secrets_a = TWO,
	    .secrets_b = TWO};
	struct ike_sa *sa;

	d = duel_new_with(&c);
	duel_start(d, &d->b, 5);
	sa = duel_sa(&d->a);
	ck_assert_ptr_nonnull(sa);
	ck_assert_int_ne(sa->state, IKE_ESTABLISHED);
	ck_assert_msg(strstr(sa->why, "that of net, not of other"), "%s", sa->why);
	duel_free(d);
}
END_TEST

START_TEST(a_wrong_key_is_named)
{
	static const struct duel_config c = {
	    .keys = KEYS, .secrets_a = ": PSK \"right\"\n", .secrets_b = ": PSK \"wrong\"\n"};

	ck_assert(!comes_up(&c));
	ck_assert_msg(strstr(duel_sa(&d->b)->why, "differs from the one in our ipsec.secrets"), "%s",
	    duel_sa(&d->b)->why);
	duel_free(d);
}
END_TEST

/* A key that others may read is not used, and those of the tests they may. */
static void private_copy(const char *name, char path[64])
{
	char from[300], buf[8192];
	FILE *f;
	size_t n;
	int fd;

	snprintf(from, sizeof(from), PKI_DIR "/%s", name);
	f = fopen(from, "r");
	ck_assert_ptr_nonnull(f);
	n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	snprintf(path, 64, "/tmp/cygnet-key-XXXXXX");
	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, buf, n), (ssize_t)n);
	close(fd);
}

/* RFC 4754: a method a curve, and that of RSA. */
START_TEST(signatures_by_the_key)
{
	static const struct {
		const char *public, *private;
		uint16_t auth;
	} kinds[] = {{"ec256-pub.der", "ec256.pem", V1_AUTH_ECDSA_256},
	    {"ec384-pub.der", "ec384-pkcs8.pem", V1_AUTH_ECDSA_384},
	    {"ec521-pub.der", "ec521.pem", V1_AUTH_ECDSA_521}, {"rsa-pub.der", "rsa-pkcs8.der", V1_AUTH_RSA}};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (int aggressive = 0; aggressive < 2; aggressive++) {
			char conn[600], secrets[100], key[64];
			struct duel_config c = {.keys = aggressive ? AGGRESSIVE : KEYS,
			    .conn_a = conn,
			    .conn_b = conn,
			    .secrets_a = secrets,
			    .secrets_b = secrets};

			private_copy(kinds[i].private, key);
			snprintf(conn, sizeof(conn),
			    "  authby=pubkey\n  leftsigkey=" PKI_DIR "/%s\n  rightsigkey=" PKI_DIR "/%s\n",
			    kinds[i].public, kinds[i].public);
			snprintf(secrets, sizeof(secrets), ": %s %s\n",
			    kinds[i].auth == V1_AUTH_RSA ? "RSA" : "ECDSA", key);
			ck_assert_msg(comes_up(&c), "%s", kinds[i].public);
			ck_assert_uint_eq(v1_of(duel_sa(&d->b))->auth, kinds[i].auth);
			duel_free(d);
			unlink(key);
		}
}
END_TEST

UNIT_TESTS(psk)
{
	tcase_add_test(tc, main_mode_by_address);
	tcase_add_test(tc, aggressive_mode_by_identity);
	tcase_add_test(tc, main_mode_says_whose_key_it_took);
	tcase_add_test(tc, a_wrong_key_is_named);
	tcase_add_test(tc, signatures_by_the_key);
}
