/* SPDX-License-Identifier: Apache-2.0 */
/* VTI devices and XFRM interfaces of a node's data plane: names, with their addresses and routes counted. */
#include <stdio.h>
#include <stdlib.h>

#include "sim.h"

struct sim_kdev *sim_device(struct sim_kernel *k, const char *name)
{
	struct list *l;

	list_foreach (l, &k->devices) {
		struct sim_kdev *x = list_entry(l, struct sim_kdev, node);

		if (strcmp(x->d.name, name) == 0)
			return x;
	}
	return NULL;
}

enum cy_err sim_device_add(void *kv, const struct cy_kernel_device *d, char *why, size_t why_cap)
{
	struct sim_kernel *k = kv;
	struct sim_kdev *x = sim_device(k, d->name);

	if (k->fail_devices) {
		k->fail_devices--;
		snprintf(why, why_cap, "the scenario says so");
		return k->fail_with ? k->fail_with : CY_E_NOMEM;
	}
	if (x) {
		sim_fail(k->n->sim, "%s: device %s is made twice", k->n->name, d->name);
		return CY_E_EXISTS;
	}
	x = calloc(1, sizeof(*x));
	if (!x)
		return CY_E_NOMEM;
	x->d = *d;
	list_push(&k->devices, &x->node);
	return CY_OK;
}

enum cy_err sim_device_del(void *kv, const struct cy_kernel_device *d)
{
	struct sim_kernel *k = kv;
	struct sim_kdev *x = sim_device(k, d->name);

	if (k->frozen)
		return CY_OK;
	if (!x) {
		sim_fail(k->n->sim, "%s: device %s is removed and is not there", k->n->name, d->name);
		return CY_E_NOTFOUND;
	}
	list_del(&x->node);
	free(x);
	return CY_OK;
}

static enum cy_err change(struct sim_kernel *k, const char *name, const char *what, bool on, size_t at)
{
	struct sim_kdev *x = sim_device(k, name);
	int32_t *n = x ? (int32_t *)((char *)x + at) : NULL;

	if (k->frozen)
		return CY_OK;
	if (!x || (!on && *n == 0)) {
		sim_fail(
		    k->n->sim, "%s: %s of device %s is changed and is not there", k->n->name, what, name);
		return CY_E_NOTFOUND;
	}
	*n += on ? 1 : -1;
	return CY_OK;
}

enum cy_err sim_device_addr(void *k, const char *name, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	(void)addr;
	(void)prefix;
	return change(k, name, "an address", on, offsetof(struct sim_kdev, addrs));
}

enum cy_err sim_device_route(
    void *k, const char *name, const struct cy_ts *dst, const struct cy_ts *local, bool on)
{
	(void)dst;
	(void)local;
	return change(k, name, "a route", on, offsetof(struct sim_kdev, routes));
}
