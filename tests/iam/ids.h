/*
 * ids.h: made-up identifiers that look like AWS's.
 */
#ifndef DSEC_TESTS_IAM_IDS_H
#define DSEC_TESTS_IAM_IDS_H

#include <stddef.h>

#define ID_SUFFIX     16 /* AKIA…, ASIA…, AIDA…: four letters and 16 of [A-Z2-7] */
#define SECRET_LENGTH 40 /* of [A-Za-z0-9/+] */

char *id_new(const char *prefix); /* for free(), as are all of these */
char *id_secret(void);
char *id_token(void);   /* a session token */
char *id_request(void); /* a UUID */

#endif
