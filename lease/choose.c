#include <string.h>

#include "lease/engine.h"

/* The part of the grace in which the sticky window is still whole, as a divisor. */
#define GRACE_WHOLE_PART 6

static bool newer(const struct lease *a, const struct lease *b)
{
	if (a->start_at != b->start_at)
		return a->start_at > b->start_at;
	return a->generation > b->generation;
}

static int64_t grace_of(const struct lease *lease)
{
	int64_t half_of_rest = (lease->expire_at - lease->rotate_at) / 2;

	return half_of_rest < LEASE_STICKY_GRACE_MS ? half_of_rest : LEASE_STICKY_GRACE_MS;
}

/* For how long after one read a caller's next read comes from the same lease; below 0: not at all.
 */
static int64_t sticky_window(const struct lease *lease, int64_t now_at)
{
	int64_t into_grace = now_at - lease->rotate_at, grace = grace_of(lease);
	int64_t whole = grace / GRACE_WHOLE_PART;

	if (into_grace <= whole)
		return LEASE_STICKY_MS;
	if (into_grace >= grace)
		return -1;
	return LEASE_STICKY_MS * (grace - into_grace) / (grace - whole);
}

static const struct lease *newest_fresh(const struct lease *const *leases, size_t n, int64_t now_at)
{
	const struct lease *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (now_at < leases[i]->rotate_at && now_at < leases[i]->expire_at &&
		    (!best || newer(leases[i], best)))
			best = leases[i];
	return best;
}

/* The caller's last lease in its present version, while it sticks to it. */
static const struct lease *sticky(const struct lease *const *leases, size_t n,
				  const struct lease *last, int64_t last_at, int64_t now_at)
{
	if (!last)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (strcmp(leases[i]->id, last->id) == 0 && now_at < leases[i]->expire_at &&
		    now_at - last_at <= sticky_window(leases[i], now_at))
			return leases[i];
	return NULL;
}

/* Could some caller still stick to a lease other than `best`? */
static bool others_stick(const struct lease *const *leases, size_t n, const struct lease *best,
			 int64_t now_at)
{
	for (size_t i = 0; i < n; i++)
		if (leases[i] != best && now_at < leases[i]->expire_at &&
		    sticky_window(leases[i], now_at) >= 0)
			return true;
	return false;
}

const struct lease *lease_choose(const struct lease *const *leases, size_t n,
				 const struct lease *last, int64_t last_at, int64_t now_at,
				 int64_t *ret_until)
{
	const struct lease *best = newest_fresh(leases, n, now_at);
	const struct lease *kept = sticky(leases, n, last, last_at, now_at);
	const struct lease *chosen = kept ? kept : best;

	if (ret_until)
		*ret_until = chosen && chosen == best && !others_stick(leases, n, best, now_at)
				     ? (best->rotate_at < best->expire_at ? best->rotate_at
									  : best->expire_at)
				     : now_at;
	return chosen;
}
