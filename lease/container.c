#include "lease/container.h"

#include <stdio.h>
#include <string.h>

#define ID_MIN 12 /* hexadecimal digits; they have 64 */

/* What stands behind it tells a container from its runtime's helpers ("libpod-conmon-ID.scope"). */
static size_t id_length(const char *text)
{
	size_t n = strspn(text, "0123456789abcdef");

	return n >= ID_MIN && (text[n] == '\0' || strcmp(text + n, ".scope") == 0) ? n : 0;
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

static bool put(char *to, size_t size, const char *runtime, const char *id, size_t n)
{
	if (n == 0)
		return false;
	snprintf(to, size, "%s:%.*s", runtime, (int)n, id);
	return true;
}

static bool put_id(char *to, size_t size, const char *runtime, const char *id)
{
	return put(to, size, runtime, id, id_length(id));
}

/* "docker-ID.scope" and its like. */
static bool name_scope(char *to, size_t size, const char *part)
{
	static const struct {
		const char *prefix, *runtime;
	} runtimes[] = {
		{"docker-", "docker"},
		{"libpod-", "podman"},
		{"cri-containerd-", "containerd"},
		{"nerdctl-", "containerd"},
		{"crio-", "crio"},
	};

	for (size_t i = 0; i < sizeof(runtimes) / sizeof(runtimes[0]); i++)
		if (starts(part, runtimes[i].prefix) &&
		    put_id(to, size, runtimes[i].runtime, part + strlen(runtimes[i].prefix)))
			return true;
	return false;
}

/* Else "lxc.payload.NAME", ":cri-containerd:ID", or the bare ID, whose parent says what it is of.
 */
bool container_name(char *to, size_t size, const char *parent, const char *part)
{
	static const char lxc[] = "lxc.payload.", colons[] = ":cri-containerd:";
	const char *at;

	if (name_scope(to, size, part))
		return true;
	if (starts(part, lxc) && part[strlen(lxc)])
		return put(to, size, "lxc", part + strlen(lxc), strlen(part + strlen(lxc)));
	if ((at = strstr(part, colons)))
		return put_id(to, size, "containerd", at + strlen(colons));
	if (strcmp(parent, "docker") == 0)
		return put_id(to, size, "docker", part);
	if (strcmp(parent, "lxc") == 0)
		return put(to, size, "lxc", part, strlen(part));
	if (starts(parent, "pod") || starts(parent, "kubepods"))
		return put_id(to, size, "containerd", part);
	return false;
}
