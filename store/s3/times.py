"""Times as services write them."""

import contextlib
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.utils import parse_timestamp


def time_of(text: Any) -> datetime:  # noqa: ANN401  # what a service says
    """Return the time that an answer names: ISO 8601 in a listing, RFC 9110 in a header, else as botocore reads it."""
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        with contextlib.suppress(AttributeError, TypeError, ValueError):  # the first two where it is a number
            if (time := read(text)).tzinfo is not None:
                return time
    return parse_timestamp(text)
