"""Reloads that wait, that cannot be made, and that come at a bad time."""

from __future__ import annotations

import fcntl
import json
import os
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rx_collector.errors import ConfigError, Mistake
from tests.conftest import wait_until
from tests.pipeline.reloading import COUNTS, COUNTS_SLOWLY, Running, running
from tests.pipeline.test_reload import config, pipeline, whole

pytestmark = pytest.mark.slow


def changed(number: int) -> str:
    return pipeline("all", f"[set: {{x: {number}}}]")


BLOCKED = pipeline("all", strategy="{strategy: block, capacity: 1_000}")


class Fifo:
    """A sink that takes nothing until it is told to."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        self.read = b""

    def full(self, run: Running) -> bool:
        """Whether it takes nothing any more, and the pipeline before it has to wait."""
        waiting = fcntl.ioctl(self.reading, termios.FIONREAD, bytes(4))
        ledger = run.collector.ledger.pipelines["all"]
        in_flight = ledger.boundaries["file"].held() + ledger.sinks["file"].held()
        return int.from_bytes(waiting, sys.byteorder) > 50_000 and in_flight >= 1000

    def take(self) -> None:
        """Take what there is."""
        try:
            self.read += os.read(self.reading, 1 << 20)
        except BlockingIOError:
            pass

    def take_until(self, over: Callable[[], bool]) -> None:
        def take() -> bool:
            self.take()
            return over()

        wait_until(take, "what is waited for", 60)


def test_a_reload_waits_for_a_sink_that_blocks(tmp_path: Path) -> None:
    """Nothing is lost meanwhile, and a pipeline of another runner is not held up."""
    fifo = Fifo(tmp_path / "all.ndjson")
    other = f"  other: {{command: {COUNTS_SLOWLY}}}\n"
    free = pipeline("free", source="other")
    with running(tmp_path, config(BLOCKED + free, more=other)) as run:
        wait_until(lambda: fifo.full(run), "the boundary is full", 20)
        over = run.ask(
            config(
                BLOCKED.replace("[]", "[set: {x: 1}]") + free.replace("operators: []", "operators: [set: {x: 1}]"),
                more=other,
            )
        )
        wait_until(lambda: run.collector._reloader.busy, "the reload begins")
        run.wait_for_lines("other", 1000)
        assert not over.is_set()
        fifo.take_until(over.is_set)
        run.collector.stop()
        fifo.take_until(lambda: not run._thread.is_alive())
        fifo.take()
        report = run.end()
    os.close(fifo.reading)
    assert report.exit_code == 0
    assert report.reloads == 1
    messages = [json.loads(line)["message"] for line in fifo.read.splitlines()]
    assert messages[-1] == "last"
    assert whole([int(message) for message in messages[:-1]])


@pytest.mark.parametrize("how", ["stop", "abort"])
def test_an_end_while_a_reload_waits(tmp_path: Path, how: str) -> None:
    """The end does not wait for the reload but as long as it waits for the sinks, and takes all with it."""
    fifo = Fifo(tmp_path / "all.ndjson")
    with running(tmp_path, config(BLOCKED), drain="200ms") as run:
        wait_until(lambda: fifo.full(run), "the boundary is full", 20)
        run.ask(config(BLOCKED.replace("[]", "[set: {x: 1}]") + pipeline("more")))
        wait_until(lambda: run.collector._reloader.busy, "the reload begins")
        pid = run.pid()
        began = time.monotonic()
        getattr(run.collector, how)()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the child is gone", 6)
        report = run.end()
        assert time.monotonic() - began < 8
    os.close(fifo.reading)
    assert report.exit_code == 1
    assert report.balanced


def test_a_stop_while_a_runner_that_changes_takes_its_time(tmp_path: Path, log: list[str]) -> None:
    deaf = f"[sh, -c, 'trap \"\" TERM; echo 1; while [ ! -e {tmp_path}/end ]; do sleep 0.01; done']"
    with running(tmp_path, config(pipeline("all"), deaf).replace("grace: 5s", "grace: 60s")) as run:
        wait_until(lambda: run.lines("all.ndjson") == ["1"], "the child has begun")
        run.ask(config(pipeline("all"), deaf.replace("echo 1", "echo 2")))
        wait_until(lambda: run.collector._reloader.busy, "the reload begins")
        run.collector.stop()
        wait_until(lambda: any("reload given up" in line for line in log), "the reload gives up")
        (tmp_path / "end").touch()
        report = run.end()
    assert report.runners["numbers"].starts == 1
    assert run.lines("all.ndjson") == ["1"]
    assert any("reload given up: the run is ending" in line for line in log)
    assert report.reloads == 0


def test_a_sink_that_cannot_be_opened_refuses_the_whole(tmp_path: Path, log: list[str]) -> None:
    """Also what could be done is not: no runner is stopped, the sinks that were opened are closed, and it all goes on."""
    (tmp_path / "a file").write_text("")
    bad = pipeline("more") + changed(1) + "      - file: 'a file/x'\n        backpressure: block\n"
    with running(tmp_path, config(pipeline("all") + pipeline("gone"))) as run:
        run.wait_for("all.ndjson")
        pid = run.pid()
        for _ in range(3):
            run.reload(config(bad, COUNTS.replace("[sh", "[env, A=1, sh")))
            run.wait_for("gone.ndjson")
        assert run.pid() == pid
        assert (tmp_path / "more.ndjson").read_text() == ""
        threads = [thread.name for thread in threading.enumerate() if "more" in thread.name]
        assert threads == []
        run.reload(config(pipeline("all") + pipeline("more")))
        run.wait_for("more.ndjson")
        report = run.stop()
    refused = [line for line in log if line.startswith("ERROR")]
    assert len(refused) == 3
    assert all("reload refused, what ran runs on: all, file_2: " in line for line in refused)
    assert report.exit_code == 0
    assert report.reloads == 1
    assert whole(run.numbers("all.ndjson"))


def test_mistakes_refuse_it(tmp_path: Path, log: list[str]) -> None:
    def load() -> None:
        raise ConfigError([Mistake("unknown key 'stpo'", "runners.a", "x.yaml", 3, 5), Mistake("it is wrong")])

    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        run.collector.reload(load)
        wait_until(lambda: sum("reload refused" in line for line in log) == 2, "both are told")
        run.collector.reload(lambda: None)
        run.wait_for("all.ndjson")
        report = run.stop()
    assert "ERROR reload refused, what ran runs on: x.yaml:3:5: runners.a: unknown key 'stpo'" in log
    assert (report.exit_code, report.reloads) == (0, 0)


ROTATED = pipeline("all").replace("file: all.ndjson", "file: {path: all.ndjson, rotate: {size: 1GB}}")
PACKED = pipeline("all").replace("file: all.ndjson", "file: {path: all.ndjson, compression: gzip}")
SPILLED = pipeline("all", strategy="{strategy: spill, path: waiting}")
FED = pipeline("all") + "      - stdin: sorter\n        backpressure: block\n" + pipeline("sorted", source="sorter")
SORTER = "  sorter: {command: [cat]}\n"


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (config(ROTATED), config(ROTATED.replace("1GB", "2GB")), "all.ndjson is in use by all, file"),
        (config(PACKED), config(PACKED.replace(", compression: gzip", "")), "all.ndjson is in use by all, file"),
        (
            config(SPILLED),
            config(SPILLED.replace("path: waiting", "path: waiting, capacity: 7")),
            "waiting is in use by all, file",
        ),
        (
            config(pipeline("all")),
            config(pipeline("numbers", source="other"), more="").replace("  numbers: {", "  other: {"),
            "'numbers' was the name of a runner in this run, and is that of a pipeline now",
        ),
        (
            config(FED, more=SORTER),
            config(FED, more=SORTER.replace("[cat]", "[sort]")),
            "the pipeline 'all' feeds the runner 'sorter', and one of the two is changed or removed",
        ),
        (
            config(FED, more=SORTER),
            config(pipeline("all") + pipeline("sorted", source="sorter"), more=SORTER),
            "the pipeline 'all' feeds the runner 'sorter', and one of the two is changed or removed",
        ),
        (
            config(FED.replace("      - stdin: sorter\n        backpressure: block\n", ""), more=SORTER),
            config(FED, more=SORTER),
            "the pipeline 'all' is to feed the runner 'sorter', which runs already",
        ),
    ],
    ids=["rotated", "compressed", "spilled", "name", "fed", "fed no more", "fed now"],
)
def test_what_needs_a_restart_is_refused(tmp_path: Path, log: list[str], before: str, after: str, why: str) -> None:
    with running(tmp_path, before) as run:
        run.wait_for("all.ndjson")
        run.reload(after)
        run.wait_for("all.ndjson")
        report = run.stop()
    (refused,) = [line for line in log if "refused" in line]
    assert "this change needs a restart: " in refused
    assert refused.endswith(why)
    assert report.reloads == 0
    assert report.exit_code == 0


def test_a_fed_runner_is_kept_while_what_feeds_it_changes(tmp_path: Path) -> None:
    changed_ = FED.replace("operators: []", "operators: [{set: {x: 1}}]", 1)
    with running(tmp_path, config(FED, more=SORTER)) as run:
        run.wait_for("sorted.ndjson")
        pid = run.pid("sorter")
        for number in range(6):
            run.reload(config(FED if number % 2 else changed_, more=SORTER))
            run.wait_for("sorted.ndjson")
            both = FED if number % 2 else changed_
            run.reload(config(both + pipeline("twice", source="[sorter, numbers]"), more=SORTER))
            run.wait_for("twice.ndjson")
        assert run.pid("sorter") == pid
        report = run.stop()
    assert report.exit_code == 0
    assert whole(run.numbers("all.ndjson"))
    assert report.runners["sorter"].lines == report.runners["numbers"].lines


def test_a_runner_that_is_fed_is_added(tmp_path: Path) -> None:
    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        run.reload(
            config(pipeline("all") + FED.replace("  all:", "  feeds:").replace("all.nd", "feeds.nd"), more=SORTER)
        )
        run.wait_for("sorted.ndjson")
        report = run.stop()
    assert report.exit_code == 0
    assert report.runners["sorter"].lines == len(run.lines("feeds.ndjson"))


def test_a_reload_while_it_drains_is_ignored(tmp_path: Path, log: list[str]) -> None:
    fifo = Fifo(tmp_path / "all.ndjson")
    with running(tmp_path, config(pipeline("all"), "[seq, '10000']")) as run:
        wait_until(lambda: run.collector._draining, "the runner has ended", 20)
        run.collector.reload(lambda: pytest.fail("nothing is loaded"))
        wait_until(lambda: any("reload ignored: the run is ending" in line for line in log), "it is ignored")
        fifo.take_until(lambda: not run._thread.is_alive())
        report = run.end()
    os.close(fifo.reading)
    assert (report.exit_code, report.reloads) == (0, 0)


def test_a_storm(tmp_path: Path, log: list[str]) -> None:
    """Of requests that come while one is carried out, the last one is carried out."""
    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        # They are asked for quicker than they could be loaded, so they are loaded before, and some of them more than once.
        projects = [run.load(config(changed(number))) for number in range(51)]
        projects = projects[:50] * 10 + projects[50:]
        for project in projects:
            run.collector.reload(lambda project=project: project)
        wait_until(
            lambda: run.collector.project is projects[-1] and not run.collector._reloader.busy, "the last one", 30
        )
        report = run.stop()
    assert 1 <= report.reloads < 501
    assert report.exit_code == 0
    assert whole(run.numbers("all.ndjson"))


def test_what_has_ended_begins_again_with_its_runner(tmp_path: Path) -> None:
    """A runner that could not go on is mended; one that has done its work is not run again."""
    other = "  other: {command: [sh, -c, 'echo 1; exit 3']}\n"
    once = "  once: {command: [echo, '1']}\n"
    text = (
        pipeline("all")
        + pipeline("mended", source="other", operators="[set: {x: 1}]")
        + pipeline("after", source="mended")
        + pipeline("single", source="once")
    )
    with running(tmp_path, config(text, more=other + once)) as run:
        wait_until(lambda: all(run.collector._network.hubs[name].ended for name in ("after", "single")), "they end", 20)
        run.reload(config(text, more=other.replace("echo 1; exit 3", "echo 2; exec sleep 3600") + once))
        wait_until(lambda: run.lines("after.ndjson") == ["1", "2"], "it begins again", 20)
        run.reload(
            config(text.replace("x: 1", "x: 2"), more=other.replace("echo 1; exit 3", "echo 2; exec sleep 3600") + once)
        )
        report = run.stop()
    assert run.lines("mended.ndjson") == ["1", "2"]
    assert run.lines("single.ndjson") == ["1"]
    assert report.runners["once"].starts == 1
    assert report.errors == ["other: exited with code 3"]


def test_the_sinks_of_what_is_removed_are_drained_and_closed(tmp_path: Path) -> None:
    fifo = Fifo(tmp_path / "gone.ndjson")
    with running(
        tmp_path, config(pipeline("all") + pipeline("gone", strategy="{strategy: drop_newest, capacity: 100_000}"))
    ) as run:
        run.wait_for("all.ndjson")
        run.reload(config(pipeline("all")))
        taken = run.collector.report().pipelines["gone"].taken
        assert taken > 0
        fifo.take_until(lambda: not [thread for thread in threading.enumerate() if "-gone-" in thread.name])
        fifo.take()
        assert fifo.read.count(b"\n") == run.collector.report().pipelines["gone"].sinks["file"].delivered
        run.wait_for("all.ndjson")
        report = run.stop()
    os.close(fifo.reading)
    gone = report.pipelines["gone"]
    assert gone.taken == taken == gone.sinks["file"].delivered + sum(gone.dropped.values())


def test_max_events_counts_over_reloads(tmp_path: Path) -> None:
    with running(tmp_path, config(pipeline("all"), COUNTS_SLOWLY), max_events=3000) as run:
        for number in range(5):
            run.wait_for("all.ndjson", 10)
            run.reload(config(changed(number), COUNTS_SLOWLY))
        report = run.end()
    assert run.numbers("all.ndjson") == list(range(1, 3001))
    assert report.exit_code == 0


def test_the_lifecycle_of_a_runner_that_runs_already(tmp_path: Path) -> None:
    """Who begins to read it gets what comes from then on."""
    text = pipeline("all") + pipeline("told", source="numbers.lifecycle").replace("told.nd", "one.nd")
    with running(tmp_path, config(pipeline("all"))) as run:
        run.wait_for("all.ndjson")
        run.reload(config(text))
        report = run.stop()
    (told,) = (tmp_path / "one.ndjson").read_text().splitlines()
    assert json.loads(told)["event"] == "exited"
    assert report.pipelines["told"].taken == 1


NEVER = """
import reactivex
import reactivex.operators as ops
def never(stream):
    return stream.pipe(ops.merge(reactivex.never()))
"""


def test_old_operators_that_never_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """The new ones begin beside them after a while; at the end they are cut short, as without a reload."""
    monkeypatch.setattr("rx_collector.pipeline.reload._MOST_WAIT", 0.2)
    (tmp_path / "an_operator_without_end.py").write_text(NEVER)
    monkeypatch.syspath_prepend(str(tmp_path))
    with running(tmp_path, config(pipeline("all", "[python: an_operator_without_end:never]")), drain="100ms") as run:
        run.wait_for("all.ndjson")
        run.reload(config(changed(1)))
        run.wait_for("all.ndjson")
        report = run.stop()
    assert any("pipeline all: its old operators have not ended yet" in line for line in log)
    assert whole(run.numbers("all.ndjson"))
    assert report.exit_code == 1


MERGED = pipeline("all") + pipeline("merged", "[merge: other]")


def test_streams_that_are_merged_later(tmp_path: Path) -> None:
    """They are left and read at a change; one that had ended and begins again makes the pipeline begin again."""
    other = "  other: {command: [sh, -c, 'echo 1; exec sleep 3600']}\n"
    with running(tmp_path, config(MERGED, more=other)) as run:
        run.wait_for("merged.ndjson")
        for number in range(5):
            run.reload(
                config(MERGED.replace("[merge: other]", f"[{{set: {{x: {number}}}}}, {{merge: other}}]"), more=other)
            )
            run.wait_for("merged.ndjson")
        run.reload(config(MERGED, more=other.replace("echo 1; exec sleep 3600", "echo 2")))
        wait_until(lambda: run.collector._network.hubs["other"].ended, "it ends", 20)
        run.reload(config(MERGED, more=other.replace("echo 1", "echo 3")))
        wait_until(lambda: run.collector.report().runners["other"].lines == 3, "it is there", 20)
        report = run.stop()
    assert report.exit_code == 0
    merged = run.lines("merged.ndjson")
    assert len(merged) == report.runners["numbers"].lines + 3
    numbers = [line for line in merged if line != "last"]
    assert sorted(map(int, numbers)) == sorted([*range(1, len(numbers) - 2), 1, 2, 3])


def test_a_runner_that_nobody_wanted_any_more_is_started_when_somebody_does(tmp_path: Path) -> None:
    other = f"  other: {{command: {COUNTS_SLOWLY}}}\n"
    few = pipeline("few", "[limit: 3]", source="other")
    with running(tmp_path, config(pipeline("all") + few, more=other)) as run:
        wait_until(lambda: run.collector._network.hubs["other"].ended, "it is stopped", 20)
        run.reload(config(changed(1) + few, more=other))
        run.wait_for("all.ndjson")
        assert run.lines("few.ndjson") == ["1", "2", "3"]
        run.reload(config(pipeline("all") + few.replace("3", "5"), more=other))
        wait_until(lambda: len(run.lines("few.ndjson")) == 8, "it is started again", 20)
        report = run.stop()
    assert run.lines("few.ndjson") == ["1", "2", "3", "1", "2", "3", "4", "5"]
    assert report.runners["other"].starts == 2
    assert report.exit_code == 0
