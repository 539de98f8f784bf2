#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/engine/fixture.h"

static char *status(struct fixture *fixture)
{
	char *text = engine_status_text(fixture->engine, "a", "dev");

	assert_non_null(text);
	return text;
}

static void status_names_lease_user_and_end(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	char *text = status(fixture), end[CLOCK_ISO_MAX];

	clock_iso(end, lease->expires_ms);
	assert_non_null(strstr(text, "AWS_USER"));
	assert_non_null(strstr(text, lease->id));
	assert_non_null(strstr(text, lease->user));
	assert_non_null(strstr(text, end));
	assert_non_null(strstr(text, "active"));
	assert_null(strstr(text, "last error"));
	free(text);
	lease_unref(lease);
}

static void status_explains_a_failure_until_it_is_mended(void **state)
{
	struct fixture *fixture = *state;
	struct reader reader;
	char *text;

	fixture->bad_op = PROVIDER_CREATE_USER;
	fixture->n_bad = 1;
	fixture->bad =
		(struct cloud_fate){.latency_ms = 20, .fails = true, .kind = DSEC_ERROR_DENIED};
	fixture_read(fixture, &reader);
	fixture_run(fixture, SECOND_MS);
	text = status(fixture);
	assert_non_null(strstr(text, "last error"));
	assert_non_null(strstr(text, "AccessDenied"));
	assert_non_null(strstr(text, "request-"));
	assert_non_null(strstr(text, "dsec integration policy"));
	free(text);
	fixture_run(fixture, SECOND_MS);
	lease_unref(fixture_lease(fixture));
	text = status(fixture);
	assert_null(strstr(text, "last error"));
	free(text);
}

static void status_counts_who_waits_and_says_for_what(void **state)
{
	struct fixture *fixture = *state;
	struct reader readers[3];

	for (size_t i = 0; i < 3; i++)
		fixture_read(fixture, &readers[i]);
	fixture_run(fixture, 20);

	char *text = status(fixture);

	assert_non_null(strstr(text, "3 readers wait"));
	assert_non_null(strstr(text, "still creating the user"));
	free(text);
	for (size_t i = 0; i < 3; i++)
		engine_abandon(fixture->engine, readers[i].ticket);
}

static void status_of_an_unknown_config_is_a_sentence(void **state)
{
	struct fixture *fixture = *state;
	char *text = engine_status_text(fixture->engine, "a", "none");

	assert_string_equal(text, "a/none is not in the configuration\n");
	free(text);
}

static void leases_are_json_without_a_secret(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	char *text = engine_leases_json(fixture->engine), secret[64] = "";
	json_t *all = json_loads(text, 0, NULL);
	json_t *one = json_array_get(json_object_get(all, "leases"), 0);

	assert_string_equal(json_string_value(json_object_get(all, "daemon")), FIXTURE_DAEMON);
	assert_string_equal(json_string_value(json_object_get(one, "id")), lease->id);
	assert_string_equal(json_string_value(json_object_get(one, "user")), lease->user);
	assert_string_equal(json_string_value(json_object_get(one, "state")), "active");
	secret_copy(lease->secret_access_key, 0, secret, sizeof(secret) - 1);
	assert_int_equal(strlen(secret), 40);
	assert_null(strstr(text, secret));
	json_decref(all);
	free(text);
	lease_unref(lease);
}

/* Every line is a comment or `name{labels} number`, and every name has its HELP and TYPE. */
static void metrics_are_what_prometheus_reads(void **state)
{
	struct fixture *fixture = *state;
	struct lease *lease = fixture_lease(fixture);
	char *text = engine_metrics_text(fixture->engine), *rest = text, *line;
	char type[128] = "";

	assert_non_null(strstr(text, "\ndsec_leases_created_total 1\n"));
	assert_non_null(strstr(text, "\ndsec_users{state=\"active\"} 1\n"));
	assert_non_null(strstr(text, "operation=\"CreateUser\",outcome=\"ok\"} 1\n"));
	while ((line = strsep(&rest, "\n")) && *line) {
		char *end;

		if (strncmp(line, "# HELP ", 7) == 0)
			continue;
		if (sscanf(line, "# TYPE %127s", type) == 1)
			continue;
		assert_int_equal(strncmp(line, type, strlen(type)), 0);
		strtod(strrchr(line, ' ') + 1, &end);
		assert_int_equal(*end, '\0');
	}
	free(text);
	lease_unref(lease);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(status_names_lease_user_and_end),
		TEST(status_explains_a_failure_until_it_is_mended),
		TEST(status_counts_who_waits_and_says_for_what),
		TEST(status_of_an_unknown_config_is_a_sentence),
		TEST(leases_are_json_without_a_secret),
		TEST(metrics_are_what_prometheus_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
