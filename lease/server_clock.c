#include "lease/server_clock.h"

#define DATE_PRECISION_MS 1000 /* HTTP's Date is cut to the second */

void server_clock_init(struct server_clock *server, const struct clock *clock)
{
	*server = (struct server_clock){.clock = clock};
}

bool server_clock_learn(struct server_clock *server, int64_t sent_at, int64_t server_ms)
{
	/* The server read its clock between the sending and now, and cut it to the second. So each
	 * answer bounds the offset from both sides, and the bounds of all answers together are
	 * tighter than any one: what is known moves only as far as an answer contradicts it. The
	 * first guess is the lower bound, since a calendar that runs ahead would promise more life
	 * than a user may have. */
	int64_t low = server_ms - server->clock->boottime_at(server->clock);
	int64_t high = server_ms + DATE_PRECISION_MS - 1 - sent_at;

	if (!server->known) {
		server->known = true;
		server->offset_ms = low;
		return true;
	}
	if (server->offset_ms < low)
		server->offset_ms = low;
	else if (server->offset_ms > high)
		server->offset_ms = high;
	return false;
}

int64_t server_clock_ms(const struct server_clock *server)
{
	if (!server->known)
		return server->clock->calendar_ms(server->clock);
	return server->clock->boottime_at(server->clock) + server->offset_ms;
}
