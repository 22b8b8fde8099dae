"""Sinks, one a module: where events end.

>>> from rx_collector import sinks
>>> sinks.file("exec.ndjson", rotate={"size": "100MB", "keep": 7}).rotate.size
100000000
"""

from typing import TYPE_CHECKING

from rx_collector.config.lazily import lazily
from rx_collector.sinks.base import SINKS, Sink, Writer

if TYPE_CHECKING:
    from rx_collector.sinks._composing import callback, console, exec, file, null, stdin

__all__ = ["SINKS", "Sink", "Writer", "callback", "console", "exec", "file", "null", "stdin"]

SINKS.look_in(__name__, __path__)
lazily(__name__, {"_composing": "callback console exec file null stdin"})
