"""The rooms are ours, and the front door opens before anything heavy is carried in."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"PIL", "boto3", "botocore", "duckdb", "faiss", "numpy", "open_clip", "pyarrow", "rich", "torch", "torchvision"}
COMMANDS_IN_ORDER_OF_USE = ["embed", "status", "score", "sweep", "select", "sql", "export", "verify"]


@pytest.fixture(scope="module")
def help_run() -> subprocess.CompletedProcess[str]:
    """`clipsieve --help` in a process of its own; stderr lists every module that it imported."""
    code = "import sys; from clipsieve import main; sys.argv = ['clipsieve', '--help']; main()"
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("room", ["clipsieve", "embed", "query", "store", "sql"])
def test_each_room_is_ours(room: str) -> None:
    """A name as common as `embed` resolves to this project, as a regular package: those come before namespaces."""
    spec = importlib.util.find_spec(room)
    assert spec is not None
    assert spec.origin is not None, f"{room}/ has no __init__.py"
    assert Path(spec.origin).resolve() in {ROOT / f"{room}.py", ROOT / room / "__init__.py"}


def test_help_imports_nothing_heavy(help_run: subprocess.CompletedProcess[str]) -> None:
    """`clipsieve --help` answers without loading torch, DuckDB, Arrow, boto3 or even numpy."""
    assert help_run.returncode == 0, help_run.stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in help_run.stderr.splitlines()}
    assert "click" in imported
    assert imported & HEAVY == set()


def test_help_lists_commands_in_order_of_use(help_run: subprocess.CompletedProcess[str]) -> None:
    """`clipsieve --help` reads as the work is done: embed first, verify last."""
    listed = re.findall(r"^  ([a-z][a-z-]*) {2,}\S", help_run.stdout, flags=re.MULTILINE)
    assert [name for name in listed if name in COMMANDS_IN_ORDER_OF_USE] == COMMANDS_IN_ORDER_OF_USE
