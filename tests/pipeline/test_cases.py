"""The tests that files bring along: what is given is played as a runner would print it, and what comes of it compared."""

from __future__ import annotations

import itertools
import json
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema
import pytest
import reactivex
from hypothesis import strategies
from reactivex import operators

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.config.document import parse_document
from rx_collector.pipeline.pairing import fits, pair_anyhow, pair_in_order
from rx_collector.pipeline.rehearsal import rehearse
from rx_collector.pipeline.spec import FileSpec
from rx_collector.runners import supervisor as supervisor_module
from rx_collector.stream.virtual_time import VirtualTime

FILE = """\
runners:
  exec:
    command: [no-such-program]
pipelines:
  audit:
    from: exec
    operators:
      - parse: json
      - filter: uid != 0
      - set: {dir: filename.rpartition("/")[0]}
    sinks:
      - file: /proc/nothing/out
        backpressure: block
      - null:
        backpressure: {strategy: latest, capacity: 1}
    dead_letter: {file: /proc/nothing/dead}
"""
LS = '{"pid": 7, "uid": 1000, "filename": "/bin/ls"}'
ROOT = '{"pid": 8, "uid": 0, "filename": "/bin/sh"}'


def project(directory: Path, text: str) -> rx.Project:
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml", {})


def judged(directory: Path, given: str, expect: str, file: str = FILE) -> list[str]:
    """Load a file with one test, and give what is not as expected, as line: what."""
    case = f"tests:\n  - name: it\n    given: {given}\n    expect: {expect}\n"
    (verdict,) = project(directory, file + case).test()
    return [f"{failure.place.rpartition(':')[2]}: {failure.what}" for failure in verdict.failures]


def payloads(directory: Path, given: str, file: str, pipeline: str = "p") -> list[Any]:
    """Play a file with one test, and give the payloads at the end of a pipeline."""
    case = f"tests:\n  - name: it\n    given: {given}\n    expect: {{ledger: {{in: 0}}}}\n"
    loaded = project(directory, file + case)
    return [event.data for event in rehearse(loaded, loaded.tests[0].given).events[pipeline]]


def one(operators: str, runner: str = "") -> str:
    """A file with one runner and one pipeline."""
    return textwrap.dedent(f"""\
        runners:
          r: {{command: [no-such-program]{runner}}}
        pipelines:
          p:
            from: r
            operators: {operators}
            sinks: [{{null: , backpressure: block}}]
        """)


def test_the_example_of_the_design(tmp_path: Path) -> None:
    text = FILE + textwrap.dedent("""\
        tests:
          - name: root's programs are left out
            given:
              exec:
                - {"pid": 7, "uid": 1000, "filename": "/bin/ls"}
                - {after: 2s, line: '{"pid": 8, "uid": 0, "filename": "/bin/sh"}'}
                - {exit: 0}
            expect:
              audit: [{pid: 7, dir: /bin}]
              ledger: {filtered: 1, delivered: 1}
        """)
    (verdict,) = project(tmp_path, text).test()
    assert verdict.failures == ()
    assert verdict.passed
    assert (verdict.name, verdict.place) == ("root's programs are left out", f"{tmp_path / 'x.yaml'}:18")
    assert list(tmp_path.iterdir()) == [tmp_path / "x.yaml"]


# What is not as expected


@pytest.mark.parametrize(
    ("expect", "failures"),
    [
        ("{audit: [{pid: 7}]}", []),
        ("{audit: [{pid: 7, gone: null}]}", []),
        ("{audit: [{pid: 9}]}", ["20: audit[0] is not as expected"]),
        ("{audit: [{pid: true}]}", ["20: audit[0] is not as expected"]),
        ("{audit: []}", ["20: audit: one event too many"]),
        ("{audit: [{pid: 7}, {pid: 8}]}", ["20: audit[1] did not come"]),
        ("{audit: [{pid: 6}, {pid: 7}]}", ["20: audit[0] did not come"]),
        ("{ledger: {in: 2, filtered: 1, delivered: 1, lines: 2, starts: 1}}", []),
        ("{ledger: {filtered: 2}}", ["20: ledger.filtered is not as expected"]),
        ("{ledger: {audit: {filtered: 2}, exec: {lines: 1}}}", ["20: ledger.audit.filtered", "20: ledger.exec.lines"]),
        ("{dead_letter: []}", []),
        ("{dead_letter: {audit: [{reason: parse}]}}", ["20: dead_letter.audit[0] did not come"]),
        ("{errors: [exploded]}", ["20: this error did not come"]),
        ("{errors: []}", []),
    ],
)
def test_what_is_not_as_expected(tmp_path: Path, expect: str, failures: list[str]) -> None:
    found = judged(tmp_path, f"{{exec: ['{LS}', '{ROOT}']}}", expect)
    assert len(found) == len(failures)
    assert all(one.startswith(failure) for one, failure in zip(found, failures, strict=True))


def test_each_expectation_has_its_line_and_its_fields(tmp_path: Path) -> None:
    text = FILE + textwrap.dedent(f"""\
        tests:
          - name: it
            given: {{exec: ['{LS}']}}
            expect:
              audit:
                - pid: 7
                  dir: /sbin
        """)
    ((failure,),) = [verdict.failures for verdict in project(tmp_path, text).test()]
    assert failure.place.endswith("x.yaml:22")
    shown = [(field.name, field.expected, field.got, field.same) for field in failure.fields[:2]]
    assert shown == [("pid", 7, 7, True), ("dir", "/sbin", "/bin", False)]
    assert {field.name for field in failure.fields[2:]} == {"uid", "filename"}


NUMBERS = one("[map: int(message)]")


def test_one_that_is_missing_does_not_make_the_others_wrong(tmp_path: Path) -> None:
    given = "{r: [1, 2, 4, 5, 6]}"
    assert judged(tmp_path, given, "{p: [1, 2, 3, 4, 5, 6]}", NUMBERS) == ["11: p[2] did not come"]
    assert judged(tmp_path, given, "{p: [1, 2, 5, 6]}", NUMBERS) == ["11: p: one event too many"]
    assert judged(tmp_path, given, "{p: [1, 9, 4, 8, 5, 6]}", NUMBERS) == [
        "11: p[1] is not as expected",
        "11: p[3] did not come",
    ]


def test_any_order(tmp_path: Path) -> None:
    given = "{r: [1, 2, 3]}"
    assert judged(tmp_path, given, "{p: [3, 1, 2]}", NUMBERS) != []
    assert judged(tmp_path, given, "{p: {any_order: true, events: [3, 1, 2]}}", NUMBERS) == []
    assert judged(tmp_path, given, "{p: {any_order: false, events: [3, 1, 2]}}", NUMBERS) != []
    assert judged(tmp_path, given, "{p: {any_order: true, events: [3, 1]}}", NUMBERS) == ["11: p: one event too many"]


def test_in_any_order_what_fits_many_gives_way_to_what_fits_few(tmp_path: Path) -> None:
    file = one("[parse: json]")
    given = "{r: [{a: 1, b: 1, c: 1}, {a: 1, b: 1}, {a: 1}]}"
    expect = "{p: {any_order: true, events: [{a: 1}, {a: 1, b: 1}, {a: 1, c: 1}]}}"
    assert judged(tmp_path, given, expect, file) == []
    assert judged(tmp_path, given, expect.replace("c: 1", "c: 2"), file) == ["11: p[2] is not as expected"]


SMALL = strategies.lists(
    strategies.dictionaries(strategies.sampled_from("abc"), strategies.integers(0, 1), max_size=3), max_size=4
)


@pytest.mark.slow
@hypothesis.settings(deadline=None)
@hypothesis.given(SMALL, SMALL)
def test_as_many_as_possible_are_paired(expected: list[Any], got: list[Any]) -> None:
    """Compared with trying every way to pair them."""
    padded = [*got, *[None] * len(expected)]
    best = max(
        sum(other is not None and fits(one, other) for one, other in zip(expected, order, strict=True))
        for order in itertools.permutations(padded, len(expected))
    )
    pairs = pair_anyhow(expected, got)
    left = [one for one, _ in pairs if one is not None], [other for _, other in pairs if other is not None]
    assert len(expected) - len(left[0]) == len(got) - len(left[1]) == best
    assert len(pairs) == max(map(len, left))

    def longest(one: int, other: int) -> int:
        if one == len(expected) or other == len(got):
            return 0
        both = 1 + longest(one + 1, other + 1) if fits(expected[one], got[other]) else 0
        return max(both, longest(one + 1, other), longest(one, other + 1))

    pairs = pair_in_order(expected, got)
    assert [one for one, _ in pairs if one is not None] == list(range(len(expected)))
    assert [other for _, other in pairs if other is not None] == list(range(len(got)))
    if len(expected) != len(got):  # else each is compared with the one in its place
        fitting = [1 for one, other in pairs if None not in (one, other) and fits(expected[one or 0], got[other or 0])]
        assert len(fitting) == longest(0, 0)


# What is given


def test_a_payload_passes_the_parse_of_its_line_and_no_other(tmp_path: Path) -> None:
    file = one(
        "[filter: message != '', parse: {format: regex, pattern: '(?P<x>z)'}, parse: {format: logfmt, field: text}]"
    )
    assert payloads(tmp_path, "{r: [{text: a=1}, x, {event: {line: 3, text: b=2}}]}", file) == [{"a": "1"}, {"b": "2"}]


def test_a_text_is_its_lines_and_a_scalar_is_as_it_is_written(tmp_path: Path) -> None:
    file = one("[map: message]")
    assert payloads(tmp_path, '{r: "a\\n\\nb\\n"}', file) == ["a", "", "b"]
    assert payloads(tmp_path, "{r: [0.50, 12:30, no, true, {line: 0x10, times: 2}]}", file) == [
        "0.50",
        "12:30",
        "no",
        "true",
        "0x10",
        "0x10",
    ]


def test_lines_are_framed_as_the_runner_says(tmp_path: Path) -> None:
    file = one("[map: '[meta.line, message]']", ", skip_lines: 1, max_line: 3B")
    assert payloads(tmp_path, "{r: [header, abc, abcd, d, {exit: 0}]}", file) == [[2, "abc"], [4, "d"]]
    expect = "{ledger: {skipped: 1, rejected: 1, lines: 4, in: 2}}"
    assert judged(tmp_path, "{r: [header, abc, abcd, d]}", expect, file) == []
    truncated = one("[map: message]", ", max_line: 3B, overlong: truncate")
    assert payloads(tmp_path, "{r: [abcdef]}", truncated) == ["abc"]


@pytest.mark.parametrize(
    "operator",
    [
        "dedupe: {key: message, size: 2}",
        "throttle: {count: 1, time: 1h, key: message, size: 2}",
        "sample: {every: 1, key: message, size: 2}",
        "scan: {by: message, fields: {n: 'default(n, 0) + 1'}, size: 2}",
        "group_by: {key: message, size: 2, operators: [limit: 1]}",
        "debounce: {time: 1h, key: message, size: 2}",
        "window: {every: 1h, by: message, size: 2, aggregate: {n: count()}}",
        "window: {session: 1h, by: message, size: 2, aggregate: {n: count()}}",
        "window: {count: 9, by: message, size: 2, aggregate: {n: count()}}",
        "aggregate: {by: message, size: 2, n: count()}",
    ],
)
def test_what_gave_way_is_a_count_of_the_ledger(tmp_path: Path, operator: str) -> None:
    file = one(f"[{operator}]")
    assert judged(tmp_path, "{r: [1, 2, 3, 3, 4]}", "{ledger: {evicted: 2, p: {evicted: 2}}}", file) == []
    assert judged(tmp_path, "{r: [1, 2, 2, 1]}", "{ledger: {evicted: 0}}", file) == []


def test_what_does_not_parse_is_a_dead_letter(tmp_path: Path) -> None:
    given = f"{{exec: [no json, '{LS}']}}"
    right = "{audit: [{pid: 7}], dead_letter: [{reason: parse, raw: no json, line: 1}], ledger: {dead_letters: 1}}"
    assert judged(tmp_path, given, right) == []
    assert judged(tmp_path, given, "{dead_letter: {audit: []}}") == ["20: dead_letter.audit: one event too many"]


def test_an_exit_ends_the_runner(tmp_path: Path) -> None:
    assert judged(tmp_path, "{r: [1, {exit: 3}]}", "{p: [1], errors: ['r: exited with code 3']}", NUMBERS) == []
    assert (
        judged(
            tmp_path,
            "{r: [1, {exit: SIGSEGV}]}",
            "{errors: [r: was killed by SIGSEGV]}".replace("r: was", "was"),
            NUMBERS,
        )
        == []
    )
    assert judged(tmp_path, "{r: [1, {exit: 3}]}", "{p: [1]}", NUMBERS) == []
    assert judged(tmp_path, "{r: [1, {exit: 0}]}", "{p: [1], errors: []}", NUMBERS) == []
    assert judged(tmp_path, "{r: [1, {exit: 3}]}", "{errors: []}", NUMBERS) == ["9: an error was not expected"]
    assert judged(tmp_path, "{r: [1, {exit: 0}, 2]}", "{p: [1]}", NUMBERS) == [
        "10: given.r: this was not given any more, r had ended for good"
    ]


def test_success_codes(tmp_path: Path) -> None:
    assert judged(tmp_path, "{r: [{exit: 1}]}", "{errors: []}", one("[]", ", success_codes: [1]")) == []


META = "[map: '[meta.incarnation, meta.line, message]']"


def test_a_restart_begins_the_next_incarnation(tmp_path: Path) -> None:
    file = one(META, ", restart: on-failure, skip_lines: 1")
    given = "{r: [head, a, {exit: 1}, head, b, {exit: 1}]}"
    assert payloads(tmp_path, given, file) == [[1, 2, "a"], [2, 2, "b"]]
    assert judged(tmp_path, given, "{errors: [], ledger: {starts: 2, skipped: 2}}", file) == []
    assert judged(tmp_path, given.replace("exit: 1", "exit: 0"), "{p: [[1, 2, a]]}", file) == [
        "10: given.r: this was not given any more, r had ended for good"
    ]


def test_a_restart_waits_in_stream_time(tmp_path: Path) -> None:
    file = one("[map: meta.observed_time.timestamp()]", ", restart: {when: always, backoff: 10s..10s}")
    file = file.replace("meta.observed_time.timestamp()", "meta.time_ns // 1_000_000_000 % 86_400")
    soon, late = payloads(tmp_path, "{r: [{exit: 1}, {after: 1s, line: a}, {exit: 1}, {after: 1m, line: b}]}", file)
    assert 8 <= soon <= 10
    assert late == soon + 60


def test_a_runner_gives_up_at_its_limit(tmp_path: Path) -> None:
    file = one("[]", ", restart: {when: always, backoff: 1s, limit: 1 in 1m}")
    given = "{r: [{exit: 1}, {exit: 2}]}"
    error = "'r: exited with code 2; gave up after 2 starts (1 restarts in 1m are the limit)'"
    assert judged(tmp_path, given, f"{{errors: [{error}]}}", file) == []
    late = "{r: [{exit: 1}, {after: 2m, exit: 2}]}"
    assert judged(tmp_path, late, "{errors: []}", file) == []


def test_a_periodic_command(tmp_path: Path) -> None:
    file = one("[map: '[meta.incarnation, meta.time_ns // 1_000_000_000 % 86_400]']", ", every: 10s")
    assert payloads(tmp_path, "{r: [a, {after: 2s, exit: 1}, b, {exit: 0}, c]}", file) == [[1, 0], [2, 10], [3, 20]]
    assert judged(tmp_path, "{r: [a, {exit: 1}]}", "{errors: []}", file) == []


def test_what_becomes_of_the_child(tmp_path: Path) -> None:
    file = one("[]", ", restart: on-failure").replace("from: r", "from: r.lifecycle")
    given = "{r: [a, {after: 5s, exit: SIGKILL}, b]}"
    expect = """{p: [{event: started}, {event: ready}, {event: exited, signal: 9, code: null, seconds: 5},
      {event: restarting}, {event: started}, {event: ready}, {event: exited, code: 0}], ledger: {r: {starts: 2}}}"""
    assert judged(tmp_path, given, expect, file) == []


def test_what_a_tool_reports_as_lost(tmp_path: Path) -> None:
    file = one("[]", ", lost: 'lost (?P<count>[0-9]+)'")
    assert judged(tmp_path, "{r: [lost 7, lost 2]}", "{ledger: {lost: 9}}", file) == []


# Several runners and pipelines


def test_runners_take_turns_by_their_times_and_pipelines_feed_pipelines(tmp_path: Path) -> None:
    file = textwrap.dedent("""\
        runners:
          a: {command: [no-such-program]}
          b: {command: [no-such-program]}
          fed: {command: [no-such-program]}
        pipelines:
          both: {from: [a, b], operators: [set: {n: int(message)}]}
          large:
            from: both
            operators: [filter: n > 2]
            sinks: [{stdin: fed, backpressure: block}]
          answers: {from: fed, sinks: [{null: , backpressure: block}]}
        """)
    given = """{b: [{after: 1s, line: 2}, {after: 2s, line: 4}], fed: [yes],
      a: [1, {after: 2s, line: 3}, {after: 1s, line: 5}]}"""
    expect = """{both: [{n: 1}, {n: 2}, {n: 3}, {n: 4}, {n: 5}], large: [{n: 3}, {n: 4}, {n: 5}], answers: [{message: yes}],
      ledger: {delivered: 4, large: {delivered: 3, filtered: 2}, both: {delivered: 0, in: 5}}}"""
    assert judged(tmp_path, given, expect, file) == []


# Time


def test_a_buffer_waits_in_stream_time(tmp_path: Path) -> None:
    file = one("[map: int(message), buffer: {time: 1s}]")
    given = "{r: [1, {after: 900ms, line: 2}, {after: 100ms, line: 3}, {after: 3s, line: 4}]}"
    assert judged(tmp_path, given, "{p: [[1, 2], [3], [4]], ledger: {merged: 4, made: 3, delivered: 3}}", file) == []
    assert judged(tmp_path, given, "{p: [[1], [2, 3], [4]]}", file) == [
        "11: p[0] is not as expected",
        "11: p[1] is not as expected",
    ]


def test_ids_and_times_are_the_same_always(tmp_path: Path) -> None:
    file = one("[parse: {format: json, time: {field: at, unit: s, clock: boot}}]")
    case = "tests: [{name: it, given: {r: ['{}', {after: 90s, line: '{\"at\": 30}'}]}, expect: {p: []}}]\n"
    loaded = project(tmp_path, file + case)
    seen = []
    for _ in range(2):
        events = rehearse(loaded, loaded.tests[0].given).events["p"]
        seen.append([event.envelope() for event in events])
    assert seen[0] == seen[1]
    assert [(event["id"], event["pid"], event["observed_time"], event["time"]) for event in seen[0]] == [
        ("test/r/1/1", 1001, "2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00.000000000Z"),
        ("test/r/1/2", 1001, "2026-01-01T00:01:30.000000000Z", "2026-01-01T00:00:30.000000000Z"),
    ]


@pytest.mark.slow
def test_an_hour_of_stream_time_takes_under_100_ms_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise AssertionError("a test starts nothing and waits for nothing")

    file = one("[parse: json, filter: n >= 0, buffer: {time: 1s}]")
    given = "{r: [{after: 2s, line: '{\"n\": 1}', times: 1_800}]}"
    case = f"tests: [{{name: it, given: {given}, expect: {{ledger: {{made: 1_800}}}}}}]\n"
    loaded = project(tmp_path, file + case)
    monkeypatch.setattr(type(supervisor_module.supervisor), "spawn", refused)
    monkeypatch.setattr(threading.Thread, "start", refused)
    monkeypatch.setattr(threading.Condition, "wait", refused)
    monkeypatch.setattr(time, "sleep", refused)
    took = []
    for _ in range(3):
        before = time.process_time()
        (verdict,) = loaded.test()
        took.append(time.process_time() - before)
        assert verdict.failures == ()
    assert rehearse(loaded, loaded.tests[0].given).report.seconds == 3600
    assert min(took) < 0.1


def slow(stream: reactivex.Observable[Any]) -> reactivex.Observable[Any]:
    return stream.pipe(operators.delay(60.0), operators.map(lambda event: {"message": event["message"] + "!"}))


def own_end(stream: reactivex.Observable[Any]) -> reactivex.Observable[Any]:
    return stream.pipe(op.backpressure("block"), op.to(sinks.file("/proc/nothing/out")))


def never(stream: reactivex.Observable[Any]) -> reactivex.Observable[Any]:
    return stream.pipe(operators.concat(reactivex.never()))


def broken(stream: reactivex.Observable[Any]) -> reactivex.Observable[Any]:
    return stream.pipe(op.parse("json", on_error="fail"))


@pytest.mark.parametrize("function", ["slow", "own_end"])
def test_operators_written_in_python_wait_in_stream_time_too(tmp_path: Path, function: str) -> None:
    file = one(f"[python: {__name__}:{function}, filter: message != ''] ")
    end = "!" if function == "slow" else ""
    assert (
        judged(tmp_path, "{r: [a, {after: 1h, line: b}]}", f"{{p: [{{message: a{end}}}, {{message: b{end}}}]}}", file)
        == []
    )


@pytest.mark.parametrize(
    ("function", "error"), [("broken", "p, operators[0] parse: not JSON"), ("never", "p did not end with its sources")]
)
def test_a_pipeline_that_fails_fails_its_test_unless_that_is_expected(
    tmp_path: Path, function: str, error: str
) -> None:
    file = one(f"[python: {__name__}:{function}]")
    (found, *_) = judged(tmp_path, "{r: [a]}", "{ledger: {in: 1}}", file)
    assert found.startswith(f"9: {error}")
    assert judged(tmp_path, "{r: [a]}", f"{{errors: ['{error}']}}", file) == []


def test_virtual_time_runs_actions_in_order_and_keeps_errors(tmp_path: Path) -> None:
    from datetime import datetime, timedelta

    began = datetime(2026, 1, 1)
    clock = VirtualTime(began)
    ran: list[Any] = []

    def note(scheduler: Any, state: Any = None) -> None:
        ran.append((state, clock.now - began))

    def fail(scheduler: Any, state: Any = None) -> None:
        raise ValueError("broken")

    clock.schedule_relative(2.0, note, "b")
    clock.schedule_relative(timedelta(seconds=1), note, "a")
    clock.schedule_absolute(began + timedelta(seconds=2), note, "c")
    clock.schedule_relative(1.5, note, "gone").dispose()
    clock.schedule_relative(1.5, fail)
    clock.schedule_relative(9.0, note, "late")
    clock.schedule(note, "now")
    for _ in range(1000):  # a clock that moves by itself would show here
        clock.schedule(lambda scheduler, state: None)
    clock.advance_to(began + timedelta(seconds=5))
    assert [(state, time.total_seconds()) for state, time in ran] == [("now", 0), ("a", 1), ("b", 2), ("c", 2)]
    assert clock.now == began + timedelta(seconds=5)
    assert [str(error) for error in clock.errors] == ["broken"]
    assert clock.run_next()
    assert not clock.run_next()
    assert ran[-1] == ("late", timedelta(seconds=9))


# Marbles

MARBLES = one("[map: int(message), buffer: {time: 1s}]", ", restart: {when: on-failure, backoff: 5s}")


def marbled(directory: Path, given: str, expect: str, marbles: str, file: str = MARBLES) -> list[str]:
    case = f"tests:\n  - name: it\n    marbles: {marbles}\n    given: {{r: '{given}'}}\n    expect: {{p: '{expect}'}}\n"
    (verdict,) = project(directory, file + case).test()
    return [
        " ".join([failure.what, *(f"{field.expected} {field.got}" for field in failure.fields)])
        for failure in verdict.failures
    ]


LETTERS = "{a: 1, b: {line: 2}, c: '3', x: [1], y: [1, 2], z: [3]}"


def test_marbles_say_when_something_comes_and_when_it_is_expected(tmp_path: Path) -> None:
    assert marbled(tmp_path, "a-b 3s c|", "-x-1d", LETTERS.replace("x: [1]", "x: [1], w: [2]")) != []
    assert marbled(tmp_path, "a-b 3s c|", "-x-w 2s z", LETTERS.replace("x: [1]", "x: [1], w: [2]")) == []
    assert marbled(tmp_path, "a 900ms b--c", " 1s y 1900ms z", LETTERS) == []
    assert marbled(tmp_path, "a 900ms b--c", "1s y - z", LETTERS) == ["p[1] came at another time 2s 2.9s"]
    assert marbled(tmp_path, "ab-", "y", LETTERS) == []
    assert marbled(tmp_path, "--a", "2300ms x", "{a: {line: 1, after: 100ms, times: 3}, x: [1, 1, 1]}") == []


def test_a_crash_among_marbles(tmp_path: Path) -> None:
    file = one(META, ", restart: {when: on-failure, backoff: 5s}")
    assert marbled(tmp_path, "a-#9s b|", "x 10s y", "{a: k, b: l, x: [1, 1, k], y: [2, 1, l]}", file) == []


@pytest.mark.parametrize(
    ("given", "expect", "message"),
    [
        ("a-d", "x", "11:19: tests[0].given.r: no marble 'd'"),
        ("a-a", "x|", "12:19: tests[0].expect.p: '|' is the end of a child and cannot be expected of a pipeline"),
        ("a 5 b", "x", "11:19: tests[0].given.r: no marble '5'"),
    ],
)
def test_a_mistake_among_marbles(tmp_path: Path, given: str, expect: str, message: str) -> None:
    with pytest.raises(rx.ConfigError) as caught:
        marbled(tmp_path, given, expect, LETTERS)
    assert str(caught.value).removeprefix(f"{tmp_path / 'x.yaml'}:").startswith(message)
    assert len(caught.value.mistakes) == 1


def test_marbles_are_letters_and_stand_for_what_can_be_given(tmp_path: Path) -> None:
    with pytest.raises(rx.ConfigError, match="a marble is named by one letter, not 'ab'"):
        marbled(tmp_path, "a", "a", "{a: 1, ab: 2}")
    with pytest.raises(rx.ConfigError, match=r"marbles\.a\.afte: unknown key 'afte'"):
        marbled(tmp_path, "a", "b", "{a: {line: 1, afte: 2}, b: 1}")
    with pytest.raises(rx.ConfigError, match="which 'marbles' has to name"):
        judged(tmp_path, "{r: [a]}", "{p: a-b}", NUMBERS)


# Mistakes

WRONG = {
    "exce: [a]": "19:13: tests[0].given.exce: no runner 'exce', did you mean 'exec'?",
    "exec: [{after: soon, line: a}]": "19:28: tests[0].given.exec[0].after: 'soon' is not a duration",
    "exec: [{line: a, afte: 1s}]": "19:30: tests[0].given.exec[0].afte: unknown key 'afte' beside 'line', did you mean",
    "exec: [{line: a, pid: 1}]": "19:30: tests[0].given.exec[0].pid: unknown key 'pid' beside 'line'; known: "
    "after, line, times; a payload with a field 'line' is written {event: {line: …}}",
    "exec: [{after: 1s, pid: 1}]": "19:21: tests[0].given.exec[0].after: 'after' stands beside one of line, event, exit; "
    "a payload with a field 'after' is written {event: {after: …}}",
    "exec: [{after: 1s, lien: a}]": "19:21: tests[0].given.exec[0].after: 'after' stands beside one of line, event, exit, "
    "did you mean 'line'",
    "exec: [{line: a, exit: 1}]": "19:20: tests[0].given.exec[0]: one of line, event, exit is wanted in each item",
    "exec: [{exit: 256}]": "19:27: tests[0].given.exec[0].exit: an exit code from 0 to 255 is wanted here",
    "exec: [{exit: SIGKIL}]": "19:27: tests[0].given.exec[0].exit: unknown signal 'SIGKIL', did you mean 'SIGKILL'?",
    "exec: [{line: a, times: 0}]": "19:37: tests[0].given.exec[0].times: an item is given at least once",
    "exec: [[a]]": "19:20: tests[0].given.exec[0]: a text, {line: …}, {event: …}, {exit: 0} or a payload is wanted",
    "exec: 5": "19:19: tests[0].given.exec: a list (each a text",
}


@pytest.mark.parametrize("given", WRONG)
def test_a_mistake_in_what_is_given(tmp_path: Path, given: str) -> None:
    case = f"tests:\n  - name: it\n    given: {{{given}}}\n    expect: {{audit: []}}\n"
    with pytest.raises(rx.ConfigError) as caught:
        project(tmp_path, FILE + case)
    (line,) = str(caught.value).splitlines()
    assert line.removeprefix(f"{tmp_path / 'x.yaml'}:").startswith(WRONG[given])


WRONG_EXPECTATIONS = {
    "{audti: []}": "20:14: tests[0].expect.audti: no pipeline 'audti', did you mean 'audit'?",
    "{dead_lettr: []}": "20:14: tests[0].expect.dead_lettr: no pipeline 'dead_lettr', did you mean 'dead_letter'?",
    "{audit: {pid: 7}}": "20:22: tests[0].expect.audit.pid: unknown key 'pid'; known: any_order, events; a single event",
    "{audit: {events: [], any_ordr: true}}": "20:34: tests[0].expect.audit.any_ordr: unknown key 'any_ordr', did you mean",
    "{audit: {events: [], any_order: 1}}": "20:45: tests[0].expect.audit.any_order: true or false is wanted here",
    "{audit: 7}": "20:21: tests[0].expect.audit: a list of events, or {any_order: true, events: […]} is wanted here",
    "{ledger: {filterd: 1}}": "20:23: tests[0].expect.ledger.filterd: unknown count 'filterd', did you mean 'filtered'?",
    "{ledger: {filtered: -1}}": "20:33: tests[0].expect.ledger.filtered: ",
    "{ledger: {audti: {in: 1}}}": "20:23: tests[0].expect.ledger.audti: no pipeline or runner 'audti', did you mean",
    "{ledger: {exec: {in: 1}}}": "20:30: tests[0].expect.ledger.exec.in: 'in' is a count of a pipeline",
    "{dead_letter: {exec: []}}": "20:28: tests[0].expect.dead_letter.exec: no pipeline 'exec'",
    "{}": "20:13: tests[0].expect: the mapping is empty; say what is expected of at least one pipeline",
    "[]": "20:13: tests[0].expect: a mapping of pipelines to the events that are expected is wanted here, not a list",
}


@pytest.mark.parametrize("expect", WRONG_EXPECTATIONS)
def test_a_mistake_in_what_is_expected(tmp_path: Path, expect: str) -> None:
    case = f"tests:\n  - name: it\n    given: {{exec: [a]}}\n    expect: {expect}\n"
    with pytest.raises(rx.ConfigError) as caught:
        project(tmp_path, FILE + case)
    (line,) = str(caught.value).splitlines()
    assert line.removeprefix(f"{tmp_path / 'x.yaml'}:").startswith(WRONG_EXPECTATIONS[expect])


def test_every_mistake_in_one_go(tmp_path: Path) -> None:
    case = textwrap.dedent("""\
        tests:
          - name: it
            given: {exce: [{line: a, after: soon}]}
            expect: {audti: [], ledger: {filterd: 1}}
          - name: it
            expct: {}
          - {given: {}, expect: {audit: []}, nmae: x}
        """)
    with pytest.raises(rx.ConfigError) as caught:
        project(tmp_path, FILE.replace("- filter:", "- filtr:") + case)
    lines = [str(mistake).removeprefix(f"{tmp_path / 'x.yaml'}:").split(": ")[0:2] for mistake in caught.value.mistakes]
    assert lines == [
        ["9:9", "pipelines.audit.operators[0].filtr".replace("[0]", "[1]")],
        ["19:13", "tests[0].given.exce"],
        ["19:37", "tests[0].given.exce[0].after"],
        ["20:14", "tests[0].expect.audti"],
        ["20:34", "tests[0].expect.ledger.filterd"],
        ["21:5", "tests[1]"],
        ["21:5", "tests[1]"],
        ["21:11", "tests[1].name"],
        ["22:5", "tests[1].expct"],
        ["23:5", "tests[2]"],
        ["23:38", "tests[2].nmae"],
    ]


def test_a_dead_letter_of_a_pipeline_that_has_none(tmp_path: Path) -> None:
    for expect, message in (
        ("{dead_letter: []}", "no pipeline has a 'dead_letter'"),
        ("{dead_letter: {p: []}}", "the pipeline 'p' has no 'dead_letter'"),
    ):
        with pytest.raises(rx.ConfigError, match=message):
            judged(tmp_path, "{r: []}", expect, NUMBERS)


WORDS = ["exec", "audit", "line", "event", "exit", "after", "times", "name", "given", "expect", "dead_letter", "ledger"]
WORDS += ["errors", "events", "any_order", "filtered", "it", "1s", "-1"]
VALUES = strategies.recursive(
    strategies.sampled_from([*WORDS, "", None, True, 0, 1, -1, 0.5, "\0", "😀"]),
    lambda inner: (
        strategies.lists(inner, max_size=3) | strategies.dictionaries(strategies.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)
TESTS = strategies.lists(
    strategies.fixed_dictionaries({}, optional={"name": VALUES, "given": VALUES, "expect": VALUES, "x": VALUES}),
    max_size=2,
)
WELL_MEANT = strategies.lists(
    strategies.fixed_dictionaries(
        {
            "name": strategies.sampled_from(["a", "b"]),
            "given": strategies.dictionaries(strategies.just("exec"), strategies.lists(VALUES, max_size=4)),
            "expect": strategies.dictionaries(
                strategies.sampled_from(["audit", "dead_letter", "errors"]), VALUES, max_size=2
            ),
        }
    ),
    max_size=2,
)


@pytest.mark.slow
@hypothesis.settings(
    max_examples=150, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(tests=VALUES | TESTS | WELL_MEANT)
def test_any_section_is_a_test_or_a_mistake_with_a_place(tmp_path: Path, tests: Any) -> None:
    try:
        verdicts = project(tmp_path, FILE + f"tests: {json.dumps(tests)}\n").test()
    except rx.ConfigError as error:
        assert all(mistake.line > 0 and mistake.column > 0 for mistake in error.mistakes)
    else:
        assert all(verdict.place.endswith("x.yaml:17") for verdict in verdicts)


def test_the_schema_knows_the_section() -> None:
    validator = jsonschema.Draft202012Validator(FileSpec.schema())

    def valid(given: str, expect: str) -> bool:
        case = f"tests: [{{name: it, given: {given}, expect: {expect}}}]\n"
        return bool(validator.is_valid(parse_document(FILE + case).value))

    for given in (
        "{exec: [a, 1, {pid: 7}, {line: a, after: 1s}, {event: {line: 1}}, {exit: 0}, {exit: SIGKILL}]}",
        '{exec: "a"}',
    ):
        assert valid(given, "{audit: [{pid: 7}]}")
    for expect in (
        "{audit: {any_order: true, events: [1]}, dead_letter: [], ledger: {filtered: 1, audit: {in: 1}}, errors: [x]}",
        "{dead_letter: {audit: []}}",
    ):
        assert valid("{exec: []}", expect)
    for given in ("{exec: [{line: a, pid: 1}]}", "{exec: [[a]]}", "{exec: [{after: 1s, pid: 1}]}", "[]"):
        assert not valid(given, "{audit: []}")
    for expect in ("{audit: {pid: 7}}", "{}", "{ledger: {filtered: x, audit: {inn: 1}}}", "{audit: 5}"):
        assert not valid("{exec: []}", expect)


def test_tests_do_not_disturb_a_run(tmp_path: Path) -> None:
    file = one("[]").replace("[no-such-program]", '[seq, "2"]')
    report = project(tmp_path, file + "tests: [{name: it, given: {r: [1]}, expect: {p: []}}]\n").run()
    assert report.pipelines["p"].taken == 2


def test_a_pipeline_may_be_named_errors(tmp_path: Path) -> None:
    """What is expected of it are events; what runners and pipelines end with are texts."""
    text = """
runners: {a: {command: [none]}}
pipelines: {errors: {from: a, sinks: [{null: , backpressure: block}]}}
tests:
  - {name: one, given: {a: [x]}, expect: {errors: [{message: x}]}}
  - {name: two, given: {a: [x]}, expect: {errors: [{message: y}]}}
  - {name: three, given: {a: [{exit: 3}]}, expect: {errors: exited with code 3}}
"""
    (tmp_path / "x.yaml").write_text(text)
    assert [verdict.passed for verdict in rx.load(tmp_path / "x.yaml", {}).test()] == [True, False, True]
    (tmp_path / "x.yaml").write_text(text.replace("{errors: {from", "{p: {from"))
    with pytest.raises(rx.ConfigError, match="no pipeline 'errors'"):
        rx.load(tmp_path / "x.yaml", {})
