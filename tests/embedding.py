"""Running pass 1 in tests, and reading what it left: one line each, so that a test is what it proves."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.paginate
import botocore.retries.standard
import numpy as np
import pytest
from click.testing import CliRunner, Result

import clipsieve
from embed.encoders import ImageTower
from embed.encoders.flight import Pending
from embed.request import JobOptions, Summary
from store.layout import EncoderStore, Store
from store.location import FolderLocation
from store.parts import read_part

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = JobOptions(batch_size=1)
"""One image at a time: the last bit of an embedding may depend on how many are encoded together."""


def embed(source: Path | str, store: Path | str, encoder: Path, **options: Any) -> Summary:
    """Embed with a `local-dir:` encoder on the CPU; `options` are fields of JobOptions or of EmbedRequest."""
    ours = {name: options.pop(name) for name in list(options) if name in JobOptions.__dataclass_fields__}
    words = {"precision": "fp32", "device": "cpu", **options}
    return clipsieve.embed(
        str(source), store=str(store), encoder=f"local-dir:{encoder}", options=replace(PLAIN, **ours), **words
    )


def command(*words: Path | str) -> Result:
    """Run `clipsieve WORDS` in this process."""
    return CliRunner().invoke(clipsieve.main, [str(word) for word in words])


def embed_command(source: Path | str, store: Path | str, encoder: Path, *words: str) -> Result:
    """Run `clipsieve embed` in this process, with a `local-dir:` encoder on the CPU."""
    place = ("--store", str(store), "--encoder", f"local-dir:{encoder}", "--device", "cpu", "--precision", "fp32")
    return command("embed", source, *place, *words)


def shelf(place: Path | str, encoder: str | None = None) -> EncoderStore:
    """The part of a store in a folder that belongs to its one encoder."""
    return Store.open(FolderLocation(Path(place))).encoder(encoder)


def outcomes(place: Path | str) -> dict[str, str]:
    """What became of each object that the sources hold now, by key: a status, or the error code of a failed image.

    Fails where a store is not sound or an object has two outcomes.
    """
    session = clipsieve.open(str(place))
    assert session.verify().sound
    found = session.sql("select key, coalesce(error_code, status) as outcome from current_images").to_pylist()
    assert len({row["key"] for row in found}) == len(found)
    return {row["key"]: row["outcome"] for row in found}


def all_rows(place: Path | str) -> list[dict[str, Any]]:
    """Every row of every images part, without what differs between two runs that did the same."""
    held = shelf(place)
    rows = [row for name in held.parts("images") for row in read_part(held.location, name).to_pylist()]
    for row in rows:
        del row["run_id"], row["embedded_at"]
    return sorted(rows, key=lambda row: str(row["uri"]))


def small_pages(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Let every listing of S3 come in pages of `size` keys."""
    whole: Callable[..., object] = botocore.paginate.Paginator.paginate

    def paged(self: object, **words: object) -> object:
        return whole(self, PaginationConfig={"PageSize": size}, **words)

    monkeypatch.setattr(botocore.paginate.Paginator, "paginate", paged)


def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let botocore try again without waiting."""
    monkeypatch.setattr(botocore.retries.standard.ExponentialBackoff, "delay_amount", lambda *_: 0)


def batches_in_flight(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """Let no batch seem back before it is waited for; return how many were away at each start, and those still away."""
    most, flying = list[int](), list[int]()
    submit, result = ImageTower.submit, Pending.result

    def submitted(tower: ImageTower, pictures: list[np.ndarray]) -> Pending:
        flying.append(len(pictures))
        most.append(len(flying))
        return submit(tower, pictures)

    def resulted(pending: Pending) -> np.ndarray:
        flying.pop()
        return result(pending)

    monkeypatch.setattr(Pending, "is_back", False)
    monkeypatch.setattr(ImageTower, "submit", submitted)
    monkeypatch.setattr(Pending, "result", resulted)
    return most, flying
