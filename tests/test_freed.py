"""What a part leaves behind in memory."""

import sys
from pathlib import Path

import pytest

from embed.freed import give_back_freed_memory


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells what is resident")
@pytest.mark.skipif("musl" in sys.implementation._multiarch, reason="musl's malloc gives back by itself")
def test_freed_memory_goes_back() -> None:
    """Pages of pieces that are freed leave the process, also where a piece after them is in use."""
    pieces = [bytes(3000) for _ in range(40_000)]
    in_use = pieces.pop()
    before = _resident_pages()
    del pieces
    give_back_freed_memory()
    assert len(in_use) == 3000
    assert before - _resident_pages() > 80_000_000 // 4096


def _resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
