"""What is imported when it is first needed, where it may be needed for every event."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

__all__ = ["later"]


@cache
def later(module: str, name: str) -> Any:
    """Give what a module has under a name. After the first time it costs a look into a dictionary, and no import.

    >>> later("math", "sqrt")(9)
    3.0
    """
    return getattr(import_module(module), name)
