#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

#include "actions.h"
#include "ids.h"

/* Service NULL: of any. */
static size_t count(const struct user *user, enum credential_kind kind, const char *service)
{
	const struct credential *credential;
	size_t n = 0;

	TAILQ_FOREACH (credential, &user->credentials, of_user)
		n += credential->kind == kind &&
		     (!service || !strcmp(credential->service, service));
	return n;
}

/* Deletes the one whose id the parameter names. */
static int delete_credential(struct call *call, enum credential_kind kind, const char *parameter,
			     const char *what)
{
	struct user *user = call_user(call);
	const char *id = user ? call_parameter(call, parameter) : NULL;
	struct credential *credential = id ? user_credential(user, kind, id) : NULL;

	if (!id)
		return -1;
	if (!credential)
		return call_fail(call, FAIL_NO_SUCH_ENTITY, "The %s with id %s cannot be found.",
				 what, id);
	user_remove_credential(user, credential);
	return 0;
}

typedef void write_fn(struct xml *xml, const char *element, const struct user *user,
		      const struct credential *credential);

static int list_credentials(struct call *call, enum credential_kind kind, const char *element,
			    write_fn *write)
{
	const struct user *user = call_user(call);
	const struct credential *credential;
	uint64_t position = 0;
	struct page page;

	if (!user || page_begin(call, &page) < 0)
		return -1;
	xml_open(&call->xml, element);
	TAILQ_FOREACH (credential, &user->credentials, of_user)
		if (credential->kind == kind && page_takes(&page, ++position))
			write(&call->xml, "member", user, credential);
	xml_close(&call->xml);
	page_end(call, &page);
	return 0;
}

static void write_certificate(struct xml *xml, const char *element, const struct user *user,
			      const struct credential *credential)
{
	xml_open(xml, element);
	xml_string(xml, "UserName", user->name);
	xml_string(xml, "CertificateId", credential->id);
	xml_string(xml, "CertificateBody", credential->body);
	xml_string(xml, "Status", credential->status);
	xml_date(xml, "UploadDate", credential->created_ms);
	xml_close(xml);
}

static bool is_certificate(const char *body)
{
	BIO *bio = BIO_new_mem_buf(body, -1);
	X509 *certificate = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
	bool ok = certificate != NULL;

	X509_free(certificate);
	BIO_free(bio);
	ERR_clear_error();
	return ok;
}

int action_upload_signing_certificate(struct call *call)
{
	struct user *user = call_user(call);
	const char *body = user ? call_parameter(call, "CertificateBody") : NULL;

	if (!body)
		return -1;
	if (!is_certificate(body))
		return call_fail(call, FAIL_MALFORMED_CERTIFICATE,
				 "The certificate body is not a PEM certificate.");
	if (count(user, CREDENTIAL_CERTIFICATE, NULL) >= QUOTA_CERTIFICATES)
		return call_fail(call, FAIL_LIMIT,
				 "Cannot exceed quota for CertificatesPerUser: %d",
				 QUOTA_CERTIFICATES);

	_cleanup_free_ char *id = id_new("ASCA");
	struct credential *credential =
		user_add_credential(user, CREDENTIAL_CERTIFICATE, id, call->date_ms);

	credential->body = must_strdup(body);
	write_certificate(&call->xml, "Certificate", user, credential);
	return 0;
}

int action_list_signing_certificates(struct call *call)
{
	return list_credentials(call, CREDENTIAL_CERTIFICATE, "Certificates", write_certificate);
}

int action_delete_signing_certificate(struct call *call)
{
	return delete_credential(call, CREDENTIAL_CERTIFICATE, "CertificateId", "Certificate");
}

static void write_ssh_key_summary(struct xml *xml, const char *element, const struct user *user,
				  const struct credential *credential)
{
	xml_open(xml, element);
	xml_string(xml, "UserName", user->name);
	xml_string(xml, "SSHPublicKeyId", credential->id);
	xml_string(xml, "Status", credential->status);
	xml_date(xml, "UploadDate", credential->created_ms);
	xml_close(xml);
}

/* Looks like an MD5 fingerprint; nothing reads it. */
static char *fingerprint(const char *body)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	struct text ret = {0};

	SHA256((const unsigned char *)body, strlen(body), digest);
	for (size_t i = 0; i < 16; i++)
		text_printf(&ret, "%s%02x", i > 0 ? ":" : "", digest[i]);
	return text_take(&ret);
}

int action_upload_ssh_public_key(struct call *call)
{
	struct user *user = call_user_to_change(call);
	const char *body = user ? call_parameter(call, "SSHPublicKeyBody") : NULL;

	if (!body)
		return -1;
	if (count(user, CREDENTIAL_SSH_KEY, NULL) >= QUOTA_SSH_KEYS)
		return call_fail(call, FAIL_LIMIT,
				 "Cannot exceed quota for SSHPublicKeysPerUser: %d",
				 QUOTA_SSH_KEYS);

	_cleanup_free_ char *id = id_new("APKA");
	_cleanup_free_ char *print = fingerprint(body);
	struct credential *credential =
		user_add_credential(user, CREDENTIAL_SSH_KEY, id, call->date_ms);

	credential->body = must_strdup(body);
	xml_open(&call->xml, "SSHPublicKey");
	xml_string(&call->xml, "UserName", user->name);
	xml_string(&call->xml, "SSHPublicKeyId", id);
	xml_string(&call->xml, "Fingerprint", print);
	xml_string(&call->xml, "SSHPublicKeyBody", body);
	xml_string(&call->xml, "Status", credential->status);
	xml_date(&call->xml, "UploadDate", credential->created_ms);
	xml_close(&call->xml);
	return 0;
}

int action_list_ssh_public_keys(struct call *call)
{
	return list_credentials(call, CREDENTIAL_SSH_KEY, "SSHPublicKeys", write_ssh_key_summary);
}

int action_delete_ssh_public_key(struct call *call)
{
	return delete_credential(call, CREDENTIAL_SSH_KEY, "SSHPublicKeyId", "Public Key");
}

static void write_service_credential(struct xml *xml, const char *element, const struct user *user,
				     const struct credential *credential)
{
	xml_open(xml, element);
	xml_string(xml, "UserName", user->name);
	xml_string(xml, "Status", credential->status);
	xml_string(xml, "ServiceUserName", credential->login);
	xml_string(xml, "ServicePassword", credential->body);
	xml_date(xml, "CreateDate", credential->created_ms);
	xml_string(xml, "ServiceSpecificCredentialId", credential->id);
	xml_string(xml, "ServiceName", credential->service);
	xml_close(xml);
}

static void write_service_credential_metadata(struct xml *xml, const char *element,
					      const struct user *user,
					      const struct credential *credential)
{
	const struct credential without_password = {
		.id = credential->id,
		.service = credential->service,
		.login = credential->login,
		.status = credential->status,
		.created_ms = credential->created_ms,
	};

	write_service_credential(xml, element, user, &without_password);
}

int action_create_service_specific_credential(struct call *call)
{
	struct user *user = call_user_to_change(call);
	const char *service = user ? call_parameter(call, "ServiceName") : NULL;

	if (!service)
		return -1;
	if (count(user, CREDENTIAL_SERVICE, service) >= QUOTA_SERVICE_CREDENTIALS)
		return call_fail(call, FAIL_LIMIT,
				 "Cannot exceed quota for ServiceSpecificCredentialsPerUser: %d",
				 QUOTA_SERVICE_CREDENTIALS);

	_cleanup_free_ char *id = id_new("ACCA");
	struct credential *credential =
		user_add_credential(user, CREDENTIAL_SERVICE, id, call->date_ms);

	credential->service = must_strdup(service);
	credential->login = must_printf("%s-at-%s", user->name, call->server->store->account);
	credential->body = id_secret();
	write_service_credential(&call->xml, "ServiceSpecificCredential", user, credential);
	return 0;
}

int action_list_service_specific_credentials(struct call *call)
{
	return list_credentials(call, CREDENTIAL_SERVICE, "ServiceSpecificCredentials",
				write_service_credential_metadata);
}

int action_delete_service_specific_credential(struct call *call)
{
	return delete_credential(call, CREDENTIAL_SERVICE, "ServiceSpecificCredentialId",
				 "Service Specific Credential");
}
