#include "lease/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

static const char none[] = "";

static void forget(const char *text)
{
	if (text != none)
		free((char *)text);
}

static const char *copy(const char *text)
{
	return text[0] ? alloc_copy(text) : none;
}

void line_set(const char **text, const char *to)
{
	const char *old = *text;

	if (to == old)
		return;
	*text = copy(to);
	forget(old);
}

void line_init(struct line *line, const struct journal_record *record)
{
	*line = (struct line){
		.state = record->state,
		.integration = copy(record->integration),
		.user = copy(record->user),
		.path = copy(record->path),
		.policy_name = copy(record->policy_name),
		.arn = copy(record->arn),
		.access_key_id = copy(record->access_key_id),
		.reason = copy(record->reason),
		.fingerprint = record->fingerprint,
		.ttl_ms = record->ttl_ms,
		.start_ms = record->start_ms,
		.expires_ms = record->expires_ms,
		.last_end_ms = record->last_end_ms,
		.may_echo = record->may_echo,
	};
	memcpy(line->lease_id, record->lease_id, sizeof(line->lease_id));
}

void line_finish(struct line *line)
{
	forget(line->integration);
	forget(line->user);
	forget(line->path);
	forget(line->policy_name);
	forget(line->arn);
	forget(line->access_key_id);
	forget(line->reason);
}

#define PUT(to, text) snprintf(to, sizeof(to), "%s", text)

void line_record(const struct line *line, struct journal_record *ret)
{
	*ret = (struct journal_record){
		.state = line->state,
		.fingerprint = line->fingerprint,
		.ttl_ms = line->ttl_ms,
		.start_ms = line->start_ms,
		.expires_ms = line->expires_ms,
		.last_end_ms = line->last_end_ms,
		.may_echo = line->may_echo,
	};
	memcpy(ret->lease_id, line->lease_id, sizeof(ret->lease_id));
	PUT(ret->integration, line->integration);
	PUT(ret->user, line->user);
	PUT(ret->path, line->path);
	PUT(ret->policy_name, line->policy_name);
	PUT(ret->arn, line->arn);
	PUT(ret->access_key_id, line->access_key_id);
	PUT(ret->reason, line->reason);
}
