/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that the sanitizers know, for testing/sanitize/run: as a plugin (FAULTY_PLUGIN), which makes one when it is loaded, or as a
 * module of PAM (FAULTY_PAM), which makes one when it is asked. FAULT chooses which.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>

enum { NOTHING, USE_AFTER_FREE, OVERFLOW, LEAK, RACE };

static volatile int *sink;
static int shared;

static void *count(void *unused)
{
	(void)unused;
	for (int i = 0; i < 1000; i++)
		shared++;
	return NULL;
}

static void race(void)
{
	pthread_t other;

	if (pthread_create(&other, NULL, count, NULL))
		abort();
	(void)count(NULL);
	(void)pthread_join(other, NULL);
}

static void make_fault(void)
{
	volatile int big = 0x7fffffff;

	switch (FAULT) {
	case USE_AFTER_FREE:
		sink = malloc(sizeof(*sink));
		free((void *)sink);
		*sink = 1;
		break;
	case OVERFLOW:
		big = big + 1;
		break;
	case LEAK:
		for (int i = 0; i < 100; i++)
			sink = malloc(1000);
		sink = NULL;
		break;
	case RACE:
		race();
		break;
	default:
		break;
	}
}

#ifdef FAULTY_PLUGIN
#	include <cygnet/plugin.h>

static const struct cy_feature features[] = {{CY_FEATURE_END, NULL}};

static enum cy_err init(const struct cy_host *host, void *self, void **out_plugin)
{
	(void)host;
	*out_plugin = self;
	make_fault();
	return CY_OK;
}

static void fini(void *plugin)
{
	(void)plugin;
}

CYGNET_PLUGIN_EXPORT const struct cy_plugin cygnet_plugin = {.size = sizeof(struct cy_plugin),
    .abi_major = CYGNET_ABI_MAJOR,
    .abi_minor = CYGNET_ABI_MINOR,
    .name = "faulty",
    .version = "1",
    .features = features,
    .init = init,
    .fini = fini};
#endif

#ifdef FAULTY_PAM
#	include <security/pam_modules.h>

#	define EXPORT __attribute__((visibility("default")))

EXPORT int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv);
EXPORT int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv);

int pam_sm_authenticate(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)h;
	(void)flags;
	(void)argc;
	(void)argv;
	make_fault();
	return PAM_SUCCESS;
}

int pam_sm_setcred(pam_handle_t *h, int flags, int argc, const char **argv)
{
	(void)h;
	(void)flags;
	(void)argc;
	(void)argv;
	return PAM_SUCCESS;
}
#endif
