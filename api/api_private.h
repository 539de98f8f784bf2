/*
 * api_private.h: one request on its way from the connection to its handler and back.
 */
#ifndef DSEC_API_API_PRIVATE_H
#define DSEC_API_API_PRIVATE_H

#include <stddef.h>

#include "lease/engine.h"

struct api_request {
	const char *method;
	const char *path;
	char *body; /* terminated; "" without one */
	size_t body_size;
};

struct api_answer {
	unsigned status;
	char *json; /* for free() */
};

/* {"messages":["…"],"success":false} with this status. */
void api_answer_error(struct api_answer *answer, unsigned status, const char *message);

/* The routes of api.h. The answer is always filled in; json is NULL when memory was short. */
void api_leases(struct engine *engine, const struct api_request *request, struct api_answer *ret);

#endif
