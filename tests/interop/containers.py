#!/usr/bin/python3
"""Containers read their keys from the config's folder, bind-mounted read-only; under scope container
each has its own, which ends with it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import daemon
import local
import tap

SECONDS = 60
LONG = bool(os.environ.get("DSEC_TESTS_LONG"))
INSIDE = "/run/secrets/aws"
KEY = f"{INSIDE}/AWS_USER_ACCESS_KEY_ID"
CAT = "/bin/busybox cat"


class Containers(unittest.TestCase):
    def setUp(self):
        if not shutil.which("runc"):
            self.skipTest("runc is not installed")
        self.iam = local.iam(self)
        config = {"dynamic_secrets": {"AWS_USER": local.SECRET}}
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam, verify=False, rate=1000)},
            "projects": {"app": {
                "dev": config,
                "own": {"dynamic_secrets": {"AWS_USER": {**local.SECRET, "scope": "container"}},
                        "access": {"user": "root", "group": "root", "mode": "0444"}},
                "fresh": {**config, "access": {"user": "root", "group": "root", "mode": "0444"}},
            }},
        }).mount()
        self.config = self.dsec.path("app/dev")
        self.runc = ["runc", "--root", str(self.dsec.folder / "runc")]
        self.count = 0

    def bundle(self, source, *command, **changes):
        """A folder with a root file system of busybox and a static program, that runs this."""
        self.count += 1
        bundle = self.dsec.folder / f"bundle{self.count}"
        programs = bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), programs)
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True, timeout=SECONDS)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": list(command), **changes.get("process", {})}
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] != "cgroup"] + [
            {"destination": changes.get("inside", INSIDE), "type": "bind", "source": str(source),
             "options": ["rbind", "ro", "rslave", *changes.get("options", [])]}]
        mappings = changes.get("mappings")
        if mappings:
            spec["linux"]["namespaces"].append({"type": "user"})
            spec["linux"] |= {"uidMappings": mappings, "gidMappings": mappings}
            for path in [bundle, *bundle.rglob("*")]:
                os.chown(path, mappings[0]["hostID"], mappings[0]["hostID"])
        spec["root"]["readonly"] = changes.get("readonly", True)
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def name(self, bundle):
        return f"{self.dsec.folder.name}-{bundle.name}"

    def run_container(self, *command, source=None, **changes):
        """To its end, with busybox's command."""
        bundle = self.bundle(source or self.config, "/bin/busybox", *command, **changes)
        self.addCleanup(subprocess.run, [*self.runc, "delete", "--force", self.name(bundle)],
                        capture_output=True, timeout=SECONDS)
        return subprocess.run([*self.runc, "run", "--bundle", bundle, self.name(bundle)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SECONDS)

    def start_container(self, script, source=None, **changes):
        """Into its shell, which goes on when a line is written to it. Gives it and its first
        line."""
        bundle = self.bundle(source or self.dsec.path("app/own"), "/bin/busybox", "sh", "-c",
                             script, **changes)
        self.addCleanup(subprocess.run, [*self.runc, "delete", "--force", self.name(bundle)],
                        capture_output=True, timeout=SECONDS)
        process = subprocess.Popen([*self.runc, "run", "--bundle", bundle, self.name(bundle)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process, process.stdout.readline().strip()

    def keys(self):
        return {key for user in self.iam.users().values() for key in user["access_keys"]}

    def test_a_container_is_the_first_reader_of_its_key(self):
        ran = self.run_container("cat", f"{INSIDE}/AWS_USER_ACCESS_KEY_ID")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertEqual({ran.stdout}, self.keys())
        self.assertEqual(ran.stdout, (self.config / "AWS_USER_ACCESS_KEY_ID").read_text())

    def test_a_container_cannot_write(self):
        ran = self.run_container("sh", "-c", f"echo >{INSIDE}/AWS_USER_ACCESS_KEY_ID")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("Read-only file system", ran.stderr)

    def test_each_container_has_a_user_of_its_own_that_goes_with_it(self):
        script = f"{CAT} {KEY}; echo; read x; {CAT} {KEY}; echo; read x"
        containers = [self.start_container(script) for _ in range(3)]
        keys = [key for _, key in containers]
        self.assertEqual(len(set(keys)), 3, keys)
        self.assertEqual(self.keys(), set(keys))
        for process, key in containers:  # another process of the same container
            process.stdin.write("\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline().strip(), key)
        for process, key in containers:
            process.communicate("\n")
            keys.remove(key)
            daemon.until("its user gone", lambda: self.keys() == set(keys), seconds=5)

    def test_a_container_that_is_killed_leaves_no_user(self):
        process, key = self.start_container(f"{CAT} {KEY}; echo; read x")
        self.assertEqual(self.keys(), {key})
        name, = json.loads(subprocess.run([*self.runc, "list", "-f", "json"], check=True,
                                          capture_output=True).stdout)
        subprocess.run([*self.runc, "kill", name["id"], "KILL"], check=True)
        daemon.until("its user gone", lambda: not self.keys(), seconds=5)

    def test_one_without_a_shell_and_without_privilege(self):
        """A static program alone in a read-only root, as an unprivileged user."""
        # Not cat, whose sendfile(2) leaves the page in the pipe: it is blank when the lease is dead.
        bundle = self.bundle(self.dsec.path("app/own"), "/bin/busybox", "dd", f"if={KEY}",
                             process={"user": {"uid": 4001, "gid": 4001},
                                      "capabilities": {}, "noNewPrivileges": True})
        self.addCleanup(subprocess.run, [*self.runc, "delete", "--force", self.name(bundle)],
                        capture_output=True, timeout=SECONDS)
        ran = subprocess.run([*self.runc, "run", "--bundle", bundle, self.name(bundle)],
                             stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             timeout=SECONDS)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.assertRegex(ran.stdout, "^AKIA[A-Z2-7]{16}$")

    def test_one_in_a_user_namespace(self):
        """Its root is another user of the host: the config's access decides by that one."""
        mappings = [{"containerID": 0, "hostID": 100000, "size": 65536}]
        options = ["nosuid", "nodev", "noexec"]  # the mount's: a user namespace may not drop them
        process, key = self.start_container(f"{CAT} {KEY}; echo; read x", mappings=mappings,
                                            options=options)
        self.assertEqual(self.keys(), {key}, key)
        process.communicate("\n")
        daemon.until("its user gone", lambda: not self.keys(), seconds=5)
        ran = self.run_container("cat", KEY, mappings=mappings, options=options)  # app/dev is root's alone
        self.assertIn("Permission denied", ran.stderr)

    def test_a_container_that_can_write_to_its_root(self):
        ran = self.run_container("sh", "-c", f"{CAT} {KEY} >/copy && {CAT} /copy", readonly=False)
        self.assertEqual({ran.stdout}, self.keys(), ran.stderr)

    def test_a_bind_mount_of_one_shared_file(self):
        source = self.config / "AWS_USER_ACCESS_KEY_ID"
        ran = [self.run_container("cat", "/key", source=source, inside="/key") for _ in range(2)]
        self.assertEqual({one.stdout for one in ran}, self.keys(), ran)

    def test_a_bind_mount_of_one_file_is_refused_to_whom_it_does_not_belong(self):
        """What is bound is the node of who made the mount, and cannot tell its readers apart."""
        source = self.dsec.folder / "key"
        source.touch()
        subprocess.run(["mount", "--bind", self.dsec.path("app/own/AWS_USER_ACCESS_KEY_ID"),
                        source], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", source])
        ran = self.run_container("cat", "/key", source=source, inside="/key")
        self.assertIn("Permission denied", ran.stderr)
        self.assertIn("bind-mount the folder", self.dsec.status("app/own"))
        self.assertEqual(self.keys(), set())

    def test_a_fresh_lease_is_held_by_the_containers_descriptor(self):
        process, said = self.start_container(
            f"exec 3<{INSIDE}/fresh@fresh/.json; echo held; read x; exec 3<&-; echo; read x",
            source=self.dsec.path("app"))
        self.assertEqual((said, len(self.keys())), ("held", 1))
        process.stdin.write("\n")
        process.stdin.flush()
        daemon.until("its user gone", lambda: not self.keys(), seconds=5)


@unittest.skipUnless(LONG, "podman starts slowly: tests/run --long")
@unittest.skipUnless(shutil.which("podman") and shutil.which("runc"),
                     "podman or runc is not installed")
class Podman(unittest.TestCase):
    """The command lines that README and dsec(7) have, with podman's own images and cgroups."""

    deadline = 300
    # What podman would set, where this machine allows no more.
    LIMITS = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]

    def setUp(self):
        self.iam = local.iam(self)
        access = {"access": {"user": "root", "group": "root", "mode": "0444"}}
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam, verify=False, rate=1000)},
            "projects": {"app": {
                "dev": {"dynamic_secrets": {"AWS_USER": local.SECRET}, **access},
                "own": {"dynamic_secrets": {"AWS_USER": {**local.SECRET, "scope": "container"}},
                        **access}}},
        }).mount()
        folder = self.dsec.folder / "podman"
        self.podman = ["podman", "--root", folder / "root", "--runroot", folder / "run",
                       "--tmpdir", folder / "tmp", "--storage-driver", "vfs", "--runtime",
                       shutil.which("runc"), "--cgroup-manager", "cgroupfs"]
        self.addCleanup(lambda: self.run_podman("rm", "--all", "--force", "--time", "0"))
        self.make_image(folder)

    def make_image(self, folder):
        programs = folder / "image/bin"
        programs.mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), programs)
        for name in ["cat", "sh", "sleep"]:
            (programs / name).symlink_to("busybox")
        subprocess.run(["tar", "-C", folder / "image", "-cf", folder / "image.tar", "."], check=True)
        self.run_podman("import", folder / "image.tar", "busybox")

    def run_podman(self, *words):
        ran = subprocess.run([*map(str, [*self.podman, *words])], capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=SECONDS)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout

    def run_image(self, *words):
        """`podman run` with these options, image and command."""
        return self.run_podman("run", "--network", "none", *self.LIMITS, *words)

    def keys(self):
        return {key for user in self.iam.users().values() for key in user["access_keys"]}

    def test_readers_of_a_bound_folder(self):
        bound = f"{self.dsec.path('app/dev')}:{INSIDE}:ro"
        for words in [["-v", f"{bound},rslave"], ["-v", bound],
                      ["--mount", f"type=bind,src={self.dsec.path('app/dev')},dst={INSIDE},"
                       "readonly,bind-propagation=rslave"],
                      ["-v", f"{bound},rslave", "--user", "1000", "--read-only", "--cap-drop",
                       "ALL"],
                      ["-v", f"{bound},rslave", "--uidmap", "0:100000:65536"]]:
            self.assertEqual({self.run_image("--rm", *words, "busybox", "cat", KEY)}, self.keys())

    def test_a_container_s_own_user_goes_with_it(self):
        bound = ["-v", f"{self.dsec.path('app/own')}:{INSIDE}:ro,rslave"]
        ids = [self.run_image("--detach", *bound, "busybox", "sh", "-c", f"cat {KEY}; sleep 600")
               .strip() for _ in range(2)]
        keys = [daemon.until("its key", lambda: self.run_podman("logs", id)).strip() for id in ids]
        self.assertEqual(self.keys(), set(keys))
        self.assertEqual(len(set(keys)), 2)
        self.run_podman("kill", ids[0])
        daemon.until("its user gone", lambda: self.keys() == {keys[1]}, seconds=5)
        self.run_podman("rm", "--force", "--time", "0", ids[1])
        daemon.until("its user gone", lambda: not self.keys(), seconds=5)


if __name__ == "__main__":
    tap.main()
