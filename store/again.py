"""How a request is made: once, or again and again while it raises NotNow. Whoever has time hands this to who asks."""

from collections.abc import Callable
from typing import Protocol, TypeVar

Answer = TypeVar("Answer")


class Again(Protocol):
    """Does something until it is done."""

    def __call__(self, do: Callable[[], Answer], /) -> Answer:
        """Return what `do` returns."""


def at_once(do: Callable[[], Answer]) -> Answer:
    """Do it, once."""
    return do()
