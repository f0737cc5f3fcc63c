"""The command of the second look."""

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import click

from embed.detect.request import KINDS, PRICE_SOURCE, PRICE_USD, ConfirmRequest, DetectorOptions, Findings
from store.s3.options import S3Options

if TYPE_CHECKING:
    from embed.detect.run import Plan

LOOK = 3
"""Exit code: done, with something to look at."""

TRIED_IMAGES = 4


class FrontDoor(Protocol):
    """What this command asks of the front door, which knows both rooms."""

    def plan_confirm(self, request: ConfirmRequest) -> "Plan":
        """Find the band and load the detector."""


@click.command()
@click.argument("store")
@click.argument("concept")
@click.option("--between", nargs=2, type=float, required=True, metavar="LOW HIGH", help="The band, both ends included.")
@click.option("--with", "kind", type=click.Choice(KINDS), required=True, help="Who looks.")
@click.option(
    "--what",
    multiple=True,
    metavar="THING",
    help="What to look for, may be repeated; else what CONCEPT suggests. Rekognition: person, face, face_occluded, "
    "sunglasses.",
)
@click.option(
    "--weights",
    metavar="WEIGHTS",
    help="Of a local detector: a hub id or local-dir:/path; else the published base model.",
)
@click.option("--device", default="auto", show_default=True, help="cuda, cuda:1, mps or cpu.")
@click.option("--batch-size", type=click.IntRange(1), default=4, show_default=True, help="Images per forward pass.")
@click.option("--limit", type=click.IntRange(1), help="Look at so many only, those nearest to the band's middle first.")
@click.option("--retry-failed", is_flag=True, help="Look again at images that failed before.")
@click.option(
    "--price",
    type=click.FloatRange(0),
    default=PRICE_USD,
    show_default=True,
    help=f"USD for one image and call of Rekognition: {PRICE_SOURCE} (us-east-1, first million a month).",
)
@click.option("--rekognition-endpoint-url", metavar="URL", help="Another address of Rekognition.")
@click.option("--rekognition-region", help="Rekognition's region, where it is not the bucket's.")
@click.option("--encoder", metavar="ENCODER", help="Which encoder's scores, where the store holds several.")
@click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS.")
@click.option("--region", help="The bucket's region.")
@click.option("--requester-pays", is_flag=True, help="Accept to pay for requests and transfer.")
@click.option("--yes", is_flag=True, help="Do it; without this, only say how many images it is and what it costs.")
@click.pass_obj
def confirm(
    front: FrontDoor,
    store: str,
    concept: str,
    *,
    between: tuple[float, float],
    kind: str,
    what: tuple[str, ...],
    weights: str | None,
    device: str,
    batch_size: int,
    limit: int | None,
    retry_failed: bool,
    price: float,
    rekognition_endpoint_url: str | None,
    rekognition_region: str | None,
    encoder: str | None,
    endpoint_url: str | None,
    region: str | None,
    requester_pays: bool,
    yes: bool,
) -> None:
    """Let a detector look at the images of STORE whose score of CONCEPT is uncertain, and keep what it sees.

    The answers are columns beside the scores, such as `owlv2_person`: the highest confidence, 0 to 1, and null where it
    has not looked. Images that were looked at before are left out; stopped or killed, the same command goes on.
    """
    request = ConfirmRequest(
        store=store,
        concept=concept,
        low=between[0],
        high=between[1],
        detector=DetectorOptions(
            kind=kind,
            what=what,
            weights=weights,
            device=device,
            batch_size=batch_size,
            price_usd=price,
            rekognition_endpoint_url=rekognition_endpoint_url,
            rekognition_region=rekognition_region,
            retry_failed=retry_failed,
        ),
        limit=limit,
        encoder=encoder,
        s3=S3Options(endpoint_url, region, requester_pays),
    )
    plan = front.plan_confirm(request)
    _show_plan(plan)
    if not plan.pending:
        click.echo("Nothing to do.")
    elif not yes:
        _show_time(plan)
        click.echo("Nothing has been done. Add --yes to go on.")
    else:
        _run(plan)


def _run(plan: "Plan") -> None:
    from embed.progress import Display

    with ExitStack() as shown:
        found = plan.run(lambda tally: shown.enter_context(Display(tally).shown()).refresh)
    _show(found, plan)
    if found.stopped or found.errors:
        sys.exit(LOOK)


def _show_plan(plan: "Plan") -> None:
    request, looker = plan.request, plan.looker
    click.echo(f"{request.concept} between {request.low:g} and {request.high:g}: {plan.in_band:,} images.")
    if plan.done:
        click.echo(f"Looked at before by {looker.record.detector_id}: {plan.done:,}.")
    click.echo(f"To look at now, for {', '.join(looker.labels)}: {len(plan.pending):,}.")
    click.echo(f"Detector: {looker.record.model}, {looker.where}.")
    if plan.cost_usd is not None and plan.pending:
        calls = " and ".join(looker.calls) if len(looker.calls) == 1 else f"({' and '.join(looker.calls)})"
        click.echo(
            f"Cost: {len(plan.pending):,} images x {calls} x ${plan.price_usd:g} = ${plan.cost_usd:,.2f}, "
            "and what reading the images costs."
        )


def _show_time(plan: "Plan") -> None:
    """Say how long a local detector will take, measured on a few of the images; a service's price is known."""
    from embed.progress import duration

    if plan.cost_usd is not None:
        return
    each = plan.seconds_per_image(TRIED_IMAGES)
    if each is None:
        click.echo("Time: unknown, since none of the first images could be looked at.")
    else:
        tried, images = min(TRIED_IMAGES, len(plan.pending)), len(plan.pending)
        click.echo(f"Time: about {duration(each * images)}, {each:.2f} s an image on the {tried} tried here.")


def _show(found: Findings, plan: "Plan") -> None:
    from embed.progress import duration

    click.echo(f"Looked at {found.looked_at:,} images in {duration(found.seconds)}.")
    for code, count in sorted(found.errors.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"Failed, {code}: {count:,}.")
    if found.stopped:
        click.echo("Stopped as asked; what is done is kept, and the same command goes on from here.")
    column = found.columns[0]
    click.echo(f"Columns: {', '.join(found.columns)}.")
    query = "select uri, {0}, {1} from candidates where {1} is not null order by {1} desc"
    click.echo(f'Next: clipsieve sql {plan.request.store} "{query.format(plan.request.concept, column)}"')
