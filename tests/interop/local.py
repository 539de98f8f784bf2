"""A dsec's configuration with the local IAM behind it."""

import daemon
import localiam

SECRET = {"integration": "local", "policy": daemon.DESCRIBE}


def iam(case):
    """A local IAM that ends with the test."""
    iam = localiam.LocalIAM().start()
    case.addCleanup(iam.stop)
    return iam


def integration(iam, **members):
    return {
        "type": "aws-iam",
        "credentials": {"source": "static", "access_key_id": iam.admin.access_key_id,
                        "secret_access_key": iam.admin.secret_access_key},
        "region": iam.region,
        "endpoint": iam.endpoint,
        "sts_endpoint": iam.endpoint,
        **members,
    }
