/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into User-Mode Linux, so that it runs on processors whose register state is larger than it knows.
 *
 * Linux 6.1's UML keeps 2696 bytes of extended state for a task (x87, SSE, AVX, AVX-512, PKRU). On a host with
 * AMX the kernel has more, still hands out a part, but takes back only the whole: PTRACE_SETREGSET fails with
 * EFAULT and the guest's first process dies. Here the part is put into the whole that the tracee has.
 * One thread; the buffer is static because UML calls this on its small kernel stacks.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { XSTATE_BV = 512 }; /* offset of the mask of the components in use */

static long raw(int request, pid_t pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, (long)request, (long)pid, addr, data);
}

static long set_xstate(pid_t pid, void *type, struct iovec *part)
{
	static _Alignas(64) unsigned char buf[65536];
	struct iovec whole = {buf, sizeof(buf)};
	uint64_t used;

	if (raw(PTRACE_GETREGSET, pid, type, &whole) != 0)
		return -1;
	if (part->iov_len >= whole.iov_len)
		return raw(PTRACE_SETREGSET, pid, type, part);
	memcpy(buf, part->iov_base, part->iov_len);
	/* What the part does not hold is as after a reset: bits 0-7 and 9 are what it holds. */
	memcpy(&used, buf + XSTATE_BV, sizeof(used));
	used &= 0x2ff;
	memcpy(buf + XSTATE_BV, &used, sizeof(used));
	return raw(PTRACE_SETREGSET, pid, type, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	va_list ap;
	pid_t pid;
	void *addr, *data;
	long peeked, ret;

	va_start(ap, request);
	pid = va_arg(ap, pid_t);
	addr = va_arg(ap, void *);
	data = va_arg(ap, void *);
	va_end(ap);
	if (request == PTRACE_SETREGSET && (uintptr_t)addr == NT_X86_XSTATE)
		return set_xstate(pid, addr, data);
	if (request != PTRACE_PEEKTEXT && request != PTRACE_PEEKDATA && request != PTRACE_PEEKUSER)
		return raw(request, pid, addr, data);
	/* These three return their result through data, where libc's callers have it as the value. */
	ret = raw(request, pid, addr, &peeked);
	if (ret < 0)
		return ret;
	errno = 0;
	return peeked;
}
