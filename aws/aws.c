#include "aws/aws.h"

#include <curl/curl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "aws/backend.h"
#include "aws/wipe.h"
#include "lease/alloc.h"

struct aws {
	struct loop loop;
	struct list backends;
};

static void *crypto_malloc(size_t n, const char *file, int line)
{
	return wipe_malloc(n);
}

static void *crypto_realloc(void *old, size_t n, const char *file, int line)
{
	return wipe_realloc(old, n);
}

static void crypto_free(void *bytes, const char *file, int line)
{
	wipe_free(bytes);
}

int aws_global_init(struct dsec_error *err)
{
	/* libcurl's OpenSSL would write every session's keys into the file that this names. */
	unsetenv("SSLKEYLOGFILE");
	if (!CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free))
		return dsec_error_set(err, DSEC_ERROR_FAULT,
				      "OpenSSL was used before its allocator could be set");
	json_set_alloc_funcs(wipe_malloc, wipe_free);
	if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, wipe_malloc, wipe_free, wipe_realloc,
				 wipe_strdup, wipe_calloc) != CURLE_OK)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl cannot be initialised");
	return 0;
}

void aws_global_finish(void)
{
	curl_global_cleanup();
}

int aws_new(struct aws **ret, const struct clock *clock, struct dsec_error *err)
{
	struct aws *aws = alloc_zeroed(1, sizeof(*aws));
	int r = loop_init(&aws->loop, clock, err);

	if (r < 0) {
		free(aws);
		return r;
	}
	list_init(&aws->backends);
	*ret = aws;
	return 0;
}

static struct backend *backend_free(struct backend *backend)
{
	backend_drop_calls(backend);
	ahead_finish(&backend->ahead);
	keyring_free(backend->keyring);
	http_finish(&backend->http);
	list_remove(&backend->link);
	catalog_unref(backend->catalog);
	free(backend);
	return NULL;
}

struct aws *aws_free(struct aws *aws)
{
	if (!aws)
		return NULL;
	list_each (link, &aws->backends) {
		backend_free(container_of(link, struct backend, link));
	}
	loop_finish(&aws->loop);
	free(aws);
	return NULL;
}

int aws_fd(const struct aws *aws)
{
	return aws->loop.epoll;
}

int64_t aws_deadline_at(const struct aws *aws)
{
	return timers_next(&aws->loop.timers);
}

void aws_dispatch(struct aws *aws)
{
	loop_dispatch(&aws->loop);
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_credentials(const struct credentials *a, const struct credentials *b)
{
	return a->source == b->source && same(a->access_key_id, b->access_key_id) &&
	       keys_secret_equal(a->secret_access_key, b->secret_access_key) &&
	       same(a->secret_access_key_file, b->secret_access_key_file) &&
	       keys_secret_equal(a->session_token, b->session_token) &&
	       same(a->profile, b->profile) &&
	       same(a->shared_credentials_file, b->shared_credentials_file) &&
	       same(a->config_file, b->config_file) && same(a->command, b->command);
}

/* All that decides what is sent, where to and with which keys; the rest is the engine's. */
static bool same_integration(const struct integration *a, const struct integration *b)
{
	return same(a->region, b->region) && same(a->endpoint, b->endpoint) &&
	       same(a->signing_region, b->signing_region) &&
	       same(a->sts_endpoint, b->sts_endpoint) && same(a->ca_file, b->ca_file) &&
	       same_credentials(&a->credentials, &b->credentials);
}

struct provider *aws_provider(struct aws *aws, struct catalog *catalog,
			      const struct integration *integration)
{
	static const struct provider_ops ops = {backend_submit, backend_cancel};
	struct backend *backend;

	list_each (link, &aws->backends) {
		backend = container_of(link, struct backend, link);
		if (same_integration(backend->integration, integration))
			return &backend->provider;
	}
	backend = alloc_zeroed(1, sizeof(*backend));
	*backend = (struct backend){
		.provider.ops = &ops,
		.loop = &aws->loop,
		.integration = integration,
	};
	if (http_init(&backend->http, &aws->loop, NULL) < 0)
		abort(); /* as alloc.h: no memory */
	ahead_init(&backend->ahead, &backend->http, integration);
	backend->catalog = catalog_ref(catalog);
	backend->keyring =
		keyring_new(&aws->loop, &integration->credentials, backend_keys_changed, backend);
	list_init(&backend->calls);
	list_append(&aws->backends, &backend->link);
	return &backend->provider;
}
