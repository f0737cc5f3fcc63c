"""Where each object of a manifest answers over HTTPS, and on request a URL that lets anybody read it for a time."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
from duckdb.func import PythonUDFType
from duckdb.sqltypes import VARCHAR

from sql import load
from store.errors import LocationError, UsageError
from store.s3.options import S3Options

if TYPE_CHECKING:
    from store.s3.addresses import Address, Signer

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Links:
    """The addresses of the buckets that a manifest names, and what signs for them, if anything does."""

    addresses: Mapping[str, "Address"]
    signer: "Signer | None" = None
    warnings: Sequence[str] = field(default_factory=tuple)
    notes: Sequence[str] = field(default_factory=tuple)  # what is less than it could be, and does no harm

    @classmethod
    def of(cls, buckets: Sequence[str], s3: S3Options, lasts: timedelta | None = None) -> "Links":
        """Ask where the buckets lie; with `lasts`, take the credentials that sign.

        Raise UsageError or LocationError where nothing can be signed.
        """
        if not buckets:
            if lasts is not None:
                raise UsageError("There is nothing to presign: no image lies in a bucket.", do="Leave out --presign.")
            return cls({})
        from store.s3.addresses import Signer, address_of  # noqa: PLC0415  # boto3, which files do without

        signer = Signer.of(s3, lasts) if lasts is not None else None
        found = {bucket: address_of(bucket, s3) for bucket in buckets}
        unknown = [f"s3://{bucket}" for bucket, address in found.items() if address is None]
        if unknown and signer:
            raise LocationError(
                f"Cannot sign URLs: nobody says in which region {', '.join(unknown)} lies.",
                "A signature is for one region.",
                "Check the network and the credentials, or name it with --region.",
            )
        warnings = [signer.warning] if signer and signer.warning else []
        notes = [
            f"https_url is empty for {uri}: S3 could not be asked for its region. Check the network and the "
            "credentials, or name it with --region."
            for uri in unknown
        ]
        return cls({bucket: address for bucket, address in found.items() if address}, signer, warnings, notes)

    @property
    def parameters(self) -> dict[str, list[str]]:
        """Return what the queries of manifests call `$buckets` and `$bases`."""
        return {"buckets": list(self.addresses), "bases": [address.base for address in self.addresses.values()]}

    @property
    def signed(self) -> "Signer":
        """What signs; there is one where a time was given."""
        if self.signer is None:
            raise ValueError
        return self.signer

    def sign(self, connection: duckdb.DuckDBPyConnection, query: str, given: Mapping[str, Any]) -> None:
        """Fill the table `signed` with the rows of a query and a URL for each object of a bucket."""
        connection.execute(f"create or replace temp table unsigned as {query}", dict(given) or None)
        kind = PythonUDFType.ARROW
        connection.create_function("presign", self._presigned, [VARCHAR, VARCHAR], VARCHAR, type=kind)
        try:
            connection.execute(load("deliver/signed"), {"until": self.signed.until})
        finally:
            connection.remove_function("presign")

    def _presigned(self, buckets: pa.ChunkedArray, keys: pa.ChunkedArray) -> pa.Array:
        signer, addresses = self.signed, self.addresses
        pairs = zip(buckets.to_pylist(), keys.to_pylist(), strict=True)
        urls = [signer.sign(at.url(key), at.region) if (at := addresses.get(bucket)) else None for bucket, key in pairs]
        return pa.array(urls, pa.string())


def lasting(text: str) -> timedelta:
    """Return the time that a word like `7d`, `12h`, `30m` or `3600` means; raise UsageError for another word."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip().lower())
    if not found:
        raise UsageError(f"{text!r} is no length of time.", do="Write for example 7d, 12h or 30m.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])
