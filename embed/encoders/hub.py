"""One file of a Hugging Face repository: from the cache, or from the hub when it answers within seconds.

huggingface_hub repeats a failed request for 45 s. A pod without a network should say so at once, so a single short
request goes first. Reasons are put together here and never quote an address or a header: those can hold credentials.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

PROBE_S = 4.0  # seconds for all requests before the download itself, name resolution included
_T = TypeVar("_T")


class HubUnavailable(Exception):
    """The reason, as part of a sentence, why a file can neither be found nor downloaded. Never leaves this package."""


class _NoSuchFile(HubUnavailable):
    """The repository exists and does not hold this file; another name may do."""


def hub_file(repository: str, names: Sequence[str], revision: str | None = None) -> Path:
    """Return the path of the first of `names` in the cache, else download the first that the repository holds.

    HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE, HF_ENDPOINT, HF_TOKEN and the proxies' variables hold as they do for
    huggingface_hub (https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables).
    Raises HubUnavailable, within about PROBE_S seconds where the hub does not answer.
    """
    import huggingface_hub as hub  # noqa: PLC0415 - comes with open_clip, which is optional

    for name in names:
        cached = hub.try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(cached, str):
            return Path(cached)
    if hub.is_offline_mode():
        raise HubUnavailable("it is not in the cache and HF_HUB_OFFLINE forbids a download")
    with _errors_only():
        name = _first_served(repository, names, revision)
        return Path(_attempt(partial(hub.hf_hub_download, repository, name, revision=revision), None, repository))


def cache_folder() -> str:
    """Return the folder in which huggingface_hub looks for files."""
    from huggingface_hub import constants  # noqa: PLC0415 - comes with open_clip, which is optional

    return str(constants.HF_HUB_CACHE)


def _first_served(repository: str, names: Sequence[str], revision: str | None) -> str:
    """Return the first name that the hub would serve, asked once and without repetition."""
    import huggingface_hub as hub  # noqa: PLC0415 - comes with open_clip, which is optional

    deadline = time.monotonic() + PROBE_S
    for name in names:
        ask = partial(hub.get_hf_file_metadata, hub.hf_hub_url(repository, name, revision=revision), timeout=PROBE_S)
        try:
            answer = _attempt(ask, deadline - time.monotonic(), repository)
        except _NoSuchFile:
            continue
        if answer.commit_hash is None or answer.etag is None:
            raise HubUnavailable(f"{_host()} does not answer like a Hugging Face hub (a firewall or a login page?)")
        return name
    raise HubUnavailable(f"the repository {repository} holds no {' or '.join(names)}")


def _attempt(work: Callable[[], _T], timeout_s: float | None, repository: str) -> _T:
    """Run `work` for at most `timeout_s`; raise HubUnavailable for what a network can do, and anything else as it is.

    A thread, because no timeout of a request covers name resolution; a daemon, so that a stuck one holds up no exit.
    """
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - handed over whole to the caller's thread
            future.set_exception(error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    error = _wait(future, timeout_s)
    if error is None:
        return future.result()
    raise _as_unavailable(error, repository) from None


def _wait(future: "Future[_T]", timeout_s: float | None) -> BaseException | None:
    try:
        return future.exception(timeout_s if timeout_s is None else max(timeout_s, 0.0))
    except TimeoutError as error:
        return error


def _as_unavailable(error: BaseException, repository: str) -> BaseException:
    """Return why the network or the hub refused; the error itself where it is neither's."""
    from huggingface_hub import errors  # noqa: PLC0415 - comes with open_clip, which is optional

    if isinstance(error, errors.EntryNotFoundError) and not isinstance(error, errors.LocalEntryNotFoundError):
        return _NoSuchFile(f"the repository {repository} does not hold it")
    if isinstance(error, errors.GatedRepoError):
        reason = f"{_host()} restricts {repository} to people who accepted its terms and logged in with `hf auth login`"
    elif isinstance(error, errors.RepositoryNotFoundError):
        reason = f"{_host()} knows no repository {repository}, or shows it only to people who logged in"
    elif isinstance(error, errors.HfHubHTTPError):
        reason = f"{_host()} answered with HTTP status {error.response.status_code}"
    elif isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        reason = f"{_host()} did not answer in time"
    elif isinstance(error, OSError) or type(error).__module__.startswith("http"):  # httpx and its successors
        reason = f"{_host()} cannot be reached, or the download broke off: {type(error).__name__}{_detail(error)}"
    else:
        return error
    return HubUnavailable(reason)


def _detail(error: BaseException) -> str:
    """Return an operating system's few words, such as `[Errno 111] Connection refused`, where nothing else is said."""
    words = re.match(r"\[Errno -?\d+\] [A-Za-z ]+", str(error))
    return f" {words[0]}" if words else ""


def _host() -> str:
    """Return the hub's host and port, without the credentials that HF_ENDPOINT may hold."""
    from huggingface_hub import constants  # noqa: PLC0415 - comes with open_clip, which is optional

    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


@contextmanager
def _errors_only() -> Iterator[None]:
    """Keep huggingface_hub's advice off stderr while it downloads."""
    from huggingface_hub import logging as theirs  # noqa: PLC0415 - comes with open_clip, which is optional

    before = theirs.get_verbosity()
    theirs.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        theirs.set_verbosity(before)
