/*
 * catalog.h: what may be leased: dsec.json, read, checked and immutable.
 *
 * A catalog is reference-counted and never changes, so any thread may read it without a lock while
 * it holds a reference. A reload makes another catalog. Everything in it lives as long as the
 * catalog; nothing in it is NULL unless said so.
 */
#ifndef DSEC_LEASE_CATALOG_H
#define DSEC_LEASE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/error.h"
#include "lease/secret.h"

#define CATALOG_FILE_SIZE_MAX       (4ul * 1024 * 1024)
#define CATALOG_NAME_MAX            128 /* a project's, config's, integration's or secret's name */
#define CATALOG_PROBLEMS_MAX        50  /* how many mistakes one reading reports */
#define CATALOG_TTL_MIN_MS          10000    /* 10 s */
#define CATALOG_TTL_DEFAULT_MS      1800000  /* 30 m, Doppler's */
#define CATALOG_MAX_TTL_DEFAULT_MS  43200000 /* 12 h */
#define CATALOG_MIN_VALIDITY_CAP_MS 900000   /* 15 m: the default is half the TTL, at most this */

enum credentials_source {
	CREDENTIALS_STATIC, /* access_key_id with secret_access_key or secret_access_key_file */
	CREDENTIALS_ENVIRONMENT, /* AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN */
	CREDENTIALS_PROFILE,     /* a profile of the shared files */
	CREDENTIALS_PROCESS,     /* a credential_process command */
};

struct credentials {
	enum credentials_source source;
	const char *access_key_id;           /* STATIC */
	struct secret *secret_access_key;    /* STATIC, when it stands in the file; else NULL */
	const char *secret_access_key_file;  /* STATIC, when it stands in a file of its own; else
						NULL. Read again when AWS refuses the key */
	struct secret *session_token;        /* STATIC, optional; else NULL */
	const char *profile;                 /* PROFILE: its name */
	const char *shared_credentials_file; /* PROFILE: NULL for the default */
	const char *config_file;             /* PROFILE: NULL for the default */
	const char
		*command; /* PROCESS: as in the shared config file: words, with quotes, no shell */
};

struct integration {
	const char *name;
	struct credentials credentials;
	const char *region;   /* default "us-east-1" */
	const char *endpoint; /* SCHEME://HOST[:PORT], nothing behind it; default: the partition's
				 for the region (facts: aws-iam.md) */
	const char *signing_region; /* IAM's: us-east-1 for the aws partition, cn-north-1,
				       us-gov-west-1, eusc-de-east-1, also for AWS's other endpoints
				       (FIPS); the region itself for a server that is not AWS's */
	const char *sts_endpoint;   /* like endpoint; default: the region's, and for a server that
				       is not AWS's its endpoint, so that AWS is not shown the keys
				       of others */
	const char *ca_file;        /* NULL: the system's */
	const char *path;           /* begins and ends with '/'; default "/doppler/" */
	double rate;                /* calls a second; default 10 */
	bool verify;                /* default true */
	bool expiry_in_policy;      /* default true */
};

struct tag {
	const char *key, *value;
};

enum lease_scope {
	SCOPE_SHARED,    /* one lease for all readers of the config */
	SCOPE_USER,      /* one a uid */
	SCOPE_CONTAINER, /* one a container or unit of systemd */
	SCOPE_PROCESS,   /* one a process */
	SCOPES,          /* how many there are */
};

struct dynamic_secret {
	const char *name; /* "AWS_USER" */
	const struct integration *integration;
	const char *policy; /* compact JSON, without the expiry statement; "" when only policy_arns
			       are given */
	const char *const *policy_arns;
	size_t n_policy_arns;
	const char *permissions_boundary; /* NULL: none */
	const struct tag *tags;
	size_t n_tags;
	int64_t ttl_ms, max_ttl_ms, min_validity_ms; /* min_validity_ms is for leases of ttl_ms; see
							catalog_min_validity */
	enum lease_scope scope;
	unsigned warm;
	unsigned max_leases; /* default 100 */
	unsigned max_rate;
	int64_t max_rate_per_ms; /* default 30 a minute */
	unsigned max_rate_per_holder;
	int64_t max_rate_per_holder_ms; /* default half of max_rate; never more than that */
	/* What is done when a lease is no longer what a reader would be given. */
	const char *on_rotate_command; /* NULL: none; words with quotes, no shell */
	int on_rotate_signal;          /* 0: none; to the process that holds it (scope process) */
	/* A digest of all that shapes a lease (integration, policy, ARNs, boundary, tags): equal
	 * digests mean that a lease made under one catalog is right under another. */
	uint64_t fingerprint;
};

struct static_secret {
	const char *key;
	struct secret *value;
};

/* Names may be patterns, as of fnmatch(3). */
struct allow {
	const uid_t *uids;
	const gid_t *gids;
	const char *const *units;      /* of systemd: "app.service" */
	const char *const *containers; /* "docker:ID", or the ID or name alone */
	size_t n_uids, n_gids, n_units, n_containers;
};

struct access {
	uid_t uid;
	gid_t gid;
	mode_t mode; /* of files, read bits only; folders get x where there is r. Default 0400 of
			the daemon's user */
	bool restricted;    /* only who is in one of the lists may read, root too */
	struct allow allow; /* all empty where it is not restricted */
	bool hide;          /* who may not read does not see it either */
};

struct config {
	const char *project, *name,
		*environment; /* environment defaults to the config's name up to its first '_' */
	const struct static_secret *statics; /* sorted by key */
	size_t n_statics;
	const struct dynamic_secret *dynamics; /* sorted by name; at most CATALOG_DYNAMICS_MAX */
	size_t n_dynamics;
	struct access access;
};
#define CATALOG_STATICS_MAX  4096
#define CATALOG_DYNAMICS_MAX 64 /* a set of a config's dynamic secrets fits a 64-bit mask */

struct project {
	const char *name;
	const struct config *configs; /* sorted by name */
	size_t n_configs;
};

struct audit_settings {
	const char *file;  /* NULL: no audit log */
	uint64_t max_size; /* bytes; then another file is begun */
	unsigned keep;     /* how many of those before are kept */
	bool required;     /* no lease without a line in it */
};
#define CATALOG_AUDIT_SIZE_DEFAULT (16ul * 1024 * 1024)
#define CATALOG_AUDIT_SIZE_MIN     (64ul * 1024)
#define CATALOG_AUDIT_SIZE_MAX     (1ul << 40)
#define CATALOG_AUDIT_KEEP_DEFAULT 64
#define CATALOG_AUDIT_KEEP_MAX     2000

struct catalog {
	const struct integration *integrations; /* sorted by name, like all lists here */
	size_t n_integrations;
	const struct project *projects;
	size_t n_projects;
	int64_t read_timeout_ms, unmount_timeout_ms;
	const char *const *api_listen; /* "unix:PATH" or "HOST:PORT" */
	size_t n_api_listen;
	const char *api_admin_group; /* NULL: none */
	/* PEM files; both or neither. Set when an address is not loopback. */
	const char *api_tls_certificate, *api_tls_key;
	struct audit_settings audit;
};

/* One mistake in the file. */
struct catalog_problem {
	unsigned line;  /* from 1; 0 where no line is known (an unreadable file) */
	char path[256]; /* the member, such as projects.app.dev.dynamic_secrets.AWS_USER.ttl; "" for
			   the file as a whole */
	char message[512]; /* what is wrong, and what is right */
	bool warning; /* the file is usable all the same (a policy that could undo its own expiry,
			 …) */
};

struct catalog_problems {
	struct catalog_problem at[CATALOG_PROBLEMS_MAX];
	size_t n;
	size_t more; /* how many there were beyond */
};

/* What reading a configuration needs of the system, so that a test or a fuzzer can own it. */
struct catalog_system {
	/* Reads a named file into *ret (terminated, for free()) and *ret_n; with `private`, refuses
	 * a file that others than its owner may read
	 * (-EPERM). 0 or a negative errno. */
	int (*read_file)(const struct catalog_system *system, const char *path, size_t max,
			 bool private, char **ret, size_t *ret_n);
	int (*user)(const struct catalog_system *system, const char *name, uid_t *ret,
		    gid_t *ret_primary_group);
	int (*group)(const struct catalog_system *system, const char *name, gid_t *ret);
	uid_t default_uid;
	gid_t default_gid;
};

/* The real one, with the calling process's ids as defaults. */
void catalog_system_init(struct catalog_system *system);

/* Reads and checks the file. Secrets that stand in it go into the arena, which has to be there
 * (secret_arena_init). On success *ret has one reference; problems then holds warnings only.
 * On failure (-EINVAL, or the errno of reading) problems holds at least one that is no warning.
 * Relative file names in the configuration are relative to its folder. */
int catalog_load(struct catalog **ret, const char *file, const struct catalog_system *system,
		 struct catalog_problems *problems);

/* The same from memory; `file` names it in messages and is where relative names start. `private`
 * says whether the file may hold secret_access_key. */
int catalog_parse(struct catalog **ret, const char *text, size_t n, const char *file, bool private,
		  const struct catalog_system *system, struct catalog_problems *problems);

struct catalog *catalog_ref(struct catalog *catalog);
struct catalog *catalog_unref(struct catalog *catalog); /* NULL-safe; returns NULL */

/* "dsec.json:12: projects.app.dev.ttl: message", with "warning: " before the path of a warning. */
void catalog_problem_text(const struct catalog_problem *problem, const char *file, char *to,
			  size_t size);

const struct project *catalog_project(const struct catalog *catalog, const char *project);
const struct config *catalog_config(const struct catalog *catalog, const char *project,
				    const char *config); /* NULL: none */
const struct integration *catalog_integration(const struct catalog *catalog,
					      const char *name); /* NULL: none */
const struct dynamic_secret *config_dynamic(const struct config *config, const char *name,
					    size_t *ret_index); /* NULL: none */

/* Is a config hidden from those who may not read it? Then what names all configs is not for
 * everybody. */
bool catalog_hides(const struct catalog *catalog);

/* The path of the first Unix socket in api.listen; NULL: none. */
#define CATALOG_UNIX_PREFIX "unix:"
const char *catalog_api_socket(const struct catalog *catalog);

/* "HOST:PORT" in parts; a host that is an IPv6 address keeps its brackets. */
#define CATALOG_HOST_MAX 64
bool catalog_listen_split(const char *listen, char host[CATALOG_HOST_MAX], const char **ret_port);

/* Is it in 127.0.0.0/8, or [::1], or localhost? */
bool catalog_is_loopback(const char *host);

/* What a lease of ttl_ms must have left to be handed to another reader: min_validity_ms, but at
 * most half of ttl_ms. */
int64_t catalog_min_validity(const struct dynamic_secret *secret, int64_t ttl_ms);

/* Is the name one that a project or config may have: [A-Za-z0-9_-][A-Za-z0-9_.-]*, and a key:
 * [A-Z_][A-Z0-9_]*. */
bool catalog_name_valid(const char *name);
bool catalog_key_valid(const char *key);

#endif
