/*
 * door.h: what the keeper and its worker say to each other: one narrow door in the wall between
 * what has privilege and what knows secrets.
 *
 * A SOCK_SEQPACKET pair; each packet is one `struct door_message`, cut off behind its text, and
 * carries at most DOOR_FDS_MAX descriptors. The worker asks, the keeper answers each question once
 * (`id` says which) and in order; in between it sends orders, which nobody answers. Descriptors
 * that come with an answer belong to who receives it. The worker's end of the door is its last
 * thread to the keeper: at its end of file the worker ends, since nothing is left that it could
 * serve.
 *
 * The keeper believes nothing of what comes through. A packet that is too short, too long, unknown
 * or has text without an end is answered with -EBADMSG (or dropped where it is no question) and
 * logged; whatever is asked for is granted only if the rules below say so; there is no other way to
 * make the keeper do anything. It parses no JSON and no secret: it compares texts.
 *
 *   question   number, text            answer: result; numbers, text, descriptors
 *   MOUNT      -                       0; fd 0: /dev/fuse. It is mounted at the first time.
 *                                      -ENOTCONN once it was unmounted (by UNMOUNT)
 *   UNMOUNT    -                       0. The end has begun: the worker is not started again
 *   WHO        pid                     0; a door_who as the text; fd 0: a pidfd. -ESRCH
 *   OPEN       enum door_open, path    0; fd 0. Or the errno of open(2); -EPERM: not a configured
 *                                      file
 *   RUN        -, a command line       its number, >= 0; fd 0: the pipe that its standard output
 *                                      goes to. -EPERM: not a configured command
 *   KILL       what RUN gave           0; it and its process group are killed, and EXITED follows
 *                                      all the same
 *   REMOVE     path                    0; the file of that Unix socket is gone. -EPERM: not a
 *                                      configured one; -ENOTSOCK
 *   NUDGE      pid, value: HUP, USR1   0; the process that began at that time is sent the signal.
 *              or USR2, text: start    -EPERM: the configuration does not name "on_rotate" and the
 *              time                    signal; -ESRCH
 * What is only told:
 *   READY      -                       the mount serves
 *   TELL       text                    a line for the service manager (sd_notify(3))
 * Orders of the keeper:
 *   SIGNAL     SIGTERM, SIGINT, SIGHUP, SIGUSR1: the keeper was sent that; text: a door_sender,
 *              where it was a process that sent it
 *   HAND_OVER  stop reading, write the journal, exit with DOOR_HANDED_OVER
 *   NOTICE     text for `dsec status`: why an upgrade was not done
 *   EXITED     what RUN gave; value: the status as waitpid(2) tells it
 *
 * Which files: the configuration itself (the keeper knows its path from its own command line); any
 * path that stands in the configuration's present text as the value of a member that names a file
 * ("policy_file" and so on), as it is or relative to the configuration's folder; and, when
 * "profile" stands there as a string, the shared files of AWS ($AWS_SHARED_CREDENTIALS_FILE,
 * $AWS_CONFIG_FILE, else those in ~/.aws). Only regular files. Which sockets: one that stands there
 * as "unix:PATH", or the default one. Which commands: one that stands there as the value of
 * "command", or in one of those shared files as the rest of a line. Values are looked for as
 * jansson's json_dumps() writes them: one with escapes that were not necessary is not found.
 */
#ifndef DSEC_FS_DOOR_H
#define DSEC_FS_DOOR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lease/error.h"
#include "lease/list.h"

#define DOOR_TEXT_MAX    8192 /* with its end */
#define DOOR_FDS_MAX     1
#define DOOR_RUNS_MAX    16    /* commands that run at once; one more is refused with -EAGAIN */
#define DOOR_TIMEOUT_MS  10000 /* an answer that takes longer does not come */
#define DOOR_HANDED_OVER 75    /* exit status of a worker that was told to HAND_OVER */
#define DOOR_RENEW       76 /* of one that wants another in its place: what it may open is outdated */

enum door_kind {
	DOOR_MOUNT = 1,
	DOOR_UNMOUNT,
	DOOR_WHO,
	DOOR_OPEN,
	DOOR_RUN,
	DOOR_KILL,
	DOOR_READY,
	DOOR_TELL,
	DOOR_REMOVE,
	DOOR_NUDGE,
	DOOR_ANSWER = 32, /* to the question of that id */
	DOOR_SIGNAL,
	DOOR_HAND_OVER,
	DOOR_NOTICE,
	DOOR_EXITED,
};

enum door_open {
	DOOR_OPEN_READ,   /* O_RDONLY */
	DOOR_OPEN_APPEND, /* O_RDWR | O_APPEND | O_CREAT, mode 0600; never the configuration */
};

struct door_message {
	uint32_t kind;
	uint32_t id;    /* of a question, and of its answer; 0 elsewhere */
	int32_t number; /* a question's number; an answer's result: 0, a number, or a negative errno
			 */
	int32_t value;
	uint32_t n; /* bytes of text; what is text ends with the only NUL in it */
	char text[DOOR_TEXT_MAX];
};

/* Who a process is. Its numbers are those of the keeper's namespaces. */
struct door_who {
	uint64_t start_time;           /* as in /proc/PID/stat, in ticks */
	uint64_t cgroup_inode;         /* of its cgroup v2's folder; 0: not known */
	uint64_t mount_namespace;      /* inode */
	uint32_t uid;                  /* of the process's effective user */
	char executable[PATH_MAX / 2]; /* "": not known */
	char cgroup[PATH_MAX / 4];     /* the path of its cgroup v2 below the root; "": not known */
};

/* Who sent a signal, as far as the keeper could see when it came. */
struct door_sender {
	int32_t pid; /* 0: not visible from here */
	uint32_t uid;
	struct door_who who; /* its start_time is 0 where it was gone already */
};

/* False: nobody is named. The texts are texts. */
bool door_sender(const struct door_message *order, struct door_sender *ret);

/* The worker's side. For one thread, the engine's. */

struct door;

/* An order (SIGNAL, HAND_OVER, NOTICE, EXITED). From door_dispatch alone, never while a question
 * waits for its answer. */
typedef void door_order(void *arg, const struct door_message *order);

/* Takes the descriptor over. */
struct door *door_new(int fd, door_order *order, void *arg);
struct door *door_free(struct door *door); /* NULL-safe; returns NULL */

int door_fd(const struct door *door); /* readable: door_dispatch has something */
void door_dispatch(struct door *door);
/* Orders came while an answer was waited for: door_dispatch has them, though door_fd may not be
 * readable. */
bool door_waiting(const struct door *door);
bool door_closed(const struct door *door); /* the keeper is gone */

/* Each waits for its answer: 0 (or what is said above) or a negative errno, -ETIMEDOUT after
 * DOOR_TIMEOUT_MS, -EPIPE when the keeper is gone. *ret_… is touched on success only. */
int door_mount(struct door *door, int *ret_fuse_fd);
int door_unmount(struct door *door);
int door_who(struct door *door, pid_t pid, struct door_who *ret, int *ret_pidfd);
int door_open(struct door *door, const char *path, enum door_open how, int *ret_fd);
int door_run(struct door *door, const char *command, int *ret_output_fd);
int door_remove(struct door *door, const char *socket_path);
int door_kill(struct door *door, int run);
int door_nudge(struct door *door, pid_t pid, uint64_t start_time, int number);

void door_ready(struct door *door);
void door_tell(struct door *door, const char *text);

/* The keeper's side (door_keeper.c). */

/* What it may do for the worker, beside what it finds out in /proc. Functions return 0 or a
 * negative errno. */
struct door_rights {
	const char *config_file;    /* absolute */
	const char *default_socket; /* absolute: where the API listens unless the configuration
				       says where; NULL: nowhere */
	int (*mount)(void *arg, int *ret_fuse_fd); /* *ret_fuse_fd stays the keeper's */
	int (*unmount)(void *arg);
	void (*ready)(void *arg);
	void (*tell)(void *arg, const char *text);
	/* Splits a command line into words, for door_free_words(). NULL: it is none. */
	char **(*split)(void *arg, const char *command);
	void (*free_words)(void *arg, char **words);
	void (*log)(void *arg, int priority, const char *message);
	void *arg;
};

struct door_keeper;

struct door_keeper *door_keeper_new(int fd, const struct door_rights *rights);
/* Kills what RUN started. NULL-safe; returns NULL. */
struct door_keeper *door_keeper_free(struct door_keeper *door);
int door_keeper_fd(const struct door_keeper *door); /* -1 when the worker has closed its end */

/* Answers what was asked. False: the worker has closed its end, and all that it said was heard. */
bool door_keeper_dispatch(struct door_keeper *door);

/* A child of the keeper's has ended, which was not the worker: sends EXITED if RUN started it. */
void door_keeper_reaped(struct door_keeper *door, pid_t pid, int status);

void door_keeper_order(struct door_keeper *door, enum door_kind kind, int number, int value,
		       const char *text);

/* SIGNAL; sender may be NULL. */
void door_keeper_signal(struct door_keeper *door, int number, const struct door_sender *sender);

/* Looks at the process as it is now. */
void door_find_sender(pid_t pid, uid_t uid, struct door_sender *ret);

#endif
