"""The names of the sinks for those who compose in Python: what they are made with is the class."""

from rx_collector.sinks.callback import Callback as callback  # noqa: N813
from rx_collector.sinks.console import Console as console  # noqa: N813
from rx_collector.sinks.exec import Exec as exec  # noqa: N813
from rx_collector.sinks.file import File as file  # noqa: N813
from rx_collector.sinks.null import Null as null  # noqa: N813
from rx_collector.sinks.stdin import Stdin as stdin  # noqa: N813

__all__ = ["callback", "console", "exec", "file", "null", "stdin"]
