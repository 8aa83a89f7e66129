/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Was one of the peer's certificates revoked (RFC 5280, 6.3; RFC 6960)? Asked of each of the path that auth_verify() has found, but the
 * CA at its end: the OCSP responders that a ca section or the certificate names, the CRLs of files, then the CRLs that they name. The first one that
 * says good or revoked decides; what is not known in the end is accepted or refused as strictcrlpolicy= has it.
 *
 * On the IKE_SA's worker. What must be got makes it wait, and nobody else.
 */
#ifndef DAEMON_AUTH_REVOCATION_H
#define DAEMON_AUTH_REVOCATION_H

#include "daemon/auth/auth.h"
#include "libcore/run/worker.h"

struct revocation;

/* done is called once, on the worker, with op->why set on CY_E_AUTH, or as a notice with CY_OK. */
typedef void (*revocation_done)(void *user, enum cy_err err);

/*
 * True: *out is decided, and done not called. False: *out_waits is what it waits with, until done or revocation_cancel(). op is borrowed
 * until then.
 */
bool revocation_check(struct auth_op *op, struct worker *w, revocation_done done, void *user,
    struct revocation **out_waits, enum cy_err *out) CY_MUST_USE;
void revocation_cancel(struct revocation *r); /* NULL is fine */

#endif
