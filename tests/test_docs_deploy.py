"""docs/deploy.md, typed: `clipsieve` on a real S3 server, `aws` against the descriptions of its services."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore import xform_name
from botocore.model import StructureShape

from tests.commands import typed
from tests.embedding import embed
from tests.pictures import picture_bytes
from tests.servers.moto_server import MotoServer

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
BUCKET = "my-photos"
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html, without white space
LONGEST = {"user": 2048, "group": 5120}

pytestmark = pytest.mark.parametrize("s3", ["moto"], indirect=True)


def commands(name: str) -> list[list[str]]:
    """Every command of this name on the page, in its order, each as words."""
    blocks = re.findall(r"^```\n(.*?)^```$", re.sub(r"^```\w+\n", "```\n", PAGE), flags=re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.split()[:1] == [name]]


def of_aws(words: list[str]) -> tuple[str, str, dict[str, str]]:
    """Service, operation and parameters of a command of the AWS CLI."""
    assert words[0] == "aws"
    options = words[3:]
    assert len(options) % 2 == 0, words
    assert all(name.startswith("--") for name in options[::2]), words
    return words[1], words[2], dict(zip((name[2:] for name in options[::2]), options[1::2], strict=True))


def shape_of(service: str, operation: str) -> StructureShape:
    """The parameters of an operation, which is named as the AWS CLI does."""
    model = botocore.session.get_session().get_service_model(service)
    (name,) = (name for name in model.operation_names if xform_name(name, "-") == operation)
    shape = model.operation_model(name).input_shape
    assert shape is not None, operation
    return shape


@pytest.mark.usefixtures("s3")
def test_every_aws_command_is_one() -> None:
    """Each `aws` command names an operation of its service, with parameters that it has and none missing."""
    asked = [of_aws(words) for words in commands("aws") if words[1] != "s3"]
    assert {service for service, _, _ in asked} == {"s3api", "iam"}
    for service, operation, parameters in asked:
        shape = shape_of({"s3api": "s3"}.get(service, service), operation)
        known = {xform_name(name, "-"): name for name in shape.members}
        given = {known[name] for name in parameters if name != "region"}
        assert set(shape.required_members) <= given, operation


def test_the_page_can_be_walked(s3: MotoServer, tiny_encoder: Path) -> None:
    """After the page's commands the kept images lie in the cleaned prefix, and after its last ones they are gone."""
    client: Any = s3.client()
    for service, operation, parameters in (of_aws(words) for words in commands("aws") if words[1] == "s3api"):
        assert service == "s3api"
        getattr(client, operation.replace("-", "_"))(**_arguments(operation, parameters))
    for number in range(12):
        client.put_object(Bucket=BUCKET, Key=f"train/{number}.jpg", Body=picture_bytes(number))
    embed(f"s3://{BUCKET}/train/", f"s3://{BUCKET}/store", tiny_encoder)
    try:
        for words in commands("clipsieve"):
            if words[1] == "undo" and "--yes" in words:
                assert held(client, "cleaned/train/") == held(client, "cleaned/manifests/", "kept.csv") != set()
            done = typed(*words[1:])
            assert done.exit_code == 0, (words, done.output)
        assert held(client, "cleaned/train/") == set()
    finally:
        _empty(client)


def held(client: Any, prefix: str, name: str | None = None) -> set[str]:  # noqa: ANN401  # boto3's
    """The names of the images below a prefix, or in the manifest of that name below it."""
    found = [item["Key"] for item in client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])]
    if name is None:
        return {Path(key).name for key in found}
    (manifest,) = (key for key in found if key.endswith(name))
    text = client.get_object(Bucket=BUCKET, Key=manifest)["Body"].read().decode()
    return set(re.findall(r"train/(\d+\.jpg)", text))


def _arguments(operation: str, parameters: dict[str, str]) -> dict[str, Any]:
    known = {xform_name(member, "-"): member for member in shape_of("s3", operation).members}
    values: dict[str, Any] = {}
    for option, value in parameters.items():
        if option == "region":
            continue
        if value.startswith("file://"):
            values[known[option]] = json.loads((ROOT / value.removeprefix("file://")).read_text(encoding="utf-8"))
        else:
            pairs = re.fullmatch(r"(\w+)=(\w+)", value)
            values[known[option]] = {pairs[1]: pairs[2]} if pairs else value
    return values


def _empty(client: Any) -> None:  # noqa: ANN401  # boto3's
    found = client.list_object_versions(Bucket=BUCKET)
    for one in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
        client.delete_object(Bucket=BUCKET, Key=one["Key"], VersionId=one["VersionId"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.mark.usefixtures("s3")
def test_the_policies_are_filled_in_and_short_enough() -> None:
    """The page's sed leaves no placeholder, and what it gives to a user or a group is not longer than it may be."""
    lengths = {"user": 0, "group": 0}
    (policies,) = re.findall(r"^for policy in (.*); do$", PAGE, flags=re.MULTILINE)
    for holder, names in {"user": ["embed"], "group": policies.split()}.items():
        for name in names:
            words = ["sed", "-f", "deploy/iam/names.sed", f"deploy/iam/{name}.json"]
            filled = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout
            assert not re.search(r"[A-Z]+-(BUCKET|PREFIX)", filled)
            lengths[holder] += len(json.dumps(json.loads(filled), separators=(",", ":")))
    assert all(lengths[holder] < LONGEST[holder] for holder in LONGEST)


@pytest.mark.usefixtures("s3")
def test_what_the_page_names_is_there() -> None:
    """Every file that the page links to, or that its commands read, is there; so is a policy for each that it names."""
    linked = {ROOT / "docs" / path for path in re.findall(r"\]\((?!http)([^)#]+)\)", PAGE)}
    read = {ROOT / path for path in re.findall(r"(?:file://|@|--file )(deploy/[\w./-]+)", PAGE)}
    assert [str(path) for path in linked | read if not path.exists()] == []
    assert {Path(path).stem for path in re.findall(r"deploy/iam/(\w+\.json)\)", PAGE)} == {
        path.stem for path in (ROOT / "deploy" / "iam").glob("*.json")
    }
    assert os.access(ROOT / "deploy" / "Dockerfile", os.R_OK)
