"""``record`` and ``replay`` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rx_collector.pipeline import recording as form
from rx_collector.pipeline.recording import Recording
from tests.cli.test_errors import GOOD, command
from tests.cli.test_run import ENDLESS
from tests.conftest import wait_until

pytestmark = pytest.mark.slow


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "rx_collector", *arguments]
    return subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def recorded(directory: Path, text: str = GOOD) -> Path:
    """Record a file, and give the recording; what the run itself wrote is taken away."""
    (directory / "x.yaml").write_text(text)
    result = command("record", "x.yaml", "--to", "r.recording", cwd=directory)
    assert result.returncode == 0, result.stderr
    (directory / "out.ndjson").unlink()
    return directory / "r.recording"


def test_record_does_what_run_does_and_replay_gives_it_again(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    live = command("record", "x.yaml", "--to", "r.recording", "--report", "live.json", cwd=tmp_path)
    assert live.returncode == 0, live.stderr
    written = (tmp_path / "out.ndjson").read_bytes()
    assert written == b'{"message":"3"}\n{"message":"4"}\n{"message":"5"}\n'
    assert "balanced: every event is accounted for" in live.stderr
    sheets = [json.loads((tmp_path / "live.json").read_text())]
    for speed in ("1", "10", "max"):
        (tmp_path / "out.ndjson").unlink()
        played = command("replay", "r.recording", "x.yaml", "--speed", speed, "--report", "r.json", cwd=tmp_path)
        assert played.returncode == 0, played.stderr
        assert "balanced: every event is accounted for" in played.stderr
        assert (tmp_path / "out.ndjson").read_bytes() == written
        sheets.append(json.loads((tmp_path / "r.json").read_text()))
    for sheet in sheets:
        del sheet["seconds"]
    assert sheets[1:] == sheets[:1] * 3


def test_duration_and_max_events_end_a_recording_as_they_end_a_run(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(ENDLESS.replace("echo $i;", "echo $i; sleep 0.01;"))
    for option, value in (("--duration", "300ms"), ("--max-events", "5")):
        result = command("record", "x.yaml", "--to", f"r{option}", option, value, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        *_, last = Recording(tmp_path / f"r{option}").records()
        assert isinstance(last, form.Closed)


def test_what_is_recorded_survives_the_death_of_the_collector(tmp_path: Path) -> None:
    """Each event that a sink has got is in it, and it is played to its last whole record."""
    (tmp_path / "x.yaml").write_text(ENDLESS)
    process = start("record", "x.yaml", "--to", "r.recording", cwd=tmp_path)
    out = tmp_path / "out.ndjson"
    wait_until(lambda: out.exists() and out.stat().st_size > 10_000, "events arrive", 20)
    process.kill()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL
    live = out.read_bytes()
    live = live[: live.rfind(b"\n") + 1]
    out.unlink()
    result = command("replay", "r.recording", "x.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "WARNING r.recording: it is cut off " in result.stderr
    assert out.read_bytes().startswith(live)


def test_a_signal_ends_a_replay_with_what_was_played(tmp_path: Path) -> None:
    text = GOOD.replace('[seq, "5"]', '[sh, -c, "echo 3; sleep 0.5; echo 4"]')
    recorded(tmp_path, text)
    process = start("replay", "r.recording", "x.yaml", "--speed", "0.01", "--report", "r.json", cwd=tmp_path)
    out = tmp_path / "out.ndjson"
    wait_until(lambda: out.exists() and out.stat().st_size > 0, "an event arrives", 60)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "SIGINT: stopping" in stderr
    sheet = json.loads((tmp_path / "r.json").read_text())
    assert (sheet["balanced"], sheet["runners"]["numbers"]["lines"]) == (True, 1)
    assert out.read_text() == '{"message":"3"}\n'


def test_sighup_ends_neither_a_recording_nor_a_replay(tmp_path: Path) -> None:
    """Neither is loaded again, so it is told and goes on; it used to die of it, without a balance sheet."""
    (tmp_path / "x.yaml").write_text(ENDLESS.replace("echo $i;", "echo $i; sleep 0.01;"))
    for arguments in (["record", "--to", "r.recording"], ["replay", "r.recording", "--speed", "0.01"]):
        process = start(*arguments, "x.yaml", "--report", "r.json", cwd=tmp_path)
        out = tmp_path / "out.ndjson"
        wait_until(lambda out=out: out.exists() and out.stat().st_size > 0, "an event arrives", 60)  # type: ignore[misc]
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert "SIGHUP: only 'rx-collector run' loads its files again" in process.stderr.readline()
        size = out.stat().st_size
        wait_until(lambda out=out, size=size: out.stat().st_size > size, "it goes on", 60)  # type: ignore[misc]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode == 0, stderr
        assert json.loads((tmp_path / "r.json").read_text())["balanced"]
        out.unlink()
    assert Recording(str(tmp_path / "r.recording")).cut_off is None


HEADER = form.Header(1, "good", "run", "2026-01-01T00:00:00Z", 0, 0, 0, 0, ["numbers"])
NO_RECORDING = "r.recording: not a recording; 'rx-collector record FILE --to r.recording' makes one\n"


def framed(value: object) -> bytes:
    data = msgspec.msgpack.encode(value)
    return b"\xc6" + len(data).to_bytes(4, "big") + data


WRONG = {
    "empty": (b"", "r.recording: the file is empty, and no recording\n"),
    "text": (b"hello\n", NO_RECORDING),
    "bytes": (bytes(range(256)), NO_RECORDING),
    "something framed": (framed(["a"]), NO_RECORDING),
    "other MessagePack": (framed({"version": 1, "record": "sheet"}), NO_RECORDING),
    "another version": (
        framed({"record": "recording", "version": 2, "by": "somebody else"}),
        "r.recording: a recording of version 2; version 1 is read here\n",
    ),
    "a header that is cut off": (form.encode(HEADER)[:-1], NO_RECORDING),
    "another header": (
        framed({"record": "recording", "version": 1}),
        "r.recording: not the header of a recording: Object missing required field `name`\n",
    ),
    "other runners": (
        form.encode(msgspec.structs.replace(HEADER, runners=["a", "b"])),
        "r.recording: it has nothing of numbers; what was recorded is a and b\n",
    ),
    "no runners": (
        form.encode(msgspec.structs.replace(HEADER, runners=[])),
        "r.recording: it has nothing of numbers; what was recorded is no runner\n",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_recording_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    data, said = WRONG[name]
    (tmp_path / "x.yaml").write_text(GOOD)
    (tmp_path / "r.recording").write_bytes(data)
    result = command("replay", "r.recording", "x.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (2, "", said)
    assert not (tmp_path / "out.ndjson").exists()


def test_a_recording_does_not_come_through_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    argv = [sys.executable, "-m", "rx_collector", "replay", "/dev/stdin", "x.yaml"]
    result = subprocess.run(argv, cwd=tmp_path, input=form.encode(HEADER), capture_output=True, timeout=60)
    said = b"/dev/stdin: a recording is read twice, so not from a pipe; write it to a file\n"
    assert (result.returncode, result.stderr) == (2, said)


def test_mistakes_of_the_command_line_are_said_in_one_line(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "directory").mkdir()
    usage = {
        ("record", "x.yaml"): "Missing option '--to'.",
        ("record", "x.yaml", "--to", "r.recording"): "r.recording is there already; a recording is never written over",
        ("record", "x.yaml", "--to", "no/r.recording"): "cannot write no/r.recording",
        ("replay", "r.recording"): "Missing argument 'FILE...'.",
        ("replay", "r.recording", "x.yaml", "--speed", "fast"): (
            "a number above 0 such as 10, or max, is wanted here, not 'fast'"
        ),
        (
            "replay",
            "r.recording",
            "x.yaml",
            "--speed",
            "0",
        ): "a number above 0 such as 10, or max, is wanted here, not '0'",
        ("replay", "nowhere", "x.yaml"): "nowhere: no such file or directory",
        ("replay", "directory", "x.yaml"): "directory: is a directory",
    }
    for arguments, said in usage.items():
        result = command(*arguments, cwd=tmp_path)
        assert result.returncode == 2, arguments
        assert said in result.stderr
        assert result.stderr.count("\n") == 1, result.stderr


def test_warnings_of_a_recording_are_shown(tmp_path: Path) -> None:
    """They are about things known before the log begins."""
    recorded(tmp_path)
    more = GOOD.replace("numbers: {command:", "more: {command: [x]}\n  numbers: {command:")
    (tmp_path / "x.yaml").write_text(more.replace("from: numbers", "from: [numbers, more]"))
    result = command("replay", "r.recording", "x.yaml", "-q", cwd=tmp_path)
    assert result.returncode == 0
    assert "WARNING runner more was not recorded, so nothing comes from it" in result.stderr


def test_secrets_are_not_in_what_a_recording_says_of_a_runner(tmp_path: Path) -> None:
    """What the program itself prints is recorded as it is: a sink would write it, too."""
    text = GOOD.replace('[seq, "5"]', '[sh, -c, "echo ${PIN} >&2; exit 3"]').replace(
        "name: good", "name: good\nsecrets: [PIN]"
    )
    (tmp_path / "x.yaml").write_text(text)
    result = command("record", "x.yaml", "--to", "r.recording", cwd=tmp_path, PIN="31415926")
    assert result.returncode == 1
    written = (tmp_path / "r.recording").read_bytes()
    assert b"31415926" not in written
    assert b"exited with code 3" in written


def test_the_commands_are_in_the_help(tmp_path: Path) -> None:
    shown = command("--help", cwd=tmp_path).stdout
    assert "rx-collector record FILE" in shown
    assert "rx-collector replay" in shown
    assert "--to" in command("record", "--help", cwd=tmp_path).stdout
    assert "--speed" in command("replay", "--help", cwd=tmp_path).stdout


def test_a_recording_holds_no_more_than_it_says(tmp_path: Path) -> None:
    """Only its user can read what a program printed where the umask says so, and each line is one of the records."""
    old = os.umask(0o077)
    try:
        path = recorded(tmp_path)
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600
    recording = Recording(path)
    header = recording.header
    assert (header.version, header.name, header.runners) == (form.VERSION, "good", ["numbers"])
    kinds = [type(record) for record in recording.records() if not isinstance(record, form.Lifecycle)]
    assert kinds == [form.Lines, form.RunnerEnd, form.Closed]
