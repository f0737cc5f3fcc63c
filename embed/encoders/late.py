"""Libraries that another one imports in case they are needed: here they load when they are."""

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any


@contextmanager
def loaded_late(*names: str) -> Iterator[None]:
    """Give whoever imports one of `names` meanwhile stand-ins, which load the library when something is done with them.

    Afterwards an import finds the library itself. One that is loaded already, or is not installed, is left as it is.
    """
    window = _Window([name for name in names if name not in sys.modules and find_spec(name)])
    sys.meta_path.insert(0, window)
    try:
        yield
    finally:
        window.close()


class _Window(MetaPathFinder, Loader):
    """The time in which stand-ins are handed out; the first of them that is used ends it."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self.is_open = True

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002  # the protocol's
        late = any(fullname == name or fullname.startswith(f"{name}.") for name in self._names)
        return ModuleSpec(fullname, self, is_package=True) if late else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _LateModule(spec.name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: that is the point."""

    def close(self) -> None:
        """Leave no stand-in where an import or a parent module would find it."""
        if not self.is_open:
            return
        self.is_open = False
        sys.meta_path.remove(self)
        for name, module in list(sys.modules.items()):
            if isinstance(module, _LateModule) and module._window is self:  # noqa: SLF001  # our own class
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                if vars(sys.modules.get(parent, self)).get(child) is module:
                    delattr(sys.modules[parent], child)

    def real(self, module: str, name: str) -> Any:  # noqa: ANN401  # whatever it is
        self.close()
        return getattr(importlib.import_module(module), name)


class _LateModule(ModuleType):
    def __init__(self, name: str, window: _Window) -> None:
        super().__init__(name)
        self._window = window

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as above
        if name.startswith("__"):  # the import system asks for many of these
            raise AttributeError(name)
        if self._window.is_open:
            return _Late(self.__name__, name, self._window)
        return self._window.real(self.__name__, name)


class _Late:
    """Stands for one name of a library: its function or class, once it is called, inherited from or looked into."""

    def __init__(self, module: str, name: str, window: _Window) -> None:
        self._module, self._name, self._window = module, name, window

    def _real(self) -> Any:  # noqa: ANN401  # as above
        return self._window.real(self._module, self._name)

    def __call__(self, *given: Any, **words: Any) -> Any:  # noqa: ANN401  # as above
        return self._real()(*given, **words)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # as above
        if name.startswith("__"):  # `Optional[...]` in a signature asks for some of these
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._real())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type]:
        return (self._real(),)
