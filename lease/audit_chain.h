/*
 * audit_chain.h: what makes the audit log one that cannot be changed unseen.
 *
 * Each line ends in `,"mac":"…"}`: HMAC-SHA256, under a key that only the daemon's state folder
 * holds, of the line before's MAC and of this line's text in front of its own. So whoever can write
 * the log, but not read the key, cannot make, change, move or leave out a line in the middle. What
 * could still be done is to cut off the end, or, with the key (root), to write it all anew: against
 * that the *head*, the last line's number and MAC, is told to the system's log and kept in the
 * state folder.
 */
#ifndef DSEC_LEASE_AUDIT_CHAIN_H
#define DSEC_LEASE_AUDIT_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lease/clock.h"
#include "lease/error.h"
#include "lease/secret.h"

#define AUDIT_MAC_SIZE 32
#define AUDIT_HEX_MAX  (2 * AUDIT_MAC_SIZE + 1)
#define AUDIT_LINE_MAX 32768 /* without its newline */

/* The last line, as far as it is known: number 0 is before the first. */
struct audit_head {
	uint64_t number;
	unsigned char mac[AUDIT_MAC_SIZE];
};

/* The key in the state folder (AUDIT_KEY_FILE, 0600). audit_key_make makes it where there is none;
 * audit_key_load fails then. */
#define AUDIT_KEY_FILE "audit.key"
int audit_key_make(struct secret **ret, const char *state_folder, const struct clock *clock,
		   struct dsec_error *err);
int audit_key_load(struct secret **ret, const char *state_folder, struct dsec_error *err);

/* The head that the state folder keeps (AUDIT_HEAD_FILE); number 0 where there is none. */
#define AUDIT_HEAD_FILE "audit.head"
int audit_head_load(struct audit_head *ret, const char *state_folder, struct dsec_error *err);
int audit_head_store(const struct audit_head *head, const char *state_folder,
		     struct dsec_error *err);

/* The MAC of a line whose text in front of its own MAC is given. */
void audit_mac(unsigned char to[AUDIT_MAC_SIZE], const struct secret *key,
	       const unsigned char previous[AUDIT_MAC_SIZE], const char *text, size_t n);

void audit_hex(char to[AUDIT_HEX_MAX], const unsigned char mac[AUDIT_MAC_SIZE]);
bool audit_unhex(unsigned char to[AUDIT_MAC_SIZE], const char *hex, size_t n);

/* SHA-256, for what is not a line. */
void audit_digest(unsigned char to[AUDIT_MAC_SIZE], const char *bytes, size_t n);

/* Puts the MAC behind a JSON object's text of n bytes, over its closing brace, and ends the line.
 * `text` has room for AUDIT_SEAL_MAX bytes more. Returns the length with the newline. */
#define AUDIT_SEAL_MAX (AUDIT_HEX_MAX + 16)
size_t audit_seal(char *text, size_t n, const struct secret *key,
		  const unsigned char previous[AUDIT_MAC_SIZE],
		  unsigned char ret_mac[AUDIT_MAC_SIZE]);

/* Takes a line apart: the length of what the MAC covers, the MAC. False when it has none. */
bool audit_unseal(const char *line, size_t n, size_t *ret_covered,
		  unsigned char ret_mac[AUDIT_MAC_SIZE]);

#endif
