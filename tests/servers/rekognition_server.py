"""A stand-in for Amazon Rekognition at the edge of the network: its protocol, its limits, its errors, and no model.

What it "sees" follows from the pixels that it was sent, so that a test can tell whether an answer is about the right
image: a person as sure as the picture is red, a face as sure as it is green, covered where it is more blue than red.

https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectLabels.html
https://docs.aws.amazon.com/rekognition/latest/APIReference/API_DetectFaces.html
https://docs.aws.amazon.com/rekognition/latest/dg/error-handling.html
"""

import base64
import io
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from PIL import Image, ImageStat

from tests.servers.actions import Permission
from tests.servers.moto_server import MotoServer
from tests.servers.quiet_http import QuietHTTPServer

MAX_BYTES, MAX_STORED_BYTES = 5_242_880, 15_000_000
BOX = {"Left": 0.25, "Top": -0.125, "Width": 0.5, "Height": 1.0}


class Refusal(Exception):
    """An error of the service: HTTP status, the exception's name, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep them."""
        super().__init__(message)
        self.status, self.code = status, code


class Asked(NamedTuple):
    """One request: the operation, and the parameters with the image's bytes left out."""

    operation: str
    parameters: dict[str, Any]
    sent_bytes: int  # 0 where an object was named


Fault = Callable[[str, int], Refusal | None]
"""From the operation and the number of the request, from 1, to the error that it meets, or None."""


@dataclass
class RekognitionServer:
    """A running stand-in: put functions into `faults`, read `asked`."""

    endpoint_url: str
    s3: MotoServer  # whose credentials it shares, and whose objects it reads
    region: str
    faults: list[Fault] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return what the service answers; raise Refusal."""
        image = parameters["Image"]
        data = base64.b64decode(image["Bytes"]) if "Bytes" in image else b""
        shown = {**parameters, "Image": {name: value for name, value in image.items() if name != "Bytes"}}
        with self.lock:
            self.asked.append(Asked(operation, shown, len(data)))
            number = len(self.asked)
        wanted = Permission(f"rekognition:{operation}", "*")
        self.s3.needed.append(wanted)
        if not all(policy.allows(wanted) for policy in self.s3.policies):
            raise Refusal(400, "AccessDeniedException", f"User is not authorized to perform: {wanted.action}")
        for fault in self.faults:
            if refusal := fault(operation, number):
                raise refusal
        red, green, blue = _mean_colours(
            data or self._stored(image["S3Object"]), MAX_BYTES if data else MAX_STORED_BYTES
        )
        return {"DetectLabels": _labels, "DetectFaces": _faces}[operation](red, green, blue)

    def _stored(self, named: Mapping[str, str]) -> bytes:
        try:
            body = self.s3.client().get_object(Bucket=named["Bucket"], Key=named["Name"])["Body"]
        except ClientError as error:
            message = "Unable to get object metadata from S3. Check object key, region and/or access permissions."
            raise Refusal(400, "InvalidS3ObjectException", message) from error
        return body.read()


def _mean_colours(data: bytes, max_bytes: int) -> tuple[float, float, float]:
    """Return the mean of each colour in percent, of an image within the service's limits."""
    if len(data) > max_bytes:
        raise Refusal(400, "ImageTooLargeException", "Image size is too large.")
    if not data.startswith((b"\xff\xd8\xff", b"\x89PNG")):
        raise Refusal(400, "InvalidImageFormatException", "Request has invalid image format")
    image = Image.open(io.BytesIO(data))
    if min(image.size) < 80 or max(image.size) > 10_000:
        raise Refusal(400, "InvalidParameterException", "Request has invalid image dimensions")
    red, green, blue = ImageStat.Stat(image.convert("RGB")).mean
    return red / 2.55, green / 2.55, blue / 2.55


def _labels(red: float, _green: float, _blue: float) -> dict[str, Any]:
    person = {"Name": "Person", "Confidence": red, "Instances": [{"BoundingBox": BOX, "Confidence": red}]}
    return {"Labels": [person] if red >= 1 else [], "LabelModelVersion": "3.0"}


def _faces(red: float, green: float, blue: float) -> dict[str, Any]:
    face = {
        "BoundingBox": BOX,
        "Confidence": green,
        "FaceOccluded": {"Value": blue > red, "Confidence": 99.0},
        "Sunglasses": {"Value": False, "Confidence": 98.0},
    }
    return {"FaceDetails": [face] if green >= 1 else []}


class _Handler(BaseHTTPRequestHandler):
    server_state: RekognitionServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            _verify(self, body, self.server_state)
            self._send(200, self.server_state.answer(_operation(self), json.loads(body)))
        except Refusal as refusal:
            self._send(refusal.status, {"__type": refusal.code, "Message": str(refusal)})

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def _operation(handler: BaseHTTPRequestHandler) -> str:
    service, _, operation = handler.headers["X-Amz-Target"].partition(".")
    if service != "RekognitionService" or handler.headers["Content-Type"] != "application/x-amz-json-1.1":
        raise Refusal(400, "UnknownOperationException", "Not a request to Rekognition")
    return operation


def _verify(handler: BaseHTTPRequestHandler, body: bytes, server: RekognitionServer) -> None:
    """Raise Refusal unless the request carries a valid signature, version 4, for this service and region."""
    authorization = handler.headers.get("Authorization", "")
    claim = dict(re.findall(r"(\w+)=([^,\s]+)", authorization))
    if not authorization.startswith("AWS4-HMAC-SHA256") or not claim.get("Signature"):
        raise Refusal(400, "MissingAuthenticationTokenException", "Request is missing Authentication Token")
    access_key, _, scope = claim["Credential"].partition("/")
    if access_key != server.s3.access_key:
        raise Refusal(400, "UnrecognizedClientException", "The security token included in the request is invalid.")
    stamp = handler.headers["X-Amz-Date"]
    signed = {name: handler.headers[name] for name in claim["SignedHeaders"].split(";")}
    request = AWSRequest("POST", f"http://{handler.headers['Host']}/", headers=signed, data=body)
    request.context["timestamp"] = stamp
    signer = SigV4Auth(Credentials(server.s3.access_key, server.s3.secret_key), "rekognition", server.region)
    expected = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    if scope != f"{stamp[:8]}/{server.region}/rekognition/aws4_request" or expected != claim["Signature"]:
        message = "The request signature we calculated does not match the signature you provided."
        raise Refusal(400, "InvalidSignatureException", message)


@contextmanager
def rekognition_server(s3: MotoServer, region: str | None = None) -> Iterator[RekognitionServer]:
    """Run the stand-in on a free port of this machine until the block ends, in the region of `s3` or in another."""
    handler = type("Handler", (_Handler,), {})
    http = QuietHTTPServer(("127.0.0.1", 0), handler)
    state = RekognitionServer(f"http://127.0.0.1:{http.server_port}", s3, region or s3.region)
    handler.server_state = state  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
