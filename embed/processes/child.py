"""One of several processes: reads its request from stdin and says how it goes in lines of JSON on stdout.

A program of its own and no fork: CUDA does not survive one. And no `multiprocessing`, which would run the main module
of whoever calls this library again.
"""

import json
import os
import pickle  # from the process that started this one
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from embed.notes import notes_to
from embed.progress import Tally
from embed.request import Started
from embed.start import run
from store.errors import ClipsieveError


def main() -> int:
    """Run one share; whatever libraries print goes to stderr."""
    request, prompts = pickle.load(sys.stdin.buffer)  # noqa: S301  # as above
    with os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8") as said:
        os.dup2(2, 1)

        tallies: list[Tally] = []

        def started(job: Started) -> Callable[[], None]:
            tallies.append(job.tally)
            _say(said, started={"encoder": job.encoder.to_json().decode(), "device": job.device})
            return lambda: _say(said, state=_state(job.tally))

        try:
            with notes_to(lambda words: _say(said, note=words)):
                summary = run(request, prompts, started)
        except ClipsieveError as error:
            _say(said, error={"kind": type(error).__name__, "what": error.what, "why": error.why, "do": error.do})
            return error.exit_code
        _say(said, summary=asdict(summary), state=_state(tallies[0]))
    return 0


def _state(tally: Tally) -> dict[str, Any]:
    """Return what a job of one process shows, and what shares of several are counted from."""
    return {**tally.state(), "available": tally.available}


def _say(to: TextIO, **what: object) -> None:
    to.write(json.dumps(what) + "\n")


if __name__ == "__main__":
    sys.exit(main())
