"""A run as `export` has written it. It is read only after every file of it has been found unchanged."""

import csv
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from query.deliver.export import METADATA
from store.errors import LocationError, RunDamaged, UsageError
from store.layout import locate
from store.location import Location
from store.s3 import S3Options

_BLOCK_BYTES = 1 << 24
_NAMED = 5
_WHY = "What is copied, moved or deleted must be what was decided, so nothing is done with this run."
_DO = "Export it again, and keep the folder as it is."


@dataclass(frozen=True)
class ExportedRun:
    """A run's place and its run_metadata.json."""

    location: Location
    metadata: Mapping[str, Any]
    metadata_sha256: str

    @classmethod
    def open(cls, place: str, s3: S3Options) -> "ExportedRun":
        """Open the run at a folder or `s3://bucket/prefix`, or the only one that lies in it.

        Raise RunDamaged where there is none, UsageError where there are several.
        """
        location = locate(place, s3)
        data = location.read(METADATA)
        if data is None:
            location = _only_run(location)
            data = location.read(METADATA) or b""
        try:
            metadata = json.loads(data)
            _ = metadata["run_id"], dict(metadata["files"]), list(metadata["sources"])
        except (ValueError, KeyError, TypeError) as error:
            raise RunDamaged(f"{location.uri}/{METADATA} does not describe a run.", _WHY, _DO) from error
        return cls(location, metadata, hashlib.sha256(data).hexdigest())

    @property
    def run_id(self) -> str:
        """The run's id."""
        return str(self.metadata["run_id"])

    @property
    def sources(self) -> list[str]:
        """The URIs of the sources that were judged, the longest first: an image belongs to the first that fits."""
        return sorted(self.metadata["sources"], key=lambda uri: (-len(uri), uri))

    @property
    def policy_name(self) -> str:
        """The policy that decided, or its rules where it has no name."""
        policy = self.metadata.get("policy")
        if isinstance(policy, dict) and "name" in policy:
            return str(policy["name"])
        return str(policy or ", ".join(rule["rule"] for rule in self.metadata.get("rules", [])))

    @property
    def store_uri(self) -> str:
        """Where the store lies that the run was made from."""
        return str(self.metadata.get("store", "")).partition("/encoder=")[0]

    def fetch(self, into: Path) -> None:
        """Copy the manifests into a local folder and check every file of the run on the way; raise RunDamaged.

        Of a manifest in two forms Parquet is copied, which needs no parsing.
        """
        files = self.metadata["files"]
        for name, sha256 in sorted(files.items()):
            stem, _, form = name.rpartition(".")
            wanted = form == "parquet" or (form == "csv" and f"{stem}.parquet" not in files)
            try:
                with self.location.open(name) as file:
                    found = _spool(file, into / Path(name).name if wanted else None)
            except LocationError as error:
                raise RunDamaged(f"{self.location.uri} lacks {name}: {error.what}", _WHY, _DO) from error
            if found != sha256:
                raise RunDamaged(f"{self.location.uri}/{name} has been changed since the run was made.", _WHY, _DO)


def _only_run(location: Location) -> Location:
    """Return the run that lies in a place of runs; raise where there is none, or more than one."""
    folders = sorted(location.folders(), reverse=True)  # a run's id begins with its time
    runs = [name for name in folders if location.child(name).read(METADATA) is not None]
    if not runs:
        raise RunDamaged(
            f"There is no run at {location.uri} (no {METADATA} in it, nor in a folder of it).",
            do="Name what `clipsieve export` has written: PLACE/<run_id>, the folder with kept.csv in it.",
        )
    if len(runs) > 1:
        raise UsageError(
            f"{location.uri} holds {len(runs):,} runs: {', '.join(runs[:_NAMED])}{', …' * (len(runs) > _NAMED)}.",
            "Nobody can say which one is meant.",
            f"Name one; the newest is {location.uri}/{runs[0]}.",
        )
    return location.child(runs[0])


_MAY_BE_MISSING = ("sha256", "revision", "group_name", "quarantine", "rule")


def view_manifest(connection: duckdb.DuckDBPyConnection, folder: Path, name: str) -> bool:
    """Show a fetched manifest (`kept`, `removed`, …) as the view of that name; False where there is none.

    Columns that a manifest of another kind has and this one lacks are null.
    """
    rows = read_manifest(connection, folder, name)
    if rows is None:
        return False
    missing = [column for column in _MAY_BE_MISSING if column not in rows.columns]
    rows.project(", ".join(["*", *(f"null::varchar as {column}" for column in missing)])).create_view(name)
    return True


def read_manifest(connection: duckdb.DuckDBPyConnection, folder: Path, name: str) -> duckdb.DuckDBPyRelation | None:
    """Return the rows of a fetched manifest as they are, or None where there is none."""
    if (parquet := folder / f"{name}.parquet").exists():
        return connection.read_parquet(str(parquet))
    return _read_csv(connection, path) if (path := folder / f"{name}.csv").exists() else None


def _read_csv(connection: duckdb.DuckDBPyConnection, path: Path) -> duckdb.DuckDBPyRelation:
    with path.open(encoding="utf-8", newline="") as file:
        header = next(csv.reader(file))
    return connection.read_csv(
        str(path),
        header=True,
        auto_detect=False,
        columns=dict.fromkeys(header, "VARCHAR"),
        delimiter=",",
        quotechar='"',
        escapechar='"',
        parallel=False,  # a key may hold a newline
    )


def _spool(file: BinaryIO, to: Path | None) -> str:
    digest = hashlib.sha256()
    copy = to.open("wb") if to else None
    try:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            if copy:
                copy.write(block)
    finally:
        if copy:
            copy.close()
    return digest.hexdigest()
