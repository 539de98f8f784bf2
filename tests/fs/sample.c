#include "tests/fs/sample.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/lease_private.h"
#include "lease/secret.h"

#define HOUR_MS 3600000

#define POLICY                                                                                     \
	"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","                        \
	"\"Action\":\"ec2:Describe*\",\"Resource\":\"*\"}]}"
#define SECRET "{\"integration\":\"aws\",\"policy\":" POLICY

static const char sample[] =
	"{\"integrations\":{\"aws\":{\"type\":\"aws-iam\",\"credentials\":{\"source\":\"static\","
	"\"access_key_id\":\"AKIAIOSFODNN7EXAMPLE\",\"secret_access_key\":\"x\"}}},"
	"\"projects\":{\"app\":{"
	"\"dev\":{\"secrets\":{\"REGION\":\"%s\"},\"dynamic_secrets\":{\"AWS_USER\":" SECRET "}}},"
	"\"own\":{\"dynamic_secrets\":{\"AWS_USER\":" SECRET ",\"scope\":\"user\"}}},"
	"\"two\":{\"dynamic_secrets\":{\"AWS_ONE\":" SECRET "},\"AWS_TWO\":" SECRET "}}},"
	"\"plain\":{\"secrets\":{\"A\":\"1\"}}"
	"}}}";

struct catalog *sample_catalog(const char *region)
{
	static struct catalog_problems problems;
	struct catalog_system system;
	struct catalog *catalog;
	char text[4096];
	int n = snprintf(text, sizeof(text), sample, region);

	catalog_system_init(&system);
	if (n >= (int)sizeof(text) ||
	    catalog_parse(&catalog, text, (size_t)n, "sample.json", true, &system, &problems) < 0) {
		fprintf(stderr, "%s: %s\n", problems.at[0].path, problems.at[0].message);
		abort();
	}
	return catalog;
}

struct lease *sample_lease(const struct catalog *catalog, const char *config, const char *secret,
			   uint64_t generation, lease_holder holder, int64_t now_at)
{
	size_t index;
	const struct dynamic_secret *dynamic =
		config_dynamic(catalog_config(catalog, "app", config), secret, &index);
	char bytes[41];
	struct lease lease = {
		.generation = generation,
		.slot = {"app", config, secret, dynamic->ttl_ms, holder},
		.integration = "aws",
		.user = "Doppler-Dynamic-0000000000000",
		.arn = "arn:aws:iam::123456789012:user/doppler/Doppler-Dynamic-0000000000000",
		.policy_name = "doppler-policy-0000000000000",
		.access_key_id = "AKIAIOSFODNN7EXAMPLE",
		.start_ms = 1000,
		.expires_ms = 1000 + HOUR_MS,
		.start_at = now_at,
		.rotate_at = now_at + HOUR_MS / 2,
		.expire_at = now_at + HOUR_MS,
		.fingerprint = dynamic->fingerprint,
	};

	snprintf(lease.id, sizeof(lease.id), "%s-%llu", secret, (unsigned long long)generation);
	snprintf(bytes, sizeof(bytes), "%040llu", (unsigned long long)generation);
	if (secret_new(&lease.secret_access_key, bytes, 40, NULL) < 0)
		abort();

	struct lease *made = lease_new(&lease);
	secret_unref(lease.secret_access_key);
	return made;
}
