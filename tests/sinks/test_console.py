"""The console sink on a real terminal and in real pipes: width, colours, local time, where to."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import rx_collector as rx
from rx_collector import sinks
from rx_collector.event import Event
from rx_collector.sinks.base import Sink
from tests.events import ORIGIN, event
from tests.sinks.test_sinks import deliver

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def set_zone() -> Iterator[Callable[[str], None]]:
    """Local time is UTC, or what a test says."""
    old = os.environ.get("TZ")

    def set_zone(name: str | None) -> None:
        if name is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = name
        time.tzset()

    set_zone("UTC")
    yield set_zone
    set_zone(old)


def on_terminal(sink: Sink, *events: Event, columns: int = 80, descriptor: int = 1) -> list[str]:
    """The lines that a sink shows on a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    saved = os.dup(descriptor)
    os.dup2(theirs, descriptor)
    try:
        deliver(sink, list(events))
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
        os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown.replace("\r\n", "\n").splitlines()


# Width


@pytest.mark.parametrize(
    "data",
    [
        {"message": "m" * 100},
        {"short": 1, "long": "l" * 100, "never": "seen"},
        {"text": "長い文" * 30},
        {"text": "長" * 40},
        {"combining": "e\u0301" * 100},
        {"k" * 100: 1},
        {f"field{n}": n for n in range(30)},
        [list(range(100))],
        "text" * 50,
    ],
)
@pytest.mark.parametrize("columns", [30, 41, 80])
def test_a_line_fits_the_terminal_and_says_that_it_was_cut(data: Any, columns: int) -> None:
    (line,) = on_terminal(sinks.console(color="never"), event(data), columns=columns)
    assert line.startswith("22:13:20.123 exec ")
    assert line.endswith("…")
    assert cell_len(line) <= columns


def test_all_but_two_columns_are_used() -> None:
    (line,) = on_terminal(sinks.console(color="never"), event({"a": 1, "message": "m" * 100}), columns=60)
    assert line == "22:13:20.123 exec a=1 message=" + "m" * 27 + "…"


def test_a_value_of_which_little_could_be_seen_is_left_out() -> None:
    (line,) = on_terminal(sinks.console(color="never"), event({"a": 1, "message": "m" * 100}), columns=38)
    assert line == "22:13:20.123 exec a=1 …"


def test_what_fits_is_not_cut() -> None:
    whole, cut = on_terminal(sinks.console(color="never"), event({"m": "x" * 58}), event({"m": "x" * 59}), columns=80)
    assert whole == "22:13:20.123 exec m=" + "x" * 58
    assert cut == "22:13:20.123 exec m=" + "x" * 57 + "…"


def test_colours_take_no_room() -> None:
    from rich.text import Text

    data = {"n": 1, "flag": True, "message": "m" * 100}
    plain = on_terminal(sinks.console(color="never"), event(data), columns=50)
    coloured = on_terminal(sinks.console(color="always"), event(data), columns=50)
    assert coloured != plain
    assert [Text.from_ansi(line).plain for line in coloured] == plain


def test_nothing_is_cut_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    deliver(sinks.console("pretty"), [event({"message": "m" * 1000})])
    assert capfd.readouterr().out == "22:13:20.123 exec " + "m" * 1000 + "\n"


# Colours


@pytest.mark.parametrize(
    ("environment", "color", "coloured"),
    [
        ({}, "auto", False),
        ({"FORCE_COLOR": "1"}, "auto", True),
        ({"FORCE_COLOR": ""}, "auto", False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False),
        ({"FORCE_COLOR": "1"}, "never", False),
        ({}, "always", True),
        ({"NO_COLOR": "1"}, "always", True),
    ],
)
def test_colours_in_a_pipe(
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    color: str,
    coloured: bool,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    deliver(sinks.console("pretty", color=color), [event({"a": 1})])
    shown = capfd.readouterr().out
    plain = "22:13:20.123 exec a=1\n"
    assert shown == (
        "\x1b[2m22:13:20.123\x1b[0m \x1b[36mexec\x1b[0m \x1b[2ma=\x1b[0m\x1b[33m1\x1b[0m\n" if coloured else plain
    )


def test_each_sort_of_value_has_its_colour(capfd: pytest.CaptureFixture[str]) -> None:
    deliver(sinks.console("pretty", color="always"), [event({"t": True, "f": False, "n": None, "s": "x", "l": [1]})])
    pieces = capfd.readouterr().out.rstrip("\n").split(" ")[2:]
    assert pieces == [
        "\x1b[2mt=\x1b[0m\x1b[32mtrue\x1b[0m",
        "\x1b[2mf=\x1b[0m\x1b[31mfalse\x1b[0m",
        "\x1b[2mn=\x1b[0m\x1b[2mnull\x1b[0m",
        "\x1b[2ms=\x1b[0mx",
        "\x1b[2ml=\x1b[0m[1]",
    ]


def test_a_text_that_looks_like_a_field_is_quoted(capfd: pytest.CaptureFixture[str]) -> None:
    deliver(sinks.console("pretty"), [event({"a": "b=c d", "e": "f g"}), event({"message": "a line"}), event("text")])
    shown = [line.partition(" exec ")[2] for line in capfd.readouterr().out.splitlines()]
    assert shown == ['a="b=c d" e=f g', "a line", "text"]


# Time


def at(nanoseconds: int) -> Event:
    return Event({"a": 1}, None, ORIGIN, 1, None, nanoseconds)


@pytest.mark.parametrize(
    ("zone", "clocks"),
    [
        ("UTC", ["22:13:20.123", "22:13:20.999", "22:13:21.000", "22:13:20.000"]),
        ("EST5", ["17:13:20.123", "17:13:20.999", "17:13:21.000", "17:13:20.000"]),
        ("IST-5:30", ["03:43:20.123", "03:43:20.999", "03:43:21.000", "03:43:20.000"]),
    ],
)
def test_the_time_is_that_of_the_event_and_local(
    capfd: pytest.CaptureFixture[str], set_zone: Callable[[str], None], zone: str, clocks: list[str]
) -> None:
    set_zone(zone)
    second = 1_700_000_000 * 10**9
    times = [second + 123_456_789, second + 999_999_999, second + 10**9, second]
    deliver(sinks.console("pretty"), list(map(at, times)))
    assert [line.split()[0] for line in capfd.readouterr().out.splitlines()] == clocks


# Where to


def test_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(sinks.console(stream="stderr"), [event({"a": 1})]) == 1
    assert capfd.readouterr() == ("", '{"a":1}\n')
    assert on_terminal(sinks.console(stream="stderr", color="never"), event({"a": 1}), descriptor=2) == [
        "22:13:20.123 exec a=1"
    ]


@pytest.mark.parametrize(("stream", "descriptor"), [("stdout", 1), ("stderr", 2)])
def test_what_goes_wrong_names_the_stream(stream: str, descriptor: int) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    full = os.open("/dev/full", os.O_WRONLY)
    saved = os.dup(descriptor)
    try:
        os.dup2(writing, descriptor)
        with pytest.raises(rx.OutputError, match=f"^{stream} was closed by its reader$"):
            deliver(sinks.console(stream=stream), [event({})])
        os.dup2(full, descriptor)
        with pytest.raises(rx.OutputError, match=f"^cannot write {stream}: no space left on device$"):
            deliver(sinks.console(stream=stream), [event({})])
        os.close(descriptor)
        with pytest.raises(rx.OutputError, match=f"^cannot write {stream}: .*Bad file descriptor"):
            sinks.console(stream=stream).open()
    finally:
        os.dup2(saved, descriptor)
        for one in (saved, writing, full):
            os.close(one)


def test_what_was_printed_before_comes_before() -> None:
    script = (
        "from rx_collector import sinks\nfrom tests.events import event\n"
        "print('before')\nwriter = sinks.console().open()\nwriter.write([event({})])\nprint('after')\n"
    )
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    argv = [sys.executable, "-c", script]
    result = subprocess.run(argv, cwd=ROOT, env=buffered, capture_output=True, text=True, check=True)
    assert result.stdout == "before\n{}\nafter\n"
