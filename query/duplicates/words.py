"""What is asked of neighbors and of duplicates: how alike, which image stays, and which may be compared with which."""

from dataclasses import dataclass

import duckdb

from query.duplicates.sets import FLOOR
from query.opened import Opened
from query.readonly import parse
from query.rules.policies.condition import (
    Condition,
    check_condition,
    first_line,
    kind_of,
    parse_condition,
    require_scores,
)
from query.scoring.concepts import shipped_concepts
from query.scoring.score_sets import image_parts
from store.errors import QueryRefused, UsageError

KEEP_FIRST_BY = "width_px * height_px desc, size_bytes desc, last_modified, uri"
"""The keeper: most pixels, then most bytes, then the oldest, then by URI."""

_BY_NUMBERS = "_pixels desc, size_bytes desc, _modified"
NEVER, NO_GROUP = "false", "''"
"""What stands for a condition and a group where none is asked for."""

_CONTENT = "sha256, pixels_sha256, coalesce(pixels_sha256, sha256) as content"


MEMORY_BYTES = 2_000_000_000
_LEAST_MEMORY_BYTES = 600_000_000


@dataclass(frozen=True)
class NeighborWords:
    """What to find: pairs from `floor` on, by a method or, where it is None, by the one that suits the size."""

    floor: float = FLOOR
    method: str | None = None
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        """Refuse what cannot be found."""
        if not 0 < self.floor <= 1:
            raise UsageError(f"A floor of {self.floor:g} is no cosine above 0 and up to 1.")
        if self.floor != round(self.floor, 6):
            raise UsageError(f"A cosine is exact to its sixth decimal, and {self.floor!r} has more.")
        if self.memory_bytes < _LEAST_MEMORY_BYTES:
            raise UsageError(
                f"{self.memory_bytes / 1e6:,.0f} MB of memory are too few: the libraries alone take most of that.",
                do=f"Give --memory at least {_LEAST_MEMORY_BYTES / 1e6:,.0f}MB.",
            )


@dataclass(frozen=True)
class DuplicateWords:
    """A question about duplicates. What is SQL is asked of the view `candidates`; empty words ask nothing."""

    at: float | None = None  # cosine; None: only what is the same, byte for byte or pixel for pixel
    keep_first_by: str = KEEP_FIRST_BY  # as after ORDER BY; what it leaves open is settled by uri and image_id
    where: str = ""  # only images for which this holds take part
    never: str = ""  # images for which this holds are never removed; they are ranked before all others
    within: str = ""  # only images with the same value of this are compared
    across: str = ""  # only images with different values of this are compared

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        if self.at is not None and not 0 < self.at <= 1:
            raise UsageError(f"A threshold of {self.at:g} is no cosine above 0 and up to 1.")
        if self.within and self.across:
            raise UsageError("Images are compared within groups or across them, not both.")

    @property
    def groups(self) -> str:
        """Return how groups must be for a pair to count: 'any', 'same' or 'different'."""
        return "same" if self.within else "different" if self.across else "any"


@dataclass(frozen=True)
class Ranking:
    """The checked SQL of a question: who takes part, who is never removed, and who comes before whom."""

    order: str
    where: str = "true"
    never: str = NEVER
    group: str = NO_GROUP
    joins: str = ""  # tables joined to `candidates`, which the other words may ask about too
    source: str = "candidates"  # what images are read from, with every column that the words ask for

    @property
    def leaves_ties(self) -> bool:
        """Return whether `query` sorts by numbers alone: to sort all URIs takes longer than everything else."""
        return self.order == KEEP_FIRST_BY

    def query(self, *, with_content: bool, everyone: bool) -> str:
        """Return a query of the images involved, or of everyone, the best one first.

        Columns: image_id, size_bytes and _pixels (-1: unknown); where they are asked for never and group_name; with
        content its hashes; with ties _modified, the third thing that they are found by.
        """
        unknown = 2**63 - 1
        modified = f"coalesce(epoch_us(candidates.last_modified), {unknown})::bigint as _modified"
        more = [
            *([f"coalesce({self.never}, false) as never"] if self.never != NEVER else []),
            *([f"{self.group}::varchar as group_name"] if self.group != NO_GROUP else []),
            *([modified] if self.leaves_ties else []),
            *([_CONTENT] if with_content else []),
        ]
        order = _BY_NUMBERS if self.leaves_ties else f"{self.order}\n, uri, image_id"
        if self.never != NEVER:  # to sort by a constant too would take twice as long
            order = f"never desc, {order}"
        return f"""
            select
                image_id,
                coalesce(candidates.size_bytes, -1)::bigint as size_bytes,
                coalesce(width_px * height_px, -1)::bigint as _pixels{"".join(f", {one}" for one in more)}
            from (select * from {self.source}{"" if everyone else " semi join involved using (image_id)"}) as candidates
            {self.joins}
            where candidates.status = 'embedded' and coalesce({self.where}, false)
            order by {order}
        """  # noqa: S608  # every piece is checked code

    @property
    def tied_by(self) -> str:
        """Return the columns that images are tied by where they are the same in all of them, for a select."""
        return "_pixels, size_bytes, _modified" if self.never == NEVER else "never, _pixels, size_bytes, _modified"

    @property
    def constants(self) -> str:
        """Return, for a select, what is the same for every image, so that no query need look at it."""
        same = [("false as never", self.never == NEVER), ("'' as group_name", self.group == NO_GROUP)]
        return "".join(f", {column}" for column, holds in same if holds)


def checked(opened: Opened, words: DuplicateWords) -> Ranking:
    """Return the question as SQL; raise where it asks for what is not there, or does more than ask."""
    if words.keep_first_by != KEEP_FIRST_BY:
        order = parse_order(opened.connection, words.keep_first_by, f"--keep-first-by {words.keep_first_by!r}")
        kind_of(opened.connection, "candidates", order, opened.columns, shipped_concepts())
        require_scores([order], opened.scored, image_parts(opened.store))
    texts = {"--where": words.where, "--never": words.never, "--within": words.within, "--across": words.across}
    asked = {
        option: parse_condition(opened.connection, text, f"{option} {text!r}")
        for option, text in texts.items()
        if text.strip()
    }
    for option, condition in asked.items():
        check = check_condition if option in {"--where", "--never"} else kind_of
        check(opened.connection, "candidates", condition, opened.columns, shipped_concepts())
    require_scores([*asked.values()], opened.scored, image_parts(opened.store))
    sql = {option: condition.sql for option, condition in asked.items()}
    group = sql.get("--within") or sql.get("--across") or NO_GROUP
    # Without words of one's own, neither scores nor what detectors saw are asked about: two joins less.
    source = "candidates" if asked or words.keep_first_by != KEEP_FIRST_BY else "current_images"
    where, never = sql.get("--where", "true"), sql.get("--never", NEVER)
    return Ranking(words.keep_first_by, where, never, group, source=source)


def parse_order(connection: duckdb.DuckDBPyConnection, text: str, what: str) -> Condition:
    """Return an order as the expression that ranks by it; raise UsageError where it is more than an order."""
    ranking = f"row_number() over (order by {text}\n)"
    try:
        tree = parse(connection, f"select ({ranking}\n)") if text.strip() else []
    except QueryRefused as error:
        raise UsageError(
            f"{what} is no order: {first_line(error)}.", do=f"The usual one is {KEEP_FIRST_BY!r}."
        ) from error
    columns = [(one["class"], one.get("start"), one.get("end")) for node in tree for one in node["select_list"]]
    if columns != [("WINDOW", "UNBOUNDED_PRECEDING", "CURRENT_ROW_RANGE")]:
        raise UsageError(f"{what} is no order.", do=f"The usual one is {KEEP_FIRST_BY!r}.")
    return parse_condition(connection, ranking, what)
