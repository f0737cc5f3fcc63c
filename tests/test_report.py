"""The report of a run: one file in which everything stands, that loads nothing, and takes no text for markup."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from query.deliver.report import gather
from query.deliver.report.charts import chart
from query.deliver.report.gather import MOST_BYTES, Chart, Threshold
from store.layout import EncoderStore
from store.records import SourceObject
from tests.servers.quiet_http import QuietHTTPServer
from tests.stores import (
    NOON,
    SOURCE,
    add_part,
    ask,
    broken,
    embedded,
    list_source,
    listed,
    new_store,
    no_image,
    put_scores,
)
from tests.test_sheet import Page

PICTURE = base64.b64decode("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
"""A WebP of one pixel."""
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

POLICY = """
[[rule]]
name = "covered & <script>alert(1)</script>"
reason = "somebody's <b>face</b> is covered"
remove = "mask >= 0.7"

[[rule]]
name = "people"
remove = "people >= 0.5"
unless = "key like '%/statue%'"

[[rule]]
name = "thin"
quarantine = "thin"
group = "folder"
survivors_below = 3
"""


def store_of(folder: Path, keys: list[str], picture: bytes | None = PICTURE) -> EncoderStore:
    """A store of images with a picture each, whose scores rise with their place; one failed, one is no image."""
    store = new_store(folder)
    images = [listed(f"in/{key}") for key in keys]
    others = [listed("in/zz/broken.jpg"), listed("in/zz/notes.txt")]
    list_source(store, [*images, *others, listed("in/zz/late.jpg")])
    rows = [embedded(one) for one in images]
    for row in rows:
        object.__setattr__(row, "thumbnail", picture)
    add_part(store, [*rows, broken(others[0]), no_image(others[1])])
    scores = {one.key: place / len(images) for place, one in enumerate(images)}
    return put_scores(store, {"people": scores, "mask": {key: score**2 for key, score in scores.items()}})


def report_of(store: EncoderStore, folder: Path, policy: str = POLICY) -> Path:
    """Export by a policy; return the report."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(policy)
    run = ask(store).export(str(folder / "runs"), str(folder / "policy.toml"))
    return Path(run.place, "report.html")


def words_of(report: Path) -> str:
    """All the text of a page, in one line."""
    return " ".join(" ".join(Page(report.read_text("utf-8")).words).split())


def test_what_it_says(tmp_path: Path) -> None:
    """Counts by outcome and rule, what was not decided and why, and each image with its URI and its scores."""
    keys = [f"{folder}/{k:02}.jpg" for folder in ("anna", "ben") for k in range(20)]
    report = report_of(store_of(tmp_path / "store", keys), tmp_path / "here")
    said = words_of(report)
    run = json.loads(report.with_name("run_metadata.json").read_bytes())
    for rule in run["rules"]:
        assert f"{rule['rule']}" in said
        assert f"{rule['decides']:,}" in said
    assert "truncated 1 s3://photos/in/zz/broken.jpg" in said
    assert "not read yet 1 s3://photos/in/zz/late.jpg" in said
    assert "1 objects have not been read yet" in said
    assert "people >= 0.5: holds, by the least" in said
    assert "people >= 0.5: does not hold, by the least" in said
    pictures = Page(report.read_text("utf-8")).of("img")
    assert all(image["src"] == f"data:image/webp;base64,{base64.b64encode(PICTURE).decode()}" for image in pictures)
    # The nearest on the side where it holds are the first ones at and above the threshold.
    strip = said.split("people >= 0.5: holds, by the least")[1].split("people >= 0.5: does not hold")[0]
    assert re.findall(r"(\w+/\d+)\.jpg", strip.replace("/ ", "/"))[:3] == ["ben/00", "ben/01", "ben/02"]


def test_the_sample_is_of_what_is_kept(tmp_path: Path) -> None:
    """The sample shows kept images only, always the same ones."""
    keys = [f"a/{k:03}.jpg" for k in range(200)]
    store = store_of(tmp_path / "store", keys)
    samples = []
    for place in ("one", "two"):
        said = words_of(report_of(store, tmp_path / place, '[[rule]]\nname = "r"\nremove = "people >= 0.5"\n'))
        strip = said.split("What is kept")[1].split("Nearest to each threshold")[0].replace("/ ", "/")
        samples.append(re.findall(r"a/(\d+)\.jpg", strip))
    assert samples[0] == samples[1]
    assert len(samples[0]) == len({*samples[0]}) == 36
    assert all(int(number) < 100 for number in samples[0])


def test_every_text_is_a_text(tmp_path: Path) -> None:
    """Keys, rules and reasons that look like markup are shown as they are."""
    nasty = "<script>alert('$title')</script> & \"q\" <img src=x onerror=alert(1)>\n.jpg"
    report = report_of(store_of(tmp_path / "store", [nasty, "b.jpg", "c.jpg", "d.jpg"]), tmp_path / "here")
    page = Page(report.read_text("utf-8"))
    assert page.of("script") == []
    assert {image["src"] for image in page.of("img")} == {
        f"data:image/webp;base64,{base64.b64encode(PICTURE).decode()}"
    }
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    words = "".join(page.words)
    assert "covered & <script>alert(1)</script>" in words
    assert "somebody's <b>face</b> is covered" in words
    assert nasty.rpartition("/")[2] in words


def test_nothing_is_named_that_could_be_fetched(tmp_path: Path) -> None:
    """No link, no style from elsewhere, and a policy in the page itself that lets nothing but its own pictures in."""
    page = Page(report_of(store_of(tmp_path / "store", ["a.jpg", "b.jpg"]), tmp_path / "here").read_text("utf-8"))
    assert page.of("a") == page.of("link") == page.of("iframe") == []
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in {m.get("content") for m in page.of("meta")}
    (style,) = (text for text in page.words if ":root" in text)
    assert not re.search(r"url\(|@import", style)


def test_a_store_without_thumbnails(tmp_path: Path) -> None:
    """Without thumbnails the report says so, and names the images."""
    report = report_of(store_of(tmp_path / "store", ["a.jpg", "b.jpg", "c.jpg"], None), tmp_path / "here")
    said = words_of(report)
    assert "This store has no thumbnails" in said
    assert Page(report.read_text("utf-8")).of("img") == []
    assert "s3://photos/in/ a.jpg" in said


def test_the_page_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the pictures weigh, the page takes a few megabytes; what is left out is said."""
    assert MOST_BYTES * 4 / 3 < 10_000_000
    monkeypatch.setattr(gather, "MOST_BYTES", 5 * 10_000)
    store = store_of(tmp_path / "store", [f"{k}.jpg" for k in range(30)], PICTURE + bytes(10_000 - len(PICTURE)))
    report = report_of(store, tmp_path / "here")
    assert len(Page(report.read_text("utf-8")).of("img")) == 5
    assert re.search(r"\d+ pictures are left out, so that this page stays small", words_of(report))
    assert report.stat().st_size < 200_000


def test_many_rules_share_the_page(tmp_path: Path) -> None:
    """With many rules each strip is shorter, so that all of them together stay within what is shown."""
    rules = "".join(f'[[rule]]\nname = "{k}"\nremove = "people >= {0.99 - k / 100:.2f}"\n' for k in range(40))
    keys = [f"{k:03}.jpg" for k in range(300)]
    report = report_of(store_of(tmp_path / "store", keys), tmp_path / "here", rules)
    assert 100 < len(Page(report.read_text("utf-8")).of("img")) <= gather.MOST_IMAGES


def test_rules_that_compare_nothing(tmp_path: Path) -> None:
    """A policy without numbers, and a store in which nothing is embedded, have a report as well."""
    store = store_of(tmp_path / "store", ["a.jpg", "b.jpg"])
    said = words_of(report_of(store, tmp_path / "one", '[[rule]]\nname = "r"\nremove = "key like \'%a.jpg\'"\n'))
    assert "No rule compares a column with a number." in said
    empty = new_store(tmp_path / "empty")
    said = words_of(report_of(empty, tmp_path / "two", '[[rule]]\nname = "r"\nremove = "true"\n'))
    assert "0 objects" in said


def test_a_chart() -> None:
    """Bars are as high as their counts, on the side that goes in its own colour; the threshold stands at its value."""
    drawn = Chart("people", "probability", 0.0, 1.0, [4, 2, 0, 1], [Threshold("people >= 0.5", 0.5, True, "1")])  # noqa: FBT003
    svg = Page(chart(drawn))
    bars = svg.of("rect")
    assert [bar["class"] for bar in bars] == ["stays", "stays", "goes"]
    heights = [float(bar["height"] or 0) for bar in bars]
    assert [heights[0] / height for height in heights] == pytest.approx([1, 2, 4], rel=0.01)
    (line,) = [one for one in svg.of("line") if one.get("class") != "axis"]
    ends = [float(one[name] or 0) for one in svg.of("line") if one.get("class") == "axis" for name in ("x1", "x2")]
    assert float(line["x1"] or 0) == pytest.approx(sum(ends) / 2)


# In a browser


@pytest.fixture
def outside() -> Iterator[tuple[str, list[str]]]:
    """A server that nobody is to ask: its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with QuietHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def browse(page: Path, profile: Path, *words: str) -> str:
    """Open a page in a browser without a window; return what it holds in the end."""
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
        *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={profile}"),
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    )
    asked = [str(CHROMIUM), *flags, *words, "--dump-dom", page.as_uri()]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout


_SCRIPT = (
    "document.title = 'broken ' + [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    " + ' of ' + document.images.length"
)


@pytest.mark.slow  # a browser takes its time to start, twice
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_in_a_browser(tmp_path: Path, outside: tuple[str, list[str]]) -> None:
    """Every picture loads from the file itself; nothing is asked of anybody, whatever the keys say; no script runs."""
    url, asked = outside
    keys = [f'"><img src="{url}/key{k}.jpg"><script src="{url}/s.js"></script>' for k in range(5)]
    report = report_of(store_of(tmp_path / "store", [*keys, *(f"{k}.jpg" for k in range(30))]), tmp_path / "here")
    text = report.read_text("utf-8")
    untouched = browse(report, tmp_path / "profile")
    assert f"<title>{tmp_path}/here/policy.toml, " in untouched
    # A script of our own looks at the pictures, in a copy that lets scripts in; the copy's own markup runs none.
    copy = tmp_path / "copy.html"
    allowed = text.replace("style-src 'unsafe-inline'", "style-src 'unsafe-inline'; script-src 'unsafe-inline'")
    look = f"<script>addEventListener('load', () => {{ {_SCRIPT} }})</script></body>"
    copy.write_text(allowed.replace("</body>", look), encoding="utf-8")
    seen = browse(copy, tmp_path / "profile")
    title = re.findall(r"<title>(.*?)</title>", seen)[0]
    pictures = len(Page(text).of("img"))
    assert title == f"broken 0 of {pictures}"
    assert pictures > 30
    assert asked == []
    control = tmp_path / "control.html"
    control.write_text(f'<img src="{url}/control">')
    browse(control, tmp_path / "profile")
    assert asked == ["/control"]  # so this browser would have asked


def test_files_are_named_too(tmp_path: Path) -> None:
    """Images of a folder are named by their URI, percent-encoded."""
    store = new_store(tmp_path / "store")
    one = SourceObject("file:///x/", "file:///x/a%20b.jpg", None, "a b.jpg", None, "5-5", 5, NOON)
    list_source(store, [one], source=one.source)
    add_part(store, [embedded(one)])
    store = put_scores(store, {"people": {}}, default=0.9)
    said = words_of(report_of(store, tmp_path / "here", '[[rule]]\nname = "r"\nremove = "people >= 0.5"\n'))
    assert "file:///x/ a%20b.jpg" in said
    assert SOURCE not in said
