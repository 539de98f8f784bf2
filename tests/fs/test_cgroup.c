#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "fs/cgroup.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void names_are_known_by_their_runtime(void **state)
{
	static const struct {
		const char *text, *path, *name;
		enum cgroup_kind kind;
	} cases[] = {
		{"0::/system.slice/docker-" ID ".scope\n", "/system.slice/docker-" ID ".scope",
		 "docker:" ID, CGROUP_CONTAINER},
		{"0::/docker/" ID "\n", "/docker/" ID, "docker:" ID, CGROUP_CONTAINER},
		{"0::/machine.slice/libpod-" ID ".scope/container",
		 "/machine.slice/libpod-" ID ".scope", "podman:" ID, CGROUP_CONTAINER},
		{"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID
		 ".scope/container",
		 "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" ID ".scope",
		 "podman:" ID, CGROUP_CONTAINER},
		{"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/"
		 "cri-containerd-" ID ".scope",
		 "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/"
		 "cri-containerd-" ID ".scope",
		 "containerd:" ID, CGROUP_CONTAINER},
		{"0::/kubepods/besteffort/pod12/" ID, "/kubepods/besteffort/pod12/" ID,
		 "containerd:" ID, CGROUP_CONTAINER},
		{"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" ID,
		 "/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:" ID,
		 "containerd:" ID, CGROUP_CONTAINER},
		{"0::/kubepods.slice/kubepods-pod1.slice/crio-" ID ".scope/x",
		 "/kubepods.slice/kubepods-pod1.slice/crio-" ID ".scope", "crio:" ID,
		 CGROUP_CONTAINER},
		{"0::/lxc.payload.web/system.slice/cron.service", "/lxc.payload.web", "lxc:web",
		 CGROUP_CONTAINER},
		{"0::/lxc/web/init.scope", "/lxc/web", "lxc:web", CGROUP_CONTAINER},
		{"0::/system.slice/nginx.service/worker", "/system.slice/nginx.service",
		 "nginx.service", CGROUP_UNIT},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service",
		 "/user.slice/user-1000.slice/user@1000.service", "user@1000.service", CGROUP_UNIT},
		{"0::/jobs/one", "/jobs/one", "one", CGROUP_PLAIN},
		/* Helpers of the runtimes are no containers. */
		{"0::/machine.slice/libpod-conmon-" ID ".scope",
		 "/machine.slice/libpod-conmon-" ID ".scope", "libpod-conmon-" ID ".scope",
		 CGROUP_UNIT},
		{"0::/system.slice/docker-short.scope", "/system.slice/docker-short.scope",
		 "docker-short.scope", CGROUP_UNIT},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cgroup cgroup;

		assert_int_equal(cgroup_parse(&cgroup, cases[i].text), 0);
		assert_string_equal(cgroup.path, cases[i].path);
		assert_string_equal(cgroup.name, cases[i].name);
		assert_int_equal(cgroup.kind, cases[i].kind);
		assert_string_equal(cgroup.hierarchy, "");
	}
}

static void what_runs_in_a_container_cannot_call_itself_another(void **state)
{
	struct cgroup outer, inner;

	assert_int_equal(cgroup_parse(&outer, "0::/docker/" ID "\n"), 0);
	assert_int_equal(
		cgroup_parse(&inner, "0::/docker/" ID "/machine.slice/libpod-ffffffffffff.scope"),
		0);
	assert_string_equal(outer.path, inner.path);
	assert_string_equal(outer.name, inner.name);
}

static void who_is_started_again_and_again_counts_as_one(void **state)
{
	static const struct {
		const char *text, *lasting;
	} cases[] = {
		{"0::/system.slice/docker-" ID ".scope\n", "docker:" ID},
		{"0::/system.slice/nginx.service/worker", "nginx.service"},
		{"0::/jobs/one", "/jobs/one"},
		/* Of each start of a container of Kubernetes there is another name. */
		{"0::/kubepods.slice/kubepods-pod1.slice/crio-" ID ".scope/x",
		 "kubepods-pod1.slice"},
		{"0::/kubepods/besteffort/pod12/" ID, "pod12"},
		/* As there is of each session of a user. */
		{"0::/user.slice/user-1000.slice/session-3.scope", ""},
		{"0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service", ""},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char lasting[CGROUP_PATH_MAX];
		struct cgroup cgroup;

		assert_int_equal(cgroup_parse(&cgroup, cases[i].text), 0);
		cgroup_lasting(&cgroup, lasting);
		assert_string_equal(lasting, cases[i].lasting);
	}
}

static void the_unified_hierarchy_is_preferred_then_systemds(void **state)
{
	struct cgroup cgroup;

	assert_int_equal(cgroup_parse(&cgroup, "3:cpu,cpuacct:/a\n2:name=systemd:/b\n0::/c\n"), 0);
	assert_string_equal(cgroup.path, "/c");
	assert_string_equal(cgroup.hierarchy, "");
	assert_int_equal(cgroup_parse(&cgroup, "3:cpu,cpuacct:/a\n2:name=systemd:/b\n0::/\n"), 0);
	assert_string_equal(cgroup.path, "/b");
	assert_string_equal(cgroup.hierarchy, "name=systemd");
	assert_int_equal(cgroup_parse(&cgroup, "4:pids:/\n3:cpu,cpuacct:/a:b\n0::/\n"), 0);
	assert_string_equal(cgroup.path, "/a:b");
	assert_string_equal(cgroup.hierarchy, "cpu,cpuacct");
	assert_int_equal(cgroup_parse(&cgroup, "4:pids:/\n2:name=systemd:/\n0::/\n"), -ENOENT);
	assert_int_equal(cgroup_parse(&cgroup, ""), -ENOENT);
	assert_int_equal(cgroup_parse(&cgroup, "0::\n::::\n1\n0:x\n"), -ENOENT);
}

static void a_path_that_is_too_long_is_no_container(void **state)
{
	char text[2 * CGROUP_PATH_MAX];
	struct cgroup cgroup;

	memset(text, 'x', sizeof(text));
	memcpy(text, "0::/", 4);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(cgroup_parse(&cgroup, text), -ENAMETOOLONG);
	text[4 + CGROUP_PATH_MAX - 1] = '\0';
	assert_int_equal(cgroup_parse(&cgroup, text), -ENAMETOOLONG);
	text[4 + CGROUP_PATH_MAX - 2] = '\0';
	assert_int_equal(cgroup_parse(&cgroup, text), 0);
	assert_int_equal(strlen(cgroup.name), CGROUP_NAME_MAX - 1);
}

static void the_folder_is_found_by_the_hierarchys_mount(void **state)
{
	static const char text[] =
		"24 1 0:22 / /proc rw - proc proc rw\n"
		"33 25 0:28 / /sys/fs/cgroup/cpu rw,x shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
		"34 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup c rw,xattr,name=systemd\n"
		"35 25 0:30 /docker/x /mnt rw - cgroup2 cgroup2 rw\n"
		"36 25 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
	static struct cgroup_mounts mounts;
	struct cgroup cgroup;
	char folder[256];

	cgroup_mounts_parse(&mounts, text);
	assert_int_equal(cgroup_parse(&cgroup, "0::/a.service"), 0);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, sizeof(folder)), 0);
	assert_string_equal(folder, "/sys/fs/cgroup/unified/a.service");
	assert_int_equal(cgroup_parse(&cgroup, "1:cpuacct,cpu:/b"), 0);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, sizeof(folder)), 0);
	assert_string_equal(folder, "/sys/fs/cgroup/cpu/b");
	assert_int_equal(cgroup_parse(&cgroup, "1:name=systemd:/b"), 0);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, sizeof(folder)), 0);
	assert_string_equal(folder, "/sys/fs/cgroup/systemd/b");
	assert_int_equal(cgroup_parse(&cgroup, "1:pids:/b"), 0);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, sizeof(folder)), -ENOENT);
	assert_int_equal(cgroup_parse(&cgroup, "0::/../b"), 0);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, sizeof(folder)), -ENOENT);
	assert_int_equal(cgroup_folder(&mounts, &cgroup, folder, 8), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_known_by_their_runtime),
		cmocka_unit_test(what_runs_in_a_container_cannot_call_itself_another),
		cmocka_unit_test(who_is_started_again_and_again_counts_as_one),
		cmocka_unit_test(the_unified_hierarchy_is_preferred_then_systemds),
		cmocka_unit_test(a_path_that_is_too_long_is_no_container),
		cmocka_unit_test(the_folder_is_found_by_the_hierarchys_mount),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
