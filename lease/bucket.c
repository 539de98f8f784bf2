#include "lease/bucket.h"

/* A sum of many small fractions may miss the whole by a hair; without this a waiter would be woken
 * a millisecond early, find nothing, and be woken again. */
#define ALMOST_ONE 0.999999

static void fill(struct bucket *bucket, int64_t now_at)
{
	if (now_at > bucket->filled_at)
		bucket->tokens += (double)(now_at - bucket->filled_at) * bucket->per_ms;
	if (bucket->tokens > bucket->size)
		bucket->tokens = bucket->size;
	bucket->filled_at = now_at;
}

void bucket_init(struct bucket *bucket, double size, double per_ms, int64_t now_at)
{
	*bucket = (struct bucket){
		.tokens = size, .size = size, .per_ms = per_ms, .filled_at = now_at};
}

void bucket_change(struct bucket *bucket, double size, double per_ms, int64_t now_at)
{
	fill(bucket, now_at);
	bucket->size = size;
	bucket->per_ms = per_ms;
	if (bucket->tokens > size)
		bucket->tokens = size;
}

bool bucket_take(struct bucket *bucket, int64_t now_at)
{
	fill(bucket, now_at);
	if (bucket->tokens < ALMOST_ONE)
		return false;
	bucket->tokens -= 1;
	return true;
}

void bucket_drain(struct bucket *bucket, int64_t now_at)
{
	fill(bucket, now_at);
	bucket->tokens = 0;
}

bool bucket_full(struct bucket *bucket, int64_t now_at)
{
	fill(bucket, now_at);
	return bucket->tokens > bucket->size - 1 + ALMOST_ONE;
}

int64_t bucket_next_at(struct bucket *bucket, int64_t now_at)
{
	fill(bucket, now_at);
	if (bucket->tokens >= ALMOST_ONE)
		return now_at;
	return now_at + 1 + (int64_t)((1 - bucket->tokens) / bucket->per_ms);
}
