"""What a base install must do: `python tests/smoke_base_install.py VENV/bin/python`.

The environment holds the wheel without extras and without dev dependencies. This script runs in another one, needs only
the standard library, and works from an empty folder, so that nothing comes from the source tree. It exits with 0, or
with the first sentence that does not hold.
"""

import re
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable
from pathlib import Path

TIMEOUT_S = 60


def help_answers(python: Path, folder: Path) -> None:
    """`--help` names the first command and `--version` the installed version."""
    asked = _clipsieve(python, folder, "--help")
    _hold("--help must answer", asked, asked.returncode == 0, "embed" in asked.stdout, not asked.stderr)
    version = _python(python, folder, "from importlib.metadata import version; print(version('clipsieve'))").stdout
    asked = _clipsieve(python, folder, "--version")
    _hold("--version must name the version", asked, asked.returncode == 0, version.strip() in asked.stdout)


def every_command_has_help(python: Path, folder: Path) -> None:
    """Each command that `--help` lists explains itself without an extra."""
    asked = _clipsieve(python, folder, "--help")
    commands = re.findall(r"^  ([a-z][a-z-]*) {2,}\S", asked.stdout, flags=re.MULTILINE)
    _hold("--help must list the commands", asked, commands)
    for command in commands:
        asked = _clipsieve(python, folder, command, "--help")
        _hold(f"`{command} --help` must answer without an extra", asked, asked.returncode == 0)


def rooms_arrive_whole(python: Path, folder: Path) -> None:
    """The module imports, and the wheel brought the queries and the type markers along."""
    code = (
        "import clipsieve, importlib.resources as r\n"
        "import sql; assert 'one row' in sql.load('rules/sweep_grid'), 'no .sql files'\n"
        "for room in ('embed', 'query', 'store', 'sql'):\n"
        "    assert r.files(room).joinpath('py.typed').is_file(), room + ' has no py.typed'\n"
    )
    asked = _python(python, folder, code)
    _hold("`import clipsieve` must work and the wheel must hold its data files", asked, asked.returncode == 0)


def extras_are_absent(python: Path, folder: Path) -> None:
    """Neither pass 1's libraries nor the development tools came along."""
    code = (
        "from importlib.util import find_spec\n"
        "print(*(n for n in ('torch', 'torchvision', 'open_clip', 'PIL', 'pytest', 'moto', 'mypy') if find_spec(n)))"
    )
    asked = _python(python, folder, code)
    _hold("a base install must bring none of these", asked, asked.returncode == 0, not asked.stdout.split())


def missing_store_is_one_line(python: Path, folder: Path) -> None:
    """`status` of a folder that does not exist is one clear line on stderr and exit code 1."""
    asked = _clipsieve(python, folder, "status", str(folder / "nothing-here"))
    sentence = "`status` without a store must end with exit code 1 and one line that names the place"
    one_line = len(asked.stderr.splitlines()) == 1 and not asked.stdout
    _hold(sentence, asked, asked.returncode == 1, one_line, "nothing-here" in asked.stderr)


def embed_names_its_extra(python: Path, folder: Path) -> None:
    """`embed` without its extra says which one to install, with exit code 2 and no traceback."""
    (folder / "images").mkdir()
    words = ["embed", "images", "--store", "kept", "--encoder", "RN50", "--random-weights"]
    asked = _clipsieve(python, folder, *words)
    sentence = "`embed` without its extra must name clipsieve[embed] and end with exit code 2"
    clear = "clipsieve[embed]" in asked.stderr and "Traceback" not in asked.stderr
    _hold(sentence, asked, asked.returncode == 2, clear)


def vectors_come_in_without_an_extra(python: Path, folder: Path) -> None:
    """Vectors from elsewhere are imported and checked without an extra."""
    (folder / "in").mkdir()
    (folder / "in" / "v.csv").write_text("url\nhttps://example.org/a.jpg\nhttps://example.org/b.jpg\n")
    (folder / "in" / "v.bin").write_bytes(array("f", [1, 0, 0, 1]).tobytes())
    asked = _clipsieve(python, folder, "import", "in", "--store", "kept", "--encoder", "Tiny/elsewhere", "--dim", "2")
    _hold("`import` must work without an extra", asked, asked.returncode == 0, "Imported 2 images" in asked.stdout)
    asked = _clipsieve(python, folder, "verify", "kept")
    _hold("what was imported must be sound", asked, asked.returncode == 0, "2 embeddings" in asked.stdout)


def asking_needs_no_extra(python: Path, folder: Path) -> None:
    """Search by an image of the store, the cookbook and the catalog work without an extra; a new text names it."""
    (folder / "v.csv").write_text("url\nhttps://example.org/a.jpg\nhttps://example.org/b.jpg\n")
    (folder / "v.bin").write_bytes(array("f", [1, 0, 0, 1]).tobytes())
    _clipsieve(python, folder, "import", ".", "--store", "kept", "--encoder", "Tiny/elsewhere", "--dim", "2")
    asked = _clipsieve(python, folder, "search", "kept", "--image", "https://example.org/a.jpg", "--html", "s.html")
    found = asked.returncode == 0 and (folder / "s.html").is_file()
    _hold("`search` by an image of the store must work without an extra", asked, found, "b.jpg" in asked.stdout)
    asked = _clipsieve(python, folder, "search", "kept", "a dog")
    named = asked.returncode == 2 and "clipsieve[embed]" in asked.stderr and "Traceback" not in asked.stderr
    _hold("`search` by a new text must name clipsieve[embed] and end with exit code 2", asked, named)
    asked = _clipsieve(
        python, folder, "sql", "kept", "--cookbook", "similar_to_image", "--set", "uri=https://example.org/a.jpg"
    )
    _hold("the cookbook must work without an extra", asked, asked.returncode == 0, "b.jpg" in asked.stdout)
    asked = _clipsieve(python, folder, "catalog", "kept")
    _hold("`catalog` must work without an extra", asked, asked.returncode == 0, (folder / "kept.duckdb").is_file())


def demo_names_its_extra(python: Path, folder: Path) -> None:
    """`demo` without its extra says which one to install, with exit code 2 and no traceback."""
    asked = _clipsieve(python, folder, "demo", "shown")
    clear = "clipsieve[demo]" in asked.stderr and "Traceback" not in asked.stderr
    _hold(
        "`demo` without its extra must name clipsieve[demo] and end with exit code 2",
        asked,
        asked.returncode == 2,
        clear,
    )


CHECKS: list[Callable[[Path, Path], None]] = [
    rooms_arrive_whole,
    extras_are_absent,
    help_answers,
    every_command_has_help,
    missing_store_is_one_line,
    embed_names_its_extra,
    vectors_come_in_without_an_extra,
    asking_needs_no_extra,
    demo_names_its_extra,
]


def _clipsieve(python: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return _run(folder, str(python.with_name("clipsieve")), *words)


def _python(python: Path, folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    return _run(folder, str(python), "-I", "-c", code)


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def _hold(sentence: str, asked: subprocess.CompletedProcess[str], *conditions: object) -> None:
    if not all(conditions):
        words = " ".join(asked.args)
        sys.exit(f"{sentence}:\n$ {words}\nexit code {asked.returncode}\n{asked.stdout}{asked.stderr}")


if __name__ == "__main__":
    # The path is made absolute but never resolved: the link to the interpreter is what makes it this environment's.
    base_python = Path(sys.argv[1]).absolute()
    for check in CHECKS:
        with tempfile.TemporaryDirectory() as empty:
            check(base_python, Path(empty))
        sys.stdout.write(f"ok: {check.__doc__}\n")
