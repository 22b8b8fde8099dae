"""Lines that are left out before they are parsed, a read at a time: where a filter wants a text that is not in them.

A line without the text, and without a backslash with which the text could be written otherwise, is not looked at. What is
looked for is looked for in all that one read gave, from one place where it stands to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from rx_collector.event import Lines

__all__ = ["Skipper"]

_SAMPLE = 1 << 14  # bytes in which the rarest byte is looked for
_SELDOM = 4  # lines for each of which it may stand once where the text does not


class Skipper:
    """Looks for one text. For one thread; what it knows of how often a byte stands there costs nothing when it is wrong.

    `find` of one byte is thirty times as fast as that of a text. So the byte of the text that is rarest in the first lines
    is looked for, as long as it is found in few other places.
    """

    def __init__(self, text: bytes) -> None:
        """Make it for a text without a newline and a backslash."""
        self._text = text
        self._rarest: int | None = -1  # where in the text it is; -1 before the first lines, None when none is rare

    def chosen(self, batch: Lines) -> list[tuple[int, bytes]]:
        """Give the lines that may pass, with their newlines, and the number of each. The batch has `ended` ones."""
        text, lines, first = self._text, batch.ended or (), batch.first
        if batch.block is None:
            return [(n, line) for n, line in enumerate(lines, first) if line.find(text) >= 0 or line.find(b"\\") >= 0]
        block, start = batch.block
        end = block.rfind(b"\n") + 1
        place, escape = block.find(self._wanted(block), start, end), block.find(b"\\", start, end)
        found: list[int] = []
        if place >= 0 or escape >= 0:
            # Where each line begins in the block, and the last one ends; the first one may begin before it.
            begins = list(accumulate(map(len, lines), initial=start - len(lines[0])))
            found = self._found(place, block, begins)
            if escape >= 0:
                found = sorted({*found, *_lines_with(b"\\", escape, block, begins)})
        if lines[0].find(text) >= 0 or lines[0].find(b"\\") >= 0:
            found.insert(0, 0)
        return [(first + index, lines[index]) for index in found]

    def _wanted(self, block: bytes) -> bytes:
        """Give what is looked for: the text, or its rarest byte."""
        text = self._text
        if self._rarest == -1:
            sample = block[:_SAMPLE]
            self._rarest = min(range(len(text)), key=lambda index: sample.count(text[index : index + 1]))
        return text if self._rarest is None else text[self._rarest : self._rarest + 1]

    def _found(self, place: int, block: bytes, begins: list[int]) -> list[int]:
        """Give the indices of the lines in which the text is, without the first line. What is looked for is at `place`."""
        text, at, start, end = self._text, self._rarest, begins[1], begins[-1]
        if at is None:
            return _lines_with(text, place, block, begins)
        byte, find, starts = text[at : at + 1], block.find, block.startswith
        found: list[int] = []
        elsewhere = len(begins) // _SELDOM
        while place >= 0:
            if place - at >= start and starts(text, place - at, end):
                found.append(bisect_right(begins, place) - 1)
                place = find(byte, begins[found[-1] + 1], end)
            else:
                elsewhere -= 1
                if elsewhere < 0:
                    self._rarest = None
                    return _lines_with(text, find(text, start, end), block, begins)
                place = find(byte, place + 1, end)
        return found


def _lines_with(text: bytes, place: int, block: bytes, begins: list[int]) -> list[int]:
    """Give the indices of the lines in which a text is, without the first line. The first such place is given."""
    found: list[int] = []
    end = begins[-1]
    while place >= 0:
        index = bisect_right(begins, place) - 1
        found.append(index)
        place = block.find(text, begins[index + 1], end)
    return found
