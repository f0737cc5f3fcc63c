"""From the words of `--encoder` to an image tower and a text tower of one open_clip model.

Importing this package loads neither torch nor open_clip; the first call that needs them does.

    spec               words -> EncoderSpec, checked against open_clip's registry
    weights, hub       EncoderSpec -> a checkpoint on this machine
    model              checkpoint -> an open_clip model in float32; filling: each weight written once
    identity           model -> store.encoder.Encoder, the record that stands beside the vectors
    device             where and in which precision the image tower runs
    image_tower        pixels -> L2-normalised vectors; flight: their way to the device and back
    towers             both towers of one model, and texts -> L2-normalised vectors
    torchvision_shim   the only door to torch and open_clip; late: what they import in case it is needed
"""

from embed.encoders.image_tower import ImageTower
from embed.encoders.spec import EncoderSpec, list_encoders, parse_encoder
from embed.encoders.towers import TextTower, Towers, load_image_tower, load_text_tower, load_towers

__all__ = [
    "EncoderSpec",
    "ImageTower",
    "TextTower",
    "Towers",
    "list_encoders",
    "load_image_tower",
    "load_text_tower",
    "load_towers",
    "parse_encoder",
]
