"""Where a part of a file stands, for errors, dead letters and tests."""

from __future__ import annotations

from rx_collector.config.options import Scope

__all__ = ["place_of"]


def place_of(scope: Scope) -> str:
    """Give where a value stands, as file:line; nothing for values from Python."""
    if scope.document is None:
        return ""
    return scope.document.place_of(scope.path)
