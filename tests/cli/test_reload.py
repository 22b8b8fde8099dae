"""Reloading by the command: SIGHUP, ``--watch``, mistakes, and a terminal that goes away."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_errors import GOOD
from tests.cli.test_run import session, sheet
from tests.conftest import wait_until

pytestmark = pytest.mark.slow

COUNTS = GOOD.replace('[seq, "5"]', '[sh, -c, "i=0; while :; do i=$((i+1)); echo $i; done"]')
CHANGED = COUNTS.replace("- filter: int(message) > 2", "- filter: int(message) > 2\n      - set: {changed: 'True'}")
WRONG = CHANGED.replace("- filter:", "- filtr:")


class Run:
    """The command while it runs; its standard error is kept in a file."""

    def __init__(self, directory: Path, *arguments: str, text: str = COUNTS, before: tuple[str, ...] = ()) -> None:
        self.directory = directory
        (directory / "x.yaml").write_text(text)
        self._stderr = open(directory / "stderr", "wb")  # noqa: SIM115 - closed in `end`
        command = [*before, sys.executable, "-m", "rx_collector", "run", "x.yaml", "--report", "r.json", *arguments]
        self.process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.DEVNULL, stderr=self._stderr, start_new_session=True
        )
        self.wait_for_events()

    def stderr(self) -> str:
        return (self.directory / "stderr").read_text()

    def said(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.stderr().count(text) >= times, f"{text!r} is said", 20)

    def wait_for_events(self) -> None:
        out = self.directory / "out.ndjson"
        size = out.stat().st_size if out.exists() else 0
        wait_until(lambda: out.exists() and out.stat().st_size > size + 1000, "events arrive", 20)

    def hang_up(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def end(self, code: int = 0) -> Any:
        self.process.send_signal(signal.SIGTERM)
        return self.ended(code)

    def ended(self, code: int = 0) -> Any:
        assert self.process.wait(30) == code, self.stderr()
        self._stderr.close()
        report = sheet(self.directory)
        assert report["balanced"]
        lines = [json.loads(line) for line in (self.directory / "out.ndjson").read_text().splitlines()]
        assert [int(line["message"]) for line in lines] == list(range(3, len(lines) + 3))
        return report


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Any]:
    runs: list[Run] = []

    def start(*arguments: str, **options: Any) -> Run:
        runs.append(Run(tmp_path, *arguments, **options))
        return runs[-1]

    yield start
    for one in runs:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(30)
        one._stderr.close()


def test_sighup_changes_what_has_changed(run: Any, tmp_path: Path) -> None:
    it = run()
    children = session(it.process.pid)
    (tmp_path / "x.yaml").write_text(CHANGED)
    it.hang_up()
    it.said("reloaded: runner numbers kept; pipeline all changed")
    it.wait_for_events()
    assert session(it.process.pid) == children
    it.hang_up()
    it.said("reloaded: nothing has changed")
    report = it.end()
    assert report["reloads"] == 1
    assert report["runners"]["numbers"]["starts"] == 1
    lines = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert "changed" not in lines[0]
    assert lines[-1]["changed"] is True
    assert "generation 2, operators[1] set" in [node["node"] for node in report["pipelines"]["all"]["nodes"]]


def test_a_mistake_is_shown_and_nothing_changes(run: Any, tmp_path: Path) -> None:
    it = run("-q")
    (tmp_path / "x.yaml").write_text(WRONG)
    it.hang_up()
    it.said("did you mean 'filter'?")
    assert it.stderr() == (
        "reload refused, what ran runs on:\n"
        "x.yaml:8:9: pipelines.all.operators[0].filtr: unknown operator 'filtr', did you mean 'filter'?\n"
    )
    it.wait_for_events()
    (tmp_path / "x.yaml").unlink()
    it.hang_up()
    it.said("x.yaml:1:1: no such file")
    (tmp_path / "x.yaml").write_text(CHANGED)
    it.hang_up()
    wait_until(lambda: '"changed":true' in (tmp_path / "out.ndjson").read_text()[-500:], "it is changed", 20)
    assert it.end()["reloads"] == 1


def test_many_hang_ups(run: Any, tmp_path: Path) -> None:
    it = run()
    for number in range(300):
        (tmp_path / "y.yaml").write_text(CHANGED.replace("'True'", str(number)))
        os.replace(tmp_path / "y.yaml", tmp_path / "x.yaml")
        it.hang_up()
    wait_until(lambda: '"changed":299}' in (tmp_path / "out.ndjson").read_text()[-500:], "the last one is there", 30)
    assert 1 <= it.end()["reloads"] <= 300


def test_watch(run: Any, tmp_path: Path) -> None:
    """Files that are replaced, that are written in two steps, and that are gone for a while."""
    it = run("--watch")
    (tmp_path / "y.yaml").write_text(CHANGED)
    os.replace(tmp_path / "y.yaml", tmp_path / "x.yaml")
    it.said("x.yaml has changed")
    it.said("pipeline all changed")
    with open(tmp_path / "x.yaml", "w") as file:
        file.write(COUNTS[:60])
        file.flush()
        file.write(COUNTS[60:])
    it.said("pipeline all changed", 2)
    assert "refused" not in it.stderr()
    (tmp_path / "x.yaml").write_text(WRONG)
    it.said("did you mean 'filter'?")
    (tmp_path / "x.yaml").write_text(CHANGED)
    it.said("pipeline all changed", 3)
    assert it.end()["reloads"] == 3


def test_a_sink_that_cannot_be_opened(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    it = run()
    (tmp_path / "x.yaml").write_text(COUNTS.replace("file: out.ndjson", "file: a/out.ndjson"))
    it.hang_up()
    it.said("reload refused, what ran runs on: all, file: cannot write ")
    it.wait_for_events()
    assert it.end()["reloads"] == 0


def test_under_nohup_it_stays_ignored(run: Any) -> None:
    it = run(before=("nohup",))
    it.hang_up()
    it.wait_for_events()
    assert "reload" not in it.stderr()
    assert it.end()["reloads"] == 0


def test_a_secret_stays_one(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the file does not say any more that it is."""
    monkeypatch.setenv("PIN", "a-word-of-its-own")
    text = "secrets: [PIN]\n" + COUNTS.replace("int(message) > 2", "int(message) > 2 or message == '${PIN}'")
    it = run(text=text)
    (tmp_path / "x.yaml").write_text(COUNTS.replace("out.ndjson", "a-word-of-its-own/x").replace("runners", "runners"))
    (tmp_path / "a-word-of-its-own").write_text("")
    it.hang_up()
    it.said("reload refused")
    it.end()
    assert "a-word-of-its-own" not in it.stderr()


def test_a_terminal_that_goes_away(tmp_path: Path) -> None:
    """It stops as at SIGTERM: what was read is delivered. While the terminal is there, SIGHUP reloads."""
    (tmp_path / "x.yaml").write_text(COUNTS)
    terminal, theirs = pty.openpty()
    takes_it = (
        "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.executable, sys.argv[1:])"
    )
    command = [
        sys.executable,
        "-c",
        takes_it,
        sys.executable,
        "-m",
        "rx_collector",
        "run",
        "x.yaml",
        "--report",
        "r.json",
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    out, shown = tmp_path / "out.ndjson", bytearray()
    os.set_blocking(terminal, False)

    def shows(text: bytes) -> bool:
        try:
            shown.extend(os.read(terminal, 65536))
        except OSError:
            pass
        return text in shown

    wait_until(lambda: not shows(b"\0") and out.exists() and out.stat().st_size > 1000, "events arrive", 20)
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: shows(b"nothing has changed"), "it reloads", 20)
    os.close(terminal)
    assert process.wait(20) == 0
    report = sheet(tmp_path)
    assert report["balanced"]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [int(line["message"]) for line in lines] == list(range(3, len(lines) + 3))
    assert report["runners"]["numbers"]["lines"] == len(lines) + 2


def test_a_hang_up_while_the_files_are_loaded_is_a_reload(tmp_path: Path) -> None:
    """It ends nothing: what a service manager is told to do at once after the start is done when there is a run."""
    (tmp_path / "x.yaml").write_text(GOOD)
    script = (
        "import os, signal, sys\n"
        "from rx_collector.cli import main, run\n"
        "run = sys.modules['rx_collector.cli.run']\n"
        "load_all = run.load_all\n"
        "def load(*arguments):\n"
        "    run.load_all = load_all\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return load_all(*arguments)\n"
        "run.load_all = load\n"
        "main(['run', 'x.yaml'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "reloaded: nothing has changed" in done.stderr
    assert (tmp_path / "out.ndjson").read_text().count("\n") == 3
