#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lease/identity.h"

#define DAEMON "0123456789abcdef"
#define END_MS INT64_C(1644944694000) /* 20220215T170454Z */

/* printf 'machine\0/var/lib/dsec\0salt\0' | sha256sum */
static void daemon_id_is_what_sha256sum_says(void **state)
{
	char id[DAEMON_ID_MAX];

	identity_daemon_id(id, "machine", "/var/lib/dsec", "salt");
	assert_string_equal(id, "78d40a2911c1af77");
}

static void cloned_or_moved_daemon_is_another(void **state)
{
	char id[DAEMON_ID_MAX], other[DAEMON_ID_MAX];

	identity_daemon_id(id, "m", "/s", "x");
	identity_daemon_id(other, "n", "/s", "x");
	assert_string_not_equal(id, other);
	identity_daemon_id(other, "m", "/t", "x");
	assert_string_not_equal(id, other);
	identity_daemon_id(other, "m", "/s", "y");
	assert_string_not_equal(id, other);
	/* The same text, cut elsewhere. */
	identity_daemon_id(other, "m/", "s", "x");
	assert_string_not_equal(id, other);
	identity_daemon_id(other, "", "m/s", "x");
	assert_string_not_equal(id, other);
}

static void path_says_whose_and_until_when(void **state)
{
	char path[IAM_PATH_MAX], id[DAEMON_ID_MAX];
	int64_t end;

	assert_int_equal(identity_user_path(path, "/doppler/", DAEMON, END_MS), 0);
	assert_string_equal(path, "/doppler/" DAEMON "/20220215T170454Z/");
	assert_true(identity_parse_path(path, "/doppler/", id, &end));
	assert_string_equal(id, DAEMON);
	assert_int_equal(end, END_MS);

	assert_int_equal(identity_user_path(path, "/", DAEMON, END_MS - 999), 0);
	assert_true(identity_parse_path(path, "/", id, &end));
	assert_int_equal(end, END_MS);
}

static void path_beyond_iams_limit_is_refused(void **state)
{
	char path[IAM_PATH_MAX], front[IAM_PATH_MAX];
	const size_t rest = sizeof(DAEMON "/20220215T170454Z/") - 1;

	memset(front, 'p', sizeof(front));
	front[0] = '/';
	front[512 - rest] = '\0';
	front[511 - rest] = '/';
	assert_int_equal(identity_user_path(path, front, DAEMON, END_MS), 0);
	assert_int_equal(strlen(path), 512);
	front[511 - rest] = 'p';
	front[512 - rest] = '/';
	front[513 - rest] = '\0';
	assert_int_equal(identity_user_path(path, front, DAEMON, END_MS), -ENAMETOOLONG);
}

/* A sweep deletes by this answer. */
static void users_of_others_are_not_taken_for_ours(void **state)
{
	static const char *const wrong[] = {
		"",
		"/",
		"/doppler/",
		"/doppler/" DAEMON "/",
		"/doppler/" DAEMON "/20220215T170454Z",
		"/doppler/" DAEMON "/20220215T170454Z/x",
		"/doppler/" DAEMON "/20220215T170454Z/x/",
		"/doppler/" DAEMON "/20220230T170454Z/",
		"/doppler/" DAEMON "/20220215T170454z/",
		"/doppler/" DAEMON "x/20220215T170454Z/",
		"/doppler/0123456789ABCDEF/20220215T170454Z/",
		"/doppler/0123456789abcde/20220215T170454Z/",
		"/doppler/0123456789abcdeg/20220215T170454Z/",
		"/doppler/0123456789abcde//20220215T170454Z/",
		"/Doppler/" DAEMON "/20220215T170454Z/",
		"/dopplers/" DAEMON "/20220215T170454Z/",
		"/team/doppler/" DAEMON "/20220215T170454Z/",
		"doppler/" DAEMON "/20220215T170454Z/",
		"/doppler//" DAEMON "/20220215T170454Z/",
		"/doppler/team/" DAEMON "/20220215T170454Z/",
	};
	char id[DAEMON_ID_MAX] = "untouched";
	int64_t end = 42;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (identity_parse_path(wrong[i], "/doppler/", id, &end))
			fail_msg("'%s' was taken for a path of dsec", wrong[i]);
		assert_string_equal(id, "untouched");
		assert_int_equal(end, 42);
	}
}

static void line_of_a_copied_journal_is_known_by_its_path(void **state)
{
	char path[IAM_PATH_MAX];

	assert_int_equal(identity_user_path(path, "/a/b/", "0123456789abcdef", 0), 0);
	assert_true(identity_path_is_of(path, "0123456789abcdef"));
	assert_false(identity_path_is_of(path, "0123456789abcdee"));
	assert_int_equal(identity_user_path(path, "/", "0123456789abcdef", 0), 0);
	assert_true(identity_path_is_of(path, "0123456789abcdef"));
	assert_false(identity_path_is_of(path + 1, "0123456789abcdef"));
	assert_false(identity_path_is_of("", "0123456789abcdef"));
	assert_false(identity_path_is_of("/0123456789abcdef/", "0123456789abcdef"));
}

static void only_dsecs_names_are_dsecs(void **state)
{
	static const char *const wrong[] = {
		"",
		"Doppler-Dynamic-",
		"Doppler-Dynamic-ABCdef012345",
		"Doppler-Dynamic-ABCdef01234567",
		"Doppler-Dynamic-ABCdef01234-6",
		"Doppler-Dynamic-ABCdef01234\303\274",
		"doppler-dynamic-ABCdef0123456",
		"Doppler-Dynamic-ABCdef0123456 ",
		"xDoppler-Dynamic-ABCdef0123456",
		"doppler-policy-ABCdef0123456",
	};

	assert_true(identity_user_name_valid("Doppler-Dynamic-ABCdef0123456"));
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		if (identity_user_name_valid(wrong[i]))
			fail_msg("'%s' was taken for a name of dsec", wrong[i]);
}

static void suffix_makes_a_valid_name(void **state)
{
	char name[IAM_USER_NAME_MAX], suffix[IDENTITY_SUFFIX_LENGTH + 1];

	for (size_t i = 0; i < 1000; i++) {
		identity_suffix(suffix, &system_clock);
		snprintf(name, sizeof(name), IDENTITY_USER_PREFIX "%s", suffix);
		assert_true(identity_user_name_valid(name));
	}
}

/* xorshift64*: as even as chance, and the same in every run. */
static uint64_t chance = 1;

static void even_bytes(const struct clock *clock, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		chance ^= chance >> 12;
		chance ^= chance << 25;
		chance ^= chance >> 27;
		((unsigned char *)to)[i] = (unsigned char)(chance * 0x2545f4914f6cdd1dull >> 56);
	}
}

static void no_character_of_a_suffix_is_likelier(void **state)
{
	const struct clock even_clock = {.random_bytes = even_bytes};
	unsigned counts[256] = {0}, least = UINT_MAX, most = 0;
	char suffix[IDENTITY_SUFFIX_LENGTH + 1];

	for (size_t i = 0; i < 62000; i++) {
		identity_suffix(suffix, &even_clock);
		for (const char *c = suffix; *c; c++)
			counts[(unsigned char)*c]++;
	}
	for (unsigned c = 0; c < 256; c++) {
		if (!isalnum((int)c)) {
			assert_int_equal(counts[c], 0);
			continue;
		}
		least = counts[c] < least ? counts[c] : least;
		most = counts[c] > most ? counts[c] : most;
	}
	/* 13,000 times each, give or take 300. A modulo alone gives some a quarter more. */
	assert_true(least > 12000);
	assert_true(most < 14000);
}

static void high_bytes(const struct clock *clock, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)to)[i] = (unsigned char)(0xf0 + i);
}

static void low_bytes(const struct clock *clock, void *to, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((unsigned char *)to)[i] = (unsigned char)i;
}

static void uuid_is_version_4(void **state)
{
	const struct clock high = {.random_bytes = high_bytes}, low = {.random_bytes = low_bytes};
	char one[LEASE_ID_MAX], two[LEASE_ID_MAX];

	identity_uuid(one, &high);
	assert_string_equal(one, "f0f1f2f3-f4f5-46f7-b8f9-fafbfcfdfeff");
	identity_uuid(one, &low);
	assert_string_equal(one, "00010203-0405-4607-8809-0a0b0c0d0e0f");
	identity_uuid(one, &system_clock);
	identity_uuid(two, &system_clock);
	assert_string_not_equal(one, two);
}

/* A folder of its own for each test. */
struct fixture {
	char top[64], folder[128], salt[160];
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	snprintf(fixture->top, sizeof(fixture->top), "%s", "/tmp/dsec-test-identity-XXXXXX");
	if (!fixture || !mkdtemp(fixture->top))
		return -1;
	snprintf(fixture->folder, sizeof(fixture->folder), "%s/a/b", fixture->top);
	snprintf(fixture->salt, sizeof(fixture->salt), "%s/daemon.salt", fixture->folder);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	char path[256];

	static const char *const paths[] = {"/a/b/daemon.salt", "/a/b", "/a", "/link", ""};
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(path, sizeof(path), "%s%s", fixture->top, paths[i]);
		remove(path);
	}
	free(fixture);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void daemon_is_the_same_after_a_restart(void **state)
{
	const struct fixture *fixture = *state;
	char id[DAEMON_ID_MAX], again[DAEMON_ID_MAX], link[128];
	struct stat st;

	assert_int_equal(identity_load(id, fixture->folder, &system_clock, NULL), 0);
	assert_int_equal(strlen(id), 16);
	assert_int_equal(identity_load(again, fixture->folder, &system_clock, NULL), 0);
	assert_string_equal(id, again);
	assert_int_equal(stat(fixture->salt, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(fixture->folder, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);

	/* By another name, the folder is the same. */
	snprintf(link, sizeof(link), "%s/link", fixture->top);
	assert_int_equal(symlink("a/b", link), 0);
	assert_int_equal(identity_load(again, link, &system_clock, NULL), 0);
	assert_string_equal(id, again);

	/* Without its salt, it is another daemon. */
	assert_int_equal(unlink(fixture->salt), 0);
	assert_int_equal(identity_load(again, fixture->folder, &system_clock, NULL), 0);
	assert_string_not_equal(id, again);
}

static void damaged_salt_does_not_make_a_new_daemon_in_silence(void **state)
{
	const struct fixture *fixture = *state;
	static const char *const wrong[] = {
		"",
		"0123456789abcdef0123456789abcde",
		"0123456789abcdef0123456789abcdef\n",
		"0123456789abcdef0123456789abcdef0",
		"0123456789ABCDEF0123456789abcdef",
	};
	char id[DAEMON_ID_MAX];
	struct dsec_error err;

	assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		write_file(fixture->salt, wrong[i]);
		assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), -EIO);
		assert_int_equal(err.kind, DSEC_ERROR_INVALID);
		assert_non_null(strstr(err.message, fixture->salt));
	}
	write_file(fixture->salt, "0123456789abcdef0123456789abcdef");
	assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), 0);
}

static void half_written_salt_of_a_crash_is_not_used(void **state)
{
	const struct fixture *fixture = *state;
	char id[DAEMON_ID_MAX], new_salt[192];

	assert_int_equal(identity_load(id, fixture->folder, &system_clock, NULL), 0);
	assert_int_equal(unlink(fixture->salt), 0);
	snprintf(new_salt, sizeof(new_salt), "%s.new", fixture->salt);
	write_file(new_salt, "0123456789abcdef0123456789abcdef and more than it should be");
	assert_int_equal(identity_load(id, fixture->folder, &system_clock, NULL), 0);
	assert_int_equal(access(new_salt, F_OK), -1);
	struct stat st;
	assert_int_equal(stat(fixture->salt, &st), 0);
	assert_int_equal(st.st_size, 32);
}

static void state_folder_open_to_others_is_refused(void **state)
{
	const struct fixture *fixture = *state;
	char id[DAEMON_ID_MAX];
	struct dsec_error err;

	assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), 0);
	static const mode_t modes[] = {0701, 0750, 0755, 0777, 01777};
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(fixture->folder, modes[i]), 0);
		assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), -EACCES);
		assert_non_null(strstr(err.message, fixture->folder));
	}
	if (geteuid() == 0) {
		assert_int_equal(chmod(fixture->folder, 0700), 0);
		assert_int_equal(chown(fixture->folder, 65534, (gid_t)-1), 0);
		assert_int_equal(identity_load(id, fixture->folder, &system_clock, &err), -EACCES);
		assert_non_null(strstr(err.message, "belongs to user 65534"));
	}
}

static void state_folder_that_is_a_file_is_refused(void **state)
{
	const struct fixture *fixture = *state;
	char file[128], id[DAEMON_ID_MAX];
	struct dsec_error err;

	snprintf(file, sizeof(file), "%s/a", fixture->top);
	write_file(file, "");
	assert_true(identity_load(id, file, &system_clock, &err) < 0);
	assert_non_null(strstr(err.message, file));
	assert_true(identity_load(id, fixture->folder, &system_clock, &err) < 0);
	assert_non_null(strstr(err.message, fixture->folder));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(daemon_id_is_what_sha256sum_says),
		cmocka_unit_test(cloned_or_moved_daemon_is_another),
		cmocka_unit_test(path_says_whose_and_until_when),
		cmocka_unit_test(path_beyond_iams_limit_is_refused),
		cmocka_unit_test(users_of_others_are_not_taken_for_ours),
		cmocka_unit_test(line_of_a_copied_journal_is_known_by_its_path),
		cmocka_unit_test(only_dsecs_names_are_dsecs),
		cmocka_unit_test(suffix_makes_a_valid_name),
		cmocka_unit_test(no_character_of_a_suffix_is_likelier),
		cmocka_unit_test(uuid_is_version_4),
		cmocka_unit_test_setup_teardown(daemon_is_the_same_after_a_restart, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(damaged_salt_does_not_make_a_new_daemon_in_silence,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(half_written_salt_of_a_crash_is_not_used, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(state_folder_open_to_others_is_refused, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(state_folder_that_is_a_file_is_refused, set_up,
						tear_down),
	};
	return cmocka_run_group_tests_name("identity", tests, NULL, NULL);
}
