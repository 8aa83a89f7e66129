/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The updown plugin: runs a connection's script when a CHILD_SA comes up or goes down. Everything here runs on the
 * plugin's thread; scripts are processes of the daemon's helper, and none of them is waited for.
 */
#ifndef UPDOWN_H
#define UPDOWN_H

#include <cygnet/plugin.h>

/* NAME=value strings, owned, NULL-terminated as execve wants them. */
struct env_list {
	char **s;
	size_t n, cap;
	bool bad; /* out of memory */
};
void env_fini(struct env_list *env);

/*
 * What scripts written for strongSwan and libreswan look for, for one pair of traffic selectors. iface: the interface
 * with our address, "" when unknown.
 */
void updown_env(struct env_list *env, const struct cy_event *ev, const struct cy_ts *local,
    const struct cy_ts *remote, const char *iface);

/* The interface that has this address; false when there is none. */
bool updown_interface(const struct cy_addr *addr, char *out, size_t cap);

#endif
