"""The rules of Reactive Streams on every operator and every strategy there is, as the registries find them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex
import reactivex.operators as ops

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.backpressure import STRATEGIES
from rx_collector.config.document import parse_document
from rx_collector.config.options import INVALID, Scope
from rx_collector.operators import OPERATORS
from rx_collector.testing.rules import RULES

CAPTURES = Path(__file__).parent.parent / "captures"
PAYLOADS = [
    {"message": '{"pid": 7}', "pid": 7, "uid": 0, "ppid": 1, "comm": "sh", "filename": "/bin/ls", "items": [1, 2]},
    {"message": "text", "pid": 8, "uid": 1000, "ppid": 1, "comm": "ls", "filename": "/usr/bin/dpkg", "items": []},
    {"message": '{"pid": 9}', "pid": 9, "uid": 1000, "ppid": 7, "comm": "ls", "filename": "/bin/cat", "items": [3]},
]


def of_example(name: str) -> Any:
    """Make an operator as its own example in `describe` says."""
    value = parse_document(OPERATORS[name].example).value[name]
    scope = Scope(directory=str(CAPTURES))  # where the table of enrich is
    made = OPERATORS[name].from_value(value, scope)
    assert made is not INVALID, scope.mistakes
    return made


def busy(stream: Any) -> Any:
    return stream.pipe(ops.filter(lambda event: event["pid"] > 7), op.set(busy=True))


SUBJECTS: dict[str, Callable[[], Any]] = {
    name: lambda name=name: of_example(name)
    for name in OPERATORS
    if name not in ("backpressure", "join", "merge", "python", "to")
}
SUBJECTS["python"] = lambda: OPERATORS["python"](busy)
SUBJECTS["join"] = lambda: op.join(reactivex.of({"pid": 8, "program": "ls"}), "pid")
SUBJECTS["merge"] = lambda: op.merge(reactivex.of({"pid": 8, "program": "ls"}))
SUBJECTS["to"] = lambda: op.to(sinks.null())
SUBJECTS["reactivex map"] = lambda: lambda stream: op.filter("True")(stream.pipe(ops.map(lambda event: event)))


def with_strategy(name: str) -> Any:
    """Make a boundary as the strategy's own example says, with room for fifty; what it keeps has a place of its own."""
    value = parse_document(STRATEGIES[name].example).value["backpressure"]
    options = value if isinstance(value, dict) else {"strategy": value}
    if "path" in options:
        options["path"] = os.path.join(tempfile.mkdtemp(dir=PLACE.name), "spill")
    return op.backpressure(**{**options, "capacity": 50})


PLACE = tempfile.TemporaryDirectory()
for strategy in STRATEGIES:
    SUBJECTS[f"backpressure {strategy}"] = lambda strategy=strategy: with_strategy(strategy)


def _test_of(rule: Any) -> Any:
    @pytest.mark.parametrize("subject", SUBJECTS)
    def test(subject: str) -> None:
        rule(SUBJECTS[subject], PAYLOADS)

    test.__doc__ = rule.__doc__
    return test


for _rule in RULES:
    globals()[f"test_{_rule.__name__}"] = _test_of(_rule)


def test_every_operator_is_a_subject() -> None:
    assert set(OPERATORS) - {"backpressure"} <= set(SUBJECTS)
    assert len(RULES) >= 20
    assert rx.operators.OPERATORS is OPERATORS
