"""A folder on a mount whose server goes away and comes back: waited for as S3 is, and nothing is given up."""

import errno
import io
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embed import patience as patience_module
from embed.sources import folder as folder_module
from store.errors import NotNow
from store.location import FolderLocation
from store.parts import read_part
from store.verify import verify
from tests.embedding import all_rows, embed, embed_command, outcomes
from tests.pictures import picture_bytes
from tests.stores import small_store
from tests.test_source_tars import SHARDS

ERRORS = [errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before trying again."""
    monkeypatch.setattr(patience_module, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """Pictures in folders, and two tars."""
    folder = tmp_path / "mount"
    for number in range(12):
        (folder / f"{number % 3}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 3}" / f"{number:02}.jpg").write_bytes(picture_bytes(number))
    for name, data in SHARDS.items():
        (folder / name).write_bytes(data)
    return folder


class Away:
    """Lets calls about what lies below a folder fail, as they do while its server is away."""

    def __init__(self, folder: Path, first: int, last: float) -> None:
        """Fail the calls from the `first` one on, counted from 1, to the `last` one."""
        self._folder, self._first, self._last = os.fsencode(folder), first, last
        self.calls = Counter[str]()

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, which may fail."""

        def called(path: Any, *args: Any, **words: Any) -> Any:  # noqa: ANN401  # as the call itself
            if isinstance(path, bytes) and path.startswith(self._folder):
                self.calls[call.__name__] += 1
                number = self.calls[call.__name__]
                if self._first <= number <= self._last:
                    code = ERRORS[number % len(ERRORS)]
                    raise OSError(code, os.strerror(code), path)
            return call(path, *args, **words)

        return called


def test_outage_while_reading(mount: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no file can be read the readers pause; no file is given up, and the rows are those of a quiet job."""
    embed(mount / "2", tmp_path / "quiet", tiny_encoder)
    away = Away(mount, 2, 80)
    monkeypatch.setattr(folder_module, "open", away.before(open), raising=False)
    embed(mount / "2", tmp_path / "store", tiny_encoder)
    assert away.calls["open"] > 80
    assert all_rows(tmp_path / "store") == all_rows(tmp_path / "quiet")


@pytest.mark.parametrize(("call", "source"), [("scandir", ""), ("stat", ""), ("stat", "/*.tar"), ("open", "/*.tar")])
def test_outage_while_listing(
    *, mount: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, source: str
) -> None:
    """No folder, file or tar is left out because its server was away while it was listed; beyond --patience it ends."""
    embed(f"{mount}{source}", tmp_path / "quiet", tiny_encoder)
    holder, plain = (folder_module, open) if call == "open" else (os, getattr(os, call))

    def set_away(last: float) -> Away:
        away = Away(mount, 1, last)
        monkeypatch.setattr(holder, call, away.before(plain), raising=False)
        return away

    set_away(float("inf"))
    ended = embed_command(f"{mount}{source}", tmp_path / "store", tiny_encoder, "--patience", "0.05")
    assert (ended.exit_code, f"Cannot list b'{mount}" in ended.stderr) == (1, True), ended.output
    away = set_away(40)
    embed(f"{mount}{source}", tmp_path / "store", tiny_encoder)
    assert away.calls[call] > 40
    assert all_rows(tmp_path / "store") == all_rows(tmp_path / "quiet")


def test_file_that_a_disk_cannot_read(mount: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """One file of which the kernel says EIO, while others can be read, is tried again and then a row `read_failed`."""
    (mount / "0" / "bad.jpg").symlink_to("/proc/self/mem")  # whose first page nobody may read
    embed(mount / "0", tmp_path / "store", tiny_encoder)
    found = outcomes(tmp_path / "store")
    assert found.pop("bad.jpg") == "read_failed"
    assert set(found.values()) == {"embedded"}
    (row,) = (row for row in all_rows(tmp_path / "store") if row["key"] == "bad.jpg")
    assert row["error_detail"] == f"{os.strerror(errno.EIO)} at each of {patience_module.ATTEMPTS} attempts"


def test_store_on_a_mount(mount: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store whose mount is away when a job asks what is done is waited for; beyond --patience the job ends."""
    embed(mount / "2", tmp_path / "store", tiny_encoder)
    (parts,) = (tmp_path / "store").glob("*/images")
    plain, asked = Path.open, Counter[str]()

    def opened(path: Path, *args: Any, **words: Any) -> Any:  # noqa: ANN401  # as the call itself
        if path.parent == parts:
            asked["reads"] += 1
            if asked["reads"] <= limit:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return plain(path, *args, **words)

    monkeypatch.setattr(Path, "open", opened)
    limit = 10**9
    ended = embed_command(mount / "2", tmp_path / "store", tiny_encoder, "--patience", "0.05")
    assert ended.exit_code == 1
    assert "Stale file handle" in ended.stderr
    assert "Mend the mount" in ended.stderr
    limit = asked["reads"] + 30
    assert embed(mount / "2", tmp_path / "store", tiny_encoder).already_done == 4
    assert asked["reads"] > limit


def test_a_part_on_a_bad_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that a disk cannot read is no damaged file, and nobody is told to remove it; `verify` names it."""
    store = small_store(tmp_path)
    name = store.parts("images")[0]

    class Bad(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        readinto = read1 = read  # type: ignore[assignment]  # whichever is asked

    plain = FolderLocation.open
    monkeypatch.setattr(FolderLocation, "open", lambda place, one: Bad(b"x" * 99) if one == name else plain(place, one))
    with pytest.raises(NotNow, match=r"Input/output error\. Mend the mount or the disk"):
        read_part(store.location, name)
    report = verify(store)
    assert [name in said for said in report.unreadable] == [True]
