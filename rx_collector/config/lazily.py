"""Packages whose public names are imported when they are first used, so that a run imports only what its file names."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["lazily"]


class _Package(ModuleType):
    """Gives a name out of the module that has it. A module that bears such a name itself does not get in its way.

    Python puts each module that is imported into its package: ``rx_collector.operators.filter``, say, which has to stay the
    function that makes the operator, not the module that has its class.
    """

    _where: Mapping[str, str]

    def __getattr__(self, name: str) -> Any:
        if (module := self.__dict__["_where"].get(name)) is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = self.__dict__[name] = getattr(import_module(f"{self.__name__}.{module}"), name)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self._where):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._where})


def lazily(package: str, where: Mapping[str, str]) -> None:
    """Let a package import names when they are first used: `where` gives for each of its modules those that it has.

    >>> lazily("rx_collector.config", {"place": "place_of"})
    >>> from rx_collector.config import place_of
    >>> place_of.__module__
    'rx_collector.config.place'
    """
    module = sys.modules[package]
    module.__dict__["_where"] = {name: part for part, names in where.items() for name in names.split()}
    module.__class__ = _Package
