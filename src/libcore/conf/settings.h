/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemon settings: /etc/cygnet/cygnet.conf. One schema (settings.def, and each plugin's NAME.opt) gives defaults,
 * validation and the man page. Format: `key = value` in nested sections `name { ... }`, '#' comments, `include glob`.
 * Immutable after load; counted; any thread.
 */
#ifndef LIBCORE_CONF_SETTINGS_H
#define LIBCORE_CONF_SETTINGS_H

#include "libcore/conf/conf.h"

struct settings;

/*
 * A setting that is wrong is reported and its default used; the load succeeds (settings_errors() counts them). It fails
 * when the file cannot be read. A later line overrides an earlier one.
 */
enum cy_err settings_load(const char *path /* NULL: only defaults */, conf_problem_fn cb, void *user,
    struct settings **out) CY_MUST_USE;
enum cy_err settings_load_text(
    const char *text, const char *name, conf_problem_fn cb, void *user, struct settings **out) CY_MUST_USE;
struct settings *settings_ref(struct settings *s);
void settings_unref(struct settings *s);
uint32_t settings_errors(const struct settings *s);
/* key: "retransmit_tries", "plugins.kernel-tun.name". Keys in the schema always have a value. */
const char *settings_str(const struct settings *s, const char *key);
int64_t settings_int(const struct settings *s, const char *key);
bool settings_bool(const struct settings *s, const char *key);
uint64_t settings_ms(const struct settings *s, const char *key);    /* "4s", "500ms", "1h", plain = seconds */
uint64_t settings_bytes(const struct settings *s, const char *key); /* "8M", "64k" */
uint64_t settings_milli(const struct settings *s, const char *key); /* decimal: "1.8" is 1800 */
/* log.GROUP, or log.default where it says nothing. group: "ike", "IKE" (log_group_names). */
enum cy_level settings_log_level(const struct settings *s, const char *group);
/* What the files set below a prefix ("plugins.updown."), one a call, sorted; *at starts at 0. */
bool settings_find(
    const struct settings *s, size_t *at, const char *prefix, const char **out_key, const char **out_value);
/* One schema entry; settings_schema() ends with key NULL. As struct cy_option of the plugin ABI: fallback, min and max may
   be NULL there. */
struct setting_def {
	const char *key, *type /* int|bool|string|time|size|decimal|enum(a,b) */, *fallback, *min, *max,
	    *help;
};
const struct setting_def *settings_schema(void);
/* A plugin's own options, from its NAME.opt, are validated when it is loaded. */
enum cy_err settings_check_plugin(const struct settings *s, const char *plugin,
    const struct setting_def *defs, conf_problem_fn cb, void *user);

#endif
