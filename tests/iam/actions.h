/*
 * actions.h: the actions of each file, for the table in actions.c.
 */
#ifndef DSEC_TESTS_IAM_ACTIONS_H
#define DSEC_TESTS_IAM_ACTIONS_H

#include "call.h"

/* NULL: the service has none of that name. */
const struct action *action_find(enum service service, const char *name);

/* actions_users.c */
int action_create_user(struct call *call);
int action_get_user(struct call *call);
int action_update_user(struct call *call);
int action_delete_user(struct call *call);
int action_list_users(struct call *call);
int action_tag_user(struct call *call);
int action_list_user_tags(struct call *call);

/* actions_policies.c */
int action_put_user_policy(struct call *call);
int action_get_user_policy(struct call *call);
int action_delete_user_policy(struct call *call);
int action_list_user_policies(struct call *call);
int action_attach_user_policy(struct call *call);
int action_detach_user_policy(struct call *call);
int action_list_attached_user_policies(struct call *call);
int action_create_policy(struct call *call);

/* actions_keys.c */
int action_create_access_key(struct call *call);
int action_list_access_keys(struct call *call);
int action_update_access_key(struct call *call);
int action_delete_access_key(struct call *call);

/* actions_groups.c */
int action_create_group(struct call *call);
int action_add_user_to_group(struct call *call);
int action_remove_user_from_group(struct call *call);
int action_list_groups_for_user(struct call *call);

/* actions_mfa.c: login profiles and MFA devices */
int action_create_login_profile(struct call *call);
int action_get_login_profile(struct call *call);
int action_delete_login_profile(struct call *call);
int action_create_virtual_mfa_device(struct call *call);
int action_enable_mfa_device(struct call *call);
int action_list_mfa_devices(struct call *call);
int action_deactivate_mfa_device(struct call *call);
int action_delete_virtual_mfa_device(struct call *call);

/* actions_credentials.c: certificates, SSH keys, service-specific credentials */
int action_upload_signing_certificate(struct call *call);
int action_list_signing_certificates(struct call *call);
int action_delete_signing_certificate(struct call *call);
int action_upload_ssh_public_key(struct call *call);
int action_list_ssh_public_keys(struct call *call);
int action_delete_ssh_public_key(struct call *call);
int action_create_service_specific_credential(struct call *call);
int action_list_service_specific_credentials(struct call *call);
int action_delete_service_specific_credential(struct call *call);

/* actions_account.c: the account, STS, and what stands for EC2 */
int action_get_account_summary(struct call *call);
int action_simulate_principal_policy(struct call *call);
int action_get_caller_identity(struct call *call);
int action_get_session_token(struct call *call);
int action_describe_instances(struct call *call);

#endif
