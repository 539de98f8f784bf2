#include "fs/message.h"

#include <stdlib.h>

#include "lease/alloc.h"

struct message *message_new(enum message_kind kind, size_t n_leases)
{
	struct message *message = alloc_zeroed(1, sizeof(*message) + n_leases * sizeof(void *));

	message->kind = kind;
	message->n_leases = n_leases;
	return message;
}

void message_free(struct message *message)
{
	for (size_t i = 0; i < message->n_leases; i++)
		lease_unref(message->leases[i]);
	tree_unref(message->tree);
	who_unref(message->caller.who);
	free(message->text);
	free(message);
}
