"""What a source held is a listing; what of it is done is an anti-join against the parts."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import StoreDamaged
from store.ledger import Ledger
from store.listings import ListingWriter
from tests.stores import add_part, broken, embedded, files_of, list_source, listed, new_store, run_id, small_store

# Ledger


@given(
    done=st.sets(st.integers(0, 9)),
    failures=st.sets(st.integers(0, 9)),
    wanted=st.lists(st.integers(0, 12)),
    cut=st.integers(0, 20),
)
@settings(max_examples=20)
def test_ledger_is_an_anti_join(
    tmp_path_factory: pytest.TempPathFactory, done: set[int], failures: set[int], wanted: list[int], cut: int
) -> None:
    """Pending is what has no row of its URI and revision, in the order asked; with retry, failures are pending too."""
    store = new_store(tmp_path_factory.mktemp("ledger"))
    rows = [embedded(listed(f"in/{k}")) for k in done] + [broken(listed(f"in/{k}")) for k in failures]
    for part, some in enumerate((rows[:cut], rows[cut:])):
        add_part(store, some, part=part)
    changed = [listed("in/0", etag="e2")]
    asked = [listed(f"in/{k}") for k in wanted]
    for retry, held in ((False, done | failures), (True, done)):
        with Ledger(store.refreshed(), retry_failed=retry) as ledger:
            pending = ledger.pending([*asked, *changed])
        assert pending == [*(one for one, k in zip(asked, wanted, strict=True) if k not in held), *changed]


def test_ledger_reads_any_path(tmp_path: Path) -> None:
    """A store is read wherever it lies, also in a folder whose name looks like a pattern or like SQL."""
    store = small_store(tmp_path / "*?[x] 'q' \"ü\" {a,b} 50%")
    with Ledger(store) as ledger:
        assert ledger.pending([listed("in/00.jpg"), listed("in/new.jpg")]) == [listed("in/new.jpg")]


def test_ledger_names_a_damaged_part(tmp_path: Path) -> None:
    """A part that cannot be read stops a job, with the way out."""
    store = small_store(tmp_path)
    name = store.parts("images")[0]
    store.location.write(name, b"PAR1 no more")
    with pytest.raises(StoreDamaged, match=rf"{re.escape(name)} cannot be read .*run the same `clipsieve embed` again"):
        Ledger(store)


# Listings


def test_equal_listing_is_not_written_again(tmp_path: Path) -> None:
    """A source that holds what it held before adds no listing, in whatever order and pages it is listed."""
    store = new_store(tmp_path)
    found = [listed(f"in/{k}.jpg") for k in range(5)]
    list_source(store, found, 1)
    before = files_of(tmp_path)
    list_source(store.refreshed(), found[::-1], 2)
    assert files_of(tmp_path) == before
    assert len(store.refreshed().newest_listings()) == 1


@pytest.mark.parametrize(
    "later",
    [[0, 1], [0, 1, 2, 3], [0, 1, 3], []],
    ids=["deleted", "added", "swapped", "emptied"],
)
def test_changed_listing_replaces_the_older(tmp_path: Path, later: Sequence[int]) -> None:
    """The newest listing of a source counts, and the ones of other sources stay."""
    store = new_store(tmp_path)
    list_source(store, [listed("else/9.jpg", source="s3://photos/else/")], 1, "s3://photos/else/")
    list_source(store.refreshed(), [listed(f"in/{k}.jpg") for k in range(3)], 2)
    list_source(store.refreshed(), [listed(f"in/{k}.jpg") for k in later], 3)
    runs = {name.split("/")[1].split(".")[0] for name in store.refreshed().newest_listings()}
    assert runs == {run_id(1), run_id(3)}
    assert store.refreshed().newest_run() == run_id(3)


def test_listing_that_broke_off_leaves_nothing(tmp_path: Path) -> None:
    """A listing that ends in an error never reaches the store."""
    store = new_store(tmp_path)

    def list_in_vain() -> None:
        with ListingWriter(store, "s3://photos/in/", run_id(1)) as listing:
            listing.add([listed("in/a.jpg")])
            raise KeyError

    with pytest.raises(KeyError):
        list_in_vain()
    assert store.refreshed().parts("listings") == []
