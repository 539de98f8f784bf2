#include "lease/audit_verify.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lease/alloc.h"

struct verifier {
	struct audit_verdict *verdict;
	const struct secret *key;
	const struct audit_head *kept;
	const char *wanted;
	const char *file;
	uint64_t line, fragment_line;
	char *fragment; /* lines without a MAC, which the next one has to account for */
	size_t n_fragment;
	uint64_t removed_through; /* old files were removed by the daemon itself */
	bool wanted_seen, kept_seen;
	struct audit_line text;
};

static bool wrong(struct verifier *verifier, uint64_t line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static bool wrong(struct verifier *verifier, uint64_t line, const char *format, ...)
{
	struct audit_verdict *verdict = verifier->verdict;
	va_list args;

	va_start(args, format);
	vsnprintf(verdict->problem, sizeof(verdict->problem), format, args);
	va_end(args);
	snprintf(verdict->file, sizeof(verdict->file), "%s", verifier->file ? verifier->file : "");
	verdict->line = line;
	verdict->good = false;
	return false;
}

static const char *member(const json_t *json, const char *name)
{
	const char *text = json_string_value(json_object_get(json, name));

	return text ? text : "";
}

/* Does the line before it say the MAC that this one goes on from? The first line of all has
 * nothing before it; that of a further file tells it. */
static bool previous_of(struct verifier *verifier, const json_t *json, uint64_t number,
			unsigned char to[AUDIT_MAC_SIZE])
{
	const struct audit_verdict *verdict = verifier->verdict;
	const char *told = member(json, "previous");

	memcpy(to, verdict->head.mac, AUDIT_MAC_SIZE);
	if (verdict->lines > 0 || number == 1)
		return true;
	return audit_unhex(to, told, strlen(told));
}

static bool check_fragment(struct verifier *verifier, const json_t *json)
{
	unsigned char digest[AUDIT_MAC_SIZE];
	char hex[AUDIT_HEX_MAX];

	if (!verifier->fragment)
		return true;
	audit_digest(digest, verifier->fragment, verifier->n_fragment - 1);
	audit_hex(hex, digest);
	if (strcmp(member(json, "event"), "torn") != 0 || strcmp(member(json, "sha256"), hex) != 0)
		return wrong(verifier, verifier->fragment_line,
			     "this is no line of the log: it was changed or put in");
	free(verifier->fragment);
	verifier->fragment = NULL;
	verifier->n_fragment = 0;
	verifier->verdict->n_torn++;
	return true;
}

static bool explain_mismatch(struct verifier *verifier, uint64_t number)
{
	uint64_t last = verifier->verdict->head.number;

	if (verifier->verdict->lines == 0)
		return wrong(verifier, verifier->line,
			     "this line was changed, or it is of another key's log");
	if (number > last + 1)
		return wrong(verifier, verifier->line,
			     "the numbers %" PRIu64 " to %" PRIu64
			     " are missing in front of this line: they were cut out, or this line "
			     "was changed",
			     last + 1, number - 1);
	if (number <= last)
		return wrong(verifier, verifier->line,
			     "number %" PRIu64 " after number %" PRIu64
			     ": this line was put in, moved or changed",
			     number, last);
	return wrong(verifier, verifier->line, "this line (number %" PRIu64 ") was changed",
		     number);
}

static void note_heads(struct verifier *verifier, uint64_t number, const unsigned char *mac)
{
	const struct audit_head *kept = verifier->kept;
	char hex[AUDIT_HEX_MAX];

	audit_hex(hex, mac);
	if (verifier->wanted && strncmp(hex, verifier->wanted, strlen(verifier->wanted)) == 0)
		verifier->wanted_seen = true;
	if (kept->number == number && memcmp(kept->mac, mac, AUDIT_MAC_SIZE) == 0)
		verifier->kept_seen = true;
}

/* A line that has a MAC. */
static bool check_sealed(struct verifier *verifier, const json_t *json, uint64_t number,
			 size_t covered, const unsigned char mac[AUDIT_MAC_SIZE])
{
	struct audit_verdict *verdict = verifier->verdict;
	unsigned char previous[AUDIT_MAC_SIZE], right[AUDIT_MAC_SIZE];

	if (!check_fragment(verifier, json))
		return false;
	if (!previous_of(verifier, json, number, previous))
		return wrong(verifier, verifier->line,
			     "the log begins with number %" PRIu64
			     ", within a file: what stood before was cut off",
			     number);
	audit_mac(right, verifier->key, previous, verifier->text.text, covered);
	if (memcmp(right, mac, AUDIT_MAC_SIZE) != 0)
		return explain_mismatch(verifier, number);
	if (verdict->lines > 0 && number != verdict->head.number + 1)
		return wrong(verifier, verifier->line,
			     "the numbers %" PRIu64 " to %" PRIu64
			     " are missing in front of this line: they were cut off before the "
			     "daemon wrote it",
			     verdict->head.number + 1, number - 1);
	if (strcmp(member(json, "event"), "removed") == 0)
		verifier->removed_through =
			(uint64_t)json_integer_value(json_object_get(json, "through"));
	if (verdict->lines++ == 0)
		verdict->first = number;
	verdict->head.number = number;
	memcpy(verdict->head.mac, mac, AUDIT_MAC_SIZE);
	note_heads(verifier, number, mac);
	return true;
}

static bool keep_fragment(struct verifier *verifier)
{
	const struct audit_line *text = &verifier->text;

	if (!verifier->fragment)
		verifier->fragment_line = verifier->line;
	verifier->fragment =
		alloc_resized(verifier->fragment, verifier->n_fragment + text->n + 1, 1);
	memcpy(verifier->fragment + verifier->n_fragment, text->text, text->n);
	verifier->n_fragment += text->n + 1;
	verifier->fragment[verifier->n_fragment - 1] = '\n';
	if (text->overlong || verifier->n_fragment > 2 * (size_t)AUDIT_LINE_MAX)
		return wrong(verifier, verifier->fragment_line,
			     "this is no line of the log: it was changed or put in");
	return true;
}

static bool check_line(struct verifier *verifier)
{
	const struct audit_line *text = &verifier->text;
	unsigned char mac[AUDIT_MAC_SIZE];
	size_t covered;

	if (!text->ended)
		return wrong(verifier, verifier->line,
			     "the log ends within this line: it was cut off, or a crash cut it and "
			     "no daemon has been started since");
	if (text->overlong || !audit_unseal(text->text, text->n, &covered, mac))
		return keep_fragment(verifier);

	json_t *json = json_loadb(text->text, text->n, JSON_REJECT_DUPLICATES, NULL);
	uint64_t number = (uint64_t)json_integer_value(json_object_get(json, "n"));
	bool good = check_sealed(verifier, json, number, covered, mac);
	json_decref(json);
	return good;
}

static bool check_end(struct verifier *verifier)
{
	const struct audit_verdict *verdict = verifier->verdict;
	const struct audit_head *kept = verifier->kept;

	if (verifier->fragment)
		return wrong(verifier, verifier->fragment_line,
			     "this is no line of the log: it was changed or put in");
	verifier->file = NULL;
	if (kept->number > verdict->head.number)
		return wrong(verifier, 0,
			     "the log ends with number %" PRIu64 ", but number %" PRIu64
			     " was written: what stood behind was cut off",
			     verdict->head.number, kept->number);
	if (verdict->first > 1 && verifier->removed_through + 1 < verdict->first)
		return wrong(verifier, 0,
			     "the log begins with number %" PRIu64
			     ": what stood before is not in these files",
			     verdict->first);
	if (kept->number > 0 && kept->number >= verdict->first && !verifier->kept_seen)
		return wrong(verifier, 0,
			     "number %" PRIu64
			     " has another head than the one that the state folder kept",
			     kept->number);
	if (verifier->wanted && !verifier->wanted_seen)
		return wrong(verifier, 0,
			     "no line has the head %s: what was written up to it was changed or "
			     "cut off",
			     verifier->wanted);
	return true;
}

/* 1: go on; 0: something is wrong. */
static int check_file(struct verifier *verifier, struct dsec_error *err)
{
	FILE *file = fopen(verifier->file, "re");
	bool good = true;

	if (!file)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s: %s", verifier->file,
				      strerror(errno));
	verifier->line = 0;
	while (good && audit_line_read(file, &verifier->text)) {
		verifier->line++;
		good = check_line(verifier);
	}
	bool failed = ferror(file);
	fclose(file);
	if (failed)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot read %s: %s", verifier->file,
				      strerror(EIO));
	return good;
}

int audit_verify(struct audit_verdict *ret, const struct audit_files *files,
		 const struct secret *key, const struct audit_head *kept, const char *wanted,
		 struct dsec_error *err)
{
	struct verifier *verifier = alloc_zeroed(1, sizeof(*verifier));
	int r = 1;

	*ret = (struct audit_verdict){.good = true};
	verifier->verdict = ret;
	verifier->key = key;
	verifier->kept = kept;
	verifier->wanted = wanted;
	for (size_t i = 0; i < files->n && r > 0; i++) {
		verifier->file = files->paths[i];
		r = check_file(verifier, err);
	}
	if (r > 0)
		check_end(verifier);
	free(verifier->fragment);
	free(verifier);
	return r < 0 ? r : 0;
}
