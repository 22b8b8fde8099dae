"""Mistakes as they are shown: one line each, and on a terminal the line of the file and the right form below it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator

import click

from rx_collector.cli.stderr import columns
from rx_collector.errors import ConfigError, Mistake
from rx_collector.graph.text import legible

__all__ = ["mistake_lines", "mistakes_text", "show_mistakes"]

_INDENT = "    "
_LEAST_WIDTH = 40  # a narrower terminal breaks the lines itself


def show_mistakes(error: ConfigError) -> None:
    """Print mistakes on standard error: with what helps to mend them on a terminal, else one line each."""
    terminal = sys.stderr.isatty()
    click.echo(mistakes_text(error), err=True, color=not os.environ.get("NO_COLOR") if terminal else None)


def mistakes_text(error: ConfigError) -> str:
    """Give mistakes as they are shown on standard error."""
    if not sys.stderr.isatty():
        return str(error)
    return "\n".join(mistake_lines(error.mistakes, columns(), styled=not os.environ.get("NO_COLOR")))


def mistake_lines(mistakes: Iterable[Mistake], width: int, *, styled: bool = False) -> Iterator[str]:
    """Give each mistake, below it the line of the file with a caret under the place, and an example of the right form.

    The first line of each is what ``str()`` gives, whatever the width; those below it begin with blanks and fit in.

    >>> mistake = Mistake("unknown key 'stpo'", "runners.a", "x.yaml", 3, 5, "    stpo: SIGINT", "stop: SIGINT")
    >>> print("\\n".join(mistake_lines([mistake], 80)))
    x.yaml:3:5: runners.a: unknown key 'stpo'
        3 |     stpo: SIGINT
          |     ^
        for example: stop: SIGINT
    """

    def paint(text: str, **style: object) -> str:
        return click.style(text, **style) if styled else text  # type: ignore[arg-type]

    width = max(width, _LEAST_WIDTH)
    for mistake in mistakes:
        whole = str(mistake)
        place = whole[: len(whole) - len(mistake.message)]
        yield paint(place, bold=True) + paint(mistake.message, fg="yellow" if mistake.warning else "red")
        if mistake.source is not None and mistake.source.strip():
            number = f"{_INDENT}{mistake.line} | "
            text, before = _excerpt(mistake.source, mistake.column - 1, width - len(number))
            yield paint(number, dim=True) + text
            margin = f"{' ' * (len(number) - 2)}| "
            yield (
                paint(margin, dim=True)
                + " " * before
                + paint("^", fg="yellow" if mistake.warning else "red", bold=True)
            )
        if mistake.example:
            yield from _example(mistake.example, paint("for example:", dim=True))


def _example(example: str, title: str) -> Iterator[str]:
    lines = [legible(line) for line in example.split("\n")]
    if len(lines) == 1:
        yield f"{_INDENT}{title} {lines[0]}"
        return
    yield f"{_INDENT}{title}"
    for line in lines:
        yield f"{_INDENT}    {line}"


def _excerpt(source: str, index: int, room: int) -> tuple[str, int]:
    """Give what fits of a line around a character of it, and how many columns of a terminal come before that."""
    low, high = max(index - room, 0), min(index + room, len(source))
    pieces = [legible(character) for character in source[low:high]]
    cells = list(map(_cells, pieces))
    at = index - low
    if low == 0 and high == len(source) and sum(cells) < room:
        return "".join(pieces), _cells("".join(pieces[:at]))
    # What comes before the place tells more than what comes behind, so it gets two thirds of the room.
    start, used = at, sum(cells[at : at + 1])
    while start > 0 and used + cells[start - 1] < room * 2 // 3:
        start -= 1
        used += cells[start]
    left = "…" if low + start > 0 else ""
    before = _cells(left + "".join(pieces[start:at]))
    end = at + 1
    while end < len(pieces) and len(left) + used + cells[end] < room:
        used += cells[end]
        end += 1
    right = "…" if low + end < len(source) else ""
    return left + "".join(pieces[start:end]) + right, before


def _cells(text: str) -> int:
    """Give how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # needed by those who have such text in a file that is wrong

    return cell_len(text)
