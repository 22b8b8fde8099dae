"""What the command writes to standard error: never in the way of the run, and nothing of a terminal where there is none."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from rx_collector.cli.stderr import StandardError, columns
from tests.cli.test_errors import GOOD, command
from tests.cli.test_terminal import render
from tests.conftest import wait_until


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """A small pipe to be standard error."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    stream = os.fdopen(writing, "w")
    yield reading, stream
    os.close(reading)
    with contextlib.suppress(BrokenPipeError):
        stream.close()


def everything(descriptor: int, threads: list[threading.Thread]) -> str:
    """Read until the writers have ended."""
    os.set_blocking(descriptor, False)
    data = b""

    def read() -> bool:
        nonlocal data
        alive = any(thread.is_alive() for thread in threads)
        try:
            data += os.read(descriptor, 65536)
        except BlockingIOError:
            return not alive
        return False

    wait_until(read, "all is written")
    return data.decode()


def writer_thread() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rx-stderr"]


def test_texts_come_in_their_order(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, stream = pipe
    monkeypatch.setattr(sys, "stderr", stream)
    stderr = StandardError()
    threads = writer_thread()
    for number in range(100):
        stderr.write(f"{number}\n")
    stderr.close()
    assert everything(reading, threads) == "".join(f"{number}\n" for number in range(100))


def test_it_never_blocks_and_says_how_much_was_dropped(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stream = pipe
    monkeypatch.setattr(sys, "stderr", stream)
    stderr = StandardError()
    threads = writer_thread()
    stderr.write("x" * 8192 + "\n")  # more than the pipe takes, so its thread waits
    wait_until(lambda: not stderr._waiting, "the thread has taken it")
    for number in range(10_007):
        stderr.write(f"{number}\n")
    stderr.close(timeout=0.01)
    assert threads[0].is_alive()
    lines = everything(reading, threads).splitlines()
    assert lines[1:] == [
        *map(str, range(10_000)),
        "7 lines of the log were dropped: standard error did not take them",
    ]


def test_a_reader_that_has_gone_ends_nothing(pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch) -> None:
    reading, stream = pipe
    monkeypatch.setattr(sys, "stderr", stream)
    stderr = StandardError()
    (thread,) = writer_thread()
    null = os.open("/dev/null", os.O_RDONLY)
    os.dup2(null, reading)  # the reading end is closed by that
    os.close(null)
    stderr.write("nobody reads this\n")
    stderr.write("nor this\n")
    stderr.close()
    thread.join(10)
    assert not thread.is_alive()


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream, open("/dev/null", "w") as null:
        monkeypatch.setattr(sys, "stderr", stream)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 57, 0, 0))
        assert columns() == 57
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
        assert columns() == 80
        monkeypatch.setattr(sys, "stderr", null)
        assert columns() == 80
        monkeypatch.setattr(sys, "stderr", None)
        assert columns() == 80
    os.close(ours)


@pytest.mark.slow
def test_nothing_of_a_terminal_where_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace('[seq, "5"]', '[sh, -c, "seq 5; sleep 0.6; echo word >&2"]'))
    stderr = command("run", "x.yaml", cwd=tmp_path).stderr
    assert "numbers stderr: word" in stderr
    assert "\x1b" not in stderr
    assert "\r" not in stderr
    assert "/s, in " not in stderr


class Terminal:
    """The command on a terminal, and what it has shown there so far."""

    def __init__(self, directory: Path, columns: int, *options: str) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rx_collector", "run", "x.yaml", *options],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        os.set_blocking(self.ours, False)
        self.shown = ""

    def read(self) -> str:
        try:
            self.shown += os.read(self.ours, 65536).decode(errors="replace")
        except OSError:  # nothing there now, or the other side is closed
            pass
        return self.shown

    def drawn(self) -> list[str]:
        """Every line of progress so far."""
        return re.findall(r"\x1b\[2m([^\x1b]*)\x1b\[0m\r?\n", self.shown)

    def over(self) -> bool:
        self.read()
        return self.process.poll() is not None

    def end(self) -> list[str]:
        """Stop the command where it has not ended; give the lines that are left on the terminal."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        wait_until(self.over, "it ends", 20)
        self.read()
        return render(self.shown)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)


TWO = """
runners:
  fast: {command: [sh, -c, "while :; do seq 1000; done"]}
  once: {command: [sh, -c, "echo 1; exec sleep 3600"]}
pipelines:
  crowded:
    from: fast
    sinks:
      - exec: {command: [sleep, "3600"], grace: 1ms}
        backpressure: {strategy: drop_oldest, capacity: 100}
  quiet:
    from: once
    sinks:
      - null:
        backpressure: block
"""


@pytest.mark.slow
def test_a_line_for_each_pipeline_with_its_rate_its_queue_and_its_drops(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TWO)
    with Terminal(tmp_path, 200, "--drain", "100ms") as terminal:
        wanted = [
            r"crowded: [\d,.]+/s, in [\d,]+, exec [\d,]+(, waiting [\d,]+)?, dropped [\d,]+",
            r"quiet: [\d,.]+/s, in 1, null 1",
        ]

        def shown() -> bool:
            terminal.read()
            return all(any(re.fullmatch(pattern, line) for line in terminal.drawn()) for pattern in wanted)

        wait_until(shown, "both are shown", 20)
        rest = terminal.end()
        assert not any("/s, in " in line for line in rest)


@pytest.mark.slow
def test_a_line_is_never_longer_than_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(TWO)
    with Terminal(tmp_path, 24, "--drain", "100ms") as terminal:
        names = {"crowded", "quiet"}
        wait_until(
            lambda: bool(terminal.read()) and {line.partition(":")[0] for line in terminal.drawn()} == names,
            "both are shown",
            20,
        )
        assert max(map(len, terminal.drawn())) == 23
        assert not any("/s" in line for line in terminal.end())


@pytest.mark.slow
@pytest.mark.parametrize("option", ["quiet", "console", "neither"])
def test_no_progress_where_it_would_be_in_the_way(tmp_path: Path, option: str) -> None:
    sink = "- console: {stream: stderr, format: ndjson}" if option == "console" else "- file: out.ndjson"
    text = GOOD.replace('[seq, "5"]', '[sh, -c, "seq 5; sleep 0.6"]').replace("- file: out.ndjson", sink)
    (tmp_path / "x.yaml").write_text(text)
    with Terminal(tmp_path, 200, *(["--quiet"] if option == "quiet" else [])) as terminal:
        wait_until(terminal.over, "it ends by itself", 20)
        shown = "\n".join(terminal.end())
        assert ("/s, in " in terminal.shown) is (option == "neither")
        assert ("balanced" in shown) is (option != "quiet")
        assert terminal.process.returncode == 0


def test_a_stream_that_is_gone_at_the_end_does_not_change_the_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left in its buffer cannot be written, as to a terminal that was closed; Python alone would exit with 120."""
    from rx_collector.cli import main

    class Gone(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    with pytest.raises(SystemExit) as caught:
        main(["list"])
    assert caught.value.code == 0
    assert sys.stderr is None


def test_a_full_disk_behind_the_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:
        ours = [sys.executable, "-m", "rx_collector"]
        run = subprocess.run([*ours, "list"], stdout=full, stderr=subprocess.PIPE)
        assert (run.returncode, run.stderr) == (1, b"rx-collector: cannot write the output: no space left on device\n")
        assert subprocess.run([*ours, "validate", "nosuch.yaml"], stderr=full).returncode == 1
