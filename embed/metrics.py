"""The numbers of a job as a Prometheus text file, for node_exporter's textfile collector or any other reader.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from embed.progress import Tally
from store.encoder import Encoder
from store.errors import UsageError

EVERY_S = 5.0


@contextmanager
def metrics_file(path: str | None, tally: Tally, source: str, encoder: Encoder) -> Iterator[Callable[[], None]]:
    """Keep a file of the job's numbers for as long as the block runs; give what is to be called now and then."""
    if path is None:
        yield lambda: None
        return
    file = MetricsFile(path, tally, {"source": source, "encoder": encoder.encoder_id})
    try:
        yield file.refresh
    finally:
        file.refresh(now=True)


class MetricsFile:
    """A file that always holds one whole state of a job; it is replaced every EVERY_S and at the end."""

    def __init__(self, path: str, tally: Tally, labels: dict[str, str]) -> None:
        """Write to `path` what `tally` says, each number with `labels`; raise UsageError where that is refused."""
        self._path, self._tally, self._labels = Path(path).expanduser(), tally, labels
        self._next = 0.0
        try:
            self.write()
        except OSError as error:
            raise UsageError(
                f"Cannot write the metrics to {path}: {error.strerror or error}.",
                do="Give --metrics a file in a folder that exists and can be written to.",
            ) from error

    def refresh(self, *, now: bool = False) -> None:
        """Write if the last time is long enough ago; a disk that is full now is no reason to end the job."""
        if now or time.monotonic() >= self._next:
            try:
                self.write()
            except OSError:
                return

    def write(self) -> None:
        """Write beside the file, then replace it, so that no reader sees half of it."""
        self._next = time.monotonic() + EVERY_S
        staged = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            staged.write_text(exposition(self._tally, self._labels), encoding="utf-8")
            staged.replace(self._path)
        finally:
            staged.unlink(missing_ok=True)


def exposition(tally: Tally, labels: dict[str, str]) -> str:
    """Return the state of a job in Prometheus' text format."""
    outcomes = {"embedded": tally.embedded, "not_an_image": tally.not_images, "failed": sum(tally.errors.values())}
    device = tally.on_device
    jpegs = {"decoded": device.decoded, "refused": device.refused} if device else {}
    cosine = {"": device.least_cosine} if device and device.compared else {}
    one = _Family(labels)
    return "".join(
        [
            one.of("objects_listed", "gauge", "Objects listed so far.", {"": tally.listed}),
            one.of("listing_complete", "gauge", "1 once every object is listed.", {"": int(tally.listing_complete)}),
            one.of("objects_done_before", "gauge", "Objects that other jobs have done.", {"": tally.already_done}),
            one.of("objects_pending", "gauge", "Objects without an outcome.", {"": tally.wanted - tally.finished}),
            one.of("objects_total", "counter", "Objects by outcome.", outcomes, "outcome"),
            one.of("failed_total", "counter", "Failed images by error code.", dict(tally.errors), "error_code"),
            one.of("read_bytes_total", "counter", "Bytes read.", {"": tally.bytes_read}),
            one.of("stage_seconds_total", "counter", "Seconds by stage, over threads.", tally.stage_seconds, "stage"),
            one.of("stage_busy_ratio", "gauge", "Share of the time that a stage was busy.", tally.busy, "stage"),
            one.of("device_jpegs_total", "counter", "JPEGs given to the device to decode.", jpegs, "outcome"),
            one.of("device_least_cosine", "gauge", "Of embeddings, to decoding in full.", cosine),
            one.of("paused", "gauge", "1 while reading waits for the service.", {"": int(bool(tally.trouble()))}),
            one.of("seconds_total", "counter", "Seconds since the job began.", {"": tally.seconds}),
            one.of("written_timestamp_seconds", "gauge", "When this was written.", {"": time.time()}),
        ]
    )


class _Family:
    """Writes a family of samples with the labels of the job."""

    def __init__(self, labels: dict[str, str]) -> None:
        self._labels = labels

    def of(self, name: str, kind: str, says: str, values: Mapping[str, float], label: str = "") -> str:
        if not values:
            return ""
        name = f"clipsieve_embed_{name}"
        lines = [f"# HELP {name} {says}", f"# TYPE {name} {kind}"]
        for value_of, value in sorted(values.items()):
            labels = self._labels | ({label: value_of} if label else {})
            pairs = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(f"{name}{{{pairs}}} {value}")
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
