"""explode: make an event of each item of a list in a field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.options import BOOLEAN, TEXT, described, option
from rx_collector.operators.flat_map import emit_parts
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Explode"]


@operator("explode", summary="Make an event of each item of a list in a field.", example="explode: items")
@described
class Explode(Stage):
    """Make an event of each item of the list in a field; each has the other fields, too.

    An event whose list is empty or missing is filtered, or passes as it is with ``keep_empty``. A field that is no list
    rejects its event. What is made beyond the first event counts as made, and ids end in ``.0``, ``.1`` and so on.

    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> stream = rx.runner("echo", '{"pid": 7, "files": ["a", "b"]}').pipe(op.parse("json"), op.explode("files"))
    >>> [event.data for event in stream.to_list().run()]
    [{'pid': 7, 'files': 'a'}, {'pid': 7, 'files': 'b'}]
    """

    independent = True

    shorthand: ClassVar[str | None] = "field"
    nests: ClassVar[bool] = True

    field: str = option(TEXT, "The field.", example="items")
    index: str | None = option(TEXT, "A field for the number of the item in its list, from 0.", None)
    keep_empty: bool = option(BOOLEAN, "Whether events without items pass.", False)

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        def parts(data: Any) -> list[Any]:
            items = data.get(self.field) if isinstance(data, dict) else None
            if items is not None and not isinstance(items, list | tuple):
                raise TypeError(f"a list is wanted in field {self.field!r}, not a {type(items).__name__}")
            if not items:
                return [data] if self.keep_empty else []
            if self.index is None:
                return [{**data, self.field: item} for item in items]
            return [{**data, self.field: item, self.index: number} for number, item in enumerate(items)]

        emit_parts(code, f"{code.bind(parts, 'parts')}({code.data()})")
