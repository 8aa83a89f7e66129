/* SPDX-License-Identifier: Apache-2.0 */

#include "program.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

/* redirect.bpf.c, compiled */
extern const unsigned char steer_object[];
extern const size_t steer_object_len;

struct program {
	struct bpf_object *object;
	struct steer_slot *slots;
	struct steer_count *arrived;
	size_t slots_len, arrived_len;
	int steer, spis, totals, sent; /* descriptors of the object's */
	uint32_t n_possible;
	struct steer_config config;
};

/* Errors are told by the caller; the library's own lines would go to standard error. */
static int say_nothing(enum libbpf_print_level level, const char *fmt, va_list args)
{
	(void)level;
	(void)fmt;
	(void)args;
	return 0;
}

static enum cy_err fail(char *why, size_t cap, const char *what, int err)
{
	if (err == EPERM || err == EACCES) {
		snprintf(why, cap, "%s: %s (it takes CAP_BPF and CAP_NET_ADMIN)", what, strerror(err));
		return CY_E_DENIED;
	}
	snprintf(why, cap, "%s: %s", what, strerror(err));
	return err == ENOMEM ? CY_E_NOMEM : CY_E_UNSUPPORTED;
}

static int map_fd(const struct program *p, const char *name)
{
	return bpf_object__find_map_fd_by_name(p->object, name);
}

/* --- loading --------------------------------------------------------------------------------------------------------------- */

/* What is known only here: sizes, and the port. */
static int set_sizes(struct program *p, const struct program_config *cfg)
{
	const struct {
		const char *name;
		uint32_t entries;
	} sizes[] = {{"cpus", p->n_possible}, {"sent", p->n_possible}, {"arrived", p->n_possible},
	    {"spis", cfg->max_sas}, {"slots", cfg->max_sas}};
	struct bpf_map *m;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		m = bpf_object__find_map_by_name(p->object, sizes[i].name);
		if (!m || bpf_map__set_max_entries(m, sizes[i].entries) != 0)
			return EINVAL;
	}
	p->config.natt_port = cfg->natt_port;
	m = bpf_object__find_map_by_name(p->object, ".data");
	/* nothing else is there */
	return m && bpf_map__set_initial_value(m, &p->config, sizeof(p->config)) == 0 ? 0 : EINVAL;
}

/* Each CPU gets a queue and a thread of the kernel's that empties it. */
static int make_queues(struct program *p, const struct program_config *cfg)
{
	struct bpf_program *counter = bpf_object__find_program_by_name(p->object, "cygnet_arrived");
	struct bpf_cpumap_val v = {.qsize = cfg->queue};
	int cpus = map_fd(p, "cpus");

	if (!counter || cpus < 0)
		return EINVAL;
	v.bpf_prog.fd = bpf_program__fd(counter);
	for (uint32_t i = 0; i < cfg->n_cpus; i++)
		if (bpf_map_update_elem(cpus, &cfg->cpus[i], &v, BPF_ANY) != 0)
			return errno;
	return 0;
}

static void *share(int fd, size_t len)
{
	void *at = fd < 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static enum cy_err load(struct program *p, const struct program_config *cfg, char *why, size_t cap)
{
	const struct bpf_program *steer;
	int err = set_sizes(p, cfg);

	if (err)
		return fail(why, cap, "preparing the programs", err);
	err = bpf_object__load(p->object);
	if (err)
		return fail(why, cap, "loading the programs into the kernel", -err);
	steer = bpf_object__find_program_by_name(p->object, "cygnet_steer");
	p->steer = steer ? bpf_program__fd(steer) : -1;
	p->spis = map_fd(p, "spis");
	p->totals = map_fd(p, "totals");
	p->sent = map_fd(p, "sent");
	if (p->steer < 0 || p->spis < 0 || p->totals < 0 || p->sent < 0)
		return fail(why, cap, "loading the programs", EINVAL);
	err = make_queues(p, cfg);
	if (err)
		return fail(why, cap, "making the queues of the CPUs", err);
	p->slots_len = cfg->max_sas * sizeof(*p->slots);
	p->slots = share(map_fd(p, "slots"), p->slots_len);
	p->arrived_len = p->n_possible * sizeof(*p->arrived);
	p->arrived = share(map_fd(p, "arrived"), p->arrived_len);
	return p->slots && p->arrived ? CY_OK : fail(why, cap, "sharing memory with the programs", errno);
}

enum cy_err program_load(const struct program_config *cfg, char *why, size_t cap, struct program **out)
{
	struct program *p = calloc(1, sizeof(*p));
	int possible = libbpf_num_possible_cpus();
	enum cy_err e;

	if (!p || possible <= 0) {
		free(p);
		return fail(why, cap, "counting CPUs", p ? EINVAL : ENOMEM);
	}
	p->n_possible = (uint32_t)possible;
	(void)libbpf_set_print(say_nothing);
	p->object = bpf_object__open_mem(steer_object, steer_object_len, NULL);
	e = p->object ? load(p, cfg, why, cap) : fail(why, cap, "reading the programs", errno);
	if (e) {
		program_free(p);
		return e;
	}
	*out = p;
	return CY_OK;
}

void program_free(struct program *p)
{
	if (!p)
		return;
	if (p->slots)
		(void)munmap(p->slots, p->slots_len);
	if (p->arrived)
		(void)munmap(p->arrived, p->arrived_len);
	bpf_object__close(p->object);
	free(p);
}

/* --- SAs ------------------------------------------------------------------------------------------------------------------- */

struct steer_slot *program_slots(const struct program *p)
{
	return p->slots;
}

int program_set(struct program *p, uint32_t spi, uint32_t slot)
{
	uint32_t key = htonl(spi);

	return bpf_map_update_elem(p->spis, &key, &slot, BPF_ANY) == 0 ? 0 : errno;
}

void program_unset(struct program *p, uint32_t spi)
{
	uint32_t key = htonl(spi);

	(void)bpf_map_delete_elem(p->spis, &key);
}

/* --- interfaces ------------------------------------------------------------------------------------------------------------ */

static int attach(struct program *p, int ifindex, uint32_t flags)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = flags);
	int fd = bpf_link_create(p->steer, ifindex, BPF_XDP, &opts);

	return fd >= 0 ? fd : -errno;
}

int program_attach(struct program *p, int ifindex, enum program_mode mode, bool *out_native)
{
	int fd = -EOPNOTSUPP;

	if (mode != PROGRAM_GENERIC)
		fd = attach(p, ifindex, XDP_FLAGS_DRV_MODE);
	*out_native = fd >= 0;
	/* a driver says no in many ways; that the place is taken, or forbidden, is another thing */
	if (fd < 0 && mode != PROGRAM_NATIVE && fd != -EBUSY && fd != -EEXIST && fd != -EPERM &&
	    fd != -ENODEV)
		fd = attach(p, ifindex, XDP_FLAGS_SKB_MODE);
	return fd == -EEXIST ? -EBUSY : fd;
}

bool program_attached(int link, int ifindex)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);

	return ifindex &&
	    (bpf_obj_get_info_by_fd(link, &info, &len) != 0 || info.xdp.ifindex == (uint32_t)ifindex);
}

/* --- counters -------------------------------------------------------------------------------------------------------------- */

static uint64_t sum(const struct program *p, int fd, uint32_t key)
{
	uint64_t of_cpu[STEER_MAX_CPUS] = {0}, n = 0;

	if (p->n_possible > STEER_MAX_CPUS || bpf_map_lookup_elem(fd, &key, of_cpu) != 0)
		return 0;
	for (uint32_t i = 0; i < p->n_possible; i++)
		n += of_cpu[i];
	return n;
}

void program_totals(const struct program *p, uint64_t out[STEER_TOTALS])
{
	for (uint32_t i = 0; i < STEER_TOTALS; i++)
		out[i] = sum(p, p->totals, i);
}

void program_count(const struct program *p, uint32_t cpu, uint64_t *out_sent, uint64_t *out_arrived)
{
	*out_arrived = cpu < p->n_possible ? __atomic_load_n(&p->arrived[cpu].n, __ATOMIC_RELAXED) : 0;
	*out_sent = sum(p, p->sent, cpu); /* read later, so that it is not the smaller one */
}
