"""Where components are found by name. A component registers itself where it is declared, and nowhere else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

from rx_collector.config.options import Spec

__all__ = ["Registry", "import_all"]


T = TypeVar("T", bound=Spec)


class Registry(Generic[T]):
    """The components of one sort, by name."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self._components: dict[str, type[T]] = {}

    def add(self, name: str, component: type[T]) -> None:
        """Take a component in. A name taken twice is a bug of the component's author: both modules are named."""
        if (other := self._components.get(name)) is not None:
            raise RuntimeError(
                f"two {self.sort}s are named {name!r}: {other.__module__}.{other.__qualname__} "
                f"and {component.__module__}.{component.__qualname__}"
            )
        self._components[name] = component

    def get(self, name: str) -> type[T] | None:
        """Give the component of this name, or None."""
        return self._components.get(name)

    def __getitem__(self, name: str) -> type[T]:
        return self._components[name]

    def __contains__(self, name: object) -> bool:
        return name in self._components

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._components))


def import_all(package: str, path: list[str]) -> None:
    """Import every module of a package, so that the components in it register themselves."""
    for module in pkgutil.iter_modules(path):
        if not module.name.startswith("_"):
            importlib.import_module(f"{package}.{module.name}")
