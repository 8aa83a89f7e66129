/* SPDX-License-Identifier: Apache-2.0 */
/* The network of a daemon without one: datagrams are injected, and what is delivered is noted. Virtual time; one thread. */
#ifndef UNIT_NET_BED_H
#define UNIT_NET_BED_H

#include "daemon/net/net.h"

struct bed {
	struct env env;
	struct daemon d;
	struct net *net;
	uint64_t now, rnd;
	unsigned delivered, worker; /* worker: of the last one, as is last_len */
	uint32_t last_len;
	bool late; /* whoever gets it has no time for it */
	unsigned asked;
	uint32_t keep; /* what the socket plugin was asked last, so often */
};

void bed_init(struct bed *b, uint32_t workers, uint64_t receive_queue);
void bed_fini(struct bed *b);

#endif
