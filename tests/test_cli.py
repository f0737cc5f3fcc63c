"""The commands of pass 2 as a user types them: what they print, in every format, and how they end."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import clipsieve
from store.errors import ClipsieveError, NotScored, QueryRefused, UnknownName
from tests.commands import one_line, parsed, typed
from tests.stores import (
    ENCODER,
    HashTower,
    add_part,
    ask,
    embedded,
    listed,
    new_store,
    only_run,
    small_store,
    stepped_store,
)

TEXT_TOWER = clipsieve._text_tower
COMMANDS = ["status", "score", "sweep", "select", "sql", "export", "verify"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that holds `store`, in which the user stands: twelve images that score 0, 1/12, 2/12, … as people."""
    stepped_store(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def _tower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text tower is at hand."""
    monkeypatch.setattr(clipsieve, "_text_tower", lambda _held, _words: HashTower())


# help, names and exit codes


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    """`--help` and `-h` answer with STORE, the options and a sentence, and need no store."""
    result = typed(command, "--help")
    assert result.exit_code == 0
    assert "STORE" in result.stdout
    assert "--endpoint-url" in result.stdout
    assert typed(command, "-h").stdout == result.stdout


def test_version() -> None:
    """`--version` says the installed version."""
    assert typed("--version").stdout == f"clipsieve, version {clipsieve.__version__}\n"


@pytest.mark.parametrize(("word", "meant"), [("sweeep", "sweep"), ("exprot", "export"), ("qsl", "sql")])
def test_an_unknown_command_is_answered_with_the_nearest(word: str, meant: str) -> None:
    """A misspelt command is wrong use, and the nearest one is named."""
    result = typed(word, "store")
    assert result.exit_code == 2
    assert f"There is no command {word!r}. Did you mean {meant!r}?" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("zzzzzz",),
        ("sql",),
        ("sweep", "store"),
        ("sweep", "store", "people", "--steps", "0"),
        ("sweep", "store", "people", "--format", "xml"),
        ("export", "store", "people-strict"),
        ("select", "store", "people-strict", "--nearest", "-1"),
        ("export", "store", "--remove", "people >= 0.5"),
        ("status", "store", "--no-such-option"),
    ],
)
def test_wrong_words_are_wrong_use(words: tuple[str, ...]) -> None:
    """Missing arguments and unknown options end with 2 and say how the command is used."""
    result = typed(*words)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("status", "nowhere"), 1, r"no clipsieve store at .*nowhere"),
        (("sweep", "store", "mask"), 1, r"mask has no scores yet\. Run `clipsieve score STORE mask`"),
        (("sweep", "store", "peeple"), 2, r"'peeple'.*Nearest: people"),
        (("score", "store", "poeple"), 2, r"no concept 'poeple'.*Nearest: people"),
        (("score", "store", "no.toml"), 2, r"Cannot read the concept file no\.toml"),
        (("sql", "store", "copy images to 'x.csv'"), 1, r"This is a COPY statement"),
        (("export", "store", "--remove", "peeple > 1", "--to", "run"), 2, r"nearest column is 'people'"),
        (("export", "store", "--remove", "people > 1", "--to", "store"), 2, r"store is a store\."),
        (("status", "store", "--encoder", "Tinny"), 2, r"No encoder .* is 'Tinny'\. It holds: Tiny-synthetic-"),
        (("status", "s3:///prefix"), 1, r"names no bucket"),
    ],
)
def test_an_error_is_one_line(words: tuple[str, ...], code: int, says: str) -> None:
    """What goes wrong is one line on stderr that starts with the tool's name, and an exit code; never a traceback."""
    result = typed(*words)
    assert result.exit_code == code
    line = one_line(result)
    assert line.startswith("clipsieve: ")
    assert re.search(says, line)


def test_without_torch_one_sentence(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where new prompts need the text tower and it is not installed, one line says what to install or where to run."""
    monkeypatch.setattr(clipsieve, "_text_tower", TEXT_TOWER)
    monkeypatch.setitem(sys.modules, "embed.encoders", None)
    result = typed("score", "store", "mask")
    assert result.exit_code == 2
    line = one_line(result)
    assert "pip install 'clipsieve[embed]'" in line
    assert "where Tiny was embedded" in line


# score and sweep


def test_score_says_what_it_did() -> None:
    """`score` names the concepts, how many parts were new and how many prompts were encoded."""
    assert typed("score", "store", "mask").stdout == "Scored mask, people: 2 of 2 parts, 16 prompts encoded.\n"
    assert typed("score", "store", "mask").stdout == "Scored mask, people: nothing was missing.\n"
    assert typed("score", "store").stdout.startswith("Scored mask, people, sunglasses: 2 of 2 parts")


def test_a_concept_of_ones_own(place: Path) -> None:
    """A TOML file brings a concept, which can be swept by its name."""
    (place / "mine.toml").write_text(
        '[concept.night]\npositive = ["at night"]\nnegative = ["at noon"]\nthreshold = 0.3\n'
    )
    assert "night" in typed("score", "store", "mine.toml").stdout
    (suggested,) = [line for line in typed("sweep", "store", "night").stdout.splitlines() if "suggested" in line]
    assert suggested.split()[0] == "0.30"


def test_the_sweep_for_people() -> None:
    """A bar for each threshold, as long as the share that it removes, and a mark at the suggested one."""
    lines = typed("sweep", "store", "people", "--steps", "4").stdout.splitlines()[2:]
    assert lines[0].split() == ["threshold", "removed", "kept", "share", "removed"]
    rows = [re.split(r" {2,}", line.strip(), maxsplit=4) for line in lines[1:]]
    assert [row[:4] for row in rows] == [
        ["0.00", "12", "0", "100.00%"],
        ["0.25", "9", "3", "75.00%"],
        ["0.50", "6", "6", "50.00%"],
        ["0.75", "3", "9", "25.00%"],
        ["1.00", "0", "12", "0.00%"],
    ]
    assert [row[4].count("█") for row in rows[:4]] == [40, 30, 20, 10]
    assert [k for k, line in enumerate(lines) if "<- suggested" in line] == [3]


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_the_sweep_for_machines(kind: str) -> None:
    """101 rows of threshold, removed, kept and share."""
    rows = parsed(typed("sweep", "store", "people", "--format", kind), kind)
    assert len(rows) == 101
    assert set(rows[0]) == {"threshold", "removed", "kept", "removed_share"}
    assert {int(row["removed"]) + int(row["kept"]) for row in rows} == {12}
    assert float(rows[50]["removed_share"]) == 0.5


# export


def test_export_says_what_it_removed(place: Path) -> None:
    """The counts, the rules and the place are printed; the manifests are there; the end is 0."""
    result = typed("export", "store", "--remove", "people >= 0.9", "--remove", "width_px < 5", "--to", "run")
    assert result.exit_code == 0
    assert result.stdout.startswith("Removed 1 (7.1%), kept 11, errors 2; listed 14.\n")
    assert [line.split() for line in result.stdout.splitlines()[1:4]] == [
        ["rule", "action", "decides", "holds", "for"],
        ["1", "people", ">=", "0.9", "remove", "1", "1"],
        ["2", "width_px", "<", "5", "remove", "0", "0"],
    ]
    run = only_run(place / "run")
    assert f"Written to {run}: errors.csv, " in result.stdout
    assert len(list(run.iterdir())) == 11


def test_pending_objects_end_with_3(place: Path) -> None:
    """Objects that no run has read yet stand in errors.csv, and the export ends as one to look at."""
    small_store(place / "late", pending=["new.jpg"])
    result = typed("export", "late", "--remove", "width_px < 5", "--to", "run")
    assert result.exit_code == 3
    assert "1 objects have not been read yet" in result.stderr
    with (only_run(place / "run") / "errors.csv").open(newline="") as file:
        reasons = {row["key"]: row["error_code"] for row in csv.DictReader(file)}
    assert reasons["in/new.jpg"] == "not_read_yet"


# status and verify


def test_status_for_machines() -> None:
    """`status --format json` has the sources with their counts, the encoder's identity, errors, runs and scores."""
    (status,) = parsed(typed("status", "store", "--format", "json"), "json")
    assert status["encoder"]["encoder_id"] == ENCODER.encoder_id
    assert (status["encoder"]["embedding_dim"], status["encoder"]["weights_sha256"]) == (32, "b" * 64)
    (source,) = status["sources"]
    assert source == {
        "source": "s3://photos/in/",
        "objects": 14,
        "embedded": 12,
        "failed": 1,
        "not_an_image": 1,
        "pending": 0,
        "size_bytes": 13_007,
    }
    assert status["errors"] == [{"error_code": "truncated", "images": 1, "example": "s3://photos/in/broken.jpg"}]
    assert status["scores"] == [{"concept": "people", "threshold": 0.5, "parts": 2, "of_parts": 2}]
    assert [run["images"] for run in status["runs"]] == [14]
    assert (status["images_recorded"], status["no_longer_listed"], status["parts"]) == (14, 0, 2)
    assert status["size_bytes"]["images"] > 0


@pytest.mark.parametrize("kind", ["csv", "json", "parquet"])
def test_status_in_every_format(place: Path, kind: str) -> None:
    """Also a store without anything in it has a status in every format."""
    new_store(place / "empty")
    for store in ("store", "empty"):
        (row,) = parsed(typed("status", store, "--format", kind), kind)
        assert row["store"].endswith(ENCODER.encoder_id)


def test_status_for_people() -> None:
    """Sources, failed images and scores are tables of their own."""
    output = typed("status", "store").stdout
    for words in ("Sources", "s3://photos/in/", "Failed images", "truncated", "Scores", "people", ENCODER.encoder_id):
        assert words in output


def test_an_empty_store(place: Path) -> None:
    """A store whose source was never listed to its end says so; nothing fails."""
    new_store(place / "empty")
    assert "No source has been listed to its end yet" in typed("status", "empty").stdout
    assert typed("sql", "empty", "from images", "--format", "json").stdout == "[]\n"
    assert typed("verify", "empty").exit_code == 0


def test_random_weights_are_noted(place: Path) -> None:
    """Every answer from random weights says on stderr that it means nothing."""
    new_store(place / "random", dataclasses.replace(ENCODER, weights_origin="random", weights_sha256="c" * 64))
    result = typed("sql", "random", "select 1 as x")
    assert "Random weights" in result.stderr
    assert "RANDOM WEIGHTS" in typed("status", "random").stdout


def test_verify(place: Path) -> None:
    """A sound store ends with 0; a cut file and a doubled image end with 1 and are named."""
    result = typed("verify", "store")
    assert result.exit_code == 0
    assert result.stdout.endswith("Sound.\n")
    store = clipsieve.open("store").store
    add_part(store, [embedded(listed("in/00.jpg"))], part=9)
    doubled = typed("verify", "store")
    assert doubled.exit_code == 1
    assert "FAULT  one_outcome: 1 rows" in doubled.stderr
    path = Path(store.location.uri, store.parts("images")[0])
    path.write_bytes(path.read_bytes()[:-100])
    cut = typed("verify", "store")
    assert cut.exit_code == 1
    assert path.name in cut.stderr


# the library, and a process of its own


def test_the_library(place: Path) -> None:
    """What the commands do, `clipsieve.open` does, and raises the errors that the commands print."""
    store = clipsieve.open(str(place / "store"))
    assert store.sql("select count(*) as n from images").to_pylist() == [{"n": 14}]
    assert store.sweep("people").num_rows == 101
    assert store.threshold("people") == 0.5
    assert store.export("run", remove=["people >= 0.5"]).removed == 6
    assert store.status().images_recorded == 14
    assert store.verify().sound
    assert ask(store.store, HashTower()).score("mask").parts_scored == 2
    for call, error in (
        (lambda: store.sweep("sunglasses"), NotScored),
        (lambda: store.threshold("x"), UnknownName),
        (lambda: store.sql("drop view images"), QueryRefused),
        (lambda: clipsieve.open("nowhere"), ClipsieveError),
    ):
        with pytest.raises(error):
            call()


def test_a_process_of_its_own(place: Path) -> None:
    """As a command and as a library in fresh processes: the same answer, quiet stderr, no traceback, no torch."""
    code = (
        "import sys, clipsieve; print(clipsieve.open('store').sql('select count(*) as n from scores').to_pylist());"
        "assert not {'torch', 'open_clip', 'PIL', 'boto3.s3'} & set(sys.modules)"
    )
    library = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (library.returncode, library.stdout, library.stderr) == (0, "[{'n': 12}]\n", "")
    command = [sys.executable, "-m", "clipsieve", "sql", "store"]
    answered = subprocess.run(
        [*command, "select count(*) as n from scores", "--format", "json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (answered.returncode, json.loads(answered.stdout), answered.stderr) == (0, [{"n": 12}], "")
    refused = subprocess.run([*command, "drop view images"], capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("clipsieve: This is a DROP statement")
    assert len(refused.stderr.splitlines()) == 1
