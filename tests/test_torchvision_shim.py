"""What is loaded and when, what it prints, and that only the known fault of torchvision is mended."""

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from embed.encoders import torchvision_shim as shim
from store.errors import MissingExtra


def test_reading_words_of_local_models_loads_no_torch() -> None:
    """Importing the package, and naming a local-dir or hub model, costs no import of torch; stderr stays empty."""
    code = (
        "import sys; from embed.encoders import parse_encoder as parse; parse('local-dir:/x'); parse('hf-hub:a/b');"
        "assert not {'torch', 'open_clip', 'torchvision', 'huggingface_hub'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_loading_says_nothing_on_stderr(tiny_encoder: Path) -> None:
    """A load in a fresh process prints nothing, leaves the root logger without a handler, and torchvision usable.

    Of the libraries that take as long to import as all others, none is loaded that the model does not need.
    """
    code = (
        "import logging, sys; from embed.encoders import *; towers = load_towers(parse_encoder(sys.argv[1]));"
        "assert not logging.getLogger().handlers; import numpy; towers.text.encode(['a']);"
        "towers.image.encode(numpy.zeros((1, *towers.image.input_shape), numpy.uint8));"
        "assert not {'timm', 'transformers', 'torch._dynamo'} & set(sys.modules);"
        "import torchvision; print(towers.encoder.encoder_id)"
    )
    words = [sys.executable, "-W", "error", "-c", code, f"local-dir:{tiny_encoder}"]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("tiny-open_clip_model.safetensors-")


def spin_counts(code: str, *words: str, **said: str) -> set[str]:
    """How long threads spin, as each OpenMP that a fresh process loads says it; `said` are variables of the user."""
    kept = {name: value for name, value in os.environ.items() if name not in {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        check=True,
        capture_output=True,
        text=True,
        env={**kept, **said, "OMP_DISPLAY_ENV": "verbose"},
    )
    found = set(re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr))
    if not found:
        pytest.skip("torch has another OpenMP here than libgomp, which says nothing of this")
    return found


def test_threads_of_a_job_sleep_at_their_barriers(tmp_path: Path) -> None:
    """The OpenMP of a job's torch says that its threads never spin."""
    code = (
        "import sys; from embed.request import EmbedRequest; from embed.start import run\n"
        "try: run(EmbedRequest(sys.argv[1], sys.argv[2], 'local-dir:missing'))\n"
        "except Exception: assert 'torch' in sys.modules"
    )
    assert spin_counts(code, str(tmp_path / "missing"), str(tmp_path / "store")) == {"0"}


def test_threads_spin_where_the_user_says_so() -> None:
    """Where the user has said how long threads shall spin, that stays; shown by the OpenMP of torch, loaded alone."""
    library = next(Path(shim.import_torch().__file__ or "").parent.glob("lib/libgomp*"), None)
    if library is None:
        pytest.skip("torch brings no libgomp of its own here")
    code = (
        "import ctypes, sys; from embed.encoders.torchvision_shim import wait_passively\n"
        "wait_passively(); ctypes.CDLL(sys.argv[1]); assert 'torch' not in sys.modules"
    )
    assert spin_counts(code, str(library)) == {"0"}
    assert "0" not in spin_counts(code, str(library), OMP_WAIT_POLICY="active")


def test_loaded_torch_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is loaded already, nothing is said to processes that are started later."""
    shim.import_torch()
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    shim.wait_passively()
    assert "OMP_WAIT_POLICY" not in os.environ


@pytest.mark.parametrize("missing", ["torch", "torchvision", "open_clip"])
def test_missing_libraries_are_named_with_their_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without torch, torchvision or open_clip one sentence says what to install."""
    for name in ("import_torch", "import_open_clip"):  # as in a process that has loaded neither
        monkeypatch.setattr(shim, name, cache(getattr(shim, name).__wrapped__))
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=rf"^{missing} is not installed\..*pip install 'clipsieve\[embed\]'"):
        shim.import_open_clip()


@pytest.mark.parametrize("operator", ["unheard_of", "nms"])
def test_only_the_known_fault_of_torchvision_is_mended(monkeypatch: pytest.MonkeyPatch, operator: str) -> None:
    """Any other failure of torchvision's import is passed on, and the known one is mended only once."""

    def broken(_name: str) -> None:
        raise RuntimeError(f"operator torchvision::{operator} does not exist")

    monkeypatch.setattr(shim, "_import", broken)
    monkeypatch.setitem(shim._DECLARED, "nms", None)
    with pytest.raises(RuntimeError, match=operator):
        shim._import_torchvision(shim.import_torch())
