"""The declaration of a test in a file: what its runners print, and what its pipelines are expected to make of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rx_collector.config.options import (
    COUNT,
    DURATION,
    INVALID,
    TEXT,
    Kind,
    ListOf,
    MappingOf,
    Scope,
    Spec,
    did_you_mean,
    option,
    plainly,
)
from rx_collector.runners.kinds import ExitCodeKind, SignalKind

if TYPE_CHECKING:
    from rx_collector.config.document import Document, Path
    from rx_collector.errors import Mistake

__all__ = ["COUNTS", "Count", "Expectation", "Expected", "Given", "TestSpec", "check_names"]

#: What `ledger` can name: of the pipelines, then of the runners.
COUNTS: Final = {
    "in": "events that came in",
    "filtered": "events that were filtered out",
    "rejected": "events that could not be taken",
    "dropped": "events that were dropped",
    "merged": "events that became part of another",
    "made": "events that were made of others",
    "delivered": "events that reached the sinks; each once, however many sinks there are",
    "dead_letters": "records that reached the dead letter",
    "lines": "lines that were read",
    "skipped": "lines that were left out as headers",
    "starts": "starts of children",
    "lost": "events that a tool reported as lost",
}
_OF_RUNNERS: Final = ("lines", "skipped", "starts", "lost")
_SORTS: Final = ("line", "event", "exit")
_BESIDE: Final = ("dead_letter", "ledger", "errors")


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Expected:
    """One event that is expected, by its payload: the fields named, others are free."""

    payload: Any
    place: str = ""


@dataclass(frozen=True)
class Expectation:
    """All events that are expected in one place, in order unless `any_order`."""

    events: tuple[Expected, ...]
    any_order: bool = False
    place: str = ""


@dataclass(frozen=True)
class Count:
    """A count that the ledger is expected to show, of one pipeline or runner or (`of` is empty) of all together."""

    of: str
    what: str
    count: int
    place: str = ""


@dataclass(frozen=True)
class Expect:
    """What is expected: events by pipeline, dead letters by pipeline (all together under an empty name), counts, errors."""

    events: Mapping[str, Expectation]
    dead_letters: Mapping[str, Expectation]
    ledger: tuple[Count, ...] = ()
    errors: tuple[Expected, ...] | None = None


def _place(scope: Scope) -> str:
    """Give where a value stands, as file:line; nothing for values from Python."""
    if scope.document is None:
        return ""
    place = scope.document.places.get(scope.path)
    return f"{scope.document.file}:{place.key_line}" if place is not None else scope.document.file


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
            return Given("line", text.removesuffix("\n"), place=_place(scope))
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
        return Given(sort, content, made.get("after", 0.0), made.get("times", 1), _place(scope))

    def _payload(self, value: Mapping[str, Any], scope: Scope) -> Any:
        for key in self._beside:
            if key in value:
                near = next((f", did you mean {sort!r}" for sort in _SORTS for name in value if _near(name, sort)), "")
                return scope.child(key).wrong(
                    f"{key!r} stands beside one of {', '.join(_SORTS)}{near}; "
                    f"a payload with a field {key!r} is written {{event: {{{key}: …}}}}",
                    on_key=True,
                )
        return Given("event", dict(value), place=_place(scope))

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
            place = _place(scope)
            return tuple(Given("line", line, place=place) for line in value.removesuffix("\n").split("\n"))
        return ListOf(GivenKind()).convert(value, scope)

    def schema(self) -> dict[str, Any]:
        return {"anyOf": [ListOf(GivenKind()).schema(), {"type": "string"}]}


class ExpectationKind(Kind):
    """The events expected in one place: a list, or ``{any_order: true, events: […]}``."""

    wanted = "a list of events, or {any_order: true, events: […]}"
    _keys = ("events", "any_order")

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Expectation):
            return value
        place = _place(scope)
        if isinstance(value, list | tuple):
            return Expectation(tuple(_expected(value, scope)), place=place)
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        wrong = False
        for key in value:
            if key not in self._keys:
                hint = did_you_mean(key, self._keys)
                scope.child(key).wrong(f"unknown key {key!r}{hint}; a single event is a list of one", on_key=True)
                wrong = True
        any_order = value.get("any_order", False)
        if not isinstance(any_order, bool):
            scope.child("any_order").wrong(f"true or false is wanted here, not {plainly(any_order)}")
            wrong = True
        if wrong:
            return INVALID
        if "events" not in value:
            return scope.wrong("'events' is missing: the list of what is expected", on_key=True)
        events = value["events"]
        if not isinstance(events, list | tuple):
            return scope.child("events").wrong(f"a list of events is wanted here, not {plainly(events)}")
        return Expectation(tuple(_expected(events, scope.child("events"))), any_order, place)

    def schema(self) -> dict[str, Any]:
        long = {
            "type": "object",
            "properties": {"events": {"type": "array"}, "any_order": {"type": "boolean"}},
            "required": ["events"],
            "additionalProperties": False,
        }
        return {"anyOf": [{"type": "array"}, long]}


def _expected(values: list[Any] | tuple[Any, ...], scope: Scope) -> Iterator[Expected]:
    for index, value in enumerate(values):
        yield value if isinstance(value, Expected) else Expected(value, _place(scope.child(index)))


class ExpectKind(Kind):
    """All that is expected: events by pipeline, and beside them `dead_letter`, `ledger` and `errors`."""

    wanted = "a mapping of pipelines to the events that are expected"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Expect):
            return value
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        if not value:
            return scope.wrong("the mapping is empty; say what is expected of at least one pipeline")
        events = {
            key: ExpectationKind().convert(item, scope.child(key)) for key, item in value.items() if key not in _BESIDE
        }
        letters: Any = {}
        if "dead_letter" in value:
            letters = self._letters(value["dead_letter"], scope.child("dead_letter"))
        ledger: Any = ()
        if "ledger" in value:
            ledger = self._ledger(value["ledger"], scope.child("ledger"))
        errors: Any = None
        if "errors" in value:
            at = scope.child("errors")
            texts = ListOf(TEXT, single=True).convert(value["errors"], at)
            errors = texts if texts is INVALID else tuple(_expected(texts, at))
        if INVALID in (
            letters,
            ledger,
            errors,
            *events.values(),
            *(letters.values() if letters is not INVALID else ()),
        ):
            return INVALID
        return Expect(events, letters, ledger, errors)

    def _letters(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, list | tuple) or (isinstance(value, Mapping) and "events" in value):
            return {"": ExpectationKind().convert(value, scope)}
        return MappingOf(ExpectationKind()).convert(value, scope)

    def _ledger(self, value: Any, scope: Scope, of: str = "") -> Any:
        if not isinstance(value, Mapping):
            return scope.wrong(f"a mapping such as {{filtered: 1, delivered: 2}} is wanted here, not {plainly(value)}")
        counts: list[Count] = []
        wrong = False
        for key, item in value.items():
            at = scope.child(key)
            if isinstance(item, Mapping) and not of:
                made = self._ledger(item, at, key)
                wrong = wrong or made is INVALID
                counts += made if made is not INVALID else ()
            elif key not in COUNTS:
                at.wrong(f"unknown count {key!r}{did_you_mean(key, COUNTS)}", on_key=True)
                wrong = True
            else:
                count = COUNT.convert(item, at)
                wrong = wrong or count is INVALID
                counts.append(Count(of, key, count, _place(at)))
        return INVALID if wrong else tuple(counts)

    def schema(self) -> dict[str, Any]:
        events = ExpectationKind().schema()
        counts = {
            key: {"type": ["integer", "string"], "minimum": 0, "description": f"Count of {text}."}
            for key, text in COUNTS.items()
        }
        of_one = {"type": "object", "properties": counts, "additionalProperties": False}
        return {
            "type": "object",
            "properties": {
                "dead_letter": {"anyOf": [events, {"type": "object", "additionalProperties": events}]},
                "ledger": {"type": "object", "properties": counts, "additionalProperties": of_one},
                "errors": ListOf(TEXT, single=True).schema(),
            },
            "additionalProperties": events,
            "minProperties": 1,
        }


@dataclass(frozen=True)
class TestSpec(Spec):
    """One test: what the runners print, and what is expected of the pipelines. No runner is started for it.

    A runner that is not named in `given` prints nothing. A pipeline that is not named in `expect` may give anything.
    """

    __test__: ClassVar[bool] = False
    name: str = option(TEXT, "What the test shows, in words.", example="'system users are left out'")
    given: Mapping[str, tuple[Given, ...]] = option(
        MappingOf(ScriptKind()), "What each runner prints, by its name.", example="{exec: ['{\"pid\": 7}']}"
    )
    expect: Expect = option(ExpectKind(), "What is expected of each pipeline.", example="{audit: [{pid: 7}]}")

    place: str = ""

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Any:
        made = super().from_value(value, scope)
        return made if made is INVALID else replace(made, place=_place(scope))


def check_names(document: Document) -> list[Mistake]:
    """Check that the runners and pipelines that tests name are there, and that no two tests have one name.

    It looks at the plain values, so that these mistakes are found beside those that keep a part from being converted.
    """
    tests = document.value.get("tests")
    runners, pipelines = (_mapping(document.value.get(key)) for key in ("runners", "pipelines"))
    mistakes: list[Mistake] = []

    def check(path: Path, sort: str, known: Mapping[str, Any], *more: str) -> None:
        if path[-1] not in known and path[-1] not in more:
            hint = did_you_mean(str(path[-1]), [*known, *more])
            mistakes.append(document.mistake(path, f"no {sort} {path[-1]!r}{hint}", on_key=True))

    names: dict[str, int] = {}
    for index, test in enumerate(tests if isinstance(tests, list) else ()):
        test, path = _mapping(test), ("tests", index)
        name = test.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            first = document.places[("tests", names[name])].line
            mistakes.append(document.mistake((*path, "name"), f"the test in line {first} has this name, too"))
        for key in _mapping(test.get("given")):
            check((*path, "given", key), "runner", runners)
        expect = _mapping(test.get("expect"))
        for key in expect:
            if key not in _BESIDE:
                check((*path, "expect", key), "pipeline", pipelines, *_BESIDE)
        for key, counts in _mapping(expect.get("ledger")).items():
            if isinstance(counts, Mapping):
                check((*path, "expect", "ledger", key), "pipeline or runner", {**runners, **pipelines})
                for count in counts:
                    if key in (runners if count not in _OF_RUNNERS else pipelines) and count in COUNTS:
                        whose = "a pipeline" if key in runners else "a runner"
                        at = (*path, "expect", "ledger", key, count)
                        mistakes.append(document.mistake(at, f"{count!r} is a count of {whose}", on_key=True))
        mistakes += _check_letters(document, (*path, "expect", "dead_letter"), expect.get("dead_letter"), pipelines)
    return mistakes


def _check_letters(document: Document, path: Path, letters: Any, pipelines: Mapping[str, Any]) -> Iterator[Mistake]:
    with_letters = [name for name, pipeline in pipelines.items() if _mapping(pipeline).get("dead_letter") is not None]
    if isinstance(letters, list) or (isinstance(letters, Mapping) and "events" in letters):
        if not with_letters:
            yield document.mistake(path, "no pipeline has a 'dead_letter'", on_key=True)
        return
    for name in _mapping(letters):
        if name not in pipelines:
            hint = did_you_mean(name, pipelines)
            yield document.mistake((*path, name), f"no pipeline {name!r}{hint}", on_key=True)
        elif name not in with_letters:
            yield document.mistake((*path, name), f"the pipeline {name!r} has no 'dead_letter'", on_key=True)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
