#!/usr/bin/python3
"""The Debian package: built, looked at, installed into a copy of this system, used, and removed."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import json
import tap
from daemon import configuration
from localiam import LocalIAM

SOURCE = pathlib.Path(os.environ["DSEC_SOURCE"])

# The copy is an overlay over this system, in a mount namespace of its own: what is changed is in the
# overlay's upper folder, and gone with it.
INSTALLED = r"""
set -eu
mount -t tmpfs tmpfs "$work/overlay"
mkdir "$work/overlay/upper" "$work/overlay/work"
mount -t overlay -o "lowerdir=/,upperdir=$work/overlay/upper,workdir=$work/overlay/work" overlay "$work/root"
for folder in dev proc sys; do mount --rbind /$folder "$work/root/$folder"; done
mount -t tmpfs tmpfs "$work/root/run"
cp "$work"/dsec_*.deb "$work/root/root/dsec.deb"
chroot "$work/root" /bin/sh -eu <<'IN'
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
rm -rf /etc/dsec /var/lib/dsec /var/log/dsec
dpkg -i /root/dsec.deb
getent passwd dsec
[ -d /etc/dsec ]
[ "$(stat -c %U:%G:%a /var/log/dsec)" = dsec:adm:750 ]
dsec version
cat >/etc/dsec/dsec.json <<'CONFIG'
@CONFIG@
CONFIG
chmod 600 /etc/dsec/dsec.json
dsec check || true
dsec mount
user=$(cat /run/dsec/app/dev/AWS_USER_USERNAME)
key=$(cat /run/dsec/app/dev/AWS_USER_ACCESS_KEY_ID)
echo "read $user $key"
dsec unmount
dsec audit --user "$user" | grep -q handed_out
dsec audit verify
man -w dsec dsec.json >/dev/null 2>&1 || [ -e /usr/share/man/man1/dsec.1.gz ]
dpkg --purge dsec
for left in /usr/bin/dsec /etc/dsec/nothing /var/lib/dsec /var/log/dsec /etc/logrotate.d/dsec; do
	[ ! -e "$left" ] || { echo "left: $left"; exit 1; }
done
! find / -xdev -name '*dsec*' -path '*systemd*' -not -path '/proc/*' -not -path "$work/*" \
	-newer /root/dsec.deb | grep .
echo purged
IN
"""


@unittest.skipUnless(os.environ.get("DSEC_TESTS_LONG"), "it takes minutes: tests/run --long")
@unittest.skipUnless(shutil.which("dpkg-buildpackage") and shutil.which("dh"),
                     "dpkg-buildpackage or debhelper is not installed")
class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-package-"))
        tree = cls.folder / "dsec"
        shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("build*", ".git", "*.pyc"))
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("ASAN", "UBSAN"))}
        cls.build = subprocess.run(["dpkg-buildpackage", "-b", "-us", "-uc", "-d"], cwd=tree,
                                   env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, check=False)
        cls.packages = sorted(cls.folder.glob("dsec_*.deb"))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def setUp(self):
        self.assertEqual(self.build.returncode, 0, self.build.stdout[-5000:])
        self.assertEqual(len(self.packages), 1)

    @unittest.skipUnless(shutil.which("lintian"), "lintian is not installed")
    def test_lintian_finds_no_error(self):
        result = subprocess.run(["lintian", "--allow-root", "--fail-on", "error", *self.packages],
                                capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)

    def test_package_holds_what_it_should(self):
        listing = subprocess.run(["dpkg-deb", "-c", *self.packages], check=True, text=True,
                                 capture_output=True).stdout
        for name in ["usr/bin/dsec", "systemd/system/dsec.service", "system/dsec-sweep.timer",
                     "sysusers.d/dsec.conf", "tmpfiles.d/dsec.conf", "logrotate.d/dsec",
                     "man1/dsec.1.gz", "man5/dsec.json.5.gz", "examples/kubernetes/daemonset.yaml",
                     "examples/monitoring/alerts.yaml"]:
            self.assertIn(name, listing)
        self.assertNotIn("/usr/local", listing)

    @unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
    def test_installed_daemon_serves_a_read_and_goes_without_a_trace(self):
        with LocalIAM() as iam:
            config = json.dumps(configuration(iam, audit={"file": "/var/log/dsec/audit.jsonl"}))
            for name in ["overlay", "root"]:
                (self.folder / name).mkdir(exist_ok=True)
            result = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c",
                 INSTALLED.replace("@CONFIG@", config)],
                env={**os.environ, "work": str(self.folder)}, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
            if "unknown filesystem type 'overlay'" in result.stdout:
                self.skipTest("this kernel has no overlay filesystem")
            self.assertEqual(result.returncode, 0, result.stdout)
            self.assertRegex(result.stdout, r"\nread Doppler-Dynamic-\w+ AKIA\w{16}\n")
            self.assertTrue(result.stdout.endswith("purged\n"), result.stdout)
            self.assertEqual(iam.users(), {})


if __name__ == "__main__":
    tap.main()
