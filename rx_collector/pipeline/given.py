"""What a test gives: the lines, payloads and exits of a runner."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rx_collector.config.options import COUNT, DURATION, INVALID, TEXT, Kind, ListOf, Scope, did_you_mean
from rx_collector.config.place import place_of
from rx_collector.frozen import frozen
from rx_collector.runners.kinds import ExitCodeKind, SignalKind

__all__ = ["Given", "GivenKind", "ScriptKind"]

_SORTS: Final = ("line", "event", "exit")
_EXAMPLE: Final = "given:\n  exec:\n    - {after: 5s, line: '{\"pid\": 7}'}\n    - {event: {pid: 8}}\n    - {exit: 0}"


@frozen
class Given:
    """One thing a runner does: it prints a line, gives an event with this payload, or ends.

    `sort` is ``line``, ``event`` or ``exit``; `value` the text, the payload, or the exit code or signal. It comes `after`
    seconds of stream time, and that `times` over.
    """

    sort: str
    value: Any
    after: float = 0.0
    times: int = 1
    place: str = ""


class _ExitKind(Kind):
    wanted = "an exit code such as 0, or a signal such as SIGKILL"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, signal.Signals):
            return value
        return (SignalKind() if isinstance(value, str) else ExitCodeKind()).convert(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ExitCodeKind().schema(), {"type": "string"}]}


class GivenKind(Kind):
    """One item of what a runner is given."""

    wanted = "a text, {line: …}, {event: …}, {exit: 0} or a payload"
    _beside: ClassVar[dict[str, Kind]] = {"after": DURATION, "times": COUNT}
    _values: ClassVar[dict[str, Kind]] = {"line": TEXT, "event": Kind(), "exit": _ExitKind()}

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Given):
            return value
        if not isinstance(value, Mapping):
            if value is None or isinstance(value, list | tuple):
                return self._wanted(value, scope)
            text = TEXT.convert(value, scope)
            return Given("line", text.removesuffix("\n"), place=place_of(scope))
        sorts = [key for key in value if key in _SORTS]
        if not sorts:
            return self._payload(value, scope)
        if len(sorts) > 1:
            return scope.wrong(f"one of {', '.join(_SORTS)} is wanted in each item, not {' and '.join(sorts)}")
        (sort,) = sorts
        wrong = False
        made: dict[str, Any] = {}
        for key, item in value.items():
            kind = self._values[sort] if key == sort else self._beside.get(key)
            if kind is None:
                known = did_you_mean(key, [sort, *self._beside])
                hint = f"{known}; a payload with a field {sort!r} is written {{event: {{{sort}: …}}}}"
                scope.child(key).wrong(f"unknown key {key!r} beside {sort!r}{hint}", on_key=True)
                wrong = True
                continue
            made[key] = kind.convert(item, scope.child(key))
            wrong = wrong or made[key] is INVALID
        if made.get("times") == 0:
            scope.child("times").wrong("an item is given at least once")
            wrong = True
        if wrong:
            return INVALID
        content = made[sort].removesuffix("\n") if sort == "line" else made[sort]
        return Given(sort, content, made.get("after", 0.0), made.get("times", 1), place_of(scope))

    def _payload(self, value: Mapping[str, Any], scope: Scope) -> Any:
        for key in self._beside:
            if key in value:
                near = next((f", did you mean {sort!r}" for sort in _SORTS for name in value if _near(name, sort)), "")
                return scope.child(key).wrong(
                    f"{key!r} stands beside one of {', '.join(_SORTS)}{near}; "
                    f"a payload with a field {key!r} is written {{event: {{{key}: …}}}}",
                    on_key=True,
                )
        return Given("event", dict(value), place=place_of(scope))

    def schema(self) -> dict[str, Any]:
        beside = {key: kind.schema() for key, kind in self._beside.items()}
        items = [
            {
                "type": "object",
                "properties": {sort: self._values[sort].schema(), **beside},
                "required": [sort],
                "additionalProperties": False,
            }
            for sort in _SORTS
        ]
        payload = {"type": "object", "properties": dict.fromkeys([*_SORTS, *self._beside], False)}
        return {"anyOf": [TEXT.schema(), *items, payload]}


def _near(name: str, sort: str) -> bool:
    return "did you mean" in did_you_mean(name, [sort])


class ScriptKind(Kind):
    """What one runner is given: a list of items, or a text with its lines."""

    wanted = "a list of lines, payloads and exits, or a text with the lines"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, str):
            place = place_of(scope)
            return tuple(Given("line", line, place=place) for line in value.removesuffix("\n").split("\n"))
        return ListOf(GivenKind()).convert(value, scope.like(_EXAMPLE))

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ListOf(GivenKind()).schema(), {"type": "string"}]}
