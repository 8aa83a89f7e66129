/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs in the kernel and their maps. They are nowhere in the file system: what holds them is this process, by its descriptors, so
 * that they are gone when it is, however it ends.
 *
 * Loading needs CAP_BPF and CAP_NET_ADMIN, attaching CAP_NET_ADMIN. Calls are short system calls; one thread at a time, but
 * program_count and program_totals on any.
 */
#ifndef STEER_PROGRAM_H
#define STEER_PROGRAM_H

#include <cygnet/types.h>

#include "shared.h"

struct program_config {
	const uint32_t *cpus; /* that packets may be sent to */
	uint32_t n_cpus;
	uint32_t queue; /* packets that may wait for each */
	uint32_t max_sas;
	uint16_t natt_port;
};

enum program_mode { PROGRAM_AUTO, PROGRAM_NATIVE, PROGRAM_GENERIC };

struct program;
/* why: a sentence when it fails. CY_E_DENIED: privileges are missing. */
enum cy_err program_load(
    const struct program_config *cfg, char *why, size_t cap, struct program **out) CY_MUST_USE;
void program_free(struct program *p);

/* max_sas of them; shared with the kernel. */
struct steer_slot *program_slots(const struct program *p);
/* SPI in host byte order. 0 or an errno. */
int program_set(struct program *p, uint32_t spi, uint32_t slot);
void program_unset(struct program *p, uint32_t spi);

/* A descriptor that holds the program on the interface until it is closed, or -errno. EBUSY: another program is there. */
int program_attach(struct program *p, int ifindex, enum program_mode mode, bool *out_native);
/* Does the descriptor still hold it there? The interface may be gone, or somebody has taken the program off. */
bool program_attached(int link, int ifindex);

void program_totals(const struct program *p, uint64_t out[STEER_TOTALS]);
/* Packets that were sent to a CPU, and that came there; the difference waits, or was dropped because its queue was full. */
void program_count(const struct program *p, uint32_t cpu, uint64_t *out_sent, uint64_t *out_arrived);

#endif
