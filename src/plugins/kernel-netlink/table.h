/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of embedded nodes with a secret key, because peers choose some of what is hashed. No thread of its own:
 * whoever owns it locks it.
 */
#ifndef KERNEL_NETLINK_TABLE_H
#define KERNEL_NETLINK_TABLE_H

#include <cygnet/types.h>

struct tnode {
	struct tnode *next;
	uint64_t hash;
};

struct table {
	struct tnode **bucket;
	size_t n, buckets; /* buckets: a power of two */
	uint64_t key[2];
};

#define table_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

enum cy_err table_init(struct table *t, const uint64_t key[2]) CY_MUST_USE;
void table_fini(struct table *t); /* entries are the owner's */
uint64_t table_hash(const struct table *t, const void *data, size_t n);
void table_add(struct table *t, struct tnode *n, uint64_t hash);
void table_del(struct table *t, struct tnode *n);
/* The first and the next node with that hash, NULL none. */
struct tnode *table_first(const struct table *t, uint64_t hash);
struct tnode *table_next(const struct tnode *n);
/* Takes out one entry after another, NULL when empty; *pos begins as 0. Nothing may be added meanwhile. */
struct tnode *table_take(struct table *t, size_t *pos);

#endif
