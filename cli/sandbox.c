#include "cli/sandbox.h"

#include <assert.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <link.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/sandbox_layers.h"
#include "lease/owner.h"

#define LIBRARY_FOLDERS_MAX 8

static const char *const layer_names[SANDBOX_LAYERS] = {
	[SANDBOX_USER] = "a user of its own",
	[SANDBOX_CAPABILITIES] = "no capabilities",
	[SANDBOX_NO_NEW_PRIVS] = "no new privileges",
	[SANDBOX_UNDUMPABLE] = "undumpable",
	[SANDBOX_LANDLOCK] = "Landlock",
	[SANDBOX_SECCOMP] = "seccomp",
};

const char *sandbox_layer_name(enum sandbox_layer layer)
{
	return layer_names[layer];
}

/* The user. */

static bool is_taken(uid_t uid)
{
	char lease[64];

	snprintf(lease, sizeof(lease), "/run/systemd/dynamic-uid/%u", uid);
	return getpwuid(uid) || getgrgid(uid) || access(lease, F_OK) == 0;
}

static int choose_user(struct sandbox *sandbox, struct dsec_error *err)
{
	const struct passwd *user = getpwnam(SANDBOX_USER_NAME);

	if (user && user->pw_uid == 0)
		return dsec_error_set(err, DSEC_ERROR_INVALID,
				      "the user " SANDBOX_USER_NAME
				      " is root by another name: give "
				      "it a number of its own");
	if (user) {
		sandbox->uid = user->pw_uid;
		sandbox->gid = user->pw_gid;
		sandbox->named = true;
		return 0;
	}
	for (uid_t uid = OWNER_WORKER_UID_FIRST; uid < OWNER_WORKER_UID_FIRST + OWNER_WORKER_UIDS;
	     uid++)
		if (!is_taken(uid)) {
			sandbox->uid = uid;
			sandbox->gid = uid;
			return 0;
		}
	return dsec_error_set(
		err, DSEC_ERROR_FAULT,
		"there is no user " SANDBOX_USER_NAME ", and the numbers %u to %u are "
		"taken: adduser --system --group " SANDBOX_USER_NAME,
		OWNER_WORKER_UID_FIRST, OWNER_WORKER_UID_FIRST + OWNER_WORKER_UIDS - 1);
}

int sandbox_init(struct sandbox *sandbox, struct dsec_error *err)
{
	*sandbox = (struct sandbox){.uid = geteuid(), .gid = getegid()};
	return geteuid() == 0 ? choose_user(sandbox, err) : 0;
}

int sandbox_user(struct sandbox *sandbox, struct dsec_error *err)
{
	uid_t uid = sandbox->uid;
	gid_t gid = sandbox->gid;

	if (geteuid() != 0)
		return 0;
	/* While there is the capability for it. */
	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return dsec_error_set(
			err, DSEC_ERROR_FAULT, "the worker cannot become user %u: %s%s", uid,
			strerror(errno),
			errno == EINVAL ? " (this user namespace does not have that number: make a "
					  "user " SANDBOX_USER_NAME " that it has)"
					: "");
	assert(setuid(0) < 0 && geteuid() == uid && getegid() == gid);
	sandbox->on[SANDBOX_USER] = true;
	return 0;
}

/* The other layers. */

int sandbox_drop_capabilities(bool *ret_on, struct dsec_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	/* The bounding set is left to those who may not change it: no_new_privs makes it moot. */
	for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0; capability++)
		;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot drop capabilities: %s",
				      strerror(errno));
	*ret_on = true;
	return 0;
}

#define BIT(capability) (UINT64_C(1) << (capability))

int sandbox_keeper(struct dsec_error *err)
{
	const uint64_t kept = BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_DAC_READ_SEARCH) |
			      BIT(CAP_FOWNER) | BIT(CAP_KILL) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |
			      BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_IPC_LOCK) |
			      BIT(CAP_SYS_PTRACE) | BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_RESOURCE);
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];

	if (geteuid() != 0)
		return 0;
	for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
		if (capability > 63 || !(kept & BIT(capability)))
			prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
	if (syscall(SYS_capget, &header, sets) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "capget: %s", strerror(errno));
	for (int i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
		sets[i].permitted &= (uint32_t)(kept >> 32 * i);
		sets[i].effective &= sets[i].permitted;
		sets[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, sets) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "cannot drop capabilities: %s",
				      strerror(errno));
	return 0;
}

static int close_process(struct sandbox *sandbox, struct dsec_error *err)
{
	int r = sandbox_drop_capabilities(&sandbox->on[SANDBOX_CAPABILITIES], err);

	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "no_new_privs: %s", strerror(errno));
	sandbox->on[SANDBOX_NO_NEW_PRIVS] = true;
	/* Becoming another user has done it already; but what decides then is a sysctl. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "not dumpable: %s", strerror(errno));
	sandbox->on[SANDBOX_UNDUMPABLE] = true;
	return 0;
}

int sandbox_close(struct sandbox *sandbox, struct dsec_error *err)
{
	int r = close_process(sandbox, err);

	if (r == 0)
		r = sandbox_landlock(sandbox, &sandbox->landlock, err);
	sandbox->on[SANDBOX_LANDLOCK] = sandbox->landlock > 0;
	if (r == 0)
		r = sandbox_seccomp(&sandbox->on[SANDBOX_SECCOMP], err);
	return r;
}

/* Files. */

static void identify(const char *path, dev_t *ret_device, ino_t *ret_inode)
{
	struct stat st = {0};

	if (stat(path, &st) < 0)
		st = (struct stat){0};
	*ret_device = st.st_dev;
	*ret_inode = st.st_ino;
}

void sandbox_allow(struct sandbox *sandbox, const char *path, enum sandbox_access access)
{
	if (!path)
		return;
	assert(sandbox->n_paths < SANDBOX_PATHS_MAX);
	struct sandbox_path *to = &sandbox->paths[sandbox->n_paths++];
	*to = (struct sandbox_path){.path = path, .access = access};
	if (access != SANDBOX_MOUNT)
		identify(path, &to->device, &to->inode);
}

/* What is loaded late (modules that look up names, say) lies where the libraries lie that are there
 * already: other folders of /usr/lib have what is none of the worker's business. */
static int allow_library(struct dl_phdr_info *info, size_t size, void *arg)
{
	static char folders[LIBRARY_FOLDERS_MAX][PATH_MAX];
	struct sandbox *sandbox = arg;
	char path[PATH_MAX];
	size_t n = 0;

	/* The program itself has no name here, and the kernel's part no file. */
	if (info->dlpi_name[0] != '/' || !realpath(info->dlpi_name, path))
		return 0;
	*strrchr(path, '/') = '\0';
	while (n < LIBRARY_FOLDERS_MAX && folders[n][0] && strcmp(folders[n], path) != 0)
		n++;
	if (n == LIBRARY_FOLDERS_MAX)
		return 0;
	memcpy(folders[n], path, strlen(path) + 1);
	for (size_t i = 0; i < sandbox->n_paths; i++)
		if (strcmp(sandbox->paths[i].path, folders[n]) == 0)
			return 0;
	sandbox_allow(sandbox, folders[n], SANDBOX_READ);
	return 0;
}

void sandbox_allow_system(struct sandbox *sandbox)
{
	static const char *const readable[] = {
		/* names of machines */
		"/etc/resolv.conf",
		"/etc/hosts",
		"/etc/host.conf",
		"/etc/gai.conf",
		"/etc/nsswitch.conf",
		"/etc/services",
		"/etc/protocols",
		"/run/systemd/resolve",
		/* names of users */
		"/etc/passwd",
		"/etc/group",
		"/etc/userdb",
		"/run/systemd/userdb",
		"/run/nscd",
		"/var/lib/sss/mc",
		"/var/lib/sss/pipes",
		/* certificates */
		"/etc/ssl/certs",
		"/etc/ssl/openssl.cnf",
		"/usr/lib/ssl",
		"/usr/share/ca-certificates",
		"/usr/local/share/ca-certificates",
		"/etc/pki/tls/certs",
		"/etc/pki/ca-trust/extracted",
		/* what is loaded late, from the folders below: modules of the two above */
		"/etc/ld.so.cache",
		/* who asks: its process and its cgroup */
		"/proc",
		"/sys/fs/cgroup",
		/* the rest */
		"/etc/localtime",
		"/usr/share/zoneinfo",
		"/dev/urandom",
	};

	for (size_t i = 0; i < sizeof(readable) / sizeof(readable[0]); i++)
		sandbox_allow(sandbox, readable[i], SANDBOX_READ);
	dl_iterate_phdr(allow_library, sandbox);
	sandbox_allow(sandbox, "/dev/null", SANDBOX_WRITE);
}

bool sandbox_outdated(const struct sandbox *sandbox)
{
	if (!sandbox->on[SANDBOX_LANDLOCK])
		return false;
	for (size_t i = 0; i < sandbox->n_paths; i++) {
		const struct sandbox_path *path = &sandbox->paths[i];
		dev_t device;
		ino_t inode;

		if (path->access == SANDBOX_MOUNT)
			continue;

		identify(path->path, &device, &inode);
		if (inode != 0 && (device != path->device || inode != path->inode))
			return true;
	}
	return false;
}

/* The text. */

static void add(char to[SANDBOX_TEXT_MAX], const char *separator, const char *text)
{
	size_t n = strlen(to);

	snprintf(to + n, SANDBOX_TEXT_MAX - n, "%s%s", n > 0 ? separator : "", text);
}

void sandbox_text(char to[SANDBOX_TEXT_MAX], const struct sandbox *sandbox)
{
	bool first = true;
	char user[64];

	snprintf(user, sizeof(user), "user %s%u%s", sandbox->named ? SANDBOX_USER_NAME " (" : "",
		 sandbox->uid, sandbox->named ? ")" : "");
	*to = '\0';
	add(to, "", user);
	for (int layer = SANDBOX_USER + 1; layer < SANDBOX_LAYERS; layer++)
		if (sandbox->on[layer])
			add(to, ", ", layer_names[layer]);
	for (int layer = SANDBOX_USER + 1; layer < SANDBOX_LAYERS; layer++)
		if (!sandbox->on[layer]) {
			add(to, first ? "; not in this kernel: " : ", ", layer_names[layer]);
			first = false;
		}
}
