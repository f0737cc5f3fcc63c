"""`duplicate_at` in a policy: an image goes only where one as close is kept in the end, whatever other rules say."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query.duplicates.sets import APPROXIMATE
from query.rules.policies.kinds import DuplicateRule
from query.rules.policies.policy import parse_policy
from store.errors import NotCompared, UnknownName, UsageError
from store.layout import EncoderStore
from store.schema import ImageRow
from tests.commands import typed
from tests.neighboring import image, put_neighbors, store_of
from tests.stores import add_part, ask, list_source, listed, read_csv

TWINS = '[[rule]]\nname = "twins"\nduplicate_at = 0.95\n'
SMALL = '[[rule]]\nname = "small"\nremove = "size_bytes < 100"\n'
GOLD = '[[rule]]\nname = "gold"\nkeep = "format = \'gold\'"\n'
THIN = '[[rule]]\nname = "thin"\nquarantine = "thin"\ngroup = "folder"\nsurvivors_below = 2\n'

STAR = {("x/a", "x/b"): 0.96, ("x/a", "y/c"): 0.95, ("x/a", "y/d"): 0.94, ("x/b", "y/c"): 0.99}


def rows_of(**facts: Mapping[str, object]) -> list[ImageRow]:
    """Images x/a, x/b, y/c, y/d from large to small, with what differs from the usual by their last letter."""
    names = ("x/a", "x/b", "y/c", "y/d")
    return [image(name, 640 - 10 * k, **facts.get(name[-1], {})) for k, name in enumerate(names)]


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Four images in two folders; x/a is close to x/b and y/c at 0.95, y/d is not."""
    return store_of(tmp_path / "store", rows_of(), STAR)


def decided(store: EncoderStore, *rules: str, folder: Path) -> dict[str, tuple[str, str | None, str | None]]:
    """What becomes of each image, by which rule, and as a duplicate of what; by the last letter of the names."""
    (folder / "p.toml").write_text("\n".join(rules))
    rows = ask(store).decisions(str(folder / "p.toml")).to_pylist()
    return {row["uri"][-1]: (row["decision"], row["rule"], (row["duplicate_of"] or "")[-1:] or None) for row in rows}


def sides(store: EncoderStore, *rules: str, folder: Path) -> str:
    """What becomes of the images in the order of their names: `k` kept, `r` removed, `q` quarantined."""
    found = decided(store, *rules, folder=folder)
    return "".join(found[name][0][0] for name in sorted(found))


# What a file says


def test_a_rule_is_read() -> None:
    """It removes, says at which cosine, and ranks as the command does where no order is given."""
    text = (
        TWINS + 'keep_first_by = "uri desc"\nwithin = "folder"\nnever = "format = \'gold\'"\nunless = "width_px > 9"\n'
    )
    with duckdb.connect() as connection:
        (rule,) = parse_policy(connection, text, "p.toml", None).rules
        (plain,) = parse_policy(connection, TWINS, "p.toml", None).rules
    assert isinstance(rule, DuplicateRule)
    assert isinstance(plain, DuplicateRule)
    assert (rule.action, rule.at, rule.keep_first_by, rule.groups) == ("remove", 0.95, "uri desc", "same")
    assert rule.reason == "a cosine of 0.95 or more to an image that is kept, unless width_px > 9"
    assert (plain.keep_first_by, plain.groups) == (
        "width_px * height_px desc, size_bytes desc, last_modified, uri",
        "any",
    )


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ("duplicate_at = 95", UsageError, "line 3: duplicate_at = 95 is no cosine above 0 and up to 1"),
        ('duplicate_at = "0.95"', UsageError, "line 3: duplicate_at = '0.95' is no cosine"),
        ('duplicate_at = 0.95\nwithin = "folder"\nacross = "source"', UsageError, "line 5: images are compared within"),
        ('duplicate_at = 0.95\nkeep_frist_by = "uri"', UnknownName, "line 4: .*The nearest is 'keep_first_by'"),
        (
            'duplicate_at = 0.95\nkeep_first_by = "uri limit 1"',
            UsageError,
            "line 4: .* = 'uri limit 1' is no order",
        ),
        ('duplicate_at = 0.95\nremove = "true"', UsageError, "a rule does one thing"),
        ('duplicate_at = 0.95\nwithin = "foldr"', UnknownName, "line 4: .*The nearest column is 'folder'"),
        ('duplicate_at = 0.95\nnever = "width_px"', UsageError, "line 4: .*gives a BIGINT, not true or false"),
        ('duplicate_at = 0.95\nkeep_first_by = "key::int"', UsageError, "line 4: .*cannot be applied to every image"),
    ],
)
def test_what_is_no_rule(store: EncoderStore, tmp_path: Path, more: str, error: type[Exception], message: str) -> None:
    """Every mistake is named with its line."""
    (tmp_path / "p.toml").write_text(f'[[rule]]\nname = "twins"\n{more}\n')
    with pytest.raises(error, match=message):
        ask(store).select(str(tmp_path / "p.toml"))


def test_pairs_that_cannot_answer(store: EncoderStore, tmp_path: Path) -> None:
    """Without pairs, with parts that came since, or below their floor, a policy is refused, with what to run."""
    (tmp_path / "p.toml").write_text(TWINS)
    (tmp_path / "low.toml").write_text(TWINS.replace("0.95", "0.85"))
    with pytest.raises(UsageError, match=r"from a cosine of 0\.9 on.*neighbors STORE --floor 0\.85`"):
        ask(store).select(str(tmp_path / "low.toml"))
    add_part(store, [image("z/e")], part=1)
    with pytest.raises(NotCompared, match=r"1 of 2 parts.*`clipsieve neighbors STORE`"):
        ask(store.refreshed()).select(str(tmp_path / "p.toml"))
    bare = store_of(tmp_path / "bare", rows_of(), None)
    with pytest.raises(NotCompared, match=r"1 of 1 parts.*`clipsieve neighbors STORE`"):
        ask(bare).export(str(tmp_path / "run"), str(tmp_path / "p.toml"))
    with pytest.raises(NotCompared, match=r"`clipsieve neighbors STORE --floor 0\.85`"):
        ask(bare).select(str(tmp_path / "low.toml"))
    assert not (tmp_path / "run").exists()


# Beside other rules


def test_the_best_stays(store: EncoderStore, tmp_path: Path) -> None:
    """Alone, it decides what `clipsieve duplicates` shows."""
    assert decided(store, TWINS, folder=tmp_path) == {
        "a": ("keep", None, None),
        "b": ("remove", "twins", "a"),
        "c": ("remove", "twins", "a"),
        "d": ("keep", None, None),
    }


@pytest.mark.parametrize("above", [True, False])
def test_what_another_rule_removes_is_no_keeper(tmp_path: Path, above: bool) -> None:  # noqa: FBT001
    """Whether it stands above or below: the next best stays, and what goes is decided by the other rule."""
    store = store_of(tmp_path / "store", rows_of(a={"size_bytes": 10}), STAR)
    rules = (SMALL, TWINS) if above else (TWINS, SMALL)
    found = decided(store, *rules, folder=tmp_path)
    assert found["a"] == ("remove", "small", None)
    assert found["b"] == ("keep", None, None)
    assert found["c"] == ("remove", "twins", "b")


def test_what_a_rule_keeps(store: EncoderStore, tmp_path: Path) -> None:
    """Kept by a rule above, an image stays and is a keeper before all others; a rule below has no say."""
    keeps = '[[rule]]\nname = "ours"\nkeep = "folder = \'in/y\'"\n'
    above, below = (decided(store, *rules, folder=tmp_path) for rules in ((keeps, TWINS), (TWINS, keeps)))
    assert above["c"] == ("keep", "ours", None)
    assert (above["a"], above["b"]) == (("remove", "twins", "c"), ("remove", "twins", "c"))
    assert below["c"] == ("remove", "twins", "a")
    assert below["d"] == ("keep", "ours", None)


def test_words_of_a_rule(store: EncoderStore, tmp_path: Path) -> None:
    """The order, groups, and what is never removed are as those of the command; unless spares in the same way."""
    assert sides(store, TWINS, 'keep_first_by = "width_px"', folder=tmp_path) == "rrkk"
    assert sides(store, TWINS, 'within = "folder"', folder=tmp_path) == "krkk"
    assert sides(store, TWINS, 'across = "folder"', folder=tmp_path) == "kkrk"
    for key in ("never", "unless"):
        assert sides(store, TWINS, f"{key} = \"key like '%c'\"", folder=tmp_path) == "rrkk"
        assert sides(store, TWINS, f"{key} = \"key like '%b' or key like '%c'\"", folder=tmp_path) == "rkkk"


def test_a_table_of_ones_own_ranks(store: EncoderStore, tmp_path: Path) -> None:
    """The columns of a policy's tables may rank, group and spare as well."""
    (tmp_path / "stars.csv").write_text("key,stars\nin/x/a,1\nin/x/b,5\nin/y/c,3\n")
    table = '[table.rated]\npath = "stars.csv"\non = "key"\n'
    assert sides(store, TWINS, 'keep_first_by = "stars desc, uri"', table, folder=tmp_path) == "rkrk"
    assert sides(store, TWINS, 'never = "rated.stars = 3"', table, folder=tmp_path) == "rrkk"
    assert sides(store, TWINS, 'within = "stars > 1"', table, folder=tmp_path) == "kkrk"


def test_a_group_that_duplicates_leave_too_thin(store: EncoderStore, tmp_path: Path) -> None:
    """It goes as a whole, with its keepers, so what was a duplicate of these stays; above, the rule counts none."""
    assert sides(store, TWINS, folder=tmp_path) == "krrk"
    assert sides(store, TWINS, THIN, folder=tmp_path) == "qqqq"
    assert sides(store, THIN, TWINS, folder=tmp_path) == "krrk"
    loose = store_of(tmp_path / "loose", [*rows_of(), image("y/e", 100)], STAR)
    found = decided(loose, TWINS, THIN, folder=tmp_path)
    assert "".join(found[name][0][0] for name in "abcde") == "qqkkk", "y is thin no more, with c back in it"
    assert ask(loose).select(str(tmp_path / "p.toml")).quarantined == {"thin": 2}


def test_two_rules(store: EncoderStore, tmp_path: Path) -> None:
    """What the upper one has kept for its duplicates, the lower one does not remove."""
    near = '[[rule]]\nname = "near"\nduplicate_at = 0.9\nkeep_first_by = "width_px"\n'
    within = '[[rule]]\nname = "within"\nduplicate_at = 0.95\nwithin = "folder"\n'
    found = decided(store, within, near, folder=tmp_path)
    assert found["b"] == ("remove", "within", "a")
    assert found["a"] == ("keep", None, None)
    assert found["c"] == ("remove", "near", "a")
    assert found["d"] == ("remove", "near", "a")


def test_what_is_no_longer_listed_is_no_keeper(store: EncoderStore, tmp_path: Path) -> None:
    """Deleted at its source, a keeper takes nothing with it."""
    list_source(store, [listed(f"in/{name}") for name in ("x/b", "y/c", "y/d")], number=2)
    assert decided(store.refreshed(), TWINS, folder=tmp_path)["c"] == ("remove", "twins", "b")


# In any mixture


@dataclass(frozen=True)
class Mixture:
    """Images, their pairs, and a policy."""

    images: Sequence[ImageRow]
    pairs: Mapping[tuple[str, str], float]
    rules: Sequence[str]


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    """Few images in three folders, close to each other at few cosines, and rules of every kind in any order."""
    names = [f"{draw(st.sampled_from('xyz'))}/{k:02}" for k in range(draw(st.integers(2, 14)))]
    images = [
        image(name, draw(st.sampled_from([600, 610, 620])), size_bytes=draw(st.sampled_from([10, 100, 200, 300])))
        for name in names
    ]
    drawn = st.tuples(st.sampled_from(names), st.sampled_from(names), st.sampled_from([0.9, 0.94, 0.95, 0.97, 1.0]))
    pairs = {(min(a, b), max(a, b)): cosine for a, b, cosine in draw(st.lists(drawn, max_size=40)) if a != b}
    words = draw(st.sampled_from(["", 'within = "folder"', 'across = "folder"', 'never = "width_px = 610"']))
    order = draw(st.sampled_from(["", 'keep_first_by = "size_bytes"']))
    flagged = 'any = ["size_bytes = 300"]\nshare_at_least = 0.6'
    share = THIN.replace("thin", "s").replace("survivors_below = 2", flagged)
    keep = '[[rule]]\nname = "k"\nkeep = "size_bytes = 200"\n'
    others = draw(st.permutations([SMALL, share, keep, THIN, THIN.replace("thin", "lean").replace("2", "4")]))
    rules = [*others[: draw(st.integers(0, 5))]]
    rules.insert(draw(st.integers(0, len(rules))), f"{TWINS}{words}\n{order}\n")
    return Mixture(images, pairs, rules)


@settings(max_examples=8)
@given(mixtures())
def test_every_duplicate_has_a_partner_that_is_kept(tmp_path_factory: pytest.TempPathFactory, mixture: Mixture) -> None:
    """Its partner is as close as the rule says and kept in the end; what stays is as the ranking says; counts agree."""
    folder = tmp_path_factory.mktemp("mixture")
    store = store_of(folder / "store", mixture.images, mixture.pairs)
    (folder / "p.toml").write_text("\n".join(mixture.rules))
    with closing(ask(store)) as session:
        rows = session.decisions(str(folder / "p.toml")).to_pylist()
        selection = session.select(str(folder / "p.toml"), nearest=0)
    decisions = {row["uri"].rpartition("in/")[2]: row for row in rows}
    gone = {name: row for name, row in decisions.items() if row["rule"] == "twins"}
    kept = {name for name, row in decisions.items() if row["decision"] == "keep"}
    for name, row in gone.items():
        partner = row["duplicate_of"].rpartition("in/")[2]
        assert partner in kept
        assert round(row["cosine"], 6) == mixture.pairs[min(name, partner), max(name, partner)] >= 0.95
    assert set(gone) == walked(mixture, {*gone, *kept}, decisions)
    counted = Counter(row["decision"] for row in rows)
    assert (counted["remove"], counted["keep"]) == (selection.removed, selection.kept)
    assert counted["quarantine"] == sum(selection.quarantined.values())


def walked(mixture: Mixture, eligible: set[str], decisions: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """What goes down the ranking, by the rule as one says it: of what no other rule takes, unless one is kept above."""
    text = "\n".join(mixture.rules)
    twins = next(k for k, rule in enumerate(mixture.rules, 1) if rule.startswith(TWINS))
    sizes = {row.source_object.key.removeprefix("in/"): row.source_object.size_bytes for row in mixture.images}
    widths = {row.source_object.key.removeprefix("in/"): row.facts.width_px for row in mixture.images if row.facts}

    def never(name: str) -> bool:
        row = decisions[name]
        return (row["rule"] == "k" and row["rule_number"] < twins) or ("never =" in text and widths[name] == 610)

    def place(name: str) -> tuple[Any, ...]:
        ranked = (sizes[name],) if "keep_first_by" in text else (-widths[name], -sizes[name])
        return (not never(name), *ranked, name)

    def close(a: str, b: str) -> bool:
        fits = a[0] == b[0] if "within =" in text else a[0] != b[0] if "across =" in text else True
        return fits and mixture.pairs.get((min(a, b), max(a, b)), 0) >= 0.95

    stays: list[str] = []
    for name in sorted(eligible, key=place):
        if never(name) or not any(close(name, other) for other in stays):
            stays.append(name)
    return eligible - set(stays)


# The commands


def test_select_and_export_show_it(store: EncoderStore, tmp_path: Path) -> None:
    """`select` counts the rule like any other; `removed.csv` names the kept partner and the cosine, others neither."""
    policy = tmp_path / "p.toml"
    policy.write_text(TWINS + '\n[[rule]]\nname = "d"\nremove = "key like \'%d\'"\n')
    shown = typed("select", str(tmp_path / "store"), str(policy)).stdout
    assert shown.startswith("Removed 3 (75.0%), kept 1, errors 0; listed 4.")
    line = next(line for line in shown.splitlines() if "twins" in line)
    assert " ".join(line.split()) == "1 twins remove 2 2 a cosine of 0.95 or more to an image that is kept"
    run = ask(store).export(str(tmp_path / "run"), str(policy))
    columns = ("key", "rule", "attribute", "score", "operator", "threshold", "duplicate_of", "cosine")
    assert [[row[name] for name in columns] for row in read_csv(Path(run.place, "removed.csv"))] == [
        ["in/x/b", "twins", "cosine", "0.96", ">=", "0.95", "s3://photos/in/x/a", "0.96"],
        ["in/y/c", "twins", "cosine", "0.95", ">=", "0.95", "s3://photos/in/x/a", "0.95"],
        ["in/y/d", "d", "", "", "", "", "", ""],
    ]


def test_diff_shows_what_becomes_a_duplicate(store: EncoderStore, tmp_path: Path) -> None:
    """Two thresholds differ by the images that only the lower one removes."""
    for at in ("0.95", "0.94"):
        (tmp_path / f"{at}.toml").write_text(TWINS.replace("0.95", at))
    found = ask(store).diff(str(tmp_path / "0.95.toml"), str(tmp_path / "0.94.toml"))
    assert [row["uri"] for row in found.changed.to_pylist()] == ["s3://photos/in/y/d"]


def test_a_run_says_where_the_pairs_are_from(tmp_path: Path) -> None:
    """Where pairs were found approximately, the run's metadata says so."""
    store = store_of(tmp_path / "store", rows_of(), None)
    put_neighbors(store, STAR, method=APPROXIMATE)
    (tmp_path / "p.toml").write_text(TWINS)
    run = ask(store).export(str(tmp_path / "run"), str(tmp_path / "p.toml"))
    (said,) = json.loads(Path(run.place, "run_metadata.json").read_text())["neighbors"]
    assert (said["rule"], said["set"], said["floor"]) == ("twins", "approximate-0.9", 0.9)
    assert said["pairs"].startswith("found approximately: 19 of a sample's 20 (95.00%)")
