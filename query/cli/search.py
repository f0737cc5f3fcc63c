"""Search by text and by image."""

import click

from query.asking.vectors import TOP
from query.cli.common import format_option, on_store
from query.output import print_table
from query.session import Session


@click.command()
@on_store
@click.argument("texts", nargs=-1, metavar="[TEXT ...]")
@click.option("--minus", multiple=True, metavar="TEXT", help="What it should not be like; may be given several times.")
@click.option("--image", "images", multiple=True, metavar="FILE|KEY|URI", help="An image of the store, or a file.")
@click.option("--minus-image", "minus_images", multiple=True, metavar="FILE|KEY|URI", help="One it should not be like.")
@click.option("--where", default="", metavar="SQL", help="A condition, for example 'width_px >= 640 and people < 0.5'.")
@click.option("--top", type=click.IntRange(1), default=TOP, show_default=True, help="How many to show.")
@click.option("--html", metavar="FILE.html", help="Also write a contact sheet with the store's thumbnails.")
@format_option
def search(
    session: Session,
    *,
    texts: tuple[str, ...],
    minus: tuple[str, ...],
    images: tuple[str, ...],
    minus_images: tuple[str, ...],
    where: str,
    top: int,
    html: str | None,
    kind: str,
) -> None:
    """Find the images nearest to TEXT and --image by cosine: every embedding is compared, nothing is approximate.

    Several texts and images are added up; what --minus names is taken away. A text is encoded once, then cached. Only
    what the sources still hold is found.
    """
    found = session.search(
        *texts, minus=minus, images=images, minus_images=minus_images, where=where, top=top, html=html
    )
    print_table(found.drop_columns(["image_id"]) if kind == "table" else found, kind)
    if html is not None:
        click.echo(f"Contact sheet written to {html}.", err=True)
