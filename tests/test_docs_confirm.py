"""docs/confirm.md, typed: with a tiny detector in the place of the published one."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from store.schema import MEASUREMENTS
from tests.commands import typed
from tests.confirming import scored_store, write_pictures
from tests.tiny_detector import write_tiny_detector

PAGE = (Path(__file__).parents[1] / "docs" / "confirm.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def detector(tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with `./store`, and the folder of a tiny OWLv2."""
    pytest.importorskip("transformers", reason="a local detector needs the detect extra")
    scored_store(write_pictures(tmp_path / "pictures"), tmp_path / "store", tiny_encoder)
    monkeypatch.chdir(tmp_path)
    return write_tiny_detector(tmp_path / "owl", "owlv2")


def test_the_pages_commands_can_be_typed(detector: Path) -> None:
    """Every command of the page ends well, the policy too, and what they show is what was looked at."""
    (road,) = (block for block in blocks("") if block.startswith("clipsieve"))
    for line in road.splitlines():
        words = shlex.split(line)[1:]
        local = ["--weights", str(detector), "--device", "cpu"] if words[0] == "confirm" else []
        asked = typed(*words, *local)
        assert asked.exit_code == 0, (line, asked.output)
    (policy,) = blocks("toml")
    Path("confirmed.toml").write_text(policy, encoding="utf-8")
    (command,) = re.findall(r"^# confirmed.toml: clipsieve (.*)$", policy, flags=re.MULTILINE)
    assert typed(*shlex.split(command)).exit_code == 0


def test_the_pages_python_runs(detector: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's Python plans, shows and looks."""
    (code,) = blocks("python")
    names: dict[str, Any] = {}
    exec(code.replace('"owlv2",', f'"owlv2", weights={str(detector)!r}, device="cpu",'), names)  # noqa: S102  # the page's own
    assert capsys.readouterr().out.startswith("3 None ('owlv2_person',)")


def test_the_page_names_every_column() -> None:
    """The page leaves out no column of `measurements`."""
    for name in MEASUREMENTS.names:
        assert f"`{name}`" in PAGE, name
