#include "aws/query.h"

#include <string.h>

#define IAM_VERSION "2010-05-08"
#define STS_VERSION "2011-06-15"

/* A page of users is as long as IAM gives: a daemon lists its own at every start. */
#define PAGE_ITEMS "1000"

static const struct {
	const char *list;          /* the action */
	struct answer_names names; /* in its answer */
	const char *remove;        /* the action */
	const char *parameter;     /* of that: the attachment's name; NULL: it has none */
} attachments[ATTACHMENT_KINDS] = {
	[ATTACHMENT_ACCESS_KEY] = {"ListAccessKeys",
				   {"AccessKeyMetadata", "AccessKeyId"},
				   "DeleteAccessKey",
				   "AccessKeyId"},
	[ATTACHMENT_INLINE_POLICY] = {"ListUserPolicies",
				      {"PolicyNames", NULL},
				      "DeleteUserPolicy",
				      "PolicyName"},
	[ATTACHMENT_MANAGED_POLICY] = {"ListAttachedUserPolicies",
				       {"AttachedPolicies", "PolicyArn"},
				       "DetachUserPolicy",
				       "PolicyArn"},
	[ATTACHMENT_GROUP] = {"ListGroupsForUser",
			      {"Groups", "GroupName"},
			      "RemoveUserFromGroup",
			      "GroupName"},
	[ATTACHMENT_LOGIN_PROFILE] = {"GetLoginProfile", {NULL, NULL}, "DeleteLoginProfile", NULL},
	[ATTACHMENT_MFA_DEVICE] = {"ListMFADevices",
				   {"MFADevices", "SerialNumber"},
				   "DeactivateMFADevice",
				   "SerialNumber"},
	[ATTACHMENT_SIGNING_CERTIFICATE] = {"ListSigningCertificates",
					    {"Certificates", "CertificateId"},
					    "DeleteSigningCertificate",
					    "CertificateId"},
	[ATTACHMENT_SSH_KEY] = {"ListSSHPublicKeys",
				{"SSHPublicKeys", "SSHPublicKeyId"},
				"DeleteSSHPublicKey",
				"SSHPublicKeyId"},
	[ATTACHMENT_SERVICE_CREDENTIAL] = {"ListServiceSpecificCredentials",
					   {"ServiceSpecificCredentials",
					    "ServiceSpecificCredentialId"},
					   "DeleteServiceSpecificCredential",
					   "ServiceSpecificCredentialId"},
};

static void begin(struct query *query, enum query_service service, const char *action)
{
	query_finish(query);
	query->service = service;
	query->action = action;
	query->names = (struct answer_names){NULL, NULL};
	form_add(&query->form, "Action", action);
	form_add(&query->form, "Version", service == QUERY_IAM ? IAM_VERSION : STS_VERSION);
}

static struct form *begin_iam(struct query *query, const char *action)
{
	begin(query, QUERY_IAM, action);
	return &query->form;
}

static void create_user(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, "CreateUser");

	form_add(form, "UserName", call->user);
	form_add(form, "Path", call->path);
	form_add(form, "PermissionsBoundary", call->permissions_boundary);
	for (size_t i = 0; i < call->n_tags; i++) {
		form_add_member(form, "Tags", i + 1, "Key", call->tags[i].key);
		form_add_member(form, "Tags", i + 1, "Value", call->tags[i].value);
	}
}

static void list_users(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, "ListUsers");

	form_add(form, "PathPrefix", call->path);
	form_add(form, "MaxItems", PAGE_ITEMS);
	form_add(form, "Marker", call->marker);
}

static void put_policy(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, "PutUserPolicy");

	form_add(form, "UserName", call->user);
	form_add(form, "PolicyName", call->name);
	form_add(form, "PolicyDocument", call->document);
}

static void attach_policy(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, "AttachUserPolicy");

	form_add(form, "UserName", call->user);
	form_add(form, "PolicyArn", call->name);
}

static void list_attachments(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, attachments[call->attachment].list);

	form_add(form, "UserName", call->user);
	form_add(form, "Marker", call->marker);
	query->names = attachments[call->attachment].names;
}

static void remove_attachment(struct query *query, const struct provider_call *call)
{
	const char *parameter = attachments[call->attachment].parameter;
	struct form *form = begin_iam(query, attachments[call->attachment].remove);

	form_add(form, "UserName", call->user);
	if (parameter)
		form_add(form, parameter, call->name);
}

static void simulate(struct query *query, const struct provider_call *call)
{
	struct form *form = begin_iam(query, "SimulatePrincipalPolicy");

	form_add(form, "PolicySourceArn", call->name);
	for (size_t i = 0; i < call->n_actions; i++)
		form_add_member(form, "ActionNames", i + 1, NULL, call->actions[i]);
	form_add_member(form, "ResourceArns", 1, NULL, call->resource);
	for (size_t i = 0; i < call->n_tags; i++) {
		form_add_member(form, "ContextEntries", i + 1, "ContextKeyName", call->tags[i].key);
		form_add_member(form, "ContextEntries", i + 1, "ContextKeyType", "string");
		form_add_member(form, "ContextEntries", i + 1, "ContextKeyValues.member.1",
				call->tags[i].value);
	}
	form_add(form, "MaxItems", PAGE_ITEMS);
	form_add(form, "Marker", call->marker);
}

void query_build(struct query *query, const struct provider_call *call)
{
	switch (call->op) {
	case PROVIDER_CREATE_USER:
		create_user(query, call);
		break;
	case PROVIDER_GET_USER:
		form_add(begin_iam(query, "GetUser"), "UserName", call->user);
		break;
	case PROVIDER_DELETE_USER:
		form_add(begin_iam(query, "DeleteUser"), "UserName", call->user);
		break;
	case PROVIDER_LIST_USERS:
		list_users(query, call);
		break;
	case PROVIDER_PUT_POLICY:
		put_policy(query, call);
		break;
	case PROVIDER_ATTACH_POLICY:
		attach_policy(query, call);
		break;
	case PROVIDER_CREATE_KEY:
		form_add(begin_iam(query, "CreateAccessKey"), "UserName", call->user);
		break;
	case PROVIDER_LIST:
		list_attachments(query, call);
		break;
	case PROVIDER_REMOVE:
		remove_attachment(query, call);
		break;
	case PROVIDER_VERIFY_KEY:
		query_caller_identity(query);
		break;
	case PROVIDER_SUMMARY:
		begin_iam(query, "GetAccountSummary");
		break;
	case PROVIDER_SIMULATE:
		simulate(query, call);
		break;
	}
}

void query_caller_identity(struct query *query)
{
	begin(query, QUERY_STS, "GetCallerIdentity");
}

void query_own_user(struct query *query)
{
	begin_iam(query, "GetUser");
}

bool query_mfa_device_is_virtual(const char *serial)
{
	return strncmp(serial, "arn:", 4) == 0 && strstr(serial, ":mfa/");
}

void query_delete_mfa_device(struct query *query, const char *serial)
{
	form_add(begin_iam(query, "DeleteVirtualMFADevice"), "SerialNumber", serial);
}

void query_finish(struct query *query)
{
	form_finish(&query->form);
}
