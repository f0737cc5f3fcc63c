"""`clipsieve demo` does for a newcomer what it says, and what it decides is compared with the truth."""

import csv
import json
import os
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import clipsieve
from embed.demo.command import PREFIX, SEED, THRESHOLDS
from embed.demo.judge import ANSWERS, auc, f1
from embed.demo.scenes import Drawn, write_scenes
from embed.demo.server import s3_server
from store.s3 import S3Options

PICTURES = 150


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    """What the demo draws, with what is true of it, by name."""
    return {one.name: one for one in write_scenes(PICTURES, SEED)}


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A small demo: where it lies, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "here"
    asked = CliRunner().invoke(clipsieve.main, ["demo", str(folder), "--pictures", str(PICTURES)])
    assert asked.exit_code == 0, asked.output
    return folder, asked.stdout


def _run(folder: Path) -> Path:
    """The first run of a demo."""
    return min((folder / "runs").iterdir())


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (_run(folder) / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return [{**row, "key": row["key"].removeprefix(f"{PREFIX}/")} for row in csv.DictReader(file)]


def test_every_object_is_accounted_for(shown: tuple[Path, str], drawn: dict[str, Drawn]) -> None:
    """The three manifests of the demo hold everything that it drew, each once."""
    folder, _ = shown
    keys = [row["key"] for name in ("removed", "kept", "errors") for row in _rows(folder, name)]
    assert sorted(keys) == sorted(drawn)


def test_what_is_damaged_on_purpose_fails_and_nothing_else(shown: tuple[Path, str], drawn: dict[str, Drawn]) -> None:
    """Just the files that were damaged on purpose stand in errors.csv."""
    folder, _ = shown
    damaged = sorted(name for name, one in drawn.items() if one.damage)
    assert [row["key"] for row in sorted(_rows(folder, "errors"), key=lambda row: row["key"])] == damaged
    assert damaged


@pytest.mark.parametrize(
    ("concept", "least_auc", "least_f1"), [("people", 0.97, 0.9), ("mask", 0.97, 0.88), ("sunglasses", 0.98, 0.9)]
)
def test_scores_agree_with_the_truth(
    shown: tuple[Path, str], drawn: dict[str, Drawn], concept: str, least_auc: float, least_f1: float
) -> None:
    """From bucket to score, the whole path tells what was drawn; masks and sunglasses are asked of faces."""
    folder, _ = shown
    rows = [row for name in ("removed", "kept") for row in _rows(folder, name)]
    known = [(row, truth) for row in rows if (truth := drawn[row["key"]].truth)]
    asked = [(row, truth) for row, truth in known if concept == "people" or truth.face]
    scores = np.array([float(row[concept]) for row, _ in asked])
    yes = np.array([ANSWERS[concept](truth) for _, truth in asked])
    assert auc(scores, yes) >= least_auc
    assert f1(scores, yes, THRESHOLDS[concept]) >= least_f1


def test_what_is_removed_is_covered(shown: tuple[Path, str], drawn: dict[str, Drawn]) -> None:
    """Nine in ten of what is removed shows a worn mask or dark glasses; nine in ten of what does is removed."""
    folder, _ = shown
    covered = {
        name
        for name, one in drawn.items()
        if one.truth and (one.truth.mask == "worn" or one.truth.glasses == "sunglasses")
    }
    removed = {row["key"] for row in _rows(folder, "removed")}
    assert len(removed & covered) >= 0.9 * len(removed)
    assert len(removed & covered) >= 0.9 * len(covered)


def test_it_says_what_the_encoder_is(shown: tuple[Path, str]) -> None:
    """The manifests say that the encoder is of no use on photographs."""
    folder, said = shown
    metadata = json.loads((_run(folder) / "run_metadata.json").read_text(encoding="utf-8"))
    assert "drawn scenes only" in metadata["warning"]
    assert "against the truth" in said


def test_the_report_holds_its_pictures(shown: tuple[Path, str]) -> None:
    """The run's report shows thumbnails from the file itself: nothing is fetched from anywhere."""
    folder, _ = shown
    sources: list[str] = []

    class Pictures(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # the library's signature
            sources.extend(str(value) for name, value in attrs if name in {"src", "href"})

    Pictures().feed((_run(folder) / "report.html").read_text(encoding="utf-8"))
    assert len(sources) >= 36 + 4 * 12
    assert all(source.startswith("data:image/webp;base64,") for source in sources)


def test_it_ends_with_a_cleaned_prefix(shown: tuple[Path, str]) -> None:
    """What is kept was copied and found equal by a listing, and undo would take back exactly this."""
    folder, said = shown
    kept = _rows(folder, "kept")
    size = sum(int(row["size_bytes"]) for row in kept)
    assert (
        f"cleaned/photos/ holds {len(kept):,} of the {len(kept):,} kept images, {size:,} bytes, and nothing else"
        in said
    )
    assert f"would take back {len(kept):,} objects" in said
    assert list(_run(folder).glob("apply/*/journal/*.parquet"))


def test_a_second_demo_embeds_nothing_and_overwrites_nothing(shown: tuple[Path, str]) -> None:
    """The demo can be run again in the same folder: its bucket holds the same bytes, so nothing is read again."""
    folder, _ = shown
    first = _run(folder)
    before = (first / "run_metadata.json").read_bytes()
    asked = CliRunner().invoke(clipsieve.main, ["demo", str(folder), "--pictures", str(PICTURES)])
    assert asked.exit_code == 0, asked.output
    assert f"{PICTURES} of them done before" in asked.stdout
    assert (first / "run_metadata.json").read_bytes() == before
    (second,) = {*(folder / "runs").iterdir()} - {first}
    keys = [pq.read_table(run / "removed.parquet", columns=["key", "etag", "people"]) for run in (first, second)]
    assert keys[0].equals(keys[1])


def test_what_it_tells_to_try_can_be_tried(shown: tuple[Path, str], tmp_path: Path) -> None:
    """The commands that the demo prints end well; those for a bucket of one's own are commands that there are."""
    folder, said = shown
    shutil.copytree(folder / "store", tmp_path / "store")
    ours, yours = said.split("What to try next")[1].split("The same with a bucket of yours")
    commands = [
        [line.strip() for line in part.splitlines() if line.startswith("  clipsieve ")] for part in (ours, yours)
    ]
    assert [len(lines) for lines in commands] == [4, 5]
    for command in commands[0]:
        asked = CliRunner().invoke(clipsieve.main, shlex.split(command.replace(str(folder), str(tmp_path)))[1:])
        assert asked.exit_code == 0, (command, asked.output)
    for command in commands[1]:
        assert CliRunner().invoke(clipsieve.main, [shlex.split(command)[1], "--help"]).exit_code == 0


def test_nobodys_own_credentials_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the demo's server runs, its own credentials stand in the environment; afterwards the user's do again."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "mine")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    with s3_server() as options:
        assert isinstance(options, S3Options)
        assert os.environ["AWS_ACCESS_KEY_ID"] == "demo"
        assert "AWS_PROFILE" not in os.environ
    assert os.environ["AWS_ACCESS_KEY_ID"] == os.environ["AWS_PROFILE"] == "mine"


def test_on_anything_else_the_tool_warns(photos: Path, tmp_path: Path) -> None:
    """`--encoder demo` on other pictures says once that its scores mean nothing there."""
    words = ["embed", str(photos), "--store", str(tmp_path / "store"), "--encoder", "demo"]
    asked = CliRunner().invoke(clipsieve.main, words)
    assert asked.exit_code == 0, asked.output
    assert asked.stderr.count("drawn scenes only") == 1
