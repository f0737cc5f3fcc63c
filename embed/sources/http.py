"""Images on web servers, through the pool that boto3 brings along."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import urllib3
from urllib3.exceptions import HTTPError

from embed.sources.read import Fetched, ReadFailed, refuse_large
from store.records import ErrorCode, SourceObject

UNVERSIONED = "unversioned"
"""The revision of what says neither an etag nor a date: a replacement is not noticed."""

MAX_REDIRECTS = 5
_ATTEMPTS = 3
_TIMEOUT = urllib3.Timeout(connect=10, read=60)
_BUSY = (429, 500, 502, 503, 504)
_BLOCK_BYTES = 1 << 20
_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "clipsieve"}  # the bytes as they are, of the size they say
_NO_HEAD = {400, 403, 405, 501}
_OBJECT_AT_FAULT = {404: ErrorCode.NOT_FOUND, 410: ErrorCode.NOT_FOUND, 412: ErrorCode.CHANGED} | dict.fromkeys(
    (401, 402, 403, 451), ErrorCode.FORBIDDEN
)
_FIRST_GOOD, _FIRST_BAD = 200, 300


@dataclass(frozen=True)
class Said:
    """What a server says of a page before it is read; size and date are None where it does not say."""

    revision: str
    etag: str | None
    size_bytes: int | None
    last_modified: datetime | None


class HttpReader:
    """Reads pages; used by many threads at once."""

    def __init__(self, connections: int) -> None:
        """Ask nothing yet. Refusals that pass are tried again, as S3's are."""
        retry = urllib3.Retry(
            total=_ATTEMPTS + MAX_REDIRECTS,
            connect=_ATTEMPTS,
            read=_ATTEMPTS,
            status=_ATTEMPTS,
            other=_ATTEMPTS,
            redirect=MAX_REDIRECTS,
            status_forcelist=_BUSY,
            backoff_factor=0.5,
            backoff_max=20,
            raise_on_status=False,
        )
        self._pool = urllib3.PoolManager(
            num_pools=256, maxsize=connections, timeout=_TIMEOUT, retries=retry, headers=_HEADERS
        )

    def look(self, uri: str) -> Said | None:
        """Return what the server says of a page, or None where it answers with a refusal or not at all."""
        try:
            answer = self._pool.request("HEAD", uri)
            if answer.status in _NO_HEAD:  # some servers answer GET alone
                answer = self._pool.request(
                    "GET", uri, headers={**_HEADERS, "Range": "bytes=0-0"}, preload_content=False
                )
                answer.close()
        except HTTPError:
            return None
        return _said(answer) if _FIRST_GOOD <= answer.status < _FIRST_BAD else None

    def fetch(self, wanted: SourceObject) -> Fetched:
        """Read one page, if it still is what was listed."""
        refuse_large(wanted.size_bytes)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._read(wanted)
            except HTTPError as error:
                if attempt == _ATTEMPTS or not _broke_off(error):
                    raise ReadFailed(ErrorCode.READ_FAILED, f"{type(error).__name__} after every retry") from error
        raise AssertionError  # the last attempt returns or raises

    def _read(self, wanted: SourceObject) -> Fetched:
        answer = self._pool.request("GET", wanted.uri, preload_content=False)
        try:
            if not _FIRST_GOOD <= answer.status < _FIRST_BAD:
                code = _OBJECT_AT_FAULT.get(answer.status, ErrorCode.READ_FAILED)
                raise ReadFailed(code, f"the server answered {answer.status} {answer.reason or ''}")
            said = _said(answer)
            if UNVERSIONED not in {wanted.revision, said.revision} and wanted.revision not in {
                said.revision,
                said.etag,
            }:
                raise ReadFailed(ErrorCode.CHANGED, f"replaced since it was listed: it is {said.revision} now")
            return Fetched(_limited(answer, said.size_bytes))
        finally:
            answer.release_conn()


def _limited(answer: urllib3.BaseHTTPResponse, size_bytes: int | None) -> bytes:
    """Return the body; raise ReadFailed once it is over the limit, whatever its length was said to be."""
    refuse_large(size_bytes or 0)
    blocks, length = [], 0
    for block in answer.stream(_BLOCK_BYTES, decode_content=False):
        blocks.append(block)
        length += len(block)
        refuse_large(length)
    return b"".join(blocks)


def _said(answer: urllib3.BaseHTTPResponse) -> Said:
    etag = answer.headers.get("ETag", "").removeprefix("W/").strip('"') or None
    length = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    size_bytes = int(length) if length.isdecimal() else None
    modified = _date(answer.headers.get("Last-Modified"))
    dated = None if modified is None else f"modified-{modified:%Y%m%dT%H%M%SZ}"
    return Said(etag or dated or UNVERSIONED, etag, size_bytes, modified)


def _date(words: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(words).astimezone(UTC) if words else None
    except ValueError:
        return None


def _broke_off(error: HTTPError) -> bool:
    """Whether a body ended early, which the pool's own retries do not cover."""
    return isinstance(error, (urllib3.exceptions.ProtocolError, urllib3.exceptions.ReadTimeoutError))
