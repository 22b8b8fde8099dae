"""The tutorial, done from its first command to its last."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rx_collector as rx
from tests.conftest import need, need_bpftrace, wait_until
from tests.docs.session import commands, matches, play
from tests.docs.test_documents import ROOT, blocks

TUTORIAL = "docs/tutorial.md"


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.tools
def test_the_tutorial(tmp_path: Path) -> None:
    need("vmstat")
    text = (ROOT / TUTORIAL).read_text()
    assert play(text, tmp_path) == text.count("\n$ ") >= 6


def unit() -> str:
    (text,) = blocks(TUTORIAL, "ini")
    return text


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.tools
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    need("systemd-analyze")
    (tmp_path / "load.service").write_text(re.sub(r"(?<=ExecStart=)\S+", "/bin/true", unit()))
    command = ["systemd-analyze", "verify", str(tmp_path / "load.service")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.tools
def test_what_the_unit_starts_drains_when_it_is_stopped(tmp_path: Path) -> None:
    """As systemd would: the directory of its state in the environment, SIGTERM to the collector alone."""
    need("vmstat")
    (found,) = re.findall(r"ExecStart=\S+/rx-collector (\S+) \S+/load\.yaml", unit())
    (tmp_path / "load.yaml").write_text(load_yaml())
    state = tmp_path / "state"
    state.mkdir()
    command = [
        sys.executable,
        "-m",
        "rx_collector",
        found,
        str(tmp_path / "load.yaml"),
        "--report",
        str(tmp_path / "r.json"),
    ]
    collector = subprocess.Popen(
        command, env={**os.environ, "STATE_DIRECTORY": str(state)}, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: children(collector.pid, "vmstat"), "vmstat runs")
    wait_until(lambda: (state / "load.ndjson").exists(), "the sink is open")
    wait_until(lambda: has_read_a_second(collector.pid), "vmstat has printed")
    collector.send_signal(signal.SIGTERM)
    _, said = collector.communicate(timeout=30)
    assert collector.returncode == 0, said
    assert "balanced" in said
    assert (state / "load.ndjson").stat().st_size > 0


def load_yaml() -> str:
    return [text for text in blocks(TUTORIAL, "yaml") if text.startswith("# load.yaml")][-1]


def children(pid: int, name: str) -> list[Path]:
    """The processes of this name below another one."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            inner, _, rest = status.read_text().rpartition(")")
        except OSError:
            continue
        if inner.endswith(f"({name}") and int(rest.split()[1]) == pid:
            found.append(status)
    return found


def has_read_a_second(pid: int) -> bool:
    """vmstat has written its header, its first line and one more."""
    for status in children(pid, "vmstat"):
        try:
            written = re.search(r"wchar: (\d+)", (status.parent / "io").read_text())
        except OSError:
            continue
        return written is not None and int(written[1]) > 320
    return False


def test_exec_in_the_tutorial(tmp_path: Path) -> None:
    """With a recording of bpftrace in the place of it, and a line that was lost half way."""
    (text,) = (text for text in blocks(TUTORIAL, "yaml") if text.startswith("# exec.yaml"))
    (tmp_path / "exec.yaml").write_text(text)
    (tmp_path / "printed").write_text(
        '{"type": "attached_probes", "data": {"probes": 1}}\n{"type": "printf", "data": "7 0 /bin/sh\\n"}\n'
        '{"type": "printf", "data": "8 1000 /usr/bin/a file\\n"}\n\n{"type": "printf", "data'
    )
    report = rx.load(tmp_path / "exec.yaml").with_runner("exec", command=["cat", "printed"]).run()
    assert report.balanced
    assert (tmp_path / "exec.ndjson").read_text() == (
        '{"pid":7,"uid":0,"file":"/bin/sh","directory":"/bin"}\n'
        '{"pid":8,"uid":1000,"file":"/usr/bin/a file","directory":"/usr/bin"}\n'
    )
    assert report.pipelines["programs"].rejected == {"parse": 1}
    assert not (tmp_path / "exec.spill").exists()


@pytest.mark.bpftrace
@pytest.mark.slow
@pytest.mark.once
def test_the_script_of_the_tutorial_on_the_real_kernel(tmp_path: Path) -> None:
    need_bpftrace()
    (script,) = (text for text in blocks(TUTORIAL, "text") if text.startswith("// exec.bt"))
    (text,) = (text for text in blocks(TUTORIAL, "yaml") if text.startswith("# exec.yaml"))
    (tmp_path / "exec.bt").write_text(script)
    (tmp_path / "exec.yaml").write_text(text)
    command = [sys.executable, "-m", "rx_collector", "run", "exec.yaml"]
    collector = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)

    def seen() -> bool:
        subprocess.run([shutil.which("true") or "true"], check=True)
        out = tmp_path / "exec.ndjson"
        return out.exists() and b"/true" in out.read_bytes()

    try:
        wait_until(seen, "a program that is started is seen", 60)
    finally:
        collector.send_signal(signal.SIGINT)
        _, said = collector.communicate(timeout=30)
    assert collector.returncode == 0, said


def test_a_session_is_compared() -> None:
    assert commands("$ a\nb\n$ c\n") == [("a", "b\n"), ("c", "")]
    assert matches("a … c\n", "a  b   c\n")
    assert matches("a\n…\nd\n", "a\nb\nc\nd\n")
    assert not matches("a … c\n", "a b d\n")
    assert not matches("a\n", "a\nb\n")
    assert matches("12 lines in 1.5s\n", "7 lines in 3s\n", numbers=False)
    assert not matches("12 lines\n", "7 lines\n")
    assert not matches("12 lines\n", "7 words\n", numbers=False)


@pytest.mark.slow
@pytest.mark.once
def test_how_it_works(tmp_path: Path) -> None:
    assert play((ROOT / "docs" / "how-it-works.md").read_text(), tmp_path) == 2
