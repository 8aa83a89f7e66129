/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin's instance, and the defaults of its settings (kernel-netlink.opt describes them). */
#ifndef KERNEL_NETLINK_PLUGIN_H
#define KERNEL_NETLINK_PLUGIN_H

#include <cygnet/plugin.h>

#define DEFAULT_TABLE         220
#define DEFAULT_RULE_PRIORITY 220
#define DEFAULT_LOOKUP_MARK   0x637967 /* "cyg" */
#define DEFAULT_EVENTS_RCVBUF (8 << 20)

struct plugin {
	const struct cy_host *host;
	void *self;
};

#endif
