"""Batches of scenes to learn from, drawn by another process in an order that is fixed."""

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embed.demo.drawing.canvas import Dice
from embed.demo.scenes import draw
from embed.demo.truth import Kind, Truth

SIDE_PX: Final = 64
BATCH: Final = 128
EXTRA_EVERY: Final = 4  # one scene in so many is of a kind that is learned last
_LOT: Final = BATCH // 2  # scenes that are drawn together
_REMEMBERED: Final = 500  # lots
_AHEAD: Final = 16  # lots that are drawn before they are needed


def batches(steps: int, seed: int, extra: tuple[Kind, ...]) -> Iterator[tuple[NDArray[np.uint8], list[Truth]]]:
    """Yield (B, 3, 64, 64) uint8 with truths: each time a newly drawn lot, and one from memory.

    Of each EXTRA_EVERY scenes the first is of one of the kinds of `extra`, in turn.
    """
    memory: deque[tuple[NDArray[np.uint8], list[Truth]]] = deque(maxlen=_REMEMBERED)
    dice = Dice(f"memory {seed}")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        coming = deque(pool.submit(_lot, index, extra) for index in range(min(_AHEAD, steps)))
        for step in range(steps):
            pixels, truths = coming.popleft().result()
            if step + _AHEAD < steps:
                coming.append(pool.submit(_lot, step + _AHEAD, extra))
            old_pixels, old_truths = dice.pick(memory) if memory else (pixels, truths)
            memory.append((pixels, truths))
            yield np.concatenate([pixels, old_pixels]), [*truths, *old_truths]


def seen(pixels: NDArray[np.uint8], step: int) -> NDArray[np.float32]:
    """Return (B, 3, 64, 64) float32 in [0, 1], half of them mirrored, each in a little other light and colour."""
    random = np.random.default_rng(step)
    flip = random.random(len(pixels)) < 0.5  # noqa: PLR2004  # half of them
    turned = np.where(flip[:, None, None, None], pixels[..., ::-1], pixels)
    light = random.uniform(0.9, 1.1, (len(pixels), 3, 1, 1)).astype(np.float32)
    values: NDArray[np.float32] = np.clip(turned.astype(np.float32) / 255 * light, 0, 1)
    return values


def _lot(index: int, extra: tuple[Kind, ...]) -> tuple[NDArray[np.uint8], list[Truth]]:
    numbers = range(index * _LOT, (index + 1) * _LOT)
    turns = {number: extra[number // EXTRA_EVERY % len(extra)] for number in numbers if number % EXTRA_EVERY == 0}
    scenes = [draw(number, turns.get(number)) for number in numbers]
    pixels = [np.asarray(s.image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)) for s in scenes]
    return np.stack(pixels).transpose(0, 3, 1, 2), [scene.truth for scene in scenes]
