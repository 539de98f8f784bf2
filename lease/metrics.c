#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "lease/engine_private.h"

/* Prometheus' text format, version 0.0.4. */

static void head(FILE *to, const char *name, const char *type, const char *help)
{
	fprintf(to, "# HELP dsec_%s %s\n# TYPE dsec_%s %s\n", name, help, name, type);
}

static void counter(FILE *to, const char *name, const char *help, uint64_t value)
{
	head(to, name, "counter", help);
	fprintf(to, "dsec_%s %" PRIu64 "\n", name, value);
}

static void gauge(FILE *to, const char *name, const char *help, size_t value)
{
	head(to, name, "gauge", help);
	fprintf(to, "dsec_%s %zu\n", name, value);
}

static void print_leases(FILE *to, const struct engine *engine)
{
	const struct engine_counters *counters = &engine->counters;

	counter(to, "leases_intended_total", "Leases that were begun.", counters->intended);
	counter(to, "leases_created_total", "Leases that became active.", counters->activated);
	counter(to, "leases_failed_total", "Leases that were begun and did not become active.",
		counters->failed);
	counter(to, "leases_renewed_total", "Leases that were given another end.",
		counters->renewed);
	counter(to, "leases_ended_total", "Active leases that expired or were revoked.",
		counters->ended);
	counter(to, "users_gone_total", "IAM users that were removed.", counters->gone);
	head(to, "lease_creation_seconds", "summary",
	     "How long it took from the intent to the active lease.");
	fprintf(to,
		"dsec_lease_creation_seconds_sum %.3f\ndsec_lease_creation_seconds_count %" PRIu64
		"\n",
		(double)counters->making_ms / 1000, counters->activated);
	counter(to, "journal_failures_total", "Writes to the journal that failed.",
		counters->journal_failed);
}

static void print_readers(FILE *to, const struct engine *engine)
{
	const struct engine_counters *counters = &engine->counters;

	head(to, "reads_total", "counter", "Readers, by what they were given.");
	fprintf(to,
		"dsec_reads_total{result=\"cached\"} %" PRIu64
		"\ndsec_reads_total{result=\"warm\"} %" PRIu64
		"\ndsec_reads_total{result=\"made\"} %" PRIu64
		"\ndsec_reads_total{result=\"interrupted\"} %" PRIu64 "\n",
		counters->acquired_cached, counters->acquired_warm, counters->acquired_made,
		counters->abandoned);
	for (int kind = 0; kind < LIMITER_KINDS; kind++)
		if (counters->acquired_failed[kind] > 0)
			fprintf(to, "dsec_reads_total{result=\"%s\"} %" PRIu64 "\n",
				dsec_error_kind_name(kind), counters->acquired_failed[kind]);
	gauge(to, "readers_waiting", "Readers that wait for a lease.", engine->n_waiting);
}

static void print_users(FILE *to, const struct engine *engine)
{
	size_t creating = 0, active = 0, revoking = 0, troubled = 0, ready = 0;

	list_each (at, &engine->principals) {
		const struct principal *principal = container_of(at, struct principal, link);

		creating += principal->state < PRINCIPAL_ACTIVE;
		active += principal->state == PRINCIPAL_ACTIVE;
		revoking += principal->state == PRINCIPAL_REVOKING;
		troubled += principal->state == PRINCIPAL_REVOKING && principal->ending &&
			    principal->ending->troubles > 0;
	}
	list_each (each, &engine->pools)
		ready += warm_ready_count(container_of(each, struct pool, link));
	gauge(to, "leases_ready", "Leases that are kept ready (warm) and can be had at once.",
	      ready);
	head(to, "users", "gauge", "IAM users of this daemon, by state.");
	fprintf(to,
		"dsec_users{state=\"creating\"} %zu\ndsec_users{state=\"active\"} %zu\n"
		"dsec_users{state=\"revoking\"} %zu\n",
		creating, active, revoking);
	gauge(to, "users_revocation_failing",
	      "IAM users whose removal has met with a failure, and is tried again.", troubled);
	gauge(to, "users_with_key", "IAM users that may still have a key.", engine->n_keys);
}

static void print_calls(FILE *to, const struct account *account)
{
	const struct limiter_counters *counters = &account->limiter.counters;

	for (int op = 0; op < LIMITER_OPS; op++) {
		if (counters->sent[op] == 0)
			continue;
		fprintf(to,
			"dsec_aws_calls_total{integration=\"%s\",operation=\"%s\","
			"outcome=\"ok\"} %" PRIu64 "\n",
			account->name, provider_op_name(op), counters->succeeded[op]);
		for (int kind = 0; kind < LIMITER_KINDS; kind++)
			if (counters->failed[op][kind] > 0)
				fprintf(to,
					"dsec_aws_calls_total{integration=\"%s\",operation=\"%s\","
					"outcome=\"%s\"} %" PRIu64 "\n",
					account->name, provider_op_name(op),
					dsec_error_kind_name(kind), counters->failed[op][kind]);
	}
}

static void print_wait(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_wait_seconds_total{integration=\"%s\"} %.3f\n", account->name,
		(double)account->limiter.counters.waited_ms / 1000);
}

static void print_retries(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_retries_total{integration=\"%s\"} %" PRIu64 "\n", account->name,
		account->limiter.counters.retried);
}

static void print_in_flight(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_calls_in_flight{integration=\"%s\"} %zu\n", account->name,
		account->limiter.in_flight);
}

static void print_rate(FILE *to, const struct account *account)
{
	fprintf(to, "dsec_aws_rate{integration=\"%s\"} %.2f\n", account->name,
		account->limiter.rate);
}

/* Only those that are configured: one that is but being emptied would repeat its name. */
static void each_account(FILE *to, const struct engine *engine,
			 void (*print)(FILE *to, const struct account *account))
{
	list_each (at, &engine->accounts) {
		const struct account *account = container_of(at, struct account, link);

		if (account->configured)
			print(to, account);
	}
}

static void print_accounts(FILE *to, const struct engine *engine)
{
	head(to, "aws_calls_total", "counter", "Calls that were answered, by operation.");
	each_account(to, engine, print_calls);
	head(to, "aws_retries_total", "counter", "Calls that were made again.");
	each_account(to, engine, print_retries);
	head(to, "aws_wait_seconds_total", "counter", "Time that calls waited for their answers.");
	each_account(to, engine, print_wait);
	head(to, "aws_calls_in_flight", "gauge", "Calls that wait for an answer.");
	each_account(to, engine, print_in_flight);
	head(to, "aws_rate", "gauge", "Calls a second that are allowed just now.");
	each_account(to, engine, print_rate);
}

char *engine_metrics_text(const struct engine *engine)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	if (!to)
		return NULL;
	print_leases(to, engine);
	print_readers(to, engine);
	print_users(to, engine);
	print_accounts(to, engine);
	if (fclose(to) != 0) {
		free(text);
		return NULL;
	}
	return text;
}
