/*
 * notify.h: telling the service manager how the daemon is: sd_notify(3)'s protocol, without
 * libsystemd.
 */
#ifndef DSEC_CLI_NOTIFY_H
#define DSEC_CLI_NOTIFY_H

/* Remembers NOTIFY_SOCKET and takes it out of the environment, so that no child process speaks for
 * the daemon. Without the variable nothing is ever sent. */
void notify_init(void);

/* The variable as it was, for a program that takes this one's place. */
void notify_restore(void);

/* From now on somebody else sends what there is to send. */
typedef void notify_sender(void *arg, const char *text);
void notify_through(notify_sender *sender, void *arg);

/* Sends assignments, a line each: "READY=1\nSTATUS=…". Never waits: a manager that does not read is
 * not told. */
void notify_send(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
