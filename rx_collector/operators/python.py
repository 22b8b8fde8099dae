"""python: an operator written in Python, named in YAML."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from typing import Any, ClassVar

import reactivex

from rx_collector.config.options import Kind, Scope, option, plainly
from rx_collector.stream.eventstream import EventStream
from rx_collector.stream.operator import Operator, operator

__all__ = ["Python"]


class _Named(Kind):
    """``package.module:function``, or the callable itself in Python."""

    wanted = "package.module:function"

    def convert(self, value: Any, scope: Scope) -> Any:
        if callable(value):
            return value
        if not isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here, not {plainly(value)}")
        module, colon, name = value.partition(":")
        if not colon or not module or not name:
            return scope.wrong(f"{value!r} names no function; write package.module:function")
        if scope.directory is not None and scope.directory not in sys.path:
            sys.path.append(scope.directory)  # a module may lie beside the file that names it
        try:
            found = importlib.import_module(module)
        except Exception as error:  # whatever the user's module does when it is imported is the user's mistake
            return scope.wrong(f"module {module!r} cannot be imported: {type(error).__name__}: {error}")
        function = getattr(found, name, None)
        if function is None:
            return scope.wrong(f"module {module!r} has no {name!r}")
        return function if callable(function) else scope.wrong(f"{value!r} cannot be called")

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[^:]+:[^:]+$"}


@operator("python", summary="An operator written in Python.", example="python: mypackage.pipes:busy")
@dataclass(frozen=True)
class Python(Operator):
    """An operator written in Python: a function that takes a stream and gives one.

    Any value made by `rx_collector.operators` or `reactivex.operators` is such a function, and so is one that you write:
    ``def busy(stream): return stream.pipe(op.filter("cpu > 50"))``.
    """

    shorthand: ClassVar[str | None] = "function"

    function: Any = option(_Named(), "The function, as package.module:function.", example="mypackage.pipes:busy")

    def __call__(self, source: reactivex.Observable[Any]) -> EventStream:
        return EventStream.of(self.function(source))
