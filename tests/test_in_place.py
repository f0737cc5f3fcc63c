"""`apply --in-place`: a folder's pruned images move aside with the manifests and archives that name them, and back."""

import itertools
import json
import os
import random
import signal
import sys
import tempfile
import zipfile
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

import clipsieve
from embed.sources.folder import FolderSource
from query.deliver.apply.in_place.fates import Fates
from query.deliver.apply.in_place.plan import InPlacePlan
from query.deliver.apply.in_place.prune import Pruner
from query.deliver.apply.in_place.tree import locked
from query.deliver.apply.undo import UndoPlan
from store.errors import LocationError, UsageError
from tests.commands import typed
from tests.facesets import FaceSets, dangling, draw, members, tree_hash
from tests.runs import row_of, write_run
from tests.stores import add_part, ask, embedded, list_source, new_store, put_scores


@pytest.fixture
def tree(tmp_path: Path) -> FaceSets:
    """Twelve groups."""
    return draw(tmp_path / "tree", 12, seed=3)


def applied(run: Path) -> InPlacePlan:
    """Apply a run in place; return how everything stands then."""
    (opened,) = clipsieve.open_run(str(run)).in_place()
    with opened as job:
        job.plan()
        return job.carry_out()


def undone(run: Path) -> UndoPlan:
    """Undo a run; return what is left."""
    (opened,) = clipsieve.open_run(str(run)).ways_back()
    with opened as job:
        job.plan()
        return job.carry_out()


def check_applied(tree: FaceSets) -> None:
    """Everything lies where the run wants it, and nothing names or holds what is not there."""
    root = tree.root
    for path in tree.images:
        label = "dropped" if path in tree.removed else tree.quarantined.get(path)
        assert (root / path).exists() == (label is None), path
        assert label is None or (root / f"_{label}" / path).exists(), path
    assert dangling(root) == []
    gone = dict.fromkeys(tree.removed, "_dropped") | {p: f"_{label}" for p, label in tree.quarantined.items()}
    for archive in root.rglob("*.fsz"):
        inside = archive.relative_to(root)
        label = inside.parts[0] if inside.parts[0].startswith("_") else None
        at = Path(*inside.parts[1:]) if label else inside
        group = str(at.parent if at.parent.name == at.stem else at.with_suffix(""))
        assert all(gone.get(f"{group}/{name}") == label for name in members(archive)), archive


def write(path: Path, data: object) -> None:
    """Write bytes, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data, indent=2).encode() + b"\n")


def read(path: Path) -> Any:  # noqa: ANN401  # JSON
    """Read JSON."""
    return json.loads(path.read_text())


def small(root: Path, removed: set[str], quarantined: dict[str, str] | None = None) -> FaceSets:
    """Two groups of three images, with manifests, and a master manifest that lists groups and faces."""
    images = [f"{group}/{k}.jpg" for group in ("ann", "bob") for k in range(3)]
    for path in images:
        write(root / path, path.encode())
    for group in ("ann", "bob"):
        write(root / group / "manifest.json", {"faces": [{"file": f"{k}.jpg"} for k in range(3)], "count": 3})
    groups = [{"name": "ann", "faces": 3}, {"name": "bob", "faces": 3}]
    write(root / "manifest.json", {"groups": groups, "faces": [{"path": path} for path in images], "total": 6})
    return FaceSets(root, frozenset(removed), quarantined or {}, tuple(images))


def test_a_tree_of_face_sets(tree: FaceSets, tmp_path: Path) -> None:
    """Images move, manifests and archives follow; undo brings every byte, name, mode and time back."""
    run = tree.run(tmp_path / "run")
    before = tree_hash(tree.root)
    shown = typed("apply", str(run), "--in-place")
    assert "add --yes" in shown.stdout
    assert tree_hash(tree.root) == before
    done = typed("apply", str(run), "--in-place", "--yes")
    assert (done.exit_code, done.stderr) == (0, "")
    assert f"Moved {len(tree.removed) + len(tree.quarantined)} images" in done.stdout
    check_applied(tree)
    assert applied(run).is_clean  # nothing is left to do
    back = typed("undo", str(run), "--yes")
    assert (back.exit_code, back.stderr) == (0, "")
    assert tree_hash(tree.root) == before
    assert "nothing to undo" in typed("undo", str(run)).stdout


def test_manifests_say_what_was_done(tmp_path: Path) -> None:
    """Group and master manifest lose their entries, their counts follow, and a block names run, policy and images."""
    tree = small(tmp_path / "tree", {"ann/0.jpg", "ann/2.jpg"}, {f"bob/{k}.jpg": "masked" for k in range(3)})
    run = tree.run(tmp_path / "run")
    assert applied(run).groups == {"_masked": 1}
    ann = read(tree.root / "ann" / "manifest.json")
    (block,) = ann.pop("clipsieve")["runs"]
    assert ann == {"faces": [{"file": "1.jpg"}], "count": 1}
    assert (block["run_id"], block["policy"]) == ("20260101T120000Z-abcdef", "strict")
    assert (block["dropped"], block["quarantined"]) == (["0.jpg", "2.jpg"], {})
    master = read(tree.root / "manifest.json")
    (block,) = master.pop("clipsieve")["runs"]
    assert master == {"groups": [{"name": "ann", "faces": 1}], "faces": [{"path": "ann/1.jpg"}], "total": 1}
    assert block["quarantined"] == {"masked": ["bob", "bob/0.jpg", "bob/1.jpg", "bob/2.jpg"]}
    bob = read(tree.root / "_masked" / "bob" / "manifest.json")
    assert (bob["count"], len(bob["faces"])) == (3, 3)
    assert not (tree.root / "bob").exists()


def test_a_group_of_which_nothing_is_left(tmp_path: Path) -> None:
    """Where every image of a group is dropped, its manifest goes with them, and no empty group is left behind."""
    tree = small(tmp_path / "tree", {f"bob/{k}.jpg" for k in range(3)})
    before = tree_hash(tree.root)
    run = tree.run(tmp_path / "run")
    assert applied(run).groups == {"_dropped": 1}
    assert not (tree.root / "bob").exists()
    assert len(read(tree.root / "_dropped" / "bob" / "manifest.json")["faces"]) == 3
    assert [group["name"] for group in read(tree.root / "manifest.json")["groups"]] == ["ann"]
    undone(run)
    assert tree_hash(tree.root) == before


def test_a_group_with_a_file_that_stays(tmp_path: Path) -> None:
    """Where an image of a quarantined group stays, for it could not be decided, so does the group's manifest."""
    tree = small(tmp_path / "tree", set(), {"bob/0.jpg": "thin", "bob/1.jpg": "thin"})
    undecided = tree.row("bob/2.jpg", status="failed", error_code="truncated")
    kept = [tree.row(path) for path in tree.images if path.startswith("ann")]
    thin = [tree.row(path, quarantine="thin") for path in tree.quarantined]
    run = write_run(tmp_path / "run", [tree.source], kept=kept, quarantined=thin, errors=[undecided])
    assert applied(run).groups == {}
    assert read(tree.root / "bob" / "manifest.json")["faces"] == [{"file": "2.jpg"}]
    assert sorted(path.name for path in (tree.root / "_thin" / "bob").iterdir()) == ["0.jpg", "1.jpg"]


def test_what_changed_since_stays(tree: FaceSets, tmp_path: Path) -> None:
    """A file that was changed after it was judged is not moved, and its manifest keeps it; exit code 3."""
    run = tree.run(tmp_path / "run")
    changed, gone, touched = sorted(tree.removed)[:3]
    (tree.root / changed).write_bytes(b"edited")
    (tree.root / gone).unlink()
    status = (tree.root / touched).stat()
    os.utime(tree.root / touched, ns=(status.st_atime_ns, status.st_mtime_ns + 1000_000))
    done = typed("apply", str(run), "--in-place", "--yes")
    assert done.exit_code == 3
    assert f"{changed}: changed since it was judged, and stays" in done.stderr
    assert f"{touched}: changed since it was judged, and stays" in done.stderr
    assert f"{gone}: no longer there" in done.stderr
    assert (tree.root / changed).read_bytes() == b"edited"
    assert dangling(tree.root) == []
    named = read((tree.root / changed).parent / "manifest.json")
    assert any(Path(changed).name in str(face) for face in named["faces"])


def test_a_manifest_with_revisions(tmp_path: Path) -> None:
    """Where the run holds the revision of each file, that decides, to the nanosecond."""
    tree = small(tmp_path / "tree", {"ann/0.jpg", "ann/1.jpg"})
    rows = []
    for path, late in (("ann/0.jpg", 0), ("ann/1.jpg", 1)):
        status = (tree.root / path).stat()
        rows.append({**tree.row(path), "revision": f"{status.st_size}-{status.st_mtime_ns - late}"})
    after = applied(write_run(tmp_path / "run", [tree.source], removed=rows))
    assert {state: count.objects for state, count in after.states.items()} == {"moved": 1, "changed": 1}


def test_a_name_that_is_taken(tmp_path: Path) -> None:
    """A file that lies where an image would go is not replaced; the image stays, and so does its entry."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    write(tree.root / "_dropped" / "ann" / "0.jpg", b"precious")
    after = applied(tree.run(tmp_path / "run"))
    assert after.not_moved == (("ann/0.jpg", "occupied"),)
    assert (tree.root / "_dropped" / "ann" / "0.jpg").read_bytes() == b"precious"
    assert read(tree.root / "ann" / "manifest.json") == {"faces": [{"file": f"{k}.jpg"} for k in range(3)], "count": 3}


def test_the_disk_refuses(tmp_path: Path) -> None:
    """Where a folder cannot be made the command ends with a way out; nothing has moved, and afterwards it goes on."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    run = tree.run(tmp_path / "run")
    (tree.root / "_dropped").write_bytes(b"a file")
    with pytest.raises(LocationError, match=r"Cannot go on below .*_dropped"):
        applied(run)
    (tree.root / "_dropped").unlink()
    assert applied(run).is_clean
    check_applied(tree)


def test_another_process_is_at_it(tmp_path: Path) -> None:
    """Two processes never move files below one root at once."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    run = tree.run(tmp_path / "run")
    with locked(tree.root), pytest.raises(LocationError, match="Another process"):
        applied(run)
    assert applied(run).is_clean


def test_a_manifest_or_archive_that_cannot_be_read(tmp_path: Path) -> None:
    """Where nobody can say what a manifest names or an archive holds, nothing is moved."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    run = tree.run(tmp_path / "run")
    (tree.root / "ann.fsz").write_bytes(b"no zip")
    with pytest.raises(LocationError, match=r"ann\.fsz is no zip"):
        applied(run)
    (tree.root / "ann.fsz").unlink()
    (tree.root / "manifest.json").write_text("{")
    with pytest.raises(LocationError, match=r"manifest\.json is no JSON"):
        applied(run)
    assert (tree.root / "ann" / "0.jpg").exists()


def test_an_archive_is_written_anew_in_one_way(tmp_path: Path) -> None:
    """The same archive without the same images has the same bytes; members under other names go by their content."""
    for name in ("one", "two"):
        tree = small(tmp_path / name, {"ann/0.jpg", "ann/1.jpg"})
        with zipfile.ZipFile(tree.root / "ann.fsz", "w", zipfile.ZIP_DEFLATED) as archive:
            for number, (inside, data) in enumerate(
                [("0.jpg", b"ann/0.jpg"), ("B.JPG", b"ann/1.jpg"), ("z/2.jpg", b"ann/2.jpg")]
            ):
                archive.writestr(zipfile.ZipInfo(inside, (2020, 1, 1, 1, 1, 2 * number)), data)
            archive.comment = b"faces"
        applied(tree.run(tmp_path / f"run {name}"))
    assert (tmp_path / "one/ann.fsz").read_bytes() == (tmp_path / "two/ann.fsz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one/ann.fsz") as archive:
        assert (archive.namelist(), archive.comment) == (["z/2.jpg"], b"faces")
        assert archive.infolist()[0].date_time == (2020, 1, 1, 1, 1, 4)


def test_undo_leaves_what_was_edited_since(tmp_path: Path) -> None:
    """A manifest that somebody has edited, and a file that came to an image's place, stay as they are, and are told."""
    tree = small(tmp_path / "tree", {"ann/0.jpg", "bob/0.jpg"})
    run = tree.run(tmp_path / "run")
    applied(run)
    (tree.root / "ann" / "manifest.json").write_text("{}")
    write(tree.root / "bob" / "0.jpg", b"new one")
    done = typed("undo", str(run), "--yes")
    assert "2 are not ours any more, and stay: ann/manifest.json, bob/0.jpg." in done.stderr
    assert done.exit_code == 3
    assert (tree.root / "ann" / "0.jpg").read_bytes() == b"ann/0.jpg"
    assert ((tree.root / "ann" / "manifest.json").read_text(), (tree.root / "bob" / "0.jpg").read_bytes()) == (
        "{}",
        b"new one",
    )
    assert (tree.root / "_dropped" / "bob" / "0.jpg").read_bytes() == b"bob/0.jpg"
    (original,) = (tree.root / "_clipsieve").rglob("ann/manifest.json.original")
    assert len(json.loads(original.read_text())["faces"]) == 3


def test_two_runs_one_after_the_other(tmp_path: Path) -> None:
    """A second run goes on from the first; they are undone in the opposite order, and in no other."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    before = tree_hash(tree.root)
    first = tree.run(tmp_path / "first")
    applied(first)
    left = FaceSets(tree.root, frozenset({"ann/1.jpg"}), {}, tuple(path for path in tree.images if path != "ann/0.jpg"))
    second = left.run(tmp_path / "second", run_id="20260102T120000Z-fedcba")
    applied(second)
    assert len(read(tree.root / "ann" / "manifest.json")["clipsieve"]["runs"]) == 2
    refused = typed("undo", str(first), "--yes")
    assert (refused.exit_code, "Undo that one first" in refused.stderr) == (2, True)
    assert undone(second).ours.objects == 0
    assert undone(first).ours.objects == 0
    assert tree_hash(tree.root) == before


def test_what_export_has_written(tmp_path: Path) -> None:
    """From the listing of a folder, through `export` with a policy of groups, to moved images, and back."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"}, {f"bob/{k}.jpg": "masked" for k in range(3)})
    before = tree_hash(tree.root)
    objects = [one for page in FolderSource(tree.root).pages() for one in page if one.key.endswith(".jpg")]
    store = new_store(tmp_path / "store")
    list_source(store, objects, source=objects[0].source)
    add_part(store, [embedded(one) for one in objects])
    scores = {"ann/0.jpg": 0.95} | dict.fromkeys(tree.quarantined, 0.8)
    (tmp_path / "policy.toml").write_text(
        """
[[rule]]
name = "covered"
reason = "the face is covered"
remove = "mask >= 0.9"

[[rule]]
name = "masked group"
reason = "most faces are covered"
quarantine = "masked"
group = "folder"
any = ["mask >= 0.70"]
share_at_least = 0.40
"""
    )
    scored = put_scores(store, {"mask": scores})
    run = ask(scored).export(str(tmp_path / "run"), policy=str(tmp_path / "policy.toml"))
    assert (run.removed, dict(run.quarantined)) == (1, {"masked": 3})
    after = applied(Path(run.place))
    assert (after.is_clean, after.groups) == (True, {"_masked": 1})
    check_applied(tree)
    assert undone(Path(run.place)).ours.objects == 0
    assert tree_hash(tree.root) == before


def listed_in(root: Path) -> list[str]:
    """What a later `clipsieve embed` of a folder would list."""
    return [one.key for page in FolderSource(root).pages() for one in page]


def test_embedded_again(tree: FaceSets, tmp_path: Path) -> None:
    """What was moved aside is no image of the source any more, nor of a folder above it; after undo it is again."""
    write(tree.root / "people" / "_masked" / "1.jpg", b"a folder of somebody's own")
    before = listed_in(tree.root)
    run = tree.run(tmp_path / "run")
    applied(run)
    gone = {*tree.removed, *tree.quarantined}
    assert gone
    stays = {key for key in before if key.endswith(".jpg")} - gone
    assert {key for key in listed_in(tree.root) if key.endswith(".jpg")} == stays
    above = {key.removeprefix("tree/") for key in listed_in(tree.root.parent) if key.startswith("tree/")}
    assert above == {*listed_in(tree.root)}
    assert "people/_masked/1.jpg" in stays
    undone(run)
    assert listed_in(tree.root) == before


def test_two_runs_move_aside(tmp_path: Path) -> None:
    """What any run has moved aside is left out, whatever its label."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    applied(tree.run(tmp_path / "one"))
    kept = [path for path in tree.images if path != "ann/0.jpg"]
    rows = [tree.row(path, quarantine="odd" if path == "bob/1.jpg" else None) for path in kept]
    other = write_run(
        tmp_path / "two",
        [tree.source],
        kept=[row for row in rows if not row["quarantine"]],
        quarantined=[row for row in rows if row["quarantine"]],
        run_id="20260102T120000Z-abcdef",
    )
    applied(other)
    assert {key for key in listed_in(tree.root) if key.endswith(".jpg")} == {*kept} - {"bob/1.jpg"}


@pytest.mark.parametrize(
    "known",
    [{"revision": "vector-0a1b"}, {"size_bytes": None}, {"last_modified": None}],
    ids=["vector", "size", "time"],
)
def test_an_image_that_was_imported(tmp_path: Path, known: dict[str, Any]) -> None:
    """Of an image whose vector was imported nobody knows which file was judged: it stays, and a line says why."""
    tree = small(tmp_path / "tree", {"ann/0.jpg", "ann/1.jpg"})
    before = tree_hash(tree.root)
    rows = [tree.row(path) | (known if path == "ann/0.jpg" else {}) for path in sorted(tree.removed)]
    kept = [tree.row(path) for path in tree.images if path not in tree.removed]
    run = write_run(tmp_path / "run", [tree.source], kept=kept, removed=rows)
    done = typed("apply", str(run), "--in-place", "--yes")
    assert "ann/0.jpg: its vector was imported, so nobody knows which file was judged; it stays" in done.stderr
    assert (done.exit_code, (tree.root / "ann/0.jpg").exists(), (tree.root / "ann/1.jpg").exists()) == (3, True, False)
    assert [face["file"] for face in read(tree.root / "ann" / "manifest.json")["faces"]] == ["0.jpg", "2.jpg"]
    assert typed("undo", str(run), "--yes").exit_code == 0
    assert tree_hash(tree.root) == before


def test_a_run_of_a_bucket(tmp_path: Path) -> None:
    """In place is for folders; images of a bucket are copied."""
    run = write_run(tmp_path / "run", ["s3://photos/in/"], kept=[row_of("photos", "in/a.jpg", b"x")])
    with pytest.raises(UsageError, match="judged no folder"):
        applied(run)
    assert typed("apply", str(run)).exit_code == 2
    assert typed("apply", str(run), "--in-place", "--to", "s3://photos/out/").exit_code == 2


@pytest.mark.parametrize("label", ["/../../elsewhere", "clipsieve"])
def test_a_label_that_is_no_name(tmp_path: Path, label: str) -> None:
    """A quarantine whose label would lead out of the folder, or among the originals, is refused."""
    tree = small(tmp_path / "tree", set(), {"ann/0.jpg": label})
    with pytest.raises(UsageError, match="is no name for a folder"):
        applied(tree.run(tmp_path / "run"))
    assert (tree.root / "ann" / "0.jpg").exists()


@pytest.mark.parametrize(
    ("manifest", "pruned"),
    [
        ({"faces": ["gone.jpg", "here.jpg"]}, {"faces": ["here.jpg"]}),
        ({"faces": [{"image": "gone.jpg"}, {"image": "here.jpg"}]}, {"faces": [{"image": "here.jpg"}]}),
        ({"faces": [{"crop": "gone.jpg"}], "n": 1}, {"faces": [], "n": 0}),
        ({"faces": [{"file": "/old/place/gone.jpg"}]}, {"faces": []}),
        ({"faces": [{"file": "./gone.jpg"}, {"file": "..\\g\\gone.jpg"}]}, {"faces": []}),
        (
            {"faces": [{"file": "here.jpg", "same_as": "gone.jpg"}]},
            {"faces": [{"file": "here.jpg", "same_as": "gone.jpg"}]},
        ),
        ({"faces": {"gone.jpg": {"id": 1}, "here.jpg": {"id": 2}}}, {"faces": {"here.jpg": {"id": 2}}}),
        ({"face_count": 2, "age": 2, "faces": ["gone.jpg", "x"]}, {"face_count": 1, "age": 2, "faces": ["x"]}),
        ({"cover": "gone.jpg", "faces": []}, {"cover": "gone.jpg", "faces": []}),
        (["gone.jpg", "here.jpg"], ["here.jpg"]),
        (
            {"nothing": None, "deep": {"list": [{"a": [{"file": "gone.jpg"}]}]}},
            {"nothing": None, "deep": {"list": [{"a": []}]}},
        ),
        ("gone.jpg", "gone.jpg"),
    ],
)
def test_what_a_manifest_loses(tmp_path: Path, manifest: object, pruned: object) -> None:
    """Entries that name what goes are taken out, whatever the shape; what names a file that stays is not."""
    write(tmp_path / "g" / "here.jpg", b"x")
    fates = Fates(tmp_path, {"g/gone.jpg": "_dropped"}, {})
    assert Pruner(fates, "g", {}).prune(manifest).document == pruned


def test_a_value_that_no_list_holds(tmp_path: Path) -> None:
    """A dropped image that a manifest names outside of any list is reported: nobody can say what should stand there."""
    tree = small(tmp_path / "tree", {"ann/0.jpg"})
    manifest = read(tree.root / "ann" / "manifest.json")
    write(tree.root / "ann" / "manifest.json", {**manifest, "cover": "0.jpg"})
    done = typed("apply", str(tree.run(tmp_path / "run")), "--in-place", "--yes")
    assert "ann/manifest.json still names 0.jpg, in a place that is no entry of a list." in done.stderr
    assert done.exit_code == 3


# Killed at random moments.


def _stop_after(steps: int, words: tuple[str, ...], scratch: Path) -> None:
    """Run a command in this process, which is killed at its step of that number."""
    tempfile.tempdir = str(scratch)  # what a killed process leaves there goes with the test
    left = itertools.count(steps - 1, -1)

    def counted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object, **kwargs: object) -> object:
            if next(left) < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **kwargs)

        return call

    for name in ("rename", "replace", "unlink", "mkdir"):
        setattr(Path, name, counted(getattr(Path, name)))
    os.link = counted(os.link)  # type: ignore[assignment]
    sys.exit(typed(*words).exit_code)


@pytest.fixture
def killed_after(tmp_path: Path, processes: ForkServerContext) -> Callable[..., int | None]:
    """Run a command in a process that is killed at its step of that number; return its exit code."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run(steps: int, *words: str) -> int | None:
        job = processes.Process(target=_stop_after, args=(steps, words, scratch))
        job.start()
        job.join()
        return job.exitcode

    return run


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_in_the_middle(tmp_path: Path, killed_after: Callable[..., int | None]) -> None:
    """Killed again and again between any two changes to the disk, it goes on, or goes back.

    At each of these moments no manifest names a missing file.
    """
    groups, kills, dice = 60, 2, random.Random(300)
    tree = draw(tmp_path / "tree", groups, seed=groups)
    run = tree.run(tmp_path / "run")
    before = tree_hash(tree.root)
    apply, undo = ("apply", str(run), "--in-place", "--yes"), ("undo", str(run), "--yes")
    steps = 3 * groups

    assert killed_after(dice.randrange(5, steps), *apply) == -signal.SIGKILL
    assert dangling(tree.root) == []
    assert killed_after(dice.randrange(2, steps // 3), *undo) in {-signal.SIGKILL, 0}
    assert dangling(tree.root) == []
    assert typed(*undo).exit_code == 0
    assert tree_hash(tree.root) == before

    for _ in range(kills):
        if killed_after(dice.randrange(3, steps), *apply) == 0:
            break
        assert dangling(tree.root) == []
    assert typed(*apply).exit_code == 0
    check_applied(tree)
    for _ in range(kills):
        if killed_after(dice.randrange(3, steps), *undo) == 0:
            break
        assert dangling(tree.root) == []
    typed(*undo)
    assert tree_hash(tree.root) == before
