"""Whatever a child prints, and however: nothing is lost, nothing is invented, and memory stays bounded."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from tests.conftest import child
from tests.runners.helpers import Collected, messages, report_of, run_project, said


@pytest.mark.parametrize("output", ["pipe", "pty"])
@pytest.mark.parametrize(
    ("written", "lines"),
    [
        ("one\\ntwo", ["one", "two"]),
        ("one\\r\\ntwo\\r\\n", ["one", "two"]),
        ("\\r\\r\\n", ["\r"]),
        ("a\\rb\\n", ["a\rb"]),
        ("\\x00\\n\\x00\\x00", ["\0", "\0\0"]),
        ("\\xe2\\x82\\xac\\xf0\\x9f\\x90\\x9d\\n", ["€🐝"]),
        ("\\xe2\\x82\\nx\\n", ["\ufffd", "x"]),
        ("\\n\\n", ["", ""]),
    ],
)
def test_byte_by_byte_and_at_its_end(output: str, written: str, lines: list[str]) -> None:
    """Ends of lines, ends of streams, NUL and cut characters; at the end of a terminal read(2) gives EIO."""
    assert messages(*child("bytewise", written), output=output) == lines


@pytest.mark.parametrize(("encoding", "text"), [("latin-1", "é\xff"), ("utf-16-le", "aé\u0a0a€"), ("cp1252", "€")])
def test_other_encodings(encoding: str, text: str) -> None:
    written = f"{text}\n{text}\n".encode(encoding)
    escaped = "".join(f"\\x{byte:02x}" for byte in written)
    assert messages(*child("bytewise", escaped), encoding=encoding) == [text, text]


@pytest.mark.parametrize(("count", "lines"), [(0, ["1", "2", "3"]), (2, ["3"]), (3, []), (4, [])])
def test_the_first_lines_are_left_out_and_counted(tmp_path: Path, count: int, lines: list[str]) -> None:
    report, events = report_of(rx.runner("seq", 3, name="x", skip_lines=count))
    assert [event["message"] for event in events] == lines
    assert report.runners["x"].skipped == min(count, 3)
    assert report.runners["x"].lines == 3
    assert [event.line for event in events] == [int(line) for line in lines]


def test_the_first_lines_of_each_run() -> None:
    stream = rx.runner(
        "seq", 3, name="x", skip_lines=1, restart={"when": "always", "backoff": "1ms", "limit": "1 in 1m"}
    )
    assert Collected(stream).wait().texts == ["2", "3", "2", "3"]


@pytest.mark.parametrize("seed", range(3))
def test_binary_noise(seed: int) -> None:
    """It is cut at the newlines that it happens to have, and each piece is there as it was, in `raw`."""
    noise = random.Random(seed).randbytes(300_000)
    pieces = noise.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    report, events = report_of(rx.runner(*child("noise", seed, 300_000), name="noise"))
    assert [event.raw for event in events] == [piece.removesuffix(b"\r") for piece in pieces]
    assert [event["message"] for event in events] == [event.raw.decode(errors="replace") for event in events]
    repaired = sum("\ufffd" in event["message"] for event in events)
    assert report.runners["noise"].invalid_utf8 == repaired > 0


@pytest.mark.parametrize("seed", range(3))
def test_binary_noise_without_an_end_in_sight(seed: int) -> None:
    """With a small `max_line` each piece is either whole or rejected, and the count says which."""
    noise = random.Random(seed).randbytes(300_000)
    pieces = noise.split(b"\n")
    if not pieces[-1]:
        pieces.pop()
    whole = [piece.removesuffix(b"\r") for piece in pieces]
    report, events = report_of(rx.runner(*child("noise", seed, 300_000), name="noise", max_line=200))
    assert [event.raw for event in events] == [piece for piece in whole if len(piece) <= 200]
    rejected = sum(len(piece) > 200 for piece in whole)
    assert report.runners["noise"].rejected == {"line_too_long": rejected}
    assert report.runners["noise"].lines == len(pieces)


def test_standard_output_and_error_on_one_pipe() -> None:
    """Whoever joined them (2>&1) gets both, in the order in which they were written."""
    assert messages(*child("one_pipe", 2000)) == [str(number) for number in range(2000)]


@pytest.mark.parametrize("order", ["output first", "errors first"])
def test_one_of_the_two_pipes_ends_long_before_the_other(order: str) -> None:
    script = "exec >&-; seq 30000 >&2" if order == "output first" else "exec 2>&-; seq 30000"
    report, events = report_of(rx.runner("sh", "-c", script, name="x", stderr="drop"))
    assert report.runners["x"].stderr_lines == (30_000 if order == "output first" else 0)
    assert len(events) == (0 if order == "output first" else 30_000)


def test_a_terminal_that_is_closed_by_a_child_that_lives_on() -> None:
    """The end of a terminal is no end of the child: the runner waits for that, and it may be stopped."""
    runner = rx.runner(*child("closes"), output="pty")
    collected = Collected(runner)
    assert collected.first.wait(10)
    runner.stop()
    assert collected.wait().texts == ["one"]
    assert collected.error is None


def test_a_line_longer_than_every_buffer() -> None:
    stream = rx.runner("sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after", max_line="8MiB")
    first, second = Collected(stream).wait().texts
    assert first == "x" * 5_000_000
    assert second == "after"


@pytest.mark.slow
@pytest.mark.parametrize("overlong", ["reject", "truncate"])
def test_a_gigabyte_without_a_newline(overlong: str) -> None:
    """Read to its end in a process of its own, whose memory is measured: it does not grow, and the next line arrives."""
    code = (
        "import json, resource\n"
        "warm = Collected(rx.runner(*child('flood', 8), max_line='64KiB', overlong=sys.argv[1])).wait()\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "events = Collected(rx.runner(*child('flood', 1024), max_line='64KiB', overlong=sys.argv[1])).wait(100).events\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(json.dumps([[[event.line, len(event['message']), event.type] for event in events], grown]))\n"
    )
    events, grown = said(code, overlong, deadline=120)
    whole: list[Any] = [[2, 5, "line"]]
    assert events == (whole if overlong == "reject" else [[1, 65_536, "line"], *whole])
    assert grown < 4096  # KiB


def test_each_way_to_tell_records_apart(tmp_path: Path) -> None:
    """End to end and in YAML; what the framers themselves do is tested in test_framing.py."""
    text = """
runners:
  nul: {command: [printf, 'a\\nb\\0c\\0'], framing: nul}
  length: {command: [printf, '\\0\\3abc\\0\\1d'], framing: {by: length, size: 2}}
  sequence: {command: [printf, '\\036{"a":\\n1}\\n\\036{"a":2}\\n'], framing: json_seq}
  lines: {command: [printf, '1 one\\n  more\\n2 two\\n'], framing: {by: multiline, start: '^\\d'}}
pipelines:
  all:
    from: [nul, length, sequence, lines]
    sinks:
      - file: {path: out, envelope: true}
        backpressure: block
"""
    report = run_project(tmp_path, text)
    assert report.exit_code == 0
    events = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    got = {name: [e["data"]["message"] for e in events if e["runner"] == name] for name in report.runners}
    assert got == {
        "nul": ["a\nb", "c"],
        "length": ["abc", "d"],
        "sequence": ['{"a":\n1}', '{"a":2}'],
        "lines": ["1 one\n  more", "2 two"],
    }
