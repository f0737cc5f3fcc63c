"""Bytes become upright RGB pixels, or a row with a reason."""

import io
import struct
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("PIL", reason="decoding needs the embed extra")

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from embed import decode as decode_module
from embed.decode import MAX_PIXELS, Refused, decode
from embed.silence import native_output_silenced
from embed.thumbnails import thumbnail
from store.records import EMBEDDED, NOT_AN_IMAGE, ErrorCode, Outcome, Status

ROOT = Path(__file__).parents[1]
SHARED = ROOT / ".." / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not here")


def photo(width: int = 60, height: int = 40) -> Image.Image:
    """Return a smooth RGB picture whose four corners differ."""
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """Return `image` as a file."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def refusal(data: bytes) -> Refused:
    """Return why `data` is refused."""
    with pytest.raises(Refused) as caught:
        decode(data)
    return caught.value


def outcome(data: bytes) -> Outcome:
    """Return what becomes of `data`; the picture, where there is one, is RGB."""
    try:
        result = decode(data)
    except Refused as error:
        return error.outcome
    return EMBEDDED if result.image.mode == "RGB" else pytest.fail(result.image.mode)


def pixels(data: bytes) -> np.ndarray:
    """Return the decoded picture as (H, W, 3) uint8."""
    return np.asarray(decode(data).image)


def same(one: Image.Image | np.ndarray, other: Image.Image | np.ndarray) -> bool:
    """Whether two pictures are equal in size and in every pixel."""
    return np.array_equal(np.asarray(one), np.asarray(other))


FILES: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: encoded(photo(), "JPEG"),
    "jpeg progressive": lambda: encoded(photo(), "JPEG", progressive=True),
    "jpeg grey": lambda: encoded(photo().convert("L"), "JPEG"),
    "png": lambda: encoded(photo(), "PNG"),
    "gif": lambda: encoded(photo().quantize(32), "GIF"),
    "webp": lambda: encoded(photo(), "WEBP"),
    "tiff": lambda: encoded(photo(), "TIFF"),
    "tiff lzw": lambda: encoded(photo(), "TIFF", compression="tiff_lzw"),
    "tiff jpeg": lambda: encoded(photo(), "TIFF", compression="jpeg"),
    "bmp": lambda: encoded(photo(), "BMP"),
    "avif": lambda: encoded(photo(), "AVIF"),
    "jp2": lambda: encoded(photo(), "JPEG2000"),
    "j2k": lambda: encoded(photo(), "JPEG2000", no_jp2=True),
    "ico": lambda: encoded(photo(32, 32).convert("RGBA"), "ICO"),
    "ppm": lambda: encoded(photo(), "PPM"),
    "qoi": lambda: encoded(photo(), "QOI"),
}


# Pixels


@pytest.mark.parametrize("name", FILES)
def test_every_allowed_format_gives_what_pillow_gives(name: str) -> None:
    """A plain picture of any allowed format has the very pixels of Pillow's own convert("RGB")."""
    data = FILES[name]()
    result = decode(data)
    with Image.open(io.BytesIO(data)) as expected:
        assert same(result.image, expected.convert("RGB"))
        assert (result.facts.format, result.facts.mode) == (expected.format, expected.mode)
    assert result.image.mode == "RGB"
    assert result.image.size == (result.facts.width_px, result.facts.height_px)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(file_format: str, orientation: int) -> None:
    """A picture stored turned or mirrored comes out upright, and its facts give the size as displayed."""
    upright = photo(60, 40)
    undo = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    turn = decode_module._TURNS.get(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 95, "subsampling": 0},
        "AVIF": {"quality": 95},
    }
    stored = upright if turn is None else upright.transpose(turn)
    result = decode(encoded(stored, file_format, exif=exif, **lossless.get(file_format, {})))
    assert (result.facts.width_px, result.facts.height_px) == (60, 40) == result.image.size
    assert result.facts.exif_orientation == orientation or (file_format == "AVIF" and orientation == 1)
    assert np.abs(np.asarray(result.image).astype(int) - np.asarray(upright)).mean() < 4


def test_png_exif_after_the_pixels_counts() -> None:
    """The orientation of a PNG is found even where its eXIf chunk stands after the picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    body = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body))
    plain = encoded(photo(60, 40), "PNG")
    result = decode(plain[:-12] + chunk + plain[-12:])
    assert result.facts.exif_orientation == 6
    assert result.image.size == (40, 60) == (result.facts.width_px, result.facts.height_px)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_are_none(orientation: int) -> None:
    """An EXIF orientation outside 1 to 8 is no orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert decode(encoded(photo(), "JPEG", exif=exif)).facts.exif_orientation is None


def test_broken_exif_is_no_reason_to_refuse() -> None:
    """EXIF that cannot be parsed leaves the picture readable."""
    result = decode(encoded(photo(), "PNG", exif=b"Exif\0\0garbage that is no TIFF"))
    assert result.facts.exif_orientation is None


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode: str) -> None:
    """Nothing at all is white, half of black is grey, and an opaque pixel keeps its colour."""
    image = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        image.putpixel((x, 0), (0, 0, 0, alpha))
    found = pixels(encoded(image.convert(mode), "PNG"))
    assert found[0, :, 0].tolist() == [255, 127, 0]


def test_palette_transparency_is_laid_over_white() -> None:
    """A palette's transparent entry becomes white, whatever colour it had, as one index or as a table of alphas."""
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    for transparency in (0, bytes([0, 255])):
        found = pixels(encoded(image, "PNG", transparency=transparency))
        assert found.tolist() == [[[255, 255, 255], [0, 0, 255]]]
    assert pixels(encoded(image, "GIF", transparency=0)).tolist() == [[[255, 255, 255], [0, 0, 255]]]


@pytest.mark.parametrize(
    ("image", "key"),
    [
        (Image.new("L", (2, 2), 7), 7),
        (Image.new("RGB", (2, 2), (1, 2, 3)), (1, 2, 3)),
        (Image.new("1", (2, 2), 0), 0),
        (Image.fromarray(np.full((2, 2), 300, np.uint16)), 300),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_a_declared_transparent_colour_is_white(image: Image.Image, key: object) -> None:
    """PNG's tRNS makes one grey or one colour transparent, in 16 bits too."""
    assert (pixels(encoded(image, "PNG", transparency=key)) == 255).all()


def test_a_bitmap_with_an_unused_fourth_byte_is_opaque() -> None:
    """A 32-bit BMP whose alpha is 0 everywhere is a picture, not a white sheet."""
    image = photo().convert("RGBA")
    image.putalpha(0)
    assert same(pixels(encoded(image, "BMP")), photo())


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format: str) -> None:
    """0, the middle and 65535 of a 16-bit picture become 0, 128 and 255."""
    image = Image.fromarray(np.array([[0, 32896, 65535]], np.uint16))
    assert pixels(encoded(image, file_format))[0, :, 0].tolist() == [0, 128, 255]


def test_16_bit_grey_in_big_endian_order_is_the_same() -> None:
    """A big-endian TIFF of 16 bits gives the same picture as a little-endian one."""
    values = np.array([[0, 32896, 65535]], np.uint16)
    tags = [(256, 3, 1, 3), (257, 3, 1, 1), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    tags += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 6)]
    entries = b"".join(
        struct.pack(">HHI", tag, kind, count)
        + (struct.pack(">HH", value, 0) if kind == 3 else struct.pack(">I", value))
        for tag, kind, count, value in tags
    )
    data = b"MM\0*" + struct.pack(">I", 14) + values.astype(">u2").tobytes()
    data += struct.pack(">H", len(tags)) + entries + bytes(4)
    result = decode(data)
    assert result.facts.mode == "I;16B"
    assert np.asarray(result.image)[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 128.0, 255.0], [0, 128, 255]),
        ([0.0, 32896.0, 65535.0], [0, 128, 255]),
        ([-2.0, 0.0, 2.0], [0, 128, 255]),
        ([float("nan"), float("inf"), 1.0], [0, 255, 255]),
        ([float("nan")] * 3, [0, 0, 0]),
        ([-3e38, 3e38, 3e38], [0, 255, 255]),
        ([7e5, 7e5, 7e5], [0, 0, 0]),
    ],
)
def test_floats_are_scaled_by_the_white_they_imply(values: list[float], expected: list[int]) -> None:
    """Floats from 0 to 1, to 255 or to 65535 keep black and white; any other range is stretched; no number is black."""
    image = Image.fromarray(np.array([values], np.float32))
    assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == expected


def test_32_bit_integers_are_scaled() -> None:
    """32-bit integers within 16 bits keep 65535 as white; larger ones are stretched."""
    for top in (65535, 10_000_000):
        image = Image.fromarray(np.array([[0, top]], np.int32))
        assert pixels(encoded(image, "TIFF"))[0, :, 0].tolist() == [0, 255]


def test_cmyk_is_what_pillow_makes_of_it() -> None:
    """A CMYK JPEG has the pixels of Pillow's convert, without its profile."""
    data = encoded(photo().convert("CMYK"), "JPEG")
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "CMYK"
        assert same(pixels(data), image.convert("RGB"))


def test_lab_is_converted_by_its_definition() -> None:
    """A LAB TIFF of a photo looks like the photo."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(photo(), *profiles, outputMode="LAB")
    assert lab is not None
    assert np.abs(pixels(encoded(lab, "TIFF")).astype(int) - np.asarray(photo())).mean() < 6


def test_one_bit_is_black_and_white() -> None:
    """A 1-bit picture has the levels 0 and 255."""
    assert set(np.unique(pixels(encoded(photo().convert("1"), "PNG")))) == {0, 255}


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_the_first_frame_of_an_animation_counts(file_format: str) -> None:
    """An animation or a stack of pages is its first picture."""
    red, blue = Image.new("RGB", (8, 8), (254, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 254))
    found = pixels(encoded(red, file_format, save_all=True, append_images=[blue]))
    assert np.abs(found.astype(int) - [254, 0, 0]).max() < 8


def test_colour_profiles_are_not_applied() -> None:
    """An embedded profile changes no pixel."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert same(pixels(encoded(photo(), "PNG", icc_profile=profile)), photo())


# Reasons


def test_no_bytes_are_empty() -> None:
    """An object of zero bytes is `empty`."""
    assert refusal(b"").outcome.error_code is ErrorCode.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\0",
        b"{}",
        b"P1 is the first priority",
        b"BMW and other car makers of Bavaria",
        b"Python",
        b"#define MAX 3\n",
        b"/* C */ int x;",
        b"<!doctype html><html><svg></svg></html>",
        b"<?xml version='1.0'?><note/>",
        b"<!---->" * 600,
        b"%PDF-1.7",
        b"PK\3\4zip",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
        b"\0\0\x02\0" + bytes(40),
        bytes(1000),
    ],
    ids=lambda data: repr(data[:16]),
)
def test_other_files_are_no_images(data: bytes) -> None:
    """Text, pages, archives and films are not called broken images, even where they begin with the same letters."""
    assert refusal(data).outcome == NOT_AN_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic",
        b"\xff\x0a\x00",
        b"\0\0\0\x0cJXL \r\n\x87\n",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- drawn -->\n<!DOCTYPE svg PUBLIC 'x'>\n<svg>",
        b"II*\0\x10\0\0\0CR\x02\0",
        b"FUJIFILMCCD-RAW 0201",
        b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
        b"DDS \x7c\0\0\0",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"8BPS\0\2",
        b"v/1\1",
        b"#define a_width 3\n#define a_height 3\n",
    ],
    ids=lambda data: repr(data[:16]),
)
def test_known_formats_without_a_decoder_are_unsupported(data: bytes) -> None:
    """HEIC, JPEG XL, SVG, camera raw and their like are `unsupported`, which can be acted on."""
    error = refusal(data)
    assert error.outcome.error_code is ErrorCode.UNSUPPORTED
    assert error.facts is None


def test_camera_raw_in_a_tiff_is_not_its_preview() -> None:
    """A DNG is refused, although Pillow would read the preview in its first directory."""
    tags = ImageFileDirectory_v2()
    tags[50706] = bytes([1, 4, 0, 0])
    error = refusal(encoded(photo(), "TIFF", tiffinfo=tags))
    assert error.outcome.error_code is ErrorCode.UNSUPPORTED
    assert error.facts is not None


def test_a_tiff_that_lists_too_few_strips_is_corrupt() -> None:
    """Rows that no strip holds are not filled with black in silence."""
    data = encoded(photo(60, 40), "TIFF")
    at = data.index(struct.pack("<HHI", 257, 4, 1))
    found = outcome(data[: at + 8] + struct.pack("<I", 400) + data[at + 12 :])
    assert found.error_code is ErrorCode.CORRUPT


def test_a_codec_that_was_not_built_in_is_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A TIFF whose compression this build of libtiff lacks is `unsupported`, not `corrupt`."""
    data = encoded(photo(), "TIFF")
    directory = data.index(struct.pack("<HHI", 259, 3, 1))
    data = data[: directory + 8] + struct.pack("<H", 50001) + data[directory + 10 :]  # WebP
    monkeypatch.setattr(decode_module, "_libtiff_has", lambda codec: codec != "webp")
    with native_output_silenced():
        assert refusal(data).outcome.error_code is ErrorCode.UNSUPPORTED


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.8])
def test_a_file_that_ends_early_is_truncated(name: str, share: float) -> None:
    """A file cut anywhere before its picture ends is `truncated`, and never embedded in silence."""
    data = FILES[name]()
    with native_output_silenced():
        error = refusal(data[: max(int(len(data) * share), 20)])
    assert error.outcome.error_code is ErrorCode.TRUNCATED, error.outcome


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff lzw", "jp2", "avif"])
def test_garbage_after_the_header_is_corrupt_or_truncated_but_no_crash(name: str) -> None:
    """A file whose second half is noise is decoded or refused with a reason in one line."""
    data = FILES[name]()
    noise = np.random.default_rng(7).integers(0, 256, len(data) // 2, dtype=np.uint8).tobytes()
    with native_output_silenced():
        found = outcome(data[: len(data) - len(noise)] + noise)
    assert found.status in {Status.EMBEDDED, Status.FAILED}
    if found.status is Status.FAILED:
        assert found.error_code in {ErrorCode.CORRUPT, ErrorCode.TRUNCATED}
        assert found.error_detail
        assert "\n" not in found.error_detail


def test_a_signature_and_nothing_sensible_is_corrupt() -> None:
    """An image by its first bytes that breaks the format's rules is `corrupt`."""
    data = bytearray(encoded(photo(), "PNG"))
    data[30] ^= 255  # IHDR's checksum
    assert refusal(bytes(data)).outcome.error_code is ErrorCode.CORRUPT


def test_truncated_images_stay_refused_by_pillow() -> None:
    """Pillow is not told to fill the missing half of a picture with grey."""
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that declares a size and holds no pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"")
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (body, data, b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_a_decompression_bomb_is_refused_from_its_header() -> None:
    """More than MAX_PIXELS is refused before a pixel is decoded, and its size is known all the same."""
    error = refusal(png_header(MAX_PIXELS + 1, 1))
    assert error.outcome.error_code is ErrorCode.DECOMPRESSION_BOMB
    assert error.facts is not None
    assert (error.facts.width_px, error.facts.height_px) == (MAX_PIXELS + 1, 1)


def test_exactly_as_many_pixels_as_allowed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit itself is allowed, one pixel more is not."""
    data = FILES["jpeg"]()
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 60 * 40)
    assert outcome(data) == EMBEDDED
    monkeypatch.setattr(decode_module, "MAX_PIXELS", 60 * 40 - 1)
    assert outcome(data).error_code is ErrorCode.DECOMPRESSION_BOMB


def test_a_bomb_of_text_does_no_harm() -> None:
    """A PNG whose text chunk would unpack to megabytes is refused as a bomb, or decoded without unpacking it."""
    body = b"zTXtkey\0\0" + zlib.compress(bytes(8_000_000))
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    plain = encoded(photo(), "PNG")
    assert outcome(plain[:33] + chunk + plain[33:]).error_code in {None, ErrorCode.DECOMPRESSION_BOMB}


def test_facts_are_known_where_the_header_was_readable() -> None:
    """A picture that breaks off still tells its size, format and mode."""
    data = FILES["jpeg"]()
    facts = refusal(data[: len(data) * 9 // 10]).facts
    assert facts is not None
    assert (facts.width_px, facts.height_px, facts.format, facts.mode) == (60, 40, "JPEG", "RGB")


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(FILES)), changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=8)
)
def test_hostile_bytes_raise_nothing_but_refused(name: str, changes: list[tuple[float, int]]) -> None:
    """Whatever bytes of a file are changed, the answer is a picture or a refusal."""
    data = bytearray(FILES[name]())
    for place, value in changes:
        data[min(int(place * place * len(data)), len(data) - 1)] = value  # squared: headers are hit more often
    with native_output_silenced():
        assert outcome(bytes(data)).status in set(Status)


def test_many_threads_at_once_give_the_same_pictures() -> None:
    """Decoding in eight threads gives what decoding in one gives."""
    files = [make() for make in FILES.values()] * 4
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(pixels, files))
    assert all(same(one, pixels(data)) for one, data in zip(together, files, strict=True))


# Thumbnails


def test_a_thumbnail_is_a_small_webp_of_the_same_shape() -> None:
    """The longest side is 160 px, the shape is kept, and the file is small."""
    data = thumbnail(photo(600, 400))
    with Image.open(io.BytesIO(data)) as small:
        assert (small.format, small.size) == ("WEBP", (160, 107))
    assert len(data) < 6000


def test_a_thumbnail_never_enlarges() -> None:
    """A picture smaller than 160 px keeps its size, and the original is left as it was."""
    image = photo(30, 20)
    with Image.open(io.BytesIO(thumbnail(image))) as small:
        assert small.size == (30, 20)
    assert same(image, photo(30, 20))


def test_extreme_shapes_have_thumbnails() -> None:
    """A line of pixels has a thumbnail one pixel high."""
    with Image.open(io.BytesIO(thumbnail(photo(3000, 1)))) as small:
        assert small.size == (160, 1)


def test_a_thumbnail_carries_no_metadata() -> None:
    """Profiles and EXIF, which may outweigh the thumbnail and tell where the photo was taken, stay out."""
    exif = Image.Exif()
    exif[0x010E] = "a secret" * 1000
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = thumbnail(decode(encoded(photo(), "JPEG", exif=exif, icc_profile=profile)).image)
    assert len(data) < 2000
    assert b"secret" not in data


# Silence

_SPEAKER = """
import logging, os, sys, warnings
logging.basicConfig(level="INFO", format="log %(message)s")
from embed.silence import native_output_silenced
print("python before")
with native_output_silenced():
    os.write(1, b"native out\\n"); os.write(2, b"native err\\n")
    print("python inside"); print("error inside", file=sys.stderr); logging.info("inside")
    warnings.warn_explicit("from pillow", UserWarning, "x", 1, module="PIL.TiffImagePlugin")
    logging.getLogger("PIL.x").error("from pillow")
print("python after"); print("error after", file=sys.stderr); os.write(2, b"native after\\n")
"""


@pytest.mark.parametrize("unbuffered", [[], ["-u"]], ids=["buffered", "unbuffered"])
def test_only_native_code_and_pillow_fall_silent(unbuffered: list[str]) -> None:
    """While C code's output goes nowhere, print, sys.stderr and log handlers made before go on."""
    command = [sys.executable, *unbuffered, "-c", _SPEAKER]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    assert done.stdout.split("\n") == ["python before", "python inside", "python after", ""]
    assert done.stderr.split("\n") == ["error inside", "log inside", "error after", "native after", ""]


def test_silence_leaves_captured_streams_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Where sys.stdout and sys.stderr are no real files, what Python prints is still captured."""
    with native_output_silenced():
        print("out")  # noqa: T201
        print("err", file=sys.stderr)  # noqa: T201
    assert capsys.readouterr() == ("out\n", "err\n")


def test_silence_ends_with_an_error() -> None:
    """An exception inside passes through, and native output is heard again."""
    code = (
        "import os\nfrom embed.silence import native_output_silenced\n"
        "try:\n  with native_output_silenced(): raise KeyError\n"
        "except KeyError: os.write(2, b'heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT, timeout=60)
    assert done.stderr == b"heard"


# Real files


@needs_shared
def test_every_odd_file_ends_in_one_outcome() -> None:
    """Of the odd files of Pillow and sharp, each is a picture or has its reason; the reasons are the expected ones."""
    expected = {
        ErrorCode.TRUNCATED: {"truncated.jpg", "truncated.png", "truncated_image.png", "shortfile.bmp", "ultrahdr.jpg"},
        ErrorCode.DECOMPRESSION_BOMB: {"giant-image.jpg", "65536-uint32-limit.png", "decompression_bomb.gif"},
        ErrorCode.UNSUPPORTED: {"hopper_webp.tif", "cielab-dagams.tiff", "pal2.bmp"},
        ErrorCode.CORRUPT: {"broken_data_stream.png", "pal8oversizepal.bmp", "unknown_compression_method.png"},
    }
    found: dict[str, ErrorCode | None] = {}
    with native_output_silenced():
        for path in sorted((SHARED / "odd").glob("*/*.*")):
            try:
                decode(path.read_bytes())
            except Refused as error:
                found[path.name] = error.outcome.error_code
    for code, names in expected.items():
        assert {name: found.get(name) for name in names} == dict.fromkeys(names, code)
    assert Counter(found.values()).total() < 40


@needs_shared
@pytest.mark.parametrize("motif", ["Landscape", "Portrait"])
def test_real_photos_of_all_orientations_look_the_same(motif: str) -> None:
    """The nine files of one motif are one picture."""
    folder = SHARED / "odd" / "exif_orientation"
    images = [decode((folder / f"{motif}_{number}.jpg").read_bytes()).image for number in range(9)]
    assert len({image.size for image in images}) == 1
    small = np.stack([np.asarray(image.reduce(20)).astype(float) for image in images])
    assert np.abs(small - small[1]).mean(axis=(1, 2, 3)).max() < 1


@needs_shared
def test_pixels_lead_to_the_reference_tensor() -> None:
    """Decoded here and preprocessed as CLIP does, a photo gives the reference tensor to the last bit."""
    folder = SHARED / "reference" / "preprocess"
    image = decode((folder / "franz-kafka.jpg").read_bytes()).image
    width, height = image.size
    scale = 224 / min(width, height)
    image = image.resize((int(width * scale + 1e-6), int(height * scale + 1e-6)), Image.Resampling.BICUBIC)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    values = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)  # OpenAI CLIP
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    expected = np.load(folder / "expected_preprocessed_image.npy")
    np.testing.assert_array_equal(((values - mean) / std).transpose(2, 0, 1)[None], expected)
