"""The file sink that compresses: members that are whole, what a crash leaves, how large the files become."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.event import Event
from rx_collector.sinks._gzip import member, whole
from rx_collector.sinks.base import Sink
from tests.cli.test_errors import command
from tests.cli.test_record import start
from tests.conftest import wait_until
from tests.events import event, run
from tests.sinks.test_file import the_second_fsync_fails
from tests.sinks.test_sinks import deliver


def compressed(path: Path, **options: Any) -> Sink:
    return sinks.file(str(path), compression="gzip", **options)


def records(*paths: Path) -> list[Any]:
    """The payloads in files, read by gzip(1)."""
    text = subprocess.run(["gzip", "-cd", *paths], stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in text.splitlines()]


def members(path: Path) -> list[bytes]:
    """What is in each member, by the sizes that deflate itself finds."""
    data, found = path.read_bytes(), []
    while data:
        one = zlib.decompressobj(wbits=31)
        found.append(one.decompress(data))
        assert one.eof
        data = one.unused_data
    return found


def numbered(count: int, fill: int = 200) -> list[Event]:
    return [event({"n": n, "fill": "x" * fill}, n + 1) for n in range(count)]


def ns(found: list[Any]) -> list[int]:
    return [one["n"] for one in found]


# Members


def test_each_write_can_be_read_by_any_tool_while_the_file_is_open(tmp_path: Path) -> None:
    path = tmp_path / "new" / "o.ndjson.gz"
    writer = compressed(path).open()
    assert writer.write(numbered(3)) == 3
    assert ns(records(path)) == [0, 1, 2]
    assert writer.write(numbered(2)) == 2
    assert ns(records(path)) == [0, 1, 2, 0, 1]
    assert writer.close() == 0
    assert len(members(path)) == 2


def test_many_lines_become_members_of_a_megabyte(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    batch = numbered(3000, 1000)
    assert deliver(compressed(path), batch) == 3000
    found = members(path)
    assert b"".join(found) == b"".join(one.json() + b"\n" for one in batch)
    assert len(found) == 3
    assert all(1_000_000 < len(one) <= 1 << 20 for one in found[:-1])
    assert path.stat().st_size * 5 < sum(map(len, found))


def test_a_line_longer_than_a_member_has_one_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    batch = [event("a"), event("b" * 2_000_000), event("c")]
    assert deliver(compressed(path), batch) == 3
    assert [len(one) for one in members(path)] == [4, 2_000_003, 4]


@pytest.mark.parametrize(
    "data", [b"", b"x", b"line\n" * 9, os.urandom(1 << 18)], ids=["empty", "one", "lines", "random"]
)
def test_a_member_says_how_long_it_is(tmp_path: Path, data: bytes) -> None:
    one = member(data)
    assert gzip.decompress(one) == data
    assert int.from_bytes(one[16:20], "little") == len(one)
    path = tmp_path / "o"
    path.write_bytes(one + one)
    with path.open("rb") as file:
        assert whole(file) == 2 * len(one)


def test_what_waits_is_compressed_together(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    writer = compressed(path, flush=10.0).open()
    assert [writer.write([one]) for one in numbered(50)] == [0] * 50
    assert path.stat().st_size == 0
    assert writer.flush() == 50
    assert (len(members(path)), ns(records(path))) == (1, list(range(50)))
    writer.close()


def test_buffers_formats_and_the_end_of_the_stream(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    result = run(op.buffer(count=3), op.to(compressed(path, format="cloudevents")), events=[1, 2, 3, 4])
    assert result.error is None
    assert [one["data"] for one in records(path)] == [1, 2, 3, 4]


# What a crash leaves


def test_a_file_that_ends_anywhere_is_whole_up_to_the_member_before(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    pieces = [member(text) for text in (b"one\n", b"two\n" * 40, os.urandom(50))]
    data = b"".join(pieces)
    ends = [0, len(pieces[0]), len(pieces[0] + pieces[1]), len(data)]
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        with path.open("rb") as file:
            assert whole(file) == max(end for end in ends if end <= size), size


@pytest.mark.parametrize("zeros", [1, 19, 20, 5000])
def test_zeros_at_the_end_are_what_was_never_written(tmp_path: Path, zeros: int) -> None:
    path = tmp_path / "o.gz"
    path.write_bytes(member(b"one\n") + bytes(zeros))
    with path.open("rb") as file:
        assert whole(file) == len(member(b"one\n"))


def test_the_last_member_is_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    first, last = member(b"one\n"), bytearray(member(b"two\n" * 50))
    for place in range(20, len(last)):
        wrong = last.copy()
        wrong[place] ^= 0xFF
        path.write_bytes(first + wrong)
        with path.open("rb") as file:
            assert whole(file) == len(first), place


def test_a_torn_member_is_taken_off_with_a_word(tmp_path: Path, log: list[str]) -> None:
    path = tmp_path / "o.gz"
    deliver(compressed(path), numbered(3), numbered(2))
    size = path.stat().st_size
    os.truncate(path, size - 7)
    torn = path.stat().st_size - len(member(b"".join(one.json() + b"\n" for one in numbered(3))))
    assert deliver(compressed(path), numbered(1)) == 1
    assert ns(records(path)) == [0, 1, 2, 0]
    assert log == [f"WARNING {path}: its last {torn} bytes, of a gzip member that was torn, were taken off"]


@pytest.mark.parametrize(
    ("there", "place"),
    [
        (b'{"n":1}\n', 0),
        (gzip.compress(b"one\n"), 0),
        (member(b"one\n") + b"two\n", len(member(b"one\n"))),
        (member(b"one\n") + gzip.compress(b"two\n"), len(member(b"one\n"))),
        (member(b"one\n") + bytes(100) + b"x", len(member(b"one\n"))),
    ],
    ids=["lines", "gzip", "lines behind", "gzip behind", "zeros and more"],
)
def test_what_is_no_member_of_ours_is_left_as_it_is(tmp_path: Path, there: bytes, place: int) -> None:
    path = tmp_path / "o.gz"
    path.write_bytes(there)
    with pytest.raises(rx.OutputError) as caught:
        compressed(path).open()
    assert str(caught.value) == (
        f"cannot append to {path}: from byte {place} on it is not what this sink writes with compression: gzip; "
        "move it away, or say append: false"
    )
    assert path.read_bytes() == there
    assert deliver(compressed(path, append=False), numbered(1)) == 1
    assert ns(records(path)) == [0]


def test_an_empty_file_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    path.touch()
    assert deliver(compressed(path), numbered(2)) == 2
    assert ns(records(path)) == [0, 1]


# What fails


@pytest.mark.root
def test_a_member_for_which_there_is_no_room_is_taken_back(small_disk: Path) -> None:
    path = small_disk / "o.gz"
    noise = random.Random(1)
    batch = [event({"n": n, "fill": noise.randbytes(3000).hex()}) for n in range(200)]
    writer = compressed(path, flush=100.0).open()
    arrived = writer.write(batch[:5]) + writer.flush()
    with pytest.raises(rx.OutputError, match=r"cannot write .*o\.gz: no space left on device") as caught:
        writer.write(batch[5:])
        writer.flush()
    assert (arrived, caught.value.delivered) == (5, 0)
    assert ns(records(path)) == [0, 1, 2, 3, 4]  # what was written of the next member is gone again
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    writer.recover()
    assert writer.write(batch[5:]) + writer.flush() == 195
    writer.close()
    assert ns(records(path)) == list(range(200))


def test_a_member_that_is_not_on_the_disk_has_not_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    the_second_fsync_fails(monkeypatch)
    path = tmp_path / "o.gz"
    writer = compressed(path, fsync="batch").open()
    batch = numbered(9000)
    with pytest.raises(rx.OutputError, match="input/output error") as caught:
        writer.write(batch)
    arrived = caught.value.delivered
    assert 0 < arrived < 9000
    assert ns(records(path)) == list(range(arrived))
    writer.recover()
    assert writer.write(batch[arrived:]) == 9000 - arrived
    writer.close()
    assert ns(records(path)) == list(range(9000))


def test_a_file_that_was_removed_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    writer = compressed(path).open()
    writer.write(numbered(2))
    path.unlink()
    assert writer.write(numbered(3)) == 3
    writer.close()
    assert ns(records(path)) == [0, 1, 2]


def test_what_is_no_file_cannot_be_compressed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(rx.OutputError, match=r"cannot compress .*/fifo: it is not a regular file"):
            compressed(tmp_path / "fifo").open()
    finally:
        os.close(reader)


# One writer


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    first = compressed(path).open()
    first.write(numbered(2))
    with pytest.raises(
        rx.OutputError, match=r"cannot write .*: it is open already, and a compressed file has one writer"
    ):
        compressed(path).open()
    code = (
        "import sys; from rx_collector import sinks; sinks.file(sys.argv[1], compression='gzip', append=False).open()"
    )
    other = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert other.stderr.rstrip().endswith("it is open already, and a compressed file has one writer")
    assert ns(records(path)) == [0, 1]
    first.close()
    assert deliver(compressed(path), numbered(1)) == 1
    assert ns(records(path)) == [0, 1, 0]


def test_a_child_that_has_the_descriptor_too_keeps_nobody_from_opening_it_again(tmp_path: Path) -> None:
    """Each child has all descriptors between fork and exec; this one keeps it for longer."""
    path = tmp_path / "o.gz"
    writer = compressed(path).open()
    writer.write(numbered(2))
    with subprocess.Popen(["sleep", "3600"], pass_fds=[writer._descriptor]) as child:  # type: ignore[attr-defined]
        try:
            writer.recover()
            assert writer.write(numbered(1)) == 1
            writer.close()
            assert deliver(compressed(path), numbered(1)) == 1
        finally:
            child.kill()
    assert ns(records(path)) == [0, 1, 0, 0]


TWO = """
runners:
  numbers: {command: [seq, "3"]}
pipelines:
  first:
    from: numbers
    sinks:
      - file: {path: out.gz, compression: gzip}
        backpressure: block
  second:
    from: numbers
    sinks:
      - file: out.gz
        backpressure: block
"""


def test_two_sinks_of_one_compressed_file_are_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "two.yaml", {})
    assert "another sink, of 'first', writes this file, too, and one of them rotates, empties or compresses it" in str(
        caught.value
    )
    assert "two.yaml:13:" in str(caught.value)


# Rotation


def test_rotation_is_by_the_size_on_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "o.ndjson.gz"
    noise = random.Random(1)
    batch = [event({"n": n, "fill": noise.randbytes(200).hex()}) for n in range(3000)]
    writer = compressed(path, rotate={"size": 100_000, "keep": 20}).open()
    for first in range(0, 3000, 100):
        assert writer.write(batch[first : first + 100]) == 100
    writer.close()
    old = sorted(tmp_path.glob("o.ndjson.*.gz"), key=lambda one: -int(one.name.split(".")[2]))
    assert [one.name for one in old] == [f"o.ndjson.{n}.gz" for n in range(len(old), 0, -1)]
    assert len(old) > 5
    assert all(50_000 < one.stat().st_size <= 100_000 for one in old)
    assert ns(records(*old, path)) == list(range(3000))


def test_a_batch_is_divided_where_files_are_small(tmp_path: Path) -> None:
    path = tmp_path / "o"
    noise = random.Random(1)
    batch = [event({"n": n, "fill": noise.randbytes(100).hex()}) for n in range(300)]
    assert deliver(compressed(path, rotate={"size": 4_000, "keep": 50}), batch) == 300
    old = sorted(tmp_path.glob("o.*"), key=lambda one: -int(one.suffix[1:]))
    assert len(old) > 5
    assert all(one.stat().st_size <= 4_000 for one in old)
    found = [json.loads(line) for one in [*old, path] for line in gzip.decompress(one.read_bytes()).splitlines()]
    assert ns(found) == list(range(300))


@pytest.mark.parametrize("size", [1, 100, 150, 1000])
def test_lines_longer_than_a_file_have_one_each(tmp_path: Path, size: int) -> None:
    path = tmp_path / "o"
    noise = random.Random(1)
    batch = [event({"n": n, "fill": noise.randbytes(1000).hex()}) for n in range(4)]
    assert deliver(compressed(path, rotate={"size": size, "keep": 9}), batch) == 4
    found = [gzip.decompress((tmp_path / name).read_bytes()) for name in ("o.3", "o.2", "o.1", "o")]
    assert [one + b"\n" == text for one, text in zip((one.json() for one in batch), found, strict=True)] == [True] * 4


def test_a_rotation_that_fails_says_how_much_arrived_and_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "o.gz"
    noise = random.Random(1)
    batch = [event({"n": n, "fill": noise.randbytes(300).hex()}) for n in range(10)]
    (tmp_path / "o.1.gz").mkdir()
    (tmp_path / "o.1.gz" / "x").touch()
    writer = compressed(path, rotate={"size": 1000, "keep": 1}).open()
    with pytest.raises(rx.OutputError, match=r"cannot rotate .*/o\.gz: is a directory") as caught:
        writer.write(batch)
    arrived = caught.value.delivered
    assert ns(records(path)) == list(range(arrived)) != []
    (tmp_path / "o.1.gz" / "x").unlink()
    (tmp_path / "o.1.gz").rmdir()
    writer.recover()
    assert writer.write(batch[arrived : arrived + 1]) == 1
    assert ns(records(tmp_path / "o.1.gz")) == list(range(arrived))
    assert ns(records(path)) == [arrived]
    writer.close()


# The collector is killed

ENDLESS = """
name: x
runners:
  numbers: {command: [sh, -c, 'i=0; while :; do i=$((i+1)); echo "{\\"n\\":$i}"; done']}
pipelines:
  all:
    from: numbers
    operators:
      - parse: json
    sinks:
      - file: {path: out.gz, compression: gzip}
        backpressure: block
"""


@pytest.mark.slow
def test_what_was_compressed_survives_the_death_of_the_collector(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(ENDLESS)
    out = tmp_path / "out.gz"
    size = count = 0
    for _ in range(3):
        process = start("run", "x.yaml", cwd=tmp_path)
        try:
            wait_until(lambda size=size: out.exists() and out.stat().st_size > size + 20_000, "events arrive", 60)  # type: ignore[misc]
        finally:
            process.kill()
            process.communicate(timeout=30)
        with out.open("rb") as file:
            end = whole(file)
        os.truncate(out, end)  # gzip(1) says otherwise that the file ends too early
        found = ns(records(out))
        again = found.index(1, count)
        assert again == count  # what was there before is whole
        assert found[again:] == list(range(1, len(found) - again + 1))
        with out.open("ab") as torn:
            torn.write(member(b"never finished")[:-3])
        size, count = out.stat().st_size, len(found)
    result = command("run", "x.yaml", "--max-events", "5", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "of a gzip member that was torn, were taken off" in result.stderr
    assert ns(records(out))[count : count + 5] == [1, 2, 3, 4, 5]
