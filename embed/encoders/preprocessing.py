"""open_clip's own preprocessing, taken apart: what a CPU does to an image, and what the device does to its pixels."""

from typing import Any, Literal

import numpy as np

from embed.encoders.model import Model
from embed.encoders.torchvision_shim import import_open_clip, quiet
from embed.geometry import Geometry

_TRIED_SIZES = ((64, 48), (48, 64), (300, 201), (201, 300), (90, 350), (640, 640))
"""Width and height in pixels of the pictures on which our geometry must agree with open_clip's."""


def preprocessing(model: Model) -> tuple[Any, Any]:
    """Split open_clip's preprocessing into what a CPU does to an image and the Normalize that the device does.

    Verifies that it ends in ToTensor and Normalize, in that order and only there: `encode` replaces just these.
    """
    transform = import_open_clip().transform
    from torchvision.transforms import Compose, Normalize, ToTensor  # noqa: PLC0415 - loads torch, mended just above

    with quiet():
        steps = transform.image_transform_v2(transform.PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    *geometry, to_tensor, normalize = steps.transforms
    if not (isinstance(to_tensor, ToTensor) and isinstance(normalize, Normalize)) or any(
        isinstance(step, (ToTensor, Normalize)) for step in geometry
    ):
        raise RuntimeError(f"open_clip's preprocessing no longer ends in ToTensor, Normalize: {steps}")
    return Compose(geometry), normalize


def geometry_of(model: Model, steps: Any) -> Geometry | None:  # noqa: ANN401  # torchvision has no types
    """Return `steps`, the CPU's share, as a record that needs no torch; None where they do something else.

    It is compared with them on pictures of several shapes: every pixel must be the same.
    """
    cfg = model.visual.preprocess_cfg
    height, width = (cfg["size"],) * 2 if isinstance(cfg["size"], int) else cfg["size"]
    mode: Literal["shortest", "longest", "squash"] = cfg.get("resize_mode") or "shortest"
    oblong = mode == "shortest" and height != width  # open_clip then scales by its own rule, and always bicubic
    ours = Geometry(
        height_px=int(height),
        width_px=int(width),
        mode=mode,
        filter="bilinear" if cfg.get("interpolation") == "bilinear" and not oblong else "bicubic",
        fill=int(cfg.get("fill_color") or 0),
        rounds="nearest" if oblong or mode == "longest" else "down",
    )
    return ours if all(_agree(ours, steps, size) for size in _TRIED_SIZES) else None


def _agree(ours: Geometry, steps: Any, size: tuple[int, int]) -> bool:  # noqa: ANN401  # as above
    from PIL import Image  # noqa: PLC0415 - optional, as everything of pass 1

    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    theirs = np.asarray(steps(image)).transpose(2, 0, 1)
    mine = ours.pixels(image)
    return mine.shape == theirs.shape and bool((mine == theirs).all())
