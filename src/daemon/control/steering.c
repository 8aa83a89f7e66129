/* SPDX-License-Identifier: Apache-2.0 */
/* What the plugin that steers received packets says of itself: for cpus and metrics. Control thread. */
#include "daemon/control/steering.h"

#include "libcore/plugin/loader.h"

#define IFS_MAX 64

static const struct cy_steer_ops *steer_ops(const struct daemon *d, void **out_plugin)
{
	return d->plugins ? plugins_find(d->plugins, CY_KIND_STEER, NULL, out_plugin) : NULL;
}

bool steering_stats(const struct daemon *d, struct cy_steer_stats *out)
{
	void *plugin;
	const struct cy_steer_ops *ops = steer_ops(d, &plugin);

	*out = (struct cy_steer_stats){.size = sizeof(*out)};
	return ops && ops->stats(plugin, out) == CY_OK;
}

enum steer_state steering_state(const struct daemon *d)
{
	struct cy_steer_stats s;
	void *plugin;

	if (!steer_ops(d, &plugin))
		return STEER_NONE;
	if (!steering_stats(d, &s))
		return STEER_OFF;
	return s.watching ? STEER_WATCHES : STEER_ON;
}

size_t steering_cpus(const struct daemon *d, struct cy_steer_cpu *out, size_t cap)
{
	void *plugin;
	const struct cy_steer_ops *ops = steer_ops(d, &plugin);

	return ops ? ops->cpus(plugin, out, cap) : 0;
}

bool steering_place(const struct daemon *d, uint32_t spi, struct cy_kernel_place *out)
{
	void *plugin;
	const struct cy_steer_ops *ops = steer_ops(d, &plugin);

	return ops && ops->place(plugin, spi, out) == CY_OK;
}

void steering_write_head(const struct daemon *d, struct jw *w)
{
	struct cy_steer_interface ifs[IFS_MAX];
	struct cy_steer_stats s;
	const struct cy_steer_ops *ops;
	void *plugin;
	size_t n;

	if (!steering_stats(d, &s))
		return;
	ops = steer_ops(d, &plugin);
	jw_obj(w, "steering");
	jw_bool(w, "watching", s.watching);
	jw_u64(w, "sas", s.sas);
	jw_u64(w, "sas_max", s.sas_max);
	jw_u64(w, "spread", s.spread);
	jw_u64(w, "packets", s.packets);
	jw_u64(w, "unknown", s.unknown);
	jw_u64(w, "fragments", s.fragments);
	jw_u64(w, "others", s.others);
	jw_u64(w, "moves", s.moves);
	jw_u64(w, "moving", s.moving);
	jw_u64(w, "moved_at_gap", s.moved_gap);
	jw_u64(w, "moved_at_limit", s.moved_late);
	jw_u64(w, "refused", s.refused);
	jw_arr(w, "interfaces");
	n = ops->interfaces(plugin, ifs, IFS_MAX);
	for (size_t i = 0; i < n; i++) {
		jw_obj(w, NULL);
		jw_str(w, "name", ifs[i].name);
		jw_str(w, "mode", !ifs[i].attached ? "off" : ifs[i].native ? "native" : "generic");
		jw_str(w, "why", ifs[i].why);
		jw_obj_end(w);
	}
	jw_arr_end(w);
	jw_obj_end(w);
}

void steering_write_cpu(struct jw *w, const struct cy_steer_cpu *c)
{
	jw_u64(w, "cpu", c->cpu);
	jw_u64(w, "sas", c->sas);
	jw_u64(w, "packets_per_second", c->rate);
	jw_u64(w, "sent", c->sent);
	jw_u64(w, "arrived", c->arrived);
}
