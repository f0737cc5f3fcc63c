"""What a faster precision costs and gives on this device: cosine to float32, and images per second of both.

    python -m bench.precision [--images 16] [--encoder MODEL/PRETRAINED]       (on a GPU --images 64: 4 do not fill it)

The baseline is the same model in float32 on the same pictures in the same run; without `--encoder` of random weights.
On a GPU cuDNN's convolutions are then in TF32, as torch has it by default: for a tower of these it is no exact one.
"""

import argparse
import time

import numpy as np
import numpy.typing as npt

from bench.machine import describe
from embed.demo.scenes import draw
from embed.encoders import ImageTower, load_towers, parse_encoder


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=4)
    words.add_argument("--encoder")
    given, _ = words.parse_known_args()
    print(describe())
    spec = parse_encoder(given.encoder or "ViT-B-32", random_weights=given.encoder is None)
    scenes = [draw(seed).image for seed in range(given.images)]
    full = load_towers(spec, precision="fp32")
    batch = np.stack([full.image.prepare(image) for image in scenes])
    exact, full_rate = _timed(full.image, batch)
    chosen = load_towers(spec).encoder.precision
    print(f"{full.encoder.model_name} on {full.device}: {chosen} is what --precision auto takes here")
    print(f"fp32  {full_rate:8.2f} images/s")
    rounded, rate = _timed(load_towers(spec, precision="bf16").image, batch)
    cosines = (exact.astype(np.float32) * rounded.astype(np.float32)).sum(axis=1)
    print(f"bf16  {rate:8.2f} images/s = {rate / full_rate:.2f} times fp32")
    print(f"cosine of bf16 to fp32 over {len(batch)} pictures: mean {cosines.mean():.6f}, least {cosines.min():.6f}")


def _timed(tower: ImageTower, batch: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float16], float]:
    """Return the vectors, and images/s. A GPU does a batch in less time than its first one takes to get ready."""
    is_cpu = tower.device.type == "cpu"
    tower.encode(batch[:1] if is_cpu else batch)
    rounds = 1 if is_cpu else 50
    began = time.perf_counter()
    for _ in range(rounds):
        vectors = tower.encode(batch)
    return vectors, rounds * len(batch) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
