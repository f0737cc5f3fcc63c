"""A real open_clip model, small enough to build and load in a blink: a ViT of two layers, a text tower of one."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EMBEDDING_DIM = 64
IMAGE_SIZE_PX = 64

MODEL_CONFIG = {
    "embed_dim": EMBEDDING_DIM,
    "vision_cfg": {"image_size": IMAGE_SIZE_PX, "patch_size": 16, "width": 64, "head_width": 32, "layers": 2},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


def write_tiny_encoder(folder: Path, *, seed: int = 7, config: Mapping[str, Any] = MODEL_CONFIG) -> Path:
    """Write a folder for `local-dir:` (config and safetensors, 7 MB) with weights drawn from `seed`; return it."""
    from embed.encoders.torchvision_shim import import_open_clip, import_torch, quiet

    torch, open_clip = import_torch(), import_open_clip()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    model.logit_scale.data.fill_(math.log(100))  # what trained models end at, so that scores spread as theirs do
    from safetensors.torch import save_file

    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder
