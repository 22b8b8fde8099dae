"""Framers against a naive model: however the bytes are cut into chunks, the same lines come out, and memory is bounded."""

from __future__ import annotations

import itertools
import re
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rx_collector.runners import framing
from rx_collector.runners.framing import Framer, Refused, Row, Transcoder, framer, repair
from rx_collector.runners.spec import FramingSpec

KINDS = [
    FramingSpec("newline"),
    FramingSpec("nul"),
    FramingSpec("length", size=2),
    FramingSpec("length", size=4, order="little"),
    FramingSpec("json_seq"),
    FramingSpec("multiline", start=re.compile("^[ab]"), most_lines=3),
]
property_test = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def flat(rows: list[Row]) -> list[bytes | str]:
    """Lines as bytes, refused frames as the word for why."""
    return [item for row in rows for item in ([row.reason] if isinstance(row, Refused) else row)]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[low:high] for low, high in itertools.pairwise(at)]


def framed(frames: Framer, chunks: list[bytes]) -> list[bytes | str]:
    rows = [row for chunk in chunks for row in frames.feed(chunk)]
    return flat(rows + frames.end())


def fitting(line: bytes, most: int, truncate: bool) -> bytes | str:
    """What becomes of a line: itself, its longest beginning in whole characters, or a refusal."""
    if len(line) <= most:
        return line
    if not truncate:
        return "line_too_long"
    while most and line[most] & 0xC0 == 0x80:
        most -= 1
    return line[:most]


def split_lines(data: bytes, delimiter: bytes) -> list[bytes]:
    lines = data.split(delimiter)
    lines = lines if lines[-1] else lines[:-1]
    return [line.removesuffix(b"\r") for line in lines] if delimiter == b"\n" else lines


texts = st.text(alphabet="ab\r\n\0\x1eé€𝄞", max_size=60).map(str.encode)
places = st.lists(st.integers(0, 300), max_size=12)


@property_test
@given(data=texts, places=places, most=st.integers(4, 20), truncate=st.booleans())
@pytest.mark.parametrize("by", ["newline", "nul"])
def test_lines(by: str, data: bytes, places: list[int], most: int, truncate: bool) -> None:
    delimiter = b"\n" if by == "newline" else b"\0"
    wanted = [fitting(line, most, truncate) for line in split_lines(data, delimiter)]
    assert framed(framer(FramingSpec(by), most, truncate=truncate), cut(data, places)) == wanted


@property_test
@given(data=texts, places=places, most=st.integers(4, 20), truncate=st.booleans())
def test_lines_that_count_as_long(data: bytes, places: list[int], most: int, truncate: bool) -> None:
    wanted = [fitting(line, most, truncate) for line in split_lines(data, b"\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_LONG", -1)
        assert framed(framer(FramingSpec("newline"), most, truncate=truncate), cut(data, places)) == wanted


@property_test
@given(data=texts, places=places, most=st.integers(4, 40), truncate=st.booleans())
def test_lines_that_keep_their_ends(data: bytes, places: list[int], most: int, truncate: bool) -> None:
    wanted = [fitting(line, most, truncate) for line in split_lines(data, b"\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_LONG", -1)
        frames = framer(FramingSpec("newline"), most, truncate=truncate)
        found: list[bytes | str] = []
        for chunk in cut(data, places):
            ended = frames.ended(chunk)
            if ended is None:
                found += flat(frames.feed(chunk))
            else:
                assert all(line.decode().endswith("\n") and line.count(b"\n") == 1 for line in ended)
                found += [line[:-1] for line in ended]
        assert found + flat(frames.end()) == wanted


@property_test
@given(
    lines=st.lists(st.sampled_from(["é", "€a", "b", ""]).map(str.encode), max_size=9),
    broken=st.booleans(),
    places=places,
)
def test_whole_characters_are_valid_wherever_they_are_cut(lines: list[bytes], broken: bool, places: list[int]) -> None:
    data = b"".join(line + (b"\xff\n" if broken and line == b"b" else b"\n") for line in lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_LONG", -1)
        frames = framer(FramingSpec("newline"), 1000, truncate=False)
        found: list[bytes] = []
        for chunk in cut(data, places):
            ended = frames.ended(chunk)
            if ended is None:
                rows = frames.feed(chunk)
                found += [line + b"\n" for row in rows for line in row]  # type: ignore[union-attr]
            else:
                found += [line for line in ended if line.decode()]
    assert b"".join(found) == data


@pytest.mark.fast_path
def test_which_lines_keep_their_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_LONG", 80)
    long, end = b"x" * 200, b"\n"
    frames = framer(FramingSpec("newline"), 1000, truncate=False)
    assert frames.ended(long + b"\nabc") == [long + end]  # the first chunk tells by its first line
    assert frames.ended(long + b"\nab") == [b"abc" + long + end]
    assert frames.ended(long) is None
    assert frames.feed(long) == []
    assert frames.ended(long + end) == [b"ab" + 2 * long + end]
    for odd in (b"\xc3\xa9\n\xff\n", b"a\xff\n", b"a\r\n", b"x" * 2000 + end):
        assert frames.ended(odd) is None
    assert frames.ended(b"short\n") == [b"short\n"]
    assert frames.ended(b"short\n") is None  # the last were not long
    assert framer(FramingSpec("newline"), 1000, truncate=False).ended(b"short\n") is None
    assert framer(FramingSpec("nul"), 1000, truncate=False).ended(long + end) is None


def test_which_lines_count_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "_LONG", 80)
    taken: list[str] = []
    for name in ("_split", "_split_long"):
        real = getattr(framing.LineFramer, name)

        def noted(self: framing.LineFramer, *arguments: Any, name: str = name, real: Any = real) -> list[Row]:
            taken.append(name)
            return real(self, *arguments)  # type: ignore[no-any-return]

        monkeypatch.setattr(framing.LineFramer, name, noted)
    frames = framer(FramingSpec("newline"), 1000, truncate=False)
    for line in (b"x" * 200, b"y" * 200, b"short", b"short", b"z" * 200):
        assert flat(frames.feed(line + b"\n")) == [line]
    assert taken == ["_split", "_split_long", "_split_long", "_split", "_split"]


@property_test
@given(data=st.text(alphabet="abcd\r\n\né", max_size=60).map(str.encode), places=places, most=st.integers(4, 20))
@pytest.mark.parametrize("long", [-1, 80])
def test_what_is_said_to_be_ascii_is(long: int, data: bytes, places: list[int], most: int) -> None:
    frames = framer(FramingSpec("newline"), most, truncate=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(framing, "_LONG", long)
        for chunk in cut(data, places):
            lines = flat(frames.feed(chunk))
            if frames.ascii:
                assert all(isinstance(line, bytes) and line.isascii() for line in lines)
            elif data.isascii() and most > len(data):
                assert not lines
        assert all(isinstance(line, bytes) and line.isascii() for line in flat(frames.end())) or not frames.ascii


def test_a_character_in_two_chunks_is_not_ascii() -> None:
    frames = framer(FramingSpec("newline"), 100, truncate=False)
    said = []
    for chunk in (b"a\nb", b"c\n\xff", b"d\ne", b"f\n"):
        frames.feed(chunk)
        said.append(frames.ascii)
    assert said == [True, False, False, True]


@property_test
@given(
    records=st.lists(st.binary(max_size=30), max_size=8),
    tail=st.integers(0, 10),
    places=places,
    most=st.integers(4, 20),
    size=st.sampled_from([1, 2, 4, 8]),
    order=st.sampled_from(["big", "little"]),
)
def test_length(records: list[bytes], tail: int, places: list[int], most: int, size: int, order: Any) -> None:
    whole = b"".join(len(record).to_bytes(size, order) + record for record in records)
    torn = (size + 1).to_bytes(size, order) + b"z" * size
    wanted = [fitting(record, most, False) for record in records]
    if tail % len(torn):
        wanted.append("torn_frame")
    chunks = cut(whole + torn[: tail % len(torn)], places)
    assert framed(framer(FramingSpec("length", size=size, order=order), most, truncate=False), chunks) == wanted


@property_test
@given(
    records=st.lists(st.text(alphabet="ab{}\n€", max_size=30).map(str.encode), max_size=8),
    places=places,
    most=st.integers(5, 20),
)
def test_json_sequences(records: list[bytes], places: list[int], most: int) -> None:
    bodies = [record.strip(b"\r\n") for record in records]
    bodies = [body for body in bodies if len(body) not in (most, most - 1)]  # the edge has a test of its own
    data = b"".join(b"\x1e" + body + b"\n" for body in bodies)
    wanted = [fitting(body, most, False) for body in bodies if body]
    assert framed(framer(FramingSpec("json_seq"), most, truncate=False), cut(data, places)) == wanted


def test_a_json_record_of_just_the_longest_length() -> None:
    """The newline that ends a record is no part of it."""
    data = b"\x1e" + b"x" * 10 + b"\n\x1e" + b"y" * 11 + b"\n"
    assert framed(framer(FramingSpec("json_seq"), 10, truncate=False), [data]) == [b"x" * 10, "line_too_long"]


@property_test
@given(data=texts, places=places, most=st.integers(6, 40), most_lines=st.integers(1, 4))
def test_multiline(data: bytes, places: list[int], most: int, most_lines: int) -> None:
    records: list[list[bytes] | str] = []
    open_record = False
    for line in split_lines(data, b"\n"):
        if len(line) > most:
            records.append("line_too_long")
            open_record = False
        elif not open_record or line[:1] == b"a" or len(records[-1]) >= most_lines:
            records.append([line])
            open_record = True
        else:
            records[-1].append(line)  # type: ignore[union-attr]
    wanted = [record if isinstance(record, str) else fitting(b"\n".join(record), most, False) for record in records]
    spec = FramingSpec("multiline", start=re.compile("^a"), most_lines=most_lines)
    assert framed(framer(spec, most, truncate=False), cut(data, places)) == wanted


@property_test
@given(data=st.binary(max_size=80), places=places, most=st.integers(1, 30), truncate=st.booleans())
@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.by)
def test_how_the_bytes_are_cut_makes_no_difference(
    spec: FramingSpec, data: bytes, places: list[int], most: int, truncate: bool
) -> None:
    at_once = framed(framer(spec, most, truncate=truncate), [data] if data else [])
    assert framed(framer(spec, most, truncate=truncate), cut(data, places)) == at_once
    assert framed(framer(spec, most, truncate=truncate), [bytes([byte]) for byte in data]) == at_once
    assert all(len(line) <= most for line in at_once if isinstance(line, bytes))


@property_test
@given(data=st.binary(max_size=80), places=places, most=st.integers(1, 30), truncate=st.booleans())
@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.by)
def test_what_is_refused_does_not_depend_on_the_chunks(
    spec: FramingSpec, data: bytes, places: list[int], most: int, truncate: bool
) -> None:
    def refused(chunks: list[bytes]) -> list[Refused]:
        frames = framer(spec, most, truncate=truncate)
        rows = [row for chunk in chunks if chunk for row in frames.feed(chunk)] + frames.end()
        return [row for row in rows if isinstance(row, Refused)]

    assert refused([bytes([byte]) for byte in data]) == refused(cut(data, places)) == refused([data])


def test_what_is_kept_of_a_refused_line_does_not_depend_on_the_chunks() -> None:
    def refused(chunks: list[bytes]) -> Refused:
        frames = framer(FramingSpec(), 10, truncate=False)
        (row,) = [row for chunk in chunks for row in frames.feed(chunk)]
        assert isinstance(row, Refused)
        return row

    at_once = refused([b"x" * 11 + b"\r\n"])
    assert (at_once.head, "11 bytes" in at_once.error) == (b"x" * 11, True)
    assert refused([b"x" * 11 + b"\r", b"\n"]) == at_once
    long = b"x" * 12 + b"y" * 100_000
    at_once = refused([long + b"\n"])
    assert at_once.head == long[: 64 * 1024]
    assert refused([long[:12], long[12:70_000], long[70_000:], b"\n"]) == at_once


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([b"a\r", b"\nb\r\n"], [b"a", b"b"]),
        ([b"a\r\r\n"], [b"a\r"]),
        ([b"\r\n\r\n"], [b"", b""]),
        ([b"a\rb\n"], [b"a\rb"]),
        ([b"\n"], [b""]),
        ([b"a"], [b"a"]),
        ([b"x" * 8 + b"\r", b"\n"], [b"x" * 8]),
        ([b"x" * 9, b"\n", b"y\n"], ["line_too_long", b"y"]),
        ([b"x" * 9 + b"\n" + b"y" * 8 + b"\n" + b"z" * 9], ["line_too_long", b"y" * 8, "line_too_long"]),
    ],
)
def test_line_ends(chunks: list[bytes], lines: list[Any]) -> None:
    assert framed(framer(FramingSpec(), 8, truncate=False), chunks) == lines


def test_a_truncated_line_ends_with_a_whole_character() -> None:
    assert framed(framer(FramingSpec(), 8, truncate=True), ["aaaaaa€b\nc\n".encode()]) == [b"aaaaaa", b"c"]
    assert framed(framer(FramingSpec(), 9, truncate=True), ["aaaaaa€b\n".encode()]) == ["aaaaaa€".encode()]


def test_flush_gives_only_what_is_whole() -> None:
    record = framer(FramingSpec("multiline", start=re.compile("^a"), flush=0.5), 99, truncate=False)
    assert record.flush_after is None
    assert flat(record.feed(b"a1\n b\n")) == []
    assert record.flush_after == 0.5
    assert flat(record.flush()) == [b"a1\n b"]
    assert (record.flush_after, flat(record.flush()), flat(record.end())) == (None, [], [])
    sequence = framer(FramingSpec("json_seq", flush=0.5), 99, truncate=False)
    assert flat(sequence.feed(b"\x1e{")) == []
    assert (sequence.flush_after, flat(sequence.flush())) == (None, [])
    assert flat(sequence.feed(b"}\n")) == []
    assert (sequence.flush_after, flat(sequence.flush()), flat(sequence.end())) == (0.5, [b"{}"], [])


@pytest.mark.slow
@pytest.mark.parametrize("truncate", [False, True], ids=["reject", "truncate"])
@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: f"{spec.by}{spec.size}")
def test_a_gigabyte_without_an_end_takes_no_memory(spec: FramingSpec, truncate: bool) -> None:
    frames = framer(spec, 4096, truncate=truncate)
    chunk, most = b"x" * (1 << 18), 0
    begin = {"length": b"\x20\0\0\0" if spec.size == 4 and spec.order == "big" else b"\xff" * spec.size}
    frames.feed(begin.get(spec.by, b"\x1e" if spec.by == "json_seq" else b"a"))
    tracemalloc.start()
    try:
        for _ in range(1 << 12 if spec.by != "length" else 1 << 9):
            frames.feed(chunk)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 4 << 20
    if spec.by != "length":
        assert len(flat(frames.end())) == 1


def test_a_record_of_endless_lines_takes_no_memory() -> None:
    frames = framer(FramingSpec("multiline", start=re.compile("^never"), most_lines=1_000_000), 4096, truncate=False)
    tracemalloc.start()
    try:
        for _ in range(2000):
            frames.feed(b"x" * 4000 + b"\n")
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert flat(frames.end()) == ["line_too_long"]


# Characters


@property_test
@given(
    text=st.text(max_size=40), places=places, encoding=st.sampled_from(["utf-16", "utf-16-le", "shift_jis", "gb18030"])
)
def test_other_encodings_at_any_edge(text: str, places: list[int], encoding: str) -> None:
    data = text.encode(encoding, "ignore")
    transcoder = Transcoder(encoding)
    got = b"".join(transcoder.feed(chunk) for chunk in cut(data, places)) + transcoder.feed(b"", final=True)
    assert got.decode() == data.decode(encoding)


@property_test
@given(
    lines=st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    first=st.integers(1, 9),
)
def test_repair(lines: list[bytes], first: int) -> None:
    mended, repaired = repair(list(lines), first)
    assert [line.decode() for line in mended] == [line.decode("utf-8", "replace") for line in lines]
    broken = {number: line for number, line in enumerate(lines, first) if mended[number - first] != line}
    assert (repaired or {}) == broken
