"""The report as a page: one HTML file, in which every picture stands and to which nothing is fetched."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from query.deliver.report.charts import chart, is_logarithmic
from query.deliver.report.gather import Chart, Gathered, Picture, Strip

_OUTCOMES = ("kept", "removed", "quarantined", "errors")
_DECIMALS = 4


def render(metadata: Mapping[str, Any], gathered: Gathered) -> bytes:
    """Return the page of a run, by its metadata and by what was gathered for it."""
    counts, policy = metadata["counts"], metadata["policy"]
    page = Template(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    text = page.substitute(
        title=escape(f"{policy['name']}, {metadata['run_id']}"),
        policy=escape(_policy_title(policy["name"], metadata["rules"])),
        run_id=escape(metadata["run_id"]),
        warnings="".join(f'<p class="warning">{escape(text)}</p>' for text in _warnings(metadata, gathered)),
        totals=_totals(counts),
        facts=_facts(metadata),
        rules=_rules(metadata["rules"], counts["listed"]),
        charts=_charts(gathered.charts),
        near=_strips("Nearest to each threshold", "near", _NEAR, gathered.near),
        certain=_strips("The most certain", "certain", _CERTAIN, gathered.certain),
        kept=_strips("What is kept", "kept", gathered.kept.note, [gathered.kept], titled=False),
        errors=_errors(gathered.errors),
    )
    # A name on disk that is no Unicode reaches a URI's text as lone surrogates, which UTF-8 cannot hold.
    return text.encode("utf-8", "backslashreplace")


_NEAR = "On either side of each threshold, the images that it decides by the least. Where these are wrong, move it."
_CERTAIN = "What each rule decides with the most to spare. Where these are wrong, the rule asks the wrong question."


def _policy_title(name: str, rules: Sequence[Mapping[str, Any]]) -> str:
    return " | ".join(rule["rule"] for rule in rules) if name == "--remove" else name


def _warnings(metadata: Mapping[str, Any], gathered: Gathered) -> Iterable[str]:
    if metadata["warning"]:
        yield metadata["warning"]
    if pending := metadata["counts"]["pending"]:
        yield f"{pending:,} objects have not been read yet, and stand under errors: finish clipsieve embed."
    if not gathered.has_thumbnails:
        yield (
            "This store has no thumbnails (it was made with --no-thumbnails, or its vectors were imported), so the "
            "images below are named, not shown."
        )
    if gathered.left_out:
        yield f"{gathered.left_out:,} pictures are left out, so that this page stays small."


def _totals(counts: Mapping[str, Any]) -> str:
    """Return the outcomes as one bar and as numbers; quarantined ones by label."""
    quarantined: Mapping[str, int] = counts["quarantined"]
    numbers = {**{name: counts[name] for name in _OUTCOMES if name != "quarantined"}}
    numbers["quarantined"] = sum(quarantined.values())
    bar = "".join(
        f'<span class="{name}" style="flex-grow:{numbers[name]}" title="{name}: {numbers[name]:,}"></span>'
        for name in _OUTCOMES
        if numbers[name]
    )
    labels = ", ".join(f"{images:,} {escape(label)}" for label, images in quarantined.items())
    tiles = "".join(
        f'<div class="tile"><span class="dot {name}"></span><b>{numbers[name]:,}</b> {name}<small>'
        f"{_share(numbers[name], counts['listed'])}{f'; {labels}' if name == 'quarantined' else ''}</small></div>"
        for name in _OUTCOMES
        if numbers[name] or name in {"kept", "removed", "errors"}
    )
    return f'<div class="bar">{bar}</div><div class="tiles">{tiles}</div>'


def _facts(metadata: Mapping[str, Any]) -> str:
    encoder = metadata["encoder"]
    hashed = metadata["policy"]["sha256"]
    facts = {
        "listed": f"{metadata['counts']['listed']:,} objects",
        "sources": ", ".join(metadata["sources"]),
        "store": metadata["store"],
        "encoder": f"{encoder['model_name']}, {encoder['pretrained'] or 'random weights'}",
        "policy": metadata["policy"]["name"] + (f", sha256 {hashed[:12]}…" if hashed else ""),
        "made": f"{metadata['created_at']} by clipsieve {metadata['tool_version']}",
    }
    return "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())


def _rules(rules: Sequence[Mapping[str, Any]], listed: int) -> str:
    most = max((rule["decides"] for rule in rules), default=0)
    return "".join(
        f"<tr><td>{rule['number']}</td><td><b>{escape(rule['rule'])}</b>{_reason(rule)}</td>"
        f'<td>{_mark(rule["action"])}</td><td class="number">{rule["decides"]:,}</td>'
        f'<td class="share">{_bar(rule, most)}</td><td class="number">{_share(rule["decides"], listed)}</td>'
        f'<td class="number">{rule["holds_for"]:,}</td></tr>'
        for rule in rules
    )


def _bar(rule: Mapping[str, Any], most: int) -> str:
    if not rule["decides"]:
        return ""
    return f'<span style="width:{100 * rule["decides"] / most:.1f}%" class="{_kind(rule["action"])}"></span>'


def _reason(rule: Mapping[str, Any]) -> str:
    return f"<small>{escape(rule['reason'])}</small>" if rule["reason"] != rule["rule"] else ""


def _charts(charts: Sequence[Chart]) -> str:
    if not charts:
        return "<p>No rule compares a column with a number.</p>"
    return "".join(
        f'<figure class="chart"><figcaption><b>{escape(one.column)}</b> {escape(one.unit)}'
        f"<small>{sum(one.counts):,} images{'; bars grow with the logarithm' if is_logarithmic(one.counts) else ''}"
        f"</small></figcaption>{chart(one)}</figure>"
        for one in charts
    )


def _strips(title: str, name: str, note: str, strips: Sequence[Strip], *, titled: bool = True) -> str:
    if not any(strip.pictures for strip in strips):
        return ""
    shown = "".join(
        (f"<h3>{escape(strip.title)}</h3><p>{escape(strip.note)}</p>" if titled else "")
        + f'<div class="cards">{"".join(map(_card, strip.pictures))}</div>'
        for strip in strips
        if strip.pictures
    )
    return f'<section id="{name}"><h2>{escape(title)}</h2><p>{escape(note)}</p>{shown}</section>'


def _card(picture: Picture) -> str:
    folder, slash, name = picture.uri.rpartition("/")
    score = f'<span class="score">{_value(picture.score)}</span> ' if picture.score is not None else ""
    values = "".join(
        f"<span>{escape(column)}</span><span>{_value(value)}</span>"
        for column, value in picture.values.items()
        if value is not None
    )
    why = f' title="{escape(picture.rule)}"' if picture.rule else ""
    return (
        f'<figure class="card">{_image(picture)}<figcaption><div{why}>{score}{_mark(picture.action)}</div>'
        f'<div class="values">{values}</div><small class="uri" title="{escape(picture.uri)}">{escape(folder + slash)}'
        f"<wbr><b>{escape(name)}</b></small></figcaption></figure>"
    )


def _image(picture: Picture) -> str:
    if not picture.thumbnail:
        return '<div class="none">no thumbnail</div>'
    data = b64encode(picture.thumbnail).decode()
    return f'<img alt="{escape(picture.uri)}" src="data:image/webp;base64,{data}">'


def _errors(errors: Sequence[Mapping[str, Any]]) -> str:
    if not errors:
        return ""
    rows = "".join(
        f'<tr><td>{escape(str(row["reason"]))}</td><td class="number">{row["objects"]:,}</td>'
        f'<td class="uri">{escape(row["example"])}</td></tr>'
        for row in errors
    )
    head = "<tr><th>reason</th><th>objects</th><th>for example</th></tr>"
    return f'<section id="errors"><h2>What could not be decided</h2><table>{head}{rows}</table></section>'


def _mark(action: str) -> str:
    return f'<span class="mark {_kind(action)}">{escape(action)}</span>'


def _kind(action: str) -> str:
    """Return the class that colours an action: that of its outcome."""
    return {"keep": "kept", "remove": "removed"}.get(action, "quarantined")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else ""


def _value(value: float | None) -> str:
    """Return a value with as many digits as tell it from its threshold."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) and abs(value) > 1 else f"{round(value, _DECIMALS):.{_DECIMALS}f}"
