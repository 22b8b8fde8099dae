"""``record`` and ``replay`` as a user meets them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rx_collector.pipeline import recording as form
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
        assert (tmp_path / f"r{option}").read_bytes().splitlines()[-1].startswith(b'{"record":"closed",')


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
    process = start("replay", "r.recording", "x.yaml", "--speed", "0.001", "--report", "r.json", cwd=tmp_path)
    out = tmp_path / "out.ndjson"
    wait_until(lambda: out.exists() and out.stat().st_size > 0, "an event arrives", 60)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    assert "SIGINT: stopping" in stderr
    sheet = json.loads((tmp_path / "r.json").read_text())
    assert (sheet["balanced"], sheet["runners"]["numbers"]["lines"]) == (True, 1)
    assert out.read_text() == '{"message":"3"}\n'


def version_two(recording: Path) -> None:
    recording.write_text('{"record":"recording","version":2,"by":"somebody else"}\n')


def without_its_end(recording: Path) -> None:
    recording.write_bytes(recording.read_bytes()[:40])


def another_header(recording: Path) -> None:
    recording.write_text('{"record":"recording","version":1}\n')


NO_RECORDING = "r.recording: not a recording; 'rx-collector record FILE --to r.recording' makes one\n"
WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "not there": (Path.unlink, "r.recording: no such file or directory\n"),
    "a directory": (lambda path: (path.unlink(), path.mkdir()), "r.recording: is a directory\n"),
    "empty": (lambda path: path.write_bytes(b""), "r.recording: the file is empty, and no recording\n"),
    "text": (lambda path: path.write_text("hello\n"), NO_RECORDING),
    "bytes": (lambda path: path.write_bytes(bytes(range(256))), NO_RECORDING),
    "other JSON": (lambda path: path.write_text('{"version": 1, "record": "sheet"}\n'), NO_RECORDING),
    "another version": (version_two, "r.recording: a recording of version 2; version 1 is read here\n"),
    "a header that is cut off": (without_its_end, NO_RECORDING),
    "another header": (another_header, "r.recording:1: not the header of a recording: Object missing required"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_recording_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    spoil, said = WRONG[name]
    spoil(recorded(tmp_path))
    result = command("replay", "r.recording", "x.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.ndjson").exists()


def test_mistakes_of_the_command_line_are_said_in_one_line(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "other.yaml").write_text(GOOD.replace("numbers", "others"))
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
        ("replay", "r.recording", "other.yaml"): (
            "r.recording: it has nothing of others; what was recorded is numbers"
        ),
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
    header, *records = map(json.loads, path.read_bytes().splitlines())
    assert (header["record"], header["version"], header["name"]) == ("recording", form.VERSION, "good")
    assert header["runners"] == ["numbers"]
    assert [record["record"] for record in records if record["record"] != "lifecycle"] == ["lines", "end", "closed"]
