/* SPDX-License-Identifier: Apache-2.0 */
/* Which address the peer gets. */
#include <stdlib.h>

#include "daemon/policy/lease.h"
#include "daemon/sa/manager.h"
#include "libcore/base/addr.h"
#include "libcore/conf/settings.h"

const char *ike_lease_key(const struct ike_sa *sa, char buf[IDENT_STR_MAX])
{
	return sa->user ? sa->user : ident_str(&sa->peer_id, buf);
}

static enum cy_err add_lease(struct ike_sa *sa, const char *pool, const struct cy_addr *addr)
{
	struct ike_lease *more = realloc(sa->leases, (sa->n_leases + 1) * sizeof(*more));
	char text[ADDR_STR_MAX], key[IDENT_STR_MAX];

	if (more)
		sa->leases = more;
	if (!more || !(more[sa->n_leases].pool = strdup(pool))) {
		leases_release(sa->shard->d->leases, pool, addr, sa->id);
		return CY_E_NOMEM;
	}
	more[sa->n_leases++].addr = *addr;
	ike_note(sa, LOG_IKE, CY_LOG_INFO, "virtual address %s is assigned to '%s'", addr_str(addr, text),
	    ike_lease_key(sa, key));
	return CY_OK;
}

static enum cy_err own_address(struct ike_sa *sa, struct cy_addr *out)
{
	const struct cy_addr *a = &sa->assigned.addr;
	char key[IDENT_STR_MAX];
	const char *pool;
	enum cy_err e;

	for (uint32_t i = 0; i < sa->n_leases; i++)
		if (cy_addr_ip_eq(&sa->leases[i].addr, a)) {
			*out = *a;
			return CY_OK;
		}
	e = leases_acquire_static(sa->shard->d->leases, a, ike_lease_key(sa, key), sa->id, &pool);
	if (!e)
		e = add_lease(sa, pool, a);
	if (!e)
		*out = *a;
	return e;
}

static enum cy_err from_pool(
    struct ike_sa *sa, const char *pool, int family, const struct cy_addr *wanted, struct cy_addr *out)
{
	char key[IDENT_STR_MAX];
	struct cy_addr got;
	enum cy_err e =
	    leases_acquire(sa->shard->d->leases, pool, family, ike_lease_key(sa, key), sa->id, wanted, &got);

	if (!e)
		e = add_lease(sa, pool, &got);
	if (!e)
		*out = got;
	return e;
}

/*
 * From a list "NAME=POOL[,POOL..] ..": the first pool of the group that has an address. CY_E_EXISTS: the list does not have the group.
 */
static enum cy_err from_group(
    struct ike_sa *sa, int family, const struct cy_addr *wanted, struct cy_addr *out)
{
	const char *list = settings_str(sa->shard->d->settings, "group_pools"), *group = sa->assigned.group;
	size_t n = strlen(group);
	enum cy_err e = CY_E_EXISTS;
	char pool[128];

	for (const char *at = list ? list : ""; *at; at += strcspn(at, " \t")) {
		at += strspn(at, " \t");
		if (strncmp(at, group, n) != 0 || at[n] != '=')
			continue;
		e = CY_E_NOTFOUND;
		for (at += n; *at == '=' || *at == ',';) {
			size_t len = strcspn(++at, ", \t");
			enum cy_err one = CY_E_NOTFOUND;

			if (len < sizeof(pool)) {
				memcpy(pool, at, len);
				pool[len] = '\0';
				one = from_pool(sa, pool, family, wanted, out);
			}
			if (!one)
				return CY_OK;
			if (one != CY_E_NOTFOUND)
				e = one;
			at += len;
		}
	}
	return e;
}

static enum cy_err from_conn(struct ike_sa *sa, int family, const struct cy_addr *wanted, struct cy_addr *out)
{
	const struct str_list *pools = &sa->conn->remote.pools;
	enum cy_err e = CY_E_NOTFOUND;

	for (size_t i = 0; i < pools->n; i++) {
		enum cy_err one = from_pool(sa, pools->s[i], family, wanted, out);

		if (!one)
			return CY_OK;
		if (one != CY_E_NOTFOUND)
			e = one;
	}
	return e;
}

enum cy_err ike_lease(struct ike_sa *sa, int family, const struct cy_addr *wanted, struct cy_addr *out)
{
	const struct ike_assigned *a = &sa->assigned;
	char text[ADDR_STR_MAX], key[IDENT_STR_MAX];
	enum cy_err e = CY_E_EXISTS;

	if (a->addr.family == family)
		e = own_address(sa, out);
	else if (a->pool)
		e = from_pool(sa, a->pool, family, wanted, out);
	else if (a->group)
		e = from_group(sa, family, wanted, out);
	if (e == CY_E_EXISTS)
		e = from_conn(sa, family, wanted, out);
	switch (e) {
	case CY_OK:
		break;
	case CY_E_BUSY:
		ike_note(sa, LOG_IKE, CY_LOG_ERROR, "%s, the own address of '%s', is in use by another",
		    addr_str(&a->addr, text), ike_lease_key(sa, key));
		break;
	case CY_E_LIMIT:
		ike_note(sa, LOG_IKE, CY_LOG_ERROR,
		    "no IPv%d address for '%s': all of the pool are in use; a larger pool, or a shorter "
		    "dpddelay, helps",
		    family == AF_INET ? 4 : 6, ike_lease_key(sa, key));
		break;
	default:
		ike_note(sa, LOG_IKE, CY_LOG_INFO, "no IPv%d address for '%s': %s", family == AF_INET ? 4 : 6,
		    ike_lease_key(sa, key),
		    e == CY_E_NOTFOUND ? "there is no pool of this family" : "out of memory");
	}
	return e;
}
