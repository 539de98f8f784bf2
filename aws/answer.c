#include "aws/answer.h"

#include <expat.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "aws/wipe.h"
#include "lease/alloc.h"

#define ELEMENT_NAME_MAX 64u    /* a longer one is none that we know */
#define STORE_BLOCK_SIZE 16384u /* more than ANSWER_FIELD_MAX, so that any field fits a block */

/* Texts that are kept: blocks that never move, so that pointers into them stay good. */
struct block {
	struct block *next;
	size_t used;
	char text[STORE_BLOCK_SIZE];
};

struct answer {
	XML_Parser parser;
	const struct answer_names *names;
	const char *fault;
	bool no_space;

	char path[ANSWER_DEPTH_MAX][ELEMENT_NAME_MAX];
	int depth;
	bool leaf; /* no element has ended within the one that is open */

	char field[ANSWER_FIELD_MAX + 1]; /* the text of the element that is open */
	size_t n_field;
	bool cut; /* the field was longer than that */

	struct block *store;
	struct provider_user *users;
	size_t n_users, size_users;
	const char **found_names;
	size_t n_names, size_names;
	const char *root, *code, *message, *request_id, *marker, *access_key_id;
	struct secret *secret_access_key;
	bool truncated;
	const char *summary_key, *action, *decision; /* of the entry that is open */
	int64_t users_used, users_quota;
};

static void fail(struct answer *answer, const char *fault)
{
	if (!answer->fault)
		answer->fault = fault;
	XML_StopParser(answer->parser, XML_FALSE);
}

static const char *keep(struct answer *answer, const char *text)
{
	size_t n = strlen(text) + 1;
	struct block *block = answer->store;
	char *kept;

	if (!block || block->used + n > sizeof(block->text)) {
		block = alloc_zeroed(1, sizeof(*block));
		block->next = answer->store;
		answer->store = block;
	}
	kept = block->text + block->used;
	memcpy(kept, text, n);
	block->used += n;
	return kept;
}

static void add_user(struct answer *answer)
{
	if (answer->n_users == answer->size_users) {
		answer->size_users = answer->size_users ? 2 * answer->size_users : 4;
		answer->users =
			alloc_resized(answer->users, answer->size_users, sizeof(*answer->users));
	}
	answer->users[answer->n_users++] =
		(struct provider_user){.name = "", .path = "", .arn = ""};
}

static void add_name(struct answer *answer, const char *name)
{
	if (answer->n_names == answer->size_names) {
		answer->size_names = answer->size_names ? 2 * answer->size_names : 4;
		answer->found_names = alloc_resized(answer->found_names, answer->size_names,
						    sizeof(*answer->found_names));
	}
	answer->found_names[answer->n_names++] = name;
}

/* The open element's name, or that of its n-th parent; "" above the root. */
static const char *element(const struct answer *answer, int n)
{
	return answer->depth > n ? answer->path[answer->depth - 1 - n] : "";
}

static bool is(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), n_end = strlen(end);

	return n >= n_end && is(text + n - n_end, end);
}

/* "2013-10-09T13:13:01Z", with or without a fraction; 0 for anything else. */
static int64_t read_time(const char *text)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	if (!rest)
		return 0;
	if (*rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	if (!is(rest, "Z") && !is(rest, "+00:00"))
		return 0;
	return (int64_t)timegm(&tm) * 1000;
}

static int64_t read_count(const char *text)
{
	char *end;
	long long count = strtoll(text, &end, 10);

	return end == text || *end || count < 0 ? -1 : count;
}

/* GetCallerIdentity tells no name and no path, but an ARN that ends in "user/PATH/NAME"; that of a
 * role or of the account itself has neither. */
static void take_identity(struct answer *answer)
{
	struct provider_user *user;
	const char *resource, *name;

	add_user(answer);
	user = &answer->users[answer->n_users - 1];
	user->arn = keep(answer, answer->field);
	resource = strstr(user->arn, ":user/");
	if (!resource)
		return;
	resource += strlen(":user");
	name = strrchr(resource, '/') + 1;
	user->name = keep(answer, name);
	memcpy(answer->field, resource, (size_t)(name - resource));
	answer->field[name - resource] = '\0';
	user->path = keep(answer, answer->field);
}

static void take_user_field(struct answer *answer, const char *name)
{
	struct provider_user *user = &answer->users[answer->n_users - 1];

	if (is(name, "UserName"))
		user->name = keep(answer, answer->field);
	else if (is(name, "Path"))
		user->path = keep(answer, answer->field);
	else if (is(name, "Arn"))
		user->arn = keep(answer, answer->field);
	else if (is(name, "CreateDate"))
		user->created_ms = read_time(answer->field);
}

static void take_secret(struct answer *answer)
{
	secret_unref(answer->secret_access_key);
	answer->secret_access_key = NULL;
	if (secret_new(&answer->secret_access_key, answer->field, answer->n_field, NULL) < 0) {
		answer->no_space = true;
		fail(answer, "holds a secret for which there is no room");
	}
}

static void take_key_field(struct answer *answer, const char *name)
{
	if (is(name, "AccessKeyId"))
		answer->access_key_id = keep(answer, answer->field);
	else if (is(name, "SecretAccessKey"))
		take_secret(answer);
}

/* <entry><key>Users</key><value>31</value></entry> */
static void take_summary_field(struct answer *answer, const char *name)
{
	const char *key = answer->summary_key;

	if (is(name, "key"))
		answer->summary_key = keep(answer, answer->field);
	else if (!is(name, "value") || !key)
		return;
	else if (is(key, "Users"))
		answer->users_used = read_count(answer->field);
	else if (is(key, "UsersQuota"))
		answer->users_quota = read_count(answer->field);
}

static void take_error_field(struct answer *answer, const char *name)
{
	if (is(name, "Code") && !*answer->code)
		answer->code = keep(answer, answer->field);
	else if (is(name, "Message") && !*answer->message)
		answer->message = keep(answer, answer->field);
}

static void take_evaluation_field(struct answer *answer, const char *name)
{
	if (is(name, "EvalActionName"))
		answer->action = keep(answer, answer->field);
	else if (is(name, "EvalDecision"))
		answer->decision = keep(answer, answer->field);
}

static bool is_asked_name(const struct answer *answer, const char *name, const char *parent,
			  const char *grandparent)
{
	const struct answer_names *names = answer->names;

	if (!names->list)
		return false;
	if (!names->leaf)
		return is(name, "member") && is(parent, names->list);
	return is(name, names->leaf) && is(parent, "member") && is(grandparent, names->list);
}

static bool is_user(const char *name, const char *parent)
{
	return is(name, "User") || (is(name, "member") && is(parent, "Users"));
}

/* An element without elements in it has ended, and its text stands in the field. */
static void take_field(struct answer *answer)
{
	const char *name = element(answer, 0), *parent = element(answer, 1),
		   *grandparent = element(answer, 2);

	if (is_user(parent, grandparent))
		take_user_field(answer, name);
	else if (is(parent, "AccessKey"))
		take_key_field(answer, name);
	else if (is(parent, "Error"))
		take_error_field(answer, name);
	else if (is(parent, "entry"))
		take_summary_field(answer, name);
	else if (is(parent, "member") && is(grandparent, "EvaluationResults"))
		take_evaluation_field(answer, name);
	else if (is(parent, "GetCallerIdentityResult") && is(name, "Arn"))
		take_identity(answer);

	if (is_asked_name(answer, name, parent, grandparent))
		add_name(answer, keep(answer, answer->field));
	if (!is(parent, "member") && is(name, "IsTruncated"))
		answer->truncated = strcasecmp(answer->field, "true") == 0;
	if (!is(parent, "member") && is(name, "Marker"))
		answer->marker = keep(answer, answer->field);
	if (strcasecmp(name, "RequestId") == 0 && !*answer->request_id)
		answer->request_id = keep(answer, answer->field);
}

static void forget_field(struct answer *answer)
{
	secret_wipe(answer->field, answer->n_field);
	answer->n_field = 0;
	answer->field[0] = '\0';
	answer->cut = false;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static void trim_field(struct answer *answer)
{
	size_t from = 0, to = answer->n_field;

	while (from < to && is_space(answer->field[from]))
		from++;
	while (to > from && is_space(answer->field[to - 1]))
		to--;
	memmove(answer->field, answer->field + from, to - from);
	secret_wipe(answer->field + (to - from), answer->n_field - (to - from));
	answer->n_field = to - from;
	answer->field[answer->n_field] = '\0';
}

static void XMLCALL on_start(void *arg, const XML_Char *name, const XML_Char **attributes)
{
	struct answer *answer = arg;
	const char *prefix_end = strrchr(name, ':');
	const char *local = prefix_end ? prefix_end + 1 : name;

	if (answer->fault)
		return;
	forget_field(answer);
	if (answer->depth == ANSWER_DEPTH_MAX) {
		fail(answer, "nests too deep");
		return;
	}
	if (strlen(local) >= ELEMENT_NAME_MAX)
		local = "";
	memcpy(answer->path[answer->depth++], local, strlen(local) + 1);
	answer->leaf = true;
	if (answer->depth == 1)
		answer->root = keep(answer, local);
	if (is_user(element(answer, 0), element(answer, 1)))
		add_user(answer);
}

static void XMLCALL on_text(void *arg, const XML_Char *text, int n)
{
	struct answer *answer = arg;
	size_t room = ANSWER_FIELD_MAX - answer->n_field;
	size_t fits = (size_t)n < room ? (size_t)n : room;

	memcpy(answer->field + answer->n_field, text, fits);
	answer->n_field += fits;
	answer->field[answer->n_field] = '\0';
	answer->cut = answer->cut || fits < (size_t)n;
}

/* What was simulated and is not allowed is what the caller asks for. */
static void end_evaluation(struct answer *answer)
{
	if (answer->action && (!answer->decision || !is(answer->decision, "allowed")))
		add_name(answer, answer->action);
	answer->action = answer->decision = NULL;
}

static void XMLCALL on_end(void *arg, const XML_Char *ignored)
{
	struct answer *answer = arg;

	if (answer->fault) /* expat ends the empty element in whose start it was stopped */
		return;
	trim_field(answer);
	/* A cut text is nothing to act on; only a message may be shortened. */
	if (answer->cut && answer->leaf && !is(element(answer, 0), "Message"))
		fail(answer, "has an over-long field");
	else if (answer->leaf)
		take_field(answer);
	if (is(element(answer, 0), "member") && is(element(answer, 1), "EvaluationResults"))
		end_evaluation(answer);
	if (is(element(answer, 0), "entry"))
		answer->summary_key = NULL;
	forget_field(answer);
	answer->leaf = false;
	answer->depth--;
}

/* Where entities are declared; and an HTML page begins like this. */
static void XMLCALL on_document_type(void *arg, const XML_Char *name, const XML_Char *system_id,
				     const XML_Char *public_id, int has_internal_subset)
{
	fail(arg, "declares a document type, as an HTML page does");
}

struct answer *answer_new(const struct answer_names *names)
{
	static const XML_Memory_Handling_Suite wiping = {wipe_malloc, wipe_realloc, wipe_free};
	struct answer *answer = alloc_zeroed(1, sizeof(*answer));

	answer->names = names;
	answer->root = answer->code = answer->message = answer->request_id = "";
	answer->users_used = answer->users_quota = -1;
	answer->parser = XML_ParserCreate_MM(NULL, &wiping, NULL);
	if (!answer->parser) {
		answer->fault = "could not be read: no memory";
		return answer;
	}
	XML_SetUserData(answer->parser, answer);
	XML_SetElementHandler(answer->parser, on_start, on_end);
	XML_SetCharacterDataHandler(answer->parser, on_text);
	XML_SetStartDoctypeDeclHandler(answer->parser, on_document_type);
	return answer;
}

struct answer *answer_free(struct answer *answer)
{
	if (!answer)
		return NULL;
	if (answer->parser)
		XML_ParserFree(answer->parser);
	while (answer->store) {
		struct block *next = answer->store->next;

		free(answer->store);
		answer->store = next;
	}
	free(answer->users);
	free(answer->found_names);
	secret_unref(answer->secret_access_key);
	secret_wipe(answer->field, sizeof(answer->field));
	free(answer);
	return NULL;
}

static void parse(struct answer *answer, const char *bytes, size_t n, bool last)
{
	if (answer->fault || XML_Parse(answer->parser, bytes, (int)n, last) == XML_STATUS_OK ||
	    answer->fault)
		return;
	if (XML_GetErrorCode(answer->parser) == XML_ERROR_NO_MEMORY)
		answer->fault = "could not be read: no memory";
	else if (answer->depth > 0 && last)
		answer->fault = "ends in the middle";
	else if (XML_GetErrorCode(answer->parser) == XML_ERROR_NO_ELEMENTS)
		answer->fault = "is empty";
	else
		answer->fault = "is no XML";
}

bool answer_feed(struct answer *answer, const char *bytes, size_t n)
{
	parse(answer, bytes, n, false);
	return !answer->fault;
}

/* A page that says that there is more, but not where, would be read for ever. */
static void check_paging(struct answer *answer)
{
	if (!answer->truncated)
		answer->marker = NULL;
	else if (!answer->fault && (!answer->marker || !*answer->marker))
		answer->fault = "is truncated and has no marker";
}

void answer_end(struct answer *answer, struct answer_result *ret)
{
	parse(answer, "", 0, true);
	check_paging(answer);
	if (!answer->fault && !*answer->code && !ends_with(answer->root, "Response"))
		answer->fault = "is not one of IAM or STS";
	*ret = (struct answer_result){
		.fault = answer->fault,
		.no_space = answer->no_space,
		.root = answer->root,
		.code = answer->code,
		.message = answer->message,
		.request_id = answer->request_id,
		.found = {.users = answer->users,
			  .n_users = answer->n_users,
			  .names = answer->found_names,
			  .n_names = answer->n_names,
			  .marker = answer->marker,
			  .access_key_id = answer->access_key_id,
			  .secret_access_key = answer->secret_access_key,
			  .users_used = answer->users_used,
			  .users_quota = answer->users_quota},
	};
}
