/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests, the hosts they wait for, and the transfers that serve them. Everything belongs to the plugin's thread, but for what struct
 * plugin says; nothing on it waits. A request lives from begin() until it is answered or cancelled.
 */
#ifndef CURL_FETCHER_H
#define CURL_FETCHER_H

#include <pthread.h>
#include <sys/queue.h>

#include <curl/curl.h>
#include <cygnet/plugin.h>

#define BUCKETS    1024
#define HOSTS_IDLE 256 /* that are remembered */
#define HOST_MAX   256 /* characters of a name (RFC 1035, 2.3.4) */

/*
 * libcurl asks for addresses in a thread. Who takes a transfer from it meanwhile waits for the thread, or leaves it behind, and
 * then libcurl 7.88 looks at what the thread may have freed. So a transfer that is given up while it asks is parked: answered, and
 * gone when the thread is. It counts as one of its host, and there are so many at most.
 */
#define PARKED_MAX 256

struct host {
	TAILQ_ENTRY(host) all;
	TAILQ_ENTRY(host) turn;         /* waiting > 0: of those with requests; otherwise idle: of the idle */
	TAILQ_HEAD(, request) requests; /* that wait */
	uint32_t waiting, running, parked;
	bool idle;
	bool ailing; /* it did not answer last time */
	uint32_t ms; /* what a transfer takes, about */
	char name[HOST_MAX];
};
TAILQ_HEAD(hosts, host);

/* What a transfer tells of its host. */
enum host_word { HOST_UNKNOWN, HOST_ANSWERED, HOST_SILENT };

enum request_state { REQUEST_NEW, REQUEST_WAITING, REQUEST_RUNNING, REQUEST_PARKED };

struct request {
	TAILQ_ENTRY(request) next; /* begun; then of its host, of those running, of those parked */
	TAILQ_ENTRY(request) cancels;
	struct request *bucket;
	struct plugin *plugin;
	enum request_state state;
	bool cancelled, in_cancels; /* of the lock */
	uint64_t id, max_bytes;
	char *url, *content_type;
	uint8_t *post;
	size_t n_post;
	void (*answer)(void *to, uint64_t id, const struct cy_fetch_answer *a);
	void *to;
	uint64_t begun_ns;
	uint32_t deadline_ms;
	struct cy_timer *deadline, *connect;
	struct host *host;

	/* the transfer */
	CURL *easy;
	struct curl_slist *headers;
	uint64_t started_ns, connect_due_ns;
	bool asking; /* for an address */
	bool opened; /* there is a socket, and no connection yet */
	bool connected;
	bool too_big;
	uint8_t *body;
	size_t n_body, body_cap, n_header;
	char error[CURL_ERROR_SIZE];
};
TAILQ_HEAD(requests, request);

/* A descriptor of libcurl's. */
struct sock {
	TAILQ_ENTRY(sock) next;
	struct plugin *plugin;
	struct cy_watch *watch;
	int fd;
};

struct counters {
	uint64_t done, failed, late, refused, cancelled, bytes;
	uint32_t running, waiting, parked, slowest_ms;
	char slowest[HOST_MAX];
};

struct plugin {
	const struct cy_host *host;
	void *self;

	pthread_mutex_t lock; /* of what other threads see */
	struct requests begun, cancels;
	struct request *buckets[BUCKETS];
	uint32_t waiting, queue_max; /* requests that are not being transferred */
	struct counters c;
	int wake;

	/* the plugin's thread */
	struct cy_watch *wake_watch;
	CURLM *multi;
	struct cy_timer *curl_timer;
	TAILQ_HEAD(, sock) socks;
	struct hosts hosts, turn, idle;
	struct requests active, parked;
	uint32_t running, n_parked, n_idle;
	uint32_t transfers, host_transfers, host_queue, connect_ms, deadline_ms;
	long redirects;
	char interface[128], proxy[512];
};

/* requests.c: from the daemon to an answer */
void request_begin(void *plugin, const struct cy_fetch_request *request);
void request_cancel(void *plugin, uint64_t id);
void requests_run(struct plugin *p); /* what other threads wanted */
/* Answers and frees it; reason is a format. Whoever did so calls dispatch() later. */
void request_fail(struct request *r, enum cy_fetch_result result, const char *reason, ...)
    __attribute__((format(printf, 3, 4)));
void request_succeed(struct request *r);
void request_connecting(struct request *r); /* again, where it redirects */
void request_connected(struct request *r);
/* Before libcurl looks at the time: what has asked for an address for too long is parked, or libcurl would leave its thread behind. */
void requests_expire(struct plugin *p);
void request_unparked(struct request *r);
void requests_fini(struct plugin *p); /* answers nothing */
/* Starts what there is room for. */
void dispatch(struct plugin *p);

/* hosts.c: whose turn it is */
struct host *host_get(struct plugin *p, const char *name); /* NULL: out of memory */
void host_queue_push(struct plugin *p, struct host *h, struct request *r);
void host_queue_remove(struct plugin *p, struct request *r);
/* The next one to start, taken from its queue; NULL: no host may have another. */
struct request *host_next(struct plugin *p);
void host_ended(struct plugin *p, struct host *h, uint32_t ms, enum host_word word);
void host_parked(struct plugin *p, struct host *h);
void host_unparked(struct plugin *p, struct host *h);
void host_release(struct plugin *p, struct host *h); /* idle, if nothing is for it */
void hosts_publish(struct plugin *p);                /* to the counters */
void hosts_fini(struct plugin *p);

/* transfer.c: libcurl */
bool transfers_init(struct plugin *p);
void transfers_fini(struct plugin *p);
bool transfer_start(struct request *r); /* false: libcurl cannot */
/* True: it is parked, and request_unparked() tells of its end; false: it is gone. It may not have been done. */
bool transfer_end(struct request *r, enum host_word word);
/* The host a URL names; false: it is no URL to fetch, and *out_why says why. */
bool transfer_host(const char *url, char out[HOST_MAX], const char **out_why);

#endif
