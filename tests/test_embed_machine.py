"""What the machine may do to a job: no room on the disk, a store that is away, a clock that jumps, a kill."""

import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pytest

from embed import patience as patience_module
from embed.progress import Tally
from embed.writer import WAITING_PARTS, PartWriter
from store import layout as layout_module
from store.errors import LocationError, NotNow
from store.layout import EncoderStore
from store.location import FolderLocation
from store.parts import read_part
from store.scratch import ScratchFolder
from tests.embedding import all_rows, embed, embed_command, outcomes, shelf
from tests.pictures import OUTCOMES, picture_bytes
from tests.stores import ENCODER, embedded, files_of, listed, new_store


@pytest.fixture
def no_room() -> Iterator[None]:
    """A limit that the kernel sets to every file, so that no part fits: a write fails in its middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_a_part(photos: Path, tiny_encoder: Path, tmp_path: Path, no_room: None) -> None:
    """A disk that fills up while a part is written ends the job in one sentence, and nothing half-written stays."""
    result = embed_command(photos, tmp_path / "store", tiny_encoder, "--batch-size", "1")
    assert result.exit_code == 1
    assert "Cannot write" in result.stderr
    assert "Free some space" in result.stderr
    held = shelf(tmp_path / "store")
    assert held.parts("images") == []
    assert not [name for name in files_of(tmp_path / "store") if name.endswith(".tmp")]


def test_room_again(photos: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Once there is room the same command does the rest, as if nothing had been."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, limits[1]))
    try:
        assert embed_command(photos, tmp_path / "store", tiny_encoder, "--batch-size", "1").exit_code == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    embed(photos, tmp_path / "store", tiny_encoder)
    embed(photos, tmp_path / "quiet", tiny_encoder)
    assert all_rows(tmp_path / "store") == all_rows(tmp_path / "quiet")


class Away(FolderLocation):
    """A store that refuses its first writes, as one that cannot be reached."""

    refusals = 0

    def write(self, name: str, data: bytes | Path) -> None:
        """Refuse, or write."""
        if self.refusals and name.startswith("images/"):
            self.refusals -= 1
            raise NotNow("The store is away.")
        super().write(name, data)


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Away:
    """The place of a store that may be away; nobody waits before trying again."""
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)
    return Away(Path(new_store(tmp_path).location.uri))


def write(away: Away, rows: int, *, patience_s: float) -> None:
    """Write so many rows in parts of two."""
    with PartWriter(EncoderStore(ENCODER, away), "run", (2, 3600.0), Tally(), patience_s) as writer:
        for number in range(rows):
            writer.add(embedded(listed(f"in/{number}")))


def test_rows_wait_for_a_store_that_is_away(away: Away) -> None:
    """Rows wait while their store is away, and are written when it is back: each once, no part over its limit."""
    away.refusals = 50
    write(away, 3 * 2 * WAITING_PARTS, patience_s=3600)
    sizes = [read_part(away, entry.name).num_rows for entry in away.files("images")]
    assert (set(sizes), sum(sizes)) == ({2}, 3 * 2 * WAITING_PARTS)


def test_a_store_that_stays_away(away: Away) -> None:
    """A store that is away for longer than the limit ends the job."""
    away.refusals = 10**9
    with pytest.raises(NotNow):
        write(away, 9, patience_s=0.0)
    assert issubclass(NotNow, LocationError)


def test_an_error_elsewhere_waits_for_nobody(away: Away) -> None:
    """After an error of another thread a store that is away is not waited for, and the first error is the one told."""
    away.refusals = 10**9

    def write_and_fail() -> None:
        with PartWriter(EncoderStore(ENCODER, away), "run", (2, 3600.0), Tally(), 3600.0) as writer:
            writer.add(embedded(listed("in/a")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()


def test_clock_that_jumps_back(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run after a clock that was ten years ahead still counts as the later one: the file's last state is current."""

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Ahead":
            ahead = datetime.now(tz) + timedelta(days=3650)
            return cls.fromtimestamp(ahead.timestamp(), tz)

    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "a.jpg").write_bytes(picture_bytes(1))
    (tmp_path / "album" / "b.jpg").write_bytes(picture_bytes(2)[:60])
    with monkeypatch.context() as patched:
        patched.setattr(layout_module, "datetime", Ahead)
        first = embed(tmp_path / "album", tmp_path / "store", tiny_encoder)
    (tmp_path / "album" / "a.jpg").unlink()
    (tmp_path / "album" / "b.jpg").write_bytes(picture_bytes(2))
    second = embed(tmp_path / "album", tmp_path / "store", tiny_encoder)
    assert second.run_id > first.run_id > "2036"
    assert outcomes(tmp_path / "store") == {"b.jpg": "embedded"}


def test_scratch_of_a_killed_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed process left among the temporary files is removed by the next; what another one uses is not."""
    code = f"""
        import os, signal, sys, tempfile
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        tempfile.tempdir = {str(tmp_path)!r}
        from store.scratch import ScratchFolder
        folder = ScratchFolder("listing")
        open(folder.name + "/spool", "w").write("half of a listing")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    mine = ScratchFolder("listing")
    other = ScratchFolder("listing")
    assert set(tmp_path.iterdir()) == {Path(mine.name), Path(other.name)}
    assert left not in tmp_path.iterdir()
    for folder in (mine, other):
        folder.cleanup()
    assert list(tmp_path.iterdir()) == []


def test_little_memory(photos: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """With the least memory that is allowed a job reads everything that with plenty it reads."""
    words = ("--memory", "64MiB", "--batch-size", "8")
    assert embed_command(photos, tmp_path, tiny_encoder, *words).exit_code == 0
    assert outcomes(tmp_path) == OUTCOMES
