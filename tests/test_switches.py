"""The switches that turn fast paths off: each by itself gives the same output, and all of them are tried together."""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rx_collector import switches
from rx_collector.switches import SWITCHES
from tests.cli.test_errors import command

ROOT = Path(__file__).parents[1]

FILE = """\
runners:
  lines: {command: [cat, lines]}
  first: {command: [head, -n, 30, lines]}
pipelines:
  touched:
    from: lines
    operators: [{parse: {format: json, check: touched}}, filter: event == "EXEC", set: {host: "'web'"}, drop: ppid]
    sinks: [{file: touched, backpressure: block}]
  learned:
    from: lines
    workers: 2
    operators: [parse: json, filter: pid % 3, set: {pid: pid + 1, b: len(text)}, rename: {text: t}]
    sinks: [{file: learned, backpressure: block}]
  kept:
    from: lines
    operators: [parse: json, filter: pid > 1000, keep: [pid, text]]
    sinks: [{file: kept, backpressure: block}]
  keyed:
    from: lines
    workers: 2
    operators: [parse: json, scan: {fields: {n: "default(n, 0) + 1"}, by: pid % 50}, redact: {}]
    sinks: [{file: keyed, backpressure: block}]
  small:
    from: first
    workers: 2
    operators: [parse: json, filter: pid % 2 == 0]
    sinks: [{file: small, backpressure: block}]
  counted:
    from: lines
    operators: [parse: json, aggregate: {by: event, n: count(), pid: sum(pid)}]
    sinks: [{file: counted, backpressure: block}]
  message:
    from: lines
    operators: [filter: "'7' in message"]
    sinks: [{file: message, backpressure: block}]
"""
OUTPUTS = ("touched", "learned", "kept", "keyed", "small", "counted", "message")


def pairs(line: str) -> list[tuple[str, Any]]:
    """Give what a line says, in its order: one that is edited on its bytes keeps how numbers and texts were written."""
    return list(json.loads(line).items())


@pytest.mark.slow
def test_with_each_fast_path_off_the_output_is_the_same(tmp_path: Path) -> None:
    lines = []
    for number in range(5000):
        kind = ["EXEC", "OPEN", "EX\\u0045C"][number % 3]
        long = "x" * (number % 200 if number < 4000 else 5000)
        lines.append(f'{{"pid":{number},"event":"{kind}","ppid":{number % 7},"text":"{long}"}}')
    lines[100], lines[101], lines[102] = '{"pid": 1e3, "ppid":1, "ppid":2, "event":"EXEC"}', '{"pid":', "EXEC"
    (tmp_path / "lines").write_text("\n".join(lines) + "\n")
    (tmp_path / "x.yaml").write_text(FILE)
    written, sheets = set(), set()
    for off in ("", *SWITCHES, ",".join(SWITCHES)):
        environment = {**os.environ, "RX_COLLECTOR_WITHOUT": off}
        arguments = [sys.executable, "-m", "rx_collector", "run", "-q", "--report", "report.json", "x.yaml"]
        subprocess.run(arguments, cwd=tmp_path, env=environment, capture_output=True, check=True)
        written.add(repr([[pairs(line) for line in (tmp_path / name).read_text().splitlines()] for name in OUTPUTS]))
        sheets.add(json.dumps(json.loads((tmp_path / "report.json").read_text())["pipelines"], sort_keys=True))
        for name in OUTPUTS:
            (tmp_path / name).unlink()
    assert len(written) == 1
    assert len(sheets) == 1
    assert "web" in written.pop()


def test_a_switch_that_there_is_not_is_told(tmp_path: Path) -> None:
    shown = command("list", cwd=tmp_path, RX_COLLECTOR_WITHOUT="edit, layouts")
    assert shown.returncode == 2
    assert shown.stderr == "RX_COLLECTOR_WITHOUT: there is no switch 'edit', did you mean 'edits'?\n"


def test_all_of_them_are_described_and_tried() -> None:
    assert set(re.findall(r"^    (\w+) ", switches.__doc__ or "", re.MULTILINE)) == set(SWITCHES)
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    tried = re.search(r"RX_COLLECTOR_WITHOUT = (.*)", tox["testenv:plain"]["set_env"])
    assert tried is not None
    assert set(tried[1].split(", ")) == set(SWITCHES)
