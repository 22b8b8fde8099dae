"""Random descriptions, one after the other: every number goes one way in each, so it is delivered once, whatever changes."""

from __future__ import annotations

import gzip
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import rounds
from tests.pipeline.reloading import COUNTS, COUNTS_SLOWLY, Running, running

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
#: These keep something, and give fewer events than they take, or in another order.
KEEPING = [
    "scan: {fields: {total: 'default(total, 0) + 1'}}",
    "sort: {lateness: 5ms, size: 100}",
    "debounce: {time: 2ms, key: message}",
    "group_by: {key: 'message[-1]', operators: [{limit: 50}, {buffer: {count: 10, time: 3ms}}], idle: 10ms}",
    "window: {every: 5ms, aggregate: {n: count(), message: last(message)}}",
    "window: {slide: 2ms, every: 6ms, aggregate: {n: count(), message: last(message)}}",
    "aggregate: {n: count(), message: last(message)}",
    "dedupe: {key: 'message[-1]', time: 3ms, size: 5}",
    "sample: {rate: 0.5}",
    "merge: [other]",
    "join: {with: other, on: message, fields: [y]}",
]
SINKS = [
    "file: {path: kept.gz, compression: gzip, rotate: {size: 4KB, keep: 2}, flush: 5ms}",
    "file: {path: kept.gz, compression: gzip}",
    "file: {path: kept.ndjson, rotate: {size: 4KB, keep: 2}}",
    "exec: {command: [sh, -c, 'cat >/dev/null']}",
    "exec: {command: [sh, -c, 'while read -r line; do :; done']}",
    "'null': {}",
]
STRATEGIES = [
    "block",
    "drop_oldest",
    "{strategy: block, capacity: 5}",
    "{strategy: drop_newest, capacity: 10}",
    "{strategy: latest, key: message}",
    "{strategy: spill, path: kept.spill, capacity: 20}",
]
#: Never changed, whatever is beside it.
STEADY = """
  steady:
    from: numbers
    operators:
      - scan: {fields: {count: 'default(count, 0) + 1'}}
    sinks:
      - file: {path: steady.gz, compression: gzip}
        backpressure: {strategy: block, capacity: 1000}
      - exec: {command: [sh, -c, 'exec cat > steady.out']}
        backpressure: {strategy: block, capacity: 100}
"""
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
        self._files = itertools.count()
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

    def keeping(self) -> str:
        """A description with a pipeline that keeps things beside one that is always the same."""
        operators = self._random.sample(KEEPING, self._random.randrange(1, 4))
        sinks = self._random.sample(SINKS, self._random.randrange(1, 3))
        strategies = self._random.sample(STRATEGIES, len(sinks))
        kept = f"  kept:\n    from: {self._random.choice(('numbers', '[numbers, other]'))}\n    operators:\n"
        kept += "".join(f"      - {operator}\n" for operator in operators) + "    sinks:\n"
        for sink, strategy in zip(sinks, strategies, strict=True):
            kept += f"      - {sink}\n        backpressure: {strategy}\n"
        # What is in use by the one before would be refused.
        kept = re.sub(r"kept\.", lambda found: f"kept-{next(self._files)}.", kept)
        numbers, other = f"  numbers: {{command: {self._command}}}\n", f"  other: {{command: {COUNTS_SLOWLY}}}\n"
        return f"runners:\n{numbers}{other}pipelines:{STEADY}{kept}"


def messages(directory: Path, name: str) -> list[str]:
    path = directory / f"{name}.ndjson"
    lines = path.read_text().splitlines() if path.exists() else []
    return [payload["message"] for payload in map(json.loads, lines) if "message" in payload]


def reload_often(run: Running, draw: Callable[[], str], times: int) -> None:
    """Reload what is drawn, some lines after one another; the child lives on."""
    pid = run.pid()
    for _ in range(times):
        run.wait_for_lines("numbers", 30)
        run.reload(draw())
    assert run.pid() == pid


@pytest.mark.parametrize("seed", range(rounds(3, 6)))
def test_random_reloads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str], seed: int) -> None:
    (tmp_path / "an_operator_of_reactivex.py").write_text(AN_OPERATOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    drawn = Drawn(seed)
    with running(tmp_path, drawn.project()) as run:
        reload_often(run, drawn.project, 12)
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


@pytest.mark.parametrize("seed", range(rounds(3, 6)))
def test_random_reloads_of_what_keeps_things(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: list[str], seed: int
) -> None:
    """What it is worth differs with each, but all of it has its account, and what is beside it loses nothing."""
    monkeypatch.chdir(tmp_path)
    drawn = Drawn(seed)
    with running(tmp_path, drawn.keeping()) as run:
        reload_often(run, drawn.keeping, 10)
        report = run.stop()
    assert not [line for line in log if line.startswith(("ERROR", "CRITICAL"))]
    assert report.exit_code == 0, report.errors
    assert report.reloads > 5
    lines = report.runners["numbers"].lines
    found = gzip.decompress((tmp_path / "steady.gz").read_bytes())
    assert found == (tmp_path / "steady.out").read_bytes()
    payloads = [json.loads(line) for line in found.splitlines()]
    assert [payload["message"] for payload in payloads] == [*map(str, range(1, lines)), "last"]
    assert [payload["count"] for payload in payloads] == list(range(1, lines + 1))
    assert not list(tmp_path.glob("*.spill"))
