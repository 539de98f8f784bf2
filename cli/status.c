#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/file.h"
#include "cli/log.h"
#include "cli/paths.h"
#include "cli/peer.h"
#include "lease/error.h"

#define STATUS_TEXT_MAX (1024ul * 1024)

static void print_status(const char *mountpoint, const char *project, const char *config)
{
	char path[PATH_MAX];
	_cleanup_free_ char *text = NULL;
	size_t n;

	if (snprintf(path, sizeof(path), "%s/%s/%s/.status", mountpoint, project, config) >=
	    (int)sizeof(path))
		return;
	int r = file_read(path, STATUS_TEXT_MAX, &text, &n);
	printf("\n%s/%s\n", project, config);
	if (r < 0)
		printf("%s\n", strerror(-r));
	else
		fwrite(text, 1, n, stdout);
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* The sorted names in a folder; n is 0 where it cannot be read. */
static struct dirent **names(const char *folder, int *ret_n)
{
	struct dirent **entries = NULL;

	*ret_n = scandir(folder, &entries, visible, alphasort);
	return entries;
}

static void print_project(const char *mountpoint, const char *project)
{
	char path[PATH_MAX];
	int n;

	if (snprintf(path, sizeof(path), "%s/%s", mountpoint, project) >= (int)sizeof(path))
		return;
	struct dirent **configs = names(path, &n);
	if (n < 0)
		printf("\n%s\n%s\n", project, strerror(errno));
	for (int i = 0; i < n; i++) {
		print_status(mountpoint, project, configs[i]->d_name);
		free(configs[i]);
	}
	free(configs);
}

static void print_all(const char *mountpoint)
{
	int n;
	struct dirent **projects = names(mountpoint, &n);

	for (int i = 0; i < n; i++) {
		print_project(mountpoint, projects[i]->d_name);
		free(projects[i]);
	}
	free(projects);
}

static int run(const struct options *options)
{
	char mountpoint[PATH_MAX], path[PATH_MAX + 16], version[64];
	struct dsec_error err;
	struct peer peer;

	if (paths_mountpoint(mountpoint, options->n_operands ? options->operands[0] : NULL, &err) <
	    0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	if (peer_expect(mountpoint) < 0)
		return STATUS_FAILED;
	if (peer_look(mountpoint, &peer, &err) < 0) {
		log_error(LOG_ERR, &err, NULL);
		return STATUS_FAILED;
	}
	snprintf(path, sizeof(path), "%s/.dsec/version", mountpoint);
	file_first_line(path, version, sizeof(version));
	printf("%s is served by dsec %s, pid %d\nconfiguration %s\nstate folder %s\n", mountpoint,
	       version, (int)peer.pid, peer.config, peer.state);
	printf("worker %d, started again %u time%s\n", (int)peer.worker, peer.restarts,
	       peer.restarts == 1 ? "" : "s");
	if (peer.sandbox[0])
		printf("the worker is %s\n", peer.sandbox);
	if (peer.memory[0])
		printf("secrets are in %s\n", peer.memory);
	if (peer.notice[0])
		printf("not upgraded: %s\n", peer.notice);
	print_all(mountpoint);
	return STATUS_FINE;
}

const struct command status_command = {
	.name = "status",
	.operands = "[MOUNTPOINT]",
	.operands_max = 1,
	.summary = "tell who serves the mount, and how each config is",
	.help = "Prints which daemon serves MOUNTPOINT (root: /run/dsec, others:\n"
		"$XDG_RUNTIME_DIR/dsec) and the .status of each config that you may read.\n"
		"\n"
		"Exit status: 0 when a daemon serves it, else 1.\n",
	.run = run,
};
