"""flatten: bring the fields of nested objects to the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import BOOLEAN, COUNT, TEXT, ListOf, Scope, described, option
from rx_collector.stream.code import with_fields
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Flatten"]

_DEEPEST = 100


@operator("flatten", summary="Bring the fields of nested objects to the top.", example="flatten: {fields: [request]}")
@described
class Flatten(Stage):
    """Bring the fields of nested objects to the top, named by their path; empty objects stay as they are.

    A name that is there already is replaced by the later one. With ``lists`` the items of lists get their numbers as names.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> rx.runner("echo", '{"a": {"b": 1, "c": {"d": 2}}}').pipe(op.parse("json"), op.flatten()).run().data
    {'a.b': 1, 'a.c.d': 2}
    """

    independent = True

    shorthand: ClassVar[str | None] = "fields"

    fields: Sequence[str] | None = option(ListOf(TEXT, single=True), "Which fields; all of them unless said.", None)
    separator: str = option(TEXT, "What stands between the parts of a name.", ".")
    depth: int = option(COUNT, "How many levels are brought to the top.", _DEEPEST)
    lists: bool = option(BOOLEAN, "Whether lists are flattened, too.", False)

    def check(self, scope: Scope) -> None:
        if not 0 < self.depth <= _DEEPEST:
            scope.child("depth").wrong(f"from 1 to {_DEEPEST} levels can be brought to the top")

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        fields = None if self.fields is None else frozenset(self.fields)

        def flat(data: Any) -> dict[str, Any]:
            with_fields(data)
            made: dict[str, Any] = {}
            for name, value in data.items():
                if fields is None or name in fields:
                    self._put(made, name, value, self.depth)
                else:
                    made[name] = value
            return made

        code.assign(f"{code.bind(flat, 'flat')}({code.data()})", is_dict=True, owned=True)

    def _put(self, made: dict[str, Any], name: str, value: Any, levels: int) -> None:
        if levels and isinstance(value, dict) and value:
            for inner, item in value.items():
                self._put(made, f"{name}{self.separator}{inner}", item, levels - 1)
        elif levels and self.lists and isinstance(value, list) and value:
            for number, item in enumerate(value):
                self._put(made, f"{name}{self.separator}{number}", item, levels - 1)
        else:
            made[name] = value
