"""Sinks against real files, pipes, terminals and programs."""

from __future__ import annotations

import json
import os
import pty
import threading
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector import sinks
from rx_collector.event import Event, from_message
from rx_collector.sinks.base import Sink
from tests.conftest import wait_until
from tests.events import ORIGIN, event


def deliver(sink: Sink, *batches: list[Event]) -> int:
    writer = sink.open()
    try:
        return sum(writer.write(batch) for batch in batches) + writer.flush()
    finally:
        writer.close()


def test_file_writes_lines(tmp_path: Path) -> None:
    path = tmp_path / "new" / "directory" / "out.ndjson"
    assert deliver(sinks.file(str(path)), [event({"a": 1}), event({"b": "é"})], [event([1, 2])]) == 3
    assert path.read_text() == '{"a":1}\n{"b":"é"}\n[1,2]\n'
    assert path.stat().st_mode & 0o777 == 0o600


def test_file_writes_an_unchanged_line_as_it_came(tmp_path: Path) -> None:
    deliver(sinks.file(str(tmp_path / "o")), [Event({"a": 1}, b'{ "a":1.0 }', ORIGIN, 1, b'{ "a":1.0 }')])
    assert (tmp_path / "o").read_bytes() == b'{ "a":1.0 }\n'


def test_file_writes_a_buffer_as_its_events(tmp_path: Path) -> None:
    members = [event({"n": n}) for n in range(3)]
    assert deliver(sinks.file(str(tmp_path / "o")), [event(members), event({"n": 3})]) == 2
    assert [json.loads(line)["n"] for line in (tmp_path / "o").read_text().splitlines()] == [0, 1, 2, 3]


@pytest.mark.parametrize("append", [True, False])
def test_file_appends_or_begins_anew(tmp_path: Path, append: bool) -> None:
    (tmp_path / "o").write_text("old\n")
    deliver(sinks.file(str(tmp_path / "o"), append=append), [event({})])
    assert (tmp_path / "o").read_text() == ("old\n{}\n" if append else "{}\n")


def test_file_ends_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "o").write_text('{"torn')
    deliver(sinks.file(str(tmp_path / "o")), [event({})])
    assert (tmp_path / "o").read_text() == '{"torn\n{}\n'


def test_file_rotates_by_size_between_lines(tmp_path: Path) -> None:
    sink = sinks.file(str(tmp_path / "o"), rotate={"size": 20, "keep": 2})
    assert deliver(sink, [event({"n": n}) for n in range(10)]) == 10
    assert sorted(file.name for file in tmp_path.iterdir()) == ["o", "o.1", "o.2"]
    texts = [(tmp_path / name).read_text() for name in ("o.2", "o.1", "o")]
    assert texts == ['{"n":4}\n{"n":5}\n', '{"n":6}\n{"n":7}\n', '{"n":8}\n{"n":9}\n']


def test_file_rotates_by_time(tmp_path: Path) -> None:
    writer = sinks.file(str(tmp_path / "o"), rotate={"every": "1ms", "keep": 0}).open()
    writer.write([event({"n": 1})])
    pause = threading.Event()
    pause.wait(0.002)  # the sink's own clock is the real one
    writer.write([event({"n": 2})])
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["o"]
    assert (tmp_path / "o").read_text() == '{"n":2}\n'


def test_file_with_a_flush_interval_holds_events_back(tmp_path: Path) -> None:
    writer = sinks.file(str(tmp_path / "o"), flush="1h").open()
    assert writer.write([event({})]) == 0
    assert (tmp_path / "o").read_text() == ""
    assert writer.flush() == 1
    assert (tmp_path / "o").read_text() == "{}\n"
    writer.close()


def test_a_flush_interval_is_kept_while_the_stream_is_idle(tmp_path: Path) -> None:
    from rx_collector import operators as op

    runner = rx.runner("sh", "-c", "echo x; sleep 3600")
    stream = runner.pipe(op.to(sinks.file(str(tmp_path / "o"), flush="10ms")))
    box: list[rx.Report] = []
    thread = threading.Thread(target=lambda: box.append(rx.run(stream)))
    thread.start()
    wait_until(lambda: (tmp_path / "o").exists() and (tmp_path / "o").read_text() != "", "it is flushed")
    runner.stop()
    thread.join(10)
    assert box[0].balanced


@pytest.mark.parametrize("envelope", [False, True])
def test_formats(tmp_path: Path, envelope: bool) -> None:
    path = tmp_path / "o"
    deliver(sinks.file(str(path), envelope=envelope, format="ndjson" if envelope else "cloudevents"), [event({"a": 1})])
    record = json.loads(path.read_text())
    assert record["id"] == "run/exec/1/1"
    assert record["time"] == "2023-11-14T22:13:20.123456789Z"
    assert record["data"] == {"a": 1}
    assert ("specversion" in record) is not envelope


def test_what_is_no_json_is_written_all_the_same(tmp_path: Path) -> None:
    strange = {1: 2**70, "s": {3}, "bad": "\ud800", "deep": object}
    deliver(sinks.file(str(tmp_path / "o")), [event(strange)])
    record = json.loads((tmp_path / "o").read_text())
    assert (record["1"], record["s"]) == (str(2**70), [3])


def test_events_within_a_payload_are_written_as_their_payloads(capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever they are in, and also while they are not decoded; nothing of how they are kept may be seen."""
    inner = Event(from_message, b"a line", ORIGIN, 1)
    outer = {"list": [inner, {"deeper": (event({"n": 1}), 2)}], "one": event([inner]), "set": {1}}
    deliver(sinks.console(), [event(outer)])
    assert json.loads(capfd.readouterr().out) == {
        "list": [{"message": "a line"}, {"deeper": [{"n": 1}, 2]}],
        "one": [{"message": "a line"}],
        "set": [1],
    }
    assert event([inner, inner]).json() == b'[{"message":"a line"},{"message":"a line"}]'
    deliver(sinks.console("pretty", color="never"), [event(outer)])
    assert 'list=[{"message":"a line"},{"deeper":[{"n":1},2]}]' in capfd.readouterr().out
    deliver(sinks.console(envelope=True), [event({1: inner, "bad": "\ud800"})])  # with what is no JSON besides
    assert json.loads(capfd.readouterr().out)["data"] == {"1": {"message": "a line"}, "bad": "?"}


@pytest.mark.parametrize(("count", "fill"), [(50, 100), (2500, 100), (60, 5000), (600, 5000)])
def test_a_full_disk_leaves_whole_lines_and_says_how_many(small_disk: Path, count: int, fill: int) -> None:
    writer = sinks.file(str(small_disk / "o")).open()
    delivered = 0
    with pytest.raises(rx.OutputError, match="no space left on device") as caught:
        while True:
            delivered += writer.write([event({"n": n, "fill": "x" * fill}) for n in range(count)])
    writer.close()
    lines = (small_disk / "o").read_bytes()
    assert lines.endswith(b"}\n")
    assert lines.count(b"\n") == delivered + caught.value.delivered


def test_dev_full() -> None:
    with pytest.raises(rx.OutputError, match="cannot write /dev/full: no space left on device"):
        deliver(sinks.file("/dev/full"), [event({})])


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(rx.OutputError, match="is a directory"):
        sinks.file(str(tmp_path)).open()
    (tmp_path / "file").write_text("")
    with pytest.raises(rx.OutputError, match="not a directory"):
        sinks.file(str(tmp_path / "file" / "below")).open()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(rx.OutputError, match="cannot write"):
        sinks.file(str(tmp_path / "fifo")).open()
    with pytest.raises(rx.OutputError, match="not a regular file"):
        sinks.file("/dev/null", rotate="1MB").open()


def console(sink: Sink, events: list[Event]) -> str:
    """What a console sink shows on a real terminal of 60 columns."""
    ours, theirs = pty.openpty()
    saved = os.dup(1)
    os.dup2(theirs, 1)
    try:
        deliver(sink, events)
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    return shown


def test_console_is_pretty_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = console(sinks.console(), [event({"pid": 7, "comm": "bash", "up": True, "none": None})])
    assert "\x1b[2mpid=\x1b[0m\x1b[33m7\x1b[0m" in shown
    assert "bash" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in console(sinks.console(), [event({"pid": 7})])


def test_a_hostile_value_does_not_drive_the_terminal() -> None:
    hostile = {"file": "\x1b[2J\x07\x9b31m\u202egpj", "\x1bkey": 1}
    for sink in (sinks.console(color="never"), sinks.console("ndjson"), sinks.console("text")):
        shown = console(sink, [event(dict(hostile))])
        assert not set(shown) & {"\x1b", "\x07", "\x9b", "\u202e"}


def test_console_is_ndjson_in_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    assert deliver(sinks.console(), [event({"a": 1}), event({"a": 2})]) == 2
    assert capfd.readouterr().out == '{"a":1}\n{"a":2}\n'


def test_console_whose_reader_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    saved = os.dup(1)
    os.dup2(writing, 1)
    try:
        with pytest.raises(rx.OutputError, match="stdout was closed by its reader"):
            deliver(sinks.console(), [event({})])
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(writing)


def test_exec(tmp_path: Path) -> None:
    sink = sinks.exec(["sh", "-c", f"cat > {tmp_path}/o"])
    assert deliver(sink, [event({"n": n}) for n in range(1000)]) == 1000
    assert (tmp_path / "o").read_text().count("\n") == 1000


def test_exec_that_fails() -> None:
    with pytest.raises(rx.OutputError, match="cannot start 'no-such-program': command not found"):
        sinks.exec(["no-such-program"]).open()
    with pytest.raises(rx.OutputError, match="sh: exited with code 3"):
        deliver(sinks.exec(["sh", "-c", "cat >/dev/null; exit 3"]), [event({})])
    writer = sinks.exec(["sh", "-c", "exit 4"]).open()
    with pytest.raises(rx.OutputError, match="sh: exited with code 4"):
        for _ in range(1000):
            writer.write([event({"fill": "x" * 1000})] * 100)
    with pytest.raises(rx.OutputError):
        writer.close()


def test_exec_that_takes_nothing_can_be_cancelled() -> None:
    writer = sinks.exec(["sleep", "3600"], grace="1ms").open()
    failure: list[Exception] = []

    def write() -> None:
        try:
            while True:
                writer.write([event({"fill": "x" * 1000})] * 1000)
        except rx.OutputError as error:
            failure.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    writer.cancel()
    thread.join(10)
    assert "given up" in str(failure[0])
    with pytest.raises(rx.OutputError, match="did not end with its input"):
        writer.close()


def test_null_and_callback() -> None:
    assert deliver(sinks.null(), [event(1), event(2)]) == 2
    got: list[Event] = []
    assert deliver(sinks.callback(got.append), [event(1), event(2)]) == 2
    with pytest.raises(rx.OutputError, match="ZeroDivisionError") as caught:
        deliver(sinks.callback(lambda one: 1 // one.data), [event(1), event(0)])
    assert caught.value.delivered == 1
