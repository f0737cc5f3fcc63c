"""Odd files from the wild: each ends in exactly one outcome, and none of them makes a library talk."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from store.records import ErrorCode
from tests.embedding import all_rows, outcomes

pytestmark = pytest.mark.slow


def test_odd_files(shared_data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Every file is accounted for, exit code 0, the summary counts each reason, and nothing else is printed."""
    source, place = tmp_path / "source", tmp_path / "store"
    for folder in ("odd", "near_duplicates"):
        shutil.copytree(shared_data / folder, source / folder)
    words = ["--store", str(place), "--encoder", f"local-dir:{tiny_encoder}", "--device", "cpu", "--precision", "fp32"]
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", "clipsieve", "embed", str(source), *words]
    job = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert job.returncode == 0, job.stderr
    encoder, *progress = job.stderr.splitlines()
    assert encoder.startswith("Encoder tiny-")
    assert all(re.match(r"[\d,]+ of [\d,]+ images · ", line) for line in progress), job.stderr  # one each ten seconds
    found = outcomes(place)
    files = {os.path.relpath(Path(parent, name), source) for parent, _, names in os.walk(source) for name in names}
    assert found.keys() == files
    counts = Counter(found.values())
    assert counts.keys() <= {"embedded", "not_an_image", *ErrorCode}
    assert counts["embedded"] > 0.5 * len(files)
    said = job.stdout.splitlines()
    assert said[0].startswith(f"Embedded {counts.pop('embedded'):,} images in ")
    assert said[1] == f"Listed {len(files):,} objects, 0 of them done before."
    assert said[2] == f"Not images: {counts.pop('not_an_image'):,}."
    reasons = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert said[3:-3] == [f"Failed, {code}: {count:,}." for code, count in reasons]
    for row in all_rows(place):
        assert (row["error_detail"] is not None) == (row["status"] == "failed")
