/*
 * api.h: the daemon's HTTP API: Doppler's endpoints for secrets and leases, and dsec's own, on Unix
 * sockets and on TCP. The manual of its users is dsec-api(7).
 *
 * Served by libmicrohttpd on the engine's thread: the owner waits for api_fd() to become readable
 * or api_deadline_at() to come, and calls api_dispatch(). Anybody may connect; what he may do is
 * decided request by request (asker.c). On a Unix socket the kernel says who is at its other end: a
 * config's `access` decides who may read it, as for the files; root, the daemon's own user and
 * the members of the admin group may do what concerns others. On TCP everything needs a token,
 * which is for one config.
 *
 * Doppler's (GET but where it says otherwise; project and config are parameters):
 *   /v3/configs/config/secrets/download    format, name_transformer, secrets,
 *                                          include_dynamic_secrets, dynamic_secrets_ttl_sec
 *   /v3/configs/config/secrets             include_dynamic_secrets, dynamic_secrets_ttl_sec, …
 *   /v3/configs/config/secret              name
 *   /v3/configs/config/secrets/names
 *   POST /v3/configs/config/dynamic_secrets/dynamic_secret/leases
 *   DELETE /v3/configs/config/dynamic_secrets/dynamic_secret/leases/lease
 *   /v3/configs/config/secrets/watch       server-sent events
 *   /v3/configs/config/ping
 *   /v3/me
 * dsec's:
 *   /v3/dsec/leases                        what .dsec/leases.json holds
 *   DELETE /v3/dsec/leases/ID              revokes it: whoever holds it, or an administrator
 *   POST /v3/dsec/leases/ID/renew          {"ttl_sec":N}: its end moves to N seconds from now, at
 * most to its last possible end
 *   /v3/dsec/credentials/PROJECT/CONFIG/NAME   the shared lease of a dynamic secret, as AWS's SDKs
 *                                          ask for container credentials
 *   /v3/dsec/tokens                        {"tokens":[{"slug":ID,"project":…,"config":…,…}]}
 *   POST /v3/dsec/tokens                   {"project":…,"config":…,"ttl_sec":N,"held":true}, the
 *                                          last two optional: {"token":"dp.st.…","slug":ID,…}
 *   POST /v3/dsec/tokens/ID/hold           of one that was made with "held": who asks holds it, too
 *   DELETE /v3/dsec/tokens/ID
 *   POST /v3/dsec/reload                   has the configuration read again
 *   /metrics
 *
 * Who connects to a Unix socket from an address of the form that systemd has for LoadCredential= is
 * not spoken to in HTTP: it gets the bytes of the file that its address names (credential.c).
 *
 * Every answer is JSON but for downloads in other formats and metrics, closes its connection, and
 * comes within API_ANSWER_MS. Errors have Doppler's form: {"messages":["…"],"success":false}.
 */
#ifndef DSEC_API_API_H
#define DSEC_API_API_H

#include <stdbool.h>
#include <stdint.h>

#include "lease/catalog.h"
#include "lease/clock.h"
#include "lease/download.h"
#include "lease/engine.h"
#include "lease/error.h"

#define API_BODY_SIZE_MAX     65536u /* a longer request is refused with 413 */
#define API_CONNECTION_MEMORY 40960u /* the longest request line with its headers, about */

#define API_CONNECTIONS_MAX      256u /* that have begun to ask; one more is refused with 503 */
#define API_CONNECTIONS_PEER_MAX 128u /* of them of one user, or of one address */
#define API_SILENT_MAX           256u /* that have not; for one more the oldest goes */
#define API_SILENT_PEER_MAX      128u

#define API_SILENT_MS            10000 /* to begin to ask */
#define API_ASKING_MS            10000 /* to have asked */
#define API_ANSWERING_MS         60000 /* to be answered, and to take the answer */
#define API_UNFRAMED_MS          1000  /* from the head of an SDK's revocation to its body */
#define API_CONNECTION_TIMEOUT_S 10u   /* without a byte, while it asks or is answered */

/* Doppler's clients give up after ten seconds: before that they are told to ask again. */
#define API_ANSWER_MS 9000
/* For so long a lease that was made for one that was told so waits for him. */
#define API_PARKED_MS 30000

#define API_PING_MS            15000 /* between two signs of life to one that watches */
#define API_WATCHERS_MAX       64u
#define API_WATCHERS_ASKER_MAX 16u /* of one token or one user */

#define API_LEASES_A_MINUTE 60   /* of its own, for one token or one user */
#define API_VISITORS_MAX    1024 /* of whom it is known how many they had */

/* After a wrong token the answer is held back: so long, and twice as long with each further one of
 * the same peer. */
#define API_REFUSAL_MS        INT64_C(250)
#define API_REFUSAL_DOUBLINGS 4 /* at most */
#define API_REFUSAL_FORGET_MS 60000
#define API_REFUSALS_MAX      16u /* of one peer that are held back; one more is told 429 */

/* What systemd takes for a credential, at most; and so a refusal is longer than that. */
#define API_CREDENTIAL_MAX (1024u * 1024)
/* Units that may wait at once, beside those connections above: many start with the machine, and one
 * more does not start. */
#define API_CREDENTIALS_MAX 512u

/* Refusals of one peer that are told; further ones are not written down. */
#define API_REFUSALS_TOLD_A_MINUTE 60

struct api;

/* What is done with tokens, and asked for by name, for the audit log. */
enum api_token_what {
	API_TOKEN_CREATED,
	API_TOKEN_REVOKED,
	API_TOKEN_USED, /* a lease was given to its bearer */
	API_TOKEN_REFUSED,
	API_LEASE_REVOKE, /* somebody wants it to end, or */
	API_LEASE_RENEW,  /* to end later */
	API_REFUSED,      /* somebody may not do what it asked for, or not so often */
	API_TOKEN_WHATS,
};

struct api_token_event {
	enum api_token_what what;
	const char *token_id; /* NULL: of no token of ours */
	const char *peer;     /* "uid:1000", "ip:127.0.0.1" */
	const struct lease_caller *caller;
	const struct lease *lease;          /* USED */
	const char *lease_id;               /* REVOKE, RENEW */
	const char *project, *config, *why; /* API_REFUSED; the first two may be NULL */
};

struct api_options {
	const struct clock *clock;
	struct engine *engine;    /* outlives the api */
	bool later;               /* the engine comes by api_serve */
	struct catalog *catalog;  /* the running configuration */
	const char *state_folder; /* of the tokens; NULL: there are none */
	void (*token_event)(void *arg, const struct api_token_event *event); /* may be NULL */
	void *token_event_arg;
	/* Removes the socket file in the end, where that takes a privilege; NULL: unlink(2). */
	void (*remove)(void *arg, const char *socket_path);
	void *remove_arg;
	/* A number that no client was ever given in the life of the mount, by an earlier process
	 * either; NULL: they are counted from 1. */
	uint64_t (*take_holder)(void *arg);
	void *take_holder_arg;
};

/* Listens where the catalog says. */
int api_start(struct api **ret, const struct api_options *options, struct dsec_error *err);

/* Whom it asks; reads the tokens. Before, nothing may be dispatched: who connects waits. */
int api_serve(struct api *api, struct engine *engine, struct dsec_error *err);

/* Listens on a Unix socket, too. A socket file that a dead daemon left behind is taken over, one
 * that answers is not. */
int api_listen_unix(struct api *api, const char *path, struct dsec_error *err);

/* Another configuration is the running one. Where it listens does not change. */
void api_reload(struct api *api, struct catalog *catalog);

/* How an administrator among its clients has the configuration read again. On failure the running
 * one stays, and the error says so. */
typedef int api_reload_function(void *arg, const struct lease_caller *caller,
				struct dsec_error *err);
void api_offer_reload(struct api *api, api_reload_function *reload, void *arg);

/* What systemd asks a Unix socket for by LoadCredential= (credential.c): files of the mount. */
typedef void api_given(void *arg, struct download *bytes, const struct dsec_error *err);
struct api_files {
	/* As fs_give and fs_give_up do. */
	uint64_t (*give)(void *arg, const char *path, const struct lease_caller *caller,
			 api_given *given, void *given_arg);
	void (*give_up)(void *arg, uint64_t give);
	/* Somebody was refused: a sentence for the operator. */
	void (*refused)(void *arg, const char *sentence);
	void *arg;
};
/* Without, whoever asks so is refused. */
void api_offer_files(struct api *api, const struct api_files *files);

/* What the engine's observer is told. */
void api_lease(struct api *api, enum lease_event event, const struct lease *lease);

int api_fd(const struct api *api);
int64_t api_deadline_at(const struct api *api);
void api_dispatch(struct api *api);

/* Closes all connections and removes the socket file. NULL-safe. */
struct api *api_stop(struct api *api);

#endif
