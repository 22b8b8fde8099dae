"""The callback sink, for Python: a function called with each event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Any, ClassVar

from rx_collector.config.options import described
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.sinks.base import Sink, Writer

__all__ = ["Callback"]


@described
class Callback(Sink):
    """Call a function with each event, on the thread of the sink.

    An exception of it is the failure of that one event: it is tried again, dead-lettered, dropped or ends the branch,
    as the branch declares. A function that never returns cannot be interrupted.
    """

    name: ClassVar[str] = "callback"

    function: Callable[[Event], Any] = field()

    def open(self) -> Writer:
        return _CallbackWriter(self.function)


class _CallbackWriter(Writer):
    def __init__(self, function: Callable[[Event], Any]) -> None:
        self._function = function

    def write(self, events: list[Event]) -> int:
        for number, event in enumerate(events):
            try:
                self._function(event)
            except Exception as error:
                what = f"the callback failed: {type(error).__name__}: {error}"
                raise OutputError(what, delivered=number, of_event=True) from error
        return len(events)
