/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: what steers received packets of SAs to CPUs, and tells what it does. It learns of SAs by the events that every
 * plugin gets; the daemon only asks.
 *
 * Thread: any; the functions may wait for a short lock. Nothing is written beyond the `size` that the caller has put into a struct.
 */
#ifndef CYGNET_STEER_H
#define CYGNET_STEER_H

#include <cygnet/kernel.h>
#include <cygnet/types.h>

struct cy_steer_stats {
	uint32_t size;
	uint32_t sas, sas_max;
	uint32_t spread; /* moving average: load of the busiest CPU in percent of the mean; 0 without load */
	uint32_t moving; /* SAs that are to go to another CPU and have not yet */
	uint32_t pad_;
	uint64_t packets;   /* sent to a CPU */
	uint64_t unknown;   /* ESP of an SA that is not steered */
	uint64_t fragments; /* passed on as they came */
	uint64_t others;    /* not ESP */
	uint64_t moves;     /* decided, to even out the loads */
	/* SAs that went to another CPU, also when watching ends or begins */
	uint64_t moved_gap;  /* when no packet had come for a while */
	uint64_t moved_late; /* while packets kept coming: they may overtake each other */
	uint64_t refused;    /* SAs that found no room */
	uint32_t watching;   /* 1: packets are counted, and go where they went */
	uint32_t pad2_;
};

struct cy_steer_cpu {
	uint32_t size;
	uint32_t cpu;
	uint32_t sas;
	uint32_t pad_;
	uint64_t rate; /* packets a second of its SAs, a moving average */
	uint64_t sent; /* packets sent to it */
	uint64_t
	    arrived; /* and worked on there; the others wait, or were dropped because the queue was full */
};

struct cy_steer_interface {
	uint32_t size;
	char name[16];
	uint8_t attached, native, pad_[2];
	char why[96]; /* not attached: one sentence */
};

struct cy_steer_ops {
	uint32_t size;
	const char *name;
	/* CY_E_UNSUPPORTED: it is switched off. */
	enum cy_err (*stats)(void *plugin, struct cy_steer_stats *out);
	/* Return how many were written. */
	size_t (*cpus)(void *plugin, struct cy_steer_cpu *out, size_t cap);
	size_t (*interfaces)(void *plugin, struct cy_steer_interface *out, size_t cap);
	/* An inbound SA: the CPU that it is sent to, and its packets so far. CY_E_NOTFOUND: it is not steered. */
	enum cy_err (*place)(void *plugin, uint32_t spi, struct cy_kernel_place *out);
};

#endif
