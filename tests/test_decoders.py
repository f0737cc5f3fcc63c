"""Pictures are made in processes beside the job: a file that crashes or hangs one costs that one image."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embed import decoders as decoders_module
from embed.decoders import Memory, Processes, Settings, Threads
from embed.decoders.messages import Answer
from embed.decoders.process import DecodingProcess
from embed.decoders.work import make
from embed.geometry import Geometry
from store.records import EMBEDDED, NOT_AN_IMAGE, ErrorCode, ImageFacts, Status, failed
from tests.embedding import all_rows, embed, embed_command, outcomes
from tests.pictures import picture, picture_bytes

SMALL = Settings(Geometry(64, 64))
ROOM = 1 << 30

# Python runs this in every new process. What follows a JPEG's end is no part of the picture, so that the files are good
# ones everywhere else.
_CUSTOM = """
    import os, pathlib, signal, sys

    if "embed.decoders.worker" in str(sys.orig_argv):
        from PIL import JpegImagePlugin

        whole = JpegImagePlugin.jpeg_factory

        def jpeg_factory(file, name=None):
            data = file.getvalue()
            if data.endswith(b"CRASHES"):
                os.kill(os.getpid(), signal.SIGSEGV)
            if data.endswith(b"HANGS"):
                while True:
                    pass
            if data.endswith(b"KILLED ONCE") and not (mark := pathlib.Path(os.environ["MARK"])).exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if data.endswith(b"BUG"):
                os.environ["no such variable"]
            return whole(file, name)

        JpegImagePlugin.jpeg_factory = jpeg_factory
"""


@pytest.fixture
def fragile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New processes crash, hang or end at files that end in these words."""
    (tmp_path / "custom").mkdir()
    (tmp_path / "custom" / "sitecustomize.py").write_text(textwrap.dedent(_CUSTOM))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'custom'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    decoders_module.close_idle()
    yield
    decoders_module.close_idle()


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A folder of six pictures."""
    folder = tmp_path / "album"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.jpg").write_bytes(picture_bytes(number))
    return folder


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (b"CRASHES", "decoder_crashed", "SIGSEGV"),
        (b"HANGS", "decode_timeout", "longer than 1 s"),
        (b"KILLED ONCE", "embedded", None),
    ],
)
def test_file_that_ends_its_decoder(
    words: bytes, code: str, says: str | None, *, album: Path, fragile: None, tiny_encoder: Path, tmp_path: Path
) -> None:
    """It is one failed image with its own code, the others are embedded, and one killed from outside is too."""
    with (album / "3.jpg").open("ab") as file:
        file.write(words)
    embed(album, tmp_path / "store", tiny_encoder, decode_timeout_s=1.0)
    assert outcomes(tmp_path / "store") == {f"{k}.jpg": "embedded" for k in range(6)} | {"3.jpg": code}
    row = next(row for row in all_rows(tmp_path / "store") if row["key"] == "3.jpg")
    assert (says or "") in (row["error_detail"] or "")


def test_fault_of_ours_in_a_decoder(album: Path, fragile: None) -> None:
    """What breaks in our own code there ends the job loudly, and is no image's fault."""
    processes = Processes(1, SMALL, Memory(ROOM))
    with processes.place() as place:
        assert processes.make(picture_bytes(1), place).outcome.status is Status.EMBEDDED
        made = processes.make(picture_bytes(1) + b"BUG", place)  # a KeyError, as decoders raise them too
        assert made.outcome.error_code is ErrorCode.CORRUPT
        with pytest.raises(RuntimeError, match="in our own code"):
            place.make(picture_bytes(1), Settings(Geometry(0, 64)), Memory(ROOM))
        assert processes.make(picture_bytes(1), place).outcome.status is Status.EMBEDDED
    processes.close()


def test_settings_are_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process is told how pictures are made where it does not know: at first, after a change, after a restart."""
    told: list[bool] = []
    tell = DecodingProcess._tell

    def note(self: DecodingProcess, line: bytes) -> None:
        told.append(b"height_px" in line)
        tell(self, line)

    monkeypatch.setattr(DecodingProcess, "_tell", note)
    process, memory, other = DecodingProcess(), Memory(ROOM), Settings(Geometry(32, 48))
    pixels = [process.make(picture_bytes(1), settings, memory).pixels for settings in (SMALL, SMALL, other, other)]
    process.restart()
    pixels += [process.make(picture_bytes(1), settings, memory).pixels for settings in (other, SMALL)]
    process.close()
    assert told == [True, False, True, False, True, True]
    assert [one.shape for one in pixels if one is not None] == [(3, 64, 64)] * 2 + [(3, 32, 48)] * 3 + [(3, 64, 64)]


def test_answers_survive_the_line() -> None:
    """What a process says of an image is what the job hears, whatever became of it and whatever words say why."""
    facts = ImageFacts(640, 480, "JPEG", "RGB", None)
    for outcome in (EMBEDDED, NOT_AN_IMAGE, failed(ErrorCode.CORRUPT, 'a "quoted" \ud800 line, [ümläut], null')):
        for known in (facts, None):
            answer = Answer(outcome, known, "ab" * 32, None, 12_288, 0, for_device=True)
            line = answer.line()
            assert line.count(b"\n") == 1
            assert Answer.of(json.loads(line)) == answer


def test_few_objects_need_few_processes() -> None:
    """A place that is free is taken again before another process is started."""
    processes = Processes(3, SMALL, Memory(ROOM))
    seen = set()
    for _ in range(3):
        with processes.place() as place:
            seen.add(place.pid)
    assert len(seen) == 1
    with processes.place() as one, processes.place() as two:
        assert one.pid != two.pid
    processes.close()


def test_processes_make_what_threads_make(photos: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Where pictures are made changes no row."""
    embed(photos, tmp_path / "processes", tiny_encoder, decoders=3)
    result = embed_command(photos, tmp_path / "threads", tiny_encoder, "--decoders", "0", "--batch-size", "1")
    assert result.exit_code == 0, result.output
    assert all_rows(tmp_path / "processes") == all_rows(tmp_path / "threads")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has mapped")
def test_decoders_are_lean() -> None:
    """A process that decodes holds no torch."""
    processes = Processes(1, SMALL, Memory(ROOM))
    with processes.place() as place:
        processes.make(picture_bytes(1), place)
        maps = Path(f"/proc/{place.pid}/maps").read_text()
    processes.close()
    assert "_imaging" in maps
    assert "torch" not in maps


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="only Linux waits for a process that is no child")
@pytest.mark.parametrize("busy", [False, True])
def test_decoders_end_with_a_killed_job(busy: bool, fragile: None, tmp_path: Path) -> None:  # noqa: FBT001
    """When the job is killed its processes end too, also one that hangs, and their memory has no name to stay under."""
    code = f"""
        import sys, threading
        from embed.decoders import Memory, Processes, Settings
        from embed.geometry import Geometry
        from tests.pictures import picture_bytes

        processes = Processes(1, Settings(Geometry(64, 64), timeout_s=1.0), Memory(1 << 30))
        with processes.place() as place:
            processes.make(picture_bytes(1), place)
            print(place.pid, flush=True)
            if {busy}:
                processes.make(picture_bytes(1) + b"HANGS", place)
            sys.stdin.read()
    """
    root = Path(__file__).parents[1]
    job = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(root)!r})\n{textwrap.dedent(code)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with job:
        assert job.stdout is not None
        decoder = os.pidfd_open(int(job.stdout.readline()))
        job.kill()
        waiting = select.poll()
        waiting.register(decoder, select.POLLIN)
        assert waiting.poll(30_000), "it still runs"
        os.close(decoder)
    assert job.returncode == -signal.SIGKILL


# Memory


@given(size=st.integers(1, 50), wanted=st.lists(st.integers(1, 80), min_size=1, max_size=40))
def test_memory_is_never_exceeded(size: int, wanted: list[int]) -> None:
    """Pictures that are decoded at once never take more than there is; what alone takes more is refused."""
    memory = Memory(size)
    lock = threading.Lock()
    held = most = 0

    def use(one: int) -> bool:
        nonlocal held, most
        if not memory.take(one):
            return False
        with lock:
            held += one
            most = max(most, held)
        with lock:
            held -= one
        memory.give_back(one)
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(use, wanted)) == [one <= size for one in wanted]
    assert most <= size


@pytest.mark.parametrize("decoders", [1, 0])
def test_picture_over_the_memory(decoders: int, tiny_encoder: Path, tmp_path: Path) -> None:
    """A picture whose pixels take more than --memory is refused from its header; with more memory it is embedded."""
    (tmp_path / "album").mkdir()
    Image.new("RGB", (2400, 1700), "red").save(tmp_path / "album" / "large.png")
    (tmp_path / "album" / "small.jpg").write_bytes(picture_bytes(1))
    words = ("--memory", "64MiB", "--decoders", str(decoders))
    first = embed_command(tmp_path / "album", tmp_path / "store", tiny_encoder, *words)
    assert (first.exit_code, "Failed, decompression_bomb: 1." in first.stdout) == (0, True)
    assert outcomes(tmp_path / "store") == {"large.png": "decompression_bomb", "small.jpg": "embedded"}
    (row,) = (row for row in all_rows(tmp_path / "store") if row["status"] == "failed")
    assert row["error_detail"] == "2400 x 1700: decoding it may take 82 MB, over --memory"
    assert (row["width_px"], row["height_px"]) == (2400, 1700)
    embed(tmp_path / "album", tmp_path / "store", tiny_encoder, retry_failed=True)
    assert set(outcomes(tmp_path / "store").values()) == {"embedded"}


# Geometry


CONFIGS = [
    {"size": 224},
    {"size": (224, 224), "interpolation": "bilinear"},
    {"size": 64, "resize_mode": "squash"},
    {"size": (96, 64), "resize_mode": "squash"},
    {"size": 64, "resize_mode": "longest", "fill_color": 7},
    {"size": (96, 64), "resize_mode": "longest"},
    {"size": (96, 64)},
    {"size": (64, 96), "interpolation": "bilinear"},
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_geometry_is_open_clips(config: dict[str, object]) -> None:
    """For every way of open_clip to make a picture small there is a geometry without torch, the same in every pixel."""
    if find_spec("open_clip") is None:
        pytest.skip("open_clip comes with the embed extra")
    from types import SimpleNamespace

    from embed.encoders.preprocessing import geometry_of, preprocessing

    model = SimpleNamespace(
        visual=SimpleNamespace(preprocess_cfg={"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), **config})
    )
    steps, _ = preprocessing(model)
    geometry = geometry_of(model, steps)
    assert geometry is not None
    for number in range(12):
        image = picture(number)
        assert (geometry.pixels(image) == np.asarray(steps(image)).transpose(2, 0, 1)).all()


@pytest.mark.parametrize("size", [(3000, 20), (20, 3000)])
def test_long_strip(size: tuple[int, int]) -> None:
    """A strip is cropped before it is scaled, and its pixels are those of scaling first, within two levels."""
    noise = np.random.default_rng(1).integers(100, 140, (size[1], size[0], 3), dtype=np.uint8)
    image, geometry = Image.fromarray(noise), Geometry(224, 224)
    long_px = 224 * max(size) // min(size)
    scaled = image.resize((long_px, 224) if size[0] > size[1] else (224, long_px), Image.Resampling.BICUBIC)
    left, top = round((scaled.width - 224) / 2), round((scaled.height - 224) / 2)
    whole = np.asarray(scaled.crop((left, top, left + 224, top + 224))).transpose(2, 0, 1)
    assert np.abs(geometry.pixels(image).astype(int) - whole).max() <= 2


def test_draft_reads_less(tmp_path: Path) -> None:
    """In draft mode a large JPEG is decoded smaller, says its whole size, and looks nearly the same."""
    picture(3).resize((1600, 1200)).save(tmp_path / "large.jpg", quality=90)
    data = (tmp_path / "large.jpg").read_bytes()
    whole, draft = (
        make(data, SMALL.geometry.pixels, lambda _: None, replace(SMALL, draft_px=px)) for px in (None, 128)
    )
    assert whole.facts == draft.facts
    assert (whole.pixels_sha256 is None, draft.pixels_sha256 is None) == (False, True)
    assert whole.pixels is not None
    assert draft.pixels is not None
    assert 0 < np.abs(whole.pixels.astype(int) - draft.pixels).mean() < 3
    small = make(picture_bytes(1), SMALL.geometry.pixels, lambda _: None, replace(SMALL, draft_px=128))
    assert small.pixels_sha256 is not None


def test_threads_need_no_geometry(photos: Path) -> None:
    """Where only torch can tell how a picture is made small, threads of the job do it."""
    threads = Threads(2, SMALL, Memory(ROOM), lambda image: np.zeros((3, *image.size), np.uint8))
    with threads.place() as place:
        made = threads.make((photos / "cats/00.jpg").read_bytes(), place)
    assert made.pixels is not None
    assert made.pixels.shape == (3, *picture(0).size)


def test_draft_is_another_encoder(album: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """A store that was begun in draft mode goes on in it, and is not mixed with one in full by accident."""
    from store.errors import WrongEncoder

    first = embed(album, tmp_path / "store", tiny_encoder, decode="draft")
    assert embed(album, tmp_path / "store", tiny_encoder).already_done == first.embedded == 6
    with pytest.raises(WrongEncoder, match=r"decode_mode: draft2-1 -> full-1.*--decode"):
        embed(album, tmp_path / "store", tiny_encoder, decode="full")
    assert embed(album, tmp_path / "full", tiny_encoder).encoder_id != first.encoder_id
