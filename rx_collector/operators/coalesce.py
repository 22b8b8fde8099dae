"""coalesce: the first of some fields that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from rx_collector.config.options import TEXT, ListOf, MappingOf, described, option
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Coalesce"]


@operator(
    "coalesce", summary="Set a field to the first of some that is there.", example="coalesce: {name: [comm, filename]}"
)
@described
class Coalesce(Stage):
    """Set fields to the first of some others that is there and not null; to null where there is none.

    The others stay. In an expression, ``coalesce(a, b)`` does the same.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", "x").pipe(op.coalesce({"name": ["comm", "message"]})).run().data
    {'message': 'x', 'name': 'x'}
    """

    independent = True

    shorthand: ClassVar[str | None] = "fields"
    shorthand_only: ClassVar[bool] = True

    fields: Mapping[str, Sequence[str]] = option(
        MappingOf(ListOf(TEXT, least=1), least=1), "The fields to set and, for each, the fields to look into, in order."
    )

    def leaves(self, fields: frozenset[str]) -> bool:
        return fields.isdisjoint(self.fields)

    def key_reader(self) -> tuple[Stage, frozenset[str]]:
        return self, frozenset[str]().union(*self.fields.values())

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        code.own()
        for name, sources in self.fields.items():
            value = code.temporary()
            code.write(f"{value} = data.get({sources[0]!r})")
            for source in sources[1:]:
                code.write(f"if {value} is None: {value} = data.get({source!r})")
            code.write(f"data[{name!r}] = {value}")
