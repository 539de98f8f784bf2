#!/usr/bin/python3
"""The Debian package: built, looked at, installed into a copy of this system and into a Debian that
has nothing else, started there by its systemd, used by services, and removed."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import configuration, until
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


class Built:
    """The package of this tree, once for all tests. DSEC_PACKAGE names one that is there."""

    folder = None

    @classmethod
    def get(cls):
        if cls.folder:
            return cls
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-package-"))
        tree = cls.folder / "dsec"
        cls.error = None
        if os.environ.get("DSEC_PACKAGE"):
            shutil.copy(os.environ["DSEC_PACKAGE"], cls.folder)
        else:
            shutil.copytree(SOURCE, tree, ignore=shutil.ignore_patterns("build*", ".git", "*.pyc"))
            clean = {name: value for name, value in os.environ.items()
                     if not name.startswith(("ASAN", "UBSAN"))}
            build = subprocess.run(["dpkg-buildpackage", "-b", "-us", "-uc", "-d"], cwd=tree,
                                   env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, check=False)
            cls.error = build.stdout[-5000:] if build.returncode else None
        cls.packages = sorted(cls.folder.glob("dsec_*.deb"))
        return cls


def tearDownModule():
    if Built.folder:
        shutil.rmtree(Built.folder)


@unittest.skipUnless(os.environ.get("DSEC_TESTS_LONG"), "it takes minutes: tests/run --long")
@unittest.skipUnless(shutil.which("dpkg-buildpackage") and shutil.which("dh"),
                     "dpkg-buildpackage or debhelper is not installed")
class Case(unittest.TestCase):
    def setUp(self):
        built = Built.get()
        self.assertIsNone(built.error)
        self.assertEqual(len(built.packages), 1)
        self.folder, self.packages = built.folder, built.packages


class Package(Case):
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


CREDENTIALS = """
[Service]
Type=oneshot
RemainAfterExit=yes
DynamicUser=yes
LoadCredential=file:/run/dsec/app/dev/.json
LoadCredential=all:/run/dsec/app/dev
LoadCredential=app+dev+.json:/run/dsec.sock
ExecStart=/bin/sh -ec 'cd $CREDENTIALS_DIRECTORY; cmp file app+dev+.json; test -s all_AWS_USER_ARN'
"""
# Its own lease: by the socket, by the mount when it is started, and as it reads itself. And only it
# may have it.
OWN = """
[Service]
LoadCredential=app+own+AWS_USER_USERNAME:/run/dsec.sock
LoadCredential=file:/run/dsec/app/own/AWS_USER_USERNAME
ExecStart=/bin/sh -ec 'cd $CREDENTIALS_DIRECTORY; cmp file app+own+AWS_USER_USERNAME; \\
	cmp file /run/dsec/app/own/AWS_USER_USERNAME; cat file >/run/own; exec sleep 600'
"""
OTHER = """
[Service]
Type=oneshot
LoadCredential=app+own+AWS_USER_USERNAME:/run/dsec.sock
ExecStart=/bin/touch /run/other
"""


@unittest.skipUnless(os.geteuid() == 0, "mounting needs root")
@unittest.skipUnless(shutil.which("debootstrap") and shutil.which("systemd-nspawn"),
                     "debootstrap or systemd-nspawn is not installed")
class Booted(Case):
    """A Debian of this release with nothing but systemd in it, which runs as its first process."""

    deadline = 900

    def setUp(self):
        super().setUp()
        release = platform.freedesktop_os_release()
        if release["ID"] != "debian":
            self.skipTest("the package of this system is not for a Debian")
        self.root = self.folder / "debian"
        make = ["debootstrap", "--variant=minbase", "--include=systemd-sysv,dbus",
                release["VERSION_CODENAME"]]
        if os.environ.get("DSEC_DEBIAN"):  # one that this has made before
            make = ["cp", "-a", "--reflink=auto", os.environ["DSEC_DEBIAN"]]
        made = subprocess.run([*make, self.root], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        self.addCleanup(shutil.rmtree, self.root, ignore_errors=True)
        if made.returncode != 0 and "Failed getting release file" in made.stdout:
            self.skipTest("Debian's archive cannot be reached")
        self.assertEqual(made.returncode, 0, made.stdout[-2000:])
        self.boot()

    def boot(self):
        log = self.enterContext(open(self.folder / "boot.log", "w+b"))
        nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe",
             # What root has on a machine, and nspawn leaves out.
             "--bind=/dev/fuse", "--capability=CAP_IPC_LOCK", "--rlimit=MEMLOCK=infinity",
             "--system-call-filter=landlock_create_ruleset landlock_add_rule"
             " landlock_restrict_self memfd_secret",
             "--directory", self.root, "--boot"],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        self.addCleanup(nspawn.wait)
        self.addCleanup(nspawn.kill)
        children = pathlib.Path(f"/proc/{nspawn.pid}/task/{nspawn.pid}/children")

        def started():
            if nspawn.poll() is not None:
                self.skipTest("no systemd can be started here: "
                              + (self.folder / "boot.log").read_text()[-500:])
            self.first = children.read_text().split()[:1]
            return self.first and self.run_inside("systemctl", "is-system-running",
                                                  check=False).strip() in ("running", "degraded")

        until("systemd runs", started, seconds=60, pause=0.2)

    def run_inside(self, *words, check=True, text=None):
        result = subprocess.run(["nsenter", "-t", *self.first, "-m", "-u", "-i", "-n", "-p", "-C",
                                 "--", *words], input=text or "", stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
        if check:
            self.assertEqual(result.returncode, 0, result.stdout + self.run_inside(
                "journalctl", "--no-pager", "-n", "40", check=False))
        return result.stdout

    def configure(self, iam):
        config = configuration(iam, audit={"file": "/var/log/dsec/audit.jsonl"})
        secret = config["projects"]["app"]["dev"]["dynamic_secrets"]["AWS_USER"]
        config["projects"]["app"]["own"] = {
            "dynamic_secrets": {"AWS_USER": {**secret, "scope": "container"}},
            "access": {"allow": {"units": ["own.service"]}}}
        self.write("/etc/dsec/dsec.json", json.dumps(config))
        self.run_inside("chmod", "600", "/etc/dsec/dsec.json")
        for name, text in [("shared", CREDENTIALS), ("own", OWN), ("other", OTHER)]:
            self.write(f"/etc/systemd/system/{name}.service", text)

    def write(self, name, text):
        self.run_inside("sh", "-c", 'cat >"$0"', name, text=text)

    def test_it_is_installed_serves_services_and_is_purged(self):
        with LocalIAM() as iam:
            shutil.copy(self.packages[0], self.root / "root/dsec.deb")
            self.run_inside("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-qy",
                            "--no-install-recommends", "/root/dsec.deb")
            # It waits for a configuration.
            self.assertEqual(self.run_inside("systemctl", "is-enabled", "dsec").strip(), "enabled")
            self.assertNotIn("failed", self.run_inside("systemctl", "--failed", "--plain",
                                                       "--no-legend"))
            self.configure(iam)
            self.run_inside("systemctl", "daemon-reload")
            self.run_inside("systemctl", "start", "dsec")
            key = self.run_inside("cat", "/run/dsec/app/dev/AWS_USER_ACCESS_KEY_ID")
            self.assertRegex(key, "^AKIA")
            self.assertIn("Landlock, seccomp", self.run_inside("dsec", "status"))
            self.use_services(iam)
            self.live_through_a_crash(key)
            self.run_inside("systemctl", "start", "dsec-sweep.service")
            self.run_inside("systemctl", "stop", "dsec")
            self.assertEqual(iam.users(), {})
            self.run_inside("systemctl", "start", "dsec")
            self.run_inside("cat", "/run/dsec/app/dev/AWS_USER_ACCESS_KEY_ID")
            self.purge()
            self.assertEqual(iam.users(), {})

    def use_services(self, iam):
        self.run_inside("systemctl", "start", "shared")
        self.run_inside("systemctl", "start", "own")
        until("it has read", lambda: self.run_inside("cat", "/run/own", check=False)
              .startswith("Doppler-"))
        user = self.run_inside("cat", "/run/own")
        self.assertEqual(len(iam.users()), 2)
        self.assertIn(user, iam.users())
        self.assertIn("own.service", self.run_inside("dsec", "audit", "--user", user))
        self.run_inside("systemctl", "stop", "own")
        until("its user gone", lambda: user not in iam.users(), seconds=5)
        # Another unit is refused, and is not started with nothing in its hands.
        self.run_inside("systemctl", "start", "other", check=False)
        self.assertEqual(self.run_inside("systemctl", "is-failed", "other").strip(), "failed")
        self.assertIn("No such file", self.run_inside("ls", "/run/other", check=False))
        self.assertIn("credential app+own+AWS_USER_USERNAME of other.service was refused",
                      self.run_inside("journalctl", "--no-pager", "-u", "dsec"))
        self.run_inside("systemctl", "reset-failed")

    def live_through_a_crash(self, key):
        keeper = self.run_inside("systemctl", "show", "-P", "MainPID", "dsec").strip()
        self.run_inside("sh", "-c", 'kill -KILL $(cat "/proc/$0/task/$0/children")', keeper)
        self.assertEqual(self.run_inside("cat", "/run/dsec/app/dev/AWS_USER_ACCESS_KEY_ID"), key)
        self.run_inside("systemctl", "reload", "dsec")
        self.assertEqual(self.run_inside("systemctl", "is-active", "dsec").strip(), "active")

    def purge(self):
        self.run_inside("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "purge", "-qy", "dsec")
        for left in ["/usr/bin/dsec", "/var/lib/dsec", "/var/log/dsec", "/run/dsec.sock",
                     "/etc/logrotate.d/dsec", "/usr/lib/systemd/system/dsec.service"]:
            self.assertIn("No such file", self.run_inside("ls", left, check=False))
        self.assertEqual(self.run_inside("systemctl", "list-unit-files", "--no-legend", "dsec*",
                                         check=False).strip(), "")
        self.assertNotIn("fuse.dsec", self.run_inside("cat", "/proc/mounts"))


if __name__ == "__main__":
    tap.main()
