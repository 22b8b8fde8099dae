"""Chance for what many runners would otherwise do at the same moment."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["Jitter"]


class Jitter:
    """Numbers that need not be unpredictable, only unlike those of the neighbours: seeded by the runner and the host."""

    def __init__(self, name: str) -> None:
        self._seed = f"{name}@{os.uname().nodename}"

    def between(self, low: float, high: float) -> float:
        """Give a number between these two."""
        return self._random.uniform(low, high)

    @cached_property
    def _random(self) -> Random:
        from random import Random  # few runs need it

        return Random(self._seed)
