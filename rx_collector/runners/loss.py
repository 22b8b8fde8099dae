"""Upstream loss: the lines with which tools say that they lost events before anybody could read them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Final

from rx_collector.runners.spec import LossSpec, RunnerSpec

__all__ = ["LossFinder"]

#: What tools print, by the name of the program. Bytes that are in every such line come first: they are looked for before
#: the expression is, since most lines are none.
_KNOWN: Final[dict[str, tuple[tuple[bytes, str, str], ...]]] = {
    "bpftrace": (
        (b"lost_events", r'^\{"type": ?"lost_events", ?"data": ?\{"events": ?(?P<count>\d+)', "stdout"),
        (b"Lost ", r"^Lost (?P<count>\d+) events", "either"),
    ),
    "tcpdump": ((b" packets dropped by ", r"^(?P<count>\d+) packets dropped by (?:kernel|interface)", "stderr"),),
    "perf": (
        (b"LOST ", r"LOST (?P<count>\d+) events", "stderr"),
        (b" lost ", r"^Processed \d+ events and lost (?P<count>\d+) chunks", "stderr"),
    ),
}


class LossFinder:
    """Looks for reports of loss in what one runner prints."""

    def __init__(self, spec: RunnerSpec) -> None:
        self._stdout: list[tuple[bytes, re.Pattern[str]]] = []
        self._stderr: list[tuple[bytes, re.Pattern[str]]] = []
        if spec.lost is not None:
            for given in spec.lost:
                self._add(given, b"")
        else:
            # The program may stand behind others: sudo, stdbuf, timeout.
            programs = {os.path.basename(word) for word in (spec.command if isinstance(spec.command, tuple) else ())}
            for program in programs & _KNOWN.keys():
                for marker, line, on in _KNOWN[program]:
                    self._add(LossSpec(re.compile(line), on), marker)

    def _add(self, given: LossSpec, marker: bytes) -> None:
        if given.on in ("stdout", "either"):
            self._stdout.append((marker, given.line))
        if given.on in ("stderr", "either"):
            self._stderr.append((marker, given.line))

    @property
    def watches_stdout(self) -> bool:
        """Whether `in_lines` can find anything at all."""
        return bool(self._stdout)

    def in_lines(self, lines: Sequence[bytes]) -> int:
        """Give how many events some lines of standard output say are lost."""
        block = b"\n".join(lines)
        return sum(
            _count(pattern, line.decode("utf-8", "replace"))
            for marker, pattern in self._stdout
            if marker in block
            for line in lines
            if marker in line
        )

    def in_texts(self, texts: Sequence[str]) -> int:
        """Give how many events some lines of standard error say are lost."""
        return sum(_count(pattern, text) for _, pattern in self._stderr for text in texts)


def _count(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    if found is None:
        return 0
    try:
        return int(found["count"] or 0)
    except ValueError:
        return 0
