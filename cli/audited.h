/*
 * audited.h: the audit log that a command line means.
 */
#ifndef DSEC_CLI_AUDITED_H
#define DSEC_CLI_AUDITED_H

#include "cli/command.h"
#include "lease/audit_files.h"
#include "lease/error.h"

/* The operands, or all files of the configuration's log. */
int audited_files(struct audit_files *ret, const struct options *options, struct dsec_error *err);

/* Says so when there are files that could not be read. */
void audited_tell_compressed(const struct audit_files *files);

#endif
