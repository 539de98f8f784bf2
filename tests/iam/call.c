#include "call.h"

#include <stdarg.h>
#include <string.h>

static const struct {
	unsigned status;
	const char *code;
} failures[] = {
	[FAIL_ACCESS_DENIED] = {403, "AccessDenied"},
	[FAIL_AUTH_FAILURE] = {401, "AuthFailure"},
	[FAIL_DELETE_CONFLICT] = {409, "DeleteConflict"},
	[FAIL_EXISTS] = {409, "EntityAlreadyExists"},
	[FAIL_EXPIRED_TOKEN] = {403, "ExpiredToken"},
	[FAIL_INCOMPLETE_SIGNATURE] = {400, "IncompleteSignature"},
	[FAIL_INVALID_ACTION] = {400, "InvalidAction"},
	[FAIL_INVALID_INPUT] = {400, "InvalidInput"},
	[FAIL_INVALID_TOKEN] = {403, "InvalidClientTokenId"},
	[FAIL_LIMIT] = {409, "LimitExceeded"},
	[FAIL_MALFORMED_CERTIFICATE] = {400, "MalformedCertificate"},
	[FAIL_MALFORMED_POLICY] = {400, "MalformedPolicyDocument"},
	[FAIL_METHOD] = {405, "MethodNotAllowed"},
	[FAIL_MISSING_TOKEN] = {403, "MissingAuthenticationToken"},
	[FAIL_NO_SUCH_ENTITY] = {404, "NoSuchEntity"},
	[FAIL_SIGNATURE] = {403, "SignatureDoesNotMatch"},
	[FAIL_UNAUTHORIZED] = {403, "UnauthorizedOperation"},
	[FAIL_VALIDATION] = {400, "ValidationError"},
};

int call_fail(struct call *call, enum failure failure, const char *format, ...)
{
	va_list args;

	free(call->message);
	va_start(args, format);
	call->message = must_vprintf(format, args);
	va_end(args);
	call->status = failures[failure].status;
	call->code = failures[failure].code;
	return -1;
}

/* What an unknown or dead key is called depends on the service. */
static int unknown_key(struct call *call)
{
	if (call->service == SERVICE_EC2)
		return call_fail(call, FAIL_AUTH_FAILURE,
				 "AWS was not able to validate the provided access credentials");
	return call_fail(call, FAIL_INVALID_TOKEN,
			 "The security token included in the request is invalid.");
}

static int check_token(struct call *call, const struct sigv4_request *request,
		       const struct access_key *key, int64_t now_ms)
{
	const char *token = sigv4_header(request, "x-amz-security-token");

	if (key->token ? !token || strcmp(token, key->token) != 0 : token != NULL)
		return unknown_key(call);
	if (key->expires_ms > 0 && key->expires_ms <= now_ms)
		return call_fail(call, FAIL_EXPIRED_TOKEN,
				 "The security token included in the request is expired");
	if (key->iam_refused && call->service == SERVICE_IAM)
		return unknown_key(call);
	return 0;
}

static int fail_claim(struct call *call, enum sigv4_verdict verdict, const char *reason)
{
	return call_fail(call,
			 verdict == SIGV4_MISSING      ? FAIL_MISSING_TOKEN
			 : verdict == SIGV4_INCOMPLETE ? FAIL_INCOMPLETE_SIGNATURE
						       : FAIL_SIGNATURE,
			 "%s", reason);
}

static int authenticate(struct call *call)
{
	static const char *const services[] = {
		[SERVICE_IAM] = "iam", [SERVICE_STS] = "sts", [SERVICE_EC2] = "ec2"};
	struct server *server = call->server;
	const struct exchange *exchange = call->exchange;
	const struct sigv4_request request = {
		.method = exchange->method,
		.target = exchange->target,
		.headers = exchange->headers,
		.n_headers = exchange->n_headers,
		.body = text_string(&exchange->body),
		.body_size = exchange->body.size,
	};
	const char *region = call->service == SERVICE_IAM ? server->iam_region : server->region;
	int64_t now_ms = clock_wall_ms() + server->settings.signature_off_ms;
	char reason[SIGV4_REASON_MAX];

	if (call->claim_verdict != SIGV4_OK)
		return fail_claim(call, call->claim_verdict, call->claim_reason);

	struct access_key *key = store_key(server->store, call->claim.key_id, &call->view);

	if (!key || !key->active)
		return unknown_key(call);

	enum sigv4_verdict verdict = sigv4_verify(&request, &call->claim, key->secret, region,
						  services[call->service], now_ms, reason);

	if (verdict != SIGV4_OK)
		return fail_claim(call, verdict, reason);
	call->key = key;
	call->user = key->user;
	return check_token(call, &request, key, now_ms);
}

void call_perform(struct call *call)
{
	struct server *server = call->server;
	const struct consistency *consistency = &server->store->consistency;

	call->status = 200;
	call->date_ms = clock_wall_ms() + server->settings.date_off_ms;
	call->view.now_ms = clock_monotonic_ms();
	call->view.fresh =
		consistency->of > 0 && server->n_calls % consistency->of < consistency->fresh;
	server->n_calls++;
	store_bury(server->store, call->view.now_ms);

	if (call->service == SERVICE_STS && !server->settings.sts) {
		call_fail(call, FAIL_METHOD,
			  "The specified method is not allowed against this resource.");
		return;
	}
	if (authenticate(call) < 0)
		return;
	if (!call->action) {
		const char *version = form_get(call->form, "Version");

		call_fail(call, FAIL_INVALID_ACTION, "Could not find operation %s for version %s",
			  call->name, version ? version : "NO_VERSION_SPECIFIED");
		return;
	}
	if (!call_authorise(call))
		call->action->run(call);
}
