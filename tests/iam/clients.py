"""botocore's clients for the tests of the local IAM."""

import botocore.config
import botocore.exceptions
import botocore.session

EVERYTHING = {"Version": "2012-10-17",
              "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}

_session = botocore.session.Session()
_session.set_config_variable("credentials_file", "/dev/null")
_session.set_config_variable("config_file", "/dev/null")


def client(service, endpoint, access_key_id, secret_access_key, session_token=None, ca=None,
           region="us-east-1", read_timeout=20):
    """One attempt a call, so that what is seen is what the server did."""
    config = botocore.config.Config(retries={"total_max_attempts": 1}, connect_timeout=10,
                                    read_timeout=read_timeout, parameter_validation=False)
    return _session.create_client(
        service, region_name=region, endpoint_url=endpoint, config=config, verify=ca,
        aws_access_key_id=access_key_id, aws_secret_access_key=secret_access_key,
        aws_session_token=session_token)


def error_of(function, *arguments, **parameters):
    """(code, status) of the error that the call answers; (None, 200) where it answers none."""
    try:
        function(*arguments, **parameters)
    except botocore.exceptions.ClientError as error:
        return (error.response["Error"]["Code"],
                error.response["ResponseMetadata"]["HTTPStatusCode"])
    return None, 200
