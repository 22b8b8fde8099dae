"""strace: two recordings, every form of a line, and calls that others interrupt."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rx_collector import operators as op
from rx_collector.event import Lines, Origin
from tests.events import ORIGIN, run_batches
from tests.parsers.reading import counts, errors, lines_of, parsed


def test_a_recording_of_processes_that_interrupt_each_other() -> None:
    """Of ``strace -f -ttt -T -y``: 97 of 351 lines are beginnings, each of which finds its end."""
    lines = lines_of("strace.txt")
    result = parsed("strace", lines)
    assert counts(result) == (254, 97, 0)
    assert sum("<unfinished ...>" in str(line) for line in lines) == 97
    assert Counter(record["type"] for record in result.data) == {"call": 246, "signal": 4, "exit": 4}
    assert not [record for record in result.data if "unfinished" in record or "resumed" in record]
    begun = [str(line).partition("(")[0].split()[-1] for line in lines if "resumed>" not in str(line)]
    names = Counter(begun)
    of_call = Counter(record["call"] for record in result.data if record["type"] == "call")
    assert {name: names[name] for name in of_call} == of_call
    assert Counter(record.get("errno") for record in result.data if "errno" in record).total() == 11
    codes = [(record.get("code"), record.get("signal")) for record in result.data if record["type"] == "exit"]
    assert codes == [(2, None), (None, "SIGTERM"), (0, None), (3, None)]


def test_a_recording_in_which_strace_breaks_its_lines() -> None:
    """Without -o, what strace says about a new process stands in the middle of a line; no line is lost for that."""
    result = parsed("strace", lines_of("strace-terminal.txt"))
    assert counts(result) == (222, 78, 6)
    assert [record["raw"].partition("strace: ")[2] for record in result.rejected] == [
        *("Process 19600 attached", ""),
        *("Process 19602 attached", ""),
        *("Process 19601 attached", ""),
    ]
    # Its beginning was torn:
    assert [record["call"] for record in result.data if "resumed" in record] == ["vfork"]
    # It went on when only one process was left, so strace does not say which:
    waited = [record for record in result.data if record.get("errno") == "ERESTARTNOHAND"][-1]
    assert (waited["call"], waited["arguments"], waited["result"]) == ("rt_sigsuspend", ["[]", "8"], "?")
    assert "pid" in waited


LINES: list[tuple[str, dict[str, Any]]] = [
    ("close(3) = 0", {"type": "call", "call": "close", "arguments": ["3"], "result": 0}),
    ("getpid()                                = 7", {"type": "call", "call": "getpid", "arguments": [], "result": 7}),
    (
        '812 10:00:00.123456 openat(AT_FDCWD, "/a, (b\\"", O_RDONLY) = -1 ENOENT (No such file or directory) <0.000012>',
        {
            "pid": 812,
            "time": "10:00:00.123456",
            "type": "call",
            "call": "openat",
            "arguments": ["AT_FDCWD", '"/a, (b\\""', "O_RDONLY"],
            "result": -1,
            "errno": "ENOENT",
            "detail": "No such file or directory",
            "seconds": 1.2e-05,
        },
    ),
    (
        '[pid  81<sh>] 10:00:00 (+     0.000053) read(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\\n"..., 9) = 9',
        {
            "pid": 81,
            "comm": "sh",
            "time": "10:00:00",
            "since": 5.3e-05,
            "type": "call",
            "call": "read",
            "arguments": ["3<TCP:[127.0.0.1:1->127.0.0.1:2]>", '"\\n"...', "9"],
            "result": 9,
        },
    ),
    (
        "     0.000253 dup(1</tmp/a)b, c>) = 3</tmp/a) = 0>",
        {
            "since": 0.000253,
            "type": "call",
            "call": "dup",
            "arguments": ["1</tmp/a)b, c>"],
            "result": 3,
            "path": "/tmp/a) = 0",
        },
    ),
    (
        "1700000000.000001 poll([{fd=3, events=POLLIN}], 1, 0 /* a, b */) = 1 ([{fd=3, revents=POLLIN}])",
        {
            "time": 1700000000.000001,
            "type": "call",
            "call": "poll",
            "arguments": ["[{fd=3, events=POLLIN}]", "1", "0 /* a, b */"],
            "result": 1,
            "detail": "[{fd=3, revents=POLLIN}]",
        },
    ),
    ("brk(NULL) = 0x55b8760dc000", {"type": "call", "call": "brk", "arguments": ["NULL"], "result": "0x55b8760dc000"}),
    ("exit_group(0) = ?", {"type": "call", "call": "exit_group", "arguments": ["0"], "result": "?"}),
    (
        "read(0,  <unfinished ...>) = ?",
        {"type": "call", "call": "read", "arguments": ["0", ""], "result": "?"},
    ),
    (
        "restart_syscall(<... resuming interrupted read ...>) = 0",
        {"type": "call", "call": "restart_syscall", "arguments": ["<... resuming interrupted read ...>"], "result": 0},
    ),
    (
        "futex(0x1, FUTEX_WAIT, 1<<3, NULL) = 0 (Timeout)",
        {
            "type": "call",
            "call": "futex",
            "arguments": ["0x1", "FUTEX_WAIT", "1<<3", "NULL"],
            "result": 0,
            "detail": "Timeout",
        },
    ),
    ("--- SIGINT {si_signo=SIGINT} ---", {"type": "signal", "signal": "SIGINT", "detail": "{si_signo=SIGINT}"}),
    ("--- stopped by SIGSTOP ---", {"type": "signal", "signal": "SIGSTOP"}),
    ("+++ exited with 3 +++", {"type": "exit", "code": 3}),
    ("9 +++ killed by SIGSEGV (core dumped) +++", {"pid": 9, "type": "exit", "signal": "SIGSEGV"}),
    ("+++ superseded by execve in pid 7 +++", {"type": "exit", "detail": "superseded by execve in pid 7"}),
]


@pytest.mark.parametrize(("line", "data"), LINES)
def test_a_line(line: str, data: dict[str, Any]) -> None:
    assert parsed("strace", [line]).data == [data]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "not strace: neither a call nor a signal nor an exit"),
        ("strace: Process 7 attached", "not strace: neither a call nor a signal nor an exit"),
        ("close(3", "not strace: there is no result of close"),
        ("close(3) = x", "not strace: there is no result of close"),
        ('write(1, "a, 1) = 1', "not strace: a text is not closed"),
        ('write(1, "a\\', "not strace: a text is not closed"),
        ("close(3]) = 0", "not strace: there is no result of close"),
    ],
)
def test_bad(line: str, error: str) -> None:
    assert errors(parsed("strace", [line])) == [error]


def test_a_call_is_joined_with_the_time_of_its_beginning() -> None:
    lines = [
        "7 10:00:01 read(0,  <unfinished ...>",
        "8 10:00:02 close(3 <unfinished ...>",
        '7 10:00:03 <... read resumed>"a", 1) = 1 <2.000000>',
        "8 10:00:04 <... close resumed>) = 0",
    ]
    result = parsed("strace", lines)
    assert [(record["pid"], record["time"], record["arguments"]) for record in result.data] == [
        (7, "10:00:01", ["0", '"a"', "1"]),
        (8, "10:00:02", ["3"]),
    ]
    assert [event.line for event in result.events] == [3, 4]


def test_an_end_without_its_beginning_and_the_other_way_round() -> None:
    lines = [
        "7 read(0,  <unfinished ...>",
        '7 <... write resumed>"a", 1) = 1',
        "8 pause( <unfinished ...>",
        "8 +++ exited with 0 +++",
    ]
    result = parsed("strace", lines)
    assert result.data == [
        {"pid": 7, "type": "call", "call": "read", "arguments": ["0", ""], "unfinished": True},
        {"pid": 7, "type": "call", "call": "write", "arguments": ['"a"', "1"], "result": 1, "resumed": True},
        {"pid": 8, "type": "call", "call": "pause", "arguments": [], "unfinished": True},
        {"pid": 8, "type": "exit", "code": 0},
    ]
    assert [event.part for event in result.events] == ["0", "1", "0", "1"]
    assert counts(result) == (4, 2, 0)


@pytest.mark.parametrize(
    ("options", "kept"), [({"unfinished": 3}, 3), ({"max_bytes": "20B"}, 4), ({"max_bytes": "1B"}, 0), ({}, 10)]
)
def test_what_is_kept_is_bounded_and_what_goes_is_told(options: dict[str, Any], kept: int) -> None:
    lines = [f"{pid} w(1234 <unfinished ...>" for pid in range(10)]
    if options == {"max_bytes": "20B"}:
        lines = [line.replace("1234", "12345") for line in lines]
    result = parsed("strace", lines, **options)
    assert [record["pid"] for record in result.data] == list(range(10 - kept))
    assert all(record["unfinished"] for record in result.data)
    assert counts(result)[1] == kept


def test_another_beginning_of_the_same_process_takes_the_place_of_the_first() -> None:
    lines = ["7 a(1 <unfinished ...>", "7 b(2 <unfinished ...>", "7 <... b resumed>) = 0"]
    assert [(record["call"], "unfinished" in record) for record in parsed("strace", lines).data] == [
        ("a", True),
        ("b", False),
    ]


def test_which_process_goes_on_is_not_guessed() -> None:
    lines = ["7 a(1 <unfinished ...>", "8 a(2 <unfinished ...>", "<... a resumed>) = 0"]
    assert [record.get("resumed") for record in parsed("strace", lines).data] == [True]


def test_incarnations_do_not_mix() -> None:
    again = Origin("run", "exec", 2, 43, ORIGIN.observed_ns)
    batches: list[Any] = [Lines([b"7 a(1 <unfinished ...>"], 1, ORIGIN), Lines([b"7 <... a resumed>) = 0"], 1, again)]
    assert run_batches(batches, op.parse("strace")).data[0]["resumed"] is True
