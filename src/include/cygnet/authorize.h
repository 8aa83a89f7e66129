/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cygnet plugin ABI: who may say no. As responder, after a peer has proven its identity and before its IKE_SA is up, every
 * plugin that provides this is asked, in the order in which they were loaded; one no is enough. Connections with authorize=no
 * ask nobody.
 *
 * Thread: ask() on the plugin's own thread. The answer, cy_host.authorize_answer(), is given there or on any other, now or later:
 * only the IKE_SA in question waits. After the daemon's authorize_timeout it has been refused, and the answer finds nobody.
 */
#ifndef CYGNET_AUTHORIZE_H
#define CYGNET_AUTHORIZE_H

#include <cygnet/types.h>

struct cy_authorize_question {
	uint32_t size;
	uint8_t ike_version, pad_[3];
	uint64_t ike_id;  /* unique number of the IKE_SA, as `ipsec status` shows it */
	const char *conn; /* never NULL, "" when unknown */
	const char *local_id, *remote_id, *user;
	struct cy_addr local, remote;
};

struct cy_authorize_ops {
	uint32_t size;
	const char *name;
	/* The question is valid until this returns. */
	void (*ask)(void *plugin, uint64_t id, const struct cy_authorize_question *q);
};

#endif
