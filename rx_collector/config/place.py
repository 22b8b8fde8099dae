"""Where a part of a file stands, for errors, dead letters and tests."""

from __future__ import annotations

from rx_collector.config.options import Scope

__all__ = ["place_of"]


def place_of(scope: Scope) -> str:
    """Give where a value stands, as file:line; nothing for values from Python."""
    if scope.document is None:
        return ""
    place = scope.document.places.get(scope.path)
    return f"{scope.document.file}:{place.key_line}" if place is not None else scope.document.file
