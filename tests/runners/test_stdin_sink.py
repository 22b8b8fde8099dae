"""The events of a pipeline as the standard input of a child."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.pipeline.collector import Collector
from rx_collector.runners.feed import Feed
from tests.conftest import child, wait_until
from tests.runners.helpers import in_background, run_project

FED = """
runners:
  source: {command: %s}
  fed: {command: %s%s}
pipelines:
  in:
    from: source
    sinks:
      - stdin: {runner: fed, format: text}
        backpressure: {strategy: block, capacity: 100}
  out:
    from: fed
    sinks:
      - file: {path: out, format: text}
        backpressure: block
"""


def fed(source: list[str], command: list[str], more: str = "") -> str:
    return FED % (json.dumps(source), json.dumps(command), more)


def lines_of(directory: Path) -> list[str]:
    return (directory / "out").read_text().splitlines()


def test_all_events_in_their_order(tmp_path: Path) -> None:
    report = run_project(tmp_path, fed(["seq", "50000"], ["cat"]))
    assert lines_of(tmp_path) == [str(number) for number in range(1, 50_001)]
    assert report.exit_code == 0
    assert report.pipelines["in"].sinks["stdin"].delivered == 50_000


def test_the_child_sees_the_end_of_its_input_when_the_pipeline_ends(tmp_path: Path) -> None:
    report = run_project(tmp_path, fed(["echo", "a"], child("echoes")))
    assert lines_of(tmp_path) == ["got a", "end of input"]
    assert [exit_["code"] for exit_ in report.runners["fed"].exits] == [0]


def test_whole_events_in_ndjson(tmp_path: Path) -> None:
    run_project(tmp_path, fed(["echo", "a"], ["cat"]).replace("format: text", "envelope: true", 1))
    (line,) = lines_of(tmp_path)
    assert json.loads(line)["data"] == {"message": "a"}
    assert json.loads(line)["runner"] == "source"


def test_a_child_that_is_started_again_goes_on_reading(tmp_path: Path) -> None:
    """What the child had not read is gone with it, and nothing else is: the lines that arrive are in order."""
    more = ", restart: {when: on-failure, backoff: 1ms}"
    report = run_project(tmp_path, fed(["seq", "2000"], child("echoes", "after", 3), more))
    got = [int(line.split()[1]) for line in lines_of(tmp_path) if line.startswith("got")]
    assert got == sorted(set(got))
    assert got[:3] == [1, 2, 3]
    assert report.runners["fed"].starts > 1
    assert report.balanced, report.unbalanced


def test_what_comes_between_two_starts_waits_for_the_second(tmp_path: Path) -> None:
    """The first child reads nothing and is gone at once; what it never took reaches the next one, whole."""
    script = f"if [ -e {tmp_path}/again ]; then cat; else touch {tmp_path}/again; exec <&-; exit 3; fi"
    more = ", restart: {when: on-failure, backoff: 50ms}"
    source = ["sh", "-c", f"until [ -e {tmp_path}/again ]; do sleep 0.01; done; sleep 0.02; seq 3000"]
    report = run_project(tmp_path, fed(source, ["sh", "-c", script], more))
    assert lines_of(tmp_path)[-1] == "3000"
    assert report.runners["fed"].starts == 2


def test_a_child_that_ends_for_good_fails_the_branch_and_says_so(tmp_path: Path) -> None:
    report = run_project(tmp_path, fed(["seq", "200000"], ["head", "-n", "2"]))
    assert lines_of(tmp_path) == ["1", "2"]
    sink = report.pipelines["in"].sinks["stdin"]
    assert sink.failed > 0
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    assert any("fed has ended" in error for error in report.errors), report.errors


def test_a_stop_ends_it_by_the_end_of_its_input_and_not_by_a_signal(tmp_path: Path) -> None:
    """Whatever was printed before the stop has gone through both children when the run is over."""
    (tmp_path / "x.yaml").write_text(fed(["sh", "-c", "while :; do echo x; sleep 0.001; done"], child("echoes")))
    collector = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(collector.run)
    wait_until(lambda: collector.report().pipelines["out"].taken > 20, "it runs")
    collector.stop()
    thread.join(15)
    (report,) = given
    assert report.exit_code == 0
    assert [exit_["signal"] for exit_ in report.runners["fed"].exits] == [None]
    lines = lines_of(tmp_path)
    assert lines[-1] == "end of input"
    assert len(lines) - 1 == report.pipelines["in"].sinks["stdin"].delivered == report.runners["source"].lines


def test_one_that_lives_on_after_its_input_is_signalled(tmp_path: Path) -> None:
    more = ", stop: {signal: SIGINT, grace: 200ms, terminate_grace: 5s}"
    (tmp_path / "x.yaml").write_text(fed(["sh", "-c", "echo a; exec sleep 3600"], child("echoes", "stubborn"), more))
    collector = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(collector.run)
    wait_until(lambda: collector.report().pipelines["out"].taken > 0, "it runs")
    collector.stop()
    thread.join(15)
    (report,) = given
    assert lines_of(tmp_path) == ["got a", "end of input"]
    assert [exit_["signal"] for exit_ in report.runners["fed"].exits] == [signal.SIGTERM]


def test_a_child_that_reads_nothing_holds_its_source_up_and_no_stop(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(fed(["seq", "10000000"], ["sleep", "3600"]))
    collector = Collector(rx.load(tmp_path / "x.yaml", {}))
    thread, given = in_background(lambda: collector.run(drain="100ms"))
    wait_until(lambda: collector.report().pipelines["in"].taken > 0, "it runs")
    collector.stop()
    thread.join(15)
    (report,) = given
    assert report.balanced, report.unbalanced
    assert report.exit_code == 1
    assert any("did not take all events within" in error for error in report.errors), report.errors


def test_a_fed_child_that_nobody_reads_ends_by_itself(tmp_path: Path) -> None:
    """It works for itself: when all pipelines are complete it is not stopped in the middle of what it still does."""
    script = "trap 'exit 9' TERM; cat > got; sleep 0.5; echo done >> got"
    text = f"""
runners:
  source: {{command: [seq, "3"]}}
  fed: {{command: [sh, -c, {json.dumps(script)}]}}
pipelines:
  in: {{from: source, sinks: [{{stdin: {{runner: fed, format: text}}, backpressure: block}}]}}
"""
    report = run_project(tmp_path, text)
    assert (tmp_path / "got").read_text().split() == ["1", "2", "3", "done"]
    assert [exit_["code"] for exit_ in report.runners["fed"].exits] == [0]
    assert report.exit_code == 0


@pytest.mark.parametrize(
    ("sink", "place", "message"),
    [
        ("stdin: fet", "x.yaml:8:16", "no runner 'fet'"),
        ("stdin: source", "x.yaml:6:11", "it feeds itself: in -> source -> in"),
        ("stdin: {runner: fed, format: jsno}", "x.yaml:8:38", "did you mean"),
    ],
)
def test_mistakes_have_a_place(tmp_path: Path, sink: str, place: str, message: str) -> None:
    text = fed(["seq", "3"], ["cat"]).replace("stdin: {runner: fed, format: text}", sink)
    (tmp_path / "x.yaml").write_text(text.lstrip("\n"))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml", {})
    assert place in str(caught.value)
    assert message in str(caught.value)


# The feed itself


def test_a_line_that_was_cut_by_the_end_of_a_child_is_given_whole_to_the_next() -> None:
    feed = Feed("x")
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    feed.attach(writing)
    line = b"y" * 100_000 + b"\n"  # more than the pipe takes
    thread, _ = in_background(lambda: feed.write(b"first\n" + line))
    begun = os.read(reading, 6)
    assert begun == b"first\n"
    os.read(reading, 10)
    os.close(reading)
    thread.join(0.1)
    assert thread.is_alive()  # it waits for the next child
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    feed.attach(writing)
    got = b""
    while len(got) < len(line):
        got += os.read(reading, 1 << 16)
    thread.join(10)
    assert got == line
    feed.finish()
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_a_write_that_waits_gives_up_when_it_is_told_to() -> None:
    feed = Feed("x")
    thread, given = in_background(lambda: _error(feed, b"a\n"))
    wait_until(lambda: bool(feed._changed._waiters), "it waits")  # type: ignore[attr-defined]
    feed.cancel()
    thread.join(10)
    assert [str(error) for error in given] == ["x was given up"]


def _error(feed: Feed, data: bytes) -> Exception | None:
    try:
        feed.write(data)
    except rx.OutputError as error:
        return error
    return None
