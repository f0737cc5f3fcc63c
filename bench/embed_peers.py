"""What the job is measured against: the loop that users write, and clip-retrieval in an environment of its own."""

import io
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import boto3
import numpy as np
from PIL import Image

import clipsieve
from bench.machine import apart, children, cpu_s, installed
from embed.decoders.decoding import close_idle
from embed.encoders import Towers
from embed.encoders.torchvision_shim import import_open_clip, import_torch, quiet
from embed.request import JobOptions, Summary
from tests.tiny_encoder import write_tiny_encoder

LOOP_IMAGES = 100
"""The loop takes as long for each: so many tell its rate."""

_WITH = {True: "with thumbnails", False: "without thumbnails"}

PEER_ROUNDS = 2
"""Each takes minutes."""


def rate(summary: Summary) -> float:
    """Return images per second; loading the model and encoding prompts happens once per job, whatever its size."""
    return summary.embedded / (summary.seconds - summary.stage_seconds.get("prompts", 0.0))


def busy(summary: Summary) -> str:
    """Return how busy each stage was."""
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(summary.stage_busy.items()))


def plain_loop(bucket: str, source: str, folder: Path, rounds: int) -> None:
    """Print the rate of the plain loop, and of the job on the same objects with the same small model, in turn.

    The job makes thumbnails, which the loop does not, so it runs once with them and once without.
    """
    encoder = apart(write_tiny_encoder, folder / "tiny")
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for k in range(rounds):
        loop = apart(_loop_rate, bucket, encoder)
        for thumbnails, taken in ratios.items():
            began, others = os.times(), sum(map(cpu_s, children()))
            store, options = folder / f"store-{k}-{thumbnails}", JobOptions(thumbnails=thumbnails)
            summary = clipsieve.embed(
                source, store=str(store), encoder=f"local-dir:{encoder}", device="cpu", options=options
            )
            close_idle()  # which makes their time ours
            worked = sum(now - then for now, then in zip(os.times()[:4], began[:4], strict=True))
            served = sum(map(cpu_s, children())) - others
            taken.append(rate(summary) / loop)
            print(
                f"round {k + 1:<4} plain loop {loop:6,.1f} images/s, job {_WITH[thumbnails]} {rate(summary):8,.1f} = "
                f"{taken[-1]:.1f} times; {1000 * worked / summary.embedded:.1f} ms of CPU per image, the server's and "
                f"the wire's {1000 * served / summary.embedded:.1f}; busy: {busy(summary)}",
                flush=True,
            )
    for thumbnails, taken in ratios.items():
        times = statistics.median(taken)
        print(f"job {_WITH[thumbnails]:19} over plain loop {times:8.1f} times, the median of {rounds} rounds")


def _loop_rate(bucket: str, encoder: Path) -> float:
    """Return images per second of `get_object`, open, preprocess, a batch of 32, forward."""
    torch, open_clip, client = import_torch(), import_open_clip(), boto3.client("s3")
    with quiet():
        model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{encoder}")
    model.eval()
    keys = [one["Key"] for one in client.list_objects_v2(Bucket=bucket, Prefix="photos/")["Contents"]][:LOOP_IMAGES]
    batch, vectors = [], []
    began = time.perf_counter()
    for key in keys:
        data = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        batch.append(preprocess(Image.open(io.BytesIO(data)).convert("RGB")))
        if len(batch) == 32 or key == keys[-1]:
            with torch.inference_mode():
                features = model.encode_image(torch.stack(batch))
                vectors.append((features / features.norm(dim=-1, keepdim=True)).numpy())
            batch = []
    assert len(np.concatenate(vectors)) == len(keys)  # noqa: S101  # the loop has done its work
    return len(keys) / (time.perf_counter() - began)


def clip_retrieval(python: str, photos: list[Path], towers: Towers, folder: Path) -> None:
    """Print how long clip-retrieval's command and ours take for the same photos and weights, in turn, as a whole.

    `python` is the interpreter of an environment of its own:
    `pip install clip-retrieval==2.45.0 'setuptools<80'`.
    """
    torch = import_torch()
    album, weights = folder / "album", folder / "weights.pt"
    album.mkdir()
    for i, photo in enumerate(photos):
        (album / f"{i:06d}{photo.suffix.lower()}").symlink_to(photo.resolve())
    torch.save(towers.text._model.float().state_dict(), weights)  # noqa: SLF001  # the very weights
    peer = [
        *(python, "-m", "clip_retrieval.cli", "inference", f"--input_dataset={album}"),
        *("--clip_model=open_clip:ViT-B-32/weights.pt", "--use_jit=False"),
        *("--enable_text=False", "--batch_size=64", "--num_prepro_workers=2", "--input_format=files"),
    ]
    ours = [sys.executable, "-m", "clipsieve", "embed", str(album), f"--encoder=ViT-B-32/{weights}"]
    alone = {name: value for name, value in installed().items() if name != "PYTHONPATH"}  # none of our rooms is theirs
    ratios = []
    for k in range(PEER_ROUNDS):
        theirs_s = _seconds([*peer, f"--output_folder={folder / f'peer-{k}'}"], folder, alone)
        ours_s = _seconds([*ours, f"--store={folder / f'again-{k}'}"], folder, installed())
        ratios.append(theirs_s / ours_s)
        print(
            f"clip-retrieval {theirs_s:.1f} s from start to end, {len(photos) / theirs_s:.1f} images/s; "
            f"clipsieve embed {ours_s:.1f} s, {len(photos) / ours_s:.1f} images/s = {ratios[-1]:.2f} times",
            flush=True,
        )
    print(f"clipsieve over clip-retrieval {statistics.median(ratios):.2f}, the median of {PEER_ROUNDS} rounds")


def _seconds(command: list[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command[:4])} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - began
