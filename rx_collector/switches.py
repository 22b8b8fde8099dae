"""Switches that turn fast paths off, to find out whether one of them is to blame, and to test that none of them shows.

``RX_COLLECTOR_WITHOUT=edits,projection`` in the environment turns these two off:

    projection   decoding the fields that filters read ahead of the rest of a line
    edits        editing lines of JSON without decoding them
    absorbing    windows that take events in within the loop before them
    layouts      learning how lines of JSON are laid out, to edit many of their fields without decoding them
    skipping     leaving out lines before they are parsed, a read at a time (with `check: touched`)
    splitting    looking for the ends of long lines without looking at each byte
    endings      leaving the newline at lines of which no event is made
    reads        larger pipes, and no read after one that left nothing to be read
    counting     counting what passes a filter, and looking the numbers of lines up, where few events pass
    gathering    long lines that the kernel gathers (writev), instead of joining them first
    pacing       letting a millisecond of events come first while many do, before a sink is given them
    workers      processes that share the first stages of a pipeline
    few          doing a few lines of a pipeline with workers in the collector, while its workers have nothing to do
"""

from __future__ import annotations

import os
from typing import Final

__all__ = ["SWITCHES", "is_on", "unknown"]

SWITCHES: Final = (
    "absorbing",
    "counting",
    "edits",
    "endings",
    "few",
    "gathering",
    "layouts",
    "pacing",
    "projection",
    "reads",
    "skipping",
    "splitting",
    "workers",
)
_off: Final = frozenset(os.environ.get("RX_COLLECTOR_WITHOUT", "").replace(",", " ").split())


def is_on(switch: str) -> bool:
    """Tell whether a fast path may be used."""
    return switch not in _off


def unknown() -> list[str]:
    """Give the names in the environment that are no switches."""
    return sorted(_off - set(SWITCHES))
