"""An opened store: everything that can be asked of it, without torch. What a command does, a notebook does too."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from query.asking.vectors import TOP, ImageTowerOf, Wanted, no_image_tower, text_vectors
from query.duplicates.sets import FLOOR
from query.duplicates.words import MEMORY_BYTES, DuplicateWords, NeighborWords
from query.kept import Kept, fullest, set_with
from query.readonly import run_readonly
from query.rules.plot import require_picture
from query.rules.sweep import Sweep, SweepWords, sweep
from query.rules.thresholds import NEAREST
from query.scoring.inputs import TextTowerOf, damaged_heads
from query.scoring.score_sets import image_parts, read_sets
from sql import load, names
from store.encoder import Encoder
from store.layout import EncoderStore, Store, locate
from store.s3.options import S3Options

if TYPE_CHECKING:
    from query.asking.catalog import Catalog
    from query.asking.cookbook import Value
    from query.deliver.export import Run
    from query.duplicates.answering.ask import Duplicates
    from query.duplicates.neighbors.find import Found
    from query.rules.diff import Difference
    from query.rules.select import Selection
    from query.scoring.score import ScoreReport
    from query.status import Status
    from store.verify import VerifyReport


class Session:
    """One encoder of a store, opened for questions. Every call sees the store as it is at that moment."""

    def __init__(
        self,
        store: EncoderStore,
        text_tower_of: TextTowerOf,
        s3: S3Options,
        image_tower_of: ImageTowerOf = no_image_tower,
    ) -> None:
        """Use `clipsieve.open`."""
        self._kept, self._s3 = Kept(store), s3
        self._text_tower_of, self._image_tower_of = text_tower_of, image_tower_of

    @classmethod
    def open(
        cls,
        place: str,
        text_tower_of: TextTowerOf,
        encoder: str | None = None,
        s3: S3Options = S3Options(),  # noqa: B008  # frozen
        *,
        image_tower_of: ImageTowerOf = no_image_tower,
    ) -> "Session":
        """Open the store at a folder or `s3://bucket/prefix`; `encoder` may be left out where the store holds one."""
        return cls(Store.open(locate(place, s3)).encoder(encoder), text_tower_of, s3, image_tower_of)

    @property
    def encoder(self) -> Encoder:
        """The encoder whose vectors this session asks."""
        return self._kept.encoder

    @property
    def store(self) -> EncoderStore:
        """The store as it is now."""
        return self._kept.store

    def score(
        self,
        *concepts: str,
        from_file: str | None = None,
        on_part: Callable[[int, int], None] = lambda _done, _all: None,
    ) -> "ScoreReport":
        """Compute missing scores: of these concepts (names or TOML files), or of all where none is named.

        A shipped name means the shipped wording, also where the store holds scores of an older one. `from_file` is a
        file with the weights of the one head that is named, where they cannot be fetched.
        """
        from query.scoring.score import score, wanted_concepts

        store = self.store
        return score(store, wanted_concepts(store, concepts, from_file), self._text_tower_of, on_part)

    def concepts(self) -> pa.Table:
        """Return every concept that goes by a name here: kind, state, unit, range, threshold and distribution."""
        from query.scoring.overview import overview

        with self._kept.now() as opened:
            return overview(opened)

    def sweep(  # noqa: PLR0913  # the words of a sweep, each of which may be left out
        self,
        concept: str,
        steps: int | None = None,
        *,
        across: str | None = None,
        below: bool | None = None,
        either: bool = False,
        by: str | None = None,
        where: str | None = None,
        plot: str | None = None,
    ) -> pa.Table:
        """Return how much each threshold removes: threshold, removed, kept, removed_share; equality is included.

        `across` is a second concept, for each pair of thresholds; the other words are those of `SweepWords`; `plot` is
        a file for a picture. Raise NotScored where scores are missing, UnknownName for what is no concept.
        """
        if plot is not None:
            require_picture(plot, groups=by is not None)
        swept = self.swept([concept, across] if across else [concept], SweepWords(steps, below, either, by, where))
        if plot is not None:
            swept.plot(plot)
        return swept.table

    def swept(self, concepts: Sequence[str], words: SweepWords) -> Sweep:
        """Return what `sweep` returns, with what it was asked and how many images no longer count."""
        with self._kept.scored(*concepts) as (opened, scored):
            return sweep(opened, [c for name in concepts for c in scored.concepts if c.name == name], words)

    def band(self, concept: str, low: float, high: float) -> pa.Table:
        """Return the images whose score of a concept lies in the band, both ends included, most uncertain first.

        Raise NotScored where scores are missing, UnknownName for what is no concept.
        """
        from query.rules.band import band

        with self._kept.scored(concept) as (opened, _):
            return band(opened, concept, low, high)

    def threshold(self, concept: str) -> float:
        """Return the threshold that a scored concept suggests."""
        scored = set_with(read_sets(self.store), concept)
        return next(c.threshold for c in scored.concepts if c.name == concept)

    def search(  # noqa: PLR0913  # the words of a search, each of which may be left out
        self,
        *texts: str,
        minus: Sequence[str] = (),
        images: Sequence[str] = (),
        minus_images: Sequence[str] = (),
        where: str = "",
        top: int = TOP,
        html: str | None = None,
    ) -> pa.Table:
        """Return the `top` images nearest to the sum of texts and images less those that count against it, exactly.

        An image is one of the store (image_id, URI or key) or a file; `where` is a SQL condition over the view
        `candidates`; `html` is a file for a contact sheet. Columns: rank, cosine, uri, width_px, height_px, format,
        size_bytes, image_id.
        """
        from query.asking.search import search, sheet_of
        from query.sheet import require_html, write_sheet

        if html is not None:
            require_html(html)
        wanted = Wanted(texts, minus, images, minus_images, where, top)
        vectors = text_vectors(self.store, wanted, self._text_tower_of)
        with self._kept.now() as opened:
            found = search(opened, wanted, vectors, self._image_tower_of)
            if html is not None:
                write_sheet(html, sheet_of(opened, found))
        return found.rows

    def sql(self, query: str, *, at_most: int | None = None) -> pa.Table:
        """Return the answer of one read-only query over the documented views; raise QueryRefused for anything else.

        `at_most` ends it once there are so many rows.
        """
        with self._kept.now() as opened:
            return run_readonly(opened.connection, query, at_most=at_most)

    def cookbook(self, name: str, /, **values: "Value") -> pa.Table:
        """Return the answer of one of the cookbook's questions; `values` are its parameters, by name."""
        from query.asking.cookbook import find_recipe

        recipe = find_recipe(name)
        with self._kept.now() as opened:
            bound = recipe.bind(values, opened.scored.names if opened.scored else ())
            return run_readonly(opened.connection, recipe.query, bound)

    def catalog(self, to: str | None = None) -> "Catalog":
        """Write a .duckdb file whose views are these, over the store's own files, for any DuckDB client."""
        from query.asking.catalog import write_catalog

        store = self.store
        return write_catalog(store, fullest(store), to)

    def unscored_parts(self) -> int:
        """Return how many parts the view `scores` lacks."""
        store = self.store
        scored = fullest(store)
        return len(image_parts(store)) - len(scored.parts) if scored else 0

    def select(self, policy: str | None = None, remove: Sequence[str] = (), *, nearest: int = NEAREST) -> "Selection":
        """Return what a policy would do: a shipped name, a TOML file, or conditions that remove in its place.

        `nearest` is how many images are shown on either side of each threshold; with 0 the counting costs one scan.
        """
        from query.rules.policies.policy import policy_of
        from query.rules.select import select

        with self._kept.now() as opened:
            return select(opened, policy_of(opened.connection, policy, remove), nearest)

    def decisions(self, policy: str | None = None, remove: Sequence[str] = ()) -> pa.Table:
        """Return what a policy decides of every object: image_id, uri, decision, and the rule, score and threshold."""
        from query.rules.policies.policy import policy_of
        from query.rules.select import decisions

        with self._kept.now() as opened:
            return decisions(opened, policy_of(opened.connection, policy, remove))

    def diff(
        self, policy: str | None, other: str, remove: Sequence[str] = (), *, examples: int | None = None
    ) -> "Difference":
        """Return what changes sides where `other` takes the place of a policy; all images, or so many of each kind."""
        from query.rules.diff import diff
        from query.rules.policies.policy import find_policy, policy_of

        with self._kept.now() as opened:
            before = policy_of(opened.connection, policy, remove)
            return diff(opened, before, find_policy(opened.connection, other), examples)

    def export(  # noqa: PLR0913  # the words of an export, each of which may be left out
        self,
        to: str,
        policy: str | None = None,
        remove: Sequence[str] = (),
        *,
        jsonl: bool = False,
        presign: str | None = None,
        parquet: bool = True,
        report: bool = True,
    ) -> "Run":
        """Write what a policy decides as a run: a new folder of its own below `to`, a folder or S3 prefix.

        `jsonl` adds JSON lines; `presign` is how long URLs last that let anybody read an image: `7d`, `12h`, `30m`.
        """
        from query.deliver.export import ExportWords, write_run
        from query.deliver.links import lasting
        from query.rules.policies.policy import policy_of

        words = ExportWords(self._s3, jsonl, lasting(presign) if presign is not None else None, parquet, report)
        with self._kept.now() as opened:
            return write_run(opened, policy_of(opened.connection, policy, remove), locate(to, self._s3), words)

    def neighbors(
        self,
        floor: float = FLOOR,
        *,
        method: str | None = None,
        memory_bytes: int = MEMORY_BYTES,
        on_progress: Callable[[str, int, int], None] = lambda _what, _done, _all: None,
    ) -> "Found":
        """Find every pair of images whose cosine is `floor` or more, of parts that were not compared yet, and keep it.

        `method` is "exact" or "approximate"; where it is None, the size decides. torch must not be loaded here.
        """
        from query.duplicates.answering.ranked import keep_ranked
        from query.duplicates.neighbors.find import find_neighbors

        found = find_neighbors(self.store, NeighborWords(floor, method, memory_bytes), on_progress)
        with self._kept.now() as opened:
            keep_ranked(opened, found.neighbors, memory_bytes)
        return found

    def duplicates(
        self, at: float | None = None, *, html: str | None = None, at_most: int | None = None, **words: str
    ) -> "Duplicates":
        """Return which images are duplicates, and of which image that stays; see `DuplicateWords`.

        Without `at`, of the same bytes or pixels. `html` is a file for a sheet of the groups. With `at_most`, both show
        so many of them, the least alike.
        """
        from query.duplicates.answering.ask import duplicates
        from query.duplicates.answering.sheet import sheet_of
        from query.sheet import require_html, write_sheet

        if html is not None:
            require_html(html)
        with self._kept.now() as opened:
            found = duplicates(opened, DuplicateWords(at, **words), at_most)
            if html is not None:
                write_sheet(html, sheet_of(opened, found))
        return found

    def duplicates_by_threshold(self, thresholds: Sequence[float] = (), **words: str) -> pa.Table:
        """Return what each threshold would remove, and what connected components would; from the floor to 1."""
        from query.duplicates.answering.ask import sweep_duplicates

        with self._kept.now() as opened:
            return sweep_duplicates(opened, thresholds, words)

    def status(self) -> "Status":
        """Return what is in the store."""
        from query.status import read_status

        with self._kept.now() as opened:
            return read_status(opened.connection, opened.store, opened.scored)

    def verify(self) -> "VerifyReport":
        """Read everything and return every fault that is found; see `store.verify` and `sql/checks`."""
        from store.verify import verify

        store = self.store
        report = verify(store).with_faults(damaged_heads(store))
        if report.unreadable:
            return report
        with self._kept.now() as opened:
            return report.with_faults(
                f"{name.removeprefix('checks/')}: {rows:,} rows"
                for name in names("checks")
                if (rows := _count(opened.connection, name))
            )

    def close(self) -> None:
        """Let go of what is kept in memory; the next question opens the store again."""
        self._kept.close()


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return len(connection.sql(load(name)).fetchall())
