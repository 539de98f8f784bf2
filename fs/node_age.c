/*
 * node_age.c: how nodes become stale, by the end of a lease or another tree, and are freed.
 */
#include "fs/message.h"
#include "fs/node_private.h"

bool node_alive(const struct node *node, int64_t now_at)
{
	if (node->stale)
		return false;
	for (size_t i = 0; i < node->n_bindings; i++)
		if (!binding_alive(&node->bindings[i], now_at))
			return false;
	return true;
}

void node_invalidate(struct nodes *nodes, const struct node *node)
{
	struct message *message = message_new(MESSAGE_INVALIDATE, 0);

	message->node = node->id;
	message->size = node->dead ? node->size : 0;
	message_send(nodes->outbox, message);
}

void node_settle(struct nodes *nodes, struct node *node)
{
	if (node->opens > 0 || !list_empty(&node->waiters))
		return;
	if (node->stale && node->entry) {
		node_invalidate(nodes, node);
		node_unbind(node);
		if (node->tree)
			nodes_discard_tree(nodes, node->tree);
		node->tree = NULL;
		node->entry = NULL;
	}
	if (node->lookups == 0)
		node_free(nodes, node);
}

void node_retire(struct nodes *nodes, struct node *node)
{
	node_leave_key(nodes, node);
	node->stale = true;
	records_set_stale(&nodes->records, node->record);
	if (nodes->retired)
		nodes->retired(nodes->arg, node);
	node_settle(nodes, node);
}

static void lease_ended(void *arg, void *owner)
{
	struct node *node = owner;

	node->dead = true;
	node_retire(arg, node);
}

bool nodes_open(const struct nodes *nodes, const char *lease_id)
{
	return nodes_hold(nodes, lease_id, INT64_MAX);
}

bool nodes_hold(const struct nodes *nodes, const char *lease_id, int64_t now_at)
{
	const struct held *held = leases_find(&nodes->leases, lease_id);

	if (!held)
		return false;
	list_each (at, &held->bindings) {
		const struct node *node = container_of(at, struct binding, in_held)->owner;

		if (node->opens > 0 && now_at - node->open_since_at >= NODE_HOLD_MS)
			return true;
	}
	return false;
}

void nodes_of_lease(struct nodes *nodes, const char *lease_id,
		    void (*each)(void *arg, struct node *node), void *arg)
{
	const struct held *held = leases_find(&nodes->leases, lease_id);

	if (held)
		list_each (at, &held->bindings)
			each(arg, container_of(at, struct binding, in_held)->owner);
}

void nodes_end_lease(struct nodes *nodes, const char *lease_id)
{
	leases_end(&nodes->leases, lease_id, lease_ended, nodes);
}

/* Has the new entry the bytes that the node has shown? */
static bool same_bytes(const struct node *node, const struct entry *entry)
{
	switch (node->kind) {
	case NODE_FOLDER:
		return true;
	case NODE_STATIC:
		return entry->secrets == 0 && entry->content == node->entry->content;
	case NODE_UNLEASED:
		return entry->secrets != 0 && entry->scopes == node->entry->scopes;
	case NODE_LEASED: /* a whole config has static secrets in it, which may have changed */
		return entry->secrets != 0 && entry->scopes == node->entry->scopes &&
		       entry->kind != ENTRY_FORMAT;
	case NODE_EMPTY:
	case NODE_REPORT:
	case NODE_PROBE:
		return false;
	}
	return false;
}

void node_renew_listing(struct nodes *nodes, struct node *node)
{
	node->time_ms = tree_loaded_ms(nodes->tree);
	node_invalidate(nodes, node);
}

void nodes_reload(struct nodes *nodes, struct tree *tree)
{
	struct tree *old = nodes->tree;

	nodes->tree = tree;
	list_each (at, &nodes->all) {
		struct node *node = container_of(at, struct node, in_nodes);

		if (!node->entry || node->tree || node->kind == NODE_PROBE)
			continue;

		const struct entry *entry = tree_counterpart(tree, node->entry);
		if (entry && same_bytes(node, entry)) {
			node->entry = entry;
			node_show_entry(node);
			if (node->kind == NODE_FOLDER)
				node_renew_listing(nodes, node);
			continue;
		}
		if (node->opens > 0 || !list_empty(&node->waiters))
			node->tree = tree_ref(old);
		node_retire(nodes, node);
	}
	nodes_discard_tree(nodes, old);
}
