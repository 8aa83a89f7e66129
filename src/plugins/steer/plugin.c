/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Received ESP is sent to CPUs by its SPI. The plugin's thread follows the SAs by their events and balances once an interval; asking is
 * for any thread. Without interfaces in its settings it does nothing at all.
 */
#include "config.h"
#include "cpulist.h"
#include "program.h"
#include "table.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cygnet/plugin.h>

#define END_IDLE_MS 5000
#define IFS_MAX     32
#define ONLINE      "/sys/devices/system/cpu/online"

struct iface {
	char name[IF_NAMESIZE];
	int ifindex, link; /* link -1: not attached */
	bool native, wanted;
	int told; /* errno that the log has already */
};

struct plugin {
	const struct cy_host *host;
	void *self;
	struct cy_timer *timer;
	uint32_t interval_ms;
	enum program_mode mode;
	bool watch; /* nothing is steered */
	uint32_t cpus[STEER_MAX_CPUS];
	uint32_t n_cpus;

	pthread_mutex_t lock;    /* guards all below; held for a few system calls at most */
	struct program *program; /* NULL: switched off */
	struct table table;
	struct iface ifs[IFS_MAX];
	uint32_t n_ifs;
};

/* --- interfaces ------------------------------------------------------------------------------------------------------------- */

static const char *why_not(const struct iface *f)
{
	switch (f->told) {
	case 0:
	case ENODEV:
		return "there is no such interface";
	case EBUSY:
		return "another XDP program is attached to it";
	case EOPNOTSUPP:
		return "its driver has no native XDP";
	default:
		return strerror(f->told);
	}
}

static void let_go(struct iface *f)
{
	if (f->link >= 0)
		(void)close(f->link);
	f->link = -1;
}

static void attach(struct plugin *p, struct iface *f, int ifindex)
{
	int link = ifindex ? program_attach(p->program, ifindex, p->mode, &f->native) : -ENODEV;

	f->ifindex = ifindex;
	if (link >= 0) {
		f->link = link;
		f->told = 0;
		p->host->log(p->self, CY_LOG_NOTICE, "%s ESP that %s receives, %s",
		    p->watch ? "watching" : "steering", f->name, f->native ? "natively" : "in generic mode");
	} else if (f->told != -link) {
		f->told = -link;
		p->host->log(p->self, CY_LOG_WARN, "not steering on %s: %s", f->name, why_not(f));
	}
}

/* Interfaces come and go, also under the same name; and somebody may take the program off. */
static void look_after(struct plugin *p)
{
	for (uint32_t i = 0; i < p->n_ifs; i++) {
		struct iface *f = &p->ifs[i];
		int ifindex = (int)if_nametoindex(f->name);

		if (f->link >= 0 && !program_attached(f->link, ifindex)) {
			let_go(f);
			p->host->log(p->self, CY_LOG_NOTICE, "no longer steering on %s: %s", f->name,
			    ifindex ? "the program was taken off" : "the interface is gone");
			f->told = ifindex ? 0 : ENODEV;
		}
		if (f->link < 0)
			attach(p, f, ifindex);
	}
}

static void want(struct plugin *p, const char *name, size_t len)
{
	struct iface *f = p->ifs;

	while (f < p->ifs + p->n_ifs && (strlen(f->name) != len || memcmp(f->name, name, len) != 0))
		f++;
	if (f == p->ifs + p->n_ifs) {
		if (p->n_ifs == IFS_MAX || len >= sizeof(f->name)) {
			p->host->log(p->self, CY_LOG_ERROR, "not steering on %.*s: %s", (int)len, name,
			    len >= sizeof(f->name) ? "no interface has such a name" : "too many interfaces");
			return;
		}
		*f = (struct iface){.link = -1};
		memcpy(f->name, name, len);
		p->n_ifs++;
	}
	f->wanted = true;
}

/* Those of the settings; others are let go. */
static void choose_interfaces(struct plugin *p, const char *list)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < p->n_ifs; i++)
		p->ifs[i].wanted = false;
	while (*list) {
		size_t len = strcspn(list, " \t,");
		if (len)
			want(p, list, len);
		list += len + (list[len] != '\0');
	}
	for (uint32_t i = 0; i < p->n_ifs; i++) {
		if (p->ifs[i].wanted) {
			p->ifs[kept++] = p->ifs[i];
			continue;
		}
		if (p->ifs[i].link >= 0)
			p->host->log(p->self, CY_LOG_NOTICE, "no longer steering on %s", p->ifs[i].name);
		let_go(&p->ifs[i]);
	}
	p->n_ifs = kept;
}

/* --- SAs -------------------------------------------------------------------------------------------------------------------- */

static void on_event(void *user, const struct cy_event *ev)
{
	struct plugin *p = user;
	enum cy_err e = CY_OK;

	if (!ev->spi_in || (CY_HAS(ev, proto) && ev->proto != CY_PROTO_ESP))
		return;
	pthread_mutex_lock(&p->lock);
	if (ev->kind == CY_EV_CHILD_DOWN)
		(void)table_remove(&p->table, ev->spi_in);
	else
		e = table_add(&p->table, ev->spi_in, CY_HAS(ev, spi_in_before) ? ev->spi_in_before : 0);
	pthread_mutex_unlock(&p->lock);
	if (e)
		p->host->log(p->self, CY_LOG_DEBUG, "%s: SPI %08x is not steered: %s", ev->conn, ev->spi_in,
		    e == CY_E_LIMIT ? "max_sas are" : "the kernel did not take it");
}

static void tick(void *user)
{
	struct plugin *p = user;
	uint32_t before, after;
	size_t n;

	pthread_mutex_lock(&p->lock);
	look_after(p);
	before = balance_spread(&p->table.balance);
	n = table_tick(&p->table, p->host->now_ns(p->self));
	after = balance_spread(&p->table.balance);
	pthread_mutex_unlock(&p->lock);
	if (n)
		p->host->log(p->self, CY_LOG_INFO,
		    "%zu SAs go to other CPUs: the busiest CPU had %u %% of the mean, and is to have %u %%",
		    n, before, after);
}

/* --- what it tells ------------------------------------------------------------------------------------------------------------ */

static enum cy_err stats(void *plugin, struct cy_steer_stats *out)
{
	struct plugin *p = plugin;
	const struct table *t = &p->table;
	uint64_t totals[STEER_TOTALS];
	uint32_t size = out->size;
	struct cy_steer_stats s;

	pthread_mutex_lock(&p->lock);
	if (!p->program) {
		pthread_mutex_unlock(&p->lock);
		return CY_E_UNSUPPORTED;
	}
	program_totals(p->program, totals);
	s = (struct cy_steer_stats){
	    .size = size,
	    .sas = t->n,
	    .sas_max = t->cap,
	    .spread = balance_spread(&t->balance),
	    .moving = table_waiting(t),
	    .packets = totals[STEER_SENT],
	    .unknown = totals[STEER_UNKNOWN],
	    .fragments = totals[STEER_FRAGMENT],
	    .others = totals[STEER_OTHER],
	    .moves = t->moves,
	    .moved_gap = t->moved_gap,
	    .moved_late = t->moved_late,
	    .refused = t->refused,
	    .watching = p->watch,
	};
	pthread_mutex_unlock(&p->lock);
	memcpy(out, &s, size < sizeof(s) ? size : sizeof(s));
	return CY_OK;
}

static size_t cpus(void *plugin, struct cy_steer_cpu *out, size_t cap)
{
	struct plugin *p = plugin;
	size_t n = 0;

	pthread_mutex_lock(&p->lock);
	for (; p->program && !p->watch && n < p->n_cpus && n < cap; n++) {
		const struct balance_cpu *c = &p->table.balance.cpus[n];

		out[n] = (struct cy_steer_cpu){.size = sizeof(*out),
		    .cpu = p->cpus[n],
		    .sas = c->sas,
		    .rate = c->load * 1000 / BALANCE_ONE / p->interval_ms};
		program_count(p->program, p->cpus[n], &out[n].sent, &out[n].arrived);
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

static size_t interfaces(void *plugin, struct cy_steer_interface *out, size_t cap)
{
	struct plugin *p = plugin;
	size_t n = 0;

	pthread_mutex_lock(&p->lock);
	for (; p->program && n < p->n_ifs && n < cap; n++) {
		const struct iface *f = &p->ifs[n];

		out[n] = (struct cy_steer_interface){
		    .size = sizeof(*out), .attached = f->link >= 0, .native = f->link >= 0 && f->native};
		memcpy(out[n].name, f->name, sizeof(out[n].name));
		if (f->link < 0)
			snprintf(out[n].why, sizeof(out[n].why), "%s", why_not(f));
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

static enum cy_err place(void *plugin, uint32_t spi, struct cy_kernel_place *out)
{
	struct plugin *p = plugin;
	const struct table_sa *s;
	enum cy_err e = CY_E_NOTFOUND;
	uint32_t cpu;

	pthread_mutex_lock(&p->lock);
	s = p->program ? table_find(&p->table, spi) : NULL;
	if (s) {
		const struct steer_slot *slot = &p->table.path.slots[s - p->table.sas];

		out->lane = -1;
		out->packets = __atomic_load_n(&slot->packets, __ATOMIC_RELAXED);
		out->bytes = __atomic_load_n(&slot->bytes, __ATOMIC_RELAXED);
		cpu = __atomic_load_n(&slot->cpu, __ATOMIC_RELAXED);
		if (cpu == STEER_STAYS)
			out->cpu =
			    out->packets ? (int32_t)__atomic_load_n(&slot->came_cpu, __ATOMIC_RELAXED) : -1;
		else
			out->cpu = (int32_t)cpu;
		if (CY_HAS(out, rx_queue)) {
			out->rx_if = __atomic_load_n(&slot->came_if, __ATOMIC_RELAXED);
			out->rx_queue = __atomic_load_n(&slot->came_queue, __ATOMIC_RELAXED);
		}
		e = CY_OK;
	}
	pthread_mutex_unlock(&p->lock);
	return e;
}

static const struct cy_steer_ops ops = {
    .size = sizeof(ops),
    .name = "steer",
    .stats = stats,
    .cpus = cpus,
    .interfaces = interfaces,
    .place = place,
};

/* --- life --------------------------------------------------------------------------------------------------------------------- */

static uint32_t number(const struct plugin *p, const char *key, int64_t fallback, int64_t min, int64_t max)
{
	int64_t v = p->host->setting_int(p->self, key, fallback);

	return (uint32_t)(v < min ? min : v > max ? max : v);
}

static void read_tuning(struct plugin *p, struct table_config *out)
{
	p->interval_ms = number(p, "interval", 1000, 50, 60000);
	p->watch = p->host->setting_bool(p->self, "watch", false);
	*out = (struct table_config){
	    .watch = p->watch,
	    .balance =
	        {
	            .start_pct = number(p, "start", 20, 1, 1000),
	            .stop_pct = number(p, "stop", 5, 0, 1000),
	            .patience = number(p, "patience", 2, 1, 100),
	            .max_moves = number(p, "moves", 8, 1, 256),
	            .hold = number(p, "hold", 10, 0, 1000),
	            .memory = number(p, "memory", 4, 1, 100),
	            .min_rate = (uint64_t)number(p, "min_rate", 1000, 0, UINT32_MAX) * p->interval_ms / 1000,
	        },
	    .gap_ns = number(p, "gap", 2000, 0, 1000000) * 1000,
	    .end_idle = END_IDLE_MS / p->interval_ms + 1,
	    .limit_ns = (uint64_t)number(p, "limit", 500, 0, 60000) * 1000000,
	};
}

static enum program_mode read_mode(const struct plugin *p)
{
	const char *s = p->host->setting(p->self, "mode", "auto");

	return strcmp(s, "native") == 0 ? PROGRAM_NATIVE
	    : strcmp(s, "generic") == 0 ? PROGRAM_GENERIC
	                                : PROGRAM_AUTO;
}

static enum cy_err read_cpus(struct plugin *p)
{
	const char *list = p->host->setting(p->self, "cpus", "");
	char online[4096] = "";

	if (!*list) {
		FILE *f = fopen(ONLINE, "re");
		if (f) {
			if (!fgets(online, sizeof(online), f))
				online[0] = '\0';
			(void)fclose(f);
		}
		list = online;
	}
	p->n_cpus = cpulist_read(list, p->cpus, STEER_MAX_CPUS);
	if (p->n_cpus)
		return CY_OK;
	p->host->log(p->self, CY_LOG_ERROR, "cpus: \"%s\" is no list of CPUs below %d", list, STEER_MAX_CPUS);
	return CY_E_INVAL;
}

static int path_set(void *path, uint32_t spi, uint32_t slot)
{
	return program_set(path, spi, slot);
}

static void path_unset(void *path, uint32_t spi)
{
	program_unset(path, spi);
}

static enum cy_err switch_on(struct plugin *p)
{
	struct program_config cfg = {
	    .cpus = p->cpus,
	    .queue = number(p, "queue", 2048, 8, 16384),
	    .max_sas = number(p, "max_sas", 32768, 1, 1048576),
	    .natt_port = (uint16_t)number(p, "port", 4500, 1, 65535),
	};
	struct table_path path = {.set = path_set, .unset = path_unset};
	struct table_config tuning;
	char why[200];
	enum cy_err e = read_cpus(p);

	if (e)
		return e;
	cfg.n_cpus = p->n_cpus;
	read_tuning(p, &tuning);
	p->mode = read_mode(p);
	e = program_load(&cfg, why, sizeof(why), &p->program);
	if (e) {
		p->host->log(p->self, CY_LOG_ERROR, "nothing is steered: %s", why);
		return e;
	}
	path.path = p->program;
	path.slots = program_slots(p->program);
	return table_init(&p->table, &tuning, &path, p->cpus, p->n_cpus, cfg.max_sas);
}

static enum cy_err follow(struct plugin *p)
{
	enum cy_err e = p->host->subscribe(
	    p->self, 1u << CY_EV_CHILD_UP | 1u << CY_EV_CHILD_DOWN | 1u << CY_EV_CHILD_REKEYED, on_event, p);

	return e ? e : p->host->timer(p->self, p->interval_ms, p->interval_ms, tick, p, &p->timer);
}

/* Nothing calls back any more. Closing what is held takes the programs off. */
static void fini(void *plugin)
{
	struct plugin *p = plugin;

	for (uint32_t i = 0; i < p->n_ifs; i++)
		let_go(&p->ifs[i]);
	table_fini(&p->table);
	program_free(p->program);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	struct plugin *p = calloc(1, sizeof(*p));
	const char *list = host->setting(self, "interfaces", "");
	enum cy_err e;

	if (!p)
		return CY_E_NOMEM;
	p->host = host;
	p->self = self;
	pthread_mutex_init(&p->lock, NULL);
	e = host->provide(self, CY_KIND_STEER, &ops, p);
	if (!e && *list) {
		e = switch_on(p);
		if (!e) {
			choose_interfaces(p, list);
			look_after(p);
			e = follow(p);
		}
	}
	if (e) {
		fini(p);
		return e;
	}
	*out_plugin = p;
	return CY_OK;
}

static void reload(void *plugin)
{
	struct plugin *p = plugin;
	const char *list = p->host->setting(p->self, "interfaces", "");
	uint32_t interval = p->interval_ms;
	struct table_config tuning;

	pthread_mutex_lock(&p->lock);
	if (p->program) {
		read_tuning(p, &tuning);
		table_configure(&p->table, &tuning, p->host->now_ns(p->self));
		choose_interfaces(p, list);
		look_after(p);
	} else if (*list) {
		p->host->log(p->self, CY_LOG_WARN, "steering is switched on by a restart only");
	}
	pthread_mutex_unlock(&p->lock);
	if (p->timer && interval != p->interval_ms) {
		struct cy_timer *t = NULL;
		if (p->host->timer(p->self, p->interval_ms, p->interval_ms, tick, p, &t) == CY_OK) {
			p->host->timer_cancel(p->self, p->timer);
			p->timer = t;
		}
	}
}

#define CY_OPTION(...) {__VA_ARGS__},
static const struct cy_option options[] = {
#include "steer.opt"
    {NULL, NULL, NULL, NULL, NULL, NULL}};

static const struct cy_feature features[] = {
    {CY_PROVIDES, "steer"},
    {CY_FEATURE_END, NULL},
};

CYGNET_PLUGIN_EXPORT extern const struct cy_plugin cygnet_plugin;
const struct cy_plugin cygnet_plugin = {
    .size = sizeof(cygnet_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "steer",
    .version = PACKAGE_VERSION,
    .features = features,
    .init = init,
    .fini = fini,
    .reload = reload,
    .options = options,
};
