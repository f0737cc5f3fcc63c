"""`clipsieve demo` does for a newcomer what it says."""

import csv
import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

import clipsieve
from embed.demo.command import SEED
from embed.demo.scenes import write_scenes

PICTURES = 40


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A demo of a few pictures: where it lies, and what it said."""
    folder = tmp_path_factory.mktemp("demo") / "here"
    asked = CliRunner().invoke(clipsieve.main, ["demo", str(folder), "--pictures", str(PICTURES)])
    assert asked.exit_code == 0, asked.output
    return folder, asked.stdout


def test_every_file_is_accounted_for(shown: tuple[Path, str]) -> None:
    """The three manifests of the demo hold every file that it drew, each once."""
    folder, said = shown
    rows = []
    for name in ("removed", "kept", "errors"):
        with (folder / "run-1" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            rows += [row["key"] for row in csv.DictReader(file)]
    drawn = [str(path.relative_to(folder / "photos")) for path in (folder / "photos").rglob("*") if path.is_file()]
    assert sorted(rows) == sorted(drawn)
    assert len(drawn) == PICTURES
    assert f"of {PICTURES}" in said


def test_what_is_damaged_on_purpose_fails_and_nothing_else(shown: tuple[Path, str]) -> None:
    """Just the files that were damaged on purpose stand in errors.csv."""
    folder, _ = shown
    damaged = sorted(drawn.name for drawn in write_scenes(PICTURES, SEED) if drawn.damage)
    with (folder / "run-1" / "errors.csv").open(encoding="utf-8", newline="") as file:
        assert sorted(row["key"] for row in csv.DictReader(file)) == damaged
    assert damaged


def test_it_says_that_the_weights_are_random(shown: tuple[Path, str]) -> None:
    """Terminal and metadata both say that no score means anything."""
    folder, said = shown
    metadata = json.loads((folder / "run-1" / "run_metadata.json").read_text(encoding="utf-8"))
    assert "random" in said
    assert "random weights" in metadata["warning"]


def test_a_second_demo_embeds_nothing_and_overwrites_nothing(shown: tuple[Path, str]) -> None:
    """The demo can be run again in the same folder."""
    folder, _ = shown
    first = (folder / "run-1" / "run_metadata.json").read_bytes()
    asked = CliRunner().invoke(clipsieve.main, ["demo", str(folder), "--pictures", str(PICTURES)])
    assert asked.exit_code == 0, asked.output
    assert f"{PICTURES} of them done before" in asked.stdout
    assert (folder / "run-1" / "run_metadata.json").read_bytes() == first
    assert sorted(path.name for path in folder.glob("run-*")) == ["run-1", "run-2"]


def test_what_it_tells_to_try_can_be_tried(shown: tuple[Path, str]) -> None:
    """The commands that the demo prints, but for the one that needs real weights, end well."""
    _, said = shown
    commands = [line.strip() for line in said.splitlines() if line.startswith("  clipsieve ")]
    assert len(commands) == 5
    for command in commands[:-1]:
        asked = CliRunner().invoke(clipsieve.main, shlex.split(command)[1:])
        assert asked.exit_code == 0, (command, asked.output)
