"""What the documentation says can be typed, typed."""

import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

import clipsieve
from query.scoring.concepts import parse_concepts
from store.records import ErrorCode
from store.schema import images_schema
from tests.commands import typed
from tests.elsewhere import plain, rows_of, vectors_of
from tests.servers import S3Server
from tests.stores import unit

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
STORE_PAGE = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")


def _blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which `./photos` is what the documentation means by it."""
    (tmp_path / "photos").symlink_to(photos)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("s3", ["moto"], indirect=True)
@pytest.mark.usefixtures("here")
def test_the_readmes_road_can_be_typed(photos: Path, tiny_encoder: Path, s3: S3Server, bucket: str) -> None:
    """Every command of the README's road ends well, with a small encoder in the place of the named ones."""
    for photo in sorted(photos.rglob("*.jpg"))[:5]:
        s3.client().upload_file(str(photo), bucket, f"train/{photo.name}")
    (road,) = (block for block in _blocks(README, "") if block.startswith("clipsieve embed"))
    for line in road.splitlines():
        typed = re.sub(r"ViT-\S+", f"local-dir:{tiny_encoder}", line).replace("s3://bucket/", f"s3://{bucket}/")
        words = shlex.split(typed)[1:]
        asked = CliRunner().invoke(clipsieve.main, words)
        assert asked.exit_code == 0, (line, asked.output, asked.exception)
        assert asked.stdout, line


@pytest.mark.usefixtures("here")
def test_the_readmes_python_runs(tiny_encoder: Path) -> None:
    """The README's Python does what its comments say."""
    (code,) = _blocks(README, "python")
    names: dict[str, Any] = {}
    exec(  # noqa: S102  # the README's own code
        re.sub(r'"ViT-[^"]+"', repr(f"local-dir:{tiny_encoder}"), code), names
    )
    assert names["store"].sweep("people").column_names == ["threshold", "removed", "kept", "removed_share"]


def test_the_readmes_concept_is_one() -> None:
    """The README's example of a concept file is read without complaint."""
    (text,) = _blocks(README, "toml")
    assert [concept.name for concept in parse_concepts(text, "README.md")] == ["hat"]


def test_the_pages_queries_run_in_duckdb_alone(embedded_store: Path) -> None:
    """The queries of docs/store.md answer on a store with nothing but DuckDB."""
    queries = _blocks(STORE_PAGE, "sql")
    assert len(queries) == 2
    for query in queries:
        assert duckdb.execute(query.replace("STORE", str(embedded_store))).fetchall()


def test_the_page_of_imports_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands, the concept and the Python of docs/import.md do what they say."""
    page = (ROOT / "docs" / "import.md").read_text(encoding="utf-8")
    (road,) = (block for block in _blocks(page, "") if block.startswith("clipsieve import"))
    (concept,), (code,) = _blocks(page, "toml"), _blocks(page, "python")
    texts = ["person", "aeroplane", "cat", "potted plant"]
    monkeypatch.chdir(tmp_path)
    rows = rows_of(20)
    plain(tmp_path / "embeddings", rows, vectors_of(rows, dim=512))
    np.save("texts.npy", np.stack([unit(text, 512) for text in texts]))
    Path("texts.txt").write_text("\n".join(texts), encoding="utf-8")
    Path("people.toml").write_text(concept, encoding="utf-8")
    for line in road.splitlines():
        asked = typed(*shlex.split(line)[1:])
        assert asked.exit_code == 0, (line, asked.output)
        assert asked.stdout, line
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102  # the page's own code
    assert (names["summary"].imported, names["summary"].already_done) == (0, 20)


def test_the_page_names_every_column_and_error_code() -> None:
    """docs/store.md leaves out no column of `images` and no error code."""
    for name in [*images_schema(4).names, *ErrorCode]:
        assert f"`{name}`" in STORE_PAGE, name
