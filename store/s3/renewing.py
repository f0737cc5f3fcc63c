"""Credentials that expire while a job runs: a profile's are looked up again, as they are by then.

botocore renews by itself what it was told the end of (roles, SSO); keys and a token that somebody puts into a file anew
it reads once.
"""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from store.s3.errors import EXPIRED

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_SIGNED_WITH, _ASKED_AGAIN = "clipsieve_signed_with", "clipsieve_asked_again"
_EXPLICIT = "explicit"
"""How botocore calls what a program has handed over itself: nobody else may say what follows."""


def renew_expired(client: "S3Client", look_up: Callable[[], Credentials | None]) -> None:
    """Let a client that is told that its credentials have expired look them up, and ask once more."""
    renewal, events = _Renewal(client, look_up), client.meta.events
    events.register("request-created.s3", renewal.note)
    events.register("needs-retry.s3", renewal.again)  # type: ignore[arg-type]  # here an answer is taken


class _Renewal:
    def __init__(self, client: "S3Client", look_up: Callable[[], Credentials | None]) -> None:
        inside: Any = client  # which takes other credentials from nobody
        self._signer = inside._request_signer  # noqa: SLF001
        self._look_up, self._lock = look_up, threading.Lock()

    def note(self, request: AWSRequest, **_: Any) -> None:
        request.context[_SIGNED_WITH] = self._signer._credentials  # noqa: SLF001  # as above

    def again(self, response: Any, request_dict: dict[str, Any], **_: Any) -> int | None:  # noqa: ANN401  # botocore's
        """Return 0 seconds until the request is made again; None where that would not help."""
        context = request_dict["context"]
        if response is None or response[1].get("Error", {}).get("Code") not in EXPIRED or context.get(_ASKED_AGAIN):
            return None
        context[_ASKED_AGAIN] = True
        with self._lock:
            held = self._signer._credentials  # noqa: SLF001  # as above
            if held is not context.get(_SIGNED_WITH):
                return 0  # another thread has met the end of them first
            if held is None or held.method == _EXPLICIT or (found := self._look_up()) is None:
                return None
            self._signer._credentials = found  # noqa: SLF001  # as above
            return 0
