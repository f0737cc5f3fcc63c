"""The start of `clipsieve embed`: what a whole process costs for one photo, beside what nothing can be cheaper than."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.machine import apart, installed
from embed.encoders import load_towers, parse_encoder
from embed.encoders.torchvision_shim import import_torch

MODEL = "ViT-B-32"
ROUNDS = 3

_IMPORTS = "from embed.encoders.torchvision_shim import import_open_clip; import_open_clip()"
_ALL_IMPORTS = (  # with the mended torchvision that some machines need, and all that open_clip asks for
    "from contextlib import nullcontext; from embed.encoders import torchvision_shim as shim;"
    "shim.loaded_late = lambda *_names: nullcontext(); open_clip = shim.import_open_clip();"
)
_SCRIPT = f"""{_ALL_IMPORTS}
import sys, torch
from PIL import Image
model, _, preprocess = open_clip.create_model_and_transforms({MODEL!r}, pretrained=sys.argv[1])
model.eval()
with torch.inference_mode():
    model.encode_image(preprocess(Image.open(sys.argv[2]).convert("RGB"))[None], normalize=True)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds of a whole process and of those that it has waited for."""

    cpu_s: float
    wall_s: float


def run(photo: Path, folder: Path) -> None:
    """Print what `clipsieve embed` of one photo costs, and its baselines: the best of some rounds, taken in turn."""
    album, weights = folder / "album", folder / "weights.pt"
    album.mkdir()
    (album / f"photo{photo.suffix}").symlink_to(photo.resolve())
    apart(_write_weights, weights)
    python = (sys.executable, "-c")
    commands = {
        "import torch and open_clip, as clipsieve does": (*python, _IMPORTS),
        "the same with all that open_clip asks for": (*python, _ALL_IMPORTS),
        "the script that users write": (*python, _SCRIPT, str(weights), str(photo)),
        "clipsieve embed": (sys.executable, "-m", "clipsieve", "embed", str(album), f"--encoder={MODEL}/{weights}"),
    }
    taken: dict[str, list[Cost]] = {name: [] for name in commands}
    for k in range(ROUNDS):
        for name, command in commands.items():
            store = [f"--store={folder / f'store-{k}'}"] if name == "clipsieve embed" else []
            taken[name].append(_cost([*command, *store]))
    print(f"one photo, {MODEL}, {weights.stat().st_size / 1e6:,.0f} MB of weights, the best of {ROUNDS}")
    print(f"{'':48}{'CPU s':>8}{'wall s':>8}")
    for name, costs in taken.items():
        print(f"{name:48}{min(one.cpu_s for one in costs):8.1f}{min(one.wall_s for one in costs):8.1f}")


def _write_weights(place: Path) -> None:
    towers = load_towers(parse_encoder(MODEL, random_weights=True), device="cpu", precision="fp32")
    import_torch().save(towers.text._model.state_dict(), place)  # noqa: SLF001  # the very weights


def _cost(command: Sequence[str]) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    root = str(Path(__file__).parents[1])
    done = subprocess.run(
        command, env={**installed(), "PYTHONPATH": root}, capture_output=True, text=True, check=False, cwd=os.sep
    )
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[2][:60]} failed:\n{done.stderr[-2000:]}")
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall_s)
