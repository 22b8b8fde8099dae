"""``rx-collector test``: what it prints, its exit codes, JUnit XML, and watching."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rx_collector as rx
from rx_collector.cli.verdicts import failure_lines
from rx_collector.cli.watch import named_files
from rx_collector.pipeline.verdict import NOTHING, Failure, Field
from tests.cli.test_errors import GOOD, command
from tests.conftest import wait_until

ROOT = Path(__file__).parent.parent.parent
FILE = (
    GOOD.replace('[seq, "5"]', "[no-such-program, script.sh]")
    + """\
tests:
  - name: small numbers are left out
    given: {numbers: [1, 2, 3]}
    expect: {all: [{message: "3"}], ledger: {filtered: 2}}
  - name: a number of its own
    given: {numbers: [4, 5]}
    expect:
      all:
        - {message: "4"}
        - {message: "6"}
"""
)
RIGHT = FILE.replace('"6"', '"5"')


@pytest.mark.slow
def test_what_passes_and_what_does_not(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FILE)
    (tmp_path / "right.yaml").write_text(RIGHT)
    (tmp_path / "none.yaml").write_text(GOOD)
    result = command("test", "x.yaml", "right.yaml", "none.yaml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (1, "")
    lines = result.stdout.splitlines()
    assert [line.partition("  ")[0] for line in lines if not line.startswith("  ")] == [
        "x.yaml",
        "right.yaml",
        "none.yaml: no tests",
        lines[-1],
    ]
    assert [line.rpartition("  ")[0] for line in lines if line.startswith(("  ✓", "  ✗"))] == [
        "  ✓ small numbers are left out",
        "  ✗ a number of its own",
        "  ✓ small numbers are left out",
        "  ✓ a number of its own",
    ]
    assert lines[3:6] == [
        "    x.yaml:21: all[1] is not as expected",
        "            field    expected  got",
        '          ✗ message  "6"       "5"',
    ]
    assert lines[-1].startswith("3 passed, 1 failed in ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none.yaml", "right.yaml", "x.yaml"]
    assert command("test", "right.yaml", cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_wrong_file_and_a_wrong_command_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RIGHT.replace("{numbers: [4, 5]}", "{nubers: [{line: 4, after: soon}]}"))
    (tmp_path / "right.yaml").write_text(RIGHT)
    mistakes = [
        "x.yaml:17:13: tests[1].given.nubers: no runner 'nubers', did you mean 'numbers'?",
        "x.yaml:17:39: tests[1].given.nubers[0].after: 'soon' is not a duration; write 250ms, 5s, 1m or 1h30m",
    ]
    for verb in ("test", "validate"):
        result = command(verb, "x.yaml", cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr.splitlines()) == (2, "", mistakes)
    result = command("test", "right.yaml", "x.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    for arguments, message in (
        ([], "rx-collector test: Missing argument 'FILE...'."),
        (["right.yaml", "--junit", "/nowhere/j.xml"], "cannot write /nowhere/j.xml"),
    ):
        result = command("test", *arguments, cwd=tmp_path)
        assert (result.returncode, len(result.stderr.splitlines())) == (2, 1)
        assert message in result.stderr


@pytest.mark.slow
def test_junit(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        FILE.replace("[4, 5]", '[4, "\\e[31m<5>&"]').replace("int(message) > 2", "message")
    )
    assert command("test", "x.yaml", "--junit", "j.xml", cwd=tmp_path).returncode == 1
    top = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert {key: top.get(key) for key in ("name", "tests", "failures")} == {
        "name": "rx-collector",
        "tests": "2",
        "failures": "2",
    }
    (suite,) = top
    first, second = suite
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("x.yaml", "2", "2")
    assert (second.get("name"), second.get("classname"), second.get("file")) == (
        "a number of its own",
        "good",
        "x.yaml",
    )
    assert second.get("line") == "16" and float(second.get("time", "")) > 0
    (failure,) = second
    assert failure.get("message") == "all[1] is not as expected"
    assert failure.text is not None
    assert '"6"       "\\u001b[31m<5>&"' in failure.text
    assert first.findtext("failure", "").startswith("x.yaml:15: all: one event too many\n")


@pytest.mark.slow
def test_colours_only_on_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RIGHT.replace("a number of its own", '"\\e[2J of its own"'))

    def printed(**environment: str) -> str:
        ours, theirs = pty.openpty()
        try:
            argv = [sys.executable, "-m", "rx_collector", "test", "x.yaml"]
            subprocess.run(argv, cwd=tmp_path, env={**os.environ, **environment}, stdout=theirs, timeout=60, check=True)
            return os.read(ours, 1 << 16).decode()
        finally:
            os.close(ours)
            os.close(theirs)

    terminal = printed(NO_COLOR="")
    assert "\x1b[32m✓\x1b[0m" in terminal
    assert "\x1b" not in printed(NO_COLOR="1")
    assert "\x1b" not in command("test", "x.yaml", cwd=tmp_path).stdout
    assert "\x1b[2J" not in terminal  # a name does nothing to the terminal
    assert "\\x1b[2J of its own" in terminal


@pytest.mark.slow
def test_the_values_of_secrets_are_not_shown(tmp_path: Path) -> None:
    text = FILE.replace('"6"', '"${API_TOKEN}"')
    (tmp_path / "x.yaml").write_text(text)
    result = command("test", "x.yaml", "--junit", "j.xml", cwd=tmp_path, API_TOKEN="hunter2-hunter2")
    assert result.returncode == 1
    assert "***" in result.stdout
    assert "hunter2" not in result.stdout + result.stderr + (tmp_path / "j.xml").read_text()


@pytest.mark.slow
def test_watch_runs_again_when_a_file_or_one_that_it_names_changes(tmp_path: Path) -> None:
    file, script, out = tmp_path / "x.yaml", tmp_path / "script.sh", tmp_path / "printed"
    file.write_text(FILE)
    script.write_text("one\n")

    def rounds() -> int:
        return out.read_text().count("waiting for a change")

    with open(out, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "rx_collector", "test", "--watch", "x.yaml"],
            cwd=tmp_path,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: rounds() == 1, "the first round")
        assert "1 passed, 1 failed" in out.read_text()
        file.write_text(RIGHT)
        wait_until(lambda: rounds() == 2, "the round after a change")
        assert "x.yaml has changed\n" in out.read_text()
        assert "2 passed in" in out.read_text()
        script.write_text("one\ntwo\n")
        wait_until(lambda: rounds() == 3, "the round after a change of the script")
        assert "script.sh has changed\n" in out.read_text()
        file.write_text(RIGHT.replace("given:", "givn:"))
        wait_until(lambda: rounds() == 4, "the round of a wrong file")
        assert "unknown key 'givn', did you mean 'given'?" in out.read_text()
        file.write_text(FILE)
        wait_until(lambda: rounds() == 5, "the round of the mended file")
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1  # what the last round would have given
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    assert "Traceback" not in out.read_text()


@pytest.mark.slow
def test_a_test_is_described(tmp_path: Path) -> None:
    described = command("describe", "test", cwd=tmp_path).stdout
    assert described.startswith("test\n\nOne test: what the runners print")
    assert "    expect: What is expected of each pipeline." in described


def test_the_files_that_a_file_names(tmp_path: Path) -> None:
    for name in ("script.sh", "input", "out.ndjson"):
        (tmp_path / name).write_text("")
    text = RIGHT.replace("script.sh]", "script.sh, missing.sh], stdin: {file: input}")
    (tmp_path / "x.yaml").write_text(text)
    assert named_files(rx.load(tmp_path / "x.yaml")) == {str(tmp_path / "script.sh"), str(tmp_path / "input")}


def test_both_sides_beside_each_other_or_below_where_they_are_long() -> None:
    fields = (
        Field("pid", 7, 7),
        Field("path", "/" + "a" * 60, "/" + "a" * 60 + "b"),
        Field("gone", True, NOTHING),
        Field("free", NOTHING, "x\ny"),
    )
    assert list(failure_lines(Failure("x.yaml:3", "all[0] is not as expected", fields), 80)) == [
        "x.yaml:3: all[0] is not as expected",
        "        field  expected  got",
        "        pid    7         7",
        f'      ✗ path   expected  "/{"a" * 60}"',
        f'               got       "/{"a" * 60}b"',
        "      ✗ gone   true      —",
        '      beside: free="x\\ny"',
    ]


@pytest.mark.slow
def test_the_pipelines_that_come_with_it() -> None:
    files = sorted(f"pipelines/{path.name}" for path in (ROOT / "pipelines").glob("*.yaml"))
    result = command("test", *files, cwd=ROOT)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no tests" not in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"{result.stdout.count('✓')} passed in ")
    assert all(result.stdout.count(f"{file}\n") == 1 for file in files)


def test_a_file_that_is_being_written_is_not_read_before_it_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks again until two looks in a row see the same."""
    from rx_collector.cli import watch

    states = iter([(0, 0, 0), (1, 0, 0), (2, 2, 0), (3, 4, 0), (3, 4, 0)])
    monkeypatch.setattr(watch, "_state", lambda file: next(states))
    monkeypatch.setattr(watch, "_UNTIL_SETTLED", 0.0)
    assert watch.Watch(["x.yaml"]).wait([]).endswith("x.yaml")
    assert next(states, None) is None
