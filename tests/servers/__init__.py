"""Real S3 servers on 127.0.0.1, for the tests and for a trial by hand (`python -m tests.servers`).

Both verify AWS Signature Version 4. Each lacks something that the other has:

- moto (`moto_server`): conditional writes, versions, tags, injected faults and a record of its requests; but its
  signature check is the one in `signature.py`, so it shares botocore's idea of a signature.
- rclone (`rclone_server`): an independent implementation on a plain folder; but it ignores conditional writes, keeps no
  versions, and cannot hold keys that no folder can hold.
"""

import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


# Each test has a boto3 session of its own, for its own credentials. What botocore ships is the same for all of them,
# and reading it takes five times as long as everything else that makes a client.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)


@functools.cache
def _session() -> boto3.session.Session:
    """One for all clients of the tests themselves: they name their credentials."""
    return boto3.session.Session()


@dataclass(frozen=True)
class S3Server:
    """Where a running server listens, and the one pair of credentials that it knows."""

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def client(self, **kwargs: Any) -> "S3Client":
        """A boto3 client for the test's own use: no retries, so that every refusal is seen at once."""
        options: dict[str, Any] = {
            "endpoint_url": self.endpoint_url,
            "aws_access_key_id": self.access_key,
            "aws_secret_access_key": self.secret_key,
            "region_name": self.region,
            # Without the version, boto3 presigns in the older version 2 where the region is us-east-1.
            "config": Config(
                signature_version="s3v4", retries={"total_max_attempts": 1}, connect_timeout=10, read_timeout=30
            ),
        }
        return _session().client("s3", **(options | kwargs))

    def environment(self) -> dict[str, str]:
        """What boto3's standard chain reads, so that a program finds this server and no other account by accident."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def reset(self) -> None:
        """Forget what a test asked of the server (faults, recorded requests). Buckets and objects stay."""
