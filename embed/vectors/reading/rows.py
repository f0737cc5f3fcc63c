"""Rows of metadata become the store's columns: an image is named by its own URI, key or path, never by its position.

revision    the metadata's etag; where there is none, a hash of the vector: other vectors are another content
facts       width, height, size, sha256, where the metadata names them; null for what it does not say
"""

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embed.vectors.reading.arrays import Matrix
from store.errors import ImportRefused, UnknownName
from store.schema import images_schema

URI_COLUMNS = ("uri", "url", "image_path", "path", "key", "id", "uid")
"""The order in which a column that names images is looked for, whatever its case."""

_IMPORT = "import://"
_SIZES = ("size_bytes", "content_length", "file_size")
_ORIGINAL, _RESIZED = ("original_width", "original_height"), ("width", "height")
_SCHEMES = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_WHOLE_NUMBER = r"^[0-9]{1,18}(\.0*)?$"
_SHA256 = r"^[0-9a-f]{64}$"


@dataclass(frozen=True)
class Columns:
    """Which columns of the metadata are taken, and as what."""

    uri: str
    facts: Mapping[str, str]  # the store's column -> the metadata's
    left_out: tuple[str, ...]

    @property
    def wanted(self) -> list[str]:
        """Return the metadata's columns that are read."""
        return list(dict.fromkeys([self.uri, *self.facts.values()]))


def choose_columns(files: Sequence[Sequence[str]], uri_column: str | None) -> Columns:
    """Return the columns to take, of those that every file has; `files` are the columns of each.

    Raise UnknownName where none is named as one that names images, or `uri_column` is in none.
    """
    common = [name for name in files[0] if all(columns.count(name) == 1 for columns in files)]
    uri = _uri_column(common, uri_column)
    facts = _facts(common, uri)
    taken = {uri, *facts.values()}
    left_out = sorted({name for columns in files for name in columns} - taken)
    return Columns(uri, facts, tuple(left_out))


@dataclass(frozen=True)
class Naming:
    """How the rows of one import are named."""

    columns: Columns
    prefix: str  # stands before every name
    source: str  # URI of the source, ending in /

    def objects(self, batch: pa.Table, contents: Sequence[bytes], where: Callable[[int], str]) -> pa.Table:
        """Return the columns of `images` that are known of these rows; `contents` are 16 bytes for each vector.

        Raise ImportRefused for a row without a name; `where` says which row of which file one is.
        """
        uris = self._uris(batch[self.columns.uri], where)
        places = [place_of(uri) for uri in uris]
        etags = self._etags(batch)
        revisions = [etag or f"vector-{content.hex()}" for etag, content in zip(etags, contents, strict=True)]
        ids = [
            hashlib.sha256(f"{uri}\n{revision}".encode()).digest()[:16]
            for uri, revision in zip(uris, revisions, strict=True)
        ]
        schema = images_schema(1)
        columns: dict[str, object] = {
            "image_id": ids,
            "source": [self.source] * len(uris),
            "uri": uris,
            "bucket": [bucket for bucket, _ in places],
            "key": [key for _, key in places],
            "etag": etags,
            "revision": revisions,
            "last_modified": [None] * len(uris),
            **{name: self._fact(batch, name) for name in ("size_bytes", "sha256", *_SIDES)},
        }
        return pa.table({name: _array(values, schema.field(name).type) for name, values in columns.items()})

    def misread(self, batch: pa.Table) -> Counter[str]:
        """Count, by column, values that are there and are not what their column is for; they become null."""
        found: Counter[str] = Counter()
        for name, column in self.columns.facts.items():
            if name != "etag":
                given = _as_text(batch[column])
                read = read_fact(name, given)
                found[column] += pc.sum(pc.and_(pc.is_valid(given), pc.is_null(read))).as_py() or 0
        return +found

    def _uris(self, column: pa.ChunkedArray, where: Callable[[int], str]) -> list[str]:
        names = _names(column, self.columns.uri).to_pylist()
        below = not self.source.startswith(_IMPORT)  # a real place holds what lies below it, a name holds anything
        for k, name in enumerate(names):
            if not name:
                raise ImportRefused(
                    f"{where(k)} has no {self.columns.uri}.",
                    "An image without a name could never be found again.",
                    "Name another column with --uri-column, or take the row out of both files.",
                )
            if below and not (self.prefix + name).startswith(self.source):
                raise ImportRefused(
                    f"{where(k)} is {self.prefix + name!r}, which does not lie in the source {self.source!r}.",
                    "A source's listing says what lies below its URI, and nothing else.",
                    "Give --source another name or URI.",
                )
        return [self.prefix + name for name in names]

    def _etags(self, batch: pa.Table) -> list[str | None]:
        if "etag" not in self.columns.facts:
            return [None] * batch.num_rows
        found = _as_text(batch[self.columns.facts["etag"]]).to_pylist()
        return [etag.strip('"') or None if etag else None for etag in found]

    def _fact(self, batch: pa.Table, name: str) -> pa.ChunkedArray | list[None]:
        if name not in self.columns.facts:
            return [None] * batch.num_rows
        return read_fact(name, _as_text(batch[self.columns.facts[name]]))


_SIDES = ("width_px", "height_px")


def contents_of(vectors: Matrix) -> list[bytes]:
    """Return 16 bytes for each row of (N, D) float32: equal for equal values, whatever type they were saved as."""
    rows = np.ascontiguousarray(vectors, "<f4")
    return [hashlib.sha256(row.data).digest()[:16] for row in rows]


def place_of(uri: str) -> tuple[str | None, str]:
    """Return bucket and key: of an S3 URI its own, of another one no bucket and what follows its scheme."""
    parts = _SCHEMES.fullmatch(uri)
    if parts is None:
        return None, uri
    scheme, rest = parts.groups()
    if scheme == "s3":
        bucket, _, key = rest.partition("/")
        return bucket, key
    return None, unquote(rest).lstrip("/") if scheme == "file" else rest


def source_uri(named: str | None, path: str) -> str:
    """Return the URI of a source: what the user calls it, or the absolute path that it was imported from."""
    if named is None:
        return f"{_IMPORT}{quote(path)}/"
    return f"{named.rstrip('/')}/" if "://" in named else f"{_IMPORT}{quote(named.strip('/'))}/"


def read_fact(name: str, given: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts as what the store's column holds, null for what they cannot be."""
    if name == "sha256":
        lower = pc.utf8_lower(given)
        return _where(pc.match_substring_regex(lower, _SHA256), lower)
    whole = _where(pc.match_substring_regex(given, _WHOLE_NUMBER), given)
    numbers = pc.cast(pc.replace_substring_regex(whole, r"\..*$", ""), pa.int64())
    return numbers if name == "size_bytes" else _where(pc.greater(numbers, 0), numbers)


def _where(condition: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(condition, values, pa.scalar(None, values.type))


def _array(values: object, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, kind)


def _names(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_integer(kind) or not _is_nested_or_number(kind):
        try:
            return pc.cast(column, pa.string())
        except pa.ArrowException:
            pass
    raise ImportRefused(
        f"The column {name} holds {kind}, which names nothing.",
        do="Name a column of text or whole numbers with --uri-column.",
    )


def _is_nested_or_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as text, without what stands for nothing; other things than text and numbers become null."""
    try:
        text = pc.cast(column, pa.string())
    except pa.ArrowException:
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    return _where(pc.not_equal(text, ""), text)


def _uri_column(columns: Sequence[str], wanted: str | None) -> str:
    lower = {name.lower(): name for name in reversed(columns)}
    if wanted is not None:
        if wanted in columns:
            return wanted
        nearest = difflib.get_close_matches(wanted, columns, 1, 0)
        raise UnknownName(
            f"The metadata has no column {wanted!r}.", do=f"The nearest is {nearest[0]!r}." if nearest else ""
        )
    for name in URI_COLUMNS:
        if name in lower:
            return lower[name]
    raise UnknownName(
        f"No column of the metadata names images: none is called {', '.join(URI_COLUMNS)}.",
        "An image is named by its own URI, key or path, never by its position in a file.",
        f"Choose one with --uri-column: {', '.join(columns) or 'there are no columns'}.",
    )


def _facts(columns: Iterable[str], uri: str) -> dict[str, str]:
    lower = {name.lower(): name for name in columns if name != uri}
    remote = uri.lower() in {"uri", "url"}
    pairs = [_SIDES, *((_ORIGINAL, _RESIZED) if remote else (_RESIZED, _ORIGINAL))]
    found: dict[str, str] = {name: lower[name] for name in ("sha256", "etag") if name in lower}
    if size := next((name for name in _SIZES if name in lower), None):
        found["size_bytes"] = lower[size]
    if sides := next((pair for pair in pairs if all(side in lower for side in pair)), None):
        found |= dict(zip(_SIDES, (lower[side] for side in sides), strict=True))
    return found
