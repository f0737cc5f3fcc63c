"""What a job shows of itself: for people, for machines and for Prometheus, always the same numbers."""

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import clipsieve
from embed import job as job_module
from embed import patience as patience_module
from embed import progress as progress_module
from embed.decoders import Memory, Processes, Settings, Threads
from embed.geometry import Geometry
from embed.metrics import exposition
from embed.patience import ATTEMPTS, FAILURES_IN_A_ROW, Reads
from embed.progress import Tally
from embed.request import EmbedRequest
from embed.sources import Fetched
from embed.sources.read import ReadFailed, Unavailable
from embed.ways import only_hands_on
from store.errors import SourceError
from store.records import SourceObject
from tests.embedding import embed, embed_command
from tests.pictures import picture_bytes
from tests.stores import listed

# https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details
_SAMPLE = re.compile(
    r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)\{(?P<labels>(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)*)\} (?P<value>\S+)'
)


def samples(text: str) -> dict[tuple[str, str], float]:
    """The samples of an exposition by name and own label; fails where the format is broken."""
    assert text.endswith("\n")
    found, typed, helped = {}, {}, set()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ", 3)[2]
            assert name not in helped, "a family stands in one piece"
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped
            assert kind in {"counter", "gauge"}
            assert (kind == "counter") == name.endswith("_total")
            typed[name] = kind
        else:
            sample = _SAMPLE.fullmatch(line)
            assert sample, line
            assert sample["name"] in typed
            own = re.findall(r'(?:outcome|error_code|stage)="([^"]*)"', sample["labels"])
            found[sample["name"].removeprefix("clipsieve_embed_"), "".join(own)] = float(sample["value"])
    return found


def test_exposition() -> None:
    """Every number of a tally stands in the file, whatever a source is called."""
    tally = Tally(listed=12, already_done=2, embedded=5, not_images=1, errors=Counter(empty=2), bytes_read=1000)
    tally.work_begins({"read": 4, "encode": 1})
    tally.stage_seconds["encode"] += 3.5
    found = samples(exposition(tally, {"source": 's3://b/a "quoted" \\ and\nbroken/', "encoder": "tiny"}))
    assert found["objects_listed", ""] == 12
    assert found["objects_pending", ""] == 2
    assert found["objects_total", "embedded"] == 5
    assert found["objects_total", "failed"] == found["failed_total", "empty"] == 2
    assert found["read_bytes_total", ""] == 1000
    assert found["stage_seconds_total", "encode"] == 3.5
    assert found["stage_busy_ratio", "encode"] == 1
    assert found["paused", ""] == 0


def test_numbers_of_a_job(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --log-format json every line is an object; the summary and the metrics file say the same."""
    monkeypatch.setattr(progress_module, "PLAIN_LINE_EVERY_S", 0.0)
    (tmp_path / "album").mkdir()
    for number in range(4):
        (tmp_path / "album" / f"{number}.jpg").write_bytes(picture_bytes(number))
    (tmp_path / "album" / "empty.jpg").touch()
    words = ("--log-format", "json", "--metrics", str(tmp_path / "embed.prom"))
    result = embed_command(tmp_path / "album", tmp_path / "store", tiny_encoder, *words)
    assert result.exit_code == 0, result.output
    first, *progress = map(json.loads, result.stderr.splitlines())
    assert (first["event"], first["precision"]) == ("start", "fp32")
    assert {line["event"] for line in progress} == {"progress"}
    summary = json.loads(result.stdout)
    assert (summary["event"], summary["embedded"], summary["errors"], summary["pending"]) == (
        "summary", 4, {"empty": 1}, 0,
    )  # fmt: skip
    assert summary["stage_busy"].keys() == {"read", "decode", "encode", "write"}
    found = samples((tmp_path / "embed.prom").read_text())
    assert found["objects_total", "embedded"] == 4
    assert found["failed_total", "empty"] == 1
    assert found["objects_pending", ""] == 0
    assert found["read_bytes_total", ""] == summary["bytes_read"]
    assert not list(tmp_path.glob(".*"))


def test_watching_costs_no_image(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever watches is told by the clock and not for each image: here once, since the next time is an hour away."""
    monkeypatch.setattr(job_module, "TICK_S", 3600.0)
    (tmp_path / "album").mkdir()
    for number in range(12):
        (tmp_path / "album" / f"{number}.jpg").write_bytes(picture_bytes(number))
    told: list[int] = []
    request = EmbedRequest(
        str(tmp_path / "album"), str(tmp_path / "store"), f"local-dir:{tiny_encoder}", device="cpu", precision="fp32"
    )
    summary = clipsieve.run_embed(request, lambda started: lambda: told.append(started.tally.finished))
    assert (summary.embedded, told) == (12, [0])


def test_metrics_that_cannot_be_written(tiny_encoder: Path, tmp_path: Path) -> None:
    """A place that takes no file is refused before anything is read."""
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1))
    result = embed_command(tmp_path, tmp_path.parent / "store", tiny_encoder, "--metrics", str(tmp_path / "no" / "x"))
    assert (result.exit_code, "Cannot write the metrics to" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [("4 apples", "is no size"), ("1MB", "too little to work with"), ("-3GB", "is no size")],
)
def test_sizes_that_are_none(words: str, says: str, tiny_encoder: Path, tmp_path: Path) -> None:
    """A memory that is no size, or that nothing fits into, is wrong use."""
    result = embed_command(tmp_path, tmp_path / "store", tiny_encoder, "--memory", words)
    assert (result.exit_code, says in result.stderr) == (2, True)


def test_the_stage_that_limits() -> None:
    """The busiest stage is named, the service where reading waits for it, the listing where nothing else is busy."""
    tally = Tally(started=0.0)
    assert tally.limit == ""
    tally.work_begins({"read": 32, "decode": 2, "encode": 1})
    assert tally.limit == "list"
    tally.stage_seconds["decode"] += 1e6
    assert tally.limit == "decode"
    assert " · limited by decode · " in tally.line()
    tally.trouble = lambda: "SlowDown for 3 s, waiting"
    assert tally.limit == "the service (SlowDown for 3 s, waiting)"


def test_python_limits_all_stages() -> None:
    """A process that computes nearly all of the time is named, however busy its stages look while they wait for it."""
    tally = Tally()
    tally.work_begins({"decode": 4, "python": 1})
    tally.working_since = time.monotonic() - 100
    tally.stage_seconds["decode"] = 400.0
    tally.stage_seconds["python"] = 80.0
    assert tally.limit == "decode"
    tally.stage_seconds["python"] = 95.0
    assert tally.limit == "python"
    tally.stage_seconds["decode"] = 0.0
    tally.stage_seconds["python"] = 80.0
    assert tally.limit == "list"


@pytest.mark.parametrize(
    ("device", "kind", "watched"), [("cuda:0", Processes, True), ("cpu", Processes, False), ("cuda:0", Threads, False)]
)
def test_python_is_watched_where_it_only_hands_on(
    device: str, kind: type[Processes | Threads], *, watched: bool
) -> None:
    """A process that also decodes, or holds the model on its CPU, is busy with what no other process would spare it."""
    assert only_hands_on(device, kind(1, Settings(Geometry(8, 8)), Memory(1))) is watched


def test_python_of_a_job(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is watched, a job says what its own process has computed since its work began."""
    monkeypatch.setattr(job_module, "only_hands_on", lambda *_: True)
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.jpg").write_bytes(picture_bytes(1))
    summary = embed(tmp_path / "album", tmp_path / "store", tiny_encoder)
    assert 0 < summary.stage_seconds["python"] <= time.process_time()
    assert 0 < summary.stage_busy["python"] <= 1


# Patience


class Flaky:
    """A source at whose edge the test decides what the service answers."""

    uri, readers, covers, extra_columns = "s3://photos/in/", 1, None, None

    def __init__(self, *faults: Exception | None) -> None:
        """Answer with these in turn, then well."""
        self.faults, self.asked = list(faults), 0

    def pages(self) -> Iterator[list[SourceObject]]:
        """Nothing is listed here."""
        yield from ()

    def fetch(self, _wanted: SourceObject) -> Fetched:
        """Raise what is next, or answer."""
        self.asked += 1
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        return Fetched(b"x")


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)


@pytest.mark.usefixtures("_at_once")
def test_an_outage_is_waited_for() -> None:
    """However often a service fails within the limit, the object is read in the end."""
    source = Flaky(*[Unavailable("SlowDown", slow_down=True)] * (5 * (ATTEMPTS + FAILURES_IN_A_ROW)))
    assert Reads(source).fetch(listed("in/a")).data == b"x"


@pytest.mark.usefixtures("_at_once")
def test_an_object_alone_is_given_up() -> None:
    """The last object of a job may fail for ever: what could be read before still can, so it is not the service."""

    class Poisoned(Flaky):
        def fetch(self, wanted: SourceObject) -> Fetched:
            if wanted.key == "in/poison":
                raise Unavailable("500")
            return super().fetch(wanted)

    source = Poisoned()
    reads = Reads(source, 3600)
    assert reads.fetch(listed("in/a")).data == b"x"
    with pytest.raises(ReadFailed, match=f"500 at each of {ATTEMPTS} attempts"):
        reads.fetch(listed("in/poison"))
    assert reads.service.trouble == ""


@pytest.mark.usefixtures("_at_once")
def test_an_outage_without_end() -> None:
    """Where nothing was ever read the limit ends it, and everybody who waits is told the same."""
    source = Flaky(*[Unavailable("ConnectionClosedError")] * 100_000)
    reads = Reads(source, 0.01)
    for key in ("in/a", "in/b"):
        with pytest.raises(SourceError, match=r"has not answered for 0 s \(ConnectionClosedError\)"):
            reads.fetch(listed(key))
