"""What a user's list says beside the URIs, kept in the store by image: captions, licences, labels."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from store.layout import EncoderStore
from store.location import glob_escaped

_CONTENT = "clipsieve.content"
_OWN = {"image_id", "source", "run_id"}


@dataclass(frozen=True)
class UserList:
    """A list on local disk: the columns that are kept, and the image that each of some rows names."""

    source: str
    path: Path
    columns: tuple[str, ...]
    rows: tuple[int, ...]  # counted from 0
    image_ids: tuple[bytes, ...]


def keep_columns(store: EncoderStore, run_id: str, said: UserList) -> bool:
    """Write `metadata/<run_id>.<source digest>.parquet`; return False where the newest of this list says the same."""
    digest = hashlib.sha256(said.source.encode()).hexdigest()[:12]
    content = _content(said)
    before = [name for name in store.refreshed().parts("metadata") if name.split(".")[-2] == digest]
    if before:
        with store.location.open(before[-1]) as file:
            known = pq.ParquetFile(file).metadata.metadata or {}
        if known.get(_CONTENT.encode()) == content.encode():
            return False
    with tempfile.TemporaryDirectory(prefix="clipsieve-metadata-") as folder:
        written = Path(folder, "metadata.parquet")
        _write(said, run_id, written, content)
        store.location.write(f"metadata/{run_id}.{digest}.parquet", written)
    return True


def _content(said: UserList) -> str:
    digest = hashlib.sha256(b"".join(said.image_ids))
    with said.path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def _write(said: UserList, run_id: str, to: Path, content: str) -> None:
    """Let DuckDB read the list: of a CSV every row is looked at before a column is called a number."""
    ids = pa.table({"place": pa.array(said.rows, pa.int64()), "image_id": pa.array(said.image_ids, pa.uuid())})
    with duckdb.connect(config={"autoinstall_known_extensions": "false"}) as connection:
        path = glob_escaped(str(said.path))
        connection.execute("set timezone = 'UTC'")
        if said.path.suffix == ".parquet":
            read = connection.read_parquet(path)
        else:
            read = connection.read_csv(
                path, header=True, sample_size=-1, delimiter="\t" if said.path.suffix == ".tsv" else ","
            )
        read.create_view("listed")
        connection.register("ids", ids)
        kept = [
            duckdb.ColumnExpression(name).alias(f"list_{name}" if name.lower() in _OWN else name)
            for name in said.columns
        ]
        joined = connection.sql("from (select *, row_number() over () - 1 as place from listed) join ids using (place)")
        own = [
            duckdb.ColumnExpression("image_id"),
            *(
                duckdb.ConstantExpression(value).alias(name)
                for name, value in (("source", said.source), ("run_id", run_id))
            ),
        ]
        joined.select(*own, *kept).create_view("kept")
        connection.execute(
            f"copy (from kept) to '{str(to).replace(chr(39), chr(39) * 2)}' "  # a temporary file of ours
            f"(format parquet, compression zstd, kv_metadata {{'{_CONTENT}': '{content}'}})"
        )
