"""A library that another one imports in case it is needed is loaded when it is, and is then the library itself."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embed.encoders.late import loaded_late

LIBRARY = "heavy_library"
IMPORTER = f"""
from typing import Optional

try:
    import {LIBRARY}
    from {LIBRARY}.inner import Base, double
except ImportError:
    {LIBRARY} = Base = None

def accept(one: Optional[Base] = None) -> bool:
    return isinstance(one, Base)

def half(number):
    return {LIBRARY}.inner.half(number)
"""


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with a module in it, and a module that imports both where it can; neither is loaded."""
    package = tmp_path / LIBRARY
    package.mkdir()
    (package / "__init__.py").write_text(f"from {LIBRARY} import inner\n")
    (package / "inner.py").write_text(
        "class Base:\n    kind = 'base'\ndef double(number): return 2 * number\ndef half(number): return number / 2\n"
    )
    (tmp_path / "importer.py").write_text(IMPORTER)
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] in {LIBRARY, "importer"}]:
        del sys.modules[name]


def test_an_import_alone_loads_nothing(libraries: Path) -> None:
    """Names are bound and annotated with, and the library is not loaded; afterwards an import loads it as ever."""
    with loaded_late(LIBRARY):
        importlib.import_module("importer")
    assert not [name for name in sys.modules if name.partition(".")[0] == LIBRARY]
    assert not [finder for finder in sys.meta_path if type(finder).__module__ == "embed.encoders.late"]
    assert importlib.import_module(f"{LIBRARY}.inner").half(3) == 1.5


def test_what_is_used_is_the_library(libraries: Path) -> None:
    """Called, looked into, compared with and inherited from, a stand-in does what the library's own name does."""
    with loaded_late(LIBRARY):
        importer = importlib.import_module("importer")
    assert importer.double(4) == 8
    assert importer.half(4) == 2
    assert importer.Base.kind == "base"
    real = importlib.import_module(f"{LIBRARY}.inner").Base
    assert importer.accept(real())
    assert not importer.accept(object())
    derived = type("Derived", (real,), {})
    assert importer.accept(derived())

    class Heir(importer.Base):  # type: ignore[name-defined,misc]
        pass

    assert Heir.__mro__[1] is real


def test_use_in_the_middle_of_an_import_loads_the_library(libraries: Path, tmp_path: Path) -> None:
    """A module that inherits from a library's class, or calls it, while it is imported has the real one at once."""
    (tmp_path / "importer.py").write_text(f"from {LIBRARY}.inner import Base\nclass Heir(Base): pass\n")
    with loaded_late(LIBRARY):
        importer = importlib.import_module("importer")
        assert importer.Heir.__mro__[1] is importlib.import_module(f"{LIBRARY}.inner").Base


def test_absent_libraries_stay_absent(libraries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who imports a library that is not installed, or is forbidden, is told so."""
    monkeypatch.setitem(sys.modules, LIBRARY, None)
    with loaded_late(LIBRARY, "no_such_library"):
        assert importlib.import_module("importer").heavy_library is None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("no_such_library")


def test_loaded_libraries_stay_as_they_are(libraries: Path) -> None:
    """A library that is loaded already is given to who imports it."""
    real = importlib.import_module(LIBRARY)
    with loaded_late(LIBRARY):
        assert importlib.import_module("importer").heavy_library is real


def test_a_module_of_a_loaded_package_comes_late_too(libraries: Path) -> None:
    """A stand-in for `a.b` leaves nothing behind in `a`, which is the real one."""
    (libraries / "__init__.py").write_text("")
    package = importlib.import_module(LIBRARY)
    with loaded_late(f"{LIBRARY}.inner"):
        importer = importlib.import_module("importer")
    assert not hasattr(package, "inner")
    assert importer.double(1) == 2
    assert package.inner.double(1) == 2


def test_a_failed_import_leaves_no_stand_in(libraries: Path, tmp_path: Path) -> None:
    """Where the import fails for another reason, no later one finds a stand-in."""
    (tmp_path / "importer.py").write_text(IMPORTER + "\nraise OSError\n")
    with pytest.raises(OSError), loaded_late(LIBRARY):  # noqa: PT011  # it is our own
        importlib.import_module("importer")
    assert LIBRARY not in sys.modules
