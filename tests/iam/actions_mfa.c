#include <string.h>

#include "actions.h"
#include "ids.h"

static int no_login_profile(struct call *call, const struct user *user)
{
	return call_fail(call, FAIL_NO_SUCH_ENTITY, "Login Profile for User %s cannot be found.",
			 user->name);
}

static void write_login_profile(struct xml *xml, const struct user *user)
{
	xml_open(xml, "LoginProfile");
	xml_string(xml, "UserName", user->name);
	xml_date(xml, "CreateDate", user->login_created_ms);
	xml_bool(xml, "PasswordResetRequired", false);
	xml_close(xml);
}

int action_create_login_profile(struct call *call)
{
	struct user *user = call_user_to_change(call);

	if (!user || !call_parameter(call, "Password"))
		return -1;
	if (user->has_login)
		return call_fail(call, FAIL_EXISTS, "Login Profile for user %s already exists.",
				 user->name);
	user->has_login = true;
	user->login_created_ms = call->date_ms;
	write_login_profile(&call->xml, user);
	return 0;
}

int action_get_login_profile(struct call *call)
{
	const struct user *user = call_user(call);

	if (!user)
		return -1;
	if (!user->has_login)
		return no_login_profile(call, user);
	write_login_profile(&call->xml, user);
	return 0;
}

int action_delete_login_profile(struct call *call)
{
	struct user *user = call_user_to_change(call);

	if (!user)
		return -1;
	if (!user->has_login)
		return no_login_profile(call, user);
	user->has_login = false;
	return 0;
}

int action_create_virtual_mfa_device(struct call *call)
{
	struct store *store = call->server->store;
	const char *name = call_name(call, "VirtualMFADeviceName", NAME_MAX_LENGTH_LONG);
	const char *path = name ? call_path(call, "Path") : NULL;

	if (!path)
		return -1;

	_cleanup_free_ char *serial =
		must_printf("arn:%s:iam::%s:mfa%s%s", store->partition, store->account, path, name);
	_cleanup_free_ char *seed = id_new("");

	if (store_mfa_device(store, serial))
		return call_fail(call, FAIL_EXISTS,
				 "MFADevice entity at the same path and name already exists.");
	store_add_mfa_device(store, serial);
	xml_open(&call->xml, "VirtualMFADevice");
	xml_string(&call->xml, "SerialNumber", serial);
	xml_string(&call->xml, "Base32StringSeed", seed);
	xml_string(&call->xml, "QRCodePNG", "iVBORw0KGgo=");
	xml_close(&call->xml);
	return 0;
}

static struct mfa_device *named_device(struct call *call)
{
	const char *serial = call_parameter(call, "SerialNumber");
	struct mfa_device *device = serial ? store_mfa_device(call->server->store, serial) : NULL;

	if (serial && !device)
		call_fail(call, FAIL_NO_SUCH_ENTITY,
			  "VirtualMFADevice with serial number %s does not exist.", serial);
	return device;
}

static bool is_code(const char *code)
{
	return code && strlen(code) == 6 && strspn(code, "0123456789") == 6;
}

int action_enable_mfa_device(struct call *call)
{
	struct user *user = call_user_to_change(call);
	struct mfa_device *device = user ? named_device(call) : NULL;
	const struct credential *credential;
	size_t n = 0;

	if (!device)
		return -1;
	if (!is_code(form_get(call->form, "AuthenticationCode1")) ||
	    !is_code(form_get(call->form, "AuthenticationCode2")))
		return call_fail(call, FAIL_VALIDATION,
				 "Authentication codes must be six digits each.");
	if (device->user)
		return call_fail(call, FAIL_EXISTS, "MFA Device is already in use.");
	TAILQ_FOREACH (credential, &user->credentials, of_user)
		n += credential->kind == CREDENTIAL_MFA;
	if (n >= QUOTA_MFA_DEVICES)
		return call_fail(call, FAIL_LIMIT, "Cannot exceed quota for MFADevicesPerUser: %d",
				 QUOTA_MFA_DEVICES);
	device->user = user;
	user_add_credential(user, CREDENTIAL_MFA, device->serial, call->date_ms);
	return 0;
}

int action_list_mfa_devices(struct call *call)
{
	const struct user *user = call_user(call);
	const struct credential *credential;
	struct xml *xml = &call->xml;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(xml, "MFADevices");
	TAILQ_FOREACH (credential, &user->credentials, of_user) {
		if (credential->kind != CREDENTIAL_MFA || !page_takes(&page, ++position))
			continue;
		xml_open(xml, "member");
		xml_string(xml, "UserName", user->name);
		xml_string(xml, "SerialNumber", credential->id);
		xml_date(xml, "EnableDate", credential->created_ms);
		xml_close(xml);
	}
	xml_close(xml);
	page_end(call, &page);
	return 0;
}

int action_deactivate_mfa_device(struct call *call)
{
	struct user *user = call_user_to_change(call);
	struct mfa_device *device = user ? named_device(call) : NULL;

	if (!device)
		return -1;
	if (device->user != user)
		return call_fail(call, FAIL_NO_SUCH_ENTITY, "MFA Device invalid for user.");
	user_remove_credential(user, user_credential(user, CREDENTIAL_MFA, device->serial));
	device->user = NULL;
	return 0;
}

int action_delete_virtual_mfa_device(struct call *call)
{
	struct mfa_device *device = named_device(call);

	if (!device)
		return -1;
	if (device->user)
		return call_fail(call, FAIL_DELETE_CONFLICT,
				 "The MFA device is in use: it must be deactivated first.");
	store_remove_mfa_device(call->server->store, device);
	return 0;
}
