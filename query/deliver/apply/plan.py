"""What an application would do, counted before anything is done: objects, bytes, requests, and what they cost."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from query.deliver.apply.journal import Journal
from query.deliver.apply.tables import Tables
from store.s3.bucket import Bucket
from store.s3.copying.records import CopyOptions

TO_DO = ("to_copy", "changed", "vanished", "forbidden", "failed", "missing")
"""What is (still, or again) to be tried: nothing lies at its key."""
THERE = ("copied", "already_there")
SEEN_JUST_NOW_S = 60.0
"""A listing this young is not taken again: every step looks at its own object anyway."""
_KEYS_PER_LIST = 1000
_GIGABYTE = 2**30


@dataclass(frozen=True)
class Prices:
    """In dollars. The defaults are those of S3 Standard in us-east-1: https://aws.amazon.com/s3/pricing/."""

    per_1000_requests: float = 0.005  # COPY, PUT, POST, LIST
    per_1000_reads: float = 0.0004  # GET, HEAD
    per_gb_month: float = 0.023


@dataclass(frozen=True)
class Count:
    """Objects in one state."""

    objects: int = 0
    size_bytes: int = 0
    in_parts: int = 0
    parts: int = 0


@dataclass(frozen=True)
class Plan:
    """How everything stands, and the requests that are left to make, by kind."""

    destination: str
    states: Mapping[str, Count]
    others: Count  # what else lies below the destination
    other_example: str | None
    requests: Mapping[str, int] = field(default_factory=dict)

    @property
    def to_do(self) -> Count:
        """What is to be copied."""
        return total(self.states, TO_DO)

    @property
    def there(self) -> Count:
        """What is there already, copied earlier or equal."""
        return total(self.states, THERE)

    @property
    def kept(self) -> Count:
        """Everything that the run keeps."""
        return total(self.states, tuple(self.states))

    @property
    def is_clean(self) -> bool:
        """Whether the destination holds exactly what the run keeps."""
        return set(self.states) <= set(THERE) and not self.others.objects

    def cost(self, prices: Prices) -> float:
        """Return the price of the requests in dollars; deletions are free, and so is traffic within a region."""
        reads = self.requests.get("HEAD", 0) + self.requests.get("GET", 0)
        writes = sum(self.requests.values()) - reads
        return (writes * prices.per_1000_requests + reads * prices.per_1000_reads) / 1000

    def cost_per_month(self, prices: Prices) -> float:
        """Return what it costs to keep the copies that are to be made, in dollars a month."""
        return self.to_do.size_bytes / _GIGABYTE * prices.per_gb_month


def total(states: Mapping[str, Count], names: tuple[str, ...]) -> Count:
    """Add up some states."""
    counts = [states[name] for name in names if name in states]
    return Count(
        sum(c.objects for c in counts),
        sum(c.size_bytes for c in counts),
        sum(c.in_parts for c in counts),
        sum(c.parts for c in counts),
    )


def look(tables: Tables, to: Bucket, journal: Journal) -> None:
    """List the destination and read the journal, and see how every planned copy stands."""
    tables.list_present(to.objects())
    tables.read_journal(journal)
    tables.make("states")


def describe(tables: Tables, to: Bucket, options: CopyOptions) -> Plan:
    """Count what `look` has seen."""
    sizes = {"parts_above_bytes": options.parts_above_bytes, "part_bytes": options.part_bytes}
    states = {row.pop("state"): Count(**row) for row in tables.rows("tally", **sizes)}
    (others,) = tables.rows("others")
    example: Any = others.pop("example")
    present = sum(count.objects for name, count in states.items() if name not in TO_DO) + others["objects"]
    plan = Plan(to.uri, states, Count(**others), example)
    requests = _requests(plan.to_do, present, to, options)
    return Plan(to.uri, states, plan.others, example, {kind: n for kind, n in requests.items() if n})


def _requests(to_do: Count, present: int, to: Bucket, options: CopyOptions) -> dict[str, int]:
    whole = to_do.objects - to_do.in_parts
    heads = (0 if to.honours_conditions else 2 * to_do.objects) + (whole if options.asks_source else 0)
    return {
        "COPY": whole + to_do.parts,
        "POST": 2 * to_do.in_parts,  # begin and complete an upload in parts
        "HEAD": heads + 2 * to_do.in_parts,
        "LIST": 2 + present // _KEYS_PER_LIST + (present + to_do.objects) // _KEYS_PER_LIST,
    }
