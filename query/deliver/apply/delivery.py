"""An exported run, opened to be applied and undone. What the commands do, a notebook does too."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Protocol

from query.deliver.apply.copies import ApplyOptions, CopyJob, open_copy_job
from query.deliver.apply.copying import OnProgress
from query.deliver.apply.destination import normalised
from query.deliver.apply.in_place.job import InPlaceJob, open_in_place_job
from query.deliver.apply.in_place.undo import open_in_place_undo
from query.deliver.apply.journal import declared_in
from query.deliver.apply.run import ExportedRun
from query.deliver.apply.undo import UndoPlan, open_undo_job
from query.deliver.links import lasting
from query.deliver.presign import Signed, presign_run
from store.errors import RunDamaged, UsageError
from store.s3 import S3Options


class WayBack(Protocol):
    """The undoing of one application."""

    @property
    def destination(self) -> str:
        """Where the run was applied."""

    def plan(self) -> UndoPlan:
        """Say what would be taken back; nothing is changed."""

    def carry_out(self, on_progress: OnProgress = ...) -> UndoPlan:
        """Take it back, and say what is left."""


@dataclass(frozen=True)
class Delivery:
    """A run, and the way to S3."""

    run: ExportedRun
    s3: S3Options

    @classmethod
    def open(cls, place: str, s3: S3Options) -> "Delivery":
        """Open the run at a folder or `s3://bucket/prefix`, or the only one in it; raise RunDamaged for none."""
        return cls(ExportedRun.open(place, s3), s3)

    def copies(
        self, to: str, options: ApplyOptions | None = None, *, trust_conditions: bool | None = None
    ) -> AbstractContextManager[CopyJob]:
        """Open the job that copies what the run keeps to `s3://bucket/prefix/`: `plan` it, then `carry_out`.

        `trust_conditions` says that the service honours conditional requests, where the options do not.
        """
        options = options or ApplyOptions()
        if trust_conditions is not None:
            options = replace(options, honours_conditions=trust_conditions)
        return open_copy_job(self.run, to, self.s3, options)

    def in_place(self) -> list[AbstractContextManager[InPlaceJob]]:
        """Open the jobs that move aside what the run does not keep, one for each folder that was judged.

        Raise UsageError where the run judged no folder.
        """
        folders = [source for source in self.run.sources if source.startswith("file://")]
        if not folders:
            raise UsageError(
                f"The run judged no folder, but {', '.join(self.run.sources)}.",
                "In a bucket nothing is moved or deleted.",
                "Copy what it keeps with --to s3://BUCKET/PREFIX/.",
            )
        return [open_in_place_job(self.run, source) for source in folders]

    def presign(self, lasts: str = "7d", names: Sequence[str] = ()) -> Signed:
        """Write the run's manifests, or these of them, anew with URLs that let anybody read each image so long."""
        return presign_run(self.run, self.s3, lasting(lasts), names)

    def ways_back(
        self, to: str | None = None, *, honours_conditions: bool | None = None
    ) -> Iterator[AbstractContextManager[WayBack]]:
        """Open the undoing of each application of this run, the latest first, or of the one at `to`."""
        wanted = normalised(to) if to is not None and to.startswith("s3://") else to
        for folder, record in reversed(declared_in(self.run.location)):
            if record["run_metadata_sha256"] != self.run.metadata_sha256:
                raise RunDamaged(
                    f"{self.run.location.uri} is not the run that was applied: its run_metadata.json has changed.",
                    do="Restore it from a backup.",
                )
            if wanted is not None and wanted.rstrip("/") not in _names(str(record["destination"])):
                continue
            if record["kind"] == "copies":
                yield open_undo_job(self.run.location, folder, record, self.s3, honours_conditions=honours_conditions)
            else:
                yield open_in_place_undo(self.run.location, folder, record)


def _names(destination: str) -> set[str]:
    return {destination.rstrip("/"), destination.removeprefix("file://").rstrip("/")}
