"""Marbles: events and the time between them as a text, for tests in which time matters.

``a-b 3s c|`` is a, a second later b, three seconds after that c, and the end at the same moment. A letter is an event that
the test's ``marbles`` name, ``-`` a second, ``250ms`` a duration; ``|`` ends the child with code 0, ``#`` with code 1.
Blanks only part. What stands beside each other without time between happens at the same moment, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from rx_collector.config.options import INVALID, Scope, did_you_mean
from rx_collector.config.place import place_of
from rx_collector.frozen import frozen
from rx_collector.pipeline.expect import BESIDE, Expectation, Expected
from rx_collector.pipeline.given import Given, GivenKind
from rx_collector.units import parse_duration

__all__ = ["with_marbles"]

_TOKEN: Final = re.compile(
    r"(?P<blank>\s+)|(?P<wait>(?:\d[\d_]*(?:\.\d+)?(?:ns|us|µs|ms|s|m|h|d))+)|(?P<mark>.)", re.DOTALL
)
_TICK: Final = 1.0  # seconds of a dash
_ENDS: Final = {"|": 0, "#": 1}


@frozen
class _Mark:
    """A letter or an end, `at` so many seconds from the beginning."""

    sign: str
    at: float


def with_marbles(test: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Give a test, as plain values, with what its marbles stand for in the place of the texts in `given` and `expect`.

    What is wrong with them is reported to `scope`.
    """
    marbles: Mapping[str, Any] = test["marbles"]
    for name in marbles:
        if len(name) != 1 or not name.isalpha():
            scope.child("marbles").child(name).wrong(f"a marble is named by one letter, not {name!r}", on_key=True)
    changed = dict(test)
    given, expect = test.get("given"), test.get("expect")
    if isinstance(given, Mapping):
        at = scope.child("given")
        changed["given"] = {
            name: tuple(_given(text, marbles, at.child(name), scope)) if isinstance(text, str) else text
            for name, text in given.items()
        }
    if isinstance(expect, Mapping):
        at = scope.child("expect")
        changed["expect"] = {
            name: _expected(text, marbles, at.child(name)) if isinstance(text, str) and name not in BESIDE else text
            for name, text in expect.items()
        }
    return changed


def _marks(text: str, marbles: Mapping[str, Any], scope: Scope, ends: Mapping[str, int]) -> Iterator[_Mark]:
    """Read a text. What is wrong in it is reported with its very place."""
    now = 0.0
    for token in _TOKEN.finditer(text):
        sign = token[0]
        if token.lastgroup == "wait":
            now += parse_duration(sign)
        elif sign == "-":
            now += _TICK
        elif token.lastgroup == "mark":
            if sign in marbles or sign in ends:
                yield _Mark(sign, now)
                continue
            before = text[: token.start()].split("\n")
            place = (len(before), len(before[-1]))
            if sign in _ENDS:
                scope.wrong(f"{sign!r} is the end of a child and cannot be expected of a pipeline", inside=place)
            else:
                scope.wrong(f"no marble {sign!r}{did_you_mean(sign, marbles)}", inside=place)


def _given(text: str, marbles: Mapping[str, Any], scope: Scope, test: Scope) -> Iterator[Given]:
    last, place = 0.0, place_of(scope)
    for mark in _marks(text, marbles, scope, _ENDS):
        if mark.sign in _ENDS:
            made: Any = Given("exit", _ENDS[mark.sign])
        else:
            made = GivenKind().convert(marbles[mark.sign], test.child("marbles").child(mark.sign))
            if made is INVALID:
                return
        yield replace(made, after=made.after + mark.at - last, times=1, place=place)
        if made.times > 1:
            yield replace(made, times=made.times - 1, place=place)
        last = mark.at


def _expected(text: str, marbles: Mapping[str, Any], scope: Scope) -> Expectation:
    place = place_of(scope)
    marks = _marks(text, marbles, scope, {})
    return Expectation(tuple(Expected(marbles[mark.sign], place, mark.at) for mark in marks), place=place)
