/*
 * call.h: one call of an action, as the actions see it.
 *
 * An action reads its parameters, changes the store and writes its result's elements. It returns 0,
 * or what call_fail() returned. The caller is authenticated and authorised before it runs.
 */
#ifndef DSEC_TESTS_IAM_CALL_H
#define DSEC_TESTS_IAM_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "form.h"
#include "server.h"
#include "sigv4.h"
#include "store.h"
#include "xml.h"

#define NAME_MAX_LENGTH           64 /* of a new user; other names and old users' may have 128 */
#define NAME_MAX_LENGTH_LONG      128
#define PATH_MAX_LENGTH           512
#define PAGE_SIZE_DEFAULT         100
#define PAGE_SIZE_MAX             1000
#define QUOTA_KEYS                2
#define QUOTA_GROUPS              10
#define QUOTA_ATTACHED            10
#define QUOTA_TAGS                50
#define QUOTA_INLINE_CHARACTERS   2048
#define QUOTA_MANAGED_CHARACTERS  6144
#define QUOTA_CERTIFICATES        2
#define QUOTA_SSH_KEYS            5
#define QUOTA_MFA_DEVICES         8
#define QUOTA_SERVICE_CREDENTIALS 2 /* of one service */

enum service {
	SERVICE_IAM,
	SERVICE_STS,
	SERVICE_EC2,
};

/* What an action is authorised on. */
enum resource {
	RESOURCE_NONE,    /* needs no permission at all */
	RESOURCE_ANY,     /* "*" */
	RESOURCE_USER,    /* UserName, or the caller */
	RESOURCE_USERS,   /* all below PathPrefix */
	RESOURCE_SUBJECT, /* PolicySourceArn */
	RESOURCE_GROUP,   /* GroupName */
	RESOURCE_POLICY,  /* the managed policy PolicyName that is to be */
	RESOURCE_MFA,     /* SerialNumber, or VirtualMFADeviceName */
};

enum failure {
	FAIL_ACCESS_DENIED,
	FAIL_AUTH_FAILURE,
	FAIL_DELETE_CONFLICT,
	FAIL_EXISTS,
	FAIL_EXPIRED_TOKEN,
	FAIL_INCOMPLETE_SIGNATURE,
	FAIL_INVALID_ACTION,
	FAIL_INVALID_INPUT,
	FAIL_INVALID_TOKEN,
	FAIL_LIMIT,
	FAIL_MALFORMED_CERTIFICATE,
	FAIL_MALFORMED_POLICY,
	FAIL_METHOD,
	FAIL_MISSING_TOKEN,
	FAIL_NO_SUCH_ENTITY,
	FAIL_SIGNATURE,
	FAIL_UNAUTHORIZED,
	FAIL_VALIDATION,
};

struct call;

struct action {
	const char *name;
	enum service service;
	enum resource resource;
	bool has_result; /* an element ACTIONResult in the answer */
	int (*run)(struct call *call);
};

struct call {
	struct server *server;
	struct exchange *exchange;
	struct form *form;
	const char *name; /* the Action parameter, or "" */
	enum service service;
	const struct action *action; /* NULL: none of that name */
	struct sigv4 claim;
	enum sigv4_verdict claim_verdict;
	char claim_reason[SIGV4_REASON_MAX];

	/* Set when it is carried out. */
	struct view view;
	int64_t date_ms;   /* the server's CLOCK_REALTIME, for what it creates */
	struct user *user; /* who calls */
	struct access_key *key;

	struct xml xml;
	unsigned status; /* 200 unless it failed */
	const char *code;
	char *message;

	/* How it goes on (call.c). */
	struct fault_plan plan;
	unsigned step;
	bool held;
	struct record_entry *record;
};

/* Fails the call with AWS's code and status for it; always -1. */
int call_fail(struct call *call, enum failure failure, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Authenticates, authorises and runs it; sets xml, or status, code and message. */
void call_perform(struct call *call);

/* --- authorise.c --- */

/* 0: the caller may do the call's action on what its parameters name. */
int call_authorise(struct call *call);

enum verdict {
	VERDICT_ALLOWED,
	VERDICT_NOT_ALLOWED,         /* no policy of the user allows it */
	VERDICT_NOT_WITHIN_BOUNDARY, /* its permissions boundary does not */
	VERDICT_DENIED,              /* an explicit Deny */
};
/* What the user's policies say. The user's own members of `request` are filled in here. */
enum verdict call_judge(struct call *call, struct user *user, const char *action,
			const char *resource, const json_t *keys);

/* --- parameter.c: what is required is there and well-formed, or the call has failed (NULL). --- */

const char *call_parameter(struct call *call, const char *name); /* required */
/* Required; a name of IAM's usual characters. */
const char *call_name(struct call *call, const char *parameter, size_t max);
/* Optional; "/" where it is absent. */
const char *call_path(struct call *call, const char *parameter);
/* UserName, or the caller: as this call sees it. */
struct user *call_user(struct call *call);
/* UserName (required), which must exist in truth as well, since it is to be changed. */
struct user *call_user_to_change(struct call *call);
/* Parses and checks PolicyDocument. */
struct policy *call_policy_document(struct call *call, const char **ret_document);
/* The Tags parameter: how many there are, or -1. */
int call_count_tags(struct call *call);

/* --- page.c: MaxItems and Marker. --- */

struct page {
	uint64_t after; /* entries up to this position were on earlier pages */
	size_t size;    /* how many this page may have */
	size_t n;       /* how many it has */
	uint64_t last;  /* the position of the last of them */
	bool truncated;
};

/* Reads the parameters; -1: the call has failed. */
int page_begin(struct call *call, struct page *page);
/* Whether the entry at `position` (unique, ascending, from 1) is on this page. */
bool page_takes(struct page *page, uint64_t position);
/* Writes IsTruncated and Marker. */
void page_end(struct call *call, const struct page *page);

#endif
