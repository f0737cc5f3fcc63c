"""A second look by Amazon Rekognition, against a stand-in that speaks its protocol and checks every signature."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
from PIL import Image, ImageStat

from embed.detect.remote import is_taken
from embed.detect.run import Plan
from store.errors import LocationError
from store.records import ImageFacts
from tests.commands import typed
from tests.confirming import (
    NAMES,
    measurements,
    planned,
    rows_written,
    scored_store,
    seen,
    write_pictures,
)
from tests.embedding import retry_at_once
from tests.pictures import picture_bytes
from tests.servers.moto_server import MotoServer
from tests.servers.rekognition_server import MAX_BYTES, Refusal, RekognitionServer, rekognition_server
from tests.stores import files_of

BETWEEN = ("--between", "0.35", "0.65", "--with", "rekognition")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore tries again at once."""
    retry_at_once(monkeypatch)


@pytest.fixture
def s3(moto_s3: MotoServer, monkeypatch: pytest.MonkeyPatch) -> MotoServer:
    """moto, set as what boto3's standard chain finds."""
    for name, value in moto_s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    return moto_s3


@pytest.fixture
def service(s3: MotoServer) -> Iterator[RekognitionServer]:
    """The stand-in, in the region of the bucket."""
    with rekognition_server(s3) as server:
        yield server


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pictures of `tests.confirming`. Read-only by convention."""
    pytest.importorskip("PIL", reason="this test draws pictures, which needs the embed extra")
    return write_pictures(tmp_path_factory.mktemp("rekognition") / "pictures")


@pytest.fixture(scope="session")
def _scored(pictures: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rekognition") / "store"
    scored_store(pictures, place, tiny_encoder)
    return place


@pytest.fixture
def store(_scored: Path, tmp_path: Path) -> Path:
    """A store of `pictures` in a folder, of one's own, with scores."""
    return Path(shutil.copytree(_scored, tmp_path / "store"))


@pytest.fixture
def of_bucket(s3: MotoServer, bucket: str, pictures: Path, tiny_encoder: Path, tmp_path: Path) -> Path:
    """A store of the same pictures in a bucket, with scores."""
    for name in NAMES:
        s3.client().upload_file(str(pictures / name), bucket, f"in/{name}")
    scored_store(f"s3://{bucket}/in/", tmp_path / "of bucket", tiny_encoder)
    return tmp_path / "of bucket"


def look(store: Path, service: RekognitionServer, **options: Any) -> Plan:
    """Plan a second look by the stand-in."""
    return planned(store, "rekognition", rekognition_endpoint_url=service.endpoint_url, **options)


def redness(path: Path) -> float:
    """How sure the stand-in is of a person in a picture: as it is decoded here, 0 to 1."""
    with Image.open(path) as image:
        return ImageStat.Stat(image.convert("RGB")).mean[0] / 255


# What is asked, and what it costs


def test_without_yes_the_service_is_not_asked(store: Path, service: RekognitionServer) -> None:
    """The command says how many images, calls and dollars it is, asks nothing and writes nothing."""
    before = files_of(store)
    words = ("confirm", str(store), "people", *BETWEEN, "--rekognition-endpoint-url", service.endpoint_url)
    asked = typed(*words)
    assert asked.exit_code == 0
    assert "Cost: 3 images x DetectLabels x $0.001 = $0.00, and what reading the images costs." in asked.stdout
    dear = typed(*words, "--price", "2.5", "--what", "person", "--what", "face_occluded")
    assert "Cost: 3 images x (DetectLabels and DetectFaces) x $2.5 = $15.00," in dear.stdout
    assert (service.asked, files_of(store)) == ([], before)


def test_it_needs_no_torch(store: Path, service: RekognitionServer) -> None:
    """Rekognition is asked without torch, transformers and open_clip: Pillow is enough."""
    words = ["confirm", str(store), "people", *BETWEEN, "--yes", "--rekognition-endpoint-url", service.endpoint_url]
    missing = dict.fromkeys(("torch", "torchvision", "transformers", "open_clip"))
    code = f"import sys; sys.modules.update({missing!r}); import clipsieve; clipsieve.main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, "Looked at 3 images" in done.stdout) == (0, True), done.stderr


def test_answers_are_about_the_right_image(store: Path, pictures: Path, service: RekognitionServer) -> None:
    """Every format is sent as one that the service takes, and each row holds the answer about its own image."""
    found = look(store, service, between=(0.0, 1.0)).run()
    assert (found.looked_at, found.errors, found.columns) == (len(NAMES), {}, ("rekognition_person",))
    answers = seen(store, "rekognition_person")
    assert set(answers) == set(NAMES)
    for name, answer in answers.items():
        assert answer == pytest.approx(redness(pictures / name), abs=0.01), name
    assert {asked.operation for asked in service.asked} == {"DetectLabels"}
    assert service.asked[0].parameters["MinConfidence"] == 0
    labels = {"GeneralLabels": {"LabelInclusionFilters": ["Person"]}}
    assert all(asked.parameters["Settings"] == labels and asked.sent_bytes for asked in service.asked)


def test_one_call_answers_all_of_faces(store: Path, service: RekognitionServer) -> None:
    """A question about faces is one call, and all of its answers are kept: a face, covered or not, sunglasses."""
    found = look(store, service, what=("face_occluded",)).run()
    assert found.columns == ("rekognition_face", "rekognition_face_occluded", "rekognition_sunglasses")
    assert [asked.operation for asked in service.asked] == ["DetectFaces"] * 3
    assert service.asked[0].parameters["Attributes"] == ["DEFAULT", "FACE_OCCLUDED", "SUNGLASSES"]
    assert set(seen(store, "rekognition_sunglasses").values()) == {0.0}
    occluded = seen(store, "rekognition_face_occluded")
    assert {round(answer, 2) for answer in occluded.values()} == {0.0, 0.99}
    rows = [row for row in measurements(store) if row["label"] == "face_occluded"]
    assert all(bool(row["boxes"]) == (row["confidence"] > 0) for row in rows)
    assert not look(store, service, what=("sunglasses",)).pending


def test_boxes_are_corners_within_the_image(store: Path, service: RekognitionServer) -> None:
    """A box is kept as corners, cut off at the edge of the image; the row names the service's own model."""
    look(store, service).run()
    for row in measurements(store):
        (box,) = row["boxes"]
        assert (box["x0"], box["y0"], box["x1"], box["y1"]) == (0.25, 0.0, 0.75, 0.875)
        assert box["confidence"] == row["confidence"]
        assert row["model"] == "DetectLabels 3.0"


def test_nothing_found_is_zero(tmp_path: Path, tiny_encoder: Path, service: RekognitionServer, s3: MotoServer) -> None:
    """Where the service finds no person the answer is 0, not null: it has looked."""
    folder = write_pictures(tmp_path / "pictures")
    for name in ("05.jpg", "06.png"):
        Image.new("RGB", (100, 100), "black").save(folder / name)
    scored_store(folder, tmp_path / "store", tiny_encoder)
    look(tmp_path / "store", service).run()
    answers = seen(tmp_path / "store", "rekognition_person")
    assert (answers["05.jpg"], answers["06.png"]) == (0.0, 0.0)
    assert answers["04.jpg"] > 0


# How an image gets there


def test_an_object_is_named_where_the_service_is_near(of_bucket: Path, bucket: str, service: RekognitionServer) -> None:
    """Where bucket and service share a region, JPEG and PNG are named, not sent."""
    look(of_bucket, service, between=(0.0, 1.0)).run()
    named = {a.parameters["Image"]["S3Object"]["Name"] for a in service.asked if not a.sent_bytes}
    assert named == {f"in/{name}" for name in NAMES if name.endswith(("jpg", "png"))}
    assert {a.parameters["Image"]["S3Object"]["Bucket"] for a in service.asked if not a.sent_bytes} == {bucket}
    assert len([a for a in service.asked if a.sent_bytes]) == len(NAMES) - len(named)
    assert len(seen(of_bucket, "rekognition_person")) == len(NAMES)


def test_bytes_are_sent_to_another_region(of_bucket: Path, s3: MotoServer) -> None:
    """Rekognition reads only buckets of its own region, so elsewhere the bytes are sent."""
    with rekognition_server(s3, "eu-west-1") as service:
        look(of_bucket, service, rekognition_region="eu-west-1").run()
        assert all(asked.sent_bytes for asked in service.asked)
        assert len(service.asked) == 3


def test_a_replaced_object_is_a_failure(
    s3: MotoServer, bucket: str, of_bucket: Path, service: RekognitionServer
) -> None:
    """An object that is replaced or gone gives no answer, named or sent: it is not the one that was judged."""
    s3.client().put_object(Bucket=bucket, Key="in/05.jpg", Body=picture_bytes(25))
    s3.client().delete_object(Bucket=bucket, Key="in/04.jpg")
    found = look(of_bucket, service).run()
    assert found.errors == {"changed": 1, "not_found": 1}
    assert set(seen(of_bucket, "rekognition_person")) == {"in/06.png"}


def test_what_the_service_cannot_reach_is_sent(of_bucket: Path, service: RekognitionServer) -> None:
    """Where the service may not read the bucket by itself, the bytes are sent instead."""
    denied = Refusal(400, "InvalidS3ObjectException", "Unable to get object metadata from S3.")
    service.faults.append(lambda _, number: denied if not service.asked[number - 1].sent_bytes else None)
    found = look(of_bucket, service).run()
    assert (found.looked_at, found.errors) == (3, {})


def test_images_beyond_the_limits_are_made_to_fit(
    tmp_path: Path, tiny_encoder: Path, service: RekognitionServer
) -> None:
    """Too small, too large, too long and turned pictures are sent as JPEGs within the limits, upright."""
    folder = write_pictures(tmp_path / "pictures")
    noise = np.random.default_rng(7).integers(0, 255, (1400, 1400, 3), np.uint8)
    Image.fromarray(noise).save(folder / "06.png")
    Image.new("RGB", (30, 20), (200, 10, 10)).save(folder / "05.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (11_000, 90), (100, 10, 10)).save(folder / "04.jpg", exif=turned)
    assert (folder / "06.png").stat().st_size > MAX_BYTES
    scored_store(folder, tmp_path / "store", tiny_encoder)
    found = look(tmp_path / "store", service).run()
    assert (found.looked_at, found.errors) == (3, {})
    answers = seen(tmp_path / "store", "rekognition_person")
    assert answers["05.jpg"] == pytest.approx(200 / 255, abs=0.01)
    assert answers["04.jpg"] == pytest.approx(100 / 255, abs=0.01)
    assert all(asked.sent_bytes <= MAX_BYTES for asked in service.asked)


@pytest.mark.parametrize(
    ("facts", "taken"),
    [
        (ImageFacts(80, 10_000, "JPEG", "RGB", 6), True),
        (ImageFacts(80, 80, "PNG", "P", None), True),
        (ImageFacts(79, 500, "JPEG", "RGB", None), False),
        (ImageFacts(10_001, 500, "JPEG", "RGB", None), False),
        (ImageFacts(500, 500, "WEBP", "RGB", None), False),
        (ImageFacts(500, 500, "JPEG", "CMYK", None), False),
        (ImageFacts(500, 500, "PNG", "I;16", None), False),
        (ImageFacts(500, 500, "PNG", "RGB", 6), False),
    ],
)
def test_what_is_sent_as_it_is(facts: ImageFacts, taken: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """An image is sent as it is where the service takes its format and size, and would see it as it was judged."""
    assert is_taken(facts) is taken


# Faults


def always(refusal: Refusal) -> Callable[[str, int], Refusal]:
    """A fault that every request meets."""
    return lambda _operation, _number: refusal


@pytest.mark.parametrize(
    "code", ["ThrottlingException", "ProvisionedThroughputExceededException", "InternalServerError"]
)
def test_a_busy_service_is_asked_again(store: Path, service: RekognitionServer, code: str) -> None:
    """A service that is busy at first is asked again, and nothing of it is seen."""
    status = 500 if code == "InternalServerError" else 400
    service.faults.append(lambda _, number: Refusal(status, code, "Slow down") if number <= 3 else None)
    found = look(store, service).run()
    assert (found.looked_at, found.errors) == (3, {})


def test_a_service_that_stays_busy_ends_the_job(store: Path, service: RekognitionServer) -> None:
    """Throttled at every attempt, the job ends with one sentence; what was answered is kept and not paid for twice."""
    busy = Refusal(400, "ThrottlingException", "Rate exceeded")
    service.faults.append(lambda _, number: busy if number > 4 else None)
    with pytest.raises(
        LocationError, match=r"\(DetectLabels\): ThrottlingException \(Rate exceeded\).*goes on from here"
    ):
        look(store, service, between=(0.0, 1.0)).run()
    kept = rows_written(store)
    service.faults.clear()
    rest = look(store, service, between=(0.0, 1.0)).run()
    assert kept + rest.looked_at == len(NAMES) == rows_written(store)


@pytest.mark.parametrize(("what", "call"), [("person", "DetectLabels"), ("face", "DetectFaces")])
def test_a_missing_permission_is_named(store: Path, service: RekognitionServer, what: str, call: str) -> None:
    """Where the call is denied the command fails with the action that is missing, and nothing is recorded."""
    service.faults.append(always(Refusal(400, "AccessDeniedException", "not authorized")))
    words = ("confirm", str(store), "people", *BETWEEN, "--what", what, "--yes")
    denied = typed(*words, "--rekognition-endpoint-url", service.endpoint_url)
    assert denied.exit_code == 1
    assert f"Allow rekognition:{call} for these credentials" in denied.stderr
    assert rows_written(store) == 0


def test_an_image_that_the_service_refuses(store: Path, service: RekognitionServer) -> None:
    """What the service calls no image is a row with its words; the others are looked at."""
    wrong = Refusal(400, "InvalidImageFormatException", "Request has invalid image format")
    service.faults.append(lambda _, number: wrong if number == 1 else None)
    found = look(store, service).run()
    assert (found.looked_at, found.errors) == (2, {"unsupported": 1})
    (failed,) = (row for row in measurements(store) if row["status"] == "failed")
    assert failed["error_detail"] == (
        "Rekognition answered InvalidImageFormatException: Request has invalid image format"
    )
    service.faults.clear()
    assert look(store, service, retry_failed=True).run().looked_at == 1


def test_wrong_credentials_are_never_shown(
    store: Path, service: RekognitionServer, s3: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong secret, and none at all, are one sentence each, in which no secret stands."""
    words = ("confirm", str(store), "people", *BETWEEN, "--rekognition-endpoint-url", service.endpoint_url, "--yes")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "quite-another-secret")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    wrong = typed(*words)
    assert wrong.exit_code == 1
    assert "The secret key does not fit the access key" in wrong.stderr
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    none = typed(*words)
    assert none.exit_code == 1
    assert "no AWS credentials were found. Set AWS_ACCESS_KEY_ID" in none.stderr
    assert not re.search(f"quite-another|{re.escape(s3.secret_key)}", wrong.output + none.output)


def test_without_a_region(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing names a region, one sentence says so before anything is asked."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    refused = typed("confirm", str(store), "people", *BETWEEN)
    assert refused.exit_code == 1
    assert "You must specify a region" in refused.stderr
