#include "cli/audited.h"

#include <limits.h>

#include "cli/configuration.h"
#include "cli/log.h"
#include "cli/paths.h"

int audited_files(struct audit_files *ret, const struct options *options, struct dsec_error *err)
{
	_cleanup_catalog_ struct catalog *catalog = NULL;
	char config[PATH_MAX];

	if (options->n_operands > 0)
		return audit_files_sort(ret, options->operands, options->n_operands, err);

	int r = paths_config(config, options->config, err);
	if (r < 0)
		return r;
	catalog = configuration_load(config);
	if (!catalog)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "name the files of the audit log, or mend %s", config);
	if (!catalog->audit.file)
		return dsec_error_set(err, DSEC_ERROR_NOT_CONFIGURED,
				      "%s has no audit log: set audit.file", config);
	r = audit_files_find(ret, catalog->audit.file, err);
	if (r == 0 && ret->n == 0) {
		audit_files_finish(ret);
		return dsec_error_set(err, DSEC_ERROR_FAULT, "there is no line in the audit log %s",
				      catalog->audit.file);
	}
	return r;
}

void audited_tell_compressed(const struct audit_files *files)
{
	if (files->n_compressed > 0)
		log_line(LOG_NOTICE,
			 "%zu compressed files were passed over: unpack them, and name them",
			 files->n_compressed);
}
