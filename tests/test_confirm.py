"""A second look by a local detector: at the uncertain band alone, once, with every image accounted for."""

import json
import multiprocessing
import re
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.context import ForkServerContext
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import clipsieve
from embed.decode import decode
from embed.detect.owl import MAX_BOXES, MIN_BOX_CONFIDENCE, Owl
from embed.detect.questions import Question, questions
from embed.detect.reading import Reader, wanted
from embed.detect.run import ALL_FAILED
from embed.encoders.torchvision_shim import import_transformers
from embed.sources import ReadFailed
from store.errors import NotScored, SourceError, UsageError, WeightsUnavailable
from store.records import ErrorCode, SourceObject
from store.s3 import S3Options
from tests.commands import one_line, typed
from tests.confirming import (
    BAND,
    IN_BAND,
    NAMES,
    measurements,
    planned,
    rows_written,
    scored_store,
    seen,
    write_pictures,
)
from tests.embedding import embed, shelf
from tests.hub_server import hub_server
from tests.pictures import picture
from tests.stores import NOON, add_part, embedded, files_of, list_source, new_store, put_scores
from tests.test_weights import use_endpoint
from tests.tiny_detector import write_tiny_detector

PERSON = (Question("person", "a photo of a person"),)


@pytest.fixture(scope="session", params=["owlv2", "owlvit"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each architecture in turn."""
    return str(request.param)


@pytest.fixture(scope="session")
def detectors(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a folder of a real, tiny detector, written once for each kind and seed."""
    pytest.importorskip("transformers", reason="a local detector needs the detect extra")
    root, written = tmp_path_factory.mktemp("detectors"), dict[tuple[str, int], Path]()

    def folder(kind: str, seed: int = 7) -> Path:
        if (kind, seed) not in written:
            written[kind, seed] = write_tiny_detector(root / f"{kind}-{seed}", kind, seed=seed)
        return written[kind, seed]

    return folder


@pytest.fixture(scope="session")
def detector(detectors: Callable[..., Path]) -> Path:
    """The folder of one OWLv2."""
    return detectors("owlv2")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `tests.confirming`. Read-only by convention."""
    return write_pictures(tmp_path_factory.mktemp("confirm") / "pictures")


@pytest.fixture(scope="session")
def _scored(pictures: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("confirm") / "store"
    scored_store(pictures, place, tiny_encoder)
    return place


@pytest.fixture
def store(_scored: Path, tmp_path: Path) -> Path:
    """A store of `pictures` of one's own, with scores."""
    return Path(shutil.copytree(_scored, tmp_path / "store"))


def confirm(store: Path, detector: Path, *words: str) -> Result:
    """Type `clipsieve confirm` for people in the band, with an OWLv2 on the CPU."""
    local = ("--with", "owlv2", "--weights", str(detector), "--device", "cpu")
    return typed("confirm", str(store), "people", "--between", "0.35", "0.65", *local, *words)


# What is looked at, and what it costs


def test_without_yes_nothing_is_done(store: Path, detector: Path) -> None:
    """The command says how many images it is and how long it takes, and stops there."""
    before = files_of(store)
    asked = confirm(store, detector)
    assert asked.exit_code == 0
    assert "people between 0.35 and 0.65: 3 images." in asked.stdout
    assert "To look at now, for person: 3." in asked.stdout
    assert re.search(r"Time: about .*, \d+\.\d\d s an image on the 3 tried here\.", asked.stdout)
    assert asked.stdout.endswith("Nothing has been done. Add --yes to go on.\n")
    assert files_of(store) == before


def test_with_yes_the_band_is_looked_at(store: Path, detector: Path) -> None:
    """With --yes the answers are in the store, and the command that the output names shows them."""
    done = confirm(store, detector, "--yes", "--what", "person", "--what", "face mask")
    assert done.exit_code == 0
    assert "Looked at 3 images in " in done.stdout
    assert "Columns: owlv2_person, owlv2_face_mask." in done.stdout
    (query,) = re.findall(r'^Next: clipsieve sql \S+ "(.*)"$', done.stdout, re.MULTILINE)
    found = typed("sql", str(store), query, "--format", "json")
    assert {Path(row["uri"]).name for row in json.loads(found.stdout)} == set(IN_BAND)
    status = typed("status", str(store))
    assert re.search(r"owlv2-[0-9a-f]{12} +person +3 +0 ", status.stdout)


def test_answers_are_the_models(kind: str, store: Path, pictures: Path, detectors: Callable[..., Path]) -> None:
    """Each image of the band has the confidences that the model gives for it alone, and no other image has any."""
    what = ("person", "face mask")
    planned(store, kind, weights=str(detectors(kind)), what=what, batch_size=2).run()
    owl = Owl(kind, str(detectors(kind)), questions(kind, "people", what), "cpu")
    for label in ("person", "face_mask"):
        answers = seen(store, f"{kind}_{label}")
        assert set(answers) == set(IN_BAND)
        for name, answer in answers.items():
            (alone,) = owl.detect([owl.prepare(decode((pictures / name).read_bytes()).image)])
            assert answer == pytest.approx(alone[label].confidence, abs=1e-5)


def test_boxes_are_those_of_transformers(kind: str, detectors: Callable[..., Path]) -> None:
    """Boxes, relative to the image as it is, are those that transformers' own post-processing gives in pixels."""
    from embed.encoders.torchvision_shim import import_torch, import_transformers

    torch, folder = import_torch(), detectors(kind)
    name = {"owlv2": "Owlv2", "owlvit": "OwlViT"}[kind]
    transformers = import_transformers()
    processor = getattr(transformers, f"{name}Processor").from_pretrained(folder)
    model = getattr(transformers, f"{name}ForObjectDetection").from_pretrained(folder)
    owl = Owl(kind, str(folder), PERSON, "cpu")
    for image in (picture(3).resize((200, 100)), picture(8).resize((90, 250))):
        with torch.inference_mode():
            out = model(**processor(text=[["a photo of a person"]], images=image, return_tensors="pt"))
        (theirs,) = processor.post_process_grounded_object_detection(
            out, threshold=MIN_BOX_CONFIDENCE, target_sizes=[(image.height, image.width)]
        )
        expected = sorted(zip(theirs["scores"].tolist(), theirs["boxes"].tolist(), strict=True), reverse=True)
        (ours,) = owl.detect([owl.prepare(image)])
        assert 0 < len(ours["person"].boxes) == min(len(expected), MAX_BOXES)
        assert ours["person"].confidence == pytest.approx(out.logits.sigmoid().max().item(), abs=1e-5)
        for box, (score, (x0, y0, x1, y1)) in zip(ours["person"].boxes, expected, strict=False):
            size = np.array([image.width, image.height] * 2)
            cut = np.clip(np.array([x0, y0, x1, y1]) / size, 0, 1)
            assert (box.x0, box.y0, box.x1, box.y1) == pytest.approx(cut.tolist(), abs=1e-4)
            assert box.confidence == pytest.approx(score, abs=1e-5)


def test_questions_do_not_disturb_each_other(kind: str, detectors: Callable[..., Path]) -> None:
    """A question asked beside others, and an image beside others, have the answers that they have alone."""
    images = [picture(k) for k in range(3)]
    asked = questions(kind, "people", ("person", "face mask", "cat"))
    together = Owl(kind, str(detectors(kind)), asked, "cpu")
    answers = together.detect([together.prepare(image) for image in images])
    for question in asked:
        alone = Owl(kind, str(detectors(kind)), (question,), "cpu")
        for image, answer in zip(images, answers, strict=True):
            (other,) = alone.detect([alone.prepare(image)])
            assert answer[question.label].confidence == pytest.approx(other[question.label].confidence, abs=1e-5)


def test_a_large_image_is_reduced_first(kind: str, detectors: Callable[..., Path]) -> None:
    """An image of many times the model's size takes little memory, and is answered as transformers would."""
    owl = Owl(kind, str(detectors(kind)), PERSON, "cpu")
    image = Image.radial_gradient("L").resize((700, 420)).convert("RGB")
    as_it_is = owl.prepare(image)
    whole = owl._processor.image_processor(image, return_tensors="pt")["pixel_values"][0]
    assert (as_it_is.width_px, as_it_is.height_px, as_it_is.values.shape) == (700, 420, whole.shape)
    assert (as_it_is.values - whole).abs().mean() < 0.02  # of about 4 from black to white


def test_the_nearest_to_the_middle_first(store: Path, detector: Path) -> None:
    """--limit takes the most uncertain images; what is left over is for next time."""
    first = planned(store, "owlv2", weights=str(detector), limit=1)
    assert (first.in_band, first.done, len(first.pending)) == (3, 0, 1)
    first.run()
    assert set(seen(store, "owlv2_person")) == {IN_BAND[0]}
    second = planned(store, "owlv2", weights=str(detector))
    assert [one.source_object.key for one in second.pending] == list(IN_BAND[1:])


def test_both_ends_belong_to_the_band(store: Path, detector: Path) -> None:
    """A score that equals an end, as it is written, is in the band."""
    assert planned(store, "owlv2", (0.7, 0.9), weights=str(detector)).in_band == 3
    assert planned(store, "owlv2", (0.6, 0.6), weights=str(detector)).in_band == 1


# Only what is new, and only once


def test_a_second_run_does_nothing(store: Path, detector: Path) -> None:
    """What this detector has looked at is not looked at again, and no byte of the store changes."""
    planned(store, "owlv2", weights=str(detector)).run()
    before = files_of(store)
    again = confirm(store, detector, "--yes")
    assert "Looked at before by owlv2-" in again.stdout
    assert again.stdout.endswith("Nothing to do.\n")
    assert files_of(store) == before


def test_a_wider_band_and_another_question(store: Path, detector: Path) -> None:
    """Of a wider band only the rest is looked at; a new question is asked of every image."""
    planned(store, "owlv2", weights=str(detector)).run()
    assert len(planned(store, "owlv2", (0.2, 0.8), weights=str(detector)).pending) == 4
    assert len(planned(store, "owlv2", weights=str(detector), what=("person", "cat")).pending) == 3


def test_other_weights_are_another_detector(store: Path, detectors: Callable[..., Path]) -> None:
    """Other weights look again, and a column holds the answers of one detector alone: the one that looked last."""
    planned(store, "owlv2", weights=str(detectors("owlv2"))).run()
    old = seen(store, "owlv2_person")
    planned(store, "owlv2", (0.5, 0.5), weights=str(detectors("owlv2", 8))).run()
    new = seen(store, "owlv2_person")
    assert set(new) == {"05.jpg"}
    assert new["05.jpg"] != old["05.jpg"]
    assert len({row["detector"] for row in measurements(store)}) == 2


def test_the_detector_is_recorded(store: Path, detector: Path) -> None:
    """Beside the answers stands what gave them: the weights' hash, the preprocessing, and the id of its folder."""
    planned(store, "owlv2", weights=str(detector)).run()
    held = shelf(store)
    (name,) = (name for name in held.names if name.endswith("detector.json"))
    record = json.loads(held.location.read(name) or b"")
    assert name == f"measurements/{record['detector_id']}/detector.json"
    assert record["detector_id"] == f"owlv2-{record['fingerprint'][:12]}"
    assert len(record["identity"]["weights_sha256"]) == 64
    assert record["identity"]["preprocessing"]["image_processor_type"] == "Owlv2ImageProcessor"
    assert {row["detector"] for row in measurements(store)} == {record["detector_id"]}
    assert {row["model"] for row in measurements(store)} == {detector.name}


# Every image accounted for


@pytest.fixture
def album(tmp_path: Path, tiny_encoder: Path) -> tuple[Path, Path]:
    """A source and its store, both of one's own."""
    source = write_pictures(tmp_path / "album")
    scored_store(source, tmp_path / "of album", tiny_encoder)
    return source, tmp_path / "of album"


def test_a_failed_image_is_a_row(album: tuple[Path, Path], detector: Path, tmp_path: Path) -> None:
    """What is gone or replaced is a row with its reason and no confidence; --retry-failed looks at it again."""
    source, store = album
    (source / "04.jpg").rename(tmp_path / "away.jpg")
    picture(20).save(source / "06.png")
    done = confirm(store, detector, "--yes")
    assert done.exit_code == 3
    assert "Failed, changed: 1.\nFailed, not_found: 1." in done.stdout
    rows = {row["key"]: row for row in measurements(store)}
    assert {key: row["error_code"] for key, row in rows.items()} == {
        "04.jpg": "not_found",
        "05.jpg": None,
        "06.png": "changed",
    }
    assert "replaced" in rows["06.png"]["error_detail"] or "changed" in rows["06.png"]["error_detail"]
    assert set(seen(store, "owlv2_person")) == {"05.jpg"}
    assert not planned(store, "owlv2", weights=str(detector)).pending
    (tmp_path / "away.jpg").rename(source / "04.jpg")
    planned(store, "owlv2", weights=str(detector), retry_failed=True).run()
    assert set(seen(store, "owlv2_person")) == {"04.jpg", "05.jpg"}
    assert confirm(store, detector, "--yes").stdout.endswith("Nothing to do.\n")


def test_where_everything_fails_it_ends(tmp_path: Path, detector: Path) -> None:
    """Where not one of the first images can be looked at, one sentence says so instead of a band of failures."""
    store = new_store(tmp_path / "store")
    objects = [
        SourceObject("file:///gone/", f"file:///gone/{k}.jpg", None, f"{k}.jpg", None, "1-1", 1, NOON)
        for k in range(ALL_FAILED + 8)
    ]
    list_source(store, objects, source="file:///gone/")
    add_part(store, [embedded(one) for one in objects])
    put_scores(store, {"people": {}}, default=0.5)
    plan = planned(tmp_path / "store", "owlv2", weights=str(detector))
    with pytest.raises(SourceError, match=rf"The first {ALL_FAILED} images all failed.*not_found.*--retry-failed"):
        plan.run()


def test_a_source_that_nobody_reads(tmp_path: Path) -> None:
    """An image whose source is no folder and no bucket is one failure, not the end."""
    one = SourceObject("https://x/", "https://x/a.jpg", None, "a.jpg", None, "1", 1, NOON)
    with pytest.raises(ReadFailed) as caught:
        Reader(S3Options()).read(one)
    assert caught.value.outcome.error_code is ErrorCode.READ_FAILED


def test_a_folder_with_an_odd_name(tmp_path: Path, tiny_encoder: Path, detector: Path) -> None:
    """A source whose name holds spaces, percent signs and other letters is read again."""
    source = write_pictures(tmp_path / "50% ü #1")
    scored_store(source, tmp_path / "store", tiny_encoder)
    planned(tmp_path / "store", "owlv2", weights=str(detector)).run()
    assert set(seen(tmp_path / "store", "owlv2_person")) == set(IN_BAND)


def test_what_is_no_longer_listed_is_not_looked_at(
    album: tuple[Path, Path], detector: Path, tiny_encoder: Path
) -> None:
    """After the source was listed again without an image, the band is smaller, and old answers no longer count."""
    source, store = album
    planned(store, "owlv2", weights=str(detector)).run()
    (source / "04.jpg").unlink()
    embed(source, store, tiny_encoder)
    assert planned(store, "owlv2", weights=str(detector)).in_band == 2
    assert set(seen(store, "owlv2_person")) == {"05.jpg", "06.png"}


# Stopped


def test_asked_to_stop(store: Path, detector: Path) -> None:
    """SIGTERM ends the batch in hand; what is done is kept, and the next run does the rest, each image once."""
    plan = planned(store, "owlv2", (0.0, 1.0), weights=str(detector), batch_size=1)
    asked: list[int] = []

    def ask_once() -> None:
        if not asked:
            asked.append(1)
            signal.raise_signal(signal.SIGTERM)

    found = plan.run(lambda _tally: ask_once)
    assert found.stopped
    assert 0 < found.looked_at < len(NAMES)
    rest = planned(store, "owlv2", (0.0, 1.0), weights=str(detector)).run()
    assert found.looked_at + rest.looked_at == len(NAMES) == rows_written(store)


def _look(store: Path, detector: Path) -> None:
    tempfile.tempdir = str(store.parent)  # what a killed process leaves there goes with the test
    planned(store, "owlv2", (0.0, 1.0), weights=str(detector), batch_size=1, part_images=1).run()


def _looked_and_killed(store: Path, detector: Path, kills: int) -> None:
    """Look so many times, each in a process of its own that is killed once it has written another part."""
    assert import_transformers().Owlv2ForObjectDetection  # loaded once for all: that takes seconds
    forks, parts = multiprocessing.get_context("fork"), 0
    for _ in range(kills):
        job = forks.Process(target=_look, args=(store, detector))
        job.start()
        while len(_parts(store)) <= parts and job.exitcode is None:
            job.join(0.002)
        job.kill()
        job.join()
        parts = len(_parts(store))


def _parts(store: Path) -> list[Path]:
    return [*store.glob("encoder=*/measurements/*/*.parquet")]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_and_run_again(store: Path, detector: Path, processes: ForkServerContext) -> None:
    """Killed between parts, a second look goes on with the images that stand in no part yet."""
    looker = processes.Process(target=_looked_and_killed, args=(store, detector, 2))
    looker.start()
    looker.join()
    assert looker.exitcode == 0
    parts = shelf(store).parts("measurements")
    assert len(parts) == len(_parts(store))
    assert 2 <= len(parts) == rows_written(store)
    planned(store, "owlv2", (0.0, 1.0), weights=str(detector)).run()
    assert rows_written(store) == len(NAMES) == len(seen(store, "owlv2_person"))


# Used as any score


def test_answers_decide_in_exports_and_sql(store: Path, detector: Path, tmp_path: Path) -> None:
    """A rule may ask for a detector's column; where it has not looked, such a rule does not hold."""
    planned(store, "owlv2", weights=str(detector)).run()
    answers = seen(store, "owlv2_person")
    threshold = sorted(answers.values())[1]
    run = clipsieve.open(str(store)).export(
        str(tmp_path / "run"), remove=["people >= 0.66", f"people >= 0.35 and owlv2_person >= {threshold!r}"]
    )
    text = Path(run.place, "removed.csv").read_text(encoding="utf-8")
    surest = {key for key, answer in answers.items() if answer >= threshold}
    assert {name for name in NAMES if f"/{name}," in text} == surest | {name for name in NAMES if name >= "07"}


def test_a_damaged_part_says_what_to_do(store: Path, detector: Path) -> None:
    """A part that cannot be read is named, with the command that brings its answers back."""
    planned(store, "owlv2", weights=str(detector)).run()
    (part,) = shelf(store).parts("measurements")
    Path(shelf(store).location.uri, part).write_bytes(b"no Parquet")
    verified = typed("verify", str(store))
    assert verified.exit_code == 1
    assert "run the same `clipsieve confirm` again" in verified.stderr


# Wrong use


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("mask", "--between", "0.3", "0.6"), "mask has no scores yet. Run `clipsieve score STORE mask`."),
        (("poeple", "--between", "0.3", "0.6"), "Nearest: people."),
        (("people", "--between", "0.6", "0.3"), "Give the lower end first"),
        (("people", "--between", "0.3", "0.6", "--what", "??"), "names too little"),
        (("people", "--between", "0.3", "0.6", "--what", "a b", "--what", "a-b"), "one thing twice"),
        (("people", "--between", "0.3", "0.6", "--what", "word " * 20), "Say it shorter."),
        (("people", "--between", "0.3", "0.6", "--device", "cuda:9"), "There is no device 'cuda:9' here."),
    ],
)
def test_wrong_words(store: Path, detector: Path, words: tuple[str, ...], says: str) -> None:
    """Words that mean nothing are refused in one line, and nothing is written."""
    before = files_of(store)
    refused = typed("confirm", str(store), *words, "--with", "owlv2", "--weights", str(detector), "--yes")
    assert refused.exit_code in {1, 2}
    assert says in one_line(refused)
    assert files_of(store) == before


def test_a_half_scored_concept_has_no_band(store: Path, album: tuple[Path, Path], tiny_encoder: Path) -> None:
    """Where a part has no scores yet, the band would be incomplete, so it is refused."""
    source, place = album
    picture(30).save(source / "30.jpg")
    embed(source, place, tiny_encoder)
    with pytest.raises(NotScored):
        clipsieve.open(str(place)).band("people", *BAND)


def test_weights_that_are_not_there(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, without the folder, or without a file in it, one sentence says at once what to do."""
    use_endpoint("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    (tmp_path / "empty").mkdir()
    for weights, says in (
        (None, "127.0.0.1:9 cannot be reached"),
        (str(tmp_path / "nowhere"), "holds no config.json"),
        (f"local-dir:{tmp_path / 'empty'}", "holds no config.json"),
    ):
        with pytest.raises(WeightsUnavailable, match=rf"The detector .* cannot be used: .*{says}.*--weights"):
            planned(store, "owlv2", weights=weights)


def test_weights_from_a_hub(
    store: Path,
    kind: str,
    detectors: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A hub id is downloaded once, with a tokenizer in either form, and is the detector that its files are."""
    folder = detectors(kind)
    tokenizer = "tokenizer.json" if kind == "owlv2" else "vocab.json"
    left_out = {"owlv2": {"vocab.json", "merges.txt"}, "owlvit": {"tokenizer.json"}}[kind]
    with hub_server() as hub:
        use_endpoint(hub.url, tmp_path / "cache", monkeypatch)
        hub.files = {f"clipsieve/owl/{path.name}": path for path in folder.iterdir() if path.name not in left_out}
        first = planned(store, kind, weights="clipsieve/owl")
        asked = len(hub.requests)
        assert any(tokenizer in request for request in hub.requests)
        again = planned(store, kind, weights="hf-hub:clipsieve/owl")
        assert len(hub.requests) == asked
    local = planned(store, kind, weights=str(folder))
    assert first.looker.record.model == "clipsieve/owl"
    assert len({plan.looker.record.detector_id for plan in (first, again, local)}) == 1


def test_weights_of_another_model(store: Path, detectors: Callable[..., Path], tmp_path: Path) -> None:
    """Files of another architecture, and a damaged file, are refused instead of looked with."""
    with pytest.raises(WeightsUnavailable, match="it is no Owlv2ForObjectDetection: weights are missing"):
        planned(store, "owlv2", weights=str(detectors("owlvit")))
    broken = shutil.copytree(detectors("owlv2"), tmp_path / "broken")
    (Path(broken) / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WeightsUnavailable, match="its files cannot be read"):
        planned(store, "owlv2", weights=str(broken))


def test_without_transformers(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers is not installed, one sentence names the extra."""
    import_transformers.cache_clear()  # it remembers what it has imported
    monkeypatch.setitem(sys.modules, "transformers", None)
    asked = typed("confirm", str(store), "people", "--between", "0.3", "0.6", "--with", "owlv2")
    assert asked.exit_code == 2
    assert "transformers is not installed" in asked.stderr
    assert "pip install 'clipsieve[detect]'" in asked.stderr


def test_what_a_concept_suggests() -> None:
    """A concept's name says what to look for, unless --what does; labels are fit to name a column."""
    assert questions("owlv2", "people", ()) == PERSON
    assert questions("owlv2", "hard_hats", ()) == (Question("hard_hats", "a photo of a hard hats"),)
    assert questions("owlvit", "mask", ("Face mask", "cat")) == (
        Question("face_mask", "a photo of a Face mask"),
        Question("cat", "a photo of a cat"),
    )
    assert [q.label for q in questions("rekognition", "mask", ())] == ["face_occluded"]
    with pytest.raises(UsageError, match="Choose with --what from: person, face, face_occluded, sunglasses"):
        questions("rekognition", "hats", ())


def test_the_band_says_what_pass_one_learned(store: Path) -> None:
    """A band carries what reading an image again needs: its identity, its size and its format."""
    band = clipsieve.open(str(store)).band("people", *BAND)
    images = list(wanted(band))
    assert [one.source_object.key for one in images] == list(IN_BAND)
    assert images[0].source_object.image_id == band["image_id"][0].as_py()
    assert [one.facts.format for one in images if one.facts] == ["JPEG", "JPEG", "PNG"]
    with Image.open(Path(images[0].source_object.uri.removeprefix("file://"))) as image:
        assert images[0].facts is not None
        assert image.size == (images[0].facts.width_px, images[0].facts.height_px)
