"""Writes to what may take nothing: a pipe that is not ours blocks, and a write to it has to stay cancellable."""

from __future__ import annotations

import fcntl
import os
import select
import threading
import time
from collections.abc import Iterator

import pytest

from rx_collector.sinks.descriptor import CancellableWriter, Cancelled, TimedOut
from tests.conftest import wait_until

PIPE = 16 * select.PIPE_BUF


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe for sixteen pieces, whose writing end blocks."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def in_background(writer: CancellableWriter, data: bytes) -> tuple[threading.Thread, list[Exception]]:
    raised: list[Exception] = []

    def write() -> None:
        try:
            writer.write(data)
        except (OSError, Cancelled, TimedOut) as error:
            raised.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    return thread, raised


@pytest.mark.parametrize("free", [1, 3])
def test_a_blocking_pipe_is_given_no_more_than_it_takes_at_once(pipe: tuple[int, int], free: int) -> None:
    """With the whole buffer in one write(2), the thread would stay in it until somebody reads."""
    reading, writing = pipe
    os.write(writing, b"x" * (PIPE - free * select.PIPE_BUF))
    writer = CancellableWriter(writing)
    thread, raised = in_background(writer, b"y" * PIPE)
    try:
        wait_until(lambda: writer.written == free * select.PIPE_BUF, "what there is room for is taken")
        writer.cancel()
        thread.join(5)
        assert not thread.is_alive()
        assert [type(error) for error in raised] == [Cancelled]
    finally:
        while thread.is_alive():  # a write that blocks would never let the tests end
            os.read(reading, PIPE)
        writer.close()


def test_a_blocking_pipe_is_given_all_of_it_when_it_is_read(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    data = b"".join(b"%d\n" % number for number in range(50_000))
    writer = CancellableWriter(writing)
    thread, raised = in_background(writer, data)
    got = b""
    while len(got) < len(data):
        got += os.read(reading, 1 << 20)
    thread.join(10)
    assert (raised, writer.written) == ([], len(data))
    assert got == data
    assert os.get_blocking(writing)  # it is somebody else's, too
    writer.close()


def test_what_does_not_block_is_written_at_once(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    writing = pipe[1]
    os.set_blocking(writing, False)
    real, sizes = os.write, []

    def write(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    writer = CancellableWriter(writing)
    writer.write(b"x" * (PIPE - 1))
    assert sizes == [PIPE - 1]
    writer.close()


@pytest.mark.slow
def test_progress_begins_the_time_anew(pipe: tuple[int, int]) -> None:
    """A reader that takes a little now and then is slow, not gone, however long it takes in all."""
    reading, writing = pipe
    writer = CancellableWriter(writing, timeout=1.0)
    thread, raised = in_background(writer, b"y" * (PIPE * 100))
    begun, taken, pause = time.monotonic(), 0, threading.Event()
    while time.monotonic() < begun + 1.5:
        assert (raised, thread.is_alive()) == ([], True)
        taken += len(os.read(reading, select.PIPE_BUF))
        pause.wait(0.02)
    wait_until(lambda: not thread.is_alive(), "it is given up once nothing is taken any more")
    assert [type(error) for error in raised] == [TimedOut]
    assert writer.written == PIPE + taken
    writer.close()


def test_a_cancel_is_for_ever(pipe: tuple[int, int]) -> None:
    writer = CancellableWriter(pipe[1])
    writer.cancel()
    for _ in range(2):
        with pytest.raises(Cancelled):
            writer.write(b"x\n")
    assert writer.written == 0
    writer.close()
    writer.cancel()


def test_a_torn_line_is_ended_before_the_next(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    writer = CancellableWriter(writing, timeout=0.01)
    with pytest.raises(TimedOut):
        writer.write(b"y" * (PIPE + 1) + b"\n")
    assert os.read(reading, PIPE) == b"y" * PIPE
    for _ in range(2):
        writer.write(b"z\n")
        assert writer.written == 2
    assert os.read(reading, PIPE) == b"\nz\nz\n"
    writer.close()
