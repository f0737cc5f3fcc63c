"""Where cached scores lie: a score set holds one column per concept, one file per part of images.

    scores/<set>/set.json          the concepts, whole, and the hash of each
    scores/<set>/<part>.parquet    image_id, run_id, uri and one FLOAT per concept

A set is named after its concepts' content, so scores of an older wording lie elsewhere and are never mixed in; and a
listing of the folder alone says which parts are scored. The files are DERIVED: removed, they come back.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from query.scoring.kinds import Concept, from_record
from store.errors import StoreDamaged
from store.layout import EncoderStore


@dataclass(frozen=True)
class ScoreSet:
    """Some concepts, and which parts of images have their scores."""

    set_id: str
    concepts: tuple[Concept, ...]  # sorted by name
    parts: tuple[str, ...]  # names of `images/` parts that are scored, without folder and suffix
    created_at: str = ""  # ISO 8601, UTC; empty where the set has not been written yet

    @property
    def names(self) -> tuple[str, ...]:
        """Return the concepts' names."""
        return tuple(concept.name for concept in self.concepts)

    def hash_of(self, name: str) -> str | None:
        """Return the content hash of a concept, or None where the set lacks it."""
        return next((c.content_hash for c in self.concepts if c.name == name), None)

    def file(self, part: str) -> str:
        """Return the name of the file with the scores of one part."""
        return f"scores/{self.set_id}/{part}.parquet"


def set_of(concepts: Sequence[Concept], parts: Sequence[str] = ()) -> ScoreSet:
    """Return the set of these concepts, named after their content."""
    ordered = tuple(sorted(concepts, key=lambda c: c.name))
    content = json.dumps([(c.name, c.content_hash) for c in ordered])
    return ScoreSet(hashlib.sha256(content.encode()).hexdigest()[:16], ordered, tuple(parts))


def image_parts(store: EncoderStore) -> list[str]:
    """Return the parts that can be scored, without folder and suffix."""
    return [_stem(name) for name in store.parts("images")]


def read_sets(store: EncoderStore) -> list[ScoreSet]:
    """Return every score set of the store, the fullest first: by parts scored, then by concepts, then by id."""
    existing = set(image_parts(store))
    sets = [_read_set(store, set_id, existing) for set_id in store.score_sets()]
    return sorted(sets, key=lambda s: (-len(s.parts), -len(s.concepts), s.set_id))


def write_set(store: EncoderStore, scored: ScoreSet) -> None:
    """Write what a set is, before its first scores, or its new descriptions and thresholds."""
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    record = {"created_at": now, "concepts": [concept.to_record() for concept in scored.concepts]}
    store.location.write(f"scores/{scored.set_id}/set.json", (json.dumps(record, indent=2) + "\n").encode())


def remove_set(store: EncoderStore, scored: ScoreSet) -> None:
    """Remove a set that another one has replaced; what it is goes first, so that half a set is never taken for one."""
    store.location.remove(f"scores/{scored.set_id}/set.json")
    for name in store.parts(f"scores/{scored.set_id}"):
        store.location.remove(name)


def _read_set(store: EncoderStore, set_id: str, existing: set[str]) -> ScoreSet:
    name = f"scores/{set_id}/set.json"
    try:
        record = json.loads(store.location.read(name) or b"")
        concepts = tuple(from_record(c) for c in record["concepts"])
        created_at = str(record["created_at"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreDamaged(
            f"{store.location.uri}/{name} is not a score set's record.",
            do=f"Remove the folder scores/{set_id} and run `clipsieve score` again.",
        ) from error
    scored = [_stem(file) for file in store.parts(f"scores/{set_id}")]
    return ScoreSet(set_id, concepts, tuple(part for part in scored if part in existing), created_at)


def _stem(name: str) -> str:
    return name.rsplit("/", 1)[-1].removesuffix(".parquet")
