/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "daemon/core/daemon.h"
#include "libcore/conf/conf.h"
#include "libcore/cred/cred.h"

struct config *config_ref(struct config *c)
{
	if (c)
		__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
	return c;
}

void config_unref(struct config *c)
{
	if (!c || __atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	if (c->index)
		c->index_free(c->index);
	creds_unref(c->creds);
	conf_unref(c->conf);
	free(c);
}

struct config *daemon_config(struct daemon *d)
{
	struct config *c;

	pthread_mutex_lock(&d->config_lock);
	c = config_ref(d->config);
	pthread_mutex_unlock(&d->config_lock);
	return c;
}

void daemon_config_swap(struct daemon *d, struct config *take)
{
	struct config *old;

	pthread_mutex_lock(&d->config_lock);
	old = d->config;
	take->epoch = old ? old->epoch + 1 : 1;
	d->config = take;
	pthread_mutex_unlock(&d->config_lock);
	config_unref(old);
}
