#!/usr/bin/python3
"""What is around the program: units, rules, examples. Each is read by the program that it is for."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))

import tap
from daemon import DSEC, Dsec, configuration, until
from localiam import LocalIAM

DIST = pathlib.Path(os.environ["DSEC_SOURCE"]) / "dist"
UNITS = pathlib.Path(os.environ["DSEC_UNITS"])


def needs(program):
    return unittest.skipUnless(shutil.which(program), f"{program} is not installed")


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dsec-dist-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def run_fine(self, *words, **more):
        result = subprocess.run([*map(str, words)], stdin=None if "input" in more else subprocess.DEVNULL,
                                capture_output=True, text=True, check=False, **more)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result.stdout + result.stderr


class Systemd(Case):
    def units(self):
        """The units as they would be installed, with the program where it is."""
        for unit in ["dsec.service", "dsec-sweep.service"]:
            text = (UNITS / unit).read_text()
            (self.folder / unit).write_text(re.sub(r"=\S+/bin/dsec ", f"={DSEC} ", text))
        for unit in ["dsec-sweep.timer", "consumer.service"]:
            shutil.copy(DIST / "systemd" / unit, self.folder)
        return sorted(self.folder.glob("*.*"))

    def verify(self, *units):
        return subprocess.run(["systemd-analyze", "verify", "--man=no", *units], check=False,
                              capture_output=True, text=True)

    @needs("systemd-analyze")
    def test_units_are_what_systemd_knows(self):
        units = self.units()
        result = self.verify(*units)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        # And it would say so if they were not.
        broken = self.folder / "dsec.service"
        broken.write_text(broken.read_text().replace("WatchdogSec", "WatchdogSeconds"))
        self.assertIn("WatchdogSeconds", self.verify(*units).stderr)

    def test_service_has_no_namespace_that_would_hide_the_mount(self):
        text = (UNITS / "dsec.service").read_text()
        hiding = re.findall(
            r"^(?:Private(?:Tmp|Devices|Mounts)|Protect\w+|(?:ReadOnly|ReadWrite|Inaccessible|Exec|"
            r"NoExec)Paths|Bind(?:ReadOnly)?Paths|TemporaryFileSystem|MountFlags|DynamicUser|"
            r"Root\w+|MountAPIVFS|Dynamic\w+)=", text, re.M)
        self.assertEqual(hiding, [])

    @needs("systemd-sysusers")
    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_user_and_folders_can_be_made(self):
        (self.folder / "etc").mkdir()
        (self.folder / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self.folder / "etc/group").write_text("root:x:0:\nadm:x:4:\n")
        self.run_fine("systemd-sysusers", f"--root={self.folder}", DIST / "systemd/dsec.sysusers")
        self.assertRegex((self.folder / "etc/passwd").read_text(), r"\ndsec:x:\d+:\d+:")
        self.run_fine("systemd-tmpfiles", f"--root={self.folder}", "--create",
                      DIST / "systemd/dsec.tmpfiles")
        log = (self.folder / "var/log/dsec").stat()
        self.assertEqual((log.st_mode & 0o777, log.st_gid), (0o750, 4))

    @needs("logrotate")
    def test_logrotate_takes_the_file(self):
        config = self.folder / "dsec"
        shutil.copy(DIST / "dsec.logrotate", config)
        config.chmod(0o644)
        self.assertNotIn("error", self.run_fine("logrotate", "--debug", "--state",
                                                self.folder / "state", config))


class Monitoring(Case):
    def metrics(self):
        with LocalIAM() as iam:
            dsec = Dsec(self, {})
            dsec.configure(configuration(iam, audit={"file": str(dsec.folder / "audit.jsonl")}))
            dsec.mount()
            dsec.key()
            dsec.key()
            # Something of all: a refusal, a call that AWS throttles, a revocation that fails.
            iam.throttle("CreateUser", times=1)
            dsec.read("app/dev@20m/.json")
            iam.fault("CreateUser", kind="error", status=403, code="AccessDenied", message="no")
            with self.assertRaises(OSError):
                dsec.read("app/dev@21m/.json")
            iam.fault("DeleteUser", kind="error", status=503, code="ServiceUnavailable",
                      message="no")
            id = json.loads(dsec.read(".dsec/leases.json"))["leases"][0]["id"]
            subprocess.run([DSEC, "leases", "revoke", "--config", dsec.config, id], check=True)
            text = until("a revocation is late", lambda: re.search(
                r'(?s).*dsec_revocation_oldest_seconds\{[^}]*\} (?!0\.000).*',
                dsec.read(".dsec/metrics").decode())).group()
            iam.reset()
            dsec.stop()
        return text

    def test_every_metric_that_is_drawn_or_alarmed_is_there_and_right(self):
        text = self.metrics()
        if shutil.which("promtool"):
            self.assertEqual(self.run_fine("promtool", "check", "metrics", input=text), "")
        there = set(re.findall(r"^(dsec_\w+)", text, re.M))
        for name in ["monitoring/alerts.yaml", "monitoring/dashboard.json"]:
            source = (DIST / name).read_text()
            used = set(re.findall(r"\bdsec_\w+", source)) - {"dsec_"}
            self.assertGreater(len(used), 5)
            self.assertEqual(used - there, set(), name)
        values = dict(re.findall(r"^(\S+) (\S+)$", text, re.M))

        def value(start):
            return sum(float(v) for name, v in values.items() if name.startswith(start))

        self.assertEqual(value('dsec_aws_throttled_total'), 1)
        self.assertEqual(value('dsec_reads_total{result="denied"'), 1)
        self.assertEqual(value('dsec_reads_total{result="made"'), 2)
        self.assertGreaterEqual(value('dsec_reads_total{result="cached"'), 3)
        self.assertEqual(value('dsec_leases{project="app",config="dev",secret="AWS_USER",'
                               'state="active"'), 1)
        # A histogram's classes are cumulative, and the last is all.
        for name, count in values.items():
            if name.startswith("dsec_aws_call_seconds_count"):
                labels = name.partition("{")[2].rstrip("}")
                classes = [float(v) for n, v in values.items()
                           if n.startswith(f"dsec_aws_call_seconds_bucket{{{labels},le=")]
                self.assertEqual(classes, sorted(classes))
                self.assertEqual(classes[-1], float(count))

    @needs("promtool")
    def test_rules_are_what_prometheus_knows(self):
        out = self.run_fine("promtool", "check", "rules", DIST / "monitoring/alerts.yaml")
        self.assertIn("SUCCESS", out)

    @needs("promtool")
    def test_late_revocation_raises_the_alarm_and_a_prompt_one_does_not(self):
        labels = 'instance="a", project="app", config="dev", secret="AWS_USER"'
        series = f"dsec_revocation_oldest_seconds{{{labels}}}"
        (self.folder / "test.yaml").write_text(json.dumps({
            "rule_files": [str(DIST / "monitoring/alerts.yaml")],
            "evaluation_interval": "1m",
            "tests": [{
                "interval": "1m",
                "input_series": [{"series": series, "values": "0+60x20"}],
                "alert_rule_test": [
                    {"eval_time": "5m", "alertname": "DsecRevocationLate", "exp_alerts": []},
                    {"eval_time": "8m", "alertname": "DsecRevocationLate", "exp_alerts": [{
                        "exp_labels": {"severity": "critical", "instance": "a", "project": "app",
                                       "config": "dev", "secret": "AWS_USER"},
                        "exp_annotations": {
                            "summary": "a revocation is late: a user of app/dev/AWS_USER is to be "
                                       "removed since 8m 0s",
                            "description": "Its key is powerless from the lease's end on, but the "
                                           "user is still there. 'dsec status' on a names it, the "
                                           "last error, and what to do."},
                    }]},
                ],
            }],
        }))
        self.run_fine("promtool", "test", "rules", self.folder / "test.yaml")

    def test_dashboard_is_whole(self):
        dashboard = json.loads((DIST / "monitoring/dashboard.json").read_text())
        self.assertEqual(len({panel["id"] for panel in dashboard["panels"]}),
                         len(dashboard["panels"]))
        for panel in dashboard["panels"]:
            self.assertTrue(panel["targets"], panel["title"])


class Kubernetes(unittest.TestCase):
    def load(self, name):
        try:
            import yaml
        except ImportError:
            self.skipTest("python3-yaml is not installed")
        return yaml.safe_load((DIST / "kubernetes" / name).read_text())

    def mounts(self, pod):
        names = {volume["name"]: volume for volume in pod["volumes"]}
        for container in pod["containers"]:
            for mount in container["volumeMounts"]:
                yield mount, names[mount["name"]]

    def test_mount_of_the_daemon_reaches_the_consumer(self):
        daemon = self.load("daemonset.yaml")["spec"]["template"]["spec"]
        consumer = self.load("consumer.yaml")["spec"]
        out = [(m, v) for m, v in self.mounts(daemon) if m.get("mountPropagation") == "Bidirectional"]
        into = [(m, v) for m, v in self.mounts(consumer)
                if m.get("mountPropagation") == "HostToContainer"]
        self.assertEqual(len(out), 1)
        self.assertEqual(len(into), 1)
        self.assertEqual(out[0][1]["hostPath"]["path"], into[0][1]["hostPath"]["path"])
        command = daemon["containers"][0]["command"]
        self.assertTrue(command[-1].startswith(out[0][0]["mountPath"] + "/"))
        self.assertTrue(daemon["containers"][0]["securityContext"]["privileged"])
        self.assertTrue(daemon["hostPID"])


if __name__ == "__main__":
    tap.main()
