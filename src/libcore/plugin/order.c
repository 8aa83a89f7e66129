/* SPDX-License-Identifier: Apache-2.0 */

#include "libcore/plugin/private.h"

#include <stdio.h>

static bool provides(const struct plugin *p, const char *what)
{
	for (size_t i = 0; p->provides && p->provides[i]; i++)
		if (strcmp(p->provides[i], what) == 0)
			return true;
	return false;
}

/* A plugin in this state, other than `but`, that provides `what`. */
static struct plugin *provider(
    struct plugin **p, size_t n, enum plugin_state state, const char *what, const struct plugin *but)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != but && p[i]->state == state && provides(p[i], what))
			return p[i];
	return NULL;
}

/* The first hard need that nobody initialised yet provides; NULL when there is none. */
static const char *unmet(struct plugin **p, size_t n, const struct plugin *of)
{
	for (const struct cy_feature *f = of->def->features; f && f->rel != CY_FEATURE_END; f++)
		if (f->rel == CY_NEEDS && !provides(of, f->what) &&
		    !provider(p, n, PLUGIN_LOADED, f->what, of))
			return f->what;
	return NULL;
}

/* Is a plugin still to come that provides something `of` could use? */
static bool may_wait(struct plugin **p, size_t n, const struct plugin *of)
{
	for (const struct cy_feature *f = of->def->features; f && f->rel != CY_FEATURE_END; f++)
		if (f->rel != CY_PROVIDES && provider(p, n, PLUGIN_FOUND, f->what, of))
			return true;
	return false;
}

static struct plugin *next_ready(struct plugin **p, size_t n, bool patient)
{
	for (size_t i = 0; i < n; i++)
		if (p[i]->state == PLUGIN_FOUND && !unmet(p, n, p[i]) && (!patient || !may_wait(p, n, p[i])))
			return p[i];
	return NULL;
}

/* Leave out every plugin that needs what nobody provides. Returns whether there was one. */
static bool fail_hopeless(struct plugin **p, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (p[i]->state != PLUGIN_FOUND)
			continue;
		const struct cy_feature *f = p[i]->def->features;
		for (; f && f->rel != CY_FEATURE_END; f++) {
			if (f->rel != CY_NEEDS || provides(p[i], f->what) ||
			    provider(p, n, PLUGIN_LOADED, f->what, p[i]) ||
			    provider(p, n, PLUGIN_FOUND, f->what, p[i]))
				continue;
			plugin_fail(p[i], "needs \"%s\", which no loaded plugin provides", f->what);
			any = true;
			break;
		}
	}
	return any;
}

static struct plugin *awaited(struct plugin **p, size_t n, const struct plugin *of)
{
	return provider(p, n, PLUGIN_FOUND, unmet(p, n, of), of);
}

/* Everybody left waits for somebody left: follow one until it comes round, and leave out that circle. */
static void fail_cycle(struct plugin **p, size_t n)
{
	struct plugin *at = NULL, *circle[32];
	size_t len = 0, n_circle = 0;
	char text[512];

	for (size_t i = 0; i < n && !at; i++)
		if (p[i]->state == PLUGIN_FOUND)
			at = p[i];
	/* n steps lead into the circle from wherever we are; it is told from its first member on */
	for (size_t i = 0; i < n; i++)
		at = awaited(p, n, at);
	struct plugin *first = at, *some = at;
	for (size_t i = n; i-- > 0;) {
		bool in_circle = p[i] == some;
		for (at = awaited(p, n, some); at != some && !in_circle; at = awaited(p, n, at))
			in_circle = p[i] == at;
		if (in_circle)
			first = p[i];
	}
	at = first;
	do {
		struct plugin *next = awaited(p, n, at);
		if (len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s needs \"%s\" of %s",
			    len ? ", " : "", at->name, unmet(p, n, at), next->name);
		circle[n_circle++] = at;
		at = next;
	} while (at != first && n_circle < ARRAY_LEN(circle));
	for (size_t i = 0; i < n_circle; i++)
		plugin_fail(circle[i], "needs go in a circle: %s", text);
}

void plugins_order(struct plugin **p, size_t n, bool (*init_one)(struct plugin *p))
{
	for (;;) {
		struct plugin *next = next_ready(p, n, true);
		bool left = false;

		if (!next)
			next = next_ready(p, n, false); /* soft needs in a circle: the preferred goes first */
		if (next) {
			if (init_one(next))
				next->state = PLUGIN_LOADED;
			continue;
		}
		if (fail_hopeless(p, n))
			continue;
		for (size_t i = 0; i < n; i++)
			left |= p[i]->state == PLUGIN_FOUND;
		if (!left)
			return;
		fail_cycle(p, n);
	}
}
