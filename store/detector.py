"""Identity of a detector: an answer without its detector is a bug, so the store keeps this record beside them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Detector:
    """What looked at images a second time. Two with one `fingerprint` give the same answers."""

    kind: str  # "owlv2", "owlvit" or "rekognition": how the columns of its answers begin
    model: str  # for people: a repository, the name of a folder, or a service
    identity: Mapping[str, Any] = field(default_factory=dict)  # everything that changes an answer, as JSON has it

    @property
    def fingerprint(self) -> str:
        """Return the sha256 (hex) of everything that changes an answer."""
        identity = {"kind": self.kind, **self.identity}
        return hashlib.sha256(json.dumps(identity, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def detector_id(self) -> str:
        """Return the name of this detector's folder: its kind and 12 digits of the fingerprint."""
        return f"{self.kind}-{self.fingerprint[:12]}"

    def to_json(self) -> bytes:
        """Return detector.json: deterministic, so that two jobs that start at once write the same bytes."""
        record = {
            "detector_id": self.detector_id,
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "model": self.model,
            "identity": dict(self.identity),
        }
        return (json.dumps(record, indent=2, sort_keys=True) + "\n").encode()
