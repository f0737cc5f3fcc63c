"""A prefix of a bucket as a place of files, and S3 for DuckDB, which reads it through fsspec."""

import contextlib
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import duckdb
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from store.location import Entry, glob_escaped, occupied
from store.s3.client import get_object
from store.s3.errors import S3Failure, error_code, refused
from store.s3.options import S3Options, split_uri

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class S3Location:
    """A prefix of a bucket."""

    def __init__(self, uri: str, options: S3Options, client: "S3Client | None" = None) -> None:
        """Name a prefix; nothing is asked of S3 yet."""
        self._options = options
        self._client = client or options.client()
        self._bucket, prefix = split_uri(uri)
        self._prefix = prefix.rstrip("/") + "/" if prefix.strip("/") else ""

    @property
    def uri(self) -> str:
        """The prefix without its trailing slash."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def child(self, name: str) -> "S3Location":
        """Return the prefix one folder below."""
        return S3Location(f"{self.uri}/{name}", self._options, self._client)

    def read(self, name: str) -> bytes | None:
        """Return an object's bytes, or None where there is no such key."""
        try:
            return get_object(self._client, **self._at(name))[1]
        except S3Failure as error:
            if error_code(error) in {"NoSuchKey", "404"}:
                return None
            raise refused("read", f"{self.uri}/{name}", error) from error

    def open(self, name: str) -> BinaryIO:
        """Open an object for random access by ranged reads."""
        return cast("BinaryIO", self._filesystem().open(f"{self._bucket}/{self._prefix}{name}"))

    def files(self, folder: str = "") -> list[Entry]:
        """Return every object below `folder`, sorted by name."""
        prefix = f"{self._prefix}{folder}/" if folder else self._prefix
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, **self._options.request_payer()
        )
        try:
            objects = [o for page in pages for o in page.get("Contents", [])]
        except S3Failure as error:
            raise refused("list", f"s3://{self._bucket}/{prefix}", error) from error
        return sorted((Entry(o["Key"][len(self._prefix) :], o["Size"]) for o in objects), key=lambda e: e.name)

    def folders(self) -> list[str]:
        """Return the names of the common prefixes directly here, sorted."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix, Delimiter="/", **self._options.request_payer()
        )
        try:
            prefixes = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", [])]
        except S3Failure as error:
            raise refused("list", self.uri, error) from error
        return sorted(prefix[len(self._prefix) : -1] for prefix in prefixes)

    def write(self, name: str, data: bytes | Path) -> None:
        """Upload an object: one PUT, or a multipart upload that becomes visible when it is complete."""
        try:
            if isinstance(data, Path):
                extra = self._options.request_payer()
                self._client.upload_file(str(data), self._bucket, self._prefix + name, ExtraArgs=extra)
            else:
                self._client.put_object(**self._at(name), Body=data)
        except S3Failure as error:
            raise refused("write", f"{self.uri}/{name}", error) from error

    def create(self, name: str, data: bytes) -> bool:
        """Write an object only where there is none of that key.

        Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html. A service
        that ignores the condition is asked first, which leaves a gap that only jobs started at one moment can meet.
        """
        if self.read(name) is not None:
            return False
        try:
            self._client.put_object(**self._at(name), Body=data, IfNoneMatch="*")
        except S3Failure as error:
            if error_code(error) in {"PreconditionFailed", "ConditionalRequestConflict", "412"}:
                return False
            raise refused("write", f"{self.uri}/{name}", error) from error
        return True

    def remove(self, name: str) -> None:
        """Remove an object if it exists."""
        try:
            self._client.delete_object(**self._at(name))
        except S3Failure as error:
            raise refused("remove", f"{self.uri}/{name}", error) from error

    @contextlib.contextmanager
    def stage(self, last: str) -> Iterator[Path]:
        """Give a temporary folder, whose files are uploaded when the block ends well."""
        if self.files():
            raise occupied(self.uri)
        with tempfile.TemporaryDirectory(prefix="clipsieve-run-") as folder:
            yield Path(folder)
            for file in sorted(Path(folder).iterdir(), key=lambda path: (path.name == last, path.name)):
                self.write(file.name, file)

    def remove_leftovers(self) -> None:
        """Do nothing: an upload that was killed is no object; a lifecycle rule of the bucket drops its parts."""

    def duckdb_path(self, name: str) -> str:
        """Return the object's path in the file system that `attach` registers."""
        return f"{_FileSystem.protocol}://{self._bucket}/{self._prefix}{name}"

    def attach(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register this client as a file system, so that DuckDB needs no extension from the network."""
        connection.register_filesystem(self._filesystem())

    def public_glob(self, folder: str) -> str:
        """Return the pattern of the Parquet objects below a folder's prefix; a client needs httpfs for it."""
        return f"s3://{glob_escaped(f'{self._bucket}/{self._prefix}{folder}')}/**/*.parquet"

    def attach_public(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Register this client for `s3://`, so that views over such names can be made without httpfs."""
        connection.register_filesystem(
            _PublicFileSystem(client=self._client, request_payer=self._options.request_payer())
        )

    def _filesystem(self) -> "_FileSystem":
        return _FileSystem(client=self._client, request_payer=self._options.request_payer())

    def _at(self, name: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._prefix + name, **self._options.request_payer()}


class _FileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Read-only fsspec view of S3 through our client: https://filesystem-spec.readthedocs.io/en/latest/developer.html."""

    protocol = "clipsieve-s3"
    cachable = False

    def __init__(self, client: "S3Client", request_payer: dict[str, Any]) -> None:
        super().__init__()
        self.client, self.request_payer = client, request_payer
        self._size_bytes: dict[str, int] = {}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Ask S3 once about each file: DuckDB asks several times in every query, and see `modified`."""
        name = self._strip_protocol(path)
        if name not in self._size_bytes:
            self._size_bytes[name] = self._ask_size(*name.split("/", 1))
        return {"name": name, "size": self._size_bytes[name], "type": "file"}

    def _ask_size(self, bucket: str, key: str) -> int:
        try:
            return self.client.head_object(Bucket=bucket, Key=key, **self.request_payer)["ContentLength"]
        except S3Failure as error:
            raise refused("read", f"s3://{bucket}/{key}", error) from error

    def modified(self, _path: str) -> datetime:
        """Return a constant: files of a store never change under their name."""
        return datetime(2000, 1, 1, tzinfo=UTC)

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the path itself: every file is named in full."""
        return [path]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> "_File":
        return _File(self, path, mode, cache_type="none")


class _PublicFileSystem(_FileSystem):
    protocol = "s3"

    def glob(self, path: str, **_: Any) -> list[str]:
        """Return the Parquet objects below the folder of a `public_glob`."""
        bucket, _slash, pattern = self._strip_protocol(path).partition("/")
        folder = re.sub(r"\[([*?[])\]", r"\1", pattern.removesuffix("/**/*.parquet"))
        options = S3Options(requester_pays=bool(self.request_payer))
        location = S3Location(f"s3://{bucket}/{folder}", options, self.client)
        names = (entry.name for entry in location.files() if entry.name.endswith(".parquet"))
        return [f"s3://{bucket}/{folder}/{name}" for name in names]


class _File(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    def _fetch_range(self, start: int, end: int) -> bytes:
        bucket, _, key = self.path.partition("/")
        request = {"Bucket": bucket, "Key": key, "Range": f"bytes={start}-{end - 1}", **self.fs.request_payer}
        try:
            return get_object(self.fs.client, **request)[1]
        except S3Failure as error:
            raise refused("read", f"s3://{bucket}/{key}", error) from error
