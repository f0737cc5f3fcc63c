"""JPEGs that the device decodes: the same images, outcomes and facts, and pixels of a mode whose difference is said.

The code that runs on CUDA runs here on the CPU (`decode_on="cpu"`), where libjpeg-turbo stands for nvJPEG.
"""

import io
import json
import queue
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from PIL import Image, ImageFilter
from PIL.JpegImagePlugin import JpegImageFile

import clipsieve
from embed import jpegs
from embed.decode import GPU_MODES
from embed.decoders import Settings, close_idle
from embed.decoders.work import Made, make
from embed.encoders.torchvision_shim import import_decode_jpeg, import_torch
from embed.geometry import Geometry
from embed.on_device import decoder, waiting
from embed.on_device.decoder import DeviceDecoder, Jpeg
from embed.on_device.record import OnDevice, together
from embed.processes.family import Child, Family
from embed.progress import Tally
from embed.request import EmbedRequest, OnStart, Started, Summary
from store.encoder import Encoder
from store.errors import ClipsieveError, UsageError, WrongEncoder
from tests.embedding import all_rows, embed, embed_command, outcomes
from tests.pictures import picture, picture_bytes

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor: TypeAlias = Any  # torch is loaded by the door that mends it

ON_CPU = {"decode": "gpu", "decode_on": "cpu"}
SQUARE = Settings(Geometry(64, 64))
LOOKED_AT = replace(SQUARE, for_device=True)


def large(number: int, size: tuple[int, int] = (700, 500), **words: Any) -> bytes:
    """Return a JPEG that is large enough for the device: a drawn picture with soft edges, as photos have them."""
    file = io.BytesIO()
    image = picture(number).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(2))
    image.convert(words.pop("mode", "RGB")).save(file, "JPEG", **{"quality": 90, **words})
    return file.getvalue()


def turned(orientation: int) -> Image.Exif:
    """Return EXIF that says this orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def made(data: bytes, settings: Settings = SQUARE) -> Made:
    """Decode as a decoding process does."""
    return make(data, settings.geometry.pixels, lambda _: None, settings)


def on_cpu(geometry: Geometry = SQUARE.geometry) -> DeviceDecoder:
    """Return the device's decoder, on the CPU."""
    return DeviceDecoder(import_torch().device("cpu"), geometry)


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[Path]:
    """What a device decodes, what it leaves to the CPU, and what nobody can decode."""
    place = tmp_path / "bucket"
    place.mkdir()
    files = {
        "photo.jpg": large(1),
        "portrait.jpg": large(2, (400, 900), progressive=True),
        "turned.jpg": large(3, exif=turned(6)),
        "grey.jpg": large(4, mode="L"),
        "small.jpg": picture_bytes(5),
        "inks.jpg": large(6, mode="CMYK"),
        "drawn.png": picture_bytes(7, ".png"),
        "cut.jpg": large(8)[:-4000],
        "broken.jpg": large(9)[:300],
        "empty.jpg": b"",
        "notes.txt": b"words",
    }
    for name, data in files.items():
        (place / name).write_bytes(data)
    yield place
    close_idle()


def test_same_store_but_for_the_pixels(bucket: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Outcomes, facts and all rows that the CPU makes are those of full decoding; vectors from the device are close."""
    full = embed(bucket, tmp_path / "full", tiny_encoder, decode="full", batch_size=4)
    ours = embed(bucket, tmp_path / "gpu", tiny_encoder, batch_size=4, **ON_CPU)
    assert outcomes(tmp_path / "gpu") == outcomes(tmp_path / "full")
    assert (ours.embedded, ours.errors, ours.not_images) == (7, full.errors, 1)
    assert full.errors == {"truncated": 2, "empty": 1}
    by_device = set()
    for one, other in zip(all_rows(tmp_path / "full"), all_rows(tmp_path / "gpu"), strict=True):
        vectors = one.pop("embedding"), other.pop("embedding")
        if one["status"] == "embedded" and other["pixels_sha256"] is None:
            by_device.add(other["key"])
            assert np.dot(*(np.asarray(vector, np.float32) for vector in vectors)) > 0.999
            del one["pixels_sha256"], other["pixels_sha256"]
        else:
            assert vectors[0] == vectors[1] or np.allclose(*vectors, atol=2e-3)
        assert one == other
    assert by_device == {"photo.jpg", "portrait.jpg", "turned.jpg", "grey.jpg"}
    assert ours.on_device is not None
    assert (ours.on_device.decoded, ours.on_device.refused, ours.on_device.compared) == (4, 0, 4)
    assert ours.on_device.mean_difference < 0.1
    assert full.on_device is None


def test_another_encoder(bucket: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """A store that a device has decoded goes on so, is refused to full decoding, and to a device of another kind."""
    first = embed(bucket, tmp_path / "store", tiny_encoder, **ON_CPU)
    again = embed(bucket, tmp_path / "store", tiny_encoder, decode_on="cpu")
    assert (again.encoder_id, again.embedded, again.on_device) == (first.encoder_id, 0, None)
    with pytest.raises(WrongEncoder, match=r"decode_mode: gpu-1-on-cpu -> full-1.*--decode"):
        embed(bucket, tmp_path / "store", tiny_encoder, decode="full")
    with pytest.raises(UsageError, match="needs one with CUDA"):
        embed(bucket, tmp_path / "store", tiny_encoder)


@pytest.mark.parametrize("cut", ["none", "all", 0.02, 0.3, 0.6, 0.9, 0.999, "end", "middle", "tail"])
@pytest.mark.parametrize("progressive", [False, True])
def test_broken_files_fail_as_ever(cut: str | float, *, progressive: bool) -> None:
    """A JPEG that is cut off or garbled anywhere has the outcome and the facts of full decoding."""
    data = large(3, progressive=progressive)
    half = len(data) // 2
    broken = {
        "none": data,
        "all": data[:4],
        "end": data[:-2],
        "middle": data[:half] + bytes(2000) + data[half + 2000 :],
        "tail": data[:half] + b"\xff\xd9",
    }
    some = broken[cut] if isinstance(cut, str) else data[: int(len(data) * cut)]
    full, ours = made(some), made(some, LOOKED_AT)
    assert (ours.outcome, ours.facts, ours.sha256) == (full.outcome, full.facts, full.sha256)
    assert ours.for_device == (full.pixels is not None)


@pytest.mark.parametrize(
    ("data", "fits"),
    [
        (large(1), True),
        (large(1, progressive=True), True),
        (large(1, subsampling="4:4:4"), True),
        (large(1, subsampling="4:2:2"), True),
        (large(1, mode="L"), True),
        (large(1, exif=turned(5)), True),
        (large(1, mode="CMYK"), False),
        (large(1, keep_rgb=True), False),
        (large(1, (1700, 400)), False),
        (large(1, (319, 319)), False),
        (large(1).replace(b"\xff\xc0", b"\xff\xc9", 1), False),
    ],
    ids=["plain", "progressive", "444", "422", "grey", "turned", "CMYK", "RGB", "strip", "small", "arithmetic"],
)
def test_which_a_device_is_trusted_with(data: bytes, *, fits: bool) -> None:
    """Grey and YCbCr of 8 bits by Huffman codes, not tiny and no strip; for the others nothing changes."""
    ours = made(data, LOOKED_AT)
    assert ours.for_device == fits
    if not fits:
        full = made(data)
        assert (ours.outcome, ours.pixels_sha256) == (full.outcome, full.pixels_sha256)


def test_large_pictures_are_left_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture whose pixels would fill the device is decoded within --memory, by the CPU."""
    monkeypatch.setattr(jpegs, "MOST_PIXELS", 700 * 500 - 1)
    assert not made(large(1), LOOKED_AT).for_device


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(64, 64),
        Geometry(64, 64, filter="bilinear"),
        Geometry(64, 64, "squash"),
        Geometry(64, 64, "longest", fill=127, rounds="nearest"),
        Geometry(65, 64, "longest", rounds="nearest"),
        Geometry(48, 96, rounds="nearest"),
    ],
    ids=lambda geometry: f"{geometry.mode}-{geometry.filter}-{geometry.height_px}",
)
@pytest.mark.parametrize("size", [(700, 500), (333, 1001), (500, 500)])
def test_pixels_are_those_of_pillow(geometry: Geometry, size: tuple[int, int]) -> None:
    """Whatever the encoder's geometry, what is scaled on the device is within rounding of what Pillow makes."""
    settings = Settings(geometry)
    data = large(2, size)
    (ours,) = on_cpu(geometry)([Jpeg(data)])
    full = made(data, settings).pixels
    assert ours is not None
    assert full is not None
    apart = np.abs(full.astype(int) - ours)
    assert (apart.shape, apart.mean() < 0.2, apart.max() <= 6) == (geometry.shape, True, True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(orientation: int) -> None:
    """Every EXIF orientation is turned as by full decoding."""
    data = large(3, exif=turned(orientation))
    (ours,) = on_cpu()([Jpeg(data, orientation)])
    full = made(data).pixels
    assert ours is not None
    assert full is not None
    assert np.abs(full.astype(int) - ours).max() <= 6


def test_torchvision_decodes_so() -> None:
    """torchvision's own decoder, where its operators load, takes these calls and gives libjpeg-turbo's pixels."""
    if import_decode_jpeg() is None:
        pytest.skip("torchvision's operators do not load beside this torch")
    files = [large(1), large(4, mode="L")]
    for whole, data in zip(decoder.reader(import_torch().device("cpu"))(files), files, strict=True):
        theirs = np.asarray(JpegImageFile(io.BytesIO(data)).convert("RGB")).transpose(2, 0, 1)
        assert np.abs(whole.numpy().astype(int) - theirs).max() <= 1
    assert on_cpu()([Jpeg(files[0]), Jpeg(files[0][:-4000])])[1] is None


def reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor, bytes], Tensor]) -> list[int]:
    """Let the device's decoder give what `change` makes of a picture and its file; return how many it is asked for."""
    whole, asked = decoder._by_pillow, []

    def read(files: Sequence[bytes]) -> list[Tensor]:
        asked.append(len(files))
        return [change(image, data) for image, data in zip(whole(files), files, strict=True)]

    monkeypatch.setattr(decoder, "reader", lambda _device: read)
    return asked


def test_what_the_device_refuses(
    bucket: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the device refuses, or leaves out without a word, is decoded in full; the others are not."""
    refused, left_out = ((bucket / name).read_bytes() for name in ("photo.jpg", "turned.jpg"))

    def change(image: Tensor, data: bytes) -> Tensor:
        if data == refused:
            raise RuntimeError("nvjpeg: not supported")
        return image * 0 if data == left_out else image

    asked = reading(monkeypatch, change)
    ours = embed(bucket, tmp_path / "gpu", tiny_encoder, batch_size=4, **ON_CPU)
    assert ours.on_device is not None
    assert (ours.on_device.decoded, ours.on_device.refused) == (2, 2)
    assert max(asked) > 1
    embed(bucket, tmp_path / "full", tiny_encoder, batch_size=4)
    rows = [{row["key"]: row for row in all_rows(tmp_path / name)} for name in ("full", "gpu")]
    for name in ("photo.jpg", "turned.jpg"):
        full, other = (found[name] for found in rows)
        assert np.allclose(full.pop("embedding"), other.pop("embedding"), atol=2e-3)
        assert full == other


def test_a_device_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that the device has decoded and has no memory to scale is refused alone."""
    whole = decoder._scaled

    def scaled(image: Tensor, height: int, width: int, kind: str) -> Tensor:
        if image.shape[1] > 600:
            raise RuntimeError("CUDA out of memory")
        return whole(image, height, width, kind)

    monkeypatch.setattr(decoder, "_scaled", scaled)
    found = on_cpu()([Jpeg(large(1)), Jpeg(large(2, (700, 900))), Jpeg(large(3))])
    assert [one is None for one in found] == [False, True, False]


def test_cuda_decodes_in_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA pictures are decoded and made small in a stream of the decoder's own, of which nothing is under way."""
    cuda, said = import_torch().cuda, list[str]()

    class Stream:
        def __init__(self, device: object) -> None:
            said.append(f"made on {device}")

        def synchronize(self) -> None:
            said.append("waited for")

    @contextmanager
    def entered(stream: object) -> Iterator[None]:
        said.append(f"entered {type(stream).__name__}")
        yield
        said.append("left")

    def change(image: Tensor, _data: bytes) -> Tensor:
        said.append("read")
        return image

    monkeypatch.setattr(cuda, "Stream", Stream)
    monkeypatch.setattr(cuda, "stream", entered)
    reading(monkeypatch, change)
    on_cuda = DeviceDecoder(import_torch().device("cuda:1"), SQUARE.geometry)
    (ours,) = on_cuda([Jpeg(large(1))])
    assert ours is not None
    assert said == ["made on cuda:1", "entered Stream", "waited for", "read", "left"]


def test_a_decoder_of_other_pictures_is_refused(
    bucket: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device whose pictures give other embeddings ends the job before one of them is embedded."""
    reading(monkeypatch, lambda image, _data: 255 - image)
    monkeypatch.setattr(waiting, "_shows", lambda *_: True)
    with pytest.raises(ClipsieveError, match=r"decodes JPEGs to other pictures.*--decode full"):
        embed(bucket, tmp_path / "store", tiny_encoder, batch_size=4, **ON_CPU)


@pytest.mark.parametrize("words", [(), ("--log-format", "json")], ids=["text", "json"])
def test_the_difference_is_said(
    words: tuple[str, ...], bucket: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The summary says how far the device's pixels and vectors are from full decoding, and cautions if that is far."""
    whole = clipsieve.run_embed
    noise = np.random.default_rng(1).integers(-90, 91, (3, 900, 900))

    def change(image: Tensor, _data: bytes) -> Tensor:
        levels = image.numpy() + noise[:, : image.shape[1], : image.shape[2]]
        noisy: Tensor = import_torch().from_numpy(np.clip(levels, 0, 255).astype(np.uint8))
        return noisy

    def run(request: EmbedRequest, on_start: OnStart | None = None) -> Summary:
        return whole(replace(request, decode_on="cpu"), on_start)

    monkeypatch.setattr(clipsieve, "run_embed", run)
    reading(monkeypatch, change)
    metrics = tmp_path / "embed.prom"
    result = embed_command(
        bucket, tmp_path / "store", tiny_encoder, "--decode", "gpu", "--metrics", str(metrics), *words
    )
    assert 'outcome="decoded"} 4' in metrics.read_text()
    assert "device_least_cosine" in metrics.read_text()
    assert result.exit_code == 0, result.output
    if not words:
        assert "JPEGs decoded on the device: 4. Compared 4 JPEGs with decoding in full" in result.stdout
        assert "Note: That is below 0.999" in result.stdout
        assert "Note: Compared" in result.stderr
        return
    said = json.loads(result.stdout)["on_device"]
    assert said["compared"] == 4
    assert 0.95 < said["least_cosine"] < 0.999
    assert said["largest_difference"] > said["mean_difference"] > 1
    (caution,) = (line for line in map(json.loads, result.stderr.splitlines()) if line["event"] == "caution")
    assert "below 0.999" in caution["caution"]


def test_no_gpu_is_said_at_once(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without CUDA the command ends in one sentence, and asks neither for the source nor for weights."""
    for name in ("open_source", "load_towers"):
        monkeypatch.setattr(f"embed.start.{name}", lambda *_, **__: pytest.fail("asked"))
    result = embed_command(tmp_path / "missing", tmp_path / "store", tiny_encoder, "--decode", "gpu")
    assert (result.exit_code, (tmp_path / "store").exists()) == (2, False)
    assert result.stderr.startswith("clipsieve: Decoding on a GPU (--decode gpu) needs one with CUDA")
    assert result.stderr.count("\n") == 1


def test_ray_decodes_on_no_device(tiny_encoder: Path, tmp_path: Path) -> None:
    """--engine ray with --decode gpu is refused, with what to use instead."""
    with pytest.raises(UsageError, match="--engine ray decodes apart from the GPU"):
        embed(tmp_path, tmp_path / "store", tiny_encoder, engine="ray", **ON_CPU)


def test_few_are_decoded_at_once(
    bucket: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is decoded together never has more pixels or bytes than there is room for, however large the batch."""
    asked = reading(monkeypatch, lambda image, _data: image)
    monkeypatch.setattr(waiting, "PIXELS_AT_ONCE", 700 * 500 + 1)
    embed(bucket, tmp_path / "pixels", tiny_encoder, batch_size=64, **ON_CPU)
    monkeypatch.undo()
    more = reading(monkeypatch, lambda image, _data: image)
    monkeypatch.setattr(waiting, "BYTES_AT_ONCE", 1)
    embed(bucket, tmp_path / "bytes", tiny_encoder, batch_size=64, **ON_CPU)
    assert asked == more == [1, 1, 1, 1]


def test_pictures_of_questions(bucket: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """A store that a device has decoded answers questions by a picture, which the CPU decodes in full."""
    embed(bucket, tmp_path / "store", tiny_encoder, **ON_CPU)
    session = clipsieve.open(str(tmp_path / "store"), f"local-dir:{tiny_encoder}")
    (tmp_path / "asked.jpg").write_bytes((bucket / "photo.jpg").read_bytes())
    first = session.search(images=[str(tmp_path / "asked.jpg")], top=1).to_pylist()[0]
    assert (Path(first["uri"]).name, first["cosine"] > 0.999) == ("photo.jpg", True)


def test_several_processes_say_it_together() -> None:
    """Of several processes counts add up, means are weighted, and of the extremes the worst is said."""
    states = [OnDevice(10, 1, 8, 0.5, 9, 0.9995), None, OnDevice(20, 0, 24, 0.1, 40, 0.9981)]
    tallies: list[Tally] = []

    def on_start(job: Started) -> Callable[[], None]:
        tallies.append(job.tally)
        return lambda: None

    nobody = subprocess.Popen(["true"])  # any process: what it says is said here
    nobody.wait()
    family = Family([Child(nobody, number) for number in (1, 2, 3)], "source", on_start)
    said: queue.SimpleQueue[tuple[int, dict[str, Any]]] = queue.SimpleQueue()
    record = Encoder.of_imported("model", "tag", 4, 100.0).to_json().decode()
    for place, found in enumerate(states):
        tally = Tally(on_device=found)
        said.put((place, {"state": tally.state(), "started": {"encoder": record, "device": "cuda:0"}}))
        family.hear(said)
    both = tallies[0].on_device
    assert both is not None
    assert both == OnDevice(30, 1, 32, both.mean_difference, 40, 0.9981)
    assert both.mean_difference == pytest.approx(0.2)
    assert (both.caution != "", OnDevice(1, 0, 1).caution, together([])) == (True, "", None)


def test_modes_are_names_of_their_own() -> None:
    """No two ways from bytes to pixels share a name."""
    from embed.decode import DECODE_MODE, DRAFT_MODE

    assert len({DECODE_MODE, DRAFT_MODE, *GPU_MODES.values()}) == 4
