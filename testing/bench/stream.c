/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream of data between two hosts, for testing/bench/esp:
 *
 *	stream recv tcp|udp PORT                        says "ready", and at the end how many bytes came
 *	stream send tcp|udp ADDRESS PORT SECONDS SIZE   SIZE bytes a write, or a datagram; says how many were sent
 *
 * A UDP receiver stops when nothing came for half a second; a TCP receiver at the end of the stream.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define BATCH 32
#define ROOM  (1 << 18)

static uint8_t room[ROOM];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

/* As many as wait, without their contents being looked at; -1: none came in time. */
static ssize_t take(int fd, int tcp)
{
	struct mmsghdr msg[BATCH] = {0};
	struct iovec iov[BATCH];
	ssize_t sum = 0;
	int n;

	if (tcp)
		return recv(fd, room, sizeof(room), 0);
	for (int i = 0; i < BATCH; i++) {
		iov[i] = (struct iovec){room + (size_t)i * 2048, 2048};
		msg[i].msg_hdr.msg_iov = &iov[i];
		msg[i].msg_hdr.msg_iovlen = 1;
	}
	n = recvmmsg(fd, msg, BATCH, MSG_WAITFORONE, NULL);
	for (int i = 0; i < n; i++)
		sum += msg[i].msg_len;
	return n > 0 ? sum : -1;
}

static int receive(int tcp, uint16_t port)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct timeval quiet = {.tv_usec = 500000};
	int fd = socket(AF_INET6, tcp ? SOCK_STREAM : SOCK_DGRAM, 0), one = 1, big = 8 << 20;
	uint64_t bytes = 0;
	double first = 0, last = 0;
	ssize_t n;

	if (fd < 0)
		return fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, tcp ? 0 : sizeof(big));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 || (tcp && listen(fd, 1) < 0))
		return fail("bind");
	printf("ready\n");
	fflush(stdout);
	if (tcp) {
		fd = accept(fd, NULL, NULL);
		if (fd < 0)
			return fail("accept");
	}
	while ((n = take(fd, tcp)) > 0) {
		last = now();
		if (!first) {
			first = last;
			if (!tcp)
				setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof(quiet));
		}
		bytes += (uint64_t)n;
	}
	printf("{\"bytes\": %llu, \"seconds\": %.6f}\n", (unsigned long long)bytes, last - first);
	return 0;
}

static int send_all(int tcp, const char *host, uint16_t port, double seconds, size_t size)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int v6 = inet_pton(AF_INET6, host, &a6.sin6_addr) == 1;
	int fd = socket(v6 ? AF_INET6 : AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	uint64_t bytes = 0;
	double end;

	if (fd < 0 || size > (tcp ? ROOM : 2048) || (!v6 && inet_pton(AF_INET, host, &a4.sin_addr) != 1))
		return fail("socket");
	if (connect(fd, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4, v6 ? sizeof(a6) : sizeof(a4)) <
	    0)
		return fail("connect");
	end = now() + seconds;
	while (now() < end) {
		struct mmsghdr msg[BATCH] = {0};
		struct iovec iov = {room, size};
		int n;

		if (tcp) {
			ssize_t sent = send(fd, room, size, MSG_NOSIGNAL);

			if (sent < 0)
				return fail("send");
			bytes += (uint64_t)sent;
			continue;
		}
		for (int i = 0; i < BATCH; i++) {
			msg[i].msg_hdr.msg_iov = &iov;
			msg[i].msg_hdr.msg_iovlen = 1;
		}
		n = sendmmsg(fd, msg, BATCH, 0);
		/* a full queue on the way is an error of the moment */
		bytes += n > 0 ? (uint64_t)n * size : 0;
	}
	printf("{\"bytes\": %llu}\n", (unsigned long long)bytes);
	return close(fd) < 0;
}

int main(int argc, char **argv)
{
	int tcp = argc > 2 && strcmp(argv[2], "tcp") == 0;

	if (argc == 4 && strcmp(argv[1], "recv") == 0)
		return receive(tcp, (uint16_t)atoi(argv[3]));
	if (argc == 7 && strcmp(argv[1], "send") == 0)
		return send_all(tcp, argv[3], (uint16_t)atoi(argv[4]), atof(argv[5]), (size_t)atoi(argv[6]));
	fprintf(stderr, "usage: stream recv|send tcp|udp [ADDRESS] PORT [SECONDS SIZE]\n");
	return 2;
}
