"""One picture from anywhere to its vector, made as pass 1 makes it: the image side of a question."""

import numpy as np
from numpy.typing import NDArray

from embed.decode import DECODE_MODE, DRAFT_MODE, Refused, decode
from embed.encoders import EncoderSpec, ImageTower, load_image_tower
from embed.silence import native_output_silenced
from embed.thumbnails import thumbnail
from store.encoder import Encoder
from store.errors import UsageError


class PictureTower:
    """Bytes of one picture in, its vector and a small WebP of it out."""

    def __init__(self, tower: ImageTower, decode_mode: str = DECODE_MODE) -> None:
        """Encode with this image tower, from pixels made in this way."""
        self._tower = tower
        self._draft_px = 2 * max(tower.input_shape[1:]) if decode_mode == DRAFT_MODE else None

    def encode(self, name: str, data: bytes) -> tuple[NDArray[np.float32], bytes]:
        """Return (D,) float32, L2-normalised, and a WebP; raise UsageError, with the name, where it is no picture."""
        try:
            with native_output_silenced():
                image = decode(data, draft_px=self._draft_px).image
        except Refused as refused:
            outcome = refused.outcome
            reason = f"{outcome.error_code}: {outcome.error_detail}" if outcome.error_code else "it is no image"
            raise UsageError(f"{name} cannot be read as a picture ({reason}).") from refused
        (vector,) = self._tower.encode(self._tower.prepare(image)[None]).astype(np.float32)
        return np.asarray(vector / np.linalg.norm(vector), np.float32), thumbnail(image)


def load_picture_tower(encoder: Encoder, spec: EncoderSpec | None = None) -> PictureTower:
    """Load the image tower of the encoder that a store holds; `spec` says where, if the record cannot."""
    return PictureTower(load_image_tower(encoder, spec), encoder.decode_mode)
