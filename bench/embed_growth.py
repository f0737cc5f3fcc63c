"""Memory over a long run: many small images through a tiny encoder, sampled as the job goes on."""

import os
from collections.abc import Callable
from pathlib import Path

import clipsieve
from bench.embed_feed import write_album
from bench.machine import apart, children, resident_mb
from embed.request import EmbedRequest, JobOptions, Started
from tests.tiny_encoder import write_tiny_encoder

SAMPLES = 20


def run(images: int, folder: Path) -> None:
    """Embed so many files and print the job's memory, and its decoders', at every twentieth of the way."""
    album = folder / "album"
    write_album(album, images)
    encoder = apart(write_tiny_encoder, folder / "tiny")
    taken: list[tuple[int, float, float]] = []

    def on_start(started: Started) -> Callable[[], None]:
        def sample() -> None:
            if started.tally.finished >= len(taken) * images / SAMPLES:
                taken.append((started.tally.finished, resident_mb(os.getpid()), sum(map(resident_mb, children()))))

        return sample

    request = EmbedRequest(
        str(album), str(folder / "store"), f"local-dir:{encoder}", device="cpu", options=JobOptions()
    )
    summary = clipsieve.run_embed(request, on_start)
    print(f"{summary.embedded:,} images in {summary.seconds:.0f} s, {summary.embedded / summary.seconds:,.0f} images/s")
    print("     images    job MB  decoders MB")
    for finished, job, decoders in taken:
        print(f"{finished:11,} {job:9,.0f} {decoders:12,.0f}")
    after_warm_up = [job for finished, job, _ in taken if finished >= images / 4]
    if after_warm_up:
        print(f"growth of the job from a quarter on: {after_warm_up[-1] - after_warm_up[0]:,.0f} MB")
