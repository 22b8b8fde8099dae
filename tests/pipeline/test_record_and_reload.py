"""A reload while a run is recorded, and one that is asked of a replay."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.pipeline import recording as form
from rx_collector.pipeline.recording import Recording
from rx_collector.pipeline.replay import ReplayCollector
from tests.conftest import wait_until
from tests.pipeline.reloading import COUNTS_SLOWLY, running
from tests.pipeline.test_reload import config
from tests.pipeline.test_replay import BEGAN, SIMPLE, Script, load, outputs

ALL = "  all: {from: [%s], operators: [], sinks: [{file: out.ndjson, backpressure: block}]}\n"
COUNTED = (
    "  counted: {from: numbers, operators: [aggregate: {n: count()}], sinks: [{file: n.ndjson, backpressure: block}]}\n"
)


@pytest.mark.slow
def test_what_a_reload_starts_again_and_what_it_adds_is_replayed(tmp_path: Path, log: list[str]) -> None:
    more = f"  more: {{command: {COUNTS_SLOWLY}}}\n"
    changed = COUNTS_SLOWLY.replace("[sh", "[env, A=1, sh")
    last = config(ALL % "numbers, more" + COUNTED, changed, more)
    with running(tmp_path, config(ALL % "numbers" + COUNTED, COUNTS_SLOWLY), record_to=tmp_path / "r") as run:
        run.wait_for("out.ndjson", 100)
        run.reload(config(ALL % "numbers" + COUNTED, changed))
        run.wait_for("out.ndjson", 100)
        run.reload(last)
        run.wait_for_lines("more")
        report = run.stop()
    written = {name: sorted(text.splitlines()) for name, text in outputs(tmp_path).items()}
    replayed = ReplayCollector(run.load(last), Recording(tmp_path / "r")).run()
    assert replayed.errors == []
    assert [report.runners[name].lines for name in ("numbers", "more")] == [
        replayed.runners[name].lines for name in ("numbers", "more")
    ]
    assert {name: sorted(text.splitlines()) for name, text in outputs(tmp_path).items()} == written
    assert not [line for line in log if "was not recorded" in line]


def test_what_was_started_after_its_end_is_not_left_out_in_silence(tmp_path: Path) -> None:
    script = Script(tmp_path / "r", ["a", "b"]).lines(0, "1")
    script.add(form.RunnerEnd(1, BEGAN, "a", form.Totals())).lines(1, "2").lines(2, "3").lines(
        3, "4", runner="b"
    ).write()
    text = SIMPLE.replace("{a: {command: [does-not-exist]}}", "{a: {command: [x]}, b: {command: [y]}}")
    report = load(tmp_path, text.replace("from: a", "from: [a, b]")).replay(tmp_path / "r")
    assert outputs(tmp_path)["out.ndjson"] == b'{"message":"1"}\n{"message":"4"}\n'
    assert report.exit_code == 1
    assert list(report.errors) == ["runner a had ended before a reload started it again: 2 records were not played"]


@pytest.mark.slow
def test_who_records_is_told_that_a_runner_begins_again_after_its_end(tmp_path: Path, log: list[str]) -> None:
    short = "[echo, '1']"
    with running(
        tmp_path,
        config(ALL % "numbers, more", short, f"  more: {{command: {COUNTS_SLOWLY}}}\n"),
        record_to=tmp_path / "r",
    ) as run:
        run.wait_for_lines("more")  # whether that one line has come by now or not
        wait_until(lambda: run.collector._network.hubs["numbers"].ended, "it has ended")
        run.reload(config(ALL % "numbers, more", "[echo, '2']", f"  more: {{command: {COUNTS_SLOWLY}}}\n"))
        run.wait_for_lines("more")
        run.stop()
    said = "WARNING runner numbers had ended and begins again: a replay plays it to its first end"
    assert log.count(said) == 1


def test_a_replay_goes_on_with_what_it_began_with(tmp_path: Path, log: list[str]) -> None:
    script = Script(tmp_path / "r").lines(0, "1").lines(0.2, "2")
    collector = ReplayCollector(load(tmp_path, SIMPLE), Recording(script.write(0.3)), speed=1)
    asked = threading.Event()

    def tick() -> None:
        if not asked.is_set():
            asked.set()
            collector.reload(lambda: rx.load(tmp_path / "x.yaml"))

    report = collector.run(tick=tick, interval=0.01)
    assert asked.is_set()
    assert (report.exit_code, outputs(tmp_path)["out.ndjson"].count(b"\n")) == (0, 2)
    assert [line for line in log if "reload refused" in line]
