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
	char *project, *config;
	int64_t start_at, rotate_at;
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

static void issued_drop(struct api *api, struct issued *issued)
{
	table_remove(&api->issued_by_lease, &issued->by_lease);
	free(issued->project);
	free(issued->config);
	free(issued);
}

void issued_add(struct api *api, const struct lease *lease, const char *who)
{
	struct issued *issued = alloc_zeroed(1, sizeof(*issued));

	snprintf(issued->lease_id, sizeof(issued->lease_id), "%s", lease->id);
	snprintf(issued->who, sizeof(issued->who), "%s", who);
	issued->project = alloc_copy(lease->slot.project);
	issued->config = alloc_copy(lease->slot.config);
	issued->start_at = lease->start_at;
	issued->rotate_at = lease->rotate_at;
	table_insert(&api->issued_by_lease, &issued->by_lease,
		     table_hash_text(&api->issued_by_lease, issued->lease_id));
	watch_issued(api, who);
}

static const struct issued *newest(const struct api *api, const char *who, const char *project,
				   const char *config)
{
	const struct table *table = &api->issued_by_lease;
	const struct issued *best = NULL;

	for (size_t i = 0; i < table->n_buckets; i++)
		for (struct table_node *node = table->buckets[i]; node; node = node->next) {
			const struct issued *issued = container_of(node, struct issued, by_lease);

			if (strcmp(issued->who, who) == 0 &&
			    strcmp(issued->project, project) == 0 &&
			    strcmp(issued->config, config) == 0 &&
			    (!best || issued->start_at > best->start_at))
				best = issued;
		}
	return best;
}

void issued_lease(struct api *api, enum lease_event event, const struct lease *lease)
{
	struct issued *issued = find(api, lease->id);
	char who[PEER_ID_MAX];

	if (!issued)
		return;
	memcpy(who, issued->who, sizeof(who));
	if (event == LEASE_ACTIVE) { /* it was renewed */
		issued->rotate_at = lease->rotate_at;
		watch_issued(api, who);
	} else {
		bool was_newest = newest(api, who, issued->project, issued->config) == issued;

		issued_drop(api, issued);
		if (was_newest)
			watch_issued_ended(api, who, lease);
	}
}

int64_t issued_newest_until(const struct api *api, const char *who, const struct config *config)
{
	const struct issued *issued = newest(api, who, config->project, config->name);

	return issued ? issued->rotate_at : DSEC_NEVER;
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
		while (table->buckets[i])
			issued_drop(api, container_of(table->buckets[i], struct issued, by_lease));
}
