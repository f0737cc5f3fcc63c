"""What lies at a path: pairs of a file of vectors and a file of metadata, row by row about the same images.

clip-retrieval   img_emb/img_emb_*.npy, metadata/metadata_*.parquet, text_emb/text_emb_*.npy (or all in one folder)
                 https://github.com/rom1504/clip-retrieval/blob/main/clip_retrieval/clip_inference/writer.py
DataComp         *.npz with b32_img, b32_txt, l14_img, l14_txt, and the *.parquet of the same name
                 https://github.com/mlfoundations/datacomp/blob/main/baselines/apply_filter.py
plain            *.npy, or raw float32 *.bin, and a Parquet, CSV or JSON file of the same name, or the only one there
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embed.vectors.reading import arrays, metadata
from embed.vectors.reading.arrays import VectorFile, array_names, open_vectors
from embed.vectors.reading.metadata import MetadataFile, open_metadata
from store.errors import ImportRefused, UsageError

_FORMS = "clip-retrieval's img_emb_*.npy, DataComp's *.npz, or *.npy or *.bin beside *.parquet, *.csv or *.json"
_DATACOMP_ARRAYS = {"ViT-B-32": "b32_img", "ViT-L-14": "l14_img"}


@dataclass(frozen=True)
class Pair:
    """Vectors and the metadata of their rows; `texts` are the vectors of the captions of the same rows."""

    vectors: VectorFile
    metadata: MetadataFile
    texts: VectorFile | None = None

    def row(self, number: int) -> str:
        """Return what messages call a row; the first is 1."""
        return f"Row {number + 1:,} of {self.vectors.name} ({self.metadata.path.name})"


@dataclass(frozen=True)
class Choice:
    """What the user says of files that do not say it themselves."""

    model_name: str
    metadata: str | None = None
    array: str | None = None
    dim: int | None = None


@dataclass(frozen=True)
class Found:
    """Everything that lies at a path, headers read: every pair agrees in rows, and all of them in dimension."""

    form: str
    pairs: tuple[Pair, ...]
    caption_column: str | None

    @property
    def rows(self) -> int:
        """Return the number of vectors."""
        return sum(pair.vectors.rows for pair in self.pairs)

    @property
    def dim(self) -> int:
        """Return D."""
        return self.pairs[0].vectors.dim

    @property
    def texts(self) -> int:
        """Return the number of vectors of captions."""
        return sum(pair.texts.rows for pair in self.pairs if pair.texts)


def find(path: Path, choice: Choice) -> Found:
    """Return what lies at `path`, a folder or a file of vectors; raise UsageError where that is nothing known.

    Raise ImportRefused where files miss their partner, or differ in rows or dimension.
    """
    if not path.exists():
        raise UsageError(f"There is nothing at {path}.", do="PATH is a folder or a file on this machine.")
    folder = path if path.is_dir() else path.parent
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    if path.is_dir() and (named := _clip_retrieval(path)):
        return _agreeing(Found("clip-retrieval", tuple(named), "caption"))
    if shards := [file for file in files if file.suffix == ".npz"]:
        _refuse_one_for_many(folder, shards, choice.metadata)
        return _agreeing(Found("DataComp", tuple(_shard(file, choice) for file in shards), "text"))
    vectors = [file for file in files if file.suffix in arrays.SUFFIXES]
    if not vectors:
        raise UsageError(f"{path} holds no vectors that are known here.", do=f"Known are {_FORMS}.")
    partners = _partners(folder, vectors, choice.metadata)
    pairs = (Pair(open_vectors(v, dim=choice.dim), open_metadata(m)) for v, m in zip(vectors, partners, strict=True))
    return _agreeing(Found("plain", tuple(pairs), None))


def _clip_retrieval(folder: Path) -> list[Pair]:
    """Return the pairs of clip-retrieval's output: files of one number belong together."""
    images = _numbered(folder, "img_emb_", ".npy")
    texts = _numbered(folder, "text_emb_", ".npy")
    rows = _numbered(folder, "metadata_", ".parquet")
    if not images:
        return []
    if images.keys() != rows.keys() or (texts and texts.keys() != images.keys()):
        lonely = sorted((images.keys() ^ rows.keys()) | ((texts.keys() ^ images.keys()) if texts else set()))
        raise ImportRefused(
            f"{folder} has not the same numbers among img_emb_*.npy, metadata_*.parquet and text_emb_*.npy: "
            f"{', '.join(lonely[:5])} miss a partner.",
            "Without its metadata a vector has no name.",
            "Give the folder that holds img_emb and metadata both, or copy what is missing.",
        )
    return [
        Pair(open_vectors(images[k]), open_metadata(rows[k]), open_vectors(texts[k]) if texts else None) for k in images
    ]


def _numbered(folder: Path, prefix: str, suffix: str) -> dict[str, Path]:
    """Return files such as img_emb_0012.npy by their number, in this folder or in those directly in it."""
    found: dict[str, Path] = {}
    for file in sorted([*folder.glob(f"{prefix}*{suffix}"), *folder.glob(f"*/{prefix}*{suffix}")]):
        number = file.name.removeprefix(prefix).removesuffix(suffix)
        if number in found:
            raise UsageError(f"{found[number]} and {file} have one name.", do="Give the path of one of the two sets.")
        found[number] = file
    return found


def _shard(file: Path, choice: Choice) -> Pair:
    names = array_names(file)
    array = choice.array or _image_array(file, names, choice.model_name)
    partner = _existing(choice.metadata) if choice.metadata else file.with_suffix(".parquet")
    if not partner.exists():
        raise _no_partner(file)
    texts = f"{array.removesuffix('_img')}_txt" if array.endswith("_img") else ""
    text_vectors = open_vectors(file, texts) if texts in names else None
    return Pair(open_vectors(file, array), open_metadata(partner), text_vectors)


def _image_array(file: Path, names: Sequence[str], model_name: str) -> str:
    usual = _DATACOMP_ARRAYS.get(model_name.removesuffix("-quickgelu"))
    if usual in names:
        return str(usual)
    if len(names) == 1:
        return names[0]
    raise UsageError(
        f"{file.name} holds several arrays: {', '.join(names)}.",
        "Each is of another encoder, or of texts.",
        f"Choose the one of {model_name} with --array.",
    )


def _partners(folder: Path, vectors: Sequence[Path], given: str | None) -> list[Path]:
    """Return the file of metadata of each file of vectors."""
    _refuse_one_for_many(folder, vectors, given)
    if given is not None:
        return [_existing(given)]
    there = sorted(file for file in folder.iterdir() if file.suffix in metadata.SUFFIXES)
    found = []
    for file in vectors:
        same = [other for other in there if other.stem == file.stem]
        choices = same or (there if len(vectors) == 1 else [])
        if len(choices) != 1:
            raise (
                _no_partner(file)
                if not choices
                else UsageError(
                    f"{file.name} could belong to {' or '.join(other.name for other in choices)}.",
                    do="Choose one with --metadata.",
                )
            )
        found += choices
    return found


def _refuse_one_for_many(folder: Path, vectors: Sequence[Path], given: str | None) -> None:
    if given is not None and len(vectors) > 1:
        raise UsageError(
            f"--metadata names one file, and {folder} holds {len(vectors)} files of vectors.",
            do="Give the path of one of them, or name each metadata file like its vectors.",
        )


def _existing(given: str) -> Path:
    path = Path(given).expanduser()
    if not path.is_file():
        raise UsageError(f"There is no file {given}.", do="--metadata names a file on this machine.")
    return path


def _no_partner(file: Path) -> ImportRefused:
    return ImportRefused(
        f"{file.name} has no metadata beside it.",
        "Without it a vector has no name.",
        f"Give it with --metadata, or name it {file.stem} with one of: {', '.join(metadata.SUFFIXES)}.",
    )


def _agreeing(found: Found) -> Found:
    """Return it, or raise where counts or dimensions do not agree."""
    for pair in found.pairs:
        vectors = pair.vectors
        for other, rows in ((pair.metadata.path.name, pair.metadata.rows), *_text_rows(pair)):
            if rows != vectors.rows:
                raise ImportRefused(
                    f"{vectors.name} has {vectors.rows:,} rows of {vectors.dim} {vectors.dtype}, and {other} has "
                    f"{rows:,}.",
                    "Row for row they must be about the same image.",
                    f"Find the pair that belongs together{', or check --dim' * (vectors.path.suffix == '.bin')}.",
                )
        for file in (vectors, pair.texts) if pair.texts else (vectors,):
            if file.dim != found.dim:
                raise ImportRefused(
                    f"{file.name} has {file.dim} dimensions, and {found.pairs[0].vectors.name} has {found.dim}.",
                    "One encoder makes vectors of one dimension.",
                    "Import what belongs to one encoder at a time.",
                )
    if not found.rows:
        raise ImportRefused(
            f"{found.pairs[0].vectors.name} holds no vectors{' and neither do the others' * (len(found.pairs) > 1)}.",
            do="Nothing was imported.",
        )
    return found


def _text_rows(pair: Pair) -> list[tuple[str, int]]:
    return [(pair.texts.name, pair.texts.rows)] if pair.texts else []
