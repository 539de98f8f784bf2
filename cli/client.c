#include "cli/client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/paths.h"
#include "lease/alloc.h"
#include "lease/catalog.h"
#include "lease/secret.h"

/* The configuration may be one that this user may read only in part (the files that it names), so
 * it is not checked here: that is the daemon's business, and `dsec check`'s. */
static bool configured_socket(char to[PATH_MAX], const char *file)
{
	json_t *root = json_load_file(file, 0, NULL);
	const json_t *listen = json_object_get(json_object_get(root, "api"), "listen");
	const json_t *entry;
	size_t i;
	bool found = false;

	json_array_foreach(listen, i, entry)
	{
		const char *text = json_string_value(entry);
		if (!text || strncmp(text, CATALOG_UNIX_PREFIX, strlen(CATALOG_UNIX_PREFIX)) != 0)
			continue;
		snprintf(to, PATH_MAX, "%s", text + strlen(CATALOG_UNIX_PREFIX));
		found = true;
		break;
	}
	json_decref(root);
	return found;
}

int client_socket(char to[PATH_MAX], const struct options *options, struct dsec_error *err)
{
	char config[PATH_MAX];
	struct dsec_error ignored;

	if (options->socket) {
		snprintf(to, PATH_MAX, "%s", options->socket);
		return 0;
	}
	if (paths_config(config, options->config, &ignored) == 0 && configured_socket(to, config))
		return 0;
	return paths_socket(to, err);
}

/* realloc(3) would leave the old bytes behind, which may be a secret's. */
static size_t receive(char *data, size_t size, size_t n, void *arg)
{
	struct client_answer *answer = arg;

	if (n > CLIENT_ANSWER_MAX - answer->n)
		return 0; /* curl takes this for a failure, which it is */
	char *text = alloc_zeroed(answer->n + n + 1, 1);
	if (answer->text)
		memcpy(text, answer->text, answer->n);
	memcpy(text + answer->n, data, n);
	secret_wipe(answer->text, answer->n);
	free(answer->text);
	answer->text = text;
	answer->n += n;
	return n;
}

void client_answer_finish(struct client_answer *answer)
{
	secret_wipe(answer->text, answer->n);
	free(answer->text);
	*answer = (struct client_answer){0};
}

/* The sentence in Doppler's form of an error. */
int client_refused(const struct client_answer *answer, struct dsec_error *err)
{
	json_t *root = answer->text ? json_loads(answer->text, 0, NULL) : NULL;
	const char *message =
		json_string_value(json_array_get(json_object_get(root, "messages"), 0));
	int r = message ? dsec_error_set(err, DSEC_ERROR_FAULT, "%s", message)
			: dsec_error_set(err, DSEC_ERROR_FAULT,
					 "the daemon answered with status %ld", answer->status);

	json_decref(root);
	return r;
}

static int unreachable(const char *socket, CURLcode code, struct dsec_error *err)
{
	if (code == CURLE_COULDNT_CONNECT)
		return dsec_error_set(err, DSEC_ERROR_UNREACHABLE,
				      "no daemon answers on %s, or this user may not speak to it",
				      socket);
	return dsec_error_set(err, DSEC_ERROR_UNREACHABLE, "%s: %s", socket,
			      curl_easy_strerror(code));
}

int client_request(const char *socket, const char *method, const char *path, const char *body,
		   struct client_answer *ret, struct dsec_error *err)
{
	struct client_answer answer = {0};
	char url[CLIENT_PATH_MAX + 16];
	CURL *curl = curl_easy_init();

	if (!curl)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "libcurl does not start");
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	snprintf(url, sizeof(url), "http://dsec%s", path);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, socket);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)CLIENT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	if (body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);

	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK) {
		client_answer_finish(&answer);
		return unreachable(socket, code, err);
	}
	*ret = answer;
	return 0;
}

int client_ask(const char *socket, const char *method, const char *path, const char *body,
	       char **ret, struct dsec_error *err)
{
	struct client_answer answer = {0};
	int r = client_request(socket, method, path, body, &answer, err);

	if (r == 0 && (answer.status < 200 || answer.status > 299))
		r = client_refused(&answer, err);
	if (r == 0 && ret) {
		*ret = answer.text ? answer.text : alloc_copy("");
		answer.text = NULL;
	}
	client_answer_finish(&answer);
	return r;
}
