/* SPDX-License-Identifier: Apache-2.0 */
/* Which CPU carries which SA, and what came in a while: found by cpus, and of use to the doctor. Control thread. */
#ifndef DAEMON_CONTROL_PLACED_H
#define DAEMON_CONTROL_PLACED_H

#include "daemon/control/private.h"
#include "daemon/watch/doctor.h"

struct cpus;

/* Begins to look; NULL: no memory. It is there when cpus_ready(), which may be never; cpus_unref() in any case. */
struct cpus *cpus_begin(struct control *c);
void cpus_unref(void *cpus);
bool cpus_ready(void *cpus);
/* What each inbound SA had since then, of those whose CPU is known; once. *out belongs to the caller. */
size_t cpus_busy_sas(struct cpus *c, struct busy_sa **out);
/* Packets that the plugin that steers sent to CPUs since then, and those that did not arrive there. */
void cpus_steered(const struct cpus *c, uint64_t *out_sent, uint64_t *out_lost);

#endif
