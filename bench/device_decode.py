"""How far pixels and embeddings of `--decode gpu` are from decoding in full, and what of it the CPU still does.

    python -m bench.device_decode --photos DIR [--device cuda] [--encoder MODEL/PRETRAINED ...]

On a CPU libjpeg-turbo stands for nvJPEG, so what is measured there is the scaling and rounding of the device. nvJPEG
differs most in that it repeats the coarser colours of 4:2:0 where libjpeg-turbo interpolates; `repeated` imitates that:
the colours of the whole picture are averaged over 2 x 2 pixels, then scaled and cropped as usual. Without `--encoder`:
the demo's, which is trained, and ViT-B-32 with random weights.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.machine import describe
from embed.decode import Refused, decode
from embed.decoders import Settings
from embed.decoders.work import make
from embed.encoders import ImageTower, load_towers, parse_encoder
from embed.geometry import Geometry
from embed.on_device.decoder import DeviceDecoder, Jpeg

Pixels = NDArray[np.uint8]

AT_ONCE = 64


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--photos", type=Path, required=True)
    words.add_argument("--device", default="cpu")
    words.add_argument("--encoder", nargs="*", default=["demo", "ViT-B-32"])
    words.add_argument("--images", type=int, default=300)
    given = words.parse_args()
    print(describe())
    files = _fitting(given.photos, given.images)
    for name in given.encoder:
        spec = parse_encoder(name, random_weights=name == "ViT-B-32")
        _compare(name, load_towers(spec, device=given.device, precision="fp32").image, files)


def _fitting(photos: Path, count: int) -> list[bytes]:
    """Return the JPEGs that a device would be given, at most `count`."""
    found = []
    for path in sorted(path for path in photos.rglob("*") if path.is_file()):
        data = path.read_bytes()
        try:
            if decode(data, for_device=True).for_device:
                found.append(data)
        except Refused:
            continue
        if len(found) == count:
            break
    return found


def _compare(name: str, tower: ImageTower, files: list[bytes]) -> None:
    if tower.geometry is None:
        raise SystemExit(f"{name} prepares pictures in a way of its own")
    settings = Settings(tower.geometry)
    full, full_s = _timed(files, settings)
    _, looked_s = _timed(files, replace(settings, for_device=True))
    device = DeviceDecoder(tower.device, tower.geometry)
    jpegs = [Jpeg(data, decode(data).facts.exif_orientation) for data in files]
    device(jpegs[:AT_ONCE])
    began = time.perf_counter()
    found = [one for at in range(0, len(jpegs), AT_ONCE) for one in device(jpegs[at : at + AT_ONCE])]
    device_s = (time.perf_counter() - began) / len(files)
    pairs = [(one, other) for one, other in zip(full, found, strict=True) if other is not None]
    print(f"\n{name} on {tower.device}: {len(files)} JPEGs of which the device refuses {len(files) - len(pairs)}")
    print(f"  CPU, one core: in full {full_s * 1e3:.1f} ms, left to the device {looked_s * 1e3:.1f} ms; ", end="")
    print(f"{tower.device} {device_s * 1e3:.1f} ms each")
    _say("decoded there", tower, [one for one, _ in pairs], [other for _, other in pairs])
    _say("repeated", tower, full, [_repeated(data, tower.geometry) for data in files])


def _timed(files: list[bytes], settings: Settings) -> tuple[list[Pixels], float]:
    """Return what decoding gives, and the seconds that a file takes."""
    began = time.perf_counter()
    found = [make(data, settings.geometry.pixels, _granted, settings).pixels for data in files]
    return [one for one in found if one is not None], (time.perf_counter() - began) / len(files)


def _granted(_facts: object) -> None:
    """Let every picture take what it needs."""


def _repeated(data: bytes, geometry: Geometry) -> Pixels:
    """Return the pixels of a picture whose colours are those of 2 x 2 pixels each."""
    light, *colours = decode(data).image.convert("YCbCr").split()
    small = ((light.width + 1) // 2, (light.height + 1) // 2)
    coarse = [one.resize(small, Image.Resampling.BOX).resize(light.size, Image.Resampling.NEAREST) for one in colours]
    return geometry.pixels(Image.merge("YCbCr", (light, *coarse)).convert("RGB"))


def _say(what: str, tower: ImageTower, full: list[Pixels], other: list[Pixels]) -> None:
    apart = np.abs(np.stack(full).astype(np.int16) - np.stack(other))
    cosines = _cosines(tower.encode, full, other)
    print(f"  {what:<14} pixels: mean {apart.mean():.3f} of 255, largest {apart.max()}; ", end="")
    print(f"cosine: mean {cosines.mean():.6f}, least {cosines.min():.6f}, under 0.999: {(cosines < 0.999).sum()}")


def _cosines(
    encode: Callable[[list[Pixels]], NDArray[np.float16]], full: list[Pixels], other: list[Pixels]
) -> NDArray[np.float32]:
    parts = []
    for at in range(0, len(full), AT_ONCE):
        ones, twos = (encode(some[at : at + AT_ONCE]).astype(np.float32) for some in (full, other))
        parts.append((ones * twos).sum(axis=1) / (np.linalg.norm(ones, axis=1) * np.linalg.norm(twos, axis=1)))
    return np.concatenate(parts)


if __name__ == "__main__":
    main()
