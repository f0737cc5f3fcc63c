"""A local S3 server for as long as the demonstration runs, in memory, on 127.0.0.1 only."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from store.errors import MissingExtra
from store.s3 import S3Options

BUCKET = "clipsieve-demo"
INSTALL = "Run `pip install 'clipsieve[demo]'`."
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "demo",
    "AWS_SECRET_ACCESS_KEY": "demo",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@contextmanager
def s3_server() -> Iterator[S3Options]:
    """Serve S3 with one empty bucket, BUCKET, and give the way to it; nobody's own credentials are used meanwhile.

    Raise MissingExtra where the server's library is not installed.
    """
    try:
        from moto.server import ThreadedMotoServer  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise MissingExtra("The demo serves S3 by itself, for which moto is missing.", do=INSTALL) from error
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line per request otherwise
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    before = {name: os.environ.get(name) for name in (*_ENVIRONMENT, "AWS_PROFILE", "AWS_SESSION_TOKEN")}
    server.start()
    try:
        for name in before:
            os.environ.pop(name, None)
        os.environ.update(_ENVIRONMENT)
        host, port = server.get_host_and_port()
        options = S3Options(endpoint_url=f"http://{host}:{port}")
        options.client().create_bucket(Bucket=BUCKET)
        yield options
    finally:
        server.stop()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
