/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive doubly linked list. The head is a node. Not thread safe. A node not on a list is zero or self-linked. */
#ifndef LIBCORE_BASE_LIST_H
#define LIBCORE_BASE_LIST_H

#include "libcore/base/err.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
static inline bool list_linked(const struct list *n)
{
	return n->next && n->next != n;
}
static inline void list_add_after(struct list *at, struct list *n)
{
	n->next = at->next;
	n->prev = at;
	at->next->prev = n;
	at->next = n;
}
static inline void list_push(struct list *l, struct list *n) /* at the end */
{
	list_add_after(l->prev, n);
}
static inline void list_push_front(struct list *l, struct list *n)
{
	list_add_after(l, n);
}
static inline void list_del(struct list *n) /* harmless when not linked */
{
	if (n->next) {
		n->prev->next = n->next;
		n->next->prev = n->prev;
	}
	list_init(n);
}
static inline struct list *list_first(const struct list *l)
{
	return l->next == l ? NULL : l->next;
}
static inline struct list *list_pop(struct list *l)
{
	struct list *n = list_first(l);

	if (n)
		list_del(n);
	return n;
}
/* Move all of src to the end of dst. */
static inline void list_splice(struct list *dst, struct list *src)
{
	if (list_empty(src))
		return;
	src->next->prev = dst->prev;
	dst->prev->next = src->next;
	src->prev->next = dst;
	dst->prev = src->prev;
	list_init(src);
}

#define list_entry(ptr, type, member) container_of(ptr, type, member)
#define list_foreach(pos, head)       for (pos = (head)->next; pos != (head); pos = pos->next)
#define list_foreach_safe(pos, tmp, head)                                                                    \
	for (pos = (head)->next, tmp = pos->next; pos != (head); pos = tmp, tmp = pos->next)

#endif
