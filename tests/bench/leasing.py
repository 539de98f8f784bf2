"""What a lease costs those who wait for it, at a round trip of 50 ms, beside its round trips."""

import json
import statistics

import boto3
from botocore.config import Config

import stage
from daemon import DESCRIBE, until
from stage import KEY, dynamic, load, metric, milliseconds, one_processor, percentile
from table import Row

RTT = 50
RATE = 10000  # as much as none


def with_boto3(iam, n):
    """As a user would script it: one process, its session kept. Milliseconds of each."""
    client = boto3.client("iam", endpoint_url=iam.endpoint, region_name="us-east-1",
                          aws_access_key_id=iam.admin.access_key_id,
                          aws_secret_access_key=iam.admin.secret_access_key,
                          verify=iam.certificates.ca if iam.certificates else None,
                          config=Config(proxies={}))
    client.get_user(UserName="admin")  # the connection stands

    def lease(name):
        client.create_user(UserName=name, Path="/boto3/")
        client.put_user_policy(UserName=name, PolicyName="policy",
                               PolicyDocument=json.dumps(DESCRIBE))
        client.create_access_key(UserName=name)

    return [milliseconds(lambda i=i: lease(f"by-boto3-{i}")) for i in range(n)]


def revoke(dsec, iam, lease_id):
    """Milliseconds until its user is gone."""
    deleted = sum(call["action"] == "DeleteUser" for call in iam.log())
    daemon = stage.Api(dsec)

    def ask():
        daemon.revoke(lease_id)
        iam.wait_calls("DeleteUser", effects=deleted + 1)

    return milliseconds(ask)


def leases(quick):
    n = 3 if quick else 15
    configs = {f"c{i}": {"dynamic_secrets": {"AWS_USER": dynamic()}} for i in range(n + 1)}
    with stage.local_iam(rtt_ms=RTT, tls=True) as iam, stage.dsec(iam, configs) as dsec:
        load("once", dsec.path(f"app/c{n}/{KEY}"))  # the connections stand
        first = [line[0] / 1000 for line in
                 load("once", *(dsec.path(f"app/c{i}/{KEY}") for i in range(n)))]
        median = statistics.median(first)
        bound = 2 * RTT
        yield Row(f"first read, connection open, {RTT} ms a round trip", f"{median:.1f} ms",
                  f"2 round trips + 10 ms: {bound + 10} ms", median / (bound + 10), "at most", 1)
        scripted = statistics.median(with_boto3(iam, n))
        yield Row("the same scripted with boto3", f"{scripted:.1f} ms", f"dsec {median:.1f} ms",
                  scripted / median, "at least", 1.5)
        ended = []
        for i in range(n):
            lease_id = dsec.read(f"app/c{i}/AWS_USER_LEASE_ID").decode()
            ended.append(revoke(dsec, iam, lease_id))
        median = statistics.median(ended)
        yield Row(f"revoke, {RTT} ms a round trip", f"{median:.1f} ms",
                  f"2 round trips + 10 ms: {bound + 10} ms", median / (bound + 10), "at most", 1)


def warm(quick):
    """The name is known, or is new to the kernel and costs one round trip more."""
    n = 5 if quick else 100
    for scope in ("shared", "user"):
        configs = {f"c{i}": {"dynamic_secrets": {"AWS_USER": dynamic(scope=scope, warm=1, max_rate="1/m")}}
                   for i in range(2 * n)}
        # A lease that was taken is not replaced before all are read: there is no token for it.
        with stage.local_iam() as iam, stage.dsec(iam, configs, {"rate": RATE}) as dsec:
            until("all are ready", lambda: metric(dsec, "dsec_leases_ready") == 2 * n)
            files = [dsec.path(f"app/c{i}/{KEY}") for i in range(2 * n)]
            for i, file in enumerate(files):
                (file if i < n else file.parent).stat()
            with one_processor(dsec.worker()):
                first, again = ([line[0] for line in load("once", *files)] for _ in range(2))
            again = percentile(again, 0.25)
            for name, lines in (("name known", first[:n]), ("name new", first[n:])):
                a = percentile(lines, 0.25)
                yield Row(f"first read, warm: 1, scope {scope}, {name}", f"{a:.1f} µs",
                          f"cached {again:.1f} µs", a / again, "at most", 2)
