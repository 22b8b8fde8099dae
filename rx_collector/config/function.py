"""The kind of option that names a Python function."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

from rx_collector.config.options import Kind, Scope, plainly

__all__ = ["FUNCTION"]


class _FunctionKind(Kind):
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


FUNCTION: Final = _FunctionKind()
