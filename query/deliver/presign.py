"""`presign`: a run's manifests anew, with URLs that have not ended; beside the run's own files, which never change.

RUN/presigned/<time>/  kept.csv removed.csv …   the columns of the run's own, presigned_url and presigned_until
                       presigned.json           of which run, signed when, and until when
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
from duckdb import ColumnExpression

from query.deliver.apply.run import ExportedRun, read_manifest
from query.deliver.apply.tables import Tables, open_tables
from query.deliver.behind import Behind
from query.deliver.forms import Manifest
from query.deliver.links import Links
from query.deliver.manifests import BATCHES_WAITING, MANIFESTS
from store.errors import RunDamaged, UnknownName
from store.layout import new_run_id
from store.s3 import S3Options

RECORD = "presigned.json"
_FOLDER = "presigned"


@dataclass(frozen=True)
class Signed:
    """What was signed, and until when."""

    place: str
    rows: Mapping[str, int]  # by manifest
    until: datetime
    warnings: tuple[str, ...]


def presign_run(run: ExportedRun, s3: S3Options, lasts: timedelta, names: Sequence[str] = ()) -> Signed:
    """Write manifests of a run anew with presigned URLs; raise where nothing can be signed, with nothing written."""
    wanted = names or tuple(MANIFESTS)
    for name in wanted:
        if name not in MANIFESTS:
            nearest = difflib.get_close_matches(name, MANIFESTS, 1, 0)[0]
            raise UnknownName(f"A run has no manifest {name!r}.", do=f"Nearest: {nearest}.")
    place = run.location.child(_FOLDER).child(new_run_id())
    with open_tables(run.location) as tables, place.stage(last=RECORD) as folder:
        run.fetch(tables.folder)
        found = {name: _own_columns(tables, name) for name in wanted}
        links = Links.of(_buckets(found), s3, lasts)
        rows = {}
        for name, relation in found.items():
            relation.create_view("exported", replace=True)
            links.sign(tables.connection, "from exported", {})
            behind = Behind(BATCHES_WAITING)
            with Manifest(folder, name, behind) as manifest, behind:
                rows[name] = manifest.add(tables.connection, "from signed", {})
        record = {"run_id": run.run_id, "signed_at": links.signed.at, "until": links.signed.until, "rows": rows}
        text = json.dumps(record, indent=2, default=lambda time: time.isoformat(timespec="seconds"))
        (folder / RECORD).write_text(f"{text}\n", encoding="utf-8")
    return Signed(place.uri, rows, links.signed.until, tuple(links.warnings))


def _own_columns(tables: Tables, name: str) -> duckdb.DuckDBPyRelation:
    """Return a manifest without the URLs that it may have had from the start."""
    rows = read_manifest(tables.connection, tables.folder, name)
    if rows is None:
        raise RunDamaged(f"The run has no manifest {name}.", do="Export it again.")
    return rows.select(*(ColumnExpression(column) for column in rows.columns if not column.startswith("presigned_")))


def _buckets(found: Mapping[str, duckdb.DuckDBPyRelation]) -> list[str]:
    named = (rows.filter("bucket is not null").unique("bucket").fetchall() for rows in found.values())
    return sorted({bucket for rows in named for (bucket,) in rows})
