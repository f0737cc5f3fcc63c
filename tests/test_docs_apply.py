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
from tests.stores import only_run, stepped_store

PAGE = (Path(__file__).parents[1] / "docs" / "apply.md").read_text(encoding="utf-8")


EXPORT_PAGE = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
def test_the_page_of_exports(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and the Python of docs/export.md end well, and the page names every file and column of a run."""
    monkeypatch.chdir(tmp_path)
    stepped_store(tmp_path / "store")
    (commands,) = re.findall(r"^```\n(clipsieve .*?)^```", EXPORT_PAGE, flags=re.MULTILINE | re.DOTALL)
    for line in commands.splitlines():
        words = shlex.split(line.replace("s3://bucket/", f"s3://{bucket}/"))[1:]
        if words[0] == "presign":
            words[1] = words[1].replace("RUN_ID", only_run(tmp_path / "runs").name)
        done = typed(*words)
        assert done.exit_code == 0, (words, done.output)
    run = only_run(tmp_path / "runs")
    names = {path.name for path in run.iterdir()} - {"presigned"}
    assert {name for name in names if name not in EXPORT_PAGE} == set()
    columns = {name for path in run.glob("**/*.csv") for name in path.read_text().partition("\n")[0].split(",")}
    assert {name for name in columns - {"people"} if f"`{name}`" not in EXPORT_PAGE} == set()
    (code,) = re.findall(r"^```python\n(.*?)^```", EXPORT_PAGE, flags=re.MULTILINE | re.DOTALL)
    names_there: dict[str, Any] = {}
    exec(code, names_there)  # noqa: S102  # the page's own code
    assert names_there["run"].listed == 14
