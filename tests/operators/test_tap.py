"""tap: what it logs, and that the library is silent until it is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rx_collector import operators as op
from tests.cli.test_errors import GOOD, command
from tests.events import event, run


def test_it_logs_the_value_of_an_expression_for_each_event(log: list[str]) -> None:
    result = run(op.parse("json"), op.tap("f'{pid} has {uid}'"), lines=['{"pid": 7, "uid": 0}', '{"pid": 8}'])
    assert log == ["INFO tap: 7 has 0", "INFO tap: 8 has None"]
    assert result.data == [{"pid": 7, "uid": 0}, {"pid": 8}]


def test_it_logs_what_passes_where_it_stands(log: list[str]) -> None:
    run(op.tap("this"), op.filter("this > 1"), op.tap("this * 10"), events=[1, 2])
    assert log == ["INFO tap: 1", "INFO tap: 2", "INFO tap: 20"]


def test_braces_in_the_data_are_no_format(log: list[str]) -> None:
    run(op.tap("this"), events=["{0} {x} <red>"])
    assert log == ["INFO tap: {0} {x} <red>"]


def test_an_expression_that_fails_rejects_the_event(log: list[str]) -> None:
    result = run(op.tap("this + 1"), events=["a", 1])
    assert result.data == [1]
    assert [one["error"].partition(":")[0] for one in result.rejected] == ["TypeError"]
    assert [line for line in log if line.startswith("INFO")] == ["INFO tap: 2"]


def test_a_function_is_called_and_nothing_logged(log: list[str]) -> None:
    seen: list[object] = []
    given = event("a")
    assert run(op.tap(lambda one: seen.append(one.data)), events=[given.data]).data == ["a"]
    assert (seen, log) == (["a"], [])


@pytest.mark.slow
@pytest.mark.parametrize("asked", [False, True])
def test_the_library_is_silent_until_asked(asked: bool) -> None:
    script = (
        "import rx_collector as rx\nfrom loguru import logger\nfrom rx_collector import operators as op, sinks\n"
        f"if {asked}: logger.enable('rx_collector')\n"
        "rx.run(rx.runner('seq', '2').pipe(op.tap('message'), op.map('message + 1'), op.to(sinks.null())))\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout == ""
    if not asked:
        assert result.stderr == ""
    else:
        assert result.stderr.count("tap: ") == 2
        assert result.stderr.count("stream, operators[1] map: ") == 1


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace("- filter:", "- tap: f'seen {message}'\n      - filter:"))
    lines = command("run", "x.yaml", cwd=tmp_path).stderr.splitlines()
    assert [line.partition(" ")[2] for line in lines if "tap" in line] == [
        f"INFO    tap: seen {n}" for n in range(1, 6)
    ]
    assert "tap: seen" not in command("run", "x.yaml", "--quiet", cwd=tmp_path).stderr
