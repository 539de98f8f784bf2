/*
 * Whatever a client says, in whatever pieces, and whenever leases come or do not: the API ends each
 * connection, answers nothing twice, and keeps nothing of it.
 *
 * The input is what is said on a connection. Bytes that no text has in it stand for what else
 * happens: 0xff another connection, 0xfe a second passes, 0xfd a lease is there, 0xfc it has
 * failed, 0xfb the client leaves, 0xfa the lease ends.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/api/double.h"

#define CLIENTS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct clients {
	int fds[CLIENTS_MAX];
	size_t n;
};

static void leave(struct scene *scene, struct clients *clients)
{
	close(clients->fds[--clients->n]);
	scene_run(scene);
}

static void happen(struct scene *scene, struct clients *clients, uint8_t what)
{
	switch (what) {
	case 0xff:
		if (clients->n < CLIENTS_MAX)
			clients->fds[clients->n++] = scene_connect(scene);
		break;
	case 0xfe:
		scene_pass(scene, 1000);
		break;
	case 0xfd:
		if (scene_waiting(scene) > 0)
			scene_lease(scene);
		break;
	case 0xfc:
		if (scene_waiting(scene) > 0)
			scene_fail(scene, DSEC_ERROR_QUOTA, "there are too many");
		break;
	case 0xfb:
		if (clients->n > 0)
			leave(scene, clients);
		break;
	default:
		scene_end_lease(scene, 1);
		break;
	}
	scene_run(scene);
}

static void say(struct scene *scene, const struct clients *clients, const uint8_t *data, size_t n)
{
	int fd = clients->n > 0 ? clients->fds[clients->n - 1] : -1;

	if (fd < 0 || n == 0)
		return;
	scene_say_bytes(scene, fd, (const char *)data, n);
	free(scene_hear(scene, fd));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scene *scene = scene_new(double_configuration);
	struct clients clients = {0};
	size_t said = 0;

	happen(scene, &clients, 0xff);
	for (size_t i = 0; i < size && scene->engine.n < DOUBLE_ACQUIRES_MAX / 2; i++) {
		if (data[i] < 0xfa)
			continue;
		say(scene, &clients, data + said, i - said);
		happen(scene, &clients, data[i]);
		said = i + 1;
	}
	say(scene, &clients, data + said, size - said);
	/* All that may be waited for has passed; what was made and not given is given up. */
	scene_pass(scene, API_ANSWERING_MS + API_PARKED_MS);
	while (clients.n > 0)
		leave(scene, &clients);
	scene_free(scene);
	return 0;
}
