"""One small file from a known public address: over https, within bounded time, with one quick failure.

The proxies' variables (https_proxy, no_proxy) hold as they do for urllib. CLIPSIEVE_HEADS_URL names another place with
the same paths, a mirror; only a mirror on this machine may do without https.
"""

import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import Future
from http.client import HTTPResponse
from typing import cast
from urllib.parse import urlsplit

from query.scoring.heads.files import LARGEST_BYTES
from store.errors import UsageError, WeightsUnavailable

HOME = "https://raw.githubusercontent.com"
ANSWER_S = 5.0  # until the first byte, name resolution included
WHOLE_S = 60.0  # until the last one; the largest head has 4 MB

_BLOCK_BYTES = 1 << 16


class _TooMuch(Exception):
    """A file that is larger than any head."""


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    """Follows no redirect that leaves https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, PLR0913, PLR0917  # urllib's
        if urlsplit(newurl).scheme != "https":
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(address: str, name: str) -> bytes:
    """Return the file at an address below the public home; raise WeightsUnavailable with one sentence."""
    url = f"{_home()}/{address}"
    try:
        return _read(_answer(url))
    except TimeoutError as error:
        raise _unavailable(name, url, "it does not answer in time") from error
    except urllib.error.HTTPError as error:
        error.close()
        raise _unavailable(name, url, f"the answer is {error.code}") from error
    except (OSError, http.client.HTTPException, _TooMuch) as error:
        raise _unavailable(name, url, _reason(error)) from error


def _home() -> str:
    home = os.environ.get("CLIPSIEVE_HEADS_URL", HOME).rstrip("/")
    address = urlsplit(home)
    if address.scheme != "https" and (address.scheme, address.hostname) not in {
        ("http", "127.0.0.1"),
        ("http", "localhost"),
    }:
        raise UsageError("CLIPSIEVE_HEADS_URL must be an https address.", "Weights from elsewhere could be anyone's.")
    return home


def _answer(url: str) -> HTTPResponse:
    """Open the address within ANSWER_S.

    A thread, because no timeout of a request covers name resolution; a daemon, so that a stuck one holds up no exit.
    """
    opener = urllib.request.build_opener(_HttpsOnly())
    future: Future[HTTPResponse] = Future()

    def ask() -> None:
        try:
            future.set_result(cast("HTTPResponse", opener.open(url, timeout=ANSWER_S)))
        except BaseException as error:  # noqa: BLE001  # it belongs to the thread that waits
            future.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return future.result(timeout=ANSWER_S)


def _read(answer: HTTPResponse) -> bytes:
    deadline = time.monotonic() + WHOLE_S
    blocks, size = [], 0
    with answer:
        while block := answer.read(_BLOCK_BYTES):
            blocks.append(block)
            size += len(block)
            if size > LARGEST_BYTES:
                raise _TooMuch("it sends more than a head can be")
            if time.monotonic() > deadline:
                raise TimeoutError
    return b"".join(blocks)


def _reason(error: Exception) -> str:
    """Return why, without addresses or headers: a proxy's may hold a password."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, _TooMuch):
        return str(cause)
    if isinstance(cause, TimeoutError):
        return "it does not answer in time"
    return (cause.strerror if isinstance(cause, OSError) else None) or type(cause).__name__


def _unavailable(name: str, url: str, reason: str) -> WeightsUnavailable:
    return WeightsUnavailable(
        f"The head {name} is not on this machine yet and cannot be fetched from {url}: {reason}.",
        do=f"Download that file elsewhere and run `clipsieve score STORE {name} --from FILE`.",
    )
