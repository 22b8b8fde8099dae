"""rx_collector starts programs that print what they observe and carries every event to where it is wanted.

The modules are the stages of the flow, in this order:

    runners        a child process as a cold Observable: supervisor, reader, framing
    event          the record in its envelope
    parsers        how a line becomes fields
    expressions    the language of filters and values
    operators      what is done with events, the same in ``.pipe()`` and in YAML
    stream         how operators are compiled into one loop, and how batches travel
    backpressure   the bounded queue and its strategies
    sinks          where events end
    ledger         the counts that say where every event went
    config         how a component declares its options, and how YAML is read with places
    pipeline       a file: checked, put together, run
    graph          the picture of a file, with the counts of a run
    cli            the command

The library is silent until ``loguru.logger.enable("rx_collector")``. The names below are imported when they are first
used, so that importing the package, or asking the command for help, costs little.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

from rx_collector import log as _log  # noqa: F401  it makes sure that the library is silent, whenever loguru is imported
from rx_collector._version import __version__

if _TYPE_CHECKING:
    from rx_collector import operators, sinks
    from rx_collector.errors import (
        BackpressureError,
        ConfigError,
        Mistake,
        OutputError,
        ParseError,
        ProcessError,
        RxCollectorError,
    )
    from rx_collector.event import Event
    from rx_collector.ledger import Report
    from rx_collector.pipeline import Project, load, run
    from rx_collector.runners import Runner, runner
    from rx_collector.stream.eventstream import EventStream

__all__ = [
    "BackpressureError",
    "ConfigError",
    "Event",
    "EventStream",
    "Mistake",
    "OutputError",
    "ParseError",
    "ProcessError",
    "Project",
    "Report",
    "Runner",
    "RxCollectorError",
    "__version__",
    "load",
    "operators",
    "run",
    "runner",
    "sinks",
]

_WHERE = {
    "errors": "BackpressureError ConfigError Mistake OutputError ParseError ProcessError RxCollectorError",
    "event": "Event",
    "ledger": "Report",
    "pipeline": "Project load run",
    "runners": "Runner runner",
    "stream.eventstream": "EventStream",
}


def __getattr__(name: str) -> object:
    for module, names in _WHERE.items():
        if name in names.split():
            value = globals()[name] = getattr(_import_module(f"{__name__}.{module}"), name)
            return value
    if name in ("operators", "sinks"):
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
