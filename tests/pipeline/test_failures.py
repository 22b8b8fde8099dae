"""Whole files whose sinks are slow, fail or hang: who notices, what is counted, and what comes back later."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rx_collector as rx
from rx_collector.backpressure import STRATEGIES
from rx_collector.dead_letter import dead_letter, restore
from rx_collector.event import Event, Origin, encode_json, from_message
from rx_collector.pipeline.collector import Collector
from tests.cli.test_errors import GOOD, command
from tests.conftest import wait_until

HANG = "exec: {command: [sleep, '3600'], grace: 1ms}"


def load(directory: Path, text: str) -> rx.Project:
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml", {})


def records(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# Slow sinks

#: Programs that print lines as fast as they can; a sink that takes a hundredth of them.
FAST = """
runners:
  fast: {{command: [seq, "{lines}"]}}
pipelines:
  p:
    from: fast
    sinks:
      - exec: {{command: [python3, -c, "{reader}"], envelope: true, grace: 30s}}
        name: slow
        backpressure: {{strategy: {strategy}, {options}}}
      - file: all
        backpressure: {{strategy: block, capacity: 100_000}}
"""
# Behind a pipe of 1 MiB the reader takes a batch of lines and then waits, so that it is far slower than the source.
READER = (
    "import sys,time\\nout=open('{directory}/slow','w')\\n"
    "for n,line in enumerate(sys.stdin):\\n"
    " out.write(line.split(chr(34))[3].rsplit('/',1)[1]+chr(10))\\n"
    " n%1000 or time.sleep(0.01)"
)
OPTIONS = {
    "block": "capacity: 1_000",
    "drop_oldest": "capacity: 1_000",
    "drop_newest": "capacity: 1_000",
    "latest": "capacity: 1_000, key: int(message) % 100",
    "conflate": "capacity: 1_000, by: int(message) % 100, aggregate: {n: count()}",
    "error": "capacity: 1_000",
    "spill": "capacity: 1_000, path: waiting, max_bytes: 1GB",
}


@pytest.mark.slow
@pytest.mark.parametrize("strategy", OPTIONS)
def test_a_fast_source_and_a_slow_sink(tmp_path: Path, strategy: str) -> None:
    """Counts are exact, the order is kept, and a sibling gets everything. The benchmark does it for a minute."""
    lines = 100_000
    reader = READER.replace("{directory}", str(tmp_path))
    text = FAST.format(lines=lines, reader=reader, strategy=strategy, options=OPTIONS[strategy])
    report = load(tmp_path, text).run()
    assert report.balanced, report.unbalanced
    pipeline = report.pipelines["p"]
    boundary = pipeline.nodes[0]
    assert pipeline.sinks["file"].delivered == lines
    assert (tmp_path / "all").read_bytes().count(b"\n") == lines
    assert boundary.taken == lines
    got = [int(line.split(".")[0]) for line in (tmp_path / "slow").read_text().splitlines()]
    assert len(got) == pipeline.sinks["slow"].delivered == boundary.out
    if strategy in ("block", "spill"):
        assert got == list(range(1, lines + 1))
        assert boundary.dropped == 0
        return
    if strategy == "conflate":
        assert boundary.dropped == 0
        assert boundary.merged - boundary.made == lines - len(got) > 0
    else:
        assert boundary.dropped == lines - len(got) > 0
    if strategy in ("drop_oldest", "drop_newest", "error"):
        assert got == sorted(got)
    if strategy in ("drop_newest", "error"):
        assert got[:1000] == list(range(1, 1001))
    if strategy == "drop_oldest":
        assert got[-1] == lines
    if strategy == "latest":
        newest: dict[int, int] = {}
        for number in got:
            assert newest.get(number % 100, 0) < number
            newest[number % 100] = number
        assert set(newest.values()) == set(range(lines - 99, lines + 1))
    assert report.exit_code == (1 if strategy == "error" else 0)


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name != "block"])
def test_a_sink_that_hangs_never_slows_its_siblings(tmp_path: Path, strategy: str) -> None:
    options = OPTIONS[strategy].replace("1_000", "10")
    text = GOOD.replace('[seq, "5"]', '[seq, "100000"]') + (
        f"      - {HANG}\n        backpressure: {{strategy: {strategy}, {options}}}\n"
    )
    report = load(tmp_path, text).run(drain="50ms")
    pipeline = report.pipelines["all"]
    assert pipeline.sinks["file"].delivered == 99_998
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    boundary = pipeline.nodes[3]
    assert boundary.taken == 99_998
    assert boundary.held == boundary.kept
    if strategy == "spill":
        sink = pipeline.sinks["exec"]
        assert boundary.dropped == sink.failed == 0
        assert sink.delivered + pipeline.kept["exec"] == 99_998


BLOCKED = """
runners:
  held: {command: [sh, -c, "seq 1000000 & while :; do echo alive >&2; sleep 0.02; done"], stop: {signal: SIGTERM}}
  free: {command: [sh, -c, "while :; do echo x; sleep 0.01; done"]}
pipelines:
  blocked:
    from: held
    sinks:
      - exec: {command: [sleep, '3600'], grace: 1ms}
        backpressure: {strategy: block, capacity: 10}
  other:
    from: free
    sinks:
      - file: out
        backpressure: block
"""


@pytest.mark.slow
def test_with_block_the_child_waits_and_everything_else_lives(tmp_path: Path) -> None:
    """stderr is drained, the other runner goes on, and a stop request is obeyed although the sink hangs for ever."""
    collector = Collector(load(tmp_path, BLOCKED))
    box: list[rx.Report] = []
    thread = threading.Thread(target=lambda: box.append(collector.run(drain="100ms")))
    thread.start()

    def sheet() -> rx.Report:
        return collector.report()

    def read() -> int:
        return sheet().runners["held"].lines

    def the_others_live_while_it_waits() -> bool:
        """A while in which the child that is held back prints nothing more, its stderr and the other runner do."""
        lines, stderr, free = read(), sheet().runners["held"].stderr_lines, sheet().pipelines["other"].taken
        wait_until(lambda: sheet().runners["held"].stderr_lines > stderr + 2, "stderr is drained")
        wait_until(lambda: sheet().pipelines["other"].taken > free + 2, "the other runner goes on")
        return read() == lines

    try:
        wait_until(lambda: "held" in sheet().runners and read() > 0, "it has begun")
        wait_until(the_others_live_while_it_waits, "the child is held back")
        assert 0 < read() < 1_000_000
        assert sheet().balanced, sheet().unbalanced
    finally:
        collector.stop()
        began = time.monotonic()
        thread.join(15)
    assert time.monotonic() - began < 10
    (report,) = box
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1


def test_a_sink_that_never_returns_is_left_behind_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function cannot be interrupted; the run ends all the same, and says what was in its hands."""
    import rx_collector.pipeline.collector as module
    from rx_collector.sinks.base import Writer
    from rx_collector.sinks.null import Null

    release = threading.Event()

    class Hanging(Writer):
        def write(self, events: list[rx.Event]) -> int:
            release.wait(30)
            return len(events)

    monkeypatch.setattr(Null, "open", lambda self: Hanging())
    monkeypatch.setattr(module, "_AT_ONCE", 0.05)
    text = (
        GOOD.replace('[seq, "5"]', '[seq, "1000"]')
        .replace("file: out.ndjson", "null:")
        .replace("{strategy: block}", "{strategy: drop_newest, capacity: 10}")
    )
    report = load(tmp_path, text).run(drain="50ms")
    release.set()
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    sink = report.pipelines["all"].sinks["null"]
    assert (sink.delivered, sink.held) == (0, 0)
    assert sink.failed > 0
    lost = report.pipelines["all"].dropped
    assert sink.failed + lost["null: drop_newest"] + lost.get("null: cut short", 0) == 998


# Failing sinks


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk_is_tried_again_until_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    text = (
        GOOD.replace('[seq, "5"]', '[seq, "30000"]')
        .replace("file: out.ndjson", f"file: {small_disk}/out")
        .replace("{strategy: block}", "block\n        retry: {limit: 1000, backoff: 5ms..20ms, within: 30s}")
    )
    project = load(tmp_path, text)
    box: list[rx.Report] = []
    collector = Collector(project)
    thread = threading.Thread(target=lambda: box.append(collector.run()))
    thread.start()

    def retried() -> int:
        pipeline = collector.report().pipelines.get("all")
        return pipeline.sinks["file"].retried if pipeline and pipeline.sinks else 0

    wait_until(lambda: retried() > 0, "the disk is full")
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    thread.join(30)
    (report,) = box
    assert (report.exit_code, report.balanced) == (0, True)
    assert [one["message"] for one in records(small_disk / "out")] == [str(n) for n in range(3, 30001)]


REJECTING = """
runners:
  mixed: {command: [python3, -c, "import sys; sys.stdout.buffer.write(bytes([123,34,110,34,58,32,49,125,10,255,32,63,10]))"]}
pipelines:
  p:
    from: mixed
    operators:
      - parse: json
    sinks:
      - file: /dev/full
        backpressure: block
        on_failure: dead_letter
    dead_letter: {file: dead}
"""
REPLAY = """
runners:
  letters: {command: [cat, dead]}
pipelines:
  again:
    from: letters
    operators:
      - parse: json
      - restore
    sinks:
      - file: {path: again, envelope: true}
        backpressure: block
"""


def test_dead_letters_of_an_operator_and_of_a_sink_are_replayed(tmp_path: Path) -> None:
    report = load(tmp_path, REJECTING).run()
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0  # it was declared what becomes of them
    assert report.pipelines["p"].sinks["file"].failed == 1
    by_reason = {one["reason"]: one for one in records(tmp_path / "dead")}
    parse, sink = by_reason["parse"], by_reason["sink"]
    file = (tmp_path / "x.yaml").name
    assert base64.b64decode(parse["raw_base64"]) == b"\xff ?"
    assert (parse["operator"], parse["line"], parse["runner"]) == ("operators[0] parse", 2, "mixed")
    assert parse["place"].endswith(f"{file}:8")
    assert (sink["operator"], sink["data"], sink["raw"]) == ("sinks[0] file", {"n": 1}, '{"n": 1}')
    assert sink["place"].endswith(f"{file}:10")
    assert "no space left on device" in sink["error"]

    report = load(tmp_path, REPLAY).run()
    assert report.balanced, report.unbalanced
    again = {one["line"]: one for one in records(tmp_path / "again")}
    assert again[1]["data"] == {"n": 1}
    assert again[2]["data"] == {"message": "\ufffd ?"}
    for letter in (parse, sink):
        one = again[letter["line"]]
        for key in ("id", "runner", "incarnation", "pid", "observed_time"):
            assert one[key] == letter[key]


@settings(deadline=None, derandomize=True, max_examples=200)
@given(
    raw=st.none() | st.binary(max_size=40),
    data=st.none() | st.dictionaries(st.text(max_size=3), st.integers(-(2**53), 2**53), max_size=3),
    kind=st.sampled_from(["line", "stderr", "lifecycle"]),
    runner=st.text("ab-/.1", min_size=1, max_size=6),
    line=st.integers(1, 1 << 40),
    part=st.sampled_from(["", "0", "+3", "0.1"]),
    time_ns=st.none() | st.integers(0, 4 * 10**18),
)
def test_a_record_read_again_is_the_event_that_it_tells_of(
    raw: bytes | None, data: Any, kind: str, runner: str, line: int, part: str, time_ns: int | None
) -> None:
    """Whatever its bytes are: text, no text, nothing; and wherever it came from."""
    origin = Origin("20261124T105009.123456Z", runner, 3, 42, 1_700_000_000_123_456_789, kind)
    if raw is None and data is None:
        data = {}
    event = Event(from_message if data is None else data, raw, origin, line, None, time_ns, part)
    record = dead_letter(event, operator="sinks[0] file", reason="sink", error="it is full", place="x.yaml:3")
    again = restore(json.loads(encode_json(record.data)))
    assert (again.raw, again.id, again.line, again.part, again.type) == (raw, event.id, line, part, kind)
    assert (again.runner, again.incarnation, again.pid) == (runner, 3, 42)
    assert (again.observed_time, again.time) == (event.observed_time, event.time)
    if data is not None or raw is not None:
        assert again.data == event.data


def test_what_is_no_dead_letter_is_rejected_by_restore(tmp_path: Path) -> None:
    (tmp_path / "dead").write_text(
        '{"a": 1}\n{"raw": "x", "runner": "r", "incarnation": 1, "line": 1, "id": "y"}\n[]\n'
    )
    report = load(tmp_path, REPLAY).run()
    assert report.pipelines["again"].rejected == {"parse": 1, "restore": 2}
    assert report.balanced


MISTAKES = {
    "on_failure: dead_letter": ":12:21: pipelines.all.sinks[0].on_failure: the pipeline has no 'dead_letter' to send to",
    "on_failure: retry": "x.yaml:12:21: pipelines.all.sinks[0].on_failure: unknown choice 'retry'",
    "retry: {limit: 5, backof: 1s}": "unknown key 'backof', did you mean 'backoff'?",
    "retry: {backoff: 10s..1s}": "'10s..1s' is no range",
    "retries: 5": "unknown sink 'retries', did you mean 'retry'?",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistakes(tmp_path: Path, line: str) -> None:
    with pytest.raises(rx.ConfigError) as caught:
        load(tmp_path, GOOD + f"        {line}\n")
    assert len(caught.value.mistakes) == 1
    assert MISTAKES[line] in str(caught.value)


def test_the_dead_letter_has_none_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(rx.ConfigError, match="has no dead letter of its own"):
        load(tmp_path, GOOD + "    dead_letter: {file: dead, on_failure: dead_letter}\n")


# What is said about it


@pytest.mark.slow
def test_explain_states_the_worst_case_of_each_boundary(tmp_path: Path) -> None:
    text = GOOD.replace('{command: [seq, "5"]}', '{command: [seq, "5"], max_line: 1KiB}') + (
        "      - null:\n        backpressure: {strategy: drop_oldest, capacity: 100, max_bytes: 1MiB}\n"
        "        retry: 3\n        on_failure: drop\n"
        "      - null:\n        name: kept\n"
        "        backpressure: {strategy: spill, path: s, capacity: 100, max_bytes: 2MiB}\n"
        "      - null:\n        name: newest\n        backpressure: {strategy: latest, key: message, capacity: 100}\n"
        "      - null:\n        name: sums\n        backpressure: {strategy: conflate, by: message, capacity: 100, "
        "aggregate: {n: count(), last: last(message)}}\n"
        "      - null:\n        name: merged\n        backpressure: {strategy: conflate, merge: 'operator:add'}\n"
        "    dead_letter: {null: {}, backpressure: {strategy: block, capacity: 50}}\n"
        "  more:\n    from: all\n    operators: [{buffer: {count: 10}}]\n    sinks:\n"
        "      - null:\n        backpressure: {strategy: block, capacity: 10}\n"
        "  made:\n    from: all\n    operators: [{map: this}]\n    sinks:\n"
        "      - null:\n        backpressure: latest\n"
    )
    (tmp_path / "x.yaml").write_text(text)
    explained = command("explain", "x.yaml", cwd=tmp_path).stdout
    worst = [line.strip() for line in explained.splitlines() if "worst case" in line]
    assert worst == [
        "worst case: 10,000 events, 9.766MiB (1KiB each)",
        "worst case: 100 events, 1MiB (or one event, where that is larger)",
        "worst case: 100 events, 100KiB (1KiB each), and 2MiB on disk",
        "worst case: 100 events, 100KiB (1KiB each)",
        "worst case: 100 events, 400KiB (4KiB each)",
        "worst case: 10,000 events, as many bytes as its 'merge' makes of them",
        "worst case: 50 events, 50KiB (records of lines of at most 1KiB)",
        "worst case: 10 events, 100KiB (10KiB each)",
        "worst case: 2 events, as many bytes as made.operators[0] map makes of them; max_bytes would bound it",
    ]
    assert "when the sink fails: 3 more tries, then drop" in explained


@pytest.mark.slow
def test_what_passes_events_on_as_they_are_makes_no_worst_case_worse(tmp_path: Path) -> None:
    operators = (
        "[parse: json, where: n > 1, tap: this, log: this, skip: 1, sample: {every: 2}, throttle: {count: 1, time: 1s},"
        " dedupe: n, debounce: 1s, sort: 1s, timeout: 1m, limit: 9]"
    )
    (tmp_path / "x.yaml").write_text(
        "runners: {lines: {command: [cat], max_line: 1KiB}}\n"
        f"pipelines: {{all: {{from: lines, operators: {operators}, sinks: [{{null: , backpressure: block}}]}}}}\n"
    )
    explained = command("explain", "x.yaml", cwd=tmp_path)
    assert "worst case: 10,000 events, 9.766MiB (1KiB each)" in explained.stdout, explained.stderr


@pytest.mark.slow
def test_describe_tells_the_guarantee_and_the_options(tmp_path: Path) -> None:
    for name in STRATEGIES:
        described = " ".join(command("describe", name, cwd=tmp_path).stdout.split())
        assert f"Guarantee: {STRATEGIES[name].guarantee}" in described
        for option in STRATEGIES[name].options():
            assert f" {option}: " in described
    described = command("describe", "sink", cwd=tmp_path).stdout
    assert "    on_failure: " in described
    assert "    retry: " in described
