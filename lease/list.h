/*
 * list.h: doubly linked lists whose links stand in what they link, so that joining and leaving need
 * neither memory nor a search.
 */
#ifndef DSEC_LEASE_LIST_H
#define DSEC_LEASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* A head, or a link in a list; a link in no list points to itself. */
struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *list)
{
	list->next = list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_append(struct list *head, struct list *link)
{
	link->prev = head->prev;
	link->next = head;
	head->prev->next = link;
	head->prev = link;
}

/* Leaves whatever list it is in, if any. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* Moves all that `from` holds to the empty or unset head `to`. */
static inline void list_take_all(struct list *to, struct list *from)
{
	list_init(to);
	if (list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

#define list_first(head, type, member) container_of((head)->next, type, member)

/* `at` may leave the list within the body; its neighbour may not. */
/* NOLINTBEGIN(bugprone-macro-parentheses): `at` is declared here */
#define list_each(at, head)                                                                        \
	for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                  \
	     at = at##_next, at##_next = at->next)
/* NOLINTEND(bugprone-macro-parentheses) */

#endif
