"""The interactive prompt: SQL over the views until a `;`, with history and completion; an error does not end it.

A line that begins with a dot is a word to the prompt itself; `.help` lists these.
"""

import difflib
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
from prompt_toolkit import PromptSession
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from query.asking.completion import DOT_WORDS, Words
from query.asking.cookbook import parse_settings, recipes
from query.asking.headers import described_views
from query.output import counted, show
from query.session import Session
from sql import load
from store.errors import ClipsieveError, UnknownName, UsageError

ROWS = 100
"""An answer on the screen ends here; `--format` and `--out` give all of it."""

_HELP = (
    ("SELECT …;", "ask; a question may have many lines and ends with a semicolon"),
    (".views", "what can be asked; `describe images;` lists a view's columns"),
    (".cookbook", "questions that have a name"),
    (".cookbook NAME [parameter=value …]", "ask one of them"),
    (".help", "this list"),
    (".quit, or Ctrl-D", "leave; Ctrl-C clears the line, or ends a question that takes too long"),
)


def run_console(session: Session) -> None:
    """Answer what is typed until Ctrl-D or `.quit`."""
    _say(f"{session.store.location.uri}: .help says what can be typed, Ctrl-D leaves.")
    prompt: PromptSession[str] = PromptSession(
        "clipsieve> ",
        multiline=True,
        prompt_continuation=lambda width, _line, _wrapped: "...> ".rjust(width),
        key_bindings=_keys(),
        completer=Words([row["word"] for row in session.sql(load("asking/words")).to_pylist()]),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        history=_history(),
    )
    while True:
        try:
            text = prompt.prompt().strip()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if text == ".quit":
            return
        if text:
            _answer(session, text)


def is_whole(text: str) -> bool:
    """Return whether Enter sends it: a question with its semicolon, a word of the prompt's own, or nothing."""
    text = text.strip()
    return not text or text.startswith(".") or text.endswith(";")


def _answer(session: Session, text: str) -> None:
    try:
        if text.startswith("."):
            _dot_word(session, text)
        else:
            _ask(lambda: session.sql(text, at_most=ROWS + 1))
    except ClipsieveError as error:
        _say(str(error))
    except KeyboardInterrupt:
        _say("Ended.")


def _ask(question: Callable[[], pa.Table]) -> None:
    began = time.perf_counter()
    table = question()
    seconds = time.perf_counter() - began
    show(table.column_names, [list(row.values()) for row in table.slice(0, ROWS).to_pylist()])
    rows = counted(table.num_rows)
    if table.num_rows > ROWS:
        rows = f"The first {ROWS} rows; `clipsieve sql STORE QUERY --out FILE.csv` keeps all"
    _say(f"{rows}, {seconds:.2f} s")


def _dot_word(session: Session, text: str) -> None:
    word, *more = _split(text)
    if word == ".help":
        show(["type", "to"], _HELP)
    elif word == ".views":
        show(["view", "what it holds"], [*described_views()])
    elif word == ".cookbook" and more:
        settings = parse_settings(more[1:])
        _ask(lambda: session.cookbook(more[0], **settings))
    elif word == ".cookbook":
        show(["name", "what it answers", "parameters"], [[r.name, r.sentence, r.words] for r in recipes()])
    else:
        nearest = difflib.get_close_matches(word, DOT_WORDS, 1, 0)
        raise UnknownName(f"There is no {word!r} here.", do=f"Nearest: {nearest[0]}. A question ends with a semicolon.")


def _split(text: str) -> list[str]:
    """Return the words of a line, as a shell parts them."""
    try:
        return shlex.split(text.rstrip(";"))
    except ValueError as error:
        raise UsageError(f"A quote is left open in {text!r}.") from error


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.complete_state and buffer.complete_state.current_completion:
            buffer.complete_state = None
        elif is_whole(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.newline()

    return keys


def _history() -> History:
    """Return the user's own history, which nobody else may read; one that is forgotten where no file can be kept."""
    try:
        place = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "clipsieve" / "sql_history"
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.touch(mode=0o600)
    except (OSError, RuntimeError):  # read-only, or no home
        return InMemoryHistory()
    return FileHistory(place) if os.access(place, os.W_OK) else InMemoryHistory()
