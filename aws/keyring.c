#include "aws/keyring.h"

#include <errno.h>
#include <stdlib.h>

#include "aws/process.h"
#include "lease/alloc.h"

struct keyring {
	struct loop *loop;
	const struct credentials *credentials;
	void (*changed)(void *arg);
	void *arg;

	struct keys *keys;  /* the latest good ones; NULL: none yet */
	int64_t refresh_ms; /* calendar; 0: they do not end */
	bool refused;
	struct process *process; /* that fetches the next ones */
	int64_t next_fetch_at;
	bool failed; /* the last fetch, for the reason in err */
	struct dsec_error err;
};

struct keyring *keyring_new(struct loop *loop, const struct credentials *credentials,
			    void (*changed)(void *arg), void *arg)
{
	struct keyring *keyring = alloc_zeroed(1, sizeof(*keyring));

	*keyring = (struct keyring){.loop = loop,
				    .credentials = credentials,
				    .changed = changed,
				    .arg = arg,
				    .next_fetch_at = INT64_MIN};
	return keyring;
}

struct keyring *keyring_free(struct keyring *keyring)
{
	if (!keyring)
		return NULL;
	process_free(keyring->process);
	keys_unref(keyring->keys);
	free(keyring);
	return NULL;
}

static bool has_ended(const struct keys *keys, int64_t now_ms)
{
	return keys->expires_ms != 0 && keys->expires_ms <= now_ms;
}

static void install(struct keyring *keyring, struct keys *keys, int64_t now_ms)
{
	int64_t left = keys->expires_ms - now_ms;

	keys_unref(keyring->keys);
	keyring->keys = keys;
	keyring->refused = false;
	keyring->failed = false;
	keyring->refresh_ms = 0;
	if (keys->expires_ms != 0)
		keyring->refresh_ms = keys->expires_ms -
				      (left / 2 < KEYRING_AHEAD_MS ? left / 2 : KEYRING_AHEAD_MS);
}

static void on_process(void *arg, const char *output, size_t n, const struct dsec_error *err)
{
	struct keyring *keyring = arg;
	struct keys *keys = NULL;
	int64_t now_ms = keyring->loop->clock->calendar_ms(keyring->loop->clock);

	keyring->process = NULL;
	keyring->next_fetch_at = loop_now(keyring->loop) + KEYRING_GAP_MS;
	keyring->failed = true;
	if (err)
		keyring->err = *err;
	else if (keys_from_json(&keys, output, n, &keyring->err) == 0)
		install(keyring, keys, now_ms);
	keyring->changed(keyring->arg);
}

static int run(struct keyring *keyring, const char *command, struct dsec_error *err)
{
	int r = process_start(&keyring->process, keyring->loop, command, on_process, keyring, err);

	return r < 0 ? r : -EINPROGRESS;
}

/* 0 with keys, -EINPROGRESS when they come later, or another errno. */
static int read_source(struct keyring *keyring, struct keys **ret, struct dsec_error *err)
{
	const struct credentials *from = keyring->credentials;
	_cleanup_free_ char *command = NULL;
	int r;

	switch (from->source) {
	case CREDENTIALS_STATIC:
		return keys_from_static(ret, from, err);
	case CREDENTIALS_ENVIRONMENT:
		return keys_from_environment(ret, err);
	case CREDENTIALS_PROFILE:
		r = keys_from_profile(ret, &command, from, err);
		return r == 0 && command ? run(keyring, command, err) : r;
	case CREDENTIALS_PROCESS:
		return run(keyring, from->command, err);
	}
	return dsec_error_set(err, DSEC_ERROR_INVALID, "credentials of an unknown source");
}

static void fetch(struct keyring *keyring, int64_t now_ms)
{
	struct keys *keys = NULL;
	int r;

	if (keyring->process || loop_now(keyring->loop) < keyring->next_fetch_at)
		return;
	keyring->next_fetch_at = loop_now(keyring->loop) + KEYRING_GAP_MS;
	r = read_source(keyring, &keys, &keyring->err);
	keyring->failed = r < 0 && r != -EINPROGRESS;
	if (r == 0)
		install(keyring, keys, now_ms);
}

static bool is_fresh(const struct keyring *keyring, int64_t now_ms)
{
	return keyring->keys && !keyring->refused &&
	       (keyring->refresh_ms == 0 || now_ms < keyring->refresh_ms);
}

int keyring_get(struct keyring *keyring, int64_t now_ms, struct keys **ret, struct dsec_error *err)
{
	if (!is_fresh(keyring, now_ms))
		fetch(keyring, now_ms);
	/* Refused ones are waited for, others serve until they end. */
	if (keyring->process &&
	    (!keyring->keys || keyring->refused || has_ended(keyring->keys, now_ms)))
		return -EINPROGRESS;
	if (keyring->keys && !has_ended(keyring->keys, now_ms)) {
		*ret = keys_ref(keyring->keys);
		return 0;
	}
	if (!keyring->failed)
		return dsec_error_set(err, DSEC_ERROR_CREDENTIALS,
				      "the credentials that the source gives have expired");
	if (err)
		*err = keyring->err;
	return -dsec_error_errno(keyring->err.kind);
}

void keyring_refused(struct keyring *keyring, const struct keys *keys)
{
	if (keyring->keys && keys_equal(keyring->keys, keys))
		keyring->refused = true;
}
