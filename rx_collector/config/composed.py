"""A document put together from parts of others. Each part knows where it stands, so that a mistake in it points there.

A part is grafted on at a path: from there down, paths lead into the document that the part is from. What stands below
the last graft is found there without being listed here, so composing costs nothing for each value of a large file.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rx_collector.config.document import Document, Path, Place
from rx_collector.config.variables import Arguments, Variables
from rx_collector.errors import USED_AT, Mistake

__all__ = ["Composed", "Graft"]


@dataclass(frozen=True, slots=True)
class Graft:
    """A part of another document: from here down, paths lead there."""

    document: Document
    path: Path
    #: Where the template is used that it is from, the innermost use first: ``exec.yaml:12``.
    used: tuple[str, ...] = ()
    #: What the parameters of that template stand for.
    arguments: Arguments | None = None
    #: Where the scalar stands for which this value is put in as a whole; None for what is no such value.
    put_in: tuple[Document, Path] | None = None
    #: The text of a scalar with its parameters put in; None for what refers to none.
    expanded: str | None = None

    @property
    def suffix(self) -> str:
        """What a mistake says behind what is wrong: what led here."""
        way = self.used
        if self.put_in is not None:
            place = self.put_in[0].place_of(self.put_in[1])
            return f" (put in at {', '.join([place, *(f'used at {place}' for place in way)])})"
        return f"{USED_AT}{', used at '.join(way)})" if way else ""


class Composed(Document):
    """A document whose parts are from others. `value` and `grafts` are for those who compose it to fill in."""

    def __init__(self, file: str, variables: Variables) -> None:
        super().__init__(file, "", variables)
        self.grafts: dict[Path, Graft] = {}
        #: How operators are numbered in the ledger, where their index is not their number.
        self.positions: dict[Path, str] = {}

    def origin(self, path: Path) -> tuple[Graft | None, Path]:
        """Give the part that a path leads into, and the path in its document."""
        for length in range(len(path), -1, -1):
            if (graft := self.grafts.get(path[:length])) is not None:
                return graft, (*graft.path, *path[length:])
        return None, path

    def mistake(
        self,
        path: Path,
        message: str,
        *,
        on_key: bool = False,
        inside: tuple[int, int] | None = None,
        example: str = "",
    ) -> Mistake:
        """Make a Mistake about the value at a path, where it stands in the document that it is from."""
        graft, there = self.origin(path)
        if graft is None:
            return super().mistake(path, message, on_key=on_key, inside=inside, example=example)
        if on_key and graft.put_in is not None and path in self.grafts:  # its key stands in the template
            return graft.put_in[0].mistake(graft.put_in[1], message + self._used(path), on_key=True, example=example)
        message += graft.suffix
        return graft.document.mistake(there, message, on_key=on_key, inside=inside, example=example)

    def place(self, path: Path) -> Place | None:
        """Give the place of a value in the document that it is from."""
        graft, there = self.origin(path)
        place = graft.document.place(there) if graft is not None else None
        if place is not None and graft is not None and graft.expanded is not None:
            return replace(place, expanded=graft.expanded)
        return place

    def place_of(self, path: Path) -> str:
        """Give where a value stands, and where the template is used that it is from, if any."""
        graft, there = self.origin(path)
        if graft is None:
            return self.file
        place, used = graft.document.place_of(there), graft.used
        if graft.put_in is not None and path in self.grafts:  # its key stands in the template
            above, _ = self.origin(path[:-1])
            place, used = graft.put_in[0].place_of(graft.put_in[1]), above.used if above is not None else ()
        return ", used at ".join([place, *used])

    def _used(self, path: Path) -> str:
        """Give what a mistake says about the use of the template in which the key of a value stands."""
        above, _ = self.origin(path[:-1])
        return above.suffix if above is not None else ""

    def resolve(self, path: Path, expanded: str) -> Any:
        """Give the value of the scalar at a path, had it this text."""
        graft, there = self.origin(path)
        assert graft is not None
        return graft.document.resolve(there, expanded)

    def is_broken(self, path: Path) -> bool:
        """Say whether the value here could not be known."""
        graft, there = self.origin(path)
        return path in self.broken or (graft is not None and graft.document.is_broken(there))

    def references(self, path: Path) -> frozenset[str]:
        """Give the names of the parameters that a scalar refers to."""
        graft, there = self.origin(path)
        return graft.document.references(there) if graft is not None else frozenset()

    def variable(self, path: Path) -> Callable[[str], Any]:
        """Give the function for the variables and parameters in the scalar at this path."""
        graft, there = self.origin(path)
        if graft is None:
            return self.variables.value
        return graft.arguments.value if graft.arguments is not None else graft.document.variable(there)

    def is_argument(self, path: Path) -> bool:
        """Say whether the value here was put in for a parameter."""
        graft, there = self.origin(path)
        return graft is not None and (graft.put_in is not None or graft.document.is_argument(there))

    def directory(self, path: Path) -> str | None:
        """Give the directory of the file that a value stands in."""
        graft, there = self.origin(path)
        if graft is None:
            return None
        inner = graft.document.directory(there)
        return inner if inner is not None else os.path.dirname(os.path.abspath(graft.document.file))

    def position(self, path: Path) -> str:
        """Give how an operator at this path is numbered in the ledger; nothing where its index is its number."""
        return self.positions.get(path, "")
