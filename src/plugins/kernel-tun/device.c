/* SPDX-License-Identifier: Apache-2.0 */

#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
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
	k->ifindex = if_nametoindex(k->ifname);
	return CY_OK;
}
