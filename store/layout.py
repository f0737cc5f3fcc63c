"""Where things lie in a store, and which encoders it holds.

STORE/store.json                            format version
STORE/encoder=<encoder_id>/encoder.json     identity, written once
                           images/          MEASURED  one row per image and run that read it
                           thumbnails/      MEASURED  one small WebP per embedded image
                           listings/        MEASURED  what a source held when a run listed it
                           metadata/        what a list says beside its URIs, by image
                           prompts/         cached text vectors
                           heads/           cached weights of heads
                           scores/<set>/    DERIVED   may be deleted, comes back
                           neighbors/<set>/ DERIVED   pairs of images that are close; may be deleted, comes back
                           crowds/<set>/    DERIVED   images whose embedding very many share; may be deleted, comes back
                           ranked/<set>/    DERIVED   pairs as the usual ranking has them; may be deleted, comes back
                           measurements/<detector>/  MEASURED  what a detector saw on a second look
"""

import difflib
import json
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from store.encoder import LABEL_CHARS, Encoder
from store.errors import StoreDamaged, StoreNotFound, StoreTooNew, UnknownName, WrongEncoder
from store.location import FolderLocation, Location
from store.s3.options import S3Options

FORMAT_VERSION = 1
_ENCODER_FOLDER = "encoder="
_RUN_STAMP = "%Y%m%dT%H%M%SZ"


def locate(place: str, options: S3Options) -> Location:
    """Return the location that a user's word means: `s3://bucket/prefix` or a folder."""
    if place.startswith("s3://"):
        from store.s3.location import S3Location  # noqa: PLC0415  # boto3, which a folder does without

        return S3Location(place, options)
    return FolderLocation(Path(place).expanduser().absolute())


def new_run_id(after: str | None = None, label: str = "") -> str:
    """Return `20261121T073000Z-a1b2c3`: unique, and later than the run `after` even where the clock has jumped back.

    A label stands in it in plain letters: `20261121T073000Z-people-strict-a1b2c3`.
    """
    now = datetime.now(UTC)
    if after is not None:
        now = max(
            now, datetime.strptime(after.partition("-")[0], _RUN_STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
        )
    plain = re.sub(r"[^a-z0-9]+", "-", label.lower())[:LABEL_CHARS].strip("-")
    return "-".join(filter(None, (now.strftime(_RUN_STAMP), plain, secrets.token_hex(3))))


def _label(words: str) -> str:
    """Return how the id of an encoder starts that these words of `--encoder` made; of local paths the name counts."""
    scheme, _, rest = words.partition(":")
    if scheme in {"local-dir", "hf-hub"}:
        words = Path(rest).name if scheme == "local-dir" else rest
    else:
        model, _, weights = words.partition("/")
        words = f"{model}-{Path(weights).name}" if weights else model
    return re.sub(r"[^A-Za-z0-9_.]+", "-", words).strip("-.")[:LABEL_CHARS]


@dataclass(frozen=True)
class EncoderStore:
    """The part of a store that belongs to one encoder."""

    encoder: Encoder
    location: Location

    @cached_property
    def _files(self) -> list[str]:
        return [entry.name for entry in self.location.files()]

    @property
    def names(self) -> list[str]:
        """Return the names of every file that the listing found; no file of these names ever changes but `set.json`."""
        return self._files

    def parts(self, folder: str) -> list[str]:
        """Return the names of the Parquet files below `images`, `thumbnails`, `listings`, `prompts` or `scores/<set>`.

        One listing of the location answers for all of them, so what one object sees is consistent; `refreshed`
        returns an object that looks again.
        """
        return [name for name in self._files if name.startswith(f"{folder}/") and name.endswith(".parquet")]

    def score_sets(self) -> list[str]:
        """Return the ids of the score sets."""
        return sorted({name.split("/")[1] for name in self._files if re.fullmatch(r"scores/[^/]+/set\.json", name)})

    def neighbor_sets(self) -> list[str]:
        """Return the ids of the sets of neighbors."""
        return sorted({name.split("/")[1] for name in self._files if re.fullmatch(r"neighbors/[^/]+/set\.json", name)})

    def refreshed(self) -> "EncoderStore":
        """Return the same with a fresh listing of the location."""
        return EncoderStore(self.encoder, self.location)

    def newest_listings(self) -> list[str]:
        """Return the newest listing of each source: names are `listings/<run_id>.<source digest>.parquet`."""
        newest = {name.split(".")[-2]: name for name in self.parts("listings")}
        return sorted(newest.values())

    def newest_run(self) -> str | None:
        """Return the run id of the newest listing of any source."""
        names = self.parts("listings")
        return names[-1].removeprefix("listings/").split(".")[0] if names else None


class Store:
    """A store at a location."""

    def __init__(self, location: Location) -> None:
        """Use `Store.open` or `Store.create`."""
        self.location = location

    @classmethod
    def open(cls, location: Location) -> "Store":
        """Open a store; raise StoreNotFound, StoreDamaged or StoreTooNew."""
        data = location.read("store.json")
        if data is None:
            raise StoreNotFound(
                f"There is no clipsieve store at {location.uri} (no store.json in it).",
                do="Check the path, or make one with `clipsieve embed SOURCE --store STORE --encoder ENCODER`.",
            )
        try:
            version = int(json.loads(data)["format_version"])
        except (ValueError, KeyError, TypeError) as error:
            raise StoreDamaged(
                f"{location.uri}/store.json is not a store's record.",
                "It says how everything beside it is to be read.",
                f'If nothing else is damaged, write {{"format_version": {FORMAT_VERSION}}} into it.',
            ) from error
        if version > FORMAT_VERSION:
            raise StoreTooNew(
                f"The store at {location.uri} has format {version}; this clipsieve reads up to {FORMAT_VERSION}.",
                "Reading it as an older one could drop or misread columns.",
                "Upgrade with `pip install -U clipsieve`.",
            )
        return cls(location)

    @classmethod
    def create(cls, location: Location) -> "Store":
        """Open the store, or make an empty one where there is nothing."""
        if location.read("store.json") is None:
            location.create("store.json", store_record())
        return cls.open(location)

    def encoders(self) -> list[EncoderStore]:
        """Return every encoder of the store, sorted by id."""
        names = [name for name in self.location.folders() if name.startswith(_ENCODER_FOLDER)]
        return [held for held in map(self._encoder_at, names) if held is not None]

    def encoder(self, wanted: str | None = None) -> EncoderStore:
        """Return the encoder that an id, the start of one, or `MODEL/PRETRAINED` means; the only one where None."""
        held = self.encoders()
        names = [e.encoder.encoder_id for e in held]
        if not held:
            raise StoreNotFound(
                f"The store at {self.location.uri} holds no embeddings yet.", do="Run `clipsieve embed`."
            )
        if wanted is None:
            if len(held) > 1:
                raise WrongEncoder(
                    f"The store at {self.location.uri} holds {len(held)} encoders, whose vectors must not be mixed.",
                    do=f"Choose one with --encoder: {', '.join(names)}.",
                )
            return held[0]
        label = _label(wanted)
        # A whole id or label first: `run` must find run-… where run2-… is held too. Where a path says which file here
        # holds the weights, the model's name is enough.
        model, _, weights = wanted.partition("/")
        by_model = (f"{_label(model)}-",) if "/" in weights else ()
        starts = (f"{wanted}", f"{label}-", label, *by_model)
        found = ([e for e, name in zip(held, names, strict=True) if name.startswith(start)] for start in starts)
        matches = next(filter(None, found), [])
        if len(matches) == 1:
            return matches[0]
        nearest = difflib.get_close_matches(label, names, 1, 0)
        raise UnknownName(
            f"{'No' if not matches else 'More than one'} encoder of the store at {self.location.uri} is {wanted!r}.",
            do=f"It holds: {', '.join(names)}." + (f" Nearest: {nearest[0]}." if nearest and len(held) > 1 else ""),
        )

    def add_encoder(self, encoder: Encoder) -> EncoderStore:
        """Return this encoder's part of the store, made if it is new; equal fingerprints share one."""
        for held in self.encoders():
            if held.encoder.fingerprint == encoder.fingerprint:
                return held
        new = planned(self.location, encoder)
        new.location.create("encoder.json", encoder.to_json())
        return new

    def _encoder_at(self, name: str) -> EncoderStore | None:
        """Return the encoder of a folder; None where a job was killed, or is busy, before it wrote its first file."""
        folder = self.location.child(name)
        data = folder.read("encoder.json")
        if data is None and not folder.files():
            return None
        data = data or folder.read("encoder.json")  # written by another job in between
        if data is None:
            raise StoreDamaged(
                f"{folder.uri} has no encoder.json.",
                "Without it nobody can say what its vectors mean.",
                "Restore the file from a backup, or embed again into a new store.",
            )
        return EncoderStore(Encoder.from_json(data, f"{folder.uri}/encoder.json"), folder)


def store_record() -> bytes:
    """Return what `store.json` says: the format's version."""
    record = {"format": "clipsieve-store", "format_version": FORMAT_VERSION}
    return (json.dumps(record, indent=2) + "\n").encode()


def planned(location: Location, encoder: Encoder) -> EncoderStore:
    """Return where this encoder's part of a store at `location` will lie; nothing is written."""
    return EncoderStore(encoder, location.child(_ENCODER_FOLDER + encoder.encoder_id))
