"""The policies of deploy/iam: each allows exactly what its command does, and a command names what it lacks."""

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import pytest
from boto3.exceptions import S3UploadFailedError
from botocore.exceptions import ClientError
from PIL import Image

import clipsieve
from embed.detect.run import ALL_FAILED
from embed.refusals import REFUSED_AT_FIRST
from query.deliver.apply.copies import ApplyOptions
from store.s3.copying.records import CopyOptions
from store.s3.errors import missing_permission, refused
from tests import buckets
from tests.embedding import command, embed, retry_at_once
from tests.servers.moto_server import MotoServer
from tests.servers.policy import Policy
from tests.servers.rekognition_server import RekognitionServer, rekognition_server
from tests.stores import files_of, put_scores

IAM = Path(__file__).resolve().parents[1] / "deploy" / "iam"
IMAGES = max(REFUSED_AT_FIRST, ALL_FAILED) + 4
KEPT = 4  # of these, by what is exported
PLACES = ("SOURCE", "STORE", "RUNS", "DESTINATION", "VERSIONED")
NAMES = {f"{place}-{part}": f"{place}-{part}".lower() for place in PLACES for part in ("BUCKET", "PREFIX")}
"""Here every place is a bucket of its own, so that a grant on one is no grant on another."""

CONCEPT = """
[concept.red]
description = "it is red"
positive = ["{positive}"]
negative = ["a photo"]
threshold = 0.5
"""


def read(name: str) -> Policy:
    """The policy of a command."""
    return Policy.read(IAM / f"{name}.json", NAMES)


RUN = f"s3://{NAMES['RUNS-BUCKET']}/{NAMES['RUNS-PREFIX']}/one"


def uri(place: str) -> str:
    """Where a place lies."""
    return f"s3://{NAMES[f'{place}-BUCKET']}/{NAMES[f'{place}-PREFIX']}"


@dataclass(frozen=True)
class World:
    """A bucket for each place, images in the source, and what a command needs beside them."""

    s3: MotoServer
    encoder: Path
    folder: Path  # local
    service: RekognitionServer
    run: dict[str, bytes] = field(default_factory=dict)  # the files of an export, once there was one
    used: dict[str, set[int]] = field(default_factory=dict)  # see `grants_used`

    def fill(self, place: str, files: Mapping[str, bytes]) -> None:
        """Let a place hold these files and nothing else."""
        bucket, prefix = NAMES[f"{place}-BUCKET"], NAMES[f"{place}-PREFIX"]
        buckets.empty(bucket)
        for name, data in files.items():
            buckets.put(bucket, f"{prefix}/{name}", data, tags={"licence": "free"})

    def renew(self) -> None:
        """Let the source be as it was, every other place be empty, and nothing be forbidden."""
        self.s3.reset()
        if len(buckets.contents(NAMES["SOURCE-BUCKET"])) != IMAGES:
            self.fill("SOURCE", {f"{number}": _image(number) for number in range(IMAGES)})
        for place in ("STORE", "RUNS", "DESTINATION", "VERSIONED"):
            self.fill(place, {})


@pytest.fixture(scope="module")
def _world(moto_s3: MotoServer, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    client = moto_s3.client()
    for place in PLACES:
        client.create_bucket(Bucket=NAMES[f"{place}-BUCKET"])
    with rekognition_server(moto_s3) as service:
        world = World(moto_s3, tiny_encoder, tmp_path_factory.mktemp("iam"), service)
        bucket = NAMES["VERSIONED-BUCKET"]
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        yield world
    moto_s3.reset()
    for place in PLACES:
        buckets.empty(NAMES[f"{place}-BUCKET"])
        client.delete_bucket(Bucket=NAMES[f"{place}-BUCKET"])


def _image(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (90, 90), (number, 99, 0)).save(file, "PNG" if number % 2 else "WEBP")
    return file.getvalue()


@pytest.fixture
def world(_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world with nothing in it but the source, found by boto3's standard chain, where nobody waits."""
    for name, value in _world.s3.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    retry_at_once(monkeypatch)
    _world.renew()
    return _world


# What each command starts from, and what is typed


@pytest.fixture
def stores(world: World, _made: dict[str, dict[str, bytes]]) -> dict[str, dict[str, bytes]]:
    """The files of a store, by what has been done to it; made once."""
    if not _made:
        place, other = world.folder / "store", world.folder / "other"
        _made["nothing"] = {}
        embed(uri("SOURCE") + "/", place, world.encoder, batch_size=64)
        shutil.copytree(place, other)
        (world.folder / "red.toml").write_text(CONCEPT.format(positive="an older wording"), encoding="utf-8")
        assert score(world, place).exit_code == 0
        (world.folder / "red.toml").write_text(CONCEPT.format(positive="a newer wording"), encoding="utf-8")
        _made["scored in older words"] = files_of(place)
        kept = {f"{NAMES['SOURCE-PREFIX']}/{number}": 0.45 for number in range(KEPT)}
        put_scores(clipsieve.open(str(other)).store, {"people": kept}, default=0.5)
        _made["scored"] = files_of(other)
    return _made


@pytest.fixture(scope="module")
def _made() -> dict[str, dict[str, bytes]]:
    return {}


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int
    stderr: str


def typed(*words: Path | str) -> Ended:
    """Type `clipsieve` with these words."""
    done = command(*words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Ended(done.exit_code, done.stderr)


def embed_all(world: World) -> Ended:
    """Type `clipsieve embed`."""
    words = ("--encoder", f"local-dir:{world.encoder}", "--device", "cpu", "--precision", "fp32")
    return typed("embed", uri("SOURCE") + "/", "--store", uri("STORE"), *words)


def score(world: World, store: Path | str = uri("STORE")) -> Ended:  # noqa: B008  # a constant
    """Type `clipsieve score`."""
    return typed("score", store, world.folder / "red.toml", "--encoder", f"local-dir:{world.encoder}")


def confirm(world: World) -> Ended:
    """Type `clipsieve confirm`."""
    words = ("--between", "0.4", "0.6", "--with", "rekognition", "--what", "person", "--what", "face", "--yes")
    url = world.service.endpoint_url
    return typed("confirm", uri("STORE"), "people", *words, "--rekognition-endpoint-url", url)


def export(_world: World) -> Ended:
    """Type `clipsieve export`."""
    return typed("export", uri("STORE"), "--remove", "people >= 0.5", "--to", RUN)


def exported(world: World) -> Ended:
    """Let there be a run as `clipsieve export` writes it; made once."""
    client, bucket, prefix = world.s3.client(), NAMES["RUNS-BUCKET"], NAMES["RUNS-PREFIX"] + "/"
    if world.run:
        world.fill("RUNS", world.run)
        return Ended(0, "")
    done = export(world)
    for item in client.list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]:
        world.run[item["Key"].removeprefix(prefix)] = client.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
    return done


def apply(_world: World, to: str = "DESTINATION") -> Ended:
    """Type `clipsieve apply`."""
    return typed("apply", RUN, "--to", uri(to) + "/", "--yes", "--trust-conditions")


def apply_in_parts(_world: World, copied: int = KEPT) -> Ended:
    """Copy every object as one that is too large for one request."""
    options = ApplyOptions(CopyOptions(parts_above_bytes=0), honours_conditions=True)
    try:
        with clipsieve.open_run(RUN).copies(uri("DESTINATION") + "/", options) as job:
            job.plan()
            done = job.carry_out()
    except clipsieve.ClipsieveError as error:
        return Ended(1, f"clipsieve: {error}")
    return Ended(0 if done.states["copied"].objects == copied else 3, str(done))


def apply_in_parts_that_fail(world: World) -> Ended:
    """The same, but one of these copies fails in the middle."""
    failing = f"/{NAMES['DESTINATION-BUCKET']}/{NAMES['DESTINATION-PREFIX']}/0"
    world.s3.faults.append(lambda method, path: (400, "InvalidRequest") if (method, path) == ("PUT", failing) else None)
    return apply_in_parts(world, KEPT - 1)


def take_one_away(world: World) -> Ended:
    """Delete one image from the source."""
    world.s3.client().delete_object(Bucket=NAMES["SOURCE-BUCKET"], Key=f"{NAMES['SOURCE-PREFIX']}/0")
    return Ended(0, "")


def apply_to_what_vanished(world: World) -> Ended:
    """Apply a run of which one image is gone from the source since: it has vanished, and is not forbidden."""
    done = apply(world)
    return Ended(0 if done.exit_code == 3 and "/0: vanished" in done.stderr else 1, done.stderr)


def undo(_world: World) -> Ended:
    """Type `clipsieve undo`."""
    return typed("undo", RUN, "--yes", "--trust-conditions")


@dataclass(frozen=True)
class Road:
    """A way of using a policy: what is there before, and what is typed."""

    policy: str
    store: str  # of `stores`
    typed: Callable[[World], Ended]
    before: tuple[Callable[[World], Ended], ...] = ()
    destination: str = "DESTINATION"


def apply_to_versions(world: World) -> Ended:
    """Apply into a bucket that keeps versions."""
    return apply(world, "VERSIONED")


ROADS = {
    "embed": Road("embed", "nothing", embed_all),
    "score": Road("score", "scored in older words", score),
    "confirm": Road("confirm", "scored", confirm),
    "export": Road("export", "scored", export),
    "apply": Road("apply", "scored", apply, (exported,)),
    "apply in parts": Road("apply", "scored", apply_in_parts, (exported,)),
    "apply in parts that fail": Road("apply", "scored", apply_in_parts_that_fail, (exported,)),
    "apply to what vanished": Road("apply", "scored", apply_to_what_vanished, (exported, take_one_away)),
    "undo": Road("undo", "scored", undo, (exported, apply)),
    "undo of versions": Road("undo", "scored", undo, (exported, apply_to_versions), "VERSIONED"),
}


EVERY_GRANT = {name: read(name).grants for name in sorted({road.policy for road in ROADS.values()})}


def roads_of(name: str) -> list[str]:
    """The ways of using a policy."""
    return [road for road, way in ROADS.items() if way.policy == name]


def begin(world: World, stores: dict[str, dict[str, bytes]], road: Road) -> Policy:
    """Make what a road starts from; return its policy, which then is in force."""
    world.fill("STORE", stores[road.store])
    for step in road.before:
        assert step(world).exit_code == 0
    names = NAMES | {f"DESTINATION-{part}": NAMES[f"{road.destination}-{part}"] for part in ("BUCKET", "PREFIX")}
    policy = Policy.read(IAM / f"{road.policy}.json", names)
    world.s3.reset()
    world.s3.policies.append(policy)
    return policy


def grants_used(world: World, stores: dict[str, dict[str, bytes]], name: str) -> set[int]:
    """The numbers of the grants that a road asks for, where it ends well under its whole policy; walked once."""
    if name not in world.used:
        policy = begin(world, stores, ROADS[name])
        done = ROADS[name].typed(world)
        assert done.exit_code == 0, done
        asked = list(world.s3.needed)
        world.used[name] = {number for number, grant in enumerate(policy.grants) if any(map(grant.covers, asked))}
        world.renew()
    return world.used[name]


@pytest.mark.parametrize("name", sorted({road.policy for road in ROADS.values()}))
def test_a_policy_allows_what_its_command_does_and_no_more(
    world: World, stores: dict[str, dict[str, bytes]], name: str
) -> None:
    """Under its policy a command ends well, and there is nothing in the policy that none of its ways asks for."""
    used = {number for road in roads_of(name) for number in grants_used(world, stores, road)}
    assert [grant for number, grant in enumerate(EVERY_GRANT[name]) if number not in used] == []


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(name, number, id=f"{name}: {grant.action} on {grant.resource}")
        for name, grants in EVERY_GRANT.items()
        for number, grant in enumerate(grants)
    ],
)
def test_one_action_taken_away(world: World, stores: dict[str, dict[str, bytes]], name: str, number: int) -> None:
    """Where one action is missing on one resource, a way that needs it fails, with a sentence that names the action."""
    road = next(road for road in roads_of(name) if number in grants_used(world, stores, road))
    taken = begin(world, stores, ROADS[road]).grants[number]
    world.s3.policies[:] = [policy.without(taken) for policy in world.s3.policies]
    done = ROADS[road].typed(world)
    assert done.exit_code == 1, done
    assert EVERY_GRANT[name][number].action in done.stderr.split("clipsieve: ")[-1]


@pytest.mark.parametrize(
    ("operation", "words", "named"),
    [
        ("CopyObject", "User: arn:aws:iam::1:user/me is not authorized to perform: s3:PutObject on x", "s3:PutObject"),
        ("AbortMultipartUpload", "Access Denied", "s3:AbortMultipartUpload"),
        ("GetBucketAcl", "Access Denied", "this action"),
    ],
)
def test_s3s_own_words_count_first(operation: str, words: str, named: str) -> None:
    """Where S3 says which action is missing, that one is named; else what the operation needs, also in an upload."""
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": words}}, operation)
    assert missing_permission(denied) == named
    upload = S3UploadFailedError(f"Failed to upload: {denied}")
    upload.__cause__ = denied
    assert f"Allow {named} for these credentials" in str(refused("write", "s3://b/k", upload))
    assert missing_permission(ClientError({"Error": {"Code": "NoSuchKey", "Message": words}}, operation)) == ""


def test_every_policy_is_of_a_command() -> None:
    """There is no policy that nothing here tries."""
    assert {path.stem for path in IAM.glob("*.json")} == {road.policy for road in ROADS.values()}
