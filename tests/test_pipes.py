"""The sizes of pipes: as large as helps and is allowed, and no error where little is."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rx_collector.pipes import LARGEST, share, widen


@pytest.fixture
def pipe() -> Iterator[int]:
    reading, writing = os.pipe()
    yield reading
    os.close(reading)
    os.close(writing)


@pytest.mark.fast_path
def test_a_pipe_is_widened_and_never_narrowed(pipe: int) -> None:
    assert widen(pipe, 1 << 17) == 1 << 17
    assert widen(pipe, 1 << 16) == 1 << 17
    assert fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) == 1 << 17


@pytest.mark.fast_path
@pytest.mark.parametrize(("allowed", "size"), [(1 << 18, 1 << 18), (1 << 17, 1 << 17), (0, 1 << 16)])
def test_a_user_with_little_left_gets_what_is_left(
    pipe: int, monkeypatch: pytest.MonkeyPatch, allowed: int, size: int
) -> None:
    real = fcntl.fcntl

    def limited(descriptor: int, what: int, argument: int = 0) -> Any:
        if what == fcntl.F_SETPIPE_SZ and argument > allowed:
            raise PermissionError(errno.EPERM, "not permitted")
        return real(descriptor, what, argument)

    monkeypatch.setattr(fcntl, "fcntl", limited)
    assert widen(pipe, LARGEST) == size
    assert real(pipe, fcntl.F_GETPIPE_SZ) == size


def test_what_is_no_pipe_has_no_size() -> None:
    descriptor = os.open("/dev/null", os.O_RDONLY)
    assert widen(descriptor, LARGEST) == 0
    os.close(descriptor)


def test_all_idle_pipes_together_leave_a_user_some() -> None:
    got = [share(number) for number in range(1, 501)]
    assert got[0] == LARGEST
    assert got == sorted(got, reverse=True)
    assert sum(size for size in got if size > 1 << 16) < 48 << 20  # of 64 MiB; those of 64 KiB are as they came
