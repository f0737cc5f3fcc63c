"""How many of the close pairs an approximate way finds, as measured on a sample, and how sure that is."""

import math
from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Recall:
    """What became of a sample's pairs at one threshold."""

    at: float
    pairs: int  # close pairs of the sampled images
    found: int
    drawn: int  # sampled images with a neighbor, one neighbor drawn for each by lot
    drawn_found: int

    @property
    def share(self) -> float:
        """Return the share of pairs that was found; 1 where there was none."""
        return self.found / self.pairs if self.pairs else 1.0

    @property
    def at_least(self) -> float:
        """Return the lower confidence bound of the chance that an image's neighbor is found."""
        return lower_bound(self.drawn_found, self.drawn)

    def __add__(self, other: "Recall") -> "Recall":
        """Return both samples together."""
        return Recall(
            self.at,
            self.pairs + other.pairs,
            self.found + other.found,
            self.drawn + other.drawn,
            self.drawn_found + other.drawn_found,
        )


def lower_bound(found: int, drawn: int, confidence: float = CONFIDENCE) -> float:
    """Return the lower end of the one-sided Clopper-Pearson interval of a share.

    It is the p at which so many or more finds would have the chance 1 - confidence. The draws must be independent,
    which is why only one neighbor of an image is drawn. https://en.wikipedia.org/wiki/Binomial_proportion_confidence_interval
    """
    if not found:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _chance_of_at_least(found, drawn, middle) < 1 - confidence else (low, middle)
    return low


def _chance_of_at_least(found: int, drawn: int, share: float) -> float:
    """Return the chance of `found` or more successes in `drawn` trials, for 0 < share < 1."""
    log_choose = (
        math.lgamma(drawn + 1) - math.lgamma(missed + 1) - math.lgamma(drawn - missed + 1)
        for missed in range(drawn - found + 1)
    )
    return math.fsum(
        math.exp(c + missed * math.log1p(-share) + (drawn - missed) * math.log(share))
        for missed, c in enumerate(log_choose)
    )
