#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "lease/alloc.h"

static bool same_id(const struct table_node *node, const void *key)
{
	return strcmp(container_of(node, struct visitor, by_id)->id, key) == 0;
}

static void visitor_free(struct api *api, struct visitor *visitor)
{
	list_remove(&visitor->link);
	table_remove(&api->visitors_by_id, &visitor->by_id);
	api->n_visitors--;
	free(visitor);
}

static struct visitor *visitor_new(struct api *api, const char *id, uint64_t hash)
{
	struct visitor *visitor = alloc_zeroed(1, sizeof(*visitor));

	/* The list is in the order of their last visits. */
	if (api->n_visitors >= API_VISITORS_MAX)
		visitor_free(api, list_first(&api->visitors, struct visitor, link));
	snprintf(visitor->id, sizeof(visitor->id), "%s", id);
	bucket_init(&visitor->leases, API_LEASES_A_MINUTE, API_LEASES_A_MINUTE / 60000.0,
		    api_now(api));
	bucket_init(&visitor->told, API_REFUSALS_TOLD_A_MINUTE,
		    API_REFUSALS_TOLD_A_MINUTE / 60000.0, api_now(api));
	list_init(&visitor->link);
	table_insert(&api->visitors_by_id, &visitor->by_id, hash);
	api->n_visitors++;
	return visitor;
}

struct visitor *visitor_get(struct api *api, const char *id)
{
	uint64_t hash = table_hash_text(&api->visitors_by_id, id);
	struct table_node *node = table_find(&api->visitors_by_id, hash, same_id, id);
	struct visitor *visitor =
		node ? container_of(node, struct visitor, by_id) : visitor_new(api, id, hash);

	list_remove(&visitor->link);
	list_append(&api->visitors, &visitor->link);
	return visitor;
}

void visitors_free(struct api *api)
{
	list_each (at, &api->visitors)
		visitor_free(api, container_of(at, struct visitor, link));
}
