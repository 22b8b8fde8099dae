"""What is declared of a function that an expression may call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import Any, Final

from rx_collector.expressions.kinds import ANY, Kinds
from rx_collector.frozen import frozen

__all__ = ["MOST_TEXT", "Constant", "Function"]

MOST_TEXT: Final = 64 * 2**20


@frozen
class Constant:
    """An argument that is a text in the expression itself, and what is made of it once.

    `make` raises ValueError, saying what is wrong with the text.
    """

    name: str
    make: Callable[[str], object]


@frozen
class Function:
    """A function that may be called, from `least` to `most` arguments.

    It gives the same for the same arguments, always. `takes` and `constants` say what each argument is, the last of them
    what all further ones are. `example` is a call and what it gives. `check` refuses constants that do not fit each other.
    With constants alone a call of a `literal` function is a literal, and a wrong one is a mistake wherever it stands.
    """

    call: Callable[..., Any]
    least: int
    most: int | None
    doc: str
    example: tuple[str, Any]
    takes: tuple[Kinds, ...] = (ANY,)
    gives: Kinds = ANY
    constants: tuple[Constant | None, ...] = field(default=(None,))
    check: Callable[[Sequence[Any]], object] = lambda constants: None
    literal: bool = False

    @property
    def gives_none(self) -> bool:
        """Whether it can give None."""
        return Kinds.NULL in self.gives

    def constant(self, index: int) -> Constant | None:
        """Give what is declared of an argument that has to be constant, None for one that can be any value."""
        return self.constants[min(index, len(self.constants) - 1)]
