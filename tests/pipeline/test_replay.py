"""A run that is recorded and replayed: the same bytes, every time, at any speed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from reactivex import Observable, operators

import rx_collector
from rx_collector import operators as op
from rx_collector.clock import Distance, Look
from rx_collector.errors import ConfigError, OutputError
from rx_collector.ledger import Report, RunnerLedger
from rx_collector.pipeline import record
from rx_collector.pipeline import recording as form
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.recording import Recording
from rx_collector.pipeline.replay import ReplayCollector
from rx_collector.stream.eventstream import EventStream

BEGAN = 1_790_000_000 * 10**9
SECOND = 10**9


def load(directory: Path, text: str, **environment: str) -> Project:
    (directory / "x.yaml").write_text(text)
    return rx_collector.load(directory / "x.yaml", {"OUT": "out.ndjson", **environment})


def outputs(directory: Path) -> dict[str, bytes]:
    """What the sinks have written, and take it away for the next run."""
    made = {file.name: file.read_bytes() for file in sorted(directory.glob("*.ndjson"))}
    for name in made:
        (directory / name).unlink()
    return made


class Script:
    """A recording written by hand: what one runner prints, at seconds since the beginning."""

    def __init__(self, path: Path, runners: Sequence[str] = ("a",)) -> None:
        self.path = path
        self.records: list[Any] = [
            form.Header(
                1, "x", "run", "2026-09-21T14:13:20Z", BEGAN, 5 * SECOND, BEGAN - 7 * SECOND, 2 * SECOND, [*runners]
            )
        ]
        self._last = dict.fromkeys(runners, 0)

    def lines(self, seconds: float, *lines: str, runner: str = "a") -> Script:
        first = self._last[runner] + 1
        self._last[runner] += len(lines)
        return self.add(
            form.Lines(self.tick(seconds), self.wall(seconds), runner, 1, 7, first, 0, [list(map(str.encode, lines))])
        )

    def add(self, record: form.Record) -> Script:
        self.records.append(record)
        return self

    @staticmethod
    def tick(seconds: float) -> int:
        return round(seconds * SECOND)

    @staticmethod
    def wall(seconds: float) -> int:
        return BEGAN + Script.tick(seconds)

    def write(self, seconds: float | None = None) -> Path:
        """Write it; it ends as it should when it says when."""
        if seconds is not None:
            for name in self._last:
                self.add(form.RunnerEnd(self.tick(seconds), self.wall(seconds), name, form.Totals()))
            self.add(form.Closed(self.tick(seconds)))
        self.path.write_bytes(b"".join(map(form.encode, self.records)))
        return self.path


# The run itself and its replay

EVERYTHING = """\
runners:
  boot:
    command: [{python}, -c, "import time; print('{{\\"t\\": %d}}' % time.clock_gettime_ns(time.CLOCK_BOOTTIME))"]
    restart: {{when: always, backoff: 10ms..20ms, limit: 2 in 1m}}
  monotonic:
    command: [{python}, -c, "import time; print('{{\\"t\\": %d}}' % time.monotonic_ns())"]
  odd:
    command: [printf, 'one\\nt\\303w\\303\\266\\n\\000\\t"\\\\\\nabcdefghijkl\\nlast']
    max_line: 10
    skip_lines: 1
    lifecycle: true
  told:
    command: [sh, -c, "echo out; echo err >&2; exit 3"]
    stderr: events
  loses:
    command: [echo, "Lost 5 events"]
    lost: [{{line: 'Lost (?P<count>[0-9]+) events', on: stdout}}]
pipelines:
  booted:
    from: boot
    operators: [parse: {{format: json, time: {{field: t, unit: ns, clock: boot}}}}]
    sinks: [{{file: {{path: boot.ndjson, envelope: true}}, backpressure: block}}]
  running:
    from: monotonic
    operators: [parse: {{format: json, time: {{field: t, unit: ns, clock: monotonic}}}}]
    sinks: [{{file: {{path: monotonic.ndjson, envelope: true}}, backpressure: block}}]
  odds:
    from: odd
    sinks: [{{file: {{path: odd.ndjson, envelope: true}}, backpressure: block}}]
    dead_letter: {{file: rejected.ndjson}}
  tells:
    from: told
    sinks: [{{file: {{path: told.ndjson, envelope: true}}, backpressure: block}}]
  ends:
    from: [boot.lifecycle]
    sinks: [{{file: {{path: lifecycle.ndjson, envelope: true}}, backpressure: block}}]
  losing:
    from: loses
    sinks: [{{"null": {{}}, backpressure: block}}]
"""


@pytest.mark.slow
def test_the_replay_gives_what_the_run_gave(tmp_path: Path) -> None:
    """Ids, times, also those of other clocks, incarnations, numbers of lines, what was rejected; and the same account."""
    project = load(tmp_path, EVERYTHING.format(python=sys.executable))
    live = project.record(tmp_path / "r.recording")
    written = outputs(tmp_path)
    assert set(written) == {f"{name}.ndjson" for name in ("boot", "monotonic", "odd", "told", "lifecycle", "rejected")}
    assert len(written["boot.ndjson"].splitlines()) == 3
    assert b"line_too_long" in written["rejected.ndjson"]
    assert b'"type":"stderr"' in written["told.ndjson"]
    assert b"gave_up" in written["lifecycle.ndjson"]
    for event in map(json.loads, written["boot.ndjson"].splitlines()):
        assert event["time"] != event["observed_time"]
    for speed in (None, None, 3.0):
        replayed = project.replay(tmp_path / "r.recording", speed=speed)
        assert outputs(tmp_path) == written
        assert replayed.runners == live.runners
        assert replayed.pipelines == live.pipelines
        assert (replayed.exit_code, replayed.errors) == (1, live.errors)
    assert live.runners["loses"].lost_upstream == 5


def delayed(stream: EventStream) -> Observable[Any]:
    """An operator that is not ours, and not done when its source is."""
    return stream.pipe(operators.delay(0.07), operators.throttle_first(0.03))


TIMED = """\
runners:
  quick: {command: [sh, -c, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.02; done"]}
  restarted:
    command: [sh, -c, "echo begins; sleep 0.05; exit 1"]
    restart: {when: always, backoff: 20ms..40ms, limit: 2 in 1m}
pipelines:
  both:
    from: [quick, restarted, restarted.lifecycle]
    sinks: [{file: {path: both.ndjson, envelope: true}, backpressure: block}]
  buffers:
    from: quick
    operators: [buffer: {count: 5, time: 50ms}]
    sinks: [{file: {path: buffers.ndjson, envelope: true}, backpressure: drop_oldest}]
  windows:
    from: both
    operators: [window: {every: 50ms, by: message, aggregate: {n: count()}}]
    sinks: [{file: windows.ndjson, backpressure: block}]
  sessions:
    from: both
    operators: [window: {session: 15ms, aggregate: {n: count(), last: last(message)}}]
    sinks: [{file: sessions.ndjson, backpressure: block}]
  throttled:
    from: both
    operators: [throttle: {count: 1, time: 30ms}]
    sinks: [{file: throttled.ndjson, backpressure: block}]
  settled:
    from: both
    operators: [debounce: 15ms]
    sinks: [{file: settled.ndjson, backpressure: block}]
  grouped:
    from: both
    operators:
      - group_by: {key: meta.runner, operators: [buffer: {count: 3, time: 25ms}], idle: 30ms}
    sinks: [{file: grouped.ndjson, backpressure: {strategy: drop_newest, capacity: 1}}]
  joined:
    from: quick
    operators:
      - set: {kind: '"any"'}
      - join: {with: restarts, on: kind}
      - merge: [settled]
    sinks: [{file: joined.ndjson, backpressure: block}]
  restarts:
    from: restarted.lifecycle
    operators: [set: {kind: '"any"'}]
  delayed:
    from: quick
    operators: [python: "tests.pipeline.test_replay:delayed"]
    sinks: [{file: delayed.ndjson, backpressure: block}]
  beats:
    from: restarted
    operators: [heartbeat: {every: 30ms}]
    sinks: [{file: beats.ndjson, backpressure: block}]
"""


@pytest.mark.slow
def test_what_goes_by_time_is_the_same_at_every_speed(tmp_path: Path) -> None:
    project = load(tmp_path, TIMED)
    project.record(tmp_path / "r.recording")
    outputs(tmp_path)
    made: list[dict[str, bytes]] = []
    reports: list[Report] = []
    for speed in (None, None, 1.0, 50.0):
        reports.append(project.replay(tmp_path / "r.recording", speed=speed))
        made.append(outputs(tmp_path))
    assert made[1:] == made[:1] * 3
    assert all(made[0].values()), made[0].keys()
    assert len(made[0]["windows.ndjson"].splitlines()) > 3
    assert [report.pipelines for report in reports[1:]] == [reports[0].pipelines] * 3
    assert [report.runners for report in reports[1:]] == [reports[0].runners] * 3


SIMPLE = """\
runners: {a: {command: [does-not-exist]}}
pipelines:
  all:
    from: a
    sinks: [{file: {path: "${OUT}"}, backpressure: block}]
"""


def test_time_is_that_of_the_recording(tmp_path: Path) -> None:
    """An hour takes no time, windows close when they did, and what waits at a moment comes before what is printed at it."""
    script = Script(tmp_path / "r")
    for minute in range(60):
        script.lines(minute * 60 + 30, "x", "y")
    script.write(3600)
    operators = "    operators: [window: {every: 10m, time: arrival, aggregate: {n: count()}}]\n"
    began = time.monotonic()
    load(tmp_path, SIMPLE.replace("    sinks", operators + "    sinks")).replay(tmp_path / "r")
    assert time.monotonic() - began < 5
    windows = [json.loads(line) for line in outputs(tmp_path)["out.ndjson"].splitlines()]
    assert sum(window["n"] for window in windows) == 120
    assert [window["n"] for window in windows[1:-1]] == [20] * (len(windows) - 2)


@pytest.mark.slow
def test_a_speed_is_how_much_faster_than_the_run(tmp_path: Path) -> None:
    script = Script(tmp_path / "r").lines(0, "first").lines(3, "last")
    project = load(tmp_path, SIMPLE)
    began = time.monotonic()
    project.replay(script.write(3), speed=10.0)
    assert 0.3 <= time.monotonic() - began < 2
    assert outputs(tmp_path)["out.ndjson"] == b'{"message":"first"}\n{"message":"last"}\n'


@pytest.mark.slow
def test_what_is_due_between_two_records_is_done_at_its_time(tmp_path: Path) -> None:
    """Not only when the next record comes: who watches a replay sees a list when it was full of time."""
    project = load(tmp_path, SIMPLE.replace("    sinks", "    operators: [buffer: {time: 1s}]\n    sinks"))
    collector = ReplayCollector(
        project, Recording(Script(tmp_path / "r").lines(0, "x").lines(3600, "y").write()), speed=10.0
    )
    seen: list[float] = []
    began = time.monotonic()

    def tick() -> None:
        if (tmp_path / "out.ndjson").read_bytes() and not seen:
            seen.append(time.monotonic() - began)
            collector.stop()
        assert time.monotonic() - began < 20

    report = collector.run(tick=tick, interval=0.01)
    assert 0.1 <= seen[0] < 10
    assert (report.pipelines["all"].taken, report.exit_code) == (1, 0)


@pytest.mark.slow
def test_a_stop_ends_it_with_what_was_played(tmp_path: Path) -> None:
    project = load(tmp_path, SIMPLE)
    script = Script(tmp_path / "r", ["a", "b"]).lines(0, "x").lines(3600, "y", runner="b").lines(7200, "z")
    collector = ReplayCollector(project, Recording(script.write(7200)), speed=1.0)

    def tick() -> None:
        if collector.report().pipelines["all"].taken:
            collector.stop("enough")

    report = collector.run(tick=tick, interval=0.01)
    assert (report.balanced, report.exit_code) == (True, 0)
    assert (report.runners["a"].lines, report.pipelines["all"].sinks["file"].delivered) == (1, 1)


def test_what_hangs_is_cut_short_after_a_stop(tmp_path: Path) -> None:
    script = Script(tmp_path / "r").lines(0, *["x" * 1000] * 3000).lines(1, "last")  # more than a pipe holds
    sink = "exec: {command: [sleep, '3600'], grace: 1ms}, backpressure: {strategy: latest, capacity: 2}"
    project = load(tmp_path, SIMPLE.replace('file: {path: "${OUT}"}, backpressure: block', sink))
    collector = ReplayCollector(project, Recording(script.write(2)))

    def tick() -> None:
        if collector.report().pipelines["all"].taken:
            collector.stop()

    report = collector.run(drain=0.1, tick=tick, interval=0.01)
    assert (report.balanced, report.exit_code) == (True, 1)
    assert report.errors[0] == "the sinks did not take all events within 100ms"


def test_what_the_run_missed_the_replay_tells_too(tmp_path: Path) -> None:
    script = Script(tmp_path / "r").lines(0, "x")
    totals = form.Totals(2, 3, 0, 0, "did not end within 5s after SIGINT and was killed")
    script.add(form.RunnerEnd(SECOND, BEGAN, "a", totals)).add(form.Closed(SECOND)).write()
    report = load(tmp_path, SIMPLE).replay(tmp_path / "r")
    runner = report.runners["a"]
    assert (runner.bytes, runner.stderr_lines, runner.missed) == (2, 3, totals.missed)
    assert (report.exit_code, report.errors) == (1, [f"a {totals.missed}"])


def test_who_is_complete_is_played_no_further(tmp_path: Path) -> None:
    script = Script(tmp_path / "r").lines(0, "1").lines(1, "2", "3").lines(2, "4")
    project = load(tmp_path, SIMPLE.replace("    sinks", "    operators: [limit: 2]\n    sinks"))
    script.write(3)
    sheets = [project.replay(tmp_path / "r") for _ in range(3)]
    assert [sheet.runners["a"].lines for sheet in sheets] == [3, 3, 3]
    assert outputs(tmp_path)["out.ndjson"] == b'{"message":"1"}\n{"message":"2"}\n' * 3


@pytest.mark.parametrize(
    "strategy",
    [
        "{strategy: drop_oldest, capacity: 1}",
        "{strategy: drop_newest, capacity: 1, max_age: 1ms}",
        "{strategy: latest, capacity: 1, key: message}",
        "{strategy: error, capacity: 1}",
        "{strategy: conflate, aggregate: {n: count()}}",
        "{strategy: spill, path: spilled, capacity: 1}",
    ],
)
def test_no_strategy_loses_anything(tmp_path: Path, strategy: str) -> None:
    """What a full boundary does is a matter of real time; in a replay it waits for its sink."""
    lines = [str(number) for number in range(500)]
    script = Script(tmp_path / "r").lines(0, *lines)
    report = load(tmp_path, SIMPLE.replace("backpressure: block", f"backpressure: {strategy}")).replay(script.write(1))
    assert report.pipelines["all"].sinks["file"].delivered == 500
    assert outputs(tmp_path)["out.ndjson"] == b"".join(b'{"message":"%s"}\n' % line.encode() for line in lines)
    assert not (tmp_path / "spilled").exists()


def two_threads(stream: EventStream) -> EventStream:
    return stream.pipe(op.map(lambda event: event["message"] * 2), op.backpressure("drop_newest", capacity=1))


def test_a_boundary_in_an_operator_of_the_user_brings_no_thread(tmp_path: Path) -> None:
    text = SIMPLE.replace("    sinks", f"    operators: [python: '{__name__}:two_threads']\n    sinks")
    report = load(tmp_path, text).replay(Script(tmp_path / "r").lines(0, *"abcdefghij").write(1))
    assert report.pipelines["all"].sinks["file"].delivered == 10


def test_nobody_is_at_the_standard_input_of_a_runner(tmp_path: Path) -> None:
    text = """\
runners: {a: {command: [does-not-exist]}, sorted: {command: [does-not-exist]}}
pipelines:
  all: {from: a, sinks: [{stdin: sorted, backpressure: block}]}
  back: {from: sorted, sinks: [{file: out.ndjson, backpressure: block}]}
"""
    script = Script(tmp_path / "r", ["a", "sorted"]).lines(0, "b", "a").lines(1, "a", "b", runner="sorted")
    report = load(tmp_path, text).replay(script.write(1))
    assert outputs(tmp_path)["out.ndjson"] == b'{"message":"a"}\n{"message":"b"}\n'
    assert report.pipelines["all"].sinks["stdin"].delivered == 2


def test_a_clock_that_was_set_while_it_was_recorded(tmp_path: Path) -> None:
    """The steps are those of the recording: events that a tool stamped by the boot clock get the times they had."""
    script = Script(tmp_path / "r").lines(0, '{"t": 1000}')
    script.add(form.Clocks(SECOND, BEGAN + 3600 * SECOND, 2 * SECOND)).lines(1, '{"t": 1000}').write(2)
    parse = "    operators: [parse: {format: json, time: {field: t, unit: ns, clock: boot}}]\n"
    text = SIMPLE.replace("    sinks", parse + "    sinks").replace('path: "${OUT}"', 'path: "${OUT}", envelope: true')
    load(tmp_path, text).replay(tmp_path / "r")
    first, second = (json.loads(line)["time"] for line in outputs(tmp_path)["out.ndjson"].splitlines())
    assert (first, second) == ("2026-09-21T14:13:13.000001000Z", "2026-09-21T15:13:20.000001000Z")


def test_a_suspend_that_was_recorded() -> None:
    looks = iter([Look(100_000, 0, 10), Look(100_000, 0, 20), Look(100_000, 5_000_000, 30)])
    distance = Distance("monotonic", look=lambda: next(looks))
    assert [distance(), distance(), distance()] == [100_000, 100_000, 5_100_000]
    assert [distance.correction(value) for value in (20, 21)] == [-5_000_000, 0]


# Other pipelines than those of the run


def test_the_pipelines_may_have_changed(tmp_path: Path) -> None:
    script = Script(tmp_path / "r")
    script.add(form.Lifecycle(0, BEGAN, "a", 1, 7, "started", {}))
    script.lines(0, "head", "1", "2")
    script.add(form.Stderr(1, BEGAN, "a", 1, 7, [[b"oh"]]))
    script.add(form.Lifecycle(SECOND, BEGAN, "a", 1, 7, "exited", {"code": 0, "signal": None, "seconds": 1.0})).write(1)
    changed = SIMPLE.replace("does-not-exist]", "does-not-exist], skip_lines: 1, stderr: events").replace(
        "from: a", "from: [a, a.lifecycle]"
    )
    report = load(tmp_path, changed).replay(tmp_path / "r")
    made = [json.loads(line) for line in outputs(tmp_path)["out.ndjson"].splitlines()]
    assert made == [
        {"event": "started"},
        {"message": "1"},
        {"message": "2"},
        {"message": "oh"},
        {"event": "exited", "code": 0, "signal": None, "seconds": 1.0},
    ]
    assert (report.runners["a"].skipped, report.runners["a"].stderr_events, report.runners["a"].starts) == (1, 1, 1)
    load(tmp_path, SIMPLE).replay(tmp_path / "r")
    assert outputs(tmp_path)["out.ndjson"].splitlines() == [
        b'{"message":"%s"}' % word for word in (b"head", b"1", b"2")
    ]


def test_runners_that_only_one_of_the_two_has(tmp_path: Path, log: list[str]) -> None:
    script = Script(tmp_path / "r", ["a", "execs"]).lines(0, "x").lines(0, "y", runner="execs")
    text = SIMPLE.replace("{a: {command: [does-not-exist]}}", "{a: {command: [x]}, exec: {command: [y]}}")
    report = load(tmp_path, text.replace("from: a", "from: [a, exec]")).replay(script.write(1))
    assert report.pipelines["all"].taken == 1
    assert "WARNING runner execs was recorded and is not described, so it is not played" in log
    assert "WARNING runner exec was not recorded, so nothing comes from it, did you mean 'execs'?" in log


def test_no_runner_in_common(tmp_path: Path) -> None:
    script = Script(tmp_path / "r", ["b", "c"])
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, SIMPLE).replay(script.write(1))
    assert str(caught.value) == f"{tmp_path}/r: it has nothing of a; what was recorded is b and c"


def test_two_runners_come_in_the_order_in_which_they_were_recorded(tmp_path: Path) -> None:
    script = Script(tmp_path / "r", ["a", "b"])
    for number in range(50):
        script.lines(number / 10, f"a{number}").lines(number / 10, f"b{number}", runner="b")
    text = SIMPLE.replace("{a: {command: [does-not-exist]}}", "{a: {command: [x]}, b: {command: [y]}}")
    load(tmp_path, text.replace("from: a", "from: [b, a]")).replay(script.write(5))
    made = [json.loads(line)["message"] for line in outputs(tmp_path)["out.ndjson"].splitlines()]
    assert made == [f"{name}{number}" for number in range(50) for name in "ab"]


def test_a_wall_clock_that_was_set_back_moves_no_window(tmp_path: Path) -> None:
    """Operators go by the monotonic clock, as in the run; what was observed keeps the time that it was given."""
    script = Script(tmp_path / "r").lines(0, "x")
    script.add(form.Lines(2 * SECOND, BEGAN - 3600 * SECOND, "a", 1, 7, 2, 0, [[b"y"]])).lines(3, "z").write(4)
    text = SIMPLE.replace("    sinks", "    operators: [buffer: {time: 2500ms}]\n    sinks").replace(
        'path: "${OUT}"', 'path: "${OUT}", envelope: true'
    )
    report = load(tmp_path, text).replay(tmp_path / "r")
    times = [json.loads(line)["observed_time"][11:19] for line in outputs(tmp_path)["out.ndjson"].splitlines()]
    assert times == ["14:13:20", "13:13:20", "14:13:23"]
    assert report.pipelines["all"].made == 2


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none(tmp_path: Path, speed: float) -> None:
    with pytest.raises(ConfigError, match="speed: a number above 0"):
        load(tmp_path, SIMPLE).replay(Script(tmp_path / "r").write(1), speed=speed)


# What is wrong with a recording


def test_one_that_is_cut_off_is_played_to_its_last_whole_record(tmp_path: Path, log: list[str]) -> None:
    script = Script(tmp_path / "r").lines(0, "x").lines(2, "y")
    whole = script.write(3).read_bytes()
    header, first, second, *_ = (len(form.encode(record)) for record in script.records)
    for cut, said, lines in (
        (header + first + second + 3, "cut off in record 3, whose first 3 bytes are left out", b"xy"),
        (header + first + second, "cut off after record 2: what came later than after 2s is not in it", b"xy"),
        (header + first + second - 1, f"cut off in record 2, whose first {second - 1} bytes are left out", b"x"),
        (header, "cut off after record 0: what came later than after 0s is not in it", b""),
    ):
        (tmp_path / "r").write_bytes(whole[:cut])
        report = load(tmp_path, SIMPLE).replay(tmp_path / "r")
        assert (report.exit_code, report.balanced) == (0, True)
        assert any(line.startswith(f"WARNING {tmp_path}/r: it is ") and said in line for line in log), log
        log.clear()
        assert outputs(tmp_path)["out.ndjson"] == b"".join(b'{"message":"%c"}\n' % line for line in lines)


def test_a_recording_can_be_cut_off_anywhere(tmp_path: Path) -> None:
    script = Script(tmp_path / "r").lines(0, "x").lines(2, "y")
    whole, header = script.write(3).read_bytes(), len(form.encode(script.records[0]))
    for cut in range(header, len(whole) + 1):
        (tmp_path / "r").write_bytes(whole[:cut])
        recording = Recording(tmp_path / "r")
        records = list(recording.records())
        assert records == script.records[1 : len(records) + 1]
        assert (recording.cut_off is None) == (cut == len(whole))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (b"\n", "no record begins with the byte 0x0a"),
        (b"\0" * 100, "no record begins with the byte 0x00"),
        (b"\xc6\0\0\0\1\xc1", "MessagePack data is malformed: invalid opcode '\\xc1' (byte 0)"),
        (b"\xc6\0\0\0\1\x80", "Object missing required field `record`"),
    ],
)
def test_what_is_no_record_in_the_middle_ends_the_replay_there(tmp_path: Path, wrong: bytes, said: str) -> None:
    script = Script(tmp_path / "r").lines(0, "x").lines(2, "y")
    header, first, *rest = map(form.encode, script.records)
    (tmp_path / "r").write_bytes(b"".join([header, first, wrong, *rest]))
    report = load(tmp_path, SIMPLE).replay(tmp_path / "r")
    (error,) = report.errors
    assert (report.exit_code, report.balanced) == (1, True)
    assert error == f"{tmp_path}/r: byte {len(header + first)}: not a record: {said}"
    assert outputs(tmp_path)["out.ndjson"] == b'{"message":"x"}\n'


# While it is recorded


def test_a_recording_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("precious")
    with pytest.raises(OutputError, match="the file is there already"):
        load(tmp_path, SIMPLE).record(tmp_path / "r")
    assert (tmp_path / "r").read_text() == "precious"


def test_a_run_that_cannot_begin_leaves_none(tmp_path: Path) -> None:
    (tmp_path / "out.ndjson").mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        load(tmp_path, SIMPLE).record(tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_a_runner_that_cannot_be_started(tmp_path: Path) -> None:
    project = load(tmp_path, SIMPLE)
    live = project.record(tmp_path / "r")
    assert live.exit_code == 1
    assert project.replay(tmp_path / "r").errors == live.errors


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path, small_disk: Path) -> None:
    project = load(
        tmp_path,
        SIMPLE.replace("[does-not-exist]", "[sh, -c, 'for i in 1 2 3 4 5 6 7 8 9; do seq 2000; sleep 0.05; done']"),
    )
    report = project.record(small_disk / "r")
    assert report.pipelines["all"].sinks["file"].delivered == 18_000
    assert report.exit_code == 1
    (error,) = report.errors
    assert error.startswith(f"cannot record to {small_disk}/r: no space left on device; ")
    live = outputs(tmp_path)["out.ndjson"]
    replayed = project.replay(small_disk / "r")
    left_out = int(error.rpartition("; ")[2].partition(" ")[0].replace("_", "").replace(",", ""))
    assert replayed.runners["a"].lines + left_out == 18_000
    assert live.startswith(outputs(tmp_path).get("out.ndjson", b""))
    recording = Recording(small_disk / "r")
    assert sum(isinstance(record, form.Lines) for record in recording.records()) > 1
    assert "after record" in str(recording.cut_off)  # there is no half of one


@pytest.mark.slow
def test_two_chatty_runners_and_nothing_is_lost_or_out_of_order(tmp_path: Path) -> None:
    text = """\
runners:
  a: {command: [seq, "200000"]}
  b: {command: [seq, "200000"]}
pipelines:
  one: {from: a, sinks: [{file: a.ndjson, backpressure: {strategy: block, capacity: 100}}]}
  two: {from: b, sinks: [{file: b.ndjson, backpressure: block}]}
"""
    project = load(tmp_path, text)
    project.record(tmp_path / "r")
    live = outputs(tmp_path)
    project.replay(tmp_path / "r")
    assert outputs(tmp_path) == live
    ticks = [record.tick for record in Recording(tmp_path / "r").records()]
    assert ticks == sorted(ticks)


@pytest.mark.slow
def test_stderr_that_comes_faster_than_it_is_taken_is_counted_alike(tmp_path: Path) -> None:
    text = SIMPLE.replace("[does-not-exist]", "[sh, -c, 'seq 50000 >&2'], stderr: events")
    project = load(tmp_path, text)
    live = project.record(tmp_path / "r")
    replayed = project.replay(tmp_path / "r")
    assert replayed.runners == live.runners
    assert replayed.pipelines == live.pipelines


def test_a_disk_that_hangs_is_not_waited_for_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that does not return holds the recorder's lock; here the test does."""
    monkeypatch.setattr(record, "_AT_ONCE", 0.01)
    recorder = record._Recorder(str(tmp_path / "r"), "x", "run", ["a"])
    with recorder._lock:
        assert recorder.close() == f"cannot record to {tmp_path}/r: a write does not return"
    assert recorder.close() is None
    tap = record._Tap(recorder, "a", RunnerLedger("a"), str, lambda name: False)
    tap.lines([[b"late"]], 1, 1, 7)  # a reader that was left behind writes to no descriptor that is another's by now
    assert len(list(Recording(tmp_path / "r").records())) == 1
