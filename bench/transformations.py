"""Which changes of a picture still count as near-duplicates, at which cosine, and how many unlike pictures do too.

    python -m bench.transformations [--scenes 60]

Drawn scenes, each changed in known ways, embedded by the demonstration's encoder, which understands drawn scenes; then
the files of idealo/imagededup, where they are at hand. On photographs this encoder's cosines say little, so of those
only the exact tiers count. A real CLIP tower is another matter: take these figures again where one is at hand. Of one
there are vectors of photographs, which say how many unlike pairs are that close.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

import clipsieve
from embed.demo.scenes import draw
from query.output import show
from query.session import Session

THRESHOLDS = (0.90, 0.95, 0.99)
FLOOR = 0.5
SEEDS = 7_000_000_000  # far from what the encoder was trained on
DATA = Path(__file__).parents[2] / "shared" / "data"
IMAGEDEDUP = DATA / "near_duplicates" / "imagededup"
UNSPLASH = DATA / "embeddings" / "unsplash_b16" / "embeddings.bin"

Change = Callable[[Image.Image], Image.Image]


def main() -> None:
    """Take the figures and print them."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--scenes", type=int, default=60)
    given, _ = words.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="clipsieve-bench-") as scratch:
        _drawn(Path(scratch, "drawn"), given.scenes)
        if IMAGEDEDUP.exists():
            _imagededup(Path(scratch, "imagededup"))
        if UNSPLASH.exists():
            _photographs()


def _cropped(share: float) -> Change:
    def crop(image: Image.Image) -> Image.Image:
        x, y = round(image.width * share / 2), round(image.height * share / 2)
        return image.crop((x, y, image.width - x, image.height - y))

    return crop


def _resized(factor: float) -> Change:
    return lambda image: image.resize((round(image.width * factor), round(image.height * factor)))


def _jpeg(quality: int) -> Change:
    def compressed(image: Image.Image) -> Image.Image:
        sink = BytesIO()
        image.save(sink, "JPEG", quality=quality)
        return Image.open(sink)

    return compressed


def _captioned(image: Image.Image) -> Image.Image:
    changed = image.copy()
    canvas = ImageDraw.Draw(changed)
    canvas.rectangle((0, image.height - 18, image.width, image.height), fill="black")
    canvas.text((4, image.height - 15), "photo: somebody 2026", fill="white")
    return changed


CHANGES: dict[str, Change] = {
    "PNG of the same pixels": lambda image: image,
    "JPEG quality 90": _jpeg(90),
    "JPEG quality 50": _jpeg(50),
    "JPEG quality 20": _jpeg(20),
    "half the size": _resized(0.5),
    "twice the size": _resized(2),
    "a third wider": lambda image: image.resize((round(image.width * 1.33), image.height)),
    "brighter by 20 %": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "darker by 40 %": lambda image: ImageEnhance.Brightness(image).enhance(0.6),
    "grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "captioned": _captioned,
    "a border of 5 %": lambda image: ImageOps.expand(image, round(image.width * 0.05), "white"),
    "5 % cut off": _cropped(0.05),
    "10 % cut off": _cropped(0.10),
    "25 % cut off": _cropped(0.25),
    "turned by 5 degrees": lambda image: image.rotate(5, fillcolor="white"),
    "mirrored": ImageOps.mirror,
    "turned by 90 degrees": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "upside down": ImageOps.flip,
}


def _drawn(folder: Path, scenes: int) -> None:
    for number in range(scenes):
        image = draw(SEEDS + number).image
        for k, change in enumerate([lambda same: same, *CHANGES.values()]):
            place = folder / "photos" / f"{number:04}" / f"{k:02}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            change(image).save(place)
    store = _embedded(folder)
    pairs = store.sql(_PAIRS)
    same = np.array(pairs["same"])
    change = np.array(pairs["change"])
    cosine = np.array(pairs["cosine"])
    print(f"\nOf {scenes} drawn scenes and {len(CHANGES)} changed copies of each: found as a pair with the original")
    rows = []
    for k, name in enumerate(CHANGES, 1):
        found = cosine[same & (change == k)]
        shares = [f"{(found >= at).sum() / scenes:.0%}" for at in THRESHOLDS]
        rows.append([name, *shares, f"{np.median(found) if len(found) else 0:.4f}"])
    show(["change", *(f"at {at:.2f}" for at in THRESHOLDS), "median cosine"], rows)
    every = scenes * (scenes - 1) // 2
    false = [int((cosine[~same] >= at).sum()) for at in THRESHOLDS]
    shares = ", ".join(f"{count:,} at {at:.2f}" for count, at in zip(false, THRESHOLDS, strict=True))
    print(f"False pairs, of {every:,} pairs of two unlike originals: {shares}.")


# Pairs of an original and one of its copies, and of two originals.
_PAIRS = """
    with named as (
        select image_id, folder, split_part(split_part(key, '/', -1), '.', 1)::int as change from current_images
    )

    select a.folder = b.folder as same, greatest(a.change, b.change) as change, neighbors.cosine
    from neighbors
    inner join named as a using (image_id)
    inner join named as b on neighbors.neighbor_id = b.image_id
    where least(a.change, b.change) = 0 and (a.folder = b.folder or greatest(a.change, b.change) = 0)
"""


def _imagededup(folder: Path) -> None:
    store = _embedded(folder, IMAGEDEDUP)
    exact, names = store.duplicates(), ("uri", "duplicate_of")
    print(f"\nidealo/imagededup, {exact.images} images: the exact tiers, without any vector")
    show(
        ["tier", "goes", "stays"],
        [[row["tier"], *(row[name].partition("imagededup/")[2] for name in names)] for row in exact.rows.to_pylist()],
    )
    print("By this encoder's cosines, which mean little on photographs:")
    found = store.sql(_CHANGED)
    show(found.column_names, [list(row.values()) for row in found.to_pylist()])


_CHANGED = """
    select split_part(b.key, '/', -1) as changed, neighbors.cosine
    from neighbors
    inner join current_images as a using (image_id)
    inner join current_images as b on neighbors.neighbor_id = b.image_id
    where a.key = 'base_images/ukbench00120.jpg' and b.key like '%ukbench00120%'
    union all
    select split_part(a.key, '/', -1) as changed, neighbors.cosine
    from neighbors
    inner join current_images as a using (image_id)
    inner join current_images as b on neighbors.neighbor_id = b.image_id
    where b.key = 'base_images/ukbench00120.jpg' and a.key like '%ukbench00120%'
    order by cosine desc, changed
"""


def _photographs() -> None:
    """Count the pairs of real photographs of a real tower, which hold few near-duplicates: nearly all are false."""
    vectors = np.fromfile(UNSPLASH, np.float32).reshape(-1, 512)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    shares = ", ".join(f"{int((cosines >= at).sum()):,} at {at:.2f}" for at in THRESHOLDS)
    print(
        f"\nOf {len(vectors):,} photographs (CLIP ViT-B/16), {len(cosines):,} pairs, median {np.median(cosines):.2f}:"
    )
    print(f"{shares}.")


def _embedded(folder: Path, photos: Path | None = None) -> Session:
    """Embed the photos below a folder and find their pairs, in a process that never loads torch."""
    store = str(folder / "store")
    clipsieve.embed(str(photos or folder / "photos"), store=store, encoder="demo")
    command = [sys.executable, "-c", "from clipsieve import main; main()", "neighbors", store, "--floor", str(FLOOR)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return clipsieve.open(store)


if __name__ == "__main__":
    main()
