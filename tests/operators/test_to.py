"""op.to: a sink that cannot be opened is an error of the stream, and nothing is started for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Event
from rx_collector.sinks.base import Sink, Writer


@dataclass(frozen=True)
class Careless(Sink):
    """A sink whose author let an OSError of the real file system out."""

    name = "careless"
    path: str = ""

    def open(self) -> Writer:
        return _CarelessWriter(self.path)


class _CarelessWriter(Writer):
    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(self, events: list[Event]) -> int:
        os.write(self._descriptor, "".join(f"{event.data}\n" for event in events).encode())
        return len(events)

    def close(self) -> int:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        return 0


def failure(stream: rx.EventStream) -> Exception:
    """What reaches a subscriber, as the one signal there is."""
    signals: list[object] = []
    stream.subscribe(signals.append, signals.append, lambda: signals.append("completed"))
    (error,) = signals
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    ("sink", "message"),
    [
        (lambda path: Careless(path), "cannot open careless: [Errno 2] No such file or directory: "),
        (lambda path: Careless("/proc"), "cannot open careless: [Errno 21] Is a directory: '/proc'"),
        (lambda path: sinks.file("/proc/nothing/o"), "cannot write /proc/nothing/o: no such file or directory"),
        (lambda path: sinks.exec([path]), "cannot start '"),
    ],
)
@pytest.mark.parametrize("bounded", [False, True])
def test_a_sink_that_cannot_be_opened(tmp_path: Path, sink: Callable[[str], Sink], message: str, bounded: bool) -> None:
    started = tmp_path / "started"
    before = [op.backpressure("block")] if bounded else []
    stream = rx.runner("touch", str(started)).pipe(op.to(sinks.null()), *before, op.to(sink(f"{tmp_path}/none/o")))
    error = failure(stream)
    assert isinstance(error, rx.OutputError)
    assert str(error).startswith(message)
    with pytest.raises(rx.OutputError) as caught:
        rx.run(stream)
    assert str(caught.value) == str(error)
    assert not started.exists()


def test_a_sink_that_can_be_opened_is_written_and_closed(tmp_path: Path) -> None:
    """That its descriptor is given back is what every test checks at its end."""
    rx.run(rx.runner("seq", "3").pipe(op.map("message"), op.to(Careless(str(tmp_path / "o")))))
    assert (tmp_path / "o").read_text() == "1\n2\n3\n"


@pytest.mark.parametrize("wrong", ["file", None, sinks.null])
def test_what_is_no_sink(wrong: object) -> None:
    with pytest.raises(rx.ConfigError, match="a sink is wanted here, not"):
        op.to(wrong)  # type: ignore[arg-type]
