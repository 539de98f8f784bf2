#include "aws/skew.h"

#include <stdlib.h>

#include "aws/aws.h"
#include "lease/clock.h"

void skew_learn(struct skew *skew, int64_t server_ms, int64_t local_ms)
{
	if (server_ms == 0)
		return;
	skew->known = true;
	skew->offset_ms = server_ms - local_ms;
}

static bool is_beyond(int64_t difference_ms, int64_t limit_ms)
{
	return difference_ms > limit_ms || difference_ms < -limit_ms;
}

int64_t skew_signing_time(const struct skew *skew, int64_t local_ms)
{
	if (!skew->known || !is_beyond(skew->offset_ms, SKEW_TOLERATED_MS) ||
	    is_beyond(skew->offset_ms, AWS_SKEW_MEND_MAX_MS))
		return local_ms;
	return local_ms + skew->offset_ms;
}

int skew_explains(const struct skew *skew, int64_t signed_ms, int64_t local_ms,
		  struct dsec_error *err)
{
	int64_t server_ms = local_ms + skew->offset_ms;
	char ours[CLOCK_ISO_MAX], theirs[CLOCK_ISO_MAX];

	if (!skew->known || !is_beyond(server_ms - signed_ms, SKEW_TOLERATED_MS))
		return 0;
	clock_iso(ours, local_ms);
	clock_iso(theirs, server_ms);
	if (!is_beyond(skew->offset_ms, AWS_SKEW_MEND_MAX_MS))
		return dsec_error_set(
			err, DSEC_ERROR_BUSY,
			"refused because it was signed with the wrong time; AWS's clock "
			"says %s and the local one %s, and the next attempt is signed "
			"with AWS's",
			theirs, ours);
	return dsec_error_set(err, DSEC_ERROR_CLOCK_SKEW,
			      "refused because AWS's clock says %s and the local one %s: set the "
			      "local clock, for example by turning on NTP",
			      theirs, ours);
}
