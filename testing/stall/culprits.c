/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins that do not behave, for testing/stall/run; one object for each, chosen when it is compiled:
 * CULPRIT_LISTENER blocks for ever on every event, CULPRIT_AUTHORIZE never answers, CULPRIT_KERNEL is a data plane without
 * data whose every call takes its time, CULPRIT_WORKER a back end of XAUTH that does what none may: it holds the worker that asks it,
 * until the file $STALL_RELEASE is there.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cygnet/plugin.h>

#define CALL_MS       4
#define FIRST_CALL_MS 3000 /* as if the machine were out of memory for a while */

static void nap(unsigned ms)
{
	(void)nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

#ifdef CULPRIT_LISTENER
#	define NAME "stall-listener"
static const struct cy_feature features[] = {{CY_FEATURE_END, NULL}};

static void on_event(void *user, const struct cy_event *ev)
{
	(void)user;
	(void)ev;
	for (;;)
		pause();
}

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	*out_plugin = self;
	return host->subscribe(self, ~UINT64_C(0), on_event, NULL);
}
#endif

#ifdef CULPRIT_AUTHORIZE
#	define NAME "stall-authorize"
static const struct cy_feature features[] = {{CY_PROVIDES, "authorize"}, {CY_FEATURE_END, NULL}};

static void ask(void *plugin, uint64_t id, const struct cy_authorize_question *q)
{
	(void)plugin;
	(void)id;
	(void)q;
}

static const struct cy_authorize_ops ops = {.size = sizeof(ops), .name = NAME, .ask = ask};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	*out_plugin = self;
	return host->provide(self, CY_KIND_AUTHORIZE, &ops, self);
}
#endif

#ifdef CULPRIT_KERNEL
#	define NAME "stall-kernel"
static const struct cy_feature features[] = {{CY_PROVIDES, "kernel"}, {CY_FEATURE_END, NULL}};
static int n_calls; /* the kernel thread's */

static enum cy_err slow(void)
{
	nap(n_calls++ == 0 ? FIRST_CALL_MS : CALL_MS);
	return CY_OK;
}

static enum cy_err k_open(
    void *plugin, const struct cy_kernel_events *ev, uint32_t *features_of, void **out_k)
{
	(void)ev;
	*features_of = CY_KERNEL_ESP_UDP | CY_KERNEL_UDP_ONLY | CY_KERNEL_POLICY | CY_KERNEL_IPV6;
	*out_k = plugin;
	return CY_OK;
}

static void k_close(void *k)
{
	(void)k;
}

static enum cy_err k_sa_add(void *k, const struct cy_kernel_sa *sa)
{
	(void)k;
	(void)sa;
	return slow();
}

static enum cy_err k_sa_move(void *k, const struct cy_kernel_sa_id *id, const struct cy_addr *new_src,
    const struct cy_addr *new_dst, bool encap)
{
	(void)k;
	(void)id;
	(void)new_src;
	(void)new_dst;
	(void)encap;
	return slow();
}

static enum cy_err k_sa_del(void *k, const struct cy_kernel_sa_id *id)
{
	(void)k;
	(void)id;
	return CY_OK;
}

static enum cy_err k_sa_query(void *k, const struct cy_kernel_sa_id *id, struct cy_kernel_sa_stats *out)
{
	(void)k;
	(void)id;
	memset(out, 0, sizeof(*out));
	return CY_OK;
}

static enum cy_err k_policy_add(void *k, const struct cy_kernel_policy *p)
{
	(void)k;
	(void)p;
	return slow();
}

static enum cy_err k_policy_del(void *k, const struct cy_kernel_policy *p)
{
	(void)k;
	(void)p;
	return CY_OK;
}

static enum cy_err k_addr_set(void *k, const struct cy_addr *addr, uint8_t prefix, bool on)
{
	(void)k;
	(void)addr;
	(void)prefix;
	(void)on;
	return slow();
}

static enum cy_err k_source_for(void *k, const struct cy_addr *dst, struct cy_addr *out_src)
{
	(void)k;
	(void)dst;
	(void)out_src;
	return CY_E_UNSUPPORTED;
}

static bool k_is_local(void *k, const struct cy_addr *addr)
{
	(void)k;
	(void)addr;
	return false;
}

static enum cy_err k_flush(void *k)
{
	(void)k;
	return CY_OK;
}

static const struct cy_kernel_ops ops = {.size = sizeof(ops),
    .name = NAME,
    .open = k_open,
    .close = k_close,
    .sa_add = k_sa_add,
    .sa_move = k_sa_move,
    .sa_del = k_sa_del,
    .sa_query = k_sa_query,
    .policy_add = k_policy_add,
    .policy_del = k_policy_del,
    .addr_set = k_addr_set,
    .source_for = k_source_for,
    .is_local = k_is_local,
    .flush = k_flush};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	*out_plugin = self;
	return host->provide(self, CY_KIND_KERNEL, &ops, self);
}
#endif

#ifdef CULPRIT_WORKER
#	define NAME "stall-worker"
static const struct cy_feature features[] = {{CY_PROVIDES, "xauth:none"}, {CY_FEATURE_END, NULL}};

static void begin(void *plugin, const struct cy_xauth_login *l)
{
	const char *release = getenv("STALL_RELEASE");

	(void)plugin;
	(void)l;
	for (int i = 0; i < 6000 && release && access(release, F_OK) != 0; i++)
		nap(10);
}

static void reply(void *plugin, uint64_t id, struct cy_slice answer)
{
	(void)plugin;
	(void)id;
	(void)answer;
}

static const struct cy_xauth_ops ops = {.size = sizeof(ops), .name = "none", .begin = begin, .reply = reply};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	*out_plugin = self;
	return host->provide(self, CY_KIND_XAUTH, &ops, self);
}
#endif

static void fini(void *plugin)
{
	(void)plugin;
	nap(0);
}

CYGNET_PLUGIN_EXPORT const struct cy_plugin cygnet_plugin = {.size = sizeof(struct cy_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = NAME,
    .version = "1",
    .features = features,
    .init = init,
    .fini = fini};
