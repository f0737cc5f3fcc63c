"""What the commands of pass 2 share: how STORE is opened, and the word --format."""

import functools
from collections.abc import Callable
from typing import Any, Protocol, cast

import click

from query.output import FORMATS
from query.session import Session
from store.s3.options import S3Options

LOOK = 3
"""Exit code: done, with something to look at."""


class FrontDoor(Protocol):
    """What these commands ask of the front door, which knows both rooms."""

    def open(self, place: str, encoder: str | None, s3: S3Options) -> Session:
        """Open a store, with pass 1's text tower at hand where it is installed."""


def on_store(command: Callable[..., None]) -> Callable[..., None]:
    """Take STORE and what leads to it, and call the command with the opened session instead."""

    def opened(ctx: click.Context, /, **words: Any) -> None:
        front: FrontDoor = ctx.obj
        place, encoder = words.pop("store"), words.pop("encoder")
        session = front.open(place, encoder, S3Options(words.pop("endpoint_url"), words.pop("region")))
        if session.encoder.caution:
            click.echo(f"Note: {session.encoder.caution}", err=True)
        command(session, **words)

    decorated: Any = click.pass_context(opened)
    functools.update_wrapper(decorated, command)
    for decorate in (
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS."),
        click.option("--encoder", metavar="ENCODER", help="Which encoder; for local weights also where they lie."),
        click.argument("store"),
    ):
        decorated = decorate(decorated)
    return cast("Callable[..., None]", decorated)


format_option = click.option("--format", "kind", type=click.Choice(FORMATS), default="table", show_default=True)
