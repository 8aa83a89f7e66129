/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that connections share (vti-interface=, ipsec-interface=). A user is a connection, loaded or still in use by a
 * CHILD_SA; the device comes with its first user and goes with its last, and so do addresses and routes. Kernel thread
 * only, but for knl_devices_list().
 */
#ifndef DAEMON_KERNEL_KNL_DEVICE_H
#define DAEMON_KERNEL_KNL_DEVICE_H

#include <cygnet/kernel.h>

#include "libcore/base/log.h"
#include "libcore/conf/conf.h"

struct knl_devices;

enum cy_err knl_devices_new(struct log *log, const uint64_t key[2], struct knl_devices **out) CY_MUST_USE;
void knl_devices_free(struct knl_devices *t);
/*
 * One user more: the connection as it is loaded, or a CHILD_SA of it. It fails when the device cannot be had, which is
 * logged once; a loaded connection is a user all the same, and the next user tries again.
 */
enum cy_err knl_device_use(struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct conn *conn,
    bool loaded) CY_MUST_USE;
enum cy_err knl_device_unuse(
    struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, struct conn *conn, bool loaded);

/*
 * The configuration is another one: its connections are users, and others are loaded no more. A device that stays as it is stays, one
 * that becomes another is removed first. CY_E_NOMEM: call it again.
 */
enum cy_err knl_devices_load(
    struct knl_devices *t, const struct cy_kernel_ops *ops, void *k, const struct conf *conf) CY_MUST_USE;

struct knl_device_info {
	const char *name, *why; /* why: it cannot be had; "" it is there */
	uint8_t kind;
	uint32_t if_id, mark_in, mark_out;
	uint32_t users; /* connections and CHILD_SAs */
};
/* Any thread. */
bool knl_devices_any(struct knl_devices *t);
void knl_devices_list(
    struct knl_devices *t, void (*cb)(void *user, const struct knl_device_info *d), void *user);

#endif
