"""Identity of an encoder: a vector without its encoder is a bug, so the store keeps and enforces this record."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any

from store.errors import StoreDamaged

_LABELS = {"model_name", "pretrained", "weights_origin", "torch_version", "pillow_version"}
_NAMES = {"model_name", "pretrained", "weights_origin"}

IMPORTED = "imported"
UNKNOWN = "unknown"
"""Stands in `encoder.json` where only those know who made the vectors."""

LABEL_CHARS = 80
"""So many characters of an encoder's label stand in the name of its folder, which file systems limit to 255."""


@dataclass(frozen=True)
class Encoder:
    """An open_clip model with its weights, its precision and everything that happens to pixels before it.

    Two encoders with one `fingerprint` give the same vectors; the labels only say where the weights came from. Of an
    imported one nothing is known but its names, so these are its identity.
    """

    # labels
    model_name: str  # open_clip's name, or the name of the folder of a `local-dir:` or the repository of an `hf-hub:`
    pretrained: str  # open_clip's tag, a checkpoint's file name, or "random"
    weights_origin: str  # "pretrained", "checkpoint", "local-dir", "hf-hub", "random" or "imported"
    torch_version: str
    pillow_version: str
    # identity
    architecture_sha256: str  # of the model config as canonical JSON, activation included
    weights_sha256: str  # of the state dict in float32: names, shapes and bytes, in order of names
    embedding_dim: int  # D
    logit_scale: float  # already exponentiated, about 100 for trained CLIP models
    precision: str  # "fp32", "bf16" or "fp16": of the image tower; text is always encoded in float32
    preprocessing: dict[str, Any]  # open_clip's: size, mean, std, interpolation, resize_mode, fill_color
    decode_mode: str  # how bytes become RGB pixels, see embed/decode.py
    open_clip_version: str

    @property
    def fingerprint(self) -> str:
        """Return the sha256 (hex) of everything that changes a vector."""
        labels = _LABELS - _NAMES if self.imported else _LABELS
        identity = {name: value for name, value in asdict(self).items() if name not in labels}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def encoder_id(self) -> str:
        """Return the name of this encoder's folder: readable labels and 12 digits of the fingerprint."""
        label = re.sub(r"[^A-Za-z0-9_.]+", "-", f"{self.model_name}-{self.pretrained}").strip("-.")[:LABEL_CHARS]
        origin = f"{IMPORTED}-" if self.imported else ""
        return f"{label}-{origin}{self.fingerprint[:12]}"

    @property
    def random_weights(self) -> bool:
        """True where the weights were never trained, so that no score means anything."""
        return self.weights_origin == "random"

    @property
    def imported(self) -> bool:
        """True where the vectors were made elsewhere, so that their encoder is known by name alone."""
        return self.weights_origin == IMPORTED

    @property
    def caution(self) -> str | None:
        """Return why its scores must not be believed, as one sentence, or None."""
        if self.random_weights:
            return "Random weights: no score means anything."
        if (self.model_name, self.weights_origin) == ("demo", "local-dir"):
            return "The demo encoder understands drawn scenes only: on photographs no score means anything."
        if self.imported:
            return f"Imported vectors: that they are those of {self.model_name}/{self.pretrained} is taken on trust."
        return None

    def differences(self, other: "Encoder") -> list[str]:
        """Return `field: ours -> theirs` for every identity field in which the two differ."""
        pairs = ((f.name, getattr(self, f.name), getattr(other, f.name)) for f in fields(self) if f.name not in _LABELS)
        return [f"{name}: {ours} -> {theirs}" for name, ours, theirs in pairs if ours != theirs]

    @classmethod
    def of_imported(cls, model_name: str, pretrained: str, embedding_dim: int, logit_scale: float) -> "Encoder":
        """Return the record of vectors that were made elsewhere: named, and otherwise unknown."""
        return cls(
            model_name=model_name,
            pretrained=pretrained,
            weights_origin=IMPORTED,
            torch_version=UNKNOWN,
            pillow_version=UNKNOWN,
            architecture_sha256=UNKNOWN,
            weights_sha256=UNKNOWN,
            embedding_dim=embedding_dim,
            logit_scale=logit_scale,
            precision=UNKNOWN,
            preprocessing={},
            decode_mode=UNKNOWN,
            open_clip_version=UNKNOWN,
        )

    def to_json(self) -> bytes:
        """Return encoder.json: deterministic, so that two jobs that start at once write the same bytes."""
        record = {"encoder_id": self.encoder_id, "fingerprint": self.fingerprint, **asdict(self)}
        return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes, where: str) -> "Encoder":
        """Read encoder.json; raise StoreDamaged where it is unreadable or its fingerprint is not its content's."""
        try:
            record = json.loads(data)
            encoder = cls(**{f.name: record[f.name] for f in fields(cls)})
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(
                f"{where} is not an encoder record ({error!r}).",
                "Without it nobody can say what the vectors beside it mean.",
                "Restore the file from a backup, or embed again into a new store.",
            ) from error
        if record.get("fingerprint") != encoder.fingerprint:
            raise StoreDamaged(
                f"{where} was changed by hand: its fingerprint does not match its content.",
                "The vectors beside it were made by the encoder that it described before.",
                "Restore the file from a backup.",
            )
        return encoder
