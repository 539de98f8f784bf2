/* catalog_endpoint.c: which servers an integration talks to, and in which region's name it signs.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lease/catalog_reader.h"

#define URL_MAX    1024
#define HOST_MAX   256
#define REGION_MAX 64

/* AWS's partitions, by the beginning of their regions' names (facts: aws-iam.md). Where the host is
 * NULL, no default is known. */
static const struct partition {
	const char *regions, *iam_host, *signing_region, *domain;
} partitions[] = {
	{"cn-", "iam.cn-north-1.amazonaws.com.cn", "cn-north-1", "amazonaws.com.cn"},
	{"us-gov-", "iam.us-gov.amazonaws.com", "us-gov-west-1", "amazonaws.com"},
	{"eusc-", "iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "amazonaws.eu"},
	{"us-iso", NULL, NULL, NULL},
	{"eu-iso", NULL, NULL, NULL},
	{"", "iam.amazonaws.com", "us-east-1", "amazonaws.com"},
};

static const struct partition *partition_of(const char *region)
{
	const struct partition *partition = partitions;

	while (strncmp(region, partition->regions, strlen(partition->regions)) != 0)
		partition++;
	return partition;
}

/* "eu-central-1": letters, words between hyphens, a number. */
static bool is_aws_region(const char *region)
{
	const char *number = strrchr(region, '-');

	return number && strchr(region, '-') < number && number[1] &&
	       number[1 + strspn(number + 1, "0123456789")] == '\0' &&
	       strspn(region, "abcdefghijklmnopqrstuvwxyz-") == (size_t)(number + 1 - region);
}

static const char *printed(struct reader *reader, const char *format, const char *a, const char *b)
	__attribute__((format(printf, 2, 0)));

static const char *printed(struct reader *reader, const char *format, const char *a, const char *b)
{
	char text[URL_MAX];

	snprintf(text, sizeof(text), format, a, b);
	return reader_string(reader, text);
}

bool catalog_is_loopback(const char *host)
{
	struct in_addr v4;

	if (strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0)
		return true;
	return inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127;
}

static bool host_valid(const char *host)
{
	struct in6_addr v6;
	char bare[HOST_MAX];
	size_t n = strlen(host);

	if (host[0] != '[')
		return n > 0 && catalog_made_of(host, ".-");
	if (host[n - 1] != ']')
		return false;
	snprintf(bare, sizeof(bare), "%.*s", (int)(n - 2), host + 1);
	return inet_pton(AF_INET6, bare, &v6) == 1;
}

bool catalog_port_valid(const char *port)
{
	size_t n = strspn(port, "0123456789");
	long number = n > 0 && n <= 5 && !port[n] ? strtol(port, NULL, 10) : 0;

	return number > 0 && number <= 65535;
}

/* The URL is not shown: somebody may have put a password into it. */
static bool split_url(const struct cursor *at, const char *url, char host[HOST_MAX],
		      bool *ret_secure)
{
	bool secure = strncmp(url, "https://", 8) == 0;

	if (!secure && strncmp(url, "http://", 7) != 0) {
		cursor_refuse(at, "has to begin with \"https://\"");
		return false;
	}
	const char *from = url + (secure ? 8 : 7);
	if (strchr(from, '@')) {
		cursor_refuse(at, "must not have a user or password in it; credentials stand in "
				  "\"credentials\"");
		return false;
	}
	size_t n = *from == '[' ? strcspn(from, "]/?#") + 1 : strcspn(from, ":/?#");
	n = n < strlen(from) ? n : strlen(from);
	snprintf(host, HOST_MAX, "%.*s", (int)n, from);
	if (n >= HOST_MAX || !host_valid(host)) {
		cursor_refuse(at, "has no valid host's name or address");
		return false;
	}
	if (from[n] == ':' ? !catalog_port_valid(from + n + 1) : from[n] != '\0') {
		cursor_refuse(at, "has to end after the host and, where there is one, the port");
		return false;
	}
	*ret_secure = secure;
	return true;
}

/* The member's URL, without a '/' at the end, with its host; false when it is not there or wrong.
 */
static bool read_url(const struct cursor *object, const char *key, const char **ret,
		     char host[HOST_MAX])
{
	struct cursor at;
	char url[URL_MAX];
	bool secure;
	const char *text = cursor_string(object, key, "\"https://iam.amazonaws.com\"", &at);

	if (!text)
		return false;
	size_t n = strlen(text);
	if (n >= sizeof(url)) {
		cursor_refuse(&at, "has more than %d characters", URL_MAX - 1);
		return false;
	}
	memcpy(url, text, n + 1);
	if (url[n - 1] == '/')
		url[n - 1] = '\0';
	if (!split_url(&at, url, host, &secure))
		return false;
	if (!secure && !catalog_is_loopback(host)) {
		cursor_refuse(&at, "has to begin with \"https://\": plain http is for loopback "
				   "addresses only");
		return false;
	}
	*ret = reader_string(at.reader, url);
	return true;
}

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n > m && strcasecmp(text + n - m, end) == 0 && text[n - m - 1] == '.';
}

static bool is_aws_host(const char *host)
{
	return ends_with(host, "amazonaws.com") || ends_with(host, "amazonaws.com.cn") ||
	       ends_with(host, "amazonaws.eu");
}

static void read_region(struct integration *ret, const struct cursor *object)
{
	struct cursor at;
	const char *region = cursor_string(object, "region", "\"us-east-1\"", &at);

	if (!region)
		return;
	if (strlen(region) > REGION_MAX ||
	    region[strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-")])
		cursor_refuse(&at, "\"%.64s\" is no region; one looks like \"eu-central-1\"",
			      region);
	else
		ret->region = reader_string(at.reader, region);
}

/* AWS's own servers: what is not given follows from the region. */
static void default_to_aws(struct integration *ret, const struct cursor *object, bool given,
			   const char *host)
{
	const struct partition *partition = partition_of(ret->region);
	struct reader *reader = object->reader;
	struct cursor at;

	if (!partition->domain || !is_aws_region(ret->region)) {
		cursor_refuse(cursor_member(object, "region", &at) ? &at : object,
			      "\"%s\" is no region whose servers are known; name \"endpoint\" and "
			      "\"sts_endpoint\"",
			      ret->region);
		return;
	}
	if (given && !ends_with(host, partition->domain) && cursor_member(object, "endpoint", &at))
		cursor_refuse(&at, "is not where the region \"%s\" belongs: that is %s",
			      ret->region, partition->iam_host);
	if (!given)
		ret->endpoint = printed(reader, "https://%s%s", partition->iam_host, "");
	ret->signing_region = partition->signing_region;
	ret->sts_endpoint = printed(reader, "https://sts.%s.%s", ret->region, partition->domain);
}

void read_endpoints(struct integration *ret, const struct cursor *integration)
{
	char host[HOST_MAX] = "";
	struct cursor at;
	bool given = cursor_member(integration, "endpoint", &at);

	read_region(ret, integration);
	if (given && !read_url(integration, "endpoint", &ret->endpoint, host))
		given = false;
	if (!given || is_aws_host(host)) {
		default_to_aws(ret, integration, given, host);
	} else {
		/* Keys of another server are never shown to AWS: its STS, if it has one, is taken
		 * to be where its IAM is. */
		ret->signing_region = ret->region;
		ret->sts_endpoint = ret->endpoint;
	}
	read_url(integration, "sts_endpoint", &ret->sts_endpoint, host);
}
