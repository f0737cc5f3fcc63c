"""How a member of a tar is named: `tar://MEMBER::TAR`, as fsspec and Hugging Face's datasets do.

`fsspec.open(uri)` opens such a URI: https://filesystem-spec.readthedocs.io/en/latest/features.html#url-chaining
"""

import re

MEMBER_PATTERN = r"(?s)^tar://(?P<member>.*?)::(?P<tar>(?:s3|file)://.*)$"
"""What such a URI is, also for Arrow's RE2."""

_MEMBER = re.compile(MEMBER_PATTERN)


def member_uri(tar: str, member: str) -> str:
    """Return the URI of a member."""
    return f"tar://{member}::{tar}"


def member_of(uri: str) -> tuple[str, str | None]:
    """Return the tar and the member that a URI names; the URI itself and None where it names no member."""
    found = _MEMBER.fullmatch(uri)
    return (found[2], found[1]) if found else (uri, None)
