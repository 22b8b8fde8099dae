"""The command as a user meets it: what it prints, when it ends, what it leaves."""

from __future__ import annotations

import compileall
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import rx_collector
from rx_collector.cli import cli
from rx_collector.cli.files import load_all
from rx_collector.cli.run import stop_on_signals
from rx_collector.pipeline.collector import Collector
from rx_collector.runners.launch import _signals_are_held
from tests.cli.test_errors import GOOD, command
from tests.conftest import wait_until

pytestmark = pytest.mark.slow

ENDLESS = GOOD.replace('[seq, "5"]', '[sh, -c, "i=0; while :; do i=$((i+1)); echo $i; done"]')


def start(*arguments: str, cwd: Path, stderr: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rx_collector", "run", *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def session(leader: int) -> list[int]:
    """Processes that run and whose parent is this one, without the guardian."""
    found = []
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
                guardian = b"rx-guardian" in (directory / "cmdline").read_bytes()
            except OSError:
                continue
            if int(fields[1]) == leader and not guardian and fields[0] != "Z":
                found.append(int(directory.name))
    return found


def sheet(directory: Path) -> Any:
    return json.loads((directory / "r.json").read_text())


def test_run_prints_a_balance_sheet_and_writes_the_report(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    result = command("run", "x.yaml", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == ""
    assert (tmp_path / "out.ndjson").read_text() == '{"message":"3"}\n{"message":"4"}\n{"message":"5"}\n'
    assert "balanced: every event is accounted for" in result.stderr
    report = sheet(tmp_path)
    assert (report["version"], report["name"], report["balanced"], report["exit_code"]) == (1, "good", True, 0)
    runner = report["runners"]["numbers"]
    assert runner["starts"] == 1
    assert {key: runner["exits"][0][key] for key in ("incarnation", "code", "signal")} == {
        "incarnation": 1,
        "code": 0,
        "signal": None,
    }
    assert (runner["bytes"], runner["lines"], runner["stderr_lines"], runner["invalid_utf8"]) == (10, 5, 0, 0)
    assert (runner["rejected"], runner["lost_upstream"]) == ({"line_too_long": 0}, 0)
    pipeline = report["pipelines"]["all"]
    assert (pipeline["in"], pipeline["filtered"], pipeline["rejected"], pipeline["dropped"]) == (5, 2, {}, {})
    delivered = pipeline["sinks"]["file"]
    assert (delivered["delivered"], delivered["failed"], delivered["retried"]) == (3, 0, 0)
    assert pipeline["nodes"][0]["node"] == "operators[0] filter"
    for node in pipeline["nodes"]:
        gone = node["out"] + node["filtered"] + node["dropped"] + node["rejected"] + node["merged"] + node["held"]
        assert node["in"] + node["made"] == gone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_drains_and_balances(tmp_path: Path, number: signal.Signals) -> None:
    (tmp_path / "x.yaml").write_text(ENDLESS)
    process = start("x.yaml", "--report", "r.json", cwd=tmp_path)
    out = tmp_path / "out.ndjson"
    wait_until(lambda: out.exists() and out.stat().st_size > 1000, "events arrive", 20)
    children = session(process.pid)
    assert children
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 0, stderr
    report = sheet(tmp_path)
    assert report["balanced"]
    lines = out.read_text().splitlines()
    assert [int(json.loads(line)["message"]) for line in lines] == list(range(3, len(lines) + 3))
    assert report["runners"]["numbers"]["lines"] == len(lines) + 2
    for child in children:
        assert not Path(f"/proc/{child}").exists()


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    """It does not wait for a sink that would be given a minute."""
    text = ENDLESS.replace("      - file: out.ndjson", "      - exec: {command: [sleep, '3600'], grace: 1m}")
    (tmp_path / "x.yaml").write_text(text)
    process = start("x.yaml", "--report", "r.json", "--drain", "1m", cwd=tmp_path)
    wait_until(lambda: len(session(process.pid)) == 2, "both children run", 20)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert "SIGINT: stopping" in process.stderr.readline()  # two that arrive at once are one
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1, stderr
    assert sheet(tmp_path)["balanced"], stderr


LATE = """
import atexit, os, signal, sys
from rx_collector.cli import main

number, when = int(sys.argv[1]), sys.argv[2]
say = lambda kill=os.kill, me=os.getpid(), number=number, write=os.write: (kill(me, number), write(1, b"late"))

class Last:
    def __del__(self, say=say):
        say()

if when == "module":
    last = Last()  # the interpreter has given up its handlers when it lets go of modules
elif when == "atexit":
    atexit.register(say)
try:
    main(["run", "x.yaml", "--report", "r.json"])
finally:
    if when == "main":
        say()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("when", ["main", "atexit", "module"])
def test_a_signal_after_everything_is_done_changes_nothing(tmp_path: Path, number: signal.Signals, when: str) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    argv = [sys.executable, "-c", LATE, str(number.value), when]
    result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "late"), result.stderr
    assert "balanced: every event is accounted for" in result.stderr
    assert sheet(tmp_path)["balanced"]


def test_a_process_that_does_not_end_is_ended_by_a_second_signal(tmp_path: Path) -> None:
    """A thread of the user's own code keeps the interpreter."""
    (tmp_path / "x.yaml").write_text(GOOD)
    code = (
        "import threading, time; from rx_collector.cli import main\n"
        "threading.Thread(target=lambda: time.sleep(3600)).start()\n"
        "main(['run', 'x.yaml', '--report', 'r.json'])\n"
    )
    with open(tmp_path / "stderr", "wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stderr=stderr)
    try:
        said = "balanced: every event is accounted for"
        wait_until(lambda: said in (tmp_path / "stderr").read_text(), "it is done", 20)

        def ends() -> bool:
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None

        wait_until(ends, "it ends", 20)
        assert process.returncode == -signal.SIGTERM
    finally:
        process.kill()
        process.wait()


def test_a_signal_while_the_rest_is_written_is_heard(tmp_path: Path) -> None:
    """The program has ended by itself and the sink takes its time: who asks for the end sees what a second signal does."""
    text = GOOD.replace('[seq, "5"]', '[sh, -c, "seq 5; touch done"]')
    text = text.replace("      - file: out.ndjson", "      - exec: {command: [sleep, '3600'], grace: 1m}")
    (tmp_path / "x.yaml").write_text(text)
    with open(tmp_path / "stderr", "wb") as stderr:
        process = start("x.yaml", "--report", "r.json", cwd=tmp_path, stderr=stderr)
    wait_until((tmp_path / "done").exists, "the program has printed all", 20)
    wait_until(lambda: len(session(process.pid)) == 1, "it has ended", 20)
    process.send_signal(signal.SIGINT)
    said = "SIGINT: stopping, a second one ends at once"
    wait_until(lambda: said in (tmp_path / "stderr").read_text(), "it says so", 20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 1
    assert "asked to end at once" in (tmp_path / "stderr").read_text()


def test_a_sink_that_hangs_is_given_up_after_the_drain_time(tmp_path: Path) -> None:
    text = GOOD.replace('[seq, "5"]', '[seq, "1000000"]').replace(
        "      - file: out.ndjson", "      - exec: {command: [sleep, '3600'], grace: 1ms}"
    )
    (tmp_path / "x.yaml").write_text(text)
    process = start("x.yaml", "--duration", "300ms", "--drain", "200ms", "--report", "r.json", cwd=tmp_path)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1, stderr
    report = sheet(tmp_path)
    assert report["balanced"], stderr
    pipeline = report["pipelines"]["all"]
    lost = sum(pipeline["dropped"].values()) + pipeline["sinks"]["exec"]["failed"]
    assert lost == pipeline["in"] - pipeline["filtered"] - pipeline["sinks"]["exec"]["delivered"] > 0


#: Sends its collector a SIGQUIT, and prints which signals it ignores itself.
QUITTING = (
    "import os; os.kill(os.getppid(), 3); print(*[l for l in open('/proc/self/status') if l.startswith('SigIgn')])"
)


def test_in_the_background_of_a_script_a_child_hears_what_the_collector_does_not(tmp_path: Path) -> None:
    """A shell lets what it starts with & ignore SIGINT and SIGQUIT."""
    (tmp_path / "x.yaml").write_text(
        f"runners: {{it: {{command: [{sys.executable}, -c, {json.dumps(QUITTING)}]}}}}\n"
        "pipelines: {all: {from: it, sinks: [{file: {path: out, format: text}, backpressure: block}]}}\n"
    )
    run = [sys.executable, "-m", "rx_collector", "run", "-q", "x.yaml"]
    shown = subprocess.run(["sh", "-c", '"$@" & wait $!', "sh", *run], cwd=tmp_path, timeout=30, check=False)
    assert shown.returncode == 0
    ignored = int((tmp_path / "out").read_text().split()[1], 16)
    assert ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1) == 0


def test_a_child_needs_no_program_in_between_for_that(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    old = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        assert _signals_are_held()
        with stop_on_signals(Collector(load_all((str(tmp_path / "x.yaml"),), None))):
            assert not _signals_are_held()
        assert [signal.getsignal(number) for number in old] == [signal.SIG_IGN] * 2
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def test_duration(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace('[seq, "5"]', "[sleep, '3600']"))
    result = command("run", "x.yaml", "--duration", "100ms", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == 0
    assert 0.1 <= sheet(tmp_path)["seconds"] < 10


def test_max_events(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(ENDLESS)
    result = command("run", "x.yaml", "--max-events", "1_000", "--report", "r.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out.ndjson").read_text().count("\n") == 1000
    report = sheet(tmp_path)
    assert report["balanced"]
    assert report["pipelines"]["all"]["sinks"]["file"]["delivered"] == 1000


def test_a_closed_reader_ends_the_run_with_one_line(tmp_path: Path) -> None:
    text = ENDLESS.replace("- file: out.ndjson", "- console: ndjson")
    (tmp_path / "x.yaml").write_text(text)
    script = f"{sys.executable} -m rx_collector run x.yaml -q --report r.json | head -n 3"
    result = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert result.stdout.count("\n") == 3
    assert result.stderr.count("\n") == 1
    assert "stdout was closed by its reader" in result.stderr
    assert sheet(tmp_path)["balanced"]


def test_two_files_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    (tmp_path / "y.yaml").write_text(
        GOOD.replace("numbers", "others").replace("  all:", "  more:").replace("out.nd", "more.nd")
    )
    assert command("run", "x.yaml", "y.yaml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "more.ndjson").read_text() == (tmp_path / "out.ndjson").read_text()
    result = command("run", "x.yaml", "x.yaml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (2, "x.yaml:1:1: the file is named twice\n")


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "data").write_text("7\n")
    (tmp_path / "below" / "x.yaml").write_text(GOOD.replace('[seq, "5"]', "[cat, data]"))
    assert command("run", "below/x.yaml", cwd=tmp_path).returncode == 0
    assert (tmp_path / "below" / "out.ndjson").read_text() == '{"message":"7"}\n'


def test_list_describe_schema_explain(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    listed = command("list", cwd=tmp_path).stdout
    names = [line.split()[0] for line in listed.splitlines() if line.startswith(" ")]
    assert {"parse", "filter", "buffer", "json", "block", "file"} <= set(names)
    for name in [*names, "runner", "pipeline", "expressions"]:
        described = CliRunner().invoke(cli, ["describe", name])
        assert described.exit_code == 0, (name, described.output)
    assert command("describe", "parse", cwd=tmp_path).stdout == CliRunner().invoke(cli, ["describe", "parse"]).stdout
    explained = command("explain", "--source", "x.yaml", cwd=tmp_path).stdout
    assert "rest = iter(batch.lines)" in explained
    assert "# operators[0] filter (x.yaml:8)" in explained
    assert "boundary block, at most 10,000 events in flight" in explained
    assert json.loads(command("schema", cwd=tmp_path).stdout)["type"] == "object"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as an installer leaves it: a copy, compiled."""
    directory = tmp_path_factory.mktemp("installed")
    source = Path(rx_collector.__file__).parent
    shutil.copytree(source, directory / "rx_collector", ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(directory / "rx_collector", quiet=2)
    return directory


def processor_time(*arguments: str, directory: Path) -> float:
    """The best of several starts, in milliseconds of the processor: what else runs on the machine does not count."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    quiet = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    times = []
    for _ in range(7):
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, *arguments],
            {**environment, "PYTHONPATH": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
            file_actions=quiet,
        )
        _, status, usage = os.wait4(pid, 0)
        assert status == 0
        times.append((usage.ru_utime + usage.ru_stime) * 1000)
    return min(times)


@pytest.mark.parametrize(
    ("arguments", "promised"),
    [(["-c", "import rx_collector"], 150), (["-m", "rx_collector", "--help"], 300)],
    ids=["import", "help"],
)
def test_start_up_is_quick(installed: Path, arguments: list[str], promised: float) -> None:
    """As promised on a machine whose bare interpreter starts within 15 ms, and in proportion on a slower one."""
    slower = max(1.0, processor_time("-c", "pass", directory=installed) / 15)
    assert processor_time(*arguments, directory=installed) < promised * slower


def test_three_of_a_billion(tmp_path: Path) -> None:
    """By an operator of reactivex within a file, and by the command's own limit: it ends at once and leaves no child."""
    text = GOOD.replace('[seq, "5"]', '[seq, "1000000000"]')
    (tmp_path / "three.py").write_text("import reactivex.operators as ops\ntake = ops.take(3)\n")
    for by, arguments in (("- python: three:take", []), ("- map: message", ["--max-events", "3"])):
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        (tmp_path / "x.yaml").write_text(text.replace("- filter: int(message) > 2", by))
        process = start("x.yaml", "--report", "r.json", *arguments, cwd=tmp_path)
        _, stderr = process.communicate(timeout=20)  # a billion lines take minutes
        assert process.returncode == 0, stderr
        assert (tmp_path / "out.ndjson").read_text().count("\n") == 3
        report = sheet(tmp_path)
        assert report["balanced"]
        assert report["pipelines"]["all"]["sinks"]["file"]["delivered"] == 3
        assert report["runners"]["numbers"]["lines"] < 100_000_000
        assert not [pid for pid in Path("/proc").iterdir() if pid.name.isdigit() and in_session(pid, process.pid)]


def test_only_the_command_shortens_the_turns_of_threads(tmp_path: Path) -> None:
    (tmp_path / "turns.py").write_text(
        "import sys\nfrom rx_collector import operators as op\ntold = op.map(lambda e: {'turn': sys.getswitchinterval()})\n"
    )
    (tmp_path / "x.yaml").write_text(GOOD.replace("- filter: int(message) > 2", "- python: turns:told"))
    library = "import rx_collector as rx; rx.load('x.yaml').run()"
    for arguments, turn in ((["-m", "rx_collector", "run", "x.yaml"], 0.0002), (["-c", library], 0.005)):
        (tmp_path / "out.ndjson").unlink(missing_ok=True)
        subprocess.run([sys.executable, *arguments], cwd=tmp_path, check=True, capture_output=True, timeout=20)
        lines = (tmp_path / "out.ndjson").read_text().splitlines()
        assert [json.loads(line)["turn"] for line in lines] == pytest.approx([turn] * 5)


def in_session(directory: Path, leader: int) -> bool:
    """Tell whether a process was started by this one, or by what it started."""
    try:
        name, rest = (directory / "stat").read_text().rpartition(")")[::2]
        state, parent, group = rest.split()[:3]
    except (OSError, ValueError):
        return False
    return "(seq" in name and state != "Z" and str(leader) in (parent, group)


def test_verbose_and_quiet(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    plain, quiet, verbose = (command("run", "x.yaml", *flag, cwd=tmp_path).stderr for flag in ([], ["-q"], ["-v"]))
    assert quiet == ""
    assert "DEBUG" not in plain
    assert "balanced" in plain
    assert "DEBUG" in verbose
    assert "balanced" in verbose


def test_the_report_to_what_is_no_file(tmp_path: Path) -> None:
    """It is written there, and what is there is not replaced; a FIFO of our own, so that nothing else can come to harm."""
    (tmp_path / "x.yaml").write_text(GOOD)
    os.mkfifo(tmp_path / "fifo")
    reading = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    try:
        result = command("run", "x.yaml", "-q", "--report", "fifo", cwd=tmp_path)
        assert (result.returncode, result.stderr) == (0, "")
        assert (tmp_path / "fifo").is_fifo()
        assert json.loads(os.read(reading, 65536))["balanced"] is True
    finally:
        os.close(reading)


def test_the_sheet_says_all_that_happened(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"1\n2\n\xff\n3\n123456789\n4\n5\n")
    text = GOOD.replace('{command: [seq, "5"]}', '{command: [sh, -c, "cat in; exit 3"], max_line: 5}')
    text = text.replace("    sinks:", "      - flat_map: '[1, 2]'\n      - buffer: 4\n    sinks:")
    text += "      - console: ndjson\n        backpressure: block\n    dead_letter: {file: dead}\n"
    (tmp_path / "x.yaml").write_text(text)
    result = command("run", "x.yaml", cwd=tmp_path)
    assert result.returncode == 1
    words = [" ".join(line.split()) for line in result.stderr.splitlines()]
    begin = words.index(next(line for line in words if line.startswith("runner numbers")))
    assert [line for line in words[begin:] if not line.startswith("balanced")] == [
        "runner numbers 22B",
        "lines read 7",
        "rejected, line too long 1",
        "1 lines were not UTF-8",
        "ended with code 3",
        "pipeline all",
        "in 6",
        "filtered 2",
        "rejected by filter 1",
        "merged 6",
        "made 5",
        "delivered to file 2",
        "delivered to console 2",
        "records in dead letter 2",
        "failed: numbers: exited with code 3",
    ]


@pytest.mark.slow
def test_the_sheet_says_what_operators_let_go_of(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(
        """
runners:
  numbers: {command: [seq, "6"]}
  slowly: {command: [sh, -c, "echo a; sleep 0.3; echo b"]}
pipelines:
  p:
    from: numbers
    operators:
      - dedupe: {key: message, size: 2}
      - group_by: {key: message, size: 5, operators: [limit: 1]}
      - log: {show: message, count: 4, time: 1h}
    sinks: [{null: , backpressure: block}]
  idle:
    from: slowly
    operators: [group_by: {key: message, idle: 50ms, operators: [limit: 1]}]
    sinks: [{null: , backpressure: block}]
"""
    )
    stderr = command("run", "x.yaml", cwd=tmp_path).stderr
    table = [" ".join(line.split()) for line in stderr.splitlines()]
    for row in (
        "4 evicted by dedupe, as its size was reached",
        "1 evicted by group_by, as its size was reached",
        "2 were not logged by log, as its count was reached",
    ):
        assert row in table, stderr
    assert any(row.endswith("ended by group_by, as they were idle") for row in table), stderr


def test_a_long_failure_is_one_line_of_the_sheet(tmp_path: Path) -> None:
    program = "no-such-program-" * 12
    (tmp_path / "x.yaml").write_text(GOOD.replace('[seq, "5"]', f"[{program}]"))
    result = command("run", "x.yaml", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == f"failed: numbers: command not found: '{program}'"


def test_an_os_exit_of_nothing_is_left(tmp_path: Path) -> None:
    """At a normal end of the interpreter, children that nobody stopped are stopped."""
    script = (
        "import rx_collector as rx, threading\n"
        "first = threading.Event()\n"
        "rx.runner('sh', '-c', 'echo $$; exec sleep 3600').subscribe(\n"
        "    lambda e: (print(e['message'], flush=True), first.set()))\n"
        "first.wait(10)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (result.returncode, result.stderr) == (0, "")  # nobody is told of it at the end of the interpreter
    pid = int(result.stdout)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
