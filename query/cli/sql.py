"""Questions in SQL."""

import sys

import click

from query.cli.common import format_option, on_store
from query.output import print_table
from query.session import Session


@click.command()
@on_store
@click.argument("query", required=False)
@format_option
def sql(session: Session, query: str | None, kind: str) -> None:
    """Answer one read-only QUERY over the views images, current_images, current_objects, scores, thumbnails, prompts.

    Without QUERY, or where it is -, it is read from stdin.
    """
    print_table(session.sql(sys.stdin.read() if query in {None, "-"} else str(query)), kind)
    if missing := session.unscored_parts():
        click.echo(f"Note: the view scores lacks {missing:,} parts; run `clipsieve score STORE`.", err=True)
