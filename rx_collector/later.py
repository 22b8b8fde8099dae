"""What is imported or compiled when it is first needed, where it may be needed for every event."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any, cast

__all__ = ["later", "pattern"]


@cache
def later(module: str, name: str) -> Any:
    """Give what a module has under a name. After the first time it costs a look into a dictionary, and no import.

    >>> later("math", "sqrt")(9)
    3.0
    """
    return getattr(import_module(module), name)


class _Pattern:
    """A regular expression that is compiled when something is first asked of it."""

    def __init__(self, text: str, flags: int) -> None:
        self._text = text
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__[name] = getattr(re.compile(self._text, self._flags), name)
        return found


def pattern(text: str, flags: int = 0) -> re.Pattern[str]:
    """Give what stands for a compiled regular expression until one of its methods is used.

    To compile one takes a tenth of a millisecond or more, and most runs have no use for most of them.

    >>> pattern("[0-9]+").findall("1 22")
    ['1', '22']
    """
    return cast("re.Pattern[str]", _Pattern(text, flags))
