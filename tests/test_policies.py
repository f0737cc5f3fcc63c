"""Policies are TOML: every mistake is named with its line, tables of one's own can be asked, each shipped one works."""

import hashlib
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

import duckdb
import pytest

from query.rules.policies.kinds import ImageRule, ShareRule, SurvivorsRule
from query.rules.policies.policy import KINDS, Policy, find_policy, parse_policy, shipped_policies
from query.session import Session
from query.toml_lines import lines_of
from store.errors import NotScored, UnknownName, UsageError
from store.layout import EncoderStore
from tests.commands import typed
from tests.neighboring import put_neighbors
from tests.stores import add_part, ask, embedded, list_source, listed, new_store, put_scores, small_store, stepped_store

FOLDERS = {"anna": 6, "ben": 6, "cleo": 3, "dora": 8}
KEYS = [f"{folder}/{k}.jpg" for folder, images in FOLDERS.items() for k in range(images)]


@pytest.fixture
def store(tmp_path: Path) -> EncoderStore:
    """Twelve images that score 0, 1/12, 2/12, … as people, one that failed, one file that is no image."""
    return stepped_store(tmp_path / "store")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session over such a store for all policies, so what one of them broke the next ones would meet."""
    with closing(ask(stepped_store(tmp_path_factory.mktemp("policies")))) as session:
        yield session


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One database for all that is parsed."""
    return duckdb.connect()


def parsed(text: str, folder: Path | None = None) -> Policy:
    """The policy of a text, in a file named p.toml."""
    return parse_policy(_database(), text, "p.toml", folder)


def file_of(folder: Path, text: str, name: str = "p.toml") -> str:
    """A policy file."""
    (folder / name).write_text(text)
    return str(folder / name)


def decided(store: EncoderStore, policy: str) -> dict[str, str]:
    """What becomes of each image that a rule decides: `remove`, `keep by a rule`, or the label of a quarantine."""
    rows = ask(store).decisions(policy).to_pylist()
    return {
        row["uri"].removeprefix("s3://photos/in/"): row["quarantine"] or row["decision"]
        for row in rows
        if row["rule"] is not None
    }


def face_sets(folder: Path, scores: Mapping[str, Mapping[str, float]]) -> EncoderStore:
    """Four people's folders: anna 6 images, ben 6, cleo 3, dora 8; all score 0 but those that are named."""
    named = {concept: {f"in/{key}": score for key, score in of.items()} for concept, of in scores.items()}
    return put_scores(small_store(folder, KEYS), named)


def first(folder: str, images: int, score: float = 0.9) -> dict[str, float]:
    """A score for the first images of a folder."""
    return {f"{folder}/{k}.jpg": score for k in range(images)}


# what a file says

WHOLE = """
[[rule]]
name = "small"
remove = "width_px < 256"
unless = "uri like '%/icons/%'"

[[rule]]
name = "statues"
reason = "no people"
keep = "uri like '%/statues/%'"

[[rule]]
name = "masked"
quarantine = "masked"
group = { regex = '^in/([^/]+)/' }
any = ["mask >= 0.70", "people >= 0.70"]
share_at_least = 0.40
count_at_least = 3
confidence = 0.95

[[rule]]
name = "thin"
quarantine = "thin"
group = "folder"
survivors_below = 5
"""


def test_a_policy_is_read_whole() -> None:
    """Each rule has its kind, its action and a reason, which is made from the condition where none is given."""
    policy = parsed(WHOLE)
    assert [type(rule) for rule in policy.rules] == [ImageRule, ImageRule, ShareRule, SurvivorsRule]
    assert [rule.action for rule in policy.rules] == ["remove", "keep", "quarantine masked", "quarantine thin"]
    assert [rule.reason for rule in policy.rules] == [
        "width_px < 256, unless uri like '%/icons/%'",
        "no people",
        "at least 0.4 of the group's images: mask >= 0.70 | people >= 0.70",
        "fewer than 5 images of the group are left, after rules above have removed some",
    ]
    assert policy.text == WHOLE


@pytest.mark.parametrize(
    ("condition", "comparisons"),
    [
        ("people >= 0.50", ["people >= 0.50"]),
        ("0.5 <= People and -3 > width_px", ["people >= 0.5", "width_px < -3"]),
        ("people between 0.5 and 0.7", ["people >= 0.5", "people <= 0.7"]),
        ("not (people < 0.5 or width_px > 9)", ["people >= 0.5", "width_px <= 9"]),
        ("people not between 0.1 and 0.2", ["people < 0.1", "people > 0.2"]),
        ("candidates.people = 1e-3 or people != 1", ["people = 1e-3", "people != 1"]),
        ("width_px * height_px < 9 or people::double > 1 or key = '5'", []),
        ("person.age > 5 or people > (select avg(people) from scores where people > 0.3)", []),
        ("list_filter(embedding, lambda x: x > 2) is null and not not people > 1", ["people > 1"]),
    ],
)
def test_what_a_condition_compares_with_a_number(condition: str, comparisons: list[str]) -> None:
    """The comparisons of a column with a number are found in written order, a negation turned into its opposite."""
    (rule,) = parsed(f'[[rule]]\nname = "r"\nremove = """{condition}"""').rules
    assert isinstance(rule, ImageRule)
    assert [str(comparison) for comparison in rule.condition.comparisons] == comparisons


def test_lines_of_keys() -> None:
    """A key stands where it begins; what looks like one within a text over several lines is none."""
    text = (
        '# a\n[[rule]]\nremove = """\n[[rule]]\nname = 1\n"""\nany = [\n  "a",\n  # c\n  "d",\n]\n\n[table.x]\n[[rule]]'
    )
    lines = lines_of(text)
    assert {path: line for path, line in lines.items() if len(path) > 1} == {
        ("rule", 0): 2,
        ("rule", 0, "remove"): 3,
        ("rule", 0, "any"): 7,
        ("rule", 0, "any", 0): 8,
        ("rule", 0, "any", 1): 10,
        ("table", "x"): 13,
        ("rule", 1): 14,
    }


RULE = '[[rule]]\nname = "r"\n'
GROUP = f'{RULE}quarantine = "q"\ngroup = "folder"\n'


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        ("", UsageError, r"p\.toml holds no rule"),
        ("[[rule]\n", UsageError, r"p\.toml is not valid TOML: .*line 1"),
        ("rule = 5", UsageError, r"p\.toml, line 1: rule is no list of tables"),
        ("\nrules = []", UnknownName, r"p\.toml, line 2: the key 'rules' is not known\. The nearest is 'rule'"),
        ('[[rule]]\nremove = "true"', UsageError, r"p\.toml, line 1: name is missing"),
        ('[[rule]]\nname = ""\nremove = "true"', UsageError, r"p\.toml, line 2: name = '' is no text"),
        (f'{RULE}reason = 5\nremove = "true"', UsageError, r"p\.toml, line 3: reason = 5 is no text"),
        (f'{RULE}remove = "true"\n{RULE}keep = "true"', UsageError, r"line 5: the name 'r' is taken by .* line 2"),
        (f'{RULE}\nremoves = "true"', UnknownName, r"line 4: the key 'removes' .* nearest is 'remove'"),
        (f"{RULE}dublicate_at = 0.95", UnknownName, r"line 3: the key 'dublicate_at' is not known"),
        (RULE, UsageError, r"line 1: .*this one has none of remove, keep, quarantine"),
        (f'{RULE}keep = "true"\nremove = "true"', UsageError, r"line 3: .*this one has remove and keep"),
        (f'{RULE}remove = "true"\ngroup = "folder"', UnknownName, r"line 4: the key 'group' is not known"),
        (f"{RULE}remove = 5", UsageError, r"line 3: remove holds 5, which is no text"),
        (f'{RULE}remove = "people >="', UsageError, r"line 3: the condition 'people >=' is no SQL condition"),
        (f'{RULE}remove = " "', UsageError, r"line 3: the condition '' is empty"),
        (f'{RULE}remove = "true"\nunless = "true; true"', UsageError, r"line 4: .*is no SQL condition"),
        (f'{RULE}quarantine = "q"\nsurvivors_below = 5', UsageError, r"line 1: group is missing"),
        (f'{RULE}quarantine = "a b"\ngroup = "folder"', UsageError, r"line 3: 'a b' is no label"),
        (GROUP, UsageError, r"line 1: any is missing\. Or write survivors_below"),
        (f'{GROUP}any = ["true"]', UsageError, r"line 1: share_at_least is missing"),
        (f"{GROUP}any = []\nshare_at_least = 0.4", UsageError, r"line 5: any is no list of conditions"),
        (f'{GROUP}any = [\n"true",\n"x >"]\nshare_at_least = 0.4', UsageError, r"line 7: the condition 'x >' is no"),
        (f'{GROUP}any = ["true"]\nshare_at_least = 40', UsageError, r"line 6: share_at_least = 40 is no share"),
        (f'{GROUP}any = ["true"]\nshare_at_least = true', UsageError, r"line 6: share_at_least = True is no share"),
        (f'{GROUP}any = ["true"]\nshare_at_least = 1\ncount_at_least = 0', UsageError, r"line 7: count_at_least = 0"),
        (f'{GROUP}any = ["true"]\nshare_at_least = 1\nconfidence = 95', UsageError, r"line 7: confidence = 95 is no"),
        (f"{GROUP}survivors_below = 0", UsageError, r"line 5: survivors_below = 0 is no whole number from 1"),
        (f"{GROUP}survivors_below = 2.5", UsageError, r"line 5: survivors_below = 2\.5 is no whole number"),
        (f"{GROUP}survivors_below = 5\nshare_at_least = 1", UsageError, r"line 6: .*has no share_at_least.*two rules"),
        (f'{RULE}quarantine = "q"\ngroup = {{ re = "x" }}', UsageError, r"line 4: group = .* is no group"),
        (f'{RULE}quarantine = "q"\ngroup = {{ regex = "([" }}', UsageError, r"line 4: DuckDB rejects the regular"),
        (f'{RULE}quarantine = "q"\ngroup = {{ regex = "x" }}', UsageError, r"line 4: .*has no part in brackets"),
        (f'{RULE}quarantine = "q"\ngroup = "key +"', UsageError, r"line 4: the group 'key \+' is no SQL condition"),
        (f'{RULE}remove = "true"\n[table]\nx = 1', UsageError, r"line 4: table holds no named tables"),
        (f'{RULE}remove = "true"\n[table.x]\non = "key"', UsageError, r"line 4: path is missing"),
        (f'{RULE}remove = "true"\n[table.x]\npath = "x.csv"\non = "kee"', UnknownName, r"line 6: .*nearest is 'key'"),
        (f'{RULE}remove = "true"\n[table.x]\npath = "x.txt"\non = "key"', UsageError, r"line 5: 'x\.txt' is neither"),
        (f'{RULE}remove = "true"\n[table.x]\npath = "x.csv"\non = "key"', UsageError, r"line 5: there is no file"),
        (f'{RULE}remove = "true"\n[table.x]\npaht = "x.csv"', UnknownName, r"line 5: .*'paht'.*nearest is 'path'"),
    ],
)
def test_what_is_no_policy(tmp_path: Path, text: str, kind: type[Exception], says: str) -> None:
    """What a policy file gets wrong is named with the file, the line and, of a name, the nearest known one."""
    with pytest.raises(UsageError, match=says) as caught:
        parsed(text, tmp_path)
    assert type(caught.value) is kind


@pytest.mark.parametrize(
    ("text", "kind", "says"),
    [
        (
            f'{RULE}remove = "peeple >= 0.5"',
            UnknownName,
            r"line 3: .*asks for 'peeple'\. The nearest column is 'people'",
        ),
        (f'{RULE}keep = "true"\nunless = "widht_px < 5"', UnknownName, r"line 4: .*nearest column is 'width_px'"),
        (
            f'{GROUP}any = [\n"people > 1",\n"mask > 1",\n]\nshare_at_least = 1',
            NotScored,
            r"line 7: .*score STORE mask`",
        ),
        (f'{RULE}remove = "people"', UsageError, r"line 3: .*gives a FLOAT, not true or false"),
        (f'{RULE}remove = "count(*) > 5"', UsageError, r"DuckDB rejects .*line 3: "),
        (f'{RULE}remove = "random() < 0.5"', UsageError, r"line 3: .*answers anew every time"),
        (
            f'{RULE}remove = "width_px < 5"\n\n[[rule]]\nname = "s"\nremove = "key::int > 5"',
            UsageError,
            r"line 7: .*try_cast",
        ),
        (
            f'{RULE}quarantine = "q"\ngroup = "foldr"\nsurvivors_below = 5',
            UnknownName,
            r"line 4: .*nearest column is 'folder'",
        ),
        (f'{RULE}quarantine = "q"\ngroup = "key::int"\nsurvivors_below = 5', UsageError, r"line 4: .*try_cast"),
        (f'{RULE}quarantine = "q"\ngroup = "max(key)"\nsurvivors_below = 5', UsageError, r"DuckDB rejects .*line 4: "),
    ],
)
def test_what_a_store_cannot_be_asked(
    asked: Session, tmp_path: Path, text: str, kind: type[Exception], says: str
) -> None:
    """What a policy asks that the store does not hold is named with the line, when it is put to the store."""
    policy = file_of(tmp_path, text)
    for put in (asked.select, asked.decisions, lambda policy: asked.export(str(tmp_path / "run"), policy)):
        with pytest.raises((UsageError, NotScored), match=says) as caught:
            put(policy)
        assert type(caught.value) is kind
        assert "p.toml, line" in str(caught.value)
    assert not (tmp_path / "run").exists()
    assert asked.select(remove=["people >= 0.5"], nearest=0).removed == 6  # the same session goes on


def test_missing_scores_are_named_all_at_once(asked: Session) -> None:
    """A policy that asks for several concepts without scores names the one command that scores them."""
    with pytest.raises(NotScored, match=r"asks for mask, sunglasses, .*`clipsieve score STORE mask sunglasses`"):
        asked.select("occlusion")


def test_an_unknown_policy(asked: Session, tmp_path: Path) -> None:
    """A name that is no shipped policy is answered with the nearest; a file that is not there is named."""
    with pytest.raises(UnknownName, match=r"no policy 'oclusion'.*Nearest: occlusion\.") as caught:
        asked.select("oclusion")
    assert all(name in str(caught.value) for name in shipped_policies())
    with pytest.raises(UsageError, match=r"Cannot read the policy file .*no\.toml"):
        asked.select(str(tmp_path / "no.toml"))


def test_a_policys_hash_is_that_of_its_file(tmp_path: Path) -> None:
    """A file with Windows line ends is read as it is: its lines are counted right, and its sha256 is the file's."""
    data = WHOLE.replace("\n", "\r\n").encode()
    (tmp_path / "p.toml").write_bytes(data)
    with duckdb.connect() as connection:
        assert find_policy(connection, str(tmp_path / "p.toml")).sha256 == hashlib.sha256(data).hexdigest()
        (tmp_path / "p.toml").write_bytes(b'[[rule]]\r\n\r\nname = 5\r\nremove = "true"\r\n')
        with pytest.raises(UsageError, match="line 3: name = 5 is no text"):
            find_policy(connection, str(tmp_path / "p.toml"))


def test_a_policy_or_conditions(asked: Session) -> None:
    """One of the two is asked for; one text in place of a list would be read letter by letter, and is refused."""
    for policy, remove in ((None, []), ("people-strict", ["true"])):
        with pytest.raises(UsageError, match="one of the two"):
            asked.select(policy, remove)
    with pytest.raises(UsageError, match=r"remove=\['people >= 0\.5'\]"):
        asked.select(remove="people >= 0.5")


# tables of one's own


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_of_ones_own(store: EncoderStore, tmp_path: Path, kind: str) -> None:
    """The columns of a table can be asked about; an image without a row has null there, which decides nothing."""
    values = "('in/00.jpg', 'anna', 3), ('in/01.jpg', 'ben', 9), ('in/none.jpg', 'x', 9)"
    (tmp_path / "own").mkdir()
    duckdb.execute(f"copy (from (values {values}) as t(key, person, age)) to '{tmp_path}/own/people.{kind}'")
    policy = f'{RULE}remove = "age >= 5 or person = \'anna\'"\n[table.people]\npath = "people.{kind}"\non = "key"\n'
    assert decided(store, file_of(tmp_path / "own", policy)) == {"00.jpg": "remove", "01.jpg": "remove"}


@pytest.mark.parametrize("on", ["key", "uri", "image_id", "folder"])
def test_what_a_table_is_joined_on(tmp_path: Path, on: str) -> None:
    """A table may speak of images by key, URI or id, or of folders; whatever looks like a number is a name there."""
    store = small_store(tmp_path / "store", ["007/1.jpg", "007/2.jpg", "7/1.jpg"])
    (row,) = ask(store).sql(f"select {on}::varchar as v from current_images where key = 'in/007/1.jpg'").to_pylist()  # noqa: S608
    (tmp_path / "t.csv").write_text(f"Colour,{on.upper()}\nred,{row['v']}\n")
    found = decided(
        store, file_of(tmp_path, f'{RULE}remove = "colour = \'red\'"\n[table.t]\npath = "t.csv"\non = "{on}"\n')
    )
    assert set(found) == ({"007/1.jpg", "007/2.jpg"} if on == "folder" else {"007/1.jpg"})


def test_a_group_by_a_column_of_a_table(tmp_path: Path) -> None:
    """A column of a joined table can be the group; an image that it says nothing of belongs to none."""
    store = put_scores(small_store(tmp_path / "store"), {"people": {f"in/{k:02}.jpg": 0.9 for k in (0, 1, 4, 5)}})
    rows = "".join(f"in/{k:02}.jpg,{person}\n" for k, person in enumerate(["anna", "anna", "ben", "ben", '""', ""]))
    (tmp_path / "people.csv").write_text(f"key,person\n{rows}")
    policy = f"""
        {RULE}quarantine = "q"\ngroup = "person"\nany = ["people > 0.5"]\nshare_at_least = 0.5
        [table.people]\npath = "people.csv"\non = "key"
    """
    assert decided(store, file_of(tmp_path, policy)) == {"00.jpg": "q", "01.jpg": "q"}


@pytest.mark.parametrize(
    ("csv", "kind", "says"),
    [
        ("key,a\nin/00.jpg,1\nin/00.jpg,2\nx,1\nx,2\n", UsageError, r"2 rows with the key 'in/00\.jpg', and 1 more"),
        ("key,people\nin/00.jpg,1\n", UsageError, "has a column 'people', which is there already"),
        ("key,Width_PX\nin/00.jpg,1\n", UsageError, "has a column 'Width_PX', which is there already"),
        ("ky,a\nin/00.jpg,1\n", UnknownName, r"no column 'key' to be joined on\. The nearest is 'ky'"),
        (
            "key,a\n00.jpg,1\n",
            UsageError,
            r"no row belongs to any image\. Its key is, for example, '00\.jpg'; .*'in/00\.jpg'",
        ),
        ("key,a\nin/00.jpg,1\n", UnknownName, r"line 3: .*asks for 'b'"),
        ("", UsageError, "p.toml, line 4: the table 't'"),
    ],
)
def test_what_is_no_table(asked: Session, tmp_path: Path, csv: str, kind: type[Exception], says: str) -> None:
    """A table that would double an image, hide a column or belong to nothing is refused."""
    (tmp_path / "t.csv").write_text(csv)
    column = "b" if kind is UnknownName else "a"
    policy = file_of(tmp_path, f'{RULE}remove = "{column} = 1"\n[table.t]\npath = "t.csv"\non = "key"\n')
    with pytest.raises(UsageError, match=says) as caught:
        asked.select(policy)
    assert type(caught.value) is kind


def test_two_tables_may_not_share_a_column(asked: Session, tmp_path: Path) -> None:
    """A column of one table is there already for the next."""
    for name in ("t", "u"):
        (tmp_path / f"{name}.csv").write_text("key,a\nin/00.jpg,1\n")
    tables = "".join(f'[table.{name}]\npath = "{name}.csv"\non = "key"\n' for name in ("t", "u"))
    with pytest.raises(UsageError, match=r"line 7: the table 'u' has a column 'a', which is there already"):
        asked.select(file_of(tmp_path, f'{RULE}remove = "a = 1"\n{tables}'))


# groups


def test_what_tells_a_group(tmp_path: Path) -> None:
    """The folder, a regular expression or any SQL; what they do not tell is in no group, but the top folder is one."""
    store = new_store(tmp_path / "store")
    objects = [listed(key, source="s3://photos/") for key in ("a/b/1.jpg", "a/c/1.jpg", "1.jpg", "2.jpg")]
    list_source(store, objects, source="s3://photos/")
    add_part(store, [embedded(one) for one in objects])
    groups = {
        '"folder"': ["", "", "a/b", "a/c"],
        "{ regex = '^([^/]+)/' }": [None, None, "a", "a"],
        "\"regexp_extract(key, '^([^/]+)/', 1)\"": [None, None, "a", "a"],
        '"width_px"': ["640"] * 4,
    }
    for group, names in groups.items():
        text = f'{RULE}quarantine = "q"\ngroup = {group}\nany = ["true"]\nshare_at_least = 1\n'
        rows = ask(store).decisions(file_of(tmp_path, text)).sort_by("uri").to_pylist()
        assert [row["group_name"] for row in rows] == names
        assert [row["quarantine"] for row in rows] == [None if name is None else "q" for name in names]


def test_confidence(tmp_path: Path) -> None:
    """A bare share fires on 1 of 2; the lower bound of the share at 95 % does not, nor on 2 of 2, but on 6 of 6."""
    keys = [f"{name}/{k}.jpg" for name, images in (("one", 2), ("two", 2), ("six", 6)) for k in range(images)]
    store = small_store(tmp_path / "store", keys)
    flagged = ("one/0", "two/", "six/")
    put_scores(store, {"people": {f"in/{key}": 0.9 for key in keys if key.startswith(flagged)}})
    text = f'{GROUP}any = ["people >= 0.5"]\nshare_at_least = 0.40\n'
    assert {key.partition("/")[0] for key in decided(store, file_of(tmp_path, text))} == {"one", "two", "six"}
    sure = ask(store).decisions(file_of(tmp_path, f"{text}confidence = 0.95\n")).to_pylist()
    assert {row["group_name"]: row["score"] for row in sure if row["rule"]} == {"in/six": 0.6096657}
    assert {row["attribute"] for row in sure if row["rule"]} == {"lower bound of the share of people >= 0.5"}
    two = file_of(tmp_path, f"{text}count_at_least = 2\n")
    assert {key.partition("/")[0] for key in decided(store, two)} == {"two", "six"}


# what is shipped


def test_every_shipped_policy_explains_itself() -> None:
    """A shipped policy says what true means and which scores it asks; every rule has a reason."""
    assert set(shipped_policies()) == {
        "occlusion",
        "occlusion-mixed",
        "people-lenient",
        "people-strict",
        "training-set",
    }
    for name, text in shipped_policies().items():
        comment = "\n".join(line for line in text.partition("[[rule]]")[0].splitlines() if line.startswith("#"))
        assert "True = removed" in comment, name
        assert "Scores: " in comment, name
        with duckdb.connect() as connection:
            policy = find_policy(connection, name)
        assert all(rule.reason not in {one.text for one in rule.conditions} for rule in policy.rules)


@pytest.mark.parametrize(("policy", "at_least"), [("people-strict", 0.30), ("people-lenient", 0.80)])
def test_people(store: EncoderStore, policy: str, at_least: float) -> None:
    """Strict removes what may show people, lenient what clearly does."""
    assert decided(store, policy) == {f"{k:02}.jpg": "remove" for k in range(12) if k / 12 >= at_least}


def test_occlusion(tmp_path: Path) -> None:
    """A folder goes whole where 40 % are flagged for one attribute; else images go one by one, and thinned folders."""
    store = face_sets(
        tmp_path / "store",
        {
            "mask": {**first("anna", 3), **first("ben", 2), **first("cleo", 1), "dora/0.jpg": 0.70, "dora/1.jpg": 0.69},
            "sunglasses": {"dora/7.jpg": 0.9, "dora/6.jpg": 0.9},
        },
    )
    assert decided(store, "occlusion") == {
        **dict.fromkeys([f"anna/{k}.jpg" for k in range(6)], "masked"),  # 3 of 6
        **dict.fromkeys(["ben/0.jpg", "ben/1.jpg", "cleo/0.jpg"], "remove"),  # 2 of 6, 1 of 3
        **dict.fromkeys([f"ben/{k}.jpg" for k in (2, 3, 4, 5)], "thin"),  # 4 are left
        **dict.fromkeys(["cleo/1.jpg", "cleo/2.jpg"], "thin"),
        **dict.fromkeys(["dora/0.jpg", "dora/7.jpg", "dora/6.jpg"], "remove"),  # 5 are left: a mask, two sunglasses
    }


def test_occlusion_leaves_a_naturally_small_folder(tmp_path: Path) -> None:
    """A folder of three images of which nothing was removed is not thin."""
    store = face_sets(tmp_path / "store", {"mask": first("dora", 1), "sunglasses": {}})
    assert decided(store, "occlusion") == {"dora/0.jpg": "remove"}


def test_occlusion_counts_each_attribute_by_itself(tmp_path: Path) -> None:
    """30 % with a mask and 30 % with sunglasses are no 40 % of either."""
    store = face_sets(
        tmp_path / "store", {"mask": first("dora", 3), "sunglasses": {f"dora/{k}.jpg": 0.9 for k in (5, 6, 7)}}
    )
    assert set(decided(store, "occlusion").values()) == {"remove", "thin"}


def test_occlusion_mixed_asks_for_people_first(tmp_path: Path) -> None:
    """Where nobody is in the picture, what looks like a mask decides nothing."""
    masked = {"mask": {**first("anna", 3), **first("dora", 3)}, "sunglasses": {}}
    store = face_sets(tmp_path / "store", {**masked, "people": first("anna", 3)})
    assert decided(store, "occlusion-mixed") == {f"anna/{k}.jpg": "masked" for k in range(6)}


def test_training_set(tmp_path: Path) -> None:
    """Explicit, ugly and small images go; the rating's low side is the bad one."""
    store = new_store(tmp_path / "store")
    objects = [listed(f"in/{name}.jpg") for name in ("fine", "explicit", "ugly", "small")]
    list_source(store, objects)
    add_part(store, [embedded(one, width_px=255 if "small" in one.key else 256) for one in objects])
    scores = {
        "nsfw": {"in/explicit.jpg": 0.5},
        "aesthetic": {f"in/{name}.jpg": 4.5 for name in ("fine", "explicit", "small")},
    }
    store = put_scores(store, {**scores, "aesthetic": {**scores["aesthetic"], "in/ugly.jpg": 4.25}})
    rows = ask(store).decisions("training-set").to_pylist()
    assert {row["uri"][len("s3://photos/in/") : -4]: (row["decision"], row["rule"]) for row in rows} == {
        "fine": ("keep", None),
        "explicit": ("remove", "explicit"),
        "ugly": ("remove", "ugly"),
        "small": ("remove", "small"),
    }


# what the page says

PAGE = (Path(__file__).parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_pages_commands_and_policies_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of docs/policies.md ends well, and every policy on it can be put to a store."""
    store = face_sets(tmp_path / "store", {"mask": first("anna", 3), "sunglasses": {}, "people": first("dora", 2)})
    put_neighbors(store, {})
    policies = blocks("toml")
    assert len(policies) == 2
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(policies[0])
    Path("people.csv").write_text("key,person,age\nin/anna/0.jpg,anna,5\n")
    (commands,) = (block for block in blocks("") if block.startswith("clipsieve"))
    for line in commands.splitlines():
        result = typed(*shlex.split(line, comments=True)[1:])
        assert result.exit_code == 0, (line, result.output)
    assert ask(store).select(file_of(tmp_path, policies[1], "groups.toml")).removed == 0


def test_the_page_names_what_there_is() -> None:
    """docs/policies.md leaves out no key, no shipped policy and no column of a manifest that says what decided."""
    keys = {"name", "reason", "unless", *KINDS, *(key for keys, _ in KINDS.values() for key in keys)}
    decided = {"rule", "reason", "attribute", "score", "operator", "threshold", "group_name", "quarantine"}
    decided |= {"duplicate_of", "cosine"}
    for name in (*keys, *shipped_policies(), *decided):
        assert f"`{name}`" in PAGE, name
