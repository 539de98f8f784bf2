#!/usr/bin/python3
"""A container reads its key from the config's folder, bind-mounted read-only."""

import json
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
INSIDE = "/run/secrets/aws"


class Containers(unittest.TestCase):
    def setUp(self):
        if not shutil.which("runc"):
            self.skipTest("runc is not installed")
        self.iam = local.iam(self)
        self.dsec = daemon.Dsec(self, {
            "integrations": {"local": local.integration(self.iam)},
            "projects": {"app": {"dev": {"dynamic_secrets": {"AWS_USER": local.SECRET}}}},
        }).mount()
        self.config = self.dsec.path("app/dev")

    def bundle(self, *command):
        """A folder with a root file system of busybox alone, that runs this command."""
        bundle = self.dsec.folder / "bundle"
        programs = bundle / "rootfs/bin"
        programs.mkdir(parents=True)
        shutil.copy(shutil.which("busybox"), programs)
        subprocess.run(["runc", "spec", "--bundle", bundle], check=True, timeout=SECONDS)
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/busybox", *command]}
        spec["mounts"] = [m for m in spec["mounts"] if m["type"] != "cgroup"] + [
            {"destination": INSIDE, "type": "bind", "source": str(self.config),
             "options": ["rbind", "ro", "rslave"]}]
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def run_container(self, *command):
        name = self.dsec.folder.name
        root = ["runc", "--root", self.dsec.folder / "runc"]
        self.addCleanup(subprocess.run, [*root, "delete", "--force", name], capture_output=True,
                        timeout=SECONDS)
        return subprocess.run([*root, "run", "--bundle", self.bundle(*command), name],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=SECONDS)

    def test_a_container_is_the_first_reader_of_its_key(self):
        ran = self.run_container("cat", f"{INSIDE}/AWS_USER_ACCESS_KEY_ID")
        self.assertEqual(ran.returncode, 0, ran.stderr)
        user, = self.iam.users().values()
        self.assertEqual([ran.stdout], user["access_keys"])
        self.assertEqual(ran.stdout, (self.config / "AWS_USER_ACCESS_KEY_ID").read_text())

    def test_a_container_cannot_write(self):
        ran = self.run_container("sh", "-c", f"echo >{INSIDE}/AWS_USER_ACCESS_KEY_ID")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("Read-only file system", ran.stderr)


if __name__ == "__main__":
    tap.main()
