"""A command that is forked is the command that is started: what it prints, how it ends, and what surrounds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_errors import GOOD
from tests.warm import command

pytestmark = pytest.mark.slow
TOLD = """\
import os, sys
from rx_collector import operators as op
umask = os.umask(0)
os.umask(umask)
told = op.map(lambda e: {"argv": sys.argv[1:], "directory": os.getcwd(), "umask": umask, "word": os.environ["WORD"],
    "main": sys.modules["__main__"].__name__, "path": sys.path[0], "descriptors": sorted(os.listdir("/proc/self/fd"))[:3]})
"""


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["list"], ["run"], ["validate", "x.yaml"], ["validate", "no.yaml"], ["run", "-q", "told.yaml"]],
    ids=" ".join,
)
def test_it_is_the_real_command(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "größe")
    (tmp_path / "x.yaml").write_text(GOOD)
    (tmp_path / "tells.py").write_text(TOLD)
    text = GOOD.replace("filter: int(message) > 2", "python: tells:told").replace("file: out.ndjson", "console:")
    (tmp_path / "told.yaml").write_text(text)
    argv = [sys.executable, "-m", "rx_collector", *arguments]
    real = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    forked = command(*arguments, cwd=tmp_path)
    assert (forked.returncode, forked.stdout, forked.stderr) == (real.returncode, real.stdout, real.stderr)
    assert forked.stdout + forked.stderr


def test_what_is_read_at_the_start_is_that_of_the_test(tmp_path: Path) -> None:
    """An interpreter is started for it."""
    text = GOOD.replace(
        "- filter: int(message) > 2", "- parse: json\n      - filter: pid > 10\n      - set: {host: \"'web'\"}"
    )
    (tmp_path / "x.yaml").write_text(text)
    without = {
        switches: command("explain", "--source", "x.yaml", cwd=tmp_path, RX_COLLECTOR_WITHOUT=switches)
        for switches in ("", "edits,projection")
    }
    assert [result.returncode for result in without.values()] == [0, 0]
    assert len({result.stdout for result in without.values()}) == 2


def test_one_that_does_not_end_is_killed_and_the_next_one_runs(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace('[seq, "5"]', '[sleep, "3600"]'))
    with pytest.raises(subprocess.TimeoutExpired):
        command("run", "x.yaml", cwd=tmp_path, timeout=0.5)
    assert command("--version", cwd=tmp_path).returncode == 0
