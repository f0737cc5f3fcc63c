"""Real OWLv2 and OWL-ViT models, small enough to build and load in a blink, with the commonest words of CLIP's own."""

import gzip
import json
from pathlib import Path

IMAGE_SIZE_PX = 64
MERGES = 4000  # of 48,894, which take half a second to read
_LETTERS = 256
_LAYERS = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}


def write_tiny_detector(folder: Path, kind: str, *, seed: int = 7) -> Path:
    """Write a folder for `--weights` with weights drawn from `seed`; `kind` is owlv2 or owlvit. Return it."""
    from embed.encoders.torchvision_shim import import_torch, import_transformers, quiet

    torch, transformers = import_torch(), import_transformers()
    name = {"owlv2": "Owlv2", "owlvit": "OwlViT"}[kind]
    config = getattr(transformers, f"{name}Config")(
        text_config={**_LAYERS, "max_position_embeddings": 16, "vocab_size": 2 * _LETTERS + MERGES + 2},
        vision_config={**_LAYERS, "image_size": IMAGE_SIZE_PX, "patch_size": 16},
        projection_dim=32,
    )
    transformers.utils.logging.disable_progress_bar()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = getattr(transformers, f"{name}ForObjectDetection")(config)
        # Freshly drawn heads answer every patch alike; wider ones let an answer depend on what is there.
        for weight in model.class_head.parameters():
            weight.data.normal_(0, 0.5)
        model.box_head.dense2.weight.data.normal_(0, 0.02)  # boxes near their patches, as trained ones are
        model.save_pretrained(folder)
        size = {"height": IMAGE_SIZE_PX, "width": IMAGE_SIZE_PX}
        pixels = getattr(transformers, f"{name}ImageProcessor")(size=size)
        getattr(transformers, f"{name}Processor")(pixels, _tokenizer(folder)).save_pretrained(folder)
    return folder


def _tokenizer(folder: Path) -> object:
    """CLIP's tokenizer: open_clip ships its merges, from which the vocabulary follows.

    Its order is that of https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py.
    """
    from embed.encoders.torchvision_shim import import_open_clip, import_transformers

    open_clip = import_open_clip()
    with gzip.open(open_clip.tokenizer.default_bpe(), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : MERGES + 1]
    letters = list(open_clip.tokenizer.bytes_to_unicode().values())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair.split()) for pair in merges)]
    vocabulary = {word: k for k, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")
    return import_transformers().CLIPTokenizer.from_pretrained(folder, pad_token="!", local_files_only=True)
