"""Where components are found by name. A component registers itself where it is declared, and nowhere else.

To be found it has to be imported, and to import all of them takes most of the time in which a run starts. So one that is
asked for by name is looked for in the text of the modules, by the decorator with its name, and only its module is imported.
Whoever wants to know which there are, or asks for one that is not there, has all of them imported.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

from rx_collector.config.options import Spec

__all__ = ["Registry"]


T = TypeVar("T", bound=Spec)


class Registry(Generic[T]):
    """The components of one sort, by name. The decorator that declares one is named like the sort."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self._components: dict[str, type[T]] = {}
        self._package = ""
        self._path: Sequence[str] = ()
        self._modules: dict[str, str] | None = None  # by the name of the component, once they were looked through
        self._complete = True  # all that are in the package are imported

    def look_in(self, package: str, path: Sequence[str]) -> None:
        """Find components in the modules of a package, which is in these directories."""
        self._package, self._path, self._complete = package, path, False

    def add(self, name: str, component: type[T]) -> None:
        """Take a component in. A name taken twice is a bug of the component's author: both modules are named."""
        if not component.__module__.startswith(f"{self._package}."):
            self._import(name)
        if (other := self._components.get(name)) is not None:
            raise RuntimeError(
                f"two {self.sort}s are named {name!r}: {other.__module__}.{other.__qualname__} "
                f"and {component.__module__}.{component.__qualname__}"
            )
        self._components[name] = component

    def get(self, name: str) -> type[T] | None:
        """Give the component of this name, or None."""
        if name not in self._components and not self._complete:
            self._import(name)
            if name not in self._components:
                self._import_all()
        return self._components.get(name)

    def __getitem__(self, name: str) -> type[T]:
        if (component := self.get(name)) is None:
            raise KeyError(name)
        return component

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[str]:
        self._import_all()
        return iter(sorted(self._components))

    def _import(self, name: str) -> None:
        """Import the module that declares this component, if there is one."""
        if self._complete or name in self._components:
            return
        if self._modules is None:
            self._modules = dict(self._declared())
        if (module := self._modules.get(name)) is not None:
            importlib.import_module(f"{self._package}.{module}")

    def _declared(self) -> Iterator[tuple[str, str]]:
        """Give the names in the decorators of all modules, and the module of each; of what has no text there is nothing."""
        mark = f"\n@{self.sort}(".encode()
        for directory in self._path:
            if not os.path.isdir(directory):
                continue  # a package in an archive, whose modules are all imported then
            for file in os.listdir(directory):
                if not file.endswith(".py"):
                    continue
                with open(os.path.join(directory, file), "rb") as module:
                    _, *declarations = module.read().split(mark)
                for declaration in declarations:
                    _, quote, name = declaration[:200].partition(b'"')
                    if quote:
                        yield name.partition(b'"')[0].decode(errors="replace"), file.removesuffix(".py")

    def _import_all(self) -> None:
        """Import every module of the package, so that the components in it register themselves."""
        if not self._complete:
            for module in pkgutil.iter_modules(self._path):
                if not module.name.startswith("_"):
                    importlib.import_module(f"{self._package}.{module.name}")
            self._complete = True
