/* SPDX-License-Identifier: Apache-2.0 */
/* The plugin as it was built, in the loader: it lets in whoever has a name and a password. */
#include "libcore/base/err.h"
#include "libcore/plugin/loader.h"

#include "unit.h"

static struct {
	uint64_t id;
	uint32_t n, result;
} got;

static void on_answer(void *to, uint64_t id, const struct cy_xauth_answer *a)
{
	ck_assert_ptr_eq(to, &got);
	got.id = id;
	got.n++;
	got.result = a->result;
}

START_TEST(everybody)
{
	struct env env;
	struct log *logger;
	struct crypto *crypto;
	struct bus *bus;
	struct settings *settings;
	struct plugins *plugins;
	const struct cy_xauth_ops *ops;
	void *plugin;

	env_real(&env);
	ck_assert_int_eq(log_new(&env, &logger), CY_OK);
	ck_assert_int_eq(log_start(logger), CY_OK);
	ck_assert_int_eq(crypto_new(logger, &crypto), CY_OK);
	ck_assert_int_eq(bus_new(&env, &bus), CY_OK);
	ck_assert_int_eq(settings_load_text("", "t", NULL, NULL, &settings), CY_OK);
	const struct plugins_config cfg = {.env = &env,
	    .log = logger,
	    .settings = settings,
	    .crypto = crypto,
	    .bus = bus,
	    .dir = BUILD_DIR "/.libs",
	    .load = "xauth-none!"};
	ck_assert_int_eq(plugins_load(&cfg, &plugins), CY_OK);
	ops = plugins_find(plugins, CY_KIND_XAUTH, "none", &plugin);
	ck_assert_ptr_nonnull(ops);
	for (uint64_t id = 1; id < 4; id++) {
		struct cy_xauth_login l = {.size = sizeof(l),
		    .id = id,
		    .user = id == 1 ? "alice" : "bob",
		    .password = cy_slice_str(id == 2 ? "" : "anything"),
		    .conn = "office",
		    .remote_id = "staff",
		    .answer = on_answer,
		    .to = &got};

		ops->begin(plugin, &l);
		ck_assert_uint_eq(got.n, id);
		ck_assert_uint_eq(got.id, id);
		ck_assert_uint_eq(got.result, CY_XAUTH_OK);
	}
	plugins_free(plugins);
	settings_unref(settings);
	bus_free(bus);
	crypto_free(crypto);
	log_free(logger);
}
END_TEST

UNIT_TESTS(xauth_none)
{
	tcase_add_test(tc, everybody);
}
