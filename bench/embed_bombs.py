"""Memory with bombs among the pictures: small files whose pixels take gigabytes, under a limit on the job's memory."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import clipsieve
from bench.machine import apart, children, resident_mb
from embed.request import JobOptions
from tests.pictures import picture_bytes
from tests.tiny_encoder import write_tiny_encoder

LIMITS_MB = (500, 1000, 2000)
MEGAPIXELS = (10, 20, 40, 80, 160)
"""Of the bombs; one pixel may take 20 bytes, so these ask for 0.2 to 3.2 GB each."""

_LOOK_EVERY_S = 0.01


def run(bombs: int, folder: Path) -> None:
    """Embed so many bombs among ten times as many small pictures; print what job and decoders hold at most."""
    encoder = apart(write_tiny_encoder, folder / "tiny")
    small, mixed = folder / "small", folder / "mixed"
    for album in (small, mixed):
        album.mkdir()
        for number in range(10 * bombs):
            (album / f"{number:05}.jpg").write_bytes(picture_bytes(number % 200))
    apart(_write_bombs, mixed, bombs)
    for limit_mb in LIMITS_MB:
        baseline, _ = apart(_peak_mb, small, encoder, limit_mb)
        peak, said = apart(_peak_mb, mixed, encoder, limit_mb)
        print(
            f"--memory {limit_mb:,} MB: {peak:,.0f} MB at most, {baseline:,.0f} MB without the bombs: "
            f"{peak - baseline:,.0f} MB more; {said}"
        )


def _write_bombs(album: Path, bombs: int) -> None:
    from PIL import Image

    for number in range(bombs):
        side = int((MEGAPIXELS[number % len(MEGAPIXELS)] * 1e6) ** 0.5)
        color = (number % 256, 99, 200)
        Image.new("RGB", (side, side), color).save(album / f"{10 * number:05}-bomb.png", compress_level=1)


def _peak_mb(album: Path, encoder: Path, limit_mb: int) -> tuple[float, str]:
    """Return the most that the job and its decoders held together, and what became of the pictures."""
    options = JobOptions(memory_bytes=limit_mb * 10**6)
    with _watched() as peak:
        summary = clipsieve.embed(
            str(album),
            store=str(album.parent / f"{album.name}-{limit_mb}"),
            encoder=f"local-dir:{encoder}",
            device="cpu",
            options=options,
        )
    errors = ", ".join(f"{count:,} {code}" for code, count in sorted(summary.errors.items()))
    return peak[0], f"{summary.embedded:,} embedded{f', {errors}' if errors else ''}"


@contextmanager
def _watched() -> Iterator[list[float]]:
    """Keep the most that this process and those that it starts hold at one moment, in MB."""
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(_LOOK_EVERY_S):
            peak[0] = max(peak[0], sum(map(resident_mb, [os.getpid(), *children()])))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
