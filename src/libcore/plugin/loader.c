/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/base/text.h"
#include "libcore/base/thread.h"
#include "libcore/plugin/private.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "cygnet-"
#define SUFFIX ".so"

/* --- one plugin --- */

void plugin_fail(struct plugin *p, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	free(p->reason);
	p->reason = text;
	p->state = PLUGIN_FAILED;
}

struct plugin *plugin_ref(struct plugin *p)
{
	atomic_fetch_add(&p->refs, 1);
	return p;
}

/* Its plugins point to it, also one whose thread was left behind. */
static void plugins_unref(struct plugins *all)
{
	if (atomic_fetch_sub(&all->refs, 1) != 1)
		return;
	pthread_rwlock_destroy(&all->settings_lock);
	pthread_rwlock_destroy(&all->udp_lock);
	free(all);
}

static void free_nodes(struct list *l)
{
	struct list *at;

	/* node is the first member of each of them */
	while ((at = list_pop(l)))
		free(at);
}

void plugin_unref(struct plugin *p)
{
	if (!p || atomic_fetch_sub(&p->refs, 1) != 1)
		return;
	free_nodes(&p->texts);
	free_nodes(&p->timers);
	free_nodes(&p->spent);
	free_nodes(&p->watches);
	free_nodes(&p->listeners);
	if (p->epoll >= 0)
		close(p->epoll);
	if (p->wake >= 0)
		close(p->wake);
	pthread_cond_destroy(&p->changed);
	pthread_mutex_destroy(&p->lock);
	if (p->dl)
		dlclose(p->dl);
	free(p->provides);
	free(p->path);
	free(p->reason);
	plugins_unref(p->all);
	free(p);
}

static struct plugin *plugin_new(struct plugins *all, const char *name)
{
	struct plugin *p = calloc(1, sizeof(*p));

	if (!p || !thread_cond_init(&p->changed)) {
		free(p);
		return NULL;
	}
	p->all = all;
	atomic_fetch_add(&all->refs, 1);
	atomic_init(&p->refs, 1);
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->group = LOG_LIB;
	p->epoll = p->wake = -1;
	list_init(&p->texts);
	list_init(&p->listeners);
	list_init(&p->timers);
	list_init(&p->spent);
	list_init(&p->watches);
	list_init(&p->calls);
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

/* --- finding files --- */

/* DIR/cygnet-NAME.so, or as libtool leaves it in a build tree, DIR/.libs/ and DIR/FOLDER/.libs/. */
static bool file_in(const char *dir, const char *name, char **out_path)
{
	char *path;

	if (asprintf(&path, "%s/" PREFIX "%s" SUFFIX, dir, name) < 0)
		return false;
	if (access(path, F_OK) == 0) {
		*out_path = path;
		return true;
	}
	free(path);
	return false;
}

typedef bool (*dir_fn)(void *user, const char *dir);

/* Calls back for each folder that may hold plugins, until one returns true. */
static bool each_dir(const char *list, dir_fn fn, void *user)
{
	bool found = false;

	while (list && *list && !found) {
		size_t n = strcspn(list, ":");
		char *dir = NULL, *sub = NULL;
		struct dirent *e;
		DIR *d;

		if (n && asprintf(&dir, "%.*s", (int)n, list) > 0) {
			found = fn(user, dir);
			if (!found && asprintf(&sub, "%s/.libs", dir) > 0) {
				found = fn(user, sub);
				free(sub);
			}
			d = found ? NULL : opendir(dir);
			while (d && !found && (e = readdir(d))) {
				struct stat st;
				if (e->d_name[0] == '.' || asprintf(&sub, "%s/%s/.libs", dir, e->d_name) < 0)
					continue;
				found = stat(sub, &st) == 0 && S_ISDIR(st.st_mode) && fn(user, sub);
				free(sub);
			}
			if (d)
				closedir(d);
			free(dir);
		}
		list += n;
		list += *list == ':';
	}
	return found;
}

struct find {
	const char *name;
	char *path;
};

static bool find_in(void *user, const char *dir)
{
	struct find *f = user;

	return file_in(dir, f->name, &f->path);
}

struct names {
	char **s;
	size_t n;
};

static void name_add(struct names *names, const char *s, size_t n)
{
	char **grown, *copy;

	if (n == 0 || n >= PLUGIN_NAME_MAX)
		return;
	for (size_t i = 0; i < names->n; i++)
		if (strlen(names->s[i]) == n && memcmp(names->s[i], s, n) == 0)
			return;
	grown = realloc(names->s, (names->n + 1) * sizeof(*grown));
	copy = text_dup(s, n);
	if (grown)
		names->s = grown;
	if (!grown || !copy)
		free(copy);
	else
		names->s[names->n++] = copy;
}

static bool names_in(void *user, const char *dir)
{
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d))) {
		size_t n = strlen(e->d_name), pre = strlen(PREFIX), post = strlen(SUFFIX);
		if (n > pre + post && memcmp(e->d_name, PREFIX, pre) == 0 &&
		    strcmp(e->d_name + n - post, SUFFIX) == 0)
			name_add(user, e->d_name + pre, n - pre - post);
	}
	if (d)
		closedir(d);
	return false;
}

static int cmp_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* --- loading --- */

static bool check_features(struct plugin *p)
{
	const struct cy_feature *f = p->def->features;
	size_t n = 0, at = 0;

	for (; f && f->rel != CY_FEATURE_END; f++) {
		if (f->rel > CY_SOFT_NEEDS || !f->what) {
			plugin_fail(p, "has a malformed list of features");
			return false;
		}
		n += f->rel == CY_PROVIDES;
	}
	p->provides = calloc(n + 1, sizeof(*p->provides));
	if (!p->provides) {
		plugin_fail(p, "out of memory");
		return false;
	}
	for (f = p->def->features; f && f->rel != CY_FEATURE_END; f++) {
		if (f->rel != CY_PROVIDES)
			continue;
		p->provides[at++] = f->what;
		if (strncmp(f->what, "kernel", 6) == 0)
			p->group = LOG_KNL;
		else if (strncmp(f->what, "socket", 6) == 0)
			p->group = LOG_NET;
	}
	return true;
}

static bool check_def(struct plugin *p)
{
	const struct cy_plugin *d = p->def;

	if (d->abi_major != CYGNET_ABI_MAJOR || d->abi_minor > CYGNET_ABI_MINOR) {
		plugin_fail(p, "was built for plugin ABI %u.%u, this daemon has %u.%u", d->abi_major,
		    d->abi_minor, CYGNET_ABI_MAJOR, CYGNET_ABI_MINOR);
		return false;
	}
	if (!CY_HAS(d, reload) || !d->name || !d->version || !d->init) {
		plugin_fail(p, "has a plugin description that is too short or incomplete");
		return false;
	}
	if (strcmp(d->name, p->name) != 0) {
		plugin_fail(p, "calls itself \"%s\", which is not the name of its file", d->name);
		return false;
	}
	return check_features(p);
}

static void open_plugin(struct plugin *p)
{
	struct find f = {.name = p->name};
	struct stat st;

	if (!each_dir(p->all->cfg.dir, find_in, &f)) {
		plugin_fail(p, "there is no " PREFIX "%s" SUFFIX " in %s", p->name,
		    p->all->cfg.dir ? p->all->cfg.dir : "any folder");
		return;
	}
	p->path = f.path;
	if (stat(p->path, &st) < 0) {
		plugin_fail(p, "%s: %s", p->path, strerror(errno));
		return;
	}
	if (st.st_mode & S_IWOTH) {
		plugin_fail(p, "%s can be written by everybody, so it is not run", p->path);
		return;
	}
	/* RTLD_NODELETE: a thread we had to abandon, or one of a library's own, may still be in its code */
	p->dl = dlopen(p->path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!p->dl) {
		plugin_fail(p, "%s", dlerror());
		return;
	}
	p->def = dlsym(p->dl, CYGNET_PLUGIN_SYMBOL);
	if (!p->def)
		plugin_fail(p, "%s exports no " CYGNET_PLUGIN_SYMBOL, p->path);
	else
		check_def(p);
}

/* An option of another plugin's or a misspelt one is reported, and the plugin loads with what is right. */
static void option_problem(void *user, const struct conf_problem *c)
{
	struct plugin *p = user;

	LOGF(p->all->cfg.log, LOG_CFG, c->level, NULL, "%s:%u: plugin %s: %s%s%s", c->file ? c->file : "",
	    c->line, p->name, c->text, c->hint && *c->hint ? "; " : "", c->hint ? c->hint : "");
}

static void check_options(struct plugin *p)
{
	_Static_assert(sizeof(struct cy_option) == sizeof(struct setting_def) &&
	        offsetof(struct cy_option, fallback) == offsetof(struct setting_def, fallback) &&
	        offsetof(struct cy_option, help) == offsetof(struct setting_def, help),
	    "an option of a plugin is a setting");
	if (p->all->settings && CY_HAS(p->def, options) && p->def->options)
		settings_check_plugin(p->all->settings, p->name, (const struct setting_def *)p->def->options,
		    option_problem, p);
}

static void remove_provided(struct plugins *all, const char *owner)
{
	size_t n = 0, old = atomic_load(&all->n_provided);

	for (size_t i = 0; i < old; i++)
		if (all->provided[i].owner != owner)
			all->provided[n++] = all->provided[i];
	atomic_store(&all->n_provided, n);
}

/* Take back what a plugin has with the daemon, after its thread ended or was given up. */
static void disconnect(struct plugin *p)
{
	struct list *at;

	list_foreach (at, &p->listeners) {
		struct plugin_listener *l = list_entry(at, struct plugin_listener, node);
		if (l->bus)
			bus_unsubscribe(p->all->cfg.bus, l->bus);
		l->bus = NULL;
	}
}

static bool init_plugin(struct plugin *p)
{
	enum cy_err e;

	LOGF(p->all->cfg.log, LOG_LIB, CY_LOG_DEBUG, NULL, "loading plugin %s from %s", p->name, p->path);
	check_options(p);
	e = p->def->init(&plugin_host, p, &p->instance);
	if (e) {
		plugin_fail(p, "did not start: %s", err_text(e));
		plugin_thread_stop(p);
		plugin_thread_join(p);
		disconnect(p);
		plugin_sink_close(p);
		remove_provided(p->all, p->name);
		return false;
	}
	p->order = p->all->n_loaded++;
	plugin_go_live(p);
	return true;
}

static enum cy_err load_names(const struct plugins_config *cfg, struct names *names, bool *required)
{
	if (!cfg->load) {
		each_dir(cfg->dir, names_in, names);
		if (names->n)
			qsort(names->s, names->n, sizeof(*names->s), cmp_names);
		return CY_OK;
	}
	for (const char *s = cfg->load + strspn(cfg->load, " \t,"); *s; s += strspn(s, " \t,")) {
		size_t n = strcspn(s, " \t,"), before = names->n;
		bool must = s[n - 1] == '!';
		name_add(names, s, n - must);
		if (names->n > before && names->n <= 64)
			required[names->n - 1] = must;
		s += n;
	}
	return CY_OK;
}

static bool report(struct plugins *all)
{
	char text[1024] = "";
	size_t len = 0;
	bool ok = true;

	for (size_t i = 0; i < all->n; i++) {
		struct plugin *p = all->p[i];
		if (p->state == PLUGIN_LOADED) {
			if (len < sizeof(text))
				len += (size_t)snprintf(text + len, sizeof(text) - len, " %s", p->name);
			continue;
		}
		ok = ok && !p->required;
		LOGF(all->cfg.log, LOG_LIB, p->required ? CY_LOG_ERROR : CY_LOG_WARN, NULL,
		    "plugin %s not loaded: %s", p->name, p->reason ? p->reason : "out of memory");
	}
	LOGF(all->cfg.log, LOG_LIB, CY_LOG_INFO, NULL, "loaded plugins:%s", len ? text : " none");
	return ok;
}

/* In the order they were initialised, so that they end the other way round. */
static void sort_loaded(struct plugins *all)
{
	for (size_t i = 1; i < all->n; i++) {
		struct plugin *p = all->p[i];
		size_t at = i;
		for (; at > 0 && all->p[at - 1]->order > p->order; at--)
			all->p[at] = all->p[at - 1];
		all->p[at] = p;
	}
}

enum cy_err plugins_load(const struct plugins_config *cfg, struct plugins **out)
{
	struct plugins *all = calloc(1, sizeof(*all));
	pthread_rwlockattr_t attr;
	struct names names = {0};
	bool required[64] = {false};
	enum cy_err e = CY_OK;

	if (!all)
		return CY_E_NOMEM;
	atomic_init(&all->refs, 1);
	all->cfg = *cfg;
	all->settings = cfg->settings ? settings_ref(cfg->settings) : NULL;
	pthread_rwlock_init(&all->settings_lock, NULL);
	pthread_rwlockattr_init(&attr);
	/* ESP threads that send without a pause must not keep a writer out */
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&all->udp_lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	load_names(cfg, &names, required);
	all->p = calloc(names.n + 1, sizeof(*all->p));
	for (size_t i = 0; all->p && i < names.n; i++) {
		struct plugin *p = plugin_new(all, names.s[i]);
		if (!p) {
			e = CY_E_NOMEM;
			break;
		}
		p->order = UINT32_MAX;
		p->required = i < ARRAY_LEN(required) && required[i];
		all->p[all->n++] = p;
		open_plugin(p);
	}
	for (size_t i = 0; i < names.n; i++)
		free(names.s[i]);
	free(names.s);
	if (!all->p)
		e = CY_E_NOMEM;
	if (!e) {
		plugins_order(all->p, all->n, init_plugin);
		sort_loaded(all);
		if (!report(all))
			e = CY_E_NOTFOUND;
	}
	all->cfg.dir = all->cfg.load = NULL; /* the caller's */
	if (e) {
		plugins_free(all);
		return e;
	}
	*out = all;
	return CY_OK;
}

enum cy_err plugins_provide_builtin(struct plugins *all, enum cy_kind kind, const void *ops, void *plugin)
{
	return plugins_provide(all, kind, ops, plugin, "builtin");
}

const void *plugins_find(const struct plugins *all, enum cy_kind kind, const char *name, void **out_plugin)
{
	size_t n = atomic_load(&all->n_provided);

	for (size_t i = 0; i < n; i++) {
		const struct plugin_provided *o = &all->provided[i];
		if (o->kind != kind)
			continue;
		if (name && strcmp(name, o->owner) != 0 && (!o->name || strcmp(name, o->name) != 0))
			continue;
		if (out_plugin)
			*out_plugin = o->plugin;
		return o->ops;
	}
	return NULL;
}

void plugins_set_password(struct plugins *p,
    enum cy_err (*fn)(void *user, const char *name, uint8_t *out, size_t cap, size_t *out_n), void *user)
{
	pthread_rwlock_wrlock(&p->udp_lock);
	p->password = fn;
	p->password_user = user;
	pthread_rwlock_unlock(&p->udp_lock);
}

void plugins_set_udp_send(
    struct plugins *all, size_t (*fn)(void *user, const struct cy_dgram *d, size_t n), void *user)
{
	/* after this nobody is in the one before, so that its sockets may be closed */
	pthread_rwlock_wrlock(&all->udp_lock);
	all->udp_send = fn;
	all->udp_send_user = user;
	pthread_rwlock_unlock(&all->udp_lock);
}

void plugins_set_answer(
    struct plugins *all, enum cy_err (*fn)(void *user, uint64_t id, bool yes, const char *reason), void *user)
{
	pthread_rwlock_wrlock(&all->udp_lock);
	all->answer = fn;
	all->answer_user = user;
	pthread_rwlock_unlock(&all->udp_lock);
}

static void run_reload(struct plugin_call *c)
{
	c->plugin->def->reload(c->plugin->instance);
}

void plugins_reload(struct plugins *all, struct settings *settings)
{
	struct settings *before;

	settings = settings ? settings_ref(settings) : NULL;
	pthread_rwlock_wrlock(&all->settings_lock);
	before = all->settings;
	all->settings = settings;
	pthread_rwlock_unlock(&all->settings_lock);
	if (before)
		settings_unref(before);
	for (size_t i = 0; i < all->n; i++) {
		struct plugin *p = all->p[i];
		struct plugin_call *c;

		if (p->state != PLUGIN_LOADED)
			continue;
		check_options(p);
		if (!p->def->reload || plugin_thread_need(p))
			continue;
		c = calloc(1, sizeof(*c));
		if (!c)
			continue;
		c->plugin = plugin_ref(p);
		c->run = run_reload;
		plugin_call_post(c);
	}
}

/* --- the end --- */

/* fini() on a thread of its own, so that one that hangs costs PLUGIN_LAST_WORDS_MS and not the stop of the daemon. */
static void *fini_main(void *arg)
{
	struct plugin *p = arg;

	p->def->fini(p->instance);
	pthread_mutex_lock(&p->lock);
	p->finished = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	plugin_unref(p);
	return NULL;
}

static void fini_plugin(struct plugin *p)
{
	struct env *env = p->all->cfg.env;
	uint64_t due;
	pthread_t t;
	bool done;

	if (!p->def->fini)
		return;
	plugin_ref(p);
	if (env->simulated || thread_start("plg-fini", fini_main, p, &t)) {
		fini_main(p);
		return;
	}
	due = env_now(env) + PLUGIN_LAST_WORDS_MS * NS_PER_MS;
	pthread_mutex_lock(&p->lock);
	while (!p->finished && thread_cond_wait(&p->changed, &p->lock, due))
		;
	done = p->finished;
	pthread_mutex_unlock(&p->lock);
	if (done) {
		pthread_join(t, NULL);
		return;
	}
	atomic_store(&p->abandoned, true);
	pthread_detach(t);
	LOGF(p->all->cfg.log, LOG_LIB, CY_LOG_ERROR, NULL, "plugin %s does not end: left behind", p->name);
}

void plugins_free(struct plugins *all)
{
	if (!all)
		return;
	plugins_set_udp_send(all, NULL, NULL);
	/* all at once, so that together they hold up the end no longer than one */
	for (size_t i = all->n; i-- > 0;)
		if (all->p[i]->state == PLUGIN_LOADED)
			plugin_thread_stop(all->p[i]);
	for (size_t i = all->n; i-- > 0;) {
		struct plugin *p = all->p[i];
		if (p->state != PLUGIN_LOADED)
			continue;
		bool ended = plugin_thread_join(p);
		if (!ended)
			LOGF(all->cfg.log, LOG_LIB, CY_LOG_ERROR, NULL,
			    "plugin %s hangs in a callback: left behind", p->name);
		disconnect(p);
		if (plugin_sink_close(p) && ended)
			fini_plugin(p);
	}
	for (size_t i = 0; i < all->n; i++)
		plugin_unref(all->p[i]);
	free(all->p);
	all->p = NULL;
	all->n = 0;
	if (all->settings)
		settings_unref(all->settings);
	all->settings = NULL;
	plugins_unref(all);
}

/* --- listing --- */

static void listener_stats(struct plugin *p, struct bus_listener_stats *out)
{
	struct bus_listener_stats s[64];
	size_t n;

	*out = (struct bus_listener_stats){.name = p->name};
	n = p->all->cfg.bus ? bus_stats(p->all->cfg.bus, s, ARRAY_LEN(s)) : 0;
	if (n > ARRAY_LEN(s))
		n = ARRAY_LEN(s);
	for (size_t i = 0; i < n; i++) {
		if (!s[i].name || strcmp(s[i].name, p->name) != 0)
			continue;
		out->delivered += s[i].delivered;
		out->missed += s[i].missed;
		out->queued += s[i].queued;
		out->busy_ns += s[i].busy_ns;
		if (s[i].max_ns > out->max_ns)
			out->max_ns = s[i].max_ns;
		if (s[i].running_since_ns)
			out->running_since_ns = s[i].running_since_ns;
	}
}

void plugins_list(struct plugins *all, void (*cb)(void *user, const struct plugin_info *i), void *user)
{
	static const char *const none[] = {NULL};

	for (size_t i = 0; i < all->n; i++) {
		struct plugin *p = all->p[i];
		struct plugin_info info = {
		    .name = p->name,
		    .version = p->state == PLUGIN_LOADED ? p->def->version : "",
		    .path = p->path ? p->path : "",
		    .state = p->state == PLUGIN_LOADED ? "loaded"
		        : p->reason                    ? p->reason
		                                       : "out of memory",
		    .provides = p->state == PLUGIN_LOADED ? p->provides : none,
		    .callbacks = atomic_load_explicit(&p->n_callbacks, memory_order_relaxed),
		    .callback_ns = atomic_load_explicit(&p->callback_ns, memory_order_relaxed),
		    .max_callback_ns = atomic_load_explicit(&p->max_callback_ns, memory_order_relaxed),
		    .running_since_ns = atomic_load_explicit(&p->running_since_ns, memory_order_relaxed),
		};
		for (int h = 0; h < PLUGIN_HOOK_N; h++) {
			info.hook[h].n = atomic_load_explicit(&p->hook[h].n, memory_order_relaxed);
			info.hook[h].ns = atomic_load_explicit(&p->hook[h].ns, memory_order_relaxed);
			info.hook[h].cpu_ns = atomic_load_explicit(&p->hook[h].cpu_ns, memory_order_relaxed);
		}
		pthread_mutex_lock(&p->lock);
		info.has_thread = p->has_thread;
		pthread_mutex_unlock(&p->lock);
		listener_stats(p, &info.listener);
		cb(user, &info);
	}
}
