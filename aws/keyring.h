/*
 * keyring.h: an integration's own keys, kept fresh: read from their source when first asked for,
 * again when AWS refuses them, and ahead of their end where they have one.
 */
#ifndef DSEC_AWS_KEYRING_H
#define DSEC_AWS_KEYRING_H

#include "aws/keys.h"
#include "aws/loop.h"

/* Keys that end are fetched again this long before, or after half their life. */
#define KEYRING_AHEAD_MS (5LL * 60 * 1000)

/* The source is not asked more often, whatever it answered and whatever AWS says of the keys. */
#define KEYRING_GAP_MS 5000

struct keyring;

/* `credentials` is borrowed. `changed` tells from the loop's dispatch that what was being fetched
 * has come, or will not. */
struct keyring *keyring_new(struct loop *loop, const struct credentials *credentials,
			    void (*changed)(void *arg), void *arg);
struct keyring *keyring_free(struct keyring *keyring); /* NULL-safe; returns NULL */

/* The keys to sign with now, one reference, at AWS's time `now_ms`. -EINPROGRESS: they are being
 * fetched, and `changed` will be called. */
int keyring_get(struct keyring *keyring, int64_t now_ms, struct keys **ret, struct dsec_error *err);

/* AWS refused these keys: the next keyring_get asks their source again. */
void keyring_refused(struct keyring *keyring, const struct keys *keys);

#endif
