/* SPDX-License-Identifier: Apache-2.0 */

#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#	define TUN_F_USO4 0x20
#	define TUN_F_USO6 0x40
#endif

static int open_queue(const char *name, bool multi, char out_name[IFNAMSIZ])
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	struct ifreq req = {0};
	int e;

	if (fd < 0)
		return -1;
	req.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
	if (multi)
		req.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &req) < 0) {
		e = errno;
		close(fd);
		errno = e;
		return -1;
	}
	memcpy(out_name, req.ifr_name, IFNAMSIZ);
	return fd;
}

/* UDP since Linux 6.2. What a queue is told holds for the device. */
static void set_offload(struct kernel *k, int fd)
{
	unsigned long tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

	k->udp_offload = k->cfg.offload && ioctl(fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
	k->tcp_offload = k->udp_offload || (k->cfg.offload && ioctl(fd, TUNSETOFFLOAD, tcp) == 0);
	if (k->cfg.offload && !k->tcp_offload)
		LOG(k, CY_LOG_NOTICE, "the TUN device has no segmentation offload: %s", strerror(errno));
}

/*
 * The queue of a packet is the CPU that it is sent from, modulo their number: the program says so. Without it the
 * device spreads packets by flow.
 */
static bool set_steering(int fd)
{
	static const char licence[] = "Apache-2.0";
	struct bpf_insn code[] = {
	    {.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_smp_processor_id},
	    {.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
	    .insns = (uintptr_t)code,
	    .insn_cnt = sizeof(code) / sizeof(code[0]),
	    .license = (uintptr_t)licence};
	int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr)), e;
	bool ok;

	if (prog < 0)
		return false;
	ok = ioctl(fd, TUNSETSTEERINGEBPF, &prog) == 0;
	e = errno;
	close(prog);
	errno = e;
	return ok;
}

bool device_attach(struct kernel *k, int fd, bool on)
{
	struct ifreq req = {.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE};

	if (ioctl(fd, TUNSETQUEUE, &req) == 0)
		return true;
	LOG(k, CY_LOG_WARN, "cannot %s a queue of %s: %s", on ? "attach" : "detach", k->ifname,
	    strerror(errno));
	return false;
}

enum cy_err device_open(struct kernel *k, size_t n, int *out_fds)
{
	for (size_t i = 0; i < n; i++) {
		/* the first queue settles the name */
		out_fds[i] = open_queue(i ? k->ifname : k->cfg.name, n > 1, k->ifname);
		if (out_fds[i] < 0) {
			int e = errno;

			LOG(k, CY_LOG_ERROR, "cannot make the TUN device %s: %s", i ? k->ifname : k->cfg.name,
			    strerror(e));
			while (i > 0)
				close(out_fds[--i]);
			return e == EPERM || e == EACCES               ? CY_E_DENIED
			    : e == ENOENT || e == ENODEV || e == ENXIO ? CY_E_UNSUPPORTED
			    : e == EBUSY || e == EEXIST                ? CY_E_EXISTS
			                                               : CY_E_IO;
		}
	}
	set_offload(k, out_fds[0]);
	if (sched_getaffinity(0, sizeof(k->cpus), &k->cpus) < 0)
		CPU_ZERO(&k->cpus);
	k->steered = n > 1 && k->cfg.steer && set_steering(out_fds[0]);
	if (n > 1 && k->cfg.steer && !k->steered)
		LOG(k, CY_LOG_WARN, "%s spreads packets by flow, not by CPU: no program can be loaded: %s",
		    k->ifname, strerror(errno));
	k->ifindex = if_nametoindex(k->ifname);
	return CY_OK;
}
