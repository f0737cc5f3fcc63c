"""What a job has to say while it runs, one sentence at a time: on stderr, unless somebody else listens.

The logger is `clipsieve`, so a program that calls the library decides what becomes of it.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger("clipsieve")


def note(words: str) -> None:
    """Say it; where nobody has set up logging, Python writes it to stderr."""
    _LOGGER.warning(words)


@contextmanager
def notes_to(listener: Callable[[str], None]) -> Iterator[None]:
    """Let `listener` have what is said, in place of stderr, for as long as the block runs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            listener(record.getMessage())

    handler, before = Handler(), _LOGGER.propagate
    _LOGGER.addHandler(handler)
    _LOGGER.propagate = False
    try:
        yield
    finally:
        _LOGGER.propagate = before
        _LOGGER.removeHandler(handler)


def as_json(words: str) -> str:
    """Return one line for machines."""
    return json.dumps({"event": "note", "note": words})
