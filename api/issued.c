/*
 * issued.c: whose the leases are that this API has answered with: who holds one may end and renew
 * it. A daemon that starts does not know whose those are that it finds; they are the
 * administrator's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

struct issued {
	struct table_node by_lease;
	char lease_id[LEASE_ID_MAX];
	char who[PEER_ID_MAX];
};

static bool same_lease(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct issued, by_lease)->lease_id, key) == 0;
}

static struct issued *find(const struct api *api, const char *lease_id)
{
	const struct table *table = &api->issued_by_lease;
	struct table_node *node =
		table_find(table, table_hash_text(table, lease_id), same_lease, lease_id);

	return node ? container_of(node, struct issued, by_lease) : NULL;
}

void issued_add(struct api *api, const struct lease *lease, const char *who)
{
	struct issued *issued = alloc_zeroed(1, sizeof(*issued));

	snprintf(issued->lease_id, sizeof(issued->lease_id), "%s", lease->id);
	snprintf(issued->who, sizeof(issued->who), "%s", who);
	table_insert(&api->issued_by_lease, &issued->by_lease,
		     table_hash_text(&api->issued_by_lease, issued->lease_id));
}

void issued_remove(struct api *api, const struct lease *lease)
{
	struct issued *issued = find(api, lease->id);

	if (!issued)
		return;
	table_remove(&api->issued_by_lease, &issued->by_lease);
	free(issued);
}

bool issued_to(const struct api *api, const char *lease_id, const char *who)
{
	const struct issued *issued = find(api, lease_id);

	return issued && strcmp(issued->who, who) == 0;
}

void issued_free(struct api *api)
{
	struct table *table = &api->issued_by_lease;

	for (size_t i = 0; i < table->n_buckets; i++)
		while (table->buckets[i]) {
			struct issued *issued =
				container_of(table->buckets[i], struct issued, by_lease);

			table_remove(table, &issued->by_lease);
			free(issued);
		}
}
