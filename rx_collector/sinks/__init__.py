"""Sinks, one a module: where events end.

>>> from rx_collector import sinks
>>> sinks.file("exec.ndjson", rotate={"size": "100MB", "keep": 7}).rotate.size
100000000
"""

from rx_collector.config.registry import import_all
from rx_collector.sinks.base import SINKS, Sink, Writer
from rx_collector.sinks.callback import Callback as callback  # noqa: N813
from rx_collector.sinks.console import Console as console  # noqa: N813
from rx_collector.sinks.exec import Exec as exec  # noqa: N813
from rx_collector.sinks.file import File as file  # noqa: N813
from rx_collector.sinks.null import Null as null  # noqa: N813
from rx_collector.sinks.stdin import Stdin as stdin  # noqa: N813

__all__ = ["SINKS", "Sink", "Writer", "callback", "console", "exec", "file", "null", "stdin"]

import_all(__name__, list(__path__))
