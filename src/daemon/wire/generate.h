/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random valid messages, from the same tables by which they are read: for tests and for the corpus of fuzzing. Everything lives
 * in the caller's arena; the seed moves on. One thread at a time.
 */
#ifndef DAEMON_WIRE_GENERATE_H
#define DAEMON_WIRE_GENERATE_H

#include "daemon/wire/message.h"

/* A message of any exchange that wire_check accepts. *out_encrypted: its payloads belong into SK. CY_E_NOMEM. */
enum cy_err wire_generate(
    struct arena *a, uint64_t *seed, struct message *out, bool *out_encrypted) CY_MUST_USE;
/* One payload of this type, appended. CY_E_NOMEM. */
enum cy_err wire_generate_payload(
    struct arena *a, uint64_t *seed, struct message *m, uint8_t type) CY_MUST_USE;

#endif
