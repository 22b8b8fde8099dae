"""The file sink: when it reaches the disk, what it creates, when it rotates, what it holds back."""

from __future__ import annotations

import os
import shutil
import stat
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.sinks.base import Writer
from tests.conftest import wait_until
from tests.events import event, run
from tests.sinks.test_sinks import deliver


@pytest.fixture
def any_mode() -> Iterator[None]:
    """Let a file be created with just the mode that is asked for."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.fixture
def synchronised(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The name and the size of each file when it was synchronised with the disk, which it really is."""
    seen: list[tuple[str, int]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        name = os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}"))
        seen.append((name, os.fstat(descriptor).st_size))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return seen


def the_second_fsync_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(5, "EIO")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(directory.iterdir())}


# When it reaches the disk


@pytest.mark.parametrize(
    ("fsync", "sizes"), [("never", []), ("batch", [2, 6, 6]), ("close", [6])], ids=["never", "batch", "close"]
)
def test_fsync(tmp_path: Path, synchronised: list[tuple[str, int]], fsync: str, sizes: list[int]) -> None:
    writer = sinks.file(str(tmp_path / "o"), fsync=fsync).open()
    assert writer.write([event(1)]) == 1
    assert writer.write([event(2), event(3)]) == 2
    assert len(synchronised) == (2 if fsync == "batch" else 0)
    writer.close()
    assert synchronised == [("o", size) for size in sizes]


def test_fsync_of_what_was_held_back_comes_after_it_is_written(
    tmp_path: Path, synchronised: list[tuple[str, int]]
) -> None:
    writer = sinks.file(str(tmp_path / "o"), fsync="close", flush="1h").open()
    assert writer.write([event(1), event(2)]) == 0
    assert writer.close() == 2
    assert synchronised == [("o", 4)]


@pytest.mark.parametrize("fsync", ["never", "close"])
def test_fsync_of_a_file_that_is_rotated_away(tmp_path: Path, synchronised: list[tuple[str, int]], fsync: str) -> None:
    deliver(sinks.file(str(tmp_path / "o"), fsync=fsync, rotate={"size": 4}), [event(n) for n in (1, 2, 3)])
    assert texts(tmp_path) == {"o": "3\n", "o.1": "1\n2\n"}
    assert synchronised == ([] if fsync == "never" else [("o", 4), ("o", 2)])


def test_fsync_that_fails_at_the_close_is_a_failure_of_the_sink(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fsync(descriptor: int) -> None:
        raise OSError(5, "EIO")

    writer = sinks.file(str(tmp_path / "o"), fsync="close").open()
    writer.write([event(1)])
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(rx.OutputError, match=r"cannot write .*/o: input/output error"):
        writer.close()
    assert writer.close() == 0


@pytest.mark.parametrize("failures", [1, 9])
def test_fsync_that_fails_at_the_close_takes_nothing_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    real, failing = os.fsync, [OSError(5, "EIO")] * failures

    def fsync(descriptor: int) -> None:
        if failing:
            raise failing.pop()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    sink = sinks.file(str(tmp_path / "o"), fsync="close", flush="1h")
    writer = sink.open()
    writer.write([event(0)])
    with pytest.raises(rx.OutputError) as caught:
        writer.close()
    assert caught.value.delivered == 1  # by the close itself

    result = run(op.to(sink, retry={"limit": 3, "backoff": "1ms"}), events=[1, 2, 3])
    assert (result.error is None) == (failures == 1)
    (node,) = result.report.pipelines["test"].nodes
    assert (node.out, node.dropped) == (3, 0)
    assert texts(tmp_path) == {"o": "0\n1\n2\n3\n"}


def test_fsync_that_fails_before_a_rotation_says_how_much_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failing = os.fsync, [OSError(5, "EIO")]

    def fsync(descriptor: int) -> None:
        if failing:
            raise failing.pop()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    sink = sinks.file(str(tmp_path / "o"), fsync="close", rotate={"size": 4})
    writer = sink.open()
    with pytest.raises(rx.OutputError, match=r"cannot rotate .*/o: input/output error") as caught:
        writer.write([event(n) for n in (1, 2, 3)])
    assert caught.value.delivered == 2
    assert writer.close() == 0  # the third was given back, and is not written after all
    assert texts(tmp_path) == {"o": "1\n2\n"}

    failing.append(OSError(5, "EIO"))
    result = run(op.to(sink, retry={"limit": 1, "backoff": "1ms"}), events=[3, 4, 5])
    assert result.error is None
    assert texts(tmp_path) == {"o": "5\n", "o.1": "3\n4\n", "o.2": "1\n2\n"}


# How it is written


@pytest.mark.parametrize("fill", [1, 5000], ids=["short", "long"])
@pytest.mark.parametrize("count", [1, 3, 512, 513, 1024, 1025, 2100])
def test_batches_of_any_size(tmp_path: Path, count: int, fill: int) -> None:
    batch = [event(f"{n}{'x' * fill}") for n in range(count)]
    path = tmp_path / "o"
    assert deliver(sinks.file(str(path)), batch, batch[:1]) == count + 1
    assert path.read_text().splitlines() == [one.json().decode() for one in [*batch, batch[0]]]


@pytest.mark.fast_path
@pytest.mark.parametrize("taken", [1, 4999, 5003, 5004, 7000])
def test_long_lines_that_the_kernel_takes_only_a_part_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    calls: list[int] = []

    def writev(descriptor: int, parts: list[bytes]) -> int:
        calls.append(len(parts))
        return os.write(descriptor, b"".join(parts)[:taken])

    monkeypatch.setattr(os, "writev", writev)
    batch = [event(f"{n}{'x' * 5000}") for n in range(3)]
    path = tmp_path / "o"
    assert deliver(sinks.file(str(path)), batch) == 3
    assert calls == [6]
    assert path.read_text().splitlines() == [one.json().decode() for one in batch]


@pytest.mark.parametrize("fill", [1, 5000], ids=["short", "long"])
def test_a_batch_of_which_a_later_part_fails_says_how_much_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fill: int
) -> None:
    the_second_fsync_fails(monkeypatch)
    batch = [event(f"{n}{'x' * fill}") for n in range(3000)]
    path = tmp_path / "o"
    writer = sinks.file(str(path), fsync="batch").open()
    with pytest.raises(rx.OutputError, match="input/output error") as caught:
        writer.write(batch)
    arrived = caught.value.delivered
    assert 0 < arrived < 3000
    assert path.read_text().splitlines() == [one.json().decode() for one in batch[:arrived]]
    writer.recover()
    assert writer.write(batch[arrived:]) == 3000 - arrived
    writer.close()
    assert path.read_text().splitlines() == [one.json().decode() for one in batch]


def test_what_cannot_be_begun_anew_says_how_much_arrived_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, left = tmp_path / "d", [tmp_path / "d" / "o"]

    def fsync(descriptor: int) -> None:
        if left:  # after the first part of the batch somebody removes it, with its directory
            left.pop().unlink()
            directory.rmdir()
            directory.write_text("no directory")

    monkeypatch.setattr(os, "fsync", fsync)
    batch = [event(n) for n in range(3000)]
    writer = sinks.file(str(directory / "o"), fsync="batch").open()
    with pytest.raises(rx.OutputError, match="a part of its path is not a directory") as caught:
        writer.write(batch)
    arrived = caught.value.delivered
    assert 0 < arrived < 3000
    directory.unlink()
    writer.recover()
    assert writer.write(batch[arrived:]) == 3000 - arrived
    writer.close()
    assert (directory / "o").read_text().split() == [str(n) for n in range(arrived, 3000)]


@pytest.mark.fast_path
def test_a_batch_of_large_lines_needs_no_second_copy(tmp_path: Path) -> None:
    batch = [event("x" * 1_000_000) for _ in range(40)]
    for one in batch:
        one.encoded = one.json()
    writer = sinks.file(str(tmp_path / "o")).open()
    tracemalloc.start()
    try:
        assert writer.write(batch) == 40
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
    writer.close()


# What it creates


@pytest.mark.usefixtures("any_mode")
@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, 0o600), ({"mode": 0o640}, 0o640), ({"mode": "0604"}, 0o604), ({"mode": "0o622"}, 0o622)],
)
def test_the_mode_of_a_new_file(tmp_path: Path, options: dict[str, int | str], wanted: int) -> None:
    path = tmp_path / "o"
    deliver(sinks.file(str(path), rotate={"size": 4}, **options), [event(n) for n in (1, 2, 3)])  # type: ignore[arg-type]
    assert {name: mode(tmp_path / name) for name in texts(tmp_path)} == {"o": wanted, "o.1": wanted}


@pytest.mark.usefixtures("any_mode")
def test_the_mode_of_a_file_that_is_there_stays(tmp_path: Path) -> None:
    (tmp_path / "o").touch(0o644)
    deliver(sinks.file(str(tmp_path / "o")), [event(1)])
    assert mode(tmp_path / "o") == 0o644


@pytest.mark.usefixtures("any_mode")
def test_a_file_that_was_removed_is_begun_anew_with_its_mode_and_a_word(tmp_path: Path, log: list[str]) -> None:
    path = tmp_path / "o"
    writer = sinks.file(str(path), mode=0o640).open()
    writer.write([event(1)])
    path.unlink()
    writer.write([event(2)])
    writer.close()
    assert (path.read_text(), mode(path)) == ("2\n", 0o640)
    assert log == [f"WARNING {path} was removed and is begun anew"]


@pytest.mark.parametrize("wrong", ["rw", "0800", "06000", True, None, 1.5])
def test_what_is_no_mode(wrong: object) -> None:
    with pytest.raises(rx.ConfigError, match="a file mode such as"):
        sinks.file("o", mode=wrong)  # type: ignore[arg-type]


# When it rotates


def test_what_is_there_already_counts(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("0123456789\n")
    deliver(sinks.file(str(tmp_path / "o"), rotate={"size": 13}), [event(1), event(2)])
    assert texts(tmp_path) == {"o": "2\n", "o.1": "0123456789\n1\n"}


def test_the_end_of_a_torn_line_counts(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("0123456789")
    deliver(sinks.file(str(tmp_path / "o"), rotate={"size": 12}), [event(1)])
    assert texts(tmp_path) == {"o": "1\n", "o.1": "0123456789\n"}


def test_what_is_begun_anew_counts_from_nothing(tmp_path: Path) -> None:
    (tmp_path / "o").write_text("0123456789\n")
    deliver(sinks.file(str(tmp_path / "o"), append=False, rotate={"size": 4}), [event(1), event(2)])
    assert texts(tmp_path) == {"o": "1\n2\n"}


def test_a_line_longer_than_a_file_has_one_of_its_own(tmp_path: Path) -> None:
    deliver(sinks.file(str(tmp_path / "o"), rotate={"size": 4}), [event(1), event("long" * 10), event(2)])
    assert texts(tmp_path) == {"o": "2\n", "o.1": f'"{"long" * 10}"\n', "o.2": "1\n"}


def test_size_and_time_whichever_comes_first(tmp_path: Path) -> None:
    deliver(sinks.file(str(tmp_path / "size"), rotate={"every": "1h", "size": 4}), [event(n) for n in (1, 2, 3)])
    assert texts(tmp_path) == {"size": "3\n", "size.1": "1\n2\n"}
    writer = sinks.file(str(tmp_path / "time"), rotate={"every": "1ms", "size": "1MB"}).open()
    opened = time.monotonic()
    wait_until(lambda: time.monotonic() > opened + 0.001, "its time is over")
    writer.write([event(1)])  # an empty file is not rotated, however old
    assert not (tmp_path / "time.1").exists()
    writer.write([event(2)])
    writer.close()
    assert (tmp_path / "time.1").read_text() == "1\n"
    assert (tmp_path / "time").read_text() == "2\n"


def test_the_time_of_a_file_begins_when_it_is_opened(tmp_path: Path) -> None:
    writer = sinks.file(str(tmp_path / "o"), rotate={"every": "200ms"}).open()
    opened = time.monotonic()
    wait_until(lambda: time.monotonic() > opened + 0.2, "its time is over")
    writer.write([event(1)])
    writer.write([event(2)])  # into the second file, which is young
    written = time.monotonic()
    writer.write([event(3)])
    if time.monotonic() < written + 0.1:  # a machine that stood still in between makes it old
        assert texts(tmp_path) == {"o": "2\n3\n", "o.1": "1\n"}
    writer.close()


def test_old_files_move_up_and_a_gap_stays_a_gap(tmp_path: Path) -> None:
    for name in ("o.1", "o.3", "o.4"):
        (tmp_path / name).write_text(name)
    deliver(sinks.file(str(tmp_path / "o"), rotate={"size": 2, "keep": 4}), [event(1), event(2)])
    assert texts(tmp_path) == {"o": "2\n", "o.1": "1\n", "o.2": "o.1", "o.4": "o.3"}


def test_a_rotation_that_fails_says_how_much_arrived_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "o"
    (tmp_path / "o.1" / "in the way").mkdir(parents=True)
    writer = sinks.file(str(path), rotate={"size": 4, "keep": 1}).open()
    with pytest.raises(rx.OutputError, match=f"cannot rotate {path}: is a directory") as caught:
        writer.write([event(n) for n in (1, 2, 3)])
    assert caught.value.delivered == 2
    with pytest.raises(rx.OutputError, match="cannot rotate"):
        writer.recover()
        writer.write([event(3)])
    shutil.rmtree(tmp_path / "o.1")
    writer.recover()
    assert writer.write([event(3)]) == 1
    writer.close()
    assert texts(tmp_path) == {"o": "3\n", "o.1": "1\n2\n"}


def test_after_a_rotation_that_failed_there_is_nothing_to_write_at_the_close(tmp_path: Path) -> None:
    (tmp_path / "o.1" / "in the way").mkdir(parents=True)
    writer = sinks.file(str(tmp_path / "o"), rotate={"size": 4, "keep": 1}).open()
    with pytest.raises(rx.OutputError, match="cannot rotate"):
        writer.write([event(n) for n in (1, 2, 3)])
    assert writer.close() == 0
    assert (tmp_path / "o").read_text() == "1\n2\n"


def test_a_file_that_could_not_be_begun_anew_is_opened_before_the_next_try(tmp_path: Path) -> None:
    path = tmp_path / "d" / "o"
    writer = sinks.file(str(path)).open()
    shutil.rmtree(tmp_path / "d")
    (tmp_path / "d").write_text("in the way")
    for _ in range(2):
        with pytest.raises(rx.OutputError, match="a part of its path is not a directory"):
            writer.recover()
            writer.write([event(1)])
    (tmp_path / "d").unlink()
    writer.recover()
    assert writer.write([event(1)]) == 1
    writer.close()
    assert path.read_text() == "1\n"


# What it holds back


def held_back(path: Path, writer: Writer) -> int:
    """Write lines of a thousand bytes until some arrive; give how many were held back."""
    line = event("x" * 997)
    for count in range(2000):
        size = path.stat().st_size
        if arrived := writer.write([line]):
            assert arrived == count + 1
            assert path.stat().st_size == size + arrived * 1000
            return count
        assert path.stat().st_size == size
    pytest.fail("two million bytes are held back")


def test_what_is_held_back_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "o"
    writer = sinks.file(str(path), flush="1h").open()
    assert held_back(path, writer) == 1048  # a line more would be over 1 MiB
    assert held_back(path, writer) == 1048  # and from nothing again
    writer.write([event(1)])
    assert writer.flush() == 1
    assert held_back(path, writer) == 1048
    writer.close()


@pytest.mark.parametrize("rotate", [None, {"size": 4}], ids=["one file", "rotating"])
def test_close_writes_what_is_held_back(tmp_path: Path, rotate: dict[str, int] | None) -> None:
    writer = sinks.file(str(tmp_path / "o"), flush="1h", rotate=rotate).open()  # type: ignore[arg-type]
    assert writer.write([event(n) for n in (1, 2, 3)]) == 0
    assert writer.close() == 3
    assert "".join(reversed(texts(tmp_path).values())) == "1\n2\n3\n"


def test_the_end_of_the_stream_writes_what_is_held_back(tmp_path: Path) -> None:
    result = run(op.to(sinks.file(str(tmp_path / "o"), flush="1h")), events=[1, 2, 3])
    assert result.report.pipelines["test"].nodes[0].out == 3
    assert (tmp_path / "o").read_text() == "1\n2\n3\n"


def test_a_buffer_that_is_held_back_has_arrived_with_its_last_event(tmp_path: Path) -> None:
    writer = sinks.file(str(tmp_path / "o"), rotate={"size": 4}).open()
    assert writer.write([event([event(1), event(2), event(3)]), event(4)]) == 2
    writer.close()
    assert texts(tmp_path) == {"o": "3\n4\n", "o.1": "1\n2\n"}


@pytest.mark.slow
def test_who_opens_a_file_does_not_see_half_of_what_another_sink_writes(tmp_path: Path) -> None:
    """Else it would take that for a line torn by a crash, and end it."""
    path = tmp_path / "out"
    writer = sinks.file(str(path)).open()
    large = event({"text": "x" * 300_000})
    large.encoded = large.json()  # so that nearly all of the time is spent in writing
    opened = written = 0

    def write() -> None:
        nonlocal written
        while written < 100 or (opened < 30 and written < 2_000):
            writer.write([large])
            written += 1

    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        sinks.file(str(path)).open().close()
        opened += 1
    thread.join()
    writer.close()
    assert path.stat().st_size == written * (len(large.encoded) + 1)
