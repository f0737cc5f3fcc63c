"""What the commands on a run share: how RUN is opened."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import click

from store.s3.options import S3Options

if TYPE_CHECKING:
    from query.deliver.apply.delivery import Delivery


class FrontDoor(Protocol):
    """What these commands ask of the front door."""

    def open_run(self, place: str, s3: S3Options) -> "Delivery":
        """Open an exported run."""


def on_run(command: Callable[..., None]) -> Callable[..., None]:
    """Take RUN and what leads to it."""
    for decorate in (
        click.option("--region", help="The bucket's region."),
        click.option("--endpoint-url", metavar="URL", help="An S3 service that is not AWS."),
        click.option("--requester-pays", is_flag=True, help="Pay for the requests to a requester-pays bucket."),
        click.argument("run"),
        click.pass_obj,
    ):
        command = decorate(command)
    return command


def s3_options(words: dict[str, Any]) -> S3Options:
    """Take the way to S3 out of a command's words."""
    return S3Options(words.pop("endpoint_url"), words.pop("region"), requester_pays=words.pop("requester_pays"))
