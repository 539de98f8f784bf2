/*
 * sandbox.h: what a worker gives up before it serves: its user, its capabilities, new privileges,
 * its core, the files that are none of its business, and the system calls that it has no need of.
 *
 * Each layer stands by itself: what gets past one is held by the next. A layer may be missing where
 * the kernel lacks it, and then the log and `dsec status` say so; where the kernel has it and it
 * cannot be put on, the worker does not start. None can be taken off again.
 *
 * In this order, and all of it before the process has a second thread, since capabilities and
 * Landlock are each thread's own: sandbox_user() while files are yet opened by name with privilege;
 * then sandbox_close(), after which nothing is opened but what it was told.
 */
#ifndef DSEC_CLI_SANDBOX_H
#define DSEC_CLI_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "lease/error.h"

/* The user that a worker started by root becomes. Where there is none of that name it is a number
 * that no user has (owner.h), from the range that systemd gives to services without a user. */
#define SANDBOX_USER_NAME "dsec"

#define SANDBOX_PATHS_MAX 64
#define SANDBOX_TEXT_MAX  256

enum sandbox_layer {
	SANDBOX_USER,         /* a user of its own; not where another than root started it */
	SANDBOX_CAPABILITIES, /* none, nor a way to get one */
	SANDBOX_NO_NEW_PRIVS, /* no program gives it any */
	SANDBOX_UNDUMPABLE,   /* no core, no debugger of the same user */
	SANDBOX_LANDLOCK,     /* no file but those it was told, no program at all */
	SANDBOX_SECCOMP,      /* no system call but those it needs; another one kills it */
	SANDBOX_LAYERS,       /* how many there are */
};

enum sandbox_access {
	SANDBOX_READ,  /* a file, or a folder and all below it */
	SANDBOX_WRITE, /* the same; files in a folder may be made and removed, too */
	SANDBOX_MOUNT, /* as READ, of a mount of our own: asking for what it is would wait for us */
};

struct sandbox {
	uid_t uid;
	gid_t gid;
	bool named; /* there is a user SANDBOX_USER_NAME */
	struct sandbox_path {
		const char *path;
		enum sandbox_access access;
		dev_t device;
		ino_t inode; /* when it was allowed; 0: it was not there */
	} paths[SANDBOX_PATHS_MAX];
	size_t n_paths;
	bool on[SANDBOX_LAYERS];
	int landlock; /* the kernel's version of it; 0: none */
};

/* Who the worker will be: for root the user above, for others who they are. */
int sandbox_init(struct sandbox *sandbox, struct dsec_error *err);

/* Adds what may still be opened after sandbox_close(). What is not there by then cannot be opened
 * later either, nor can what replaces it: a rule holds for a file, not for its name. The path is
 * borrowed. NULL is ignored. */
void sandbox_allow(struct sandbox *sandbox, const char *path, enum sandbox_access access);

/* What every worker reads: the resolver's and the user database's files, certificates, time zones,
 * the folders of the shared libraries that it has loaded (to read, not to run); and who its readers
 * are: /proc, of which the kernel shows it of others what everybody may see, and the control
 * groups. */
void sandbox_allow_system(struct sandbox *sandbox);

/* Has one of the files that sandbox_close() was told been replaced since, or appeared? Then a new
 * worker is needed to read it. */
bool sandbox_outdated(const struct sandbox *sandbox);

/* Becomes that user, without groups and capabilities. Nothing for another than root. */
int sandbox_user(struct sandbox *sandbox, struct dsec_error *err);

/* Puts all other layers on. The process has one thread. */
int sandbox_close(struct sandbox *sandbox, struct dsec_error *err);

/* What mounting, opening the configuration's files and starting a worker do not take is given up by
 * root's keeper too: capabilities over the machine, its clock, its modules, its network. So have
 * they what it runs not. */
int sandbox_keeper(struct dsec_error *err);

/* "user dsec (997), no capabilities, …; not in this kernel: Landlock". */
void sandbox_text(char to[SANDBOX_TEXT_MAX], const struct sandbox *sandbox);

const char *sandbox_layer_name(enum sandbox_layer layer);

#endif
