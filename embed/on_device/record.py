"""What a job says of the JPEGs that its device has decoded; importing this loads nothing heavy."""

from collections.abc import Iterable
from dataclasses import dataclass

ALIKE = 0.999
"""The least cosine between the embeddings of a picture decoded in two ways; below it a job says so clearly."""

ANOTHER = 0.95
"""Below this a picture would be no near-duplicate of itself, so the decoder is at fault and the job is refused."""


@dataclass(frozen=True)
class OnDevice:
    """How many JPEGs a device has decoded, and how the first of them differ from the same decoded in full.

    Differences are those of the encoder's own pixels, which are 0 to 255, and of its embeddings.
    """

    decoded: int = 0
    refused: int = 0  # by the device, and so decoded in full by the CPU
    compared: int = 0  # of the decoded ones
    mean_difference: float = 0.0
    largest_difference: int = 0
    least_cosine: float = 1.0

    @property
    def sentence(self) -> str:
        """Say what the comparison found."""
        return (
            f"Compared {self.compared:,} JPEGs with decoding in full: their pixels differ by "
            f"{self.mean_difference:.2f} of 255 in the mean and {self.largest_difference} at most, "
            f"their embeddings have cosine {self.least_cosine:.5f} at least."
        )

    @property
    def caution(self) -> str:
        """Say what follows where embeddings differ more than other ways to be faster may; else nothing."""
        if self.least_cosine >= ALIKE:
            return ""
        return (
            f"That is below {ALIKE}: near a threshold some images will be judged otherwise than in full. Calibrate on "
            "this store, or use --decode full."
        )


def together(several: Iterable[OnDevice]) -> OnDevice | None:
    """Return what several batches or processes have found as one; None where there is none."""
    found = list(several)
    if not found:
        return None
    compared = sum(one.compared for one in found)
    return OnDevice(
        decoded=sum(one.decoded for one in found),
        refused=sum(one.refused for one in found),
        compared=compared,
        mean_difference=sum(one.mean_difference * one.compared for one in found) / max(1, compared),
        largest_difference=max(one.largest_difference for one in found),
        least_cosine=min(one.least_cosine for one in found),
    )
