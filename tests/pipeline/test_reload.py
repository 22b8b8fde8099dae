"""Reload: only what changed is swapped, and no event is lost or doubled."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.pipeline.reloading import COUNTS, COUNTS_SLOWLY, running

pytestmark = pytest.mark.slow


def config(pipelines: str, runner: str = COUNTS, more: str = "") -> str:
    return f"runners:\n  numbers: {{command: {runner}, stop: {{signal: SIGTERM, grace: 5s}}}}\n{more}pipelines:\n{pipelines}"


def pipeline(name: str, operators: str = "[]", file: str = "", strategy: str = "block", source: str = "numbers") -> str:
    return (
        f"  {name}:\n    from: {source}\n    operators: {operators}\n    sinks:\n"
        f"      - file: {file or name}.ndjson\n        backpressure: {strategy}\n"
    )


def whole(numbers: list[int]) -> bool:
    return numbers == list(range(1, len(numbers) + 1))


def test_operators_change_and_no_number_is_lost_or_doubled(tmp_path: Path) -> None:
    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        pid = run.pid()
        for number in range(1, 25):
            run.reload(config(pipeline("all", f"[set: {{generation: {number}}}]")))
            run.wait_for("all.ndjson")
            assert run.pid() == pid
        report = run.stop()
    assert report.exit_code == 0
    assert report.reloads == 24
    numbers = run.numbers("all.ndjson")
    assert len(numbers) > 1000
    assert whole(numbers)
    assert run.lines("all.ndjson")[-1] == "last"
    assert report.runners["numbers"].starts == 1
    assert report.runners["numbers"].lines == len(numbers) + 1 == report.pipelines["all"].taken
    assert report.pipelines["all"].sinks["file"].delivered == len(numbers) + 1
    assert [node.node for node in report.pipelines["all"].nodes][:4] == [
        "sinks[0] file backpressure",
        "sinks[0] file",
        "generation 2, operators[0] set",
        "generation 3, operators[0] set",
    ]


def test_sinks_and_pipelines_come_and_go_while_another_one_gets_everything(tmp_path: Path) -> None:
    """Of what comes and goes each gets the numbers without a gap while it is there, and what is kept is not opened anew."""
    kept = pipeline("all")
    two = kept + "      - file: second.ndjson\n        backpressure: {strategy: block, capacity: 5}\n"
    more = pipeline("more", "[{set: {x: 1}}, {drop: x}]")
    with running(tmp_path, config(kept)) as run:
        run.wait_for("all.ndjson")
        pid = run.pid()
        for number in range(6):
            run.reload(config(two))
            run.wait_for("second.ndjson")
            run.reload(config(two + more))
            run.wait_for("more.ndjson")
            run.reload(config(kept + more))
            run.wait_for("more.ndjson")
            run.reload(config(kept))
            assert run.pid() == pid, number
        report = run.stop()
    assert (report.exit_code, report.reloads) == (0, 24)
    everything = run.numbers("all.ndjson")
    assert whole(everything)
    for name in ("second.ndjson", "more.ndjson"):
        lines = [int(line) for line in run.lines(name)]
        assert 1000 < len(lines) < len(everything)
        assert lines == sorted(set(lines))
        gaps = sum(after != before + 1 for before, after in itertools.pairwise(lines))
        assert gaps == 5
    assert set(report.pipelines) == {"all", "more"}
    assert report.pipelines["more"].taken == len(run.lines("more.ndjson"))


def test_what_goes_from_one_pipeline_to_another_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    """In one reload a pipeline is removed and another one takes its place, and two exchange what they take."""
    odd = "[filter: 'message == \"last\" or int(message) % 2 == 1']"
    even = "[filter: 'message != \"last\" and int(message) % 2 == 0']"
    with running(tmp_path, config(pipeline("one", odd) + pipeline("two", even))) as run:
        run.wait_for("two.ndjson")
        for number in range(10):
            left, right = (odd, even) if number % 2 else (even, odd)
            names = (("one", "two"), ("one", "three"))[number % 2]
            run.reload(config(pipeline(names[0], left) + pipeline(names[1], right)))
            run.wait_for(f"{names[1]}.ndjson")
        report = run.stop()
    assert report.exit_code == 0
    assert whole(run.numbers("one.ndjson", "two.ndjson", "three.ndjson"))


def test_open_windows_are_sent_and_those_of_others_stay_open(tmp_path: Path) -> None:
    window = "[window: {every: 1h, aggregate: {message: 'sum(1)'}}]"
    text = pipeline("all") + pipeline("counted", window) + pipeline("other", window)
    with running(tmp_path, config(text)) as run:
        run.wait_for("all.ndjson", 100)
        for number in range(4):
            changed = window.replace("1h", f"{number + 2}h")
            run.reload(config(text.replace(window, changed, 1)))
            run.wait_for("all.ndjson", 100)
            wait_until(lambda number=number: len(run.lines("counted.ndjson")) > number, "the window is sent", 30)  # type: ignore[misc]
            assert len(run.lines("counted.ndjson")) == number + 1
            assert run.lines("other.ndjson") == []
        report = run.stop()
    lines = len(run.lines("all.ndjson"))
    assert len(run.lines("counted.ndjson")) == 5
    assert sum(map(int, run.lines("counted.ndjson"))) == lines == sum(map(int, run.lines("other.ndjson")))
    assert report.pipelines["counted"].merged == lines


def test_a_runner_that_changes_has_its_last_words_and_no_id_twice(tmp_path: Path) -> None:
    text = pipeline("all").replace("all.ndjson", "{path: all.ndjson, envelope: true}")
    lifecycle = pipeline("told", source="numbers.lifecycle").replace(
        "told.ndjson", "{path: told.ndjson, envelope: true}"
    )
    with running(tmp_path, config(text + lifecycle, COUNTS_SLOWLY)) as run:
        run.wait_for("all.ndjson", 100)
        for number in range(3):
            pid = run.pid()
            run.reload(config(text + lifecycle, COUNTS_SLOWLY.replace("[sh", f"[env, A={number}, sh")))
            assert not Path(f"/proc/{pid}").exists()
            run.wait_for("all.ndjson", 100)
        report = run.stop()
    events = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    assert [event["data"]["message"] for event in events].count("last") == 4
    told = [json.loads(line) for line in (tmp_path / "told.ndjson").read_text().splitlines()]
    ids = [event["id"] for event in events + told]
    assert len(set(ids)) == len(ids)
    incarnations = [event["incarnation"] for event in events]
    assert incarnations == sorted(incarnations)
    assert set(incarnations) == {1, 2, 3, 4}
    for incarnation in (1, 2, 3, 4):
        numbers = [event["data"]["message"] for event in events if event["incarnation"] == incarnation]
        assert numbers == [*map(str, range(1, len(numbers))), "last"]
    assert report.runners["numbers"].starts == 4
    assert [exit["incarnation"] for exit in report.runners["numbers"].exits] == [1, 2, 3, 4]
    assert [event["data"]["event"] for event in told].count("exited") == 4


def test_runners_are_added_removed_and_started_when_they_are_read(tmp_path: Path, log: list[str]) -> None:
    other = f"  other: {{command: {COUNTS_SLOWLY}}}\n"
    both = pipeline("all", source="[numbers, other]")
    with running(tmp_path, config(pipeline("all"))) as run:
        pid = run.pid()
        run.reload(config(pipeline("all"), more=other))
        assert any("runner other is read by no pipeline and is not started" in line for line in log)
        run.reload(config(both, more=other))
        run.wait_for_lines("other")
        first = run.pid("other")
        run.reload(config(pipeline("all"), more=other))
        assert not Path(f"/proc/{first}").exists()
        run.reload(config(both, more=other))
        assert run.pid("other") != first
        run.wait_for_lines("other")
        run.reload(config(pipeline("all")))
        run.wait_for("all.ndjson", 100)
        run.reload(config(both, more=other))
        run.wait_for_lines("other")
        assert run.pid() == pid
        report = run.stop()
    assert report.exit_code == 0
    assert report.runners["other"].starts == 3
    assert run.lines("all.ndjson").count("last") == 4
    assert report.pipelines["all"].taken == sum(runner.out for runner in report.runners.values())


def test_a_runner_is_exchanged_for_another_one(tmp_path: Path) -> None:
    """The last lines of the one that is removed reach those who read it."""
    other = config(pipeline("all", source="other"), COUNTS_SLOWLY).replace("  numbers:", "  other:")
    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        run.reload(other)
        run.wait_for_lines("other")
        report = run.stop()
    assert run.lines("all.ndjson").count("last") == 2
    assert len(run.lines("all.ndjson")) == sum(runner.lines for runner in report.runners.values())
    assert report.pipelines["all"].sinks["file"].delivered == len(run.lines("all.ndjson"))


CHAIN = (
    "  first:\n    from: numbers\n    operators:\n"
    "      - route: {{small: 'len(message) < {size}', odd: 'message[-1] in \"13579\"'}}\n"
    "      - {operator}\n    sinks:\n      - file: rest.ndjson\n        backpressure: block\n"
    + pipeline("small", source="first.small")
    + pipeline("odd", source="first.odd", operators="[{other}]")
    + pipeline("again", source="first")
)


def test_pipelines_that_read_pipelines_and_their_branches(tmp_path: Path) -> None:
    """Each of them changes, alone and together with what it reads."""
    with running(tmp_path, config(CHAIN.format(size=3, operator="set: {x: 1}", other="skip: 0"))) as run:
        run.wait_for("odd.ndjson")
        for number in range(10):
            for other in range(2):
                operator = f"set: {{x: {number}}}"
                run.reload(config(CHAIN.format(size=3 + number % 3, operator=operator, other=f"set: {{y: {other}}}")))
                run.wait_for("odd.ndjson")
        report = run.stop()
    assert report.exit_code == 0
    assert whole(run.numbers("small.ndjson", "odd.ndjson", "rest.ndjson"))
    assert run.lines("rest.ndjson") == run.lines("again.ndjson")
    assert report.reloads == 20


def test_a_chain_that_is_removed_passes_on_what_it_holds(tmp_path: Path) -> None:
    text = pipeline("all")
    chain = "  counted:\n    from: numbers\n    operators: [window: {every: 1h, aggregate: {message: 'sum(1)'}}]\n"
    end = pipeline("end", source="counted")
    with running(tmp_path, config(text + chain + end)) as run:
        run.wait_for("all.ndjson", 100)
        run.reload(config(text))
        wait_until(lambda: len(run.lines("end.ndjson")) == 1, "its sink is drained")
        run.wait_for("all.ndjson", 100)
        report = run.stop()
    taken = report.pipelines["counted"].taken
    assert run.lines("end.ndjson") == [str(taken)]
    assert 0 < taken < len(run.lines("all.ndjson"))


def test_a_join_goes_on(tmp_path: Path) -> None:
    other = "  names: {command: [sh, -c, 'echo 7; exec sleep 3600']}\n"
    said = "  said:\n    from: names\n    operators: [set: {known: 'True', one: '1'}]\n"
    joined = pipeline("all", "[{set: {one: '1'}}, {join: {with: said, on: one, fields: [known]}}, {set: {x: 0}}]")
    text = config(said + joined, more=other)
    with running(tmp_path, text) as run:
        known = tmp_path / "all.ndjson"
        wait_until(lambda: known.exists() and '"known":true' in known.read_text()[-200:], "what is joined is there", 20)
        for number in range(1, 5):
            run.reload(text.replace("{x: 0}", f"{{x: {number}}}"))
            run.wait_for("all.ndjson")
        report = run.stop()
    assert whole(run.numbers("all.ndjson"))
    assert report.runners["names"].starts == 1
    assert report.exit_code == 0


def test_dead_letters_change(tmp_path: Path) -> None:
    """What is rejected goes to the dead letter of its time, or to none; a sink that is kept goes on with the new one."""
    fails = "[filter: 'int(message) % 2 == 0 and 1 // (int(message) % 4) == 9']"  # those that 4 divides fail
    changed_fails = fails.replace("[", "[{set: {x: 1}}, {").replace("]", "}]")
    letters = [f"    dead_letter: {{file: dead{number}.ndjson}}\n" for number in range(2)]
    with running(tmp_path, config(pipeline("all", fails) + letters[0])) as run:
        for number in range(1, 9):
            run.wait_for(f"dead{(number - 1) // 2 % 2}.ndjson")
            text = pipeline("all", changed_fails if number % 2 else fails)
            run.reload(config(text + letters[number // 2 % 2]))
        report = run.stop()
    rejected = sum(report.pipelines["all"].rejected.values())
    dead = sum((tmp_path / f"dead{number}.ndjson").read_text().count("\n") for number in range(2))
    assert rejected == dead > 100
    letter = report.pipelines["all"].dead_letter
    assert letter is not None
    assert letter.delivered == rejected
