"""Bad input, each with its one line and its exit code, through the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rx_collector import __version__
from tests.warm import command

GOOD = """\
name: good
runners:
  numbers: {command: [seq, "5"]}
pipelines:
  all:
    from: numbers
    operators:
      - filter: int(message) > 2
    sinks:
      - file: out.ndjson
        backpressure: {strategy: block}
"""

CASES = {
    "missing file": (None, "x.yaml:1:1: no such file"),
    "empty file": ("", "x.yaml:1:1: the file is empty"),
    "a list": ("- a\n", "x.yaml:1:1: a mapping is wanted at the top, not a list"),
    "a tab": ("runners:\n\tx: 1\n", "x.yaml:2:1: a tab cannot indent; use spaces"),
    "unknown operator": (
        GOOD.replace("- filter:", "- filtr:"),
        "x.yaml:8:9: pipelines.all.operators[0].filtr: unknown operator 'filtr', did you mean 'filter'?",
    ),
    "unknown key": (GOOD.replace("name:", "nmae:"), "x.yaml:1:1: nmae: unknown key 'nmae', did you mean 'name'?"),
    "duplicate key": (GOOD + "name: again\n", "x.yaml:12:1: name: duplicate key 'name', first used in line 1"),
    "sink without strategy": (
        GOOD.replace("        backpressure: {strategy: block}\n", ""),
        "x.yaml:10:9: pipelines.all.sinks[0]: file does not say what happens when it is slower than its source: "
        "add 'backpressure: {strategy: …}' with one of block, drop_oldest, drop_newest",
    ),
    "a pipeline that feeds itself": (
        GOOD.replace("from: numbers", "from: all"),
        "x.yaml:6:11: pipelines.all.from: it feeds itself: all -> all",
    ),
    "unknown source": (
        GOOD.replace("from: numbers", "from: [number]"),
        "x.yaml:6:12: pipelines.all.from[0]: no runner or pipeline 'number', did you mean 'numbers'?",
    ),
    "expression with a syntax error": (
        GOOD.replace("int(message) > 2", "int(message) = 2"),
        "x.yaml:8:30: pipelines.all.operators[0].filter: syntax error: write '==' to compare",
    ),
    "forbidden name": (
        GOOD.replace("int(message) > 2", "message.__class__ == 2"),
        "x.yaml:8:17: pipelines.all.operators[0].filter: the attribute '__class__' is not allowed: it begins with '_'",
    ),
    "unset variable": (
        GOOD.replace("out.ndjson", "${RX_TEST_UNSET:?say where to write}"),
        "x.yaml:10:15: pipelines.all.sinks[0].file: the variable RX_TEST_UNSET is not set: say where to write",
    ),
    "two sinks that rotate one file": (
        GOOD.replace("out.ndjson", "{path: o, rotate: 3MB}") + "      - file: o\n        backpressure: block\n",
        "x.yaml:12:15: pipelines.all.sinks[1].file: another sink, of 'all', writes this file, too, and one of them",
    ),
    "backpressure in the wrong place": (
        GOOD.replace("out.ndjson", "{path: o, backpressure: block}"),
        "x.yaml:10:25: pipelines.all.sinks[0].file.backpressure: 'backpressure' stands beside 'file', one level up",
    ),
    "a misspelt backpressure": (
        GOOD.replace("backpressure:", "backpresure:"),
        "x.yaml:11:9: pipelines.all.sinks[0].backpresure: unknown sink 'backpresure', did you mean 'backpressure'?",
    ),
    "a format as operator": (
        GOOD.replace("filter: int(message) > 2", "regex: x"),
        "x.yaml:8:9: pipelines.all.operators[0].regex: unknown operator 'regex'; write parse: {format: regex}",
    ),
    "a dead letter that is a path": (
        GOOD + "    dead_letter: dead.ndjson\n",
        "x.yaml:12:18: pipelines.all.dead_letter: unknown sink 'dead.ndjson'; known: console, exec, file, null, stdin; "
        "a file is written {file: dead.ndjson}",
    ),
    "a runner that is fed but not there": (
        GOOD + "      - stdin: number\n        backpressure: block\n",
        "x.yaml:12:16: pipelines.all.sinks[1].stdin: no runner 'number', did you mean 'numbers'?",
    ),
    "a runner that feeds itself": (
        GOOD + "      - stdin: numbers\n        backpressure: block\n",
        "x.yaml:6:11: pipelines.all.from: it feeds itself: all -> numbers -> all",
    ),
    "wrong size": (
        GOOD.replace("out.ndjson", "{path: o, rotate: 3XB}"),
        "x.yaml:10:33: pipelines.all.sinks[0].file.rotate: '3XB' is not a size; write 64KiB or 100MB",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("verb", ["run", "validate"])
def test_a_wrong_file(tmp_path: Path, name: str, verb: str) -> None:
    text, message = CASES[name]
    if text is not None:
        (tmp_path / "x.yaml").write_text(text)
    result = command(verb, "x.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert lines[0].startswith(message)
    assert len(lines) == 1
    assert not (tmp_path / "out.ndjson").exists()


@pytest.mark.slow
def test_every_mistake_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        GOOD.replace("name:", "nmae:").replace("- filter:", "- filtr:").replace("strategy: block", "strategy: blok")
    )
    result = command("validate", "x.yaml", cwd=tmp_path)
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["x.yaml:1:1", "x.yaml:8:9", "x.yaml:11:34"]


RUNNING = {
    "unwritable output": (
        GOOD.replace("out.ndjson", "/proc/nothing/out"),
        1,
        "rx-collector: all, file: cannot write /proc/",
    ),
    "a directory as output": (
        GOOD.replace("out.ndjson", "/tmp"),
        1,
        "rx-collector: all, file: cannot write /tmp: is a dir",
    ),
    "disk full": (GOOD.replace("out.ndjson", "/dev/full"), 1, "cannot write /dev/full: no space left on device"),
    "a directory as command": (GOOD.replace('[seq, "5"]', "[/tmp]"), 1, "cannot start '/tmp': it is a directory"),
    "missing command": (GOOD.replace('[seq, "5"]', "[no-such-thing]"), 1, "command not found: 'no-such-thing'"),
    "failing command": (GOOD.replace('[seq, "5"]', '[sh, -c, "exit 3"]'), 1, "numbers: exited with code 3"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNNING)
def test_what_goes_wrong_while_running(tmp_path: Path, name: str) -> None:
    text, code, message = RUNNING[name]
    (tmp_path / "x.yaml").write_text(text)
    result = command("run", "x.yaml", "--quiet", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == code
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["exit_code"], report["balanced"]) == (1, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rum"], "rx-collector: No such command 'rum'. Did you mean 'run'?"),
        (["run"], "rx-collector run: Missing argument 'FILE...'."),
        (["run", "x.yaml", "--duration", "soon"], "'soon' is not a duration"),
        (["run", "x.yaml", "--max-events", "0"], "the count is at least 1"),
        (["run", "x.yaml", "--report", "/nowhere/r.json"], "cannot write /nowhere/r.json"),
        (["describe", "filtr"], "nothing is named 'filtr', did you mean 'filter'?"),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    result = command(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    text = GOOD.replace('[seq, "5"]', '[sh, -c, "echo $0 >&2; exit 1", "${API_TOKEN}"]').replace(
        "int(message) > 2", 'message == "${API_TOKEN}" + message'
    )
    (tmp_path / "x.yaml").write_text(text)
    for verb in ("explain", "validate", "run"):
        result = command(verb, "x.yaml", cwd=tmp_path, API_TOKEN="hunter2-hunter2")
        assert "hunter2" not in result.stdout + result.stderr
    assert "***" in result.stderr


@pytest.mark.slow
def test_a_secret_is_not_in_the_traceback_of_a_bug(tmp_path: Path) -> None:
    """Neither in its message nor in the values that stand beside its lines, not even in part."""
    (tmp_path / "an_operator_with_a_bug.py").write_text(
        "class Bug:\n"
        "    def __init__(self, downstream):\n        self.on_completed = downstream.on_completed\n"
        "        self.on_error = downstream.on_error\n"
        "    def on_batch(self, batch):\n        secret = batch[0]['token']\n"
        "        raise ZeroDivisionError(f'at {secret}')\n"
        "from rx_collector.stream.operator import BatchOperator\n"
        "class Buggy(BatchOperator):\n    name = 'buggy'\n"
        "    def attach(self, downstream, context, node):\n        return Bug(downstream)\n"
        "buggy = Buggy()\n"
    )
    bug = "- set: {token: '${API_TOKEN}'}\n      - python: an_operator_with_a_bug:buggy"
    (tmp_path / "x.yaml").write_text(GOOD.replace("- filter: int(message) > 2", bug))
    result = command("run", "x.yaml", "--verbose", cwd=tmp_path, API_TOKEN="hunter2-" * 20)
    assert result.returncode == 1
    assert "raise ZeroDivisionError" in result.stderr  # where the bug is has to be told
    assert "ZeroDivisionError: at ***" in result.stderr
    assert "hunter" not in result.stderr


FULL = GOOD.replace('[seq, "5"]', '[seq, "100000"]')


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "x.yaml").write_text(FULL.replace("out.ndjson", str(small_disk / "out")))
    result = command("run", "x.yaml", "--quiet", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"all, file: cannot write {small_disk}/out: no space left on device")
    report = json.loads((tmp_path / "r.json").read_text())
    assert (report["exit_code"], report["balanced"]) == (1, True)
    written = (small_disk / "out").read_bytes()
    assert written.endswith(b"}\n")  # whole lines only, and as many as were told
    assert report["pipelines"]["all"]["sinks"]["file"]["delivered"] == written.count(b"\n") > 1000


@pytest.mark.root
@pytest.mark.slow
def test_a_report_that_does_not_fit_on_the_disk(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    (small_disk / "fill").write_bytes(b"x" * 65536)
    result = command("run", "x.yaml", "--report", str(small_disk / "r.json"), cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"rx-collector: cannot write {small_disk}/r.json: no space left on device"
    assert [path.name for path in small_disk.iterdir()] == ["fill"]
    assert (tmp_path / "out.ndjson").read_text().count("\n") == 3


@pytest.mark.slow
def test_several_files_at_once(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD)
    for name in ("bad", "worse"):
        (tmp_path / f"{name}.yaml").write_text(GOOD.replace("name:", "nmae:"))
    result = command("validate", "good.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "good.yaml: ok\n", "")
    result = command("validate", "bad.yaml", "good.yaml", "worse.yaml", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "good.yaml: ok\n")
    mistakes = [f"{name}.yaml:1:1: nmae: unknown key 'nmae', did you mean 'name'?" for name in ("bad", "worse")]
    assert result.stderr.splitlines() == mistakes
    for verb in ("run", "explain"):
        result = command(verb, "bad.yaml", "good.yaml", "worse.yaml", cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr.splitlines()) == (2, "", mistakes)
    assert not (tmp_path / "out.ndjson").exists()


@pytest.mark.slow
def test_the_command_alone_and_its_version(tmp_path: Path) -> None:
    alone = command(cwd=tmp_path)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "rx-collector run FILE" in alone.stderr
    asked = command("--help", cwd=tmp_path)
    assert (asked.returncode, asked.stdout, asked.stderr) == (0, alone.stderr, "")
    version = command("--version", cwd=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"rx-collector, version {__version__}\n")


@pytest.mark.slow
def test_a_reader_that_reads_no_further_is_no_mistake(tmp_path: Path) -> None:
    script = f"{{ {sys.executable} -m rx_collector schema; echo $? >&2; }} | head -c 10"
    result = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert len(result.stdout) == 10
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) == 1
