/*
 * bucket.h: a token bucket: so many at once, so many a millisecond after that.
 */
#ifndef DSEC_LEASE_BUCKET_H
#define DSEC_LEASE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	double tokens, size;
	double per_ms;
	int64_t filled_at;
};

/* A full one. */
void bucket_init(struct bucket *bucket, double size, double per_ms, int64_t now_at);

/* Changes size and rate; what has gathered stays, up to the new size. */
void bucket_change(struct bucket *bucket, double size, double per_ms, int64_t now_at);

/* Takes a token; false when there is none. */
bool bucket_take(struct bucket *bucket, int64_t now_at);
void bucket_drain(struct bucket *bucket, int64_t now_at);

bool bucket_full(struct bucket *bucket, int64_t now_at);

/* When the next token is there: now_at at the earliest. */
int64_t bucket_next_at(struct bucket *bucket, int64_t now_at);

#endif
