/*
 * download_names.h: the names of keys as a download writes them.
 */
#ifndef DSEC_LEASE_DOWNLOAD_NAMES_H
#define DSEC_LEASE_DOWNLOAD_NAMES_H

#include "lease/download.h"

/* Writes the key's name as the transformer makes it. */
void download_rename(char to[DOWNLOAD_KEY_MAX], const char *name, enum download_names as);

/* Does the name need quotes, to be a string to the parsers of YAML 1.1? */
bool download_name_is_yaml_word(const char *name);

#endif
