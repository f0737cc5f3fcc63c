"""What an estimate says."""

from dataclasses import dataclass

PRICE_PER_GB = 0.09
"""Dollars for a gigabyte out of S3."""

PRICE_SOURCE = (
    "to the internet from us-east-1, the first 10 TB of a month, as of November 2025, aws.amazon.com/s3/pricing"
)
"""Where that price is from, and when it was so."""

_GIGABYTE = 1e9
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Estimate:
    """Counted by listing, measured on a sample, and multiplied."""

    source: str
    listed: int
    already_done: int
    pending: int
    pending_bytes: int
    sampled: int  # of these
    sampled_failed: int
    seconds: float  # that the sample took, once it was flowing
    rate: float  # images a second on this device
    store_bytes_each: float
    device: str
    from_s3: bool

    @property
    def hours(self) -> float:
        """Hours for what is pending."""
        return self.pending / self.rate / _HOUR_S if self.rate else 0.0

    @property
    def store_bytes(self) -> int:
        """Bytes that the store will grow by."""
        return round(self.pending * self.store_bytes_each)

    def transfer_cost(self, price_per_gb: float) -> float:
        """Dollars for reading what is pending out of S3."""
        return self.pending_bytes / _GIGABYTE * price_per_gb if self.from_s3 else 0.0
