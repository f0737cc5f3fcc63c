"""The interactive prompt, typed at as a person does: what it answers, what it survives, and what it remembers."""

import io
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

import clipsieve
from query.asking import console
from query.asking.completion import Words
from query.asking.console import ROWS, is_whole, run_console
from query.asking.cookbook import recipes
from query.views import VIEWS
from sql import load
from store.layout import EncoderStore
from tests.stores import ask, files_of, put_scores, small_store

ENTER, CTRL_C, CTRL_D = "\r", "\x03", "\x04"


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images with scores."""
    return put_scores(small_store(tmp_path / "store"), {"people": {f"in/{k:02}.jpg": k / 12 for k in range(12)}})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of one's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "home" / "state"))
    return tmp_path / "home"


@pytest.fixture
def keyboard() -> Iterator[PipeInput]:
    """What is typed before the prompt opens waits there."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        yield keys


@pytest.fixture
def conversation(store: EncoderStore, keyboard: PipeInput, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type these, then leave; return what was answered."""

    def converse(*typed: str) -> str:
        keyboard.send_text("".join(typed))
        run_console(ask(store))
        return capsys.readouterr().out

    return converse


def test_a_question_has_many_lines_and_ends_with_a_semicolon(conversation: Callable[..., str]) -> None:
    """Enter goes on until there is a semicolon; then the question is answered, with the number of rows."""
    said = conversation("select uri", ENTER, "from images", ENTER, "where status = 'failed';", ENTER, CTRL_D)
    assert "s3://photos/in/broken.jpg" in said
    assert "1 row, " in said


def test_an_error_does_not_end_it(conversation: Callable[..., str]) -> None:
    """What is wrong is said, and the next question is answered."""
    said = conversation(
        *("selec 1;", ENTER, "drop view images;", ENTER, "select peeple from scores;", ENTER),
        *("select 40 + 2 as answer;", ENTER, CTRL_D),
    )
    assert 'syntax error at or near "selec"' in said
    assert "open for reading only" in said
    assert '"peeple" not found' in said
    assert "42" in said


def test_control_c_clears_what_is_typed(conversation: Callable[..., str]) -> None:
    """Ctrl-C drops the lines so far and nothing else."""
    said = conversation("select 'dropped'", ENTER, "from", CTRL_C, "select 'kept';", ENTER, CTRL_D)
    assert "kept" in said
    assert "dropped" not in said


@pytest.mark.parametrize("leave", [CTRL_D, f".quit{ENTER}"])
def test_it_is_left(conversation: Callable[..., str], leave: str) -> None:
    """Ctrl-D and .quit leave; what is typed after that is not read, and an empty line is nothing."""
    said = conversation(ENTER, leave, "select 'too late';", ENTER)
    assert "too late" not in said


def test_a_question_that_takes_too_long_is_ended(store: EncoderStore, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while DuckDB works ends the question and not the conversation, whose next question is answered."""
    long = "select count(*) from range(1_000_000_000) a, range(1_000_000_000) b where (a.range * b.range) % 7 = 3;"
    session = ask(store)
    session.sql("select 1")  # opened, so that the signal meets the question itself
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs this in background
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text(f"{long}{ENTER}select 'go on';{ENTER}{CTRL_D}")
        with pytest.MonkeyPatch.context() as patched:
            real = session.sql

            def started(query: str, **words: int) -> object:
                if query == long:
                    timer.start()
                return real(query, **words)

            patched.setattr(session, "sql", started)
            run_console(session)
    signal.signal(signal.SIGINT, before)
    said = capsys.readouterr().out
    assert "Ended." in said
    assert "go on" in said


def test_a_long_answer_is_cut(conversation: Callable[..., str]) -> None:
    """The screen gets the first rows, and is told how to have all; no more than these are computed."""
    said = conversation("select i, 'row' as word from range(1_000_000_000_000) as t (i);", ENTER, CTRL_D)
    assert said.count("row\n") + said.count("row \n") == ROWS
    assert f"The first {ROWS} rows" in said
    assert "--out" in said


def test_the_prompts_own_words(conversation: Callable[..., str]) -> None:
    """.help, .views and .cookbook list what there is, and .cookbook NAME asks with parameters."""
    said = conversation(
        *(".help", ENTER, ".views", ENTER, ".cookbook", ENTER, ".cookbook highest rows=1", ENTER),
        *(".cookbook percentiles concept='people';", ENTER, CTRL_D),
    )
    for word in (*VIEWS, *(recipe.name for recipe in recipes()), "Ctrl-D", "at_percent"):
        assert word in said, word
    assert "s3://photos/in/11.jpg" in said


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (".cokbook", "Nearest: .cookbook"),
        (".cookbook hihgest", "Nearest: highest"),
        (".cookbook highest row=1", "Nearest: rows"),
        (".cookbook highest rows", "sets nothing"),
        (".cookbook similar_to_text text='a dog", "A quote is left open"),
    ],
)
def test_a_wrong_word_is_answered(conversation: Callable[..., str], typed: str, says: str) -> None:
    """An unknown word, name or parameter is said with the nearest one, an open quote is no end of it all."""
    assert says in conversation(typed, ENTER, "select 1;", ENTER, CTRL_D)


def test_history_is_kept_for_its_owner_alone(conversation: Callable[..., str], home: Path) -> None:
    """What was typed can be had again, today and tomorrow, and no other user may read it; the store stays as it is."""
    conversation("select 'first';", ENTER, CTRL_D)
    kept = home / "state" / "clipsieve" / "sql_history"
    assert "select 'first';" in kept.read_text()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700


def test_an_older_question_is_asked_again(
    store: EncoderStore, keyboard: PipeInput, capsys: pytest.CaptureFixture[str]
) -> None:
    """The arrow up brings back what was asked, in an earlier conversation too."""
    for typed in (f"select 1 + 41 as answer;{ENTER}{CTRL_D}", f"\x10{ENTER}{CTRL_D}"):  # Ctrl-P: the one before
        keyboard.send_text(typed)
        run_console(ask(store))
        assert "42" in capsys.readouterr().out


def test_without_a_home_nothing_is_remembered(
    conversation: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no history can be kept, questions are answered all the same."""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert "42" in conversation("select 42;", ENTER, CTRL_D)


def test_nothing_is_written_to_the_store(conversation: Callable[..., str], tmp_path: Path) -> None:
    """Whatever is asked, the store's files stay as they are."""
    before = files_of(tmp_path / "store")
    typed = ("copy images to 'x.csv';", "create table t as select 1;", ".cookbook formats", "select 1;")
    conversation(*(f"{line}{ENTER}" for line in typed), CTRL_D)
    assert files_of(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", True),
        ("select 1", False),
        ("select 1;", True),
        ("select 1 ;\n ", True),
        ("select ';'", False),
        (".help", True),
        ("  .cookbook x", True),
    ],
)
def test_what_enter_sends(text: str, whole: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """A question is whole with its semicolon, a word of the prompt's own with its line."""
    assert is_whole(text) == whole


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("sel", {"select"}),
        ("select * from sc", {"scores", "score_values"}),
        ("select wid", {"width_px"}),
        ("select SIM", {"similarity", "similarity_to_image"}),
        ("select count(*)\nfrom current_im", {"current_images"}),
        (".coo", {".cookbook"}),
        (".cookbook nea", {"nearest_to_threshold"}),
        (".cookbook nearest_to_threshold thr", {"threshold="}),
        (".cookbook nothing thr", set()),
        ("xyz", set()),
    ],
)
def test_tab_completes(store: EncoderStore, line: str, found: set[str]) -> None:
    """Words of SQL, views, columns and macros; after a dot the prompt's own words, questions and their parameters."""
    words = Words([row["word"] for row in ask(store).sql(load("asking/words")).to_pylist()])
    completions = words.get_completions(Document(line), CompleteEvent(completion_requested=True))
    assert {completion.text for completion in completions} >= found
    if not found:
        assert not list(words.get_completions(Document(line), CompleteEvent(completion_requested=True)))


def test_tab_completes_as_one_types(conversation: Callable[..., str]) -> None:
    """Where only one word fits, Tab writes it."""
    assert "42" in conversation("sele\t 42 as answ;", ENTER, CTRL_D)


class Terminal(io.TextIOWrapper):
    """A stream with a person at its end."""

    def isatty(self) -> bool:
        """True."""
        return True


@pytest.mark.parametrize("kind", [Terminal, io.TextIOWrapper])
def test_the_prompt_opens_at_a_terminal(
    store: EncoderStore, monkeypatch: pytest.MonkeyPatch, kind: type[io.TextIOWrapper]
) -> None:
    """`clipsieve sql STORE` opens the prompt where a person sits there, and reads a query where none does."""
    asked: list[object] = []
    monkeypatch.setattr(console, "run_console", asked.append)
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(b"select 'read' as word")))
    monkeypatch.setattr(sys, "stdout", kind(written, write_through=True))
    clipsieve.main.main(["sql", store.location.uri.rpartition("/")[0]], standalone_mode=False)
    assert bool(asked) == (kind is Terminal)
    assert (b"read" in written.getvalue()) == (kind is not Terminal)
