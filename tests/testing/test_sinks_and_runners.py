"""`check_sink` and `check_runner` pass on all of ours, and say of bad ones what is wrong with them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import reactivex

import rx_collector as rx
from rx_collector import sinks
from rx_collector.config.document import parse_document
from rx_collector.config.options import INVALID, Scope
from rx_collector.event import Event, Origin
from rx_collector.runners.feed import Feed
from rx_collector.sinks import SINKS, Sink, Writer
from rx_collector.testing import check_runner, check_sink


def of_example(name: str) -> Sink:
    """Make a sink as its own example in `describe` says."""
    value = parse_document(SINKS[name].example.splitlines()[0]).value[name]
    scope = Scope()
    made = SINKS[name].from_value(value, scope)
    assert made is not INVALID, scope.mistakes
    return made  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SINKS if name != "stdin"])
def test_every_sink_there_is(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    check_sink(lambda: of_example(name))


def test_stdin_with_a_pipe_that_somebody_reads() -> None:
    threads: list[threading.Thread] = []

    def make() -> Sink:
        reading, writing = os.pipe()
        feed = Feed("child")
        feed.attach(writing)
        threads.append(threading.Thread(target=lambda: _read_to_the_end(reading)))
        threads[-1].start()
        return sinks.stdin("child").bound_to(feed)

    check_sink(make)
    assert len(threads) == 2


def _read_to_the_end(descriptor: int) -> None:
    with open(descriptor, "rb") as file:
        file.read()


def test_sinks_that_gather_and_sinks_that_fail(tmp_path: Path) -> None:
    numbers = iter(range(10))
    check_sink(lambda: sinks.file(str(tmp_path / str(next(numbers))), flush="1h"))
    check_sink(lambda: sinks.file("/dev/full"), fails=True)
    check_sink(lambda: sinks.exec(["false"]), fails=True)
    check_sink(lambda: sinks.callback(lambda event: 1 / 0), fails=True)


class Honest(Writer):
    """A writer that does what it should; each bad one below gets one thing of it wrong."""

    def write(self, events: list[Event]) -> int:
        return len(events)


class _CountsNothing(Honest):
    def write(self, events: list[Event]) -> int:
        return None  # type: ignore[return-value]


class _LosesOne(Honest):
    def write(self, events: list[Event]) -> int:
        return len(events) - 1


class _TellsTwice(Honest):
    def write(self, events: list[Event]) -> int:
        return 2 * len(events)


class _TakesBack(Honest):
    def flush(self) -> int:
        return -3


class _NeverFlushes(Honest):
    def write(self, events: list[Event]) -> int:
        return 0


class _ClosesTwice(Honest):
    delivered = 0

    def write(self, events: list[Event]) -> int:
        self.delivered += len(events)
        return 0

    def close(self) -> int:
        return self.delivered


class _Raises(Honest):
    def write(self, events: list[Event]) -> int:
        raise ValueError("too round")


class _Fails(Honest):
    def write(self, events: list[Event]) -> int:
        raise rx.OutputError("it is full")


class _FailsWithTooMany(Honest):
    def write(self, events: list[Event]) -> int:
        raise rx.OutputError("it is full", delivered=11)


class _CancelBlocks(Honest):
    def cancel(self) -> None:
        RELEASED.wait(30)


class _CancelRaises(Honest):
    def cancel(self) -> None:
        raise RuntimeError("it is closed")


class _LeavesADescriptor(Honest):
    def __init__(self) -> None:
        LEFT.append(os.open("/dev/null", os.O_WRONLY))


class _LeavesAThread(Honest):
    def __init__(self) -> None:
        threading.Thread(target=RELEASED.wait, args=(30,), name="forgotten").start()


@dataclass(frozen=True)
class Bad(Sink):
    name = "bad"
    writer: type[Writer] = Honest

    def open(self) -> Writer:
        return self.writer()


RELEASED = threading.Event()
LEFT: list[int] = []

BAD_SINKS: list[tuple[type[Writer], dict[str, Any], str]] = [
    (_CountsNothing, {}, "write gave None, where the number of events delivered is wanted"),
    (_LosesOne, {}, "90 of 100 events were told as delivered"),
    (_TellsTwice, {}, "20 events were told as delivered, of 10 it was handed"),
    (_TakesBack, {}, "flush gave -3: fewer than nothing were delivered"),
    (_NeverFlushes, {}, "0 of 100 events were told as delivered"),
    (_ClosesTwice, {}, "a second close delivered 100 events"),
    (_Raises, {}, "write raised ValueError.'too round'., where an OutputError is wanted"),
    (_Fails, {}, "it failed: it is full"),
    (_FailsWithTooMany, {"fails": True}, "11 events were told as delivered by a call that failed, 10 were left"),
    (Honest, {"fails": True}, "no call raised OutputError"),
    (_CancelBlocks, {}, "cancel blocks"),
    (_CancelRaises, {}, "cancel raised RuntimeError"),
    (_LeavesADescriptor, {}, "descriptors are left: .*/dev/null"),
    (_LeavesAThread, {}, "the thread forgotten is left"),
]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What does not happen is not waited for as long as elsewhere; what a bad component left is let go."""
    for module in ("check", "probe"):
        monkeypatch.setattr(f"rx_collector.testing.{module}.DEADLINE", 0.2)
    RELEASED.clear()
    yield
    RELEASED.set()
    while LEFT:
        os.close(LEFT.pop())


@pytest.mark.parametrize(
    ("writer", "options", "message"), BAD_SINKS, ids=[writer.__name__.strip("_") for writer, _, _ in BAD_SINKS]
)
@pytest.mark.usefixtures("soon")
def test_a_bad_sink(writer: type[Writer], options: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_sink(lambda: Bad(writer), **options)


def test_a_good_sink() -> None:
    check_sink(Bad)


@pytest.mark.slow
def test_runners() -> None:
    check_runner(rx.runner("seq", "100"))
    check_runner(rx.runner("sh", "-c", "echo out; echo err >&2", stderr="events", lifecycle=True))
    with pytest.raises(rx.ProcessError):
        check_runner(rx.runner("sh", "-c", "echo x; exit 3"))


def bad_runner(*streams: Callable[[], Any]) -> Any:
    """Something like a runner, whose first, second … subscription is to the first, second … of these."""
    given = iter(streams)
    stream: Any = reactivex.defer(lambda scheduler: next(given)())
    stream.name = "bad"
    return stream


def sent(pid: int | None, *lines: int) -> Callable[[], Any]:
    origin = Origin("run", "bad", 1, pid, 1, "line")
    return lambda: reactivex.from_iterable([Event({}, None, origin, line) for line in lines])


BAD_RUNNERS: list[tuple[str, Any, str]] = [
    ("endless", lambda: bad_runner(reactivex.never), "bad does not end"),
    ("silent", lambda: bad_runner(reactivex.empty, reactivex.empty), "bad prints nothing, which shows nothing"),
    ("doubled", lambda: bad_runner(sent(7, 1, 1), sent(8, 1)), "two events have one id"),
    ("disordered", lambda: bad_runner(sent(7, 2, 1), sent(8, 1)), "lines are out of order"),
    ("nowhere", lambda: bad_runner(sent(None, 1), sent(8, 1)), "an event does not say where it is from"),
    ("hot", lambda: bad_runner(sent(7, 1), sent(7, 1)), "it is not cold: two subscriptions had one child"),
    ("deaf", lambda: bad_runner(sent(7, 1), sent(8, 1), _deaf, _deaf), "the thread deaf is left"),
]


def _deaf() -> Any:
    threading.Thread(target=RELEASED.wait, args=(30,), name="deaf").start()
    return reactivex.never()


@pytest.mark.parametrize(
    ("make", "message"), [(make, message) for _, make, message in BAD_RUNNERS], ids=[name for name, _, _ in BAD_RUNNERS]
)
@pytest.mark.usefixtures("soon")
def test_a_bad_runner(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_runner(make())
