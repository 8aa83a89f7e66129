/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin that steers received packets says of itself. Control thread. */
#ifndef DAEMON_CONTROL_STEERING_H
#define DAEMON_CONTROL_STEERING_H

#include "daemon/control/jw.h"
#include "daemon/core/daemon.h"
#include "daemon/watch/doctor.h"
#include <cygnet/steer.h>

#define STEERING_CPUS 1024

/* false: there is none, or it is switched off. */
bool steering_stats(const struct daemon *d, struct cy_steer_stats *out);
enum steer_state steering_state(const struct daemon *d);
size_t steering_cpus(const struct daemon *d, struct cy_steer_cpu *out, size_t cap);
/* The CPU that packets of this inbound SA are sent to. */
bool steering_place(const struct daemon *d, uint32_t spi, struct cy_kernel_place *out);

/* Member "steering" of an open object, when there is steering. */
void steering_write_head(const struct daemon *d, struct jw *w);
/* Members of an open object. */
void steering_write_cpu(struct jw *w, const struct cy_steer_cpu *c);

#endif
