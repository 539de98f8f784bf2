#include "actions.h"

#include <string.h>

#define IAM(name, resource, has_result, run)                                                       \
	{                                                                                          \
		name, SERVICE_IAM, RESOURCE_##resource, has_result, run                            \
	}

static const struct action actions[] = {
	IAM("CreateUser", USER, true, action_create_user),
	IAM("GetUser", USER, true, action_get_user),
	IAM("UpdateUser", USER, false, action_update_user),
	IAM("DeleteUser", USER, false, action_delete_user),
	IAM("ListUsers", USERS, true, action_list_users),
	IAM("TagUser", USER, false, action_tag_user),
	IAM("ListUserTags", USER, true, action_list_user_tags),
	IAM("PutUserPolicy", USER, false, action_put_user_policy),
	IAM("GetUserPolicy", USER, true, action_get_user_policy),
	IAM("DeleteUserPolicy", USER, false, action_delete_user_policy),
	IAM("ListUserPolicies", USER, true, action_list_user_policies),
	IAM("AttachUserPolicy", USER, false, action_attach_user_policy),
	IAM("DetachUserPolicy", USER, false, action_detach_user_policy),
	IAM("ListAttachedUserPolicies", USER, true, action_list_attached_user_policies),
	IAM("CreatePolicy", POLICY, true, action_create_policy),
	IAM("CreateAccessKey", USER, true, action_create_access_key),
	IAM("ListAccessKeys", USER, true, action_list_access_keys),
	IAM("UpdateAccessKey", USER, false, action_update_access_key),
	IAM("DeleteAccessKey", USER, false, action_delete_access_key),
	IAM("CreateGroup", GROUP, true, action_create_group),
	IAM("AddUserToGroup", GROUP, false, action_add_user_to_group),
	IAM("RemoveUserFromGroup", GROUP, false, action_remove_user_from_group),
	IAM("ListGroupsForUser", USER, true, action_list_groups_for_user),
	IAM("CreateLoginProfile", USER, true, action_create_login_profile),
	IAM("GetLoginProfile", USER, true, action_get_login_profile),
	IAM("DeleteLoginProfile", USER, false, action_delete_login_profile),
	IAM("CreateVirtualMFADevice", MFA, true, action_create_virtual_mfa_device),
	IAM("EnableMFADevice", USER, false, action_enable_mfa_device),
	IAM("ListMFADevices", USER, true, action_list_mfa_devices),
	IAM("DeactivateMFADevice", USER, false, action_deactivate_mfa_device),
	IAM("DeleteVirtualMFADevice", MFA, false, action_delete_virtual_mfa_device),
	IAM("UploadSigningCertificate", USER, true, action_upload_signing_certificate),
	IAM("ListSigningCertificates", USER, true, action_list_signing_certificates),
	IAM("DeleteSigningCertificate", USER, false, action_delete_signing_certificate),
	IAM("UploadSSHPublicKey", USER, true, action_upload_ssh_public_key),
	IAM("ListSSHPublicKeys", USER, true, action_list_ssh_public_keys),
	IAM("DeleteSSHPublicKey", USER, false, action_delete_ssh_public_key),
	IAM("CreateServiceSpecificCredential", USER, true,
	    action_create_service_specific_credential),
	IAM("ListServiceSpecificCredentials", USER, true, action_list_service_specific_credentials),
	IAM("DeleteServiceSpecificCredential", USER, false,
	    action_delete_service_specific_credential),
	IAM("GetAccountSummary", ANY, true, action_get_account_summary),
	IAM("SimulatePrincipalPolicy", SUBJECT, true, action_simulate_principal_policy),
	{"GetCallerIdentity", SERVICE_STS, RESOURCE_NONE, true, action_get_caller_identity},
	{"GetSessionToken", SERVICE_STS, RESOURCE_NONE, true, action_get_session_token},
	{"DescribeInstances", SERVICE_EC2, RESOURCE_ANY, false, action_describe_instances},
};

const struct action *action_find(enum service service, const char *name)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		if (actions[i].service == service && !strcmp(actions[i].name, name))
			return &actions[i];
	return NULL;
}
