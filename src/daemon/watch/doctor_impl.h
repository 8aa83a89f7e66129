/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the doctor: what the files with its rules share. */
#ifndef DAEMON_WATCH_DOCTOR_IMPL_H
#define DAEMON_WATCH_DOCTOR_IMPL_H

#include "daemon/watch/doctor.h"

#define DOCTOR_MAX 64

struct doctor {
	const struct doctor_input *in;
	size_t n;
	struct finding f[DOCTOR_MAX], spill; /* what is too much goes there */
};

struct finding *doctor_add(struct doctor *d, const char *id, enum finding_level level, double value,
    const char *unit, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Adds to what is advised already. */
void doctor_advise(struct finding *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
double doctor_rate(const struct doctor *d, uint64_t n); /* a second */

void doctor_rule_errors(struct doctor *d);  /* errors.c */
void doctor_rule_machine(struct doctor *d); /* balance.c */

#endif
