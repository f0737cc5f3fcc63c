"""What docs/apply.md says can be typed, typed."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests import buckets
from tests.commands import typed
from tests.facesets import draw
from tests.runs import row_of, write_run
from tests.servers.moto_server import MotoServer

PAGE = (Path(__file__).parents[1] / "docs" / "apply.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return [text for of, text in found if of == language]


def _commands(word: str) -> list[list[str]]:
    lines = [line for block in _blocks("") for line in block.splitlines() if line.startswith("clipsieve ")]
    return [shlex.split(line)[1:] for line in lines if word in line]


@pytest.fixture
def run(s3: MotoServer, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run that the page means, of a bucket of that name; the working folder holds it."""
    monkeypatch.chdir(tmp_path)
    buckets.put(bucket, "in/a.jpg", b"picture")
    write_run(tmp_path / "runs" / "strict", [f"s3://{bucket}/in/"], kept=[row_of(bucket, "in/a.jpg", b"picture")])
    return bucket


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_the_road_to_a_prefix_and_back(run: str) -> None:
    """Each command ends well: the plan, the copies, what would go back, and going back."""
    seen = []
    for words in _commands("strict"):
        done = typed(*(word.replace("s3://bucket/", f"s3://{run}/") for word in words))
        assert done.exit_code == 0, (words, done.output)
        seen.append(len(buckets.contents(run, "cleaned/train/")))
    assert seen == [0, 1, 1, 0]


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_the_python_of_the_page(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's Python does the same."""
    (code,) = _blocks("python")
    names: dict[str, Any] = {}
    exec(code.replace("s3://bucket/", f"s3://{run}/"), names)  # noqa: S102  # the page's own code
    assert capsys.readouterr().out == "1 7 {'COPY': 1, 'HEAD': 2, 'LIST': 2}\nTrue\n"


def test_the_road_in_place_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command of the section on folders ends well."""
    monkeypatch.chdir(tmp_path)
    tree = draw(tmp_path / "tree", 4, seed=3)
    tree.run(tmp_path / "runs" / "occlusion")
    commands = _commands("occlusion")
    assert len(commands) == 3
    for words in commands:
        done = typed(*words)
        assert done.exit_code == 0, (words, done.output)
