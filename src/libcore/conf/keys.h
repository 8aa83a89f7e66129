/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of ipsec.conf (keys.def) as a table. Private to conf/. Constant; any thread. */
#ifndef LIBCORE_CONF_KEYS_H
#define LIBCORE_CONF_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct build;
struct raw_entry;

enum { IN_CONN = 1, IN_SETUP = 2, IN_CA = 4 };
enum { SS = 1, LS = 2, BOTH = 3 };
enum key_state { LIVE, SAME, OLD, REFUSE, HARMLESS, DEAD };

/* Arguments of keys that have no setter. */
enum {
	SETUP_DIALECT = 1,
	SETUP_UNIQUE,
	SETUP_STRICT,
	SETUP_OCSP_STRICT,
	SETUP_OCSP_ENABLE,
	SETUP_CRL_TIMEOUT,
	SETUP_OCSP_TIMEOUT,
	SETUP_CRL_INTERVAL,
	SETUP_CHARONDEBUG,
	SETUP_VIRTUAL_PRIVATE,
	SETUP_SECRETSFILE,
	SETUP_NHELPERS,
	SETUP_IKEV1_POLICY,
	SETUP_DEVICES_MANAGED,
	CA_CACERT,
	CA_CRL,
	CA_OCSP
};
enum { MARK_BOTH, MARK_IN, MARK_OUT };
enum { VTI_INTERFACE, VTI_ROUTING, VTI_SHARED };

/* Reads the entry's value into the connection being built. False: it has reported why not. */
typedef bool (*key_setter)(struct build *b, const struct raw_entry *e, size_t arg);

struct key {
	const char *name;
	uint8_t sections, dialects, state; /* enum key_state */
	const char *text;
	key_setter set;
	size_t arg;
};

#define KEY_NONE UINT16_MAX
#define KEY_MAX  512 /* more than there are */

extern const struct key conf_keys[];
extern const size_t conf_n_keys;

/*
 * The first row of a name, KEY_NONE when there is none. "rightid" is found as "leftid" with *out_right set. steps grows
 * by the comparisons made.
 */
uint16_t key_find(const char *name, size_t n, bool *out_right, uint64_t *steps);
/* The row of the same name that belongs to the dialects, KEY_NONE when none does. */
uint16_t key_in_dialect(uint16_t first, unsigned dialects);
/* All dialects of the name. */
unsigned key_dialects(uint16_t first);
bool key_is_sided(const struct key *k);
/* Its name for the side: "leftid", "rightid". */
const char *key_name(const struct key *k, bool right, char *buf, size_t cap);
/* The key that was probably meant, among those of the sections and dialects, or NULL. */
const char *key_nearest(const char *typed, unsigned sections, unsigned dialects, char *buf, size_t cap);
/* What the other dialect calls it, or NULL. */
const char *key_counterpart(const char *name);
/* The text without its harmless values, and whether a value is one of them. */
void key_text(const struct key *k, char *buf, size_t cap);
bool key_asks_nothing(const struct key *k, const char *value);

#endif
