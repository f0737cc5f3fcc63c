"""The pod: its image, its start and its template, as far as they can be tried without Docker and without Runpod."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.servers.quiet_http import QuietHTTPServer

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
# https://docs.runpod.io/api-reference-v2/templates/create-a-template
TEMPLATE_FIELDS = {
    *("name", "image", "args", "disk", "ports", "env", "registry", "mounts"),
    *("serverless", "public", "category"),
}
SECRET = re.compile(r"secret|password|token|_key", re.IGNORECASE)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each with its words on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]  # type: ignore[misc]


def test_the_image_is_small_and_runs_as_nobody_special() -> None:
    """The image starts from a CUDA base, installs what is pinned, and ends as a user that is not root."""
    stages = [words for name, words in instructions() if name == "FROM"]
    assert all(re.match(r"nvidia/cuda:[\d.]+-base-ubuntu[\d.]+( AS build)?$", words) for words in stages)
    assert len({words.split()[0] for words in stages}) == 1
    last = instructions()[[name for name, _ in instructions()].index("FROM", 1) :]
    assert [words for name, words in last if name == "USER"] == ["clipsieve"]
    assert [name for name, _ in last].index("USER") < [name for name, _ in last].index("ENTRYPOINT")
    assert "pip install --no-cache-dir -c constraints.txt '.[embed]'" in DOCKERFILE
    assert not any("pip" in words for name, words in last if name == "RUN")


def test_the_image_has_what_options_of_the_gpu_need() -> None:
    """The last stage holds a C compiler and Python's headers for Triton, and asks for the driver's JPEG engine."""
    last = instructions()[[name for name, _ in instructions()].index("FROM", 1) :]
    (installed,) = (words.split() for name, words in last if name == "RUN")
    assert {"gcc", "libc6-dev", "python3-dev"} <= set(installed)
    (variables,) = (dict(one.split("=", 1) for one in words.split()) for name, words in last if name == "ENV")
    assert set(variables["NVIDIA_DRIVER_CAPABILITIES"].split(",")) == {"compute", "utility", "video"}


def test_no_secret_can_get_into_a_layer() -> None:
    """No instruction sets or takes anything like a secret, and only named files are sent to the build."""
    assert not [
        words for name, words in instructions() if name in {"ARG", "ENV", "COPY", "ADD"} if SECRET.search(words)
    ]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert all((ROOT / rule.removeprefix("!")).exists() for rule in rules[1:] if rule.startswith("!"))


def test_the_wheel_can_be_built_from_what_is_sent(tmp_path: Path) -> None:
    """What .dockerignore lets through is enough to build the package, with every room and every query in it."""
    context = tmp_path / "context"
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if rule.startswith("!"):
            source, target = ROOT / rule[1:], context / rule[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
    words = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "dist")]
    subprocess.run(words, cwd=context, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("clipsieve-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"clipsieve.py", "embed/job.py", "query/session.py", "store/layout.py", "sql/rules/band.sql"} <= held


def test_the_template_is_one_that_runpod_takes() -> None:
    """The template has known fields alone, no secret but by reference, and words that the command understands."""
    template = json.loads((DEPLOY / "runpod.json").read_text(encoding="utf-8"))
    assert {"name", "image"} <= template.keys() <= TEMPLATE_FIELDS
    assert template["category"] == "NVIDIA"
    assert template["disk"] >= 1
    for name, value in template["env"].items():
        assert not SECRET.search(name) or re.fullmatch(r"\{\{ RUNPOD_SECRET_\w+ \}\}", value), name
    from embed.cli import embed

    context = embed.make_context("embed", template["args"].split()[1:])
    assert (template["args"].split()[0], context.params["store"]) == ("embed", "s3://STORE-BUCKET/STORE-PREFIX")


@pytest.fixture
def runpod() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """A stand-in for Runpod's interface: its address, and what it was asked: method, path and authorization."""
    asked: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_DELETE(self) -> None:
            asked.append((self.command, self.path, self.headers["Authorization"]))
            self.send_response(204 if self.path.endswith("/pods/ours") else 404)
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

    server = QuietHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v2", asked
    server.shutdown()
    server.server_close()
    thread.join()


def start(*words: str, **variables: str) -> subprocess.Popen[str]:
    """Start a pod's first process."""
    command = [sys.executable, str(DEPLOY / "pod.py"), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, **variables})


def test_a_pod_that_is_done_deletes_itself(runpod: tuple[str, list[tuple[str, str, str]]]) -> None:
    """Where the command ends well, the pod asks once to be deleted, with its own key, and ends."""
    url, asked = runpod
    pod = start("--version", RUNPOD_POD_ID="ours", RUNPOD_API_KEY="its-own-key", CLIPSIEVE_RUNPOD_API=url)
    output, _ = pod.communicate(timeout=60)
    assert (pod.returncode, "its-own-key" in output) == (0, False)
    assert asked == [("DELETE", "/v2/pods/ours", "Bearer its-own-key")]


@pytest.mark.parametrize(
    ("words", "variables", "code"),
    [
        (("nonsense",), {"RUNPOD_POD_ID": "ours"}, 2),
        (("--version",), {"RUNPOD_POD_ID": "ours", "CLIPSIEVE_KEEP_POD": "1"}, 0),
        (("--version",), {"RUNPOD_POD_ID": "another"}, 0),
    ],
    ids=["failed", "to be kept", "not deleted"],
)
def test_a_pod_that_stays_says_so(
    runpod: tuple[str, list[tuple[str, str, str]]], words: tuple[str, ...], variables: dict[str, str], code: int
) -> None:
    """After a failure, where it is to be kept, or where Runpod refuses, the pod stays and says that it is billed."""
    url, _ = runpod
    with start(*words, **variables, RUNPOD_API_KEY="its-own-key", CLIPSIEVE_RUNPOD_API=url) as pod:
        assert pod.stdout is not None
        said = next(line for line in pod.stdout if line.startswith("clipsieve has ended"))
        assert said.startswith(
            f"clipsieve has ended with {code}. The pod {variables['RUNPOD_POD_ID']} stays, and is billed"
        )
        pod.send_signal(signal.SIGTERM)
        assert pod.wait(timeout=60) == code


def test_elsewhere_it_is_the_command_alone() -> None:
    """Without Runpod's variables the container ends as its command does."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RUNPOD_")}
    done = subprocess.run(
        [sys.executable, str(DEPLOY / "pod.py"), "nonsense"], check=False, capture_output=True, cwd=ROOT, env=variables
    )
    assert done.returncode == 2
