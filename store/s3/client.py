"""boto3's client, set up for many requests at once, whose credentials come from its standard chain only.

https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html
"""

import contextlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, cast

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError

from store.again import Answer
from store.errors import LocationError
from store.s3.errors import BodyBrokeOff
from store.s3.listings import read_quickly
from store.s3.options import S3Options
from store.s3.renewing import renew_expired
from store.s3.times import time_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_CONNECTIONS = 128
"""A client keeps so many; where more ask at once, urllib3 says so on stderr."""

READ_TIMEOUT_S = 60
"""Between two pieces of an answer."""

_BODY_ATTEMPTS = 3
_DEFAULT_PROFILE = "default"


def client(options: S3Options, attempts: int) -> "S3Client":
    """Return a client for many threads at once, with standard retries (500, 503 SlowDown, timeouts, resets).

    Credentials that have expired are looked up again, in the environment, the profile and the files as they are then.

    What botocore does for each request is most of what a request costs here, so it is spared what nobody needs: a
    description of itself made anew each time, and a check of parameters that S3 checks too.
    """
    config = Config(
        user_agent=f"clipsieve/{version('clipsieve')} Boto3/{boto3.__version__}",
        parameter_validation=False,
        retries={"mode": "standard", "total_max_attempts": attempts},
        max_pool_connections=MAX_CONNECTIONS,
        connect_timeout=10,
        read_timeout=READ_TIMEOUT_S,
        # Some services send a whole object's checksum with a part of it, which then cannot match.
        response_checksum_validation="when_required",
    )
    try:
        session = _default_session()
        made = session.client("s3", endpoint_url=options.endpoint_url, region_name=options.region, config=config)
    except (BotoCoreError, ValueError) as error:
        raise LocationError(f"Cannot set up S3: {error}.", do="Check --endpoint-url and the AWS profile.") from error
    read_quickly(made)
    renew_expired(made, lambda: _credentials_of_now(session.profile_name))
    return made


def _credentials_of_now(profile: str) -> Credentials | None:
    fresh = botocore.session.get_session()
    if profile != _DEFAULT_PROFILE:  # which need not exist
        fresh.set_config_variable("profile", profile)
    return fresh.get_credentials()


def _default_session() -> boto3.session.Session:
    """Return boto3's default session, which a program may have set up; where there is none, it becomes one of ours."""
    if boto3.DEFAULT_SESSION is None:
        boto3.setup_default_session(botocore_session=_quick_session())
    return cast("boto3.session.Session", boto3.DEFAULT_SESSION)


def _quick_session() -> botocore.session.Session:
    """Return a session that reads times by their format: botocore guesses at it, in three quarters of a listing's time.

    https://botocore.amazonaws.com/v1/documentation/api/latest/development/designnotes.html
    """
    session = botocore.session.get_session()
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=time_of)
    return session


def get_object(client: "S3Client", **request: Any) -> tuple[Mapping[str, Any], bytes]:
    """Return S3's answer and the whole body; raise what boto3 raises, one of S3Failure."""

    def ask() -> tuple[Mapping[str, Any], bytes]:
        answer = client.get_object(**request)
        with contextlib.closing(answer["Body"]) as body:
            return answer, body.read()

    return whole(ask)


def whole(ask: Callable[[], Answer]) -> Answer:
    """Return what is asked for; a body that breaks off is asked for again, which boto3 does for requests only."""
    for attempt in range(1, _BODY_ATTEMPTS + 1):
        try:
            return ask()
        except BodyBrokeOff:
            if attempt == _BODY_ATTEMPTS:
                raise
    raise AssertionError  # the last attempt returns or raises
