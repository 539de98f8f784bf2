"""One signed call to a server that speaks AWS's query protocol, by curl, with any key."""

import re
import subprocess

VERSIONS = {"iam": "2010-05-08", "sts": "2011-06-15", "ec2": "2016-11-15"}


def quoted(text):
    """As curl's --config wants it."""
    for character, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        text = text.replace(character, escaped)
    return f'"{text}"'


def call(endpoint, action, key, service="iam", region="us-east-1", **parameters):
    """key: (access key id, secret). Gives (HTTP status, AWS's error code or "")."""
    fields = {"Action": action, "Version": VERSIONS[service], **parameters}
    lines = [f'url = "{endpoint}/"', f'aws-sigv4 = "aws:amz:{region}:{service}"',
             f'user = "{key[0]}:{key[1]}"', 'write-out = "\\n%{http_code}"', "max-time = 20",
             "silent", "show-error", 'noproxy = "*"',
             # libcurl signs the headers that it is given, and AWS wants this one signed.
             'header = "Content-Type: application/x-www-form-urlencoded"']
    lines += [f"data-urlencode = {quoted(f'{name}={value}')}" for name, value in fields.items()]
    # By stdin: what stands in argv can be read by everybody.
    result = subprocess.run(["curl", "--config", "-"], input="\n".join(lines), text=True,
                            capture_output=True, check=True)
    body, status = result.stdout.rsplit("\n", 1)
    code = re.search(r"<Code>([^<]*)</Code>", body)
    return int(status), code.group(1) if code else ""


def works(endpoint, key):
    """Does STS know this key?"""
    return call(endpoint, "GetCallerIdentity", key, service="sts")[0] == 200
