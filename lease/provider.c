#include "lease/provider.h"

const char *provider_op_name(enum provider_op op)
{
	static const char *const names[] = {
		[PROVIDER_CREATE_USER] = "CreateUser",
		[PROVIDER_GET_USER] = "GetUser",
		[PROVIDER_DELETE_USER] = "DeleteUser",
		[PROVIDER_LIST_USERS] = "ListUsers",
		[PROVIDER_PUT_POLICY] = "PutUserPolicy",
		[PROVIDER_ATTACH_POLICY] = "AttachUserPolicy",
		[PROVIDER_CREATE_KEY] = "CreateAccessKey",
		[PROVIDER_LIST] = "List",
		[PROVIDER_REMOVE] = "Remove",
		[PROVIDER_VERIFY_KEY] = "GetCallerIdentity",
		[PROVIDER_SUMMARY] = "GetAccountSummary",
		[PROVIDER_SIMULATE] = "SimulatePrincipalPolicy",
	};
	return names[op];
}

const char *provider_attachment_name(enum provider_attachment attachment)
{
	static const char *const names[ATTACHMENT_KINDS] = {
		[ATTACHMENT_ACCESS_KEY] = "access key",
		[ATTACHMENT_INLINE_POLICY] = "inline policy",
		[ATTACHMENT_MANAGED_POLICY] = "managed policy",
		[ATTACHMENT_GROUP] = "group",
		[ATTACHMENT_LOGIN_PROFILE] = "login profile",
		[ATTACHMENT_MFA_DEVICE] = "MFA device",
		[ATTACHMENT_SIGNING_CERTIFICATE] = "signing certificate",
		[ATTACHMENT_SSH_KEY] = "SSH key",
		[ATTACHMENT_SERVICE_CREDENTIAL] = "service credential",
	};
	return names[attachment];
}
