/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/net/interfaces.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <stdlib.h>

#include "libcore/base/addr.h"

#define CACHE 64
/* A slot: the index, and what is known of it. */
#define KNOWN 1u
#define USED  2u

struct interfaces {
	char *use, *ignore;
	uint64_t cache[CACHE]; /* index << 2 | USED | KNOWN; atomics */
};

static bool lists(const char *names, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = names; *at; at += strcspn(at, " \t,")) {
		at += strspn(at, " \t,");
		if (strcspn(at, " \t,") == len && len && memcmp(at, name, len) == 0)
			return true;
	}
	return false;
}

static bool is_blank(const char *names)
{
	return !names || names[strspn(names, " \t,")] == '\0';
}

enum cy_err interfaces_new(const char *use, const char *ignore, struct interfaces **out)
{
	struct interfaces *i;

	if (is_blank(use) && is_blank(ignore)) {
		*out = NULL;
		return CY_OK;
	}
	i = calloc(1, sizeof(*i));
	if (i) {
		i->use = strdup(use ? use : "");
		i->ignore = strdup(ignore ? ignore : "");
	}
	if (!i || !i->use || !i->ignore) {
		interfaces_free(i);
		return CY_E_NOMEM;
	}
	*out = i;
	return CY_OK;
}

void interfaces_free(struct interfaces *i)
{
	if (!i)
		return;
	free(i->use);
	free(i->ignore);
	free(i);
}

bool interfaces_has_name(const struct interfaces *i, const char *name)
{
	if (!i)
		return true;
	return !lists(i->ignore, name) && (is_blank(i->use) || lists(i->use, name));
}

bool interfaces_has_index(struct interfaces *i, uint32_t ifindex)
{
	char name[IF_NAMESIZE];
	uint64_t *slot, seen;
	bool used;

	if (!i || !ifindex)
		return true;
	slot = &i->cache[ifindex % CACHE];
	seen = __atomic_load_n(slot, __ATOMIC_RELAXED);
	if (seen & KNOWN && seen >> 2 == ifindex)
		return seen & USED;
	used = !if_indextoname(ifindex, name) || interfaces_has_name(i, name);
	__atomic_store_n(slot, (uint64_t)ifindex << 2 | (used ? USED : 0) | KNOWN, __ATOMIC_RELAXED);
	return used;
}

bool interfaces_has_addr(const struct interfaces *i, const struct cy_addr *addr)
{
	struct ifaddrs *all, *at;
	bool found = false, used = false;

	if (!i || getifaddrs(&all) != 0)
		return true;
	for (at = all; at && !used; at = at->ifa_next) {
		struct cy_addr a = {0};

		if (!at->ifa_addr ||
		    (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6))
			continue;
		addr_from_sockaddr(at->ifa_addr, &a);
		if (cy_addr_ip_eq(&a, addr)) {
			found = true;
			used = interfaces_has_name(i, at->ifa_name);
		}
	}
	freeifaddrs(all);
	return used || !found;
}

void interfaces_forget(struct interfaces *i)
{
	for (size_t n = 0; i && n < CACHE; n++)
		__atomic_store_n(&i->cache[n], 0, __ATOMIC_RELAXED);
}
