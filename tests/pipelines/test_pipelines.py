"""The pipelines that come with it: each on the recordings it fits, and the bpftrace ones on the real kernel."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector.pipeline.given import Given
from rx_collector.pipeline.rehearsal import rehearse
from tests.conftest import need_bpftrace, wait_until

ROOT = Path(__file__).parent.parent.parent
PIPELINES = sorted((ROOT / "pipelines").glob("*.yaml"))
CAPTURES = ROOT / "tests" / "captures"
STAGES = {"exec": "started", "open": "opened", "connect": "connected"}


@pytest.mark.parametrize("file", PIPELINES, ids=lambda path: path.stem)
def test_it_is_right(file: Path) -> None:
    project = rx.load(file, {})
    assert project.name == file.stem
    assert project.description


def replay(name: str, capture: str, directory: Path) -> tuple[rx.Report, list[Any], list[Any]]:
    """Run a pipeline with `cat` of a recording in the place of its tool; give report, output and dead letters."""
    environment = {"OUTPUT": str(directory / "out"), "REJECTED": str(directory / "dead")}
    project = rx.load(ROOT / "pipelines" / f"{name}.yaml", environment)
    (runner,) = project.runners
    project = project.with_runner(runner, command=["cat", str(CAPTURES / capture)], every=None, timeout=None)
    report = project.run()
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0
    assert report.runners[runner].lines == (CAPTURES / capture).read_bytes().count(b"\n")

    def records(path: Path) -> list[Any]:
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] if path.exists() else []

    return report, records(directory / "out"), records(directory / "dead")


def test_processes(tmp_path: Path) -> None:
    report, out, dead = replay("processes", "process.ndjson", tmp_path)
    assert report.pipelines["started"].taken == 2977
    assert len(out) == (CAPTURES / "process.ndjson").read_bytes().count(b'"event":"EXEC"') == 119
    assert out[0] == {"pid": 16118, "ppid": 16076, "comm": "bash", "filename": "/usr/bin/bash"}
    assert [(one["line"], one["raw"][:8]) for one in dead] == [(1, "Config: ")]


def test_packets(tmp_path: Path) -> None:
    report, out, dead = replay("packets", "tcpdump.txt", tmp_path)
    assert len(out) + report.pipelines["packets"].filtered + len(dead) == 765
    assert dead == []
    assert out[0] == {
        "at": "00:15:23.956439",
        "source": "127.0.0.1.46738",
        "target": "127.0.0.1.18443",
        "flags": "P.",
        "length": 517,
    }


def test_files(tmp_path: Path) -> None:
    report, out, dead = replay("files", "inotifywait.txt", tmp_path)
    assert out[0] == {"directory": "work/iw/", "events": ["CREATE"], "file": "f1.txt"}
    assert len(out) + report.pipelines["files"].filtered + len(dead) == 388
    assert report.runners["inotify"].invalid_utf8 > 0
    assert all(one["reason"] == "parse" for one in dead)  # the second half of a file name with a newline


def test_busy(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report, _, dead = replay("busy", "ps.txt", tmp_path)
    assert dead == []
    shown = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert len(shown) == 372 - report.pipelines["busy"].filtered
    assert all(one["cpu"] >= 1 and "rss_mib" in one for one in shown)


def test_memory(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    report, _, _ = replay("memory", "vmstat.txt", tmp_path)
    assert report.runners["vmstat"].skipped == 2
    first = json.loads(capfd.readouterr().out.splitlines()[0])
    assert first == {"free_mib": 23674, "swapped": 0, "idle": 65, "wait": 0}


@pytest.mark.parametrize(
    ("name", "capture"),
    [("processes", "process.ndjson"), ("packets", "tcpdump.txt"), ("open", "bpftrace-json-types.ndjson")],
)
def test_a_test_makes_of_lines_what_a_run_does(tmp_path: Path, name: str, capture: str) -> None:
    report, out, dead = replay(name, capture, tmp_path)
    project = rx.load(ROOT / "pipelines" / f"{name}.yaml", {})
    ((runner, pipeline),) = zip(project.runners, project.pipelines, strict=True)
    lines = (CAPTURES / capture).read_text().split("\n")[:-1]
    outcome = rehearse(project, {runner: [Given("line", line) for line in lines]})
    assert [event.data for event in outcome.events[pipeline]] == out
    records = [record.data for _, record in outcome.dead_letters]
    assert [(one["line"], one["raw"], one["error"]) for one in records] == [
        (one["line"], one["raw"], one["error"]) for one in dead
    ]
    assert outcome.report.pipelines == report.pipelines
    assert outcome.report.runners[runner].bytes == report.runners[runner].bytes


@pytest.mark.parametrize("name", ["exec", "open", "connect"])
@pytest.mark.parametrize("capture", ["bpftrace-json-exec.ndjson", "bpftrace-json-types.ndjson"])
def test_records_of_other_scripts_stop_nothing(tmp_path: Path, name: str, capture: str) -> None:
    report, out, dead = replay(name, capture, tmp_path)
    assert out == []
    assert len(dead) == sum(report.pipelines[STAGES[name]].rejected.values()) > 0


def test_a_hostile_file_name_forges_nothing(tmp_path: Path) -> None:
    name = '/tmp/x 1 2 {"uid": 0}\n5 6 7 /bin/forged'
    line = json.dumps({"type": "printf", "data": f"17 42 1000 {name}\n"})
    (tmp_path / "in").write_text(line + "\n")
    environment = {"OUTPUT": str(tmp_path / "out"), "REJECTED": str(tmp_path / "dead")}
    project = rx.load(ROOT / "pipelines" / "exec.yaml", environment)
    report = project.with_runner("exec", command=["cat", str(tmp_path / "in")]).run()
    (record,) = map(json.loads, (tmp_path / "dead").read_text().splitlines())
    assert (report.balanced, record["operator"]) == (True, "operators[3] parse")


# On the real kernel


@pytest.fixture(scope="module")
def bpftrace() -> None:
    need_bpftrace()


def watch(name: str, directory: Path, act: Callable[[], None], seen: Callable[[Any], bool]) -> Any:
    """Run a pipeline by the real command until what `act` does shows up; give the event."""
    out, file = directory / "out", str(ROOT / "pipelines" / f"{name}.yaml")
    process = subprocess.Popen(
        [sys.executable, "-m", "rx_collector", "run", file, "--report", str(directory / "r.json")],
        env={**os.environ, "OUTPUT": str(out), "REJECTED": str(directory / "dead")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    found: list[Any] = []

    def look() -> bool:
        assert process.poll() is None, process.communicate()[1]
        act()
        if out.exists():
            lines = out.read_bytes().split(b"\n")[:-1]
            found.extend(event for event in map(json.loads, lines) if seen(event["data"]))
        return bool(found)

    try:
        wait_until(look, f"{name} shows the event", 30)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, stderr
    report = json.loads((directory / "r.json").read_text())
    assert report["balanced"]
    assert report["runners"][name]["exits"][0]["code"] == 0
    assert found[0]["incarnation"] == 1
    return found[0]


@pytest.mark.slow
@pytest.mark.bpftrace
@pytest.mark.usefixtures("bpftrace")
def test_exec_on_the_real_kernel(tmp_path: Path) -> None:
    program = tmp_path / "a program with blanks"
    shutil.copy("/bin/true", program)
    event = watch(
        "exec",
        tmp_path,
        lambda: subprocess.run([str(program)], check=True) and None,
        lambda data: data["filename"] == str(program),
    )
    assert event["data"]["name"] == "a program with blanks"
    assert event["data"]["uid"] == 0


@pytest.mark.slow
@pytest.mark.bpftrace
@pytest.mark.usefixtures("bpftrace")
def test_open_on_the_real_kernel(tmp_path: Path) -> None:
    file = tmp_path / "opened"
    event = watch("open", tmp_path, lambda: file.write_text("x") and None, lambda data: data["filename"] == str(file))
    assert event["data"]["created"] is True
    assert event["data"]["pid"] == os.getpid()


@pytest.mark.slow
@pytest.mark.bpftrace
@pytest.mark.usefixtures("bpftrace")
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def test_connect_on_the_real_kernel(tmp_path: Path, family: socket.AddressFamily) -> None:
    with socket.socket(family) as server:
        server.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
        server.listen()
        port = server.getsockname()[1]

        def connect() -> None:
            with socket.socket(family) as client:
                client.connect(server.getsockname())
            server.accept()[0].close()

        event = watch("connect", tmp_path, connect, lambda data: data["port"] == port)
    assert event["data"]["local"] is True
    assert event["data"]["pid"] == os.getpid()
