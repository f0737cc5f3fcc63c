"""What a policy would do, before it does."""

import json
from collections.abc import Callable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import click

from query.cli.common import format_option, on_store
from query.output import print_table, show
from query.rules.diff import Difference
from query.rules.select import Selection
from query.rules.thresholds import NEAREST
from query.session import Session

_LONGEST_REASON = 70


def policy_words(command: Callable[..., None]) -> Callable[..., None]:
    """Take POLICY, or --remove conditions in its place."""
    remove = click.option(
        "--remove",
        multiple=True,
        metavar="CONDITION",
        help="In place of POLICY: remove where this holds, for example 'people >= 0.5'; may be given several times.",
    )
    return click.argument("policy", required=False)(remove(command))


@click.command()
@on_store
@policy_words
@click.option("--diff", "other", metavar="POLICY", help="Show only what changes sides where this takes its place.")
@click.option(
    "--nearest",
    type=click.IntRange(0),
    default=NEAREST,
    show_default=True,
    help="So many images on either side of each threshold; with --diff, examples of each change.",
)
@format_option
def select(session: Session, policy: str | None, remove: tuple[str, ...], kind: str, **words: Any) -> None:
    """Show what POLICY would remove, keep and quarantine: by rule, in common, and near its thresholds.

    POLICY is a shipped name or a TOML file. Nothing is written. --format json holds everything, csv and parquet the
    counts by rule; with --diff, all images that change sides.
    """
    if words["other"] is not None:
        every = None if kind != "table" else words["nearest"]
        difference = session.diff(policy, words["other"], remove, examples=every)
        if kind == "table":
            _show_difference(difference)
        else:
            print_table(difference.changed, kind)
        return
    selection = session.select(policy, remove, nearest=words["nearest"])
    if kind == "table":
        _show_selection(selection)
    elif kind == "json":
        click.echo(json.dumps(selection.to_record(), indent=2))
    else:
        print_table(selection.rules, kind)


def counts(found: Any) -> str:  # noqa: ANN401  # a Selection or a Run
    """Return the totals of a selection or a run as one sentence."""
    labels = " and ".join(f"{images:,} as {label}" for label, images in found.quarantined.items())
    quarantined = f", quarantined {labels}" if labels else ""
    share = found.removed / found.listed if found.listed else 0.0
    return (
        f"Removed {found.removed:,} ({share:.1%}), kept {found.kept:,}{quarantined}, errors {found.errors:,}; "
        f"listed {found.listed:,}."
    )


def show_rules(rules: list[Mapping[str, Any]]) -> None:
    """Print what each rule decides, and why; where the name is the reason, it stands once."""
    header = ["", "rule", "action", "decides", "holds for", "reason"]
    rows = [[r["number"], r["rule"], r["action"], r["decides"], r["holds_for"], _short(r["reason"])] for r in rules]
    if all(rule["rule"] == rule["reason"] for rule in rules):
        header, rows = header[:-1], [row[:-1] for row in rows]
    show(header, rows)


def _show_selection(found: Selection) -> None:
    click.echo(counts(found))
    show_rules(found.rules.to_pylist())
    if pairs := found.overlaps.to_pylist():
        sides = ("upper", "lower")
        rows = [[*(f"{o[f'{side}_number']} {o[f'{side}_rule']}" for side in sides), o["images"]] for o in pairs]
        show(["upper rule", "lower rule", "images"], rows, title="\nRules that hold for the same images")
    if found.nearest.num_rows:
        _show_nearest(found.nearest.to_pylist())


def _show_nearest(images: list[dict[str, Any]]) -> None:
    """Print what is nearest to each threshold; where two rules share the images, these are shown once."""
    shown: dict[tuple[Any, ...], list[str]] = {}
    for (number, rule, comparison), near in groupby(images, itemgetter("number", "rule", "comparison")):
        rows = tuple((image["holds"], image["score"], image["distance"], image["uri"]) for image in near)
        shown.setdefault((comparison, rows), []).append(f"{number} {rule}")
    lines: list[list[Any]] = []
    for (comparison, rows), rules in shown.items():
        labels = [", ".join(rules), comparison]
        for holds, *rest in rows:
            lines.append([*labels, "yes" if holds else "no", *rest])
            labels = ["", ""]
    header = ["rule", "comparison", "holds", "score", "distance", "uri"]
    show(header, lines, title="\nNearest to each threshold, of the images for which it matters")


def _show_difference(found: Difference) -> None:
    changes = found.counts.to_pylist()
    images = sum(change["images"] for change in changes)
    change = "image changes sides" if images == 1 else "images change sides"
    click.echo(f"From {found.before} to {found.after}: {images:,} {change}.")
    if not changes:
        return
    show(["images", "was", "by rule", "becomes", "by rule"], [[c["images"], *_sides(c)] for c in changes])
    rows = [[image["uri"], *_sides(image)] for image in found.changed.to_pylist()]
    show(["uri", "was", "by rule", "becomes", "by rule"], rows, title="\nFor example")


def _sides(change: Mapping[str, Any]) -> list[str | None]:
    return [change[name] for name in ("was", "was_by", "becomes", "becomes_by")]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else text[: _LONGEST_REASON - 1] + "…"
