"""python: an operator written in Python, named in YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rx_collector.config.function import FUNCTION
from rx_collector.config.options import described, option
from rx_collector.stream.chain import Chain
from rx_collector.stream.operator import Operator, operator

if TYPE_CHECKING:
    import reactivex

    from rx_collector.stream.eventstream import EventStream

__all__ = ["Python"]


@operator("python", summary="An operator written in Python.", example="python: mypackage.pipes:busy")
@described
class Python(Operator):
    """An operator written in Python: a function that takes a stream and gives one.

    Any value made by `rx_collector.operators` or `reactivex.operators` is such a function, and so is one that you write:
    ``def busy(stream): return stream.pipe(op.filter("cpu > 50"))``.
    """

    in_groups: ClassVar[bool] = False
    shorthand: ClassVar[str | None] = "function"

    function: Any = option(FUNCTION, "The function, as package.module:function.", example="mypackage.pipes:busy")

    def __call__(self, source: reactivex.Observable[Any] | Chain) -> EventStream:
        from rx_collector.stream.eventstream import EventStream

        if isinstance(source, Chain):
            source = EventStream.of(source)
        return EventStream.of(self.function(source))
