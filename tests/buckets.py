"""What moto holds, read and written from the inside: thousands of objects in a moment, and every version of them."""

from moto.backends import get_backend
from moto.s3.models import FakeDeleteMarker, FakeKey, S3Backend


def backend() -> S3Backend:
    """The state of the only account."""
    (account,) = get_backend("s3").values()
    state: S3Backend = account["aws"]
    return state


def put(
    bucket: str, key: str, data: bytes, content_type: str = "image/jpeg", tags: dict[str, str] | None = None
) -> None:
    """Write an object."""
    written = backend().put_object(bucket, key, data)
    written.set_metadata({"Content-Type": content_type})
    if tags:
        backend().put_object_tagging(written, tags)


def contents(bucket: str, prefix: str = "") -> dict[str, bytes]:
    """Every object that a listing shows, with its bytes."""
    found = backend().get_bucket(bucket).keys.items()
    return {key: one.value for key, one in found if key.startswith(prefix) and isinstance(one, FakeKey)}


def versions(bucket: str) -> dict[str, list[tuple[str, str | None]]]:
    """Every version of every key, delete markers too, with its id and etag, in the order in which they were written."""
    keys = backend().get_bucket(bucket).keys
    return {key: [_version(one) for one in keys.getlist(key)] for key in keys}


def _version(one: FakeKey | FakeDeleteMarker) -> tuple[str, str | None]:
    return str(one.version_id), None if isinstance(one, FakeDeleteMarker) else one.etag


def empty(bucket: str) -> None:
    """Forget everything that a bucket holds, every version of it."""
    keys = backend().get_bucket(bucket).keys
    for one in (one for key in keys for one in keys.getlist(key)):
        if isinstance(one, FakeKey):
            one.dispose()
    keys.clear()
