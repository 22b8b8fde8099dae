"""Random descriptions, one after the other: every number goes one way in each, so it is delivered once, whatever changes."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import rounds
from tests.pipeline.reloading import COUNTS, COUNTS_SLOWLY, running

pytestmark = pytest.mark.slow

#: None of them loses or makes a number.
OPERATORS = [
    "set: {x: 1}",
    "set: {x: 2}",
    "skip: 0",
    "buffer: {count: 7, time: 1ms}",
    "buffer: 1000",
    "redact: [token]",
    "python: an_operator_of_reactivex:passes",
    "python: an_operator_of_reactivex:observed",
    "join: {with: other, on: x, fields: [y]}",
    "dedupe: {key: message, size: 3}",
    "throttle: {count: 1000000000, time: 1s}",
]
AN_OPERATOR = """
import reactivex.operators as ops
from rx_collector import operators as op
def passes(stream):
    return stream.pipe(ops.map(lambda event: event), ops.filter(lambda event: True))
def observed(stream):
    return stream.pipe(op.backpressure("block", capacity=100))
"""
FILES = ("a", "b", "c")


class Drawn:
    """What is drawn at random."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._command = COUNTS if seed % 3 == 0 else COUNTS_SLOWLY

    def operators(self, first: str = "") -> str:
        buffers = 0
        chosen = [first] if first else []
        for operator in self._random.choices(OPERATORS, k=self._random.randrange(3)):
            buffers += operator.startswith("buffer")
            if not operator.startswith("buffer") or buffers < 2:
                chosen.append(operator)
        chosen.sort(key=lambda operator: operator.startswith("buffer"))  # a buffer is the last one
        return "".join(
            f"      - {{{operator}}}\n" if ": {" not in operator else f"      - {operator}\n" for operator in chosen
        )

    def pipeline(self, name: str, source: str, first: str = "", file: str | None = None) -> str:
        operators = self.operators(first)
        text = f"  {name}:\n    from: {source}\n" + (f"    operators:\n{operators}" if operators else "")
        if file is not None:
            capacity = self._random.choice((10, 1000, 10_000))
            text += f"    sinks:\n      - file: {file}.ndjson\n"
            text += f"        backpressure: {{strategy: block, capacity: {capacity}}}\n"
            if self._random.random() < 0.3:
                text += "      - 'null': {}\n        backpressure: drop_oldest\n"
        if self._random.random() < 0.3:
            text += "    dead_letter: {file: dead.ndjson}\n"
        return text

    def project(self) -> str:
        file = self._random.choice(FILES)
        name = self._random.choice(("all", "whole"))
        numbers, other = f"  numbers: {{command: {self._command}}}\n", f"  other: {{command: {COUNTS_SLOWLY}}}\n"
        if self._random.random() < 0.3:
            other = other.replace("[sh", f"[env, A={self._random.randrange(2)}, sh")
        rest = ""
        shape = self._random.randrange(5)
        if shape == 0:
            body = self.pipeline(name, "numbers", file=file)
        elif shape == 1:
            body = self.pipeline("first", "numbers") + self.pipeline(name, "first", file=file)
            body = body.replace("buffer: 1000", "buffer: {count: 1000, time: 1ms}")
        elif shape == 2:
            route = "route: {odd: 'message[-1] in \"13579\"'}"
            body = self.pipeline("first", "numbers", first=route, file=file).replace("buffer: 1000", "skip: 0")
            body += self.pipeline("odd", "first.odd", file=self._random.choice(FILES))
        elif shape == 3:
            body = self.pipeline(name, "numbers.lifecycle", first="merge: [numbers]", file=file)
        else:
            body = self.pipeline(name, "[numbers, numbers.lifecycle]", file=file)
        rest += self.pipeline("others", "other", file=self._random.choice(("d", "e")))
        if self._random.random() < 0.5:
            rest += self.pipeline("beside", "[other, numbers]", file="f")
        if self._random.random() < 0.5:
            rest += self.pipeline("told", "other.lifecycle", file="g")
        return f"runners:\n{numbers}{other}pipelines:\n{body}{rest}"


def messages(directory: Path, name: str) -> list[str]:
    path = directory / f"{name}.ndjson"
    lines = path.read_text().splitlines() if path.exists() else []
    return [payload["message"] for payload in map(json.loads, lines) if "message" in payload]


@pytest.mark.parametrize("seed", range(rounds(3, 6)))
def test_random_reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str], seed: int) -> None:
    (tmp_path / "an_operator_of_reactivex.py").write_text(AN_OPERATOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    drawn = Drawn(seed)
    with running(tmp_path, drawn.project()) as run:
        pid = run.pid()
        for _ in range(12):
            run.wait_for_lines("numbers", 30)
            run.reload(drawn.project())
        assert run.pid() == pid
        run.wait_for_lines("numbers", 300)
        report = run.stop()
    assert not [line for line in log if line.startswith(("ERROR", "CRITICAL"))]
    assert report.exit_code == 0, report.errors
    assert report.reloads > 8
    found = Counter(message for name in FILES for message in messages(tmp_path, name))
    assert found.pop("last") == 1
    assert set(found.values()) == {1}
    assert sorted(map(int, found)) == list(range(1, len(found) + 1))
    assert report.runners["numbers"].lines == len(found) + 1
    # Each start of the other runner counts anew, and says its last word.
    starts = report.runners["other"].starts
    others = Counter(message for name in "de" for message in messages(tmp_path, name))
    assert sum(others.values()) == report.runners["other"].lines
    assert max(others["1"], others["last"]) <= starts
