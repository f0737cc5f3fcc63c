"""An encoder's vectors are open_clip's own, and its record says which weights made them."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embed.decode import DECODE_MODE
from embed.encoders import EncoderSpec, ImageTower, Towers, load_text_tower, load_towers, parse_encoder
from embed.encoders import device as device_module
from embed.encoders import torchvision_shim as shim
from embed.encoders.identity import architecture_sha256, weights_sha256
from embed.encoders.model import LoadedModel, load_model
from store.encoder import Encoder
from store.errors import ClipsieveError, UsageError, WeightsUnavailable, WrongEncoder
from tests.tiny_encoder import EMBEDDING_DIM, IMAGE_SIZE_PX, MODEL_CONFIG, write_tiny_encoder

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "data" / "reference" / "preprocess"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> EncoderSpec:
    """The tiny model, as `local-dir:` names it."""
    return parse_encoder(f"local-dir:{write_tiny_encoder(tmp_path_factory.mktemp('encoders') / 'tiny')}")


@pytest.fixture(scope="module")
def towers(tiny: EncoderSpec) -> Towers:
    """The tiny model on the CPU in float32."""
    return load_towers(tiny, device="cpu", precision="fp32")


def pictures(count: int = 5) -> list[Image.Image]:
    """Return noise on a gradient, in sizes that make the preprocessing enlarge, shrink and crop."""
    generator = np.random.default_rng(1)
    images = []
    for index in range(count):
        height, width = 40 + 31 * index, 150 - 17 * index
        slope = np.linspace(0, 40 * index, width)[None, :, None]
        images.append(Image.fromarray((generator.uniform(0, 90, (height, width, 3)) + slope).astype(np.uint8)))
    return images


def cosines(first: np.ndarray[Any, Any], second: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the cosine of each row of `first` with the same row of `second`, in float64."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products: np.ndarray[Any, Any] = (first * second).sum(axis=1) / lengths
    return products


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the shared reference data is not here")
def test_preprocessing_agrees_with_the_reference() -> None:
    """A photo becomes, bit for bit, the tensor that CLIP's published preprocessing makes of it."""
    expected = np.load(REFERENCE / "expected_preprocessed_image.npy")
    tower = tower_for_size(224)
    with Image.open(REFERENCE / "franz-kafka.jpg") as photo:
        prepared = tower.prepare(photo.convert("RGB"))
    assert np.abs(tower._normalized(shim.import_torch().from_numpy(prepared[None])).numpy() - expected).max() == 0


@pytest.mark.parametrize("resize_mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_pixels_are_open_clips_own(resize_mode: str, interpolation: str) -> None:
    """The uint8 batch, normalised by the tower, equals open_clip's own transform with a difference of 0."""
    tower = tower_for_size(64, resize_mode=resize_mode, interpolation=interpolation)
    transform = shim.import_open_clip().transform
    config = transform.PreprocessCfg(size=(64, 64), resize_mode=resize_mode, interpolation=interpolation)
    whole = transform.image_transform_v2(config, is_train=False)
    for picture in pictures():
        ours = tower._normalized(shim.import_torch().from_numpy(tower.prepare(picture)[None]))[0].numpy()
        np.testing.assert_array_equal(ours, whole(picture).numpy())


def tower_for_size(size_px: int, **preprocessing: str) -> ImageTower:
    """Return a tower that only preprocesses: no weights of that size are needed to compare pixels."""
    torch = shim.import_torch()
    model = torch.nn.Module()
    model.visual = torch.nn.Identity()
    config = shim.import_open_clip().transform.PreprocessCfg(size=(size_px, size_px), **preprocessing)
    model.visual.preprocess_cfg = vars(config)
    loaded = LoadedModel(model, None, {"embed_dim": 1}, "none")
    return ImageTower(loaded, torch.device("cpu"), "fp32")


def test_unexpected_preprocessing_stops_the_load(towers: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future open_clip that normalises elsewhere is noticed, instead of being normalised twice or never."""
    reordered = SimpleNamespace(transforms=["resize", "normalize", "to tensor"])
    monkeypatch.setattr(shim.import_open_clip().transform, "image_transform_v2", lambda *_args, **_options: reordered)
    with pytest.raises(RuntimeError, match="no longer ends in ToTensor, Normalize"):
        tower_for_size(64)


def test_preparing_in_threads_changes_nothing(towers: Towers) -> None:
    """Images prepared by many threads at once are those prepared one by one."""
    images = pictures() * 8
    with ThreadPoolExecutor(8) as threads:
        together = list(threads.map(towers.image.prepare, images))
    np.testing.assert_array_equal(np.stack(together), np.stack([towers.image.prepare(image) for image in images]))


def test_image_vectors_are_open_clips_own(tiny: EncoderSpec, towers: Towers) -> None:
    """In float32 a vector has cosine 1 with open_clip's own pipeline, up to the seventh digit, before it is rounded."""
    open_clip, torch = shim.import_open_clip(), shim.import_torch()
    with shim.quiet():
        model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny.location}")
    model.eval()
    with torch.inference_mode():
        plain = model.encode_image(torch.stack([transform(picture) for picture in pictures()]), normalize=True).numpy()
    batch = np.stack([towers.image.prepare(picture) for picture in pictures()])
    assert cosines(towers.image._embed(torch.from_numpy(batch)).numpy(), plain).min() >= 0.9999999
    np.testing.assert_allclose(towers.image.encode(batch), plain, atol=5e-4)


def test_text_vectors_are_open_clips_own(tiny: EncoderSpec, towers: Towers) -> None:
    """Texts go through open_clip's tokenizer and text tower, in order and in float32."""
    open_clip, torch = shim.import_open_clip(), shim.import_torch()
    texts = ["a face with dark sunglasses", "", "ein Hund 🐕", "word " * 100]
    with shim.quiet():
        model = open_clip.create_model(f"local-dir:{tiny.location}").eval()
    with torch.inference_mode():
        plain = model.encode_text(open_clip.get_tokenizer(f"local-dir:{tiny.location}")(texts), normalize=True).numpy()
    ours = towers.text.encode(texts)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, plain, atol=1e-6)


@pytest.mark.parametrize("text_config", [{}, {"no_causal_mask": True}, {"pool_type": "last"}], ids=str)
def test_padding_is_left_out_where_no_token_sees_it(tmp_path: Path, text_config: dict[str, Any]) -> None:
    """A text's vector is open_clip's own whatever stands beside it; a tower that looks ahead has the whole context."""
    open_clip, torch = shim.import_open_clip(), shim.import_torch()
    config = {**MODEL_CONFIG, "text_cfg": {**MODEL_CONFIG["text_cfg"], **text_config}}  # type: ignore[dict-item]
    words = f"local-dir:{write_tiny_encoder(tmp_path / 'tiny', config=config)}"
    texts = ["a dog", "", "a face with dark sunglasses that cover the eyes"]
    with shim.quiet():
        model = open_clip.create_model(words).eval()
    with torch.inference_mode():
        plain = model.encode_text(open_clip.get_tokenizer(words)(texts), normalize=True).numpy()
    tower = load_towers(parse_encoder(words), device="cpu", precision="fp32").text
    lengths: list[int] = []
    tower._model.transformer.register_forward_pre_hook(lambda _module, given: lengths.append(given[0].shape[1]))
    np.testing.assert_allclose(tower.encode(texts), plain, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([tower.encode([text]) for text in texts]), plain, atol=1e-6)
    assert lengths == ([11, 4, 2, 11] if not text_config else [32] * 4)


def test_rows_have_length_one(towers: Towers) -> None:
    """Image rows are float16 and text rows float32, each with L2 norm 1 within its precision; no input, no rows."""
    images = towers.image.encode(np.stack([towers.image.prepare(picture) for picture in pictures()]))
    texts = towers.text.encode([f"text number {number}" for number in range(300)])
    assert images.dtype == np.float16
    assert (images.shape, texts.shape) == ((5, EMBEDDING_DIM), (300, EMBEDDING_DIM))
    np.testing.assert_allclose(np.linalg.norm(images.astype(np.float32), axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    assert towers.text.encode([]).shape == (0, EMBEDDING_DIM)
    assert towers.image.encode(np.empty((0, *towers.image.input_shape), np.uint8)).shape == (0, EMBEDDING_DIM)


def test_read_only_batches_are_taken(towers: Towers) -> None:
    """A batch that nobody may write to is encoded without a warning."""
    batch = np.zeros((1, *towers.image.input_shape), np.uint8)
    batch.flags.writeable = False
    assert towers.image.encode(batch).shape == (1, EMBEDDING_DIM)


def test_a_batch_of_another_shape_is_refused(towers: Towers) -> None:
    """Pixels of another size or type never reach the model."""
    with pytest.raises(ValueError, match="uint8"):
        towers.image.encode(np.zeros((1, 3, 10, 10), np.uint8))


def test_numbers_that_are_not_finite_stop_the_run(tiny: EncoderSpec) -> None:
    """A model that answers with NaN is never written down as an embedding."""
    damaged = load_towers(tiny, device="cpu", precision="fp32")
    damaged.image._model.visual.proj.data.fill_(float("nan"))
    with pytest.raises(WeightsUnavailable, match="not finite"):
        damaged.image.encode(np.zeros((1, *damaged.image.input_shape), np.uint8))


def test_bfloat16_stays_close(tiny: EncoderSpec, towers: Towers) -> None:
    """In bfloat16 every vector has cosine >= 0.999 with its float32 one, texts are unchanged, the record says so."""
    fast = load_towers(tiny, device="cpu", precision="bf16")
    batch = np.stack([towers.image.prepare(picture) for picture in pictures()])
    assert cosines(fast.image.encode(batch), towers.image.encode(batch)).min() >= 0.999
    np.testing.assert_array_equal(fast.text.encode(["a cat"]), towers.text.encode(["a cat"]))
    assert fast.encoder.differences(towers.encoder) == ["precision: bf16 -> fp32"]


def test_the_record_is_complete(tiny: EncoderSpec, towers: Towers) -> None:
    """The record names the model, its weights, its preprocessing and its versions, and survives JSON."""
    encoder = towers.encoder
    assert Encoder.from_json(encoder.to_json(), "encoder.json") == encoder
    assert (encoder.model_name, encoder.pretrained) == ("tiny", "open_clip_model.safetensors")
    assert (encoder.weights_origin, encoder.precision, encoder.decode_mode) == ("local-dir", "fp32", DECODE_MODE)
    assert (encoder.embedding_dim, encoder.logit_scale) == (EMBEDDING_DIM, 100.0)
    assert encoder.preprocessing["size"] == [IMAGE_SIZE_PX, IMAGE_SIZE_PX]
    assert encoder.architecture_sha256 == architecture_sha256({**MODEL_CONFIG, "quick_gelu": False})
    assert towers.device.startswith("cpu (")


def test_weights_decide_the_identity(tmp_path: Path, tiny: EncoderSpec, towers: Towers) -> None:
    """The same weights in another folder are the same encoder; other weights are another."""
    twin = load_towers(parse_encoder(f"local-dir:{write_tiny_encoder(tmp_path / 'twin')}"), precision="fp32")
    other = load_towers(parse_encoder(f"local-dir:{write_tiny_encoder(tmp_path / 'other', seed=8)}"), precision="fp32")
    assert twin.encoder.fingerprint == towers.encoder.fingerprint
    assert other.encoder.weights_sha256 != towers.encoder.weights_sha256


def test_half_precision_checkpoints_hash_as_float32() -> None:
    """The hash is over float32 values and sees names, shapes and types as well as bytes."""
    torch = shim.import_torch()
    ones = torch.ones(2, 3)
    assert weights_sha256({"w": ones.half()}) == weights_sha256({"w": ones})
    variants = [{"w": ones}, {"v": ones}, {"w": ones.T}, {"w": ones.int()}, {"w": ones, "scalar": torch.tensor(1)}]
    assert len({weights_sha256(variant) for variant in variants}) == len(variants)


def test_random_weights_are_one_encoder_and_disturb_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two loads with random weights give one encoder, say so, and leave the caller's random numbers as they were."""
    torch, open_clip = shim.import_torch(), shim.import_open_clip()
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", {"tiny": MODEL_CONFIG})
    before = torch.random.get_rng_state()
    spec = parse_encoder("tiny", random_weights=True)
    first = load_towers(spec, precision="fp32").encoder
    torch.rand(3)
    second = load_towers(spec, precision="fp32").encoder
    assert first == second
    assert (first.pretrained, first.random_weights) == ("random", True)
    torch.random.set_rng_state(before)
    load_model(spec)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert load_text_tower(first).encode(["a cat"]).shape == (1, EMBEDDING_DIM)


def test_the_text_tower_of_a_store_is_verified(tmp_path: Path, tiny: EncoderSpec, towers: Towers) -> None:
    """A store's text tower gives pass 1's vectors, and weights that are not the store's are refused."""
    texts = ["a cat", "two people at the beach"]
    np.testing.assert_array_equal(load_text_tower(towers.encoder, tiny).encode(texts), towers.text.encode(texts))
    other = parse_encoder(f"local-dir:{write_tiny_encoder(tmp_path / 'other', seed=8)}")
    with pytest.raises(WrongEncoder, match="weights found for tiny"):
        load_text_tower(towers.encoder, other)
    with pytest.raises(WrongEncoder, match="architecture found for tiny"):
        load_text_tower(replace(towers.encoder, architecture_sha256="0" * 64), tiny)


@pytest.mark.parametrize(
    ("origin", "hint"), [("local-dir", "local-dir:/path/to/tiny"), ("checkpoint", "tiny/path/to/open_clip")]
)
def test_local_weights_must_be_pointed_at(towers: Towers, origin: str, hint: str) -> None:
    """A record does not say where local weights lie, so the user is asked for their place."""
    with pytest.raises(UsageError, match=f"--encoder {hint}"):
        load_text_tower(replace(towers.encoder, weights_origin=origin))


def test_unknown_devices_and_precisions_are_wrong_use(tiny: EncoderSpec) -> None:
    """A device or precision that this machine lacks is said before any weights are read."""
    for device in ("gpu", "cuda:99"):
        with pytest.raises(UsageError, match="no device"):
            load_towers(tiny, device=device)
    with pytest.raises(UsageError, match="Choose from: auto, fp32, bf16, fp16"):
        load_towers(tiny, device="cpu", precision="int8")
    with pytest.raises(UsageError, match="fp16 cannot be used on cpu"):
        load_towers(tiny, device="cpu", precision="fp16")


def test_a_device_that_is_held_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that lets in one process only, or whose memory others hold, is said to be so, with what helps."""
    torch = shim.import_torch()

    def busy(*_: object, **_words: object) -> None:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nSearch for …")

    monkeypatch.setattr(torch, "empty", busy)
    with pytest.raises(UsageError, match=r"'cuda' takes nobody else in \(CUDA error: [^\n]*--processes 1") as found:
        device_module.choose_device("cuda")
    assert "Search for" not in str(found.value)


@pytest.mark.parametrize(("cuda", "why"), [("13.0", "built for CUDA 13.0"), (None, "built without CUDA")])
def test_a_gpu_that_torch_cannot_use(
    cuda: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A machine with a GPU on which a job falls back to the CPU says so once, with the reason."""
    torch = shim.import_torch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    device_module._note_unused_gpu.cache_clear()
    monkeypatch.setattr(device_module, "NVIDIA", tmp_path / "nvidiactl")
    assert device_module.choose_device("auto").type == "cpu"
    assert not caplog.messages
    device_module.NVIDIA.touch()
    for _ in range(2):
        assert device_module.choose_device("auto").type == "cpu"
    (said,) = caplog.messages
    assert "has an NVIDIA GPU" in said
    assert why in said
    device_module.choose_device("cpu")
    device_module._note_unused_gpu.cache_clear()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # hidden on purpose
    device_module.choose_device("auto")
    assert len(caplog.messages) == 1


def test_full_memory_is_said_in_a_sentence(tiny: EncoderSpec) -> None:
    """A batch for which the device has no memory ends in an error of ours that says how full it is and what helps."""
    full = load_towers(tiny, device="cpu", precision="fp32").image
    said = "CUDA out of memory. GPU 0 has a total capacity of 2 GiB. Of the allocated memory 1 GiB is allocated by …"

    def no_room(*_: object) -> None:
        raise shim.import_torch().OutOfMemoryError(said)

    full._model.visual.register_forward_pre_hook(no_room)
    with pytest.raises(ClipsieveError, match=r"is full: .* capacity of 2 GiB\. .*smaller --batch-size") as found:
        full.encode(np.zeros((1, *full.input_shape), np.uint8))
    assert "Of the allocated" not in str(found.value)


def test_vectors_leave_the_road(towers: Towers) -> None:
    """What a row keeps is a copy, so that the memory in which vectors come back is free for the next batch."""
    pending = towers.image.submit(np.zeros((2, *towers.image.input_shape), np.uint8))
    assert not np.shares_memory(pending.result(), pending._vectors.numpy())


@pytest.mark.parametrize(
    ("named", "count", "gpus"),
    [
        (None, 2, ["0", "1"]),
        ("", 0, []),
        ("3, 5", 2, ["3", "5"]),
        ("GPU-a,GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("MIG-a,MIG-b", 1, ["MIG-a"]),
        ("0,-1,1", 1, ["0"]),
    ],
)
def test_gpus_by_their_names(monkeypatch: pytest.MonkeyPatch, named: str | None, count: int, gpus: list[str]) -> None:
    """A GPU is handed on as CUDA_VISIBLE_DEVICES names it, by number or by id, and no more than there are."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    monkeypatch.setattr(shim.import_torch().cuda, "device_count", lambda: count)
    assert device_module.visible_gpus() == gpus


@pytest.mark.parametrize(("capabilities", "expected"), [({"avx512_bf16": True}, "bf16"), ({"avx2": True}, "fp32")])
def test_bfloat16_on_a_cpu_needs_hardware(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    """On a CPU the automatic precision is bfloat16 only where the CPU multiplies it natively."""
    torch = shim.import_torch()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert device_module.choose_precision("auto", torch.device("cpu")) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, "bf16"), (False, "fp16")])
def test_old_gpus_use_float16(monkeypatch: pytest.MonkeyPatch, *, native: bool, expected: str) -> None:
    """On CUDA the automatic precision is bfloat16 where the GPU has it, else float16."""
    torch = shim.import_torch()
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_options: native)
    assert device_module._best_precision(torch.device("cuda:0")) == expected


def test_the_tiny_model_is_what_its_folder_says(tiny: EncoderSpec) -> None:
    """The tests' model is a real open_clip model: a config and safetensors that open_clip itself reads."""
    config = json.loads((Path(tiny.location) / "open_clip_config.json").read_text())
    assert config["model_cfg"] == MODEL_CONFIG
    assert math.isclose(load_model(tiny).model.logit_scale.item(), math.log(100), rel_tol=1e-6)
