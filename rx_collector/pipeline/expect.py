"""What a test expects: the events and dead letters of pipelines, counts of the ledger, errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.config.options import COUNT, INVALID, TEXT, Kind, ListOf, MappingOf, Scope, did_you_mean, plainly
from rx_collector.config.place import place_of

__all__ = [
    "BESIDE",
    "COUNTS",
    "OF_RUNNERS",
    "Count",
    "Expect",
    "ExpectKind",
    "Expectation",
    "Expected",
    "is_of_a_pipeline",
]

#: What `ledger` can name: of the pipelines, then of the runners.
COUNTS: Final = {
    "in": "events that came in",
    "filtered": "events that were filtered out",
    "rejected": "events that could not be taken",
    "dropped": "events that were dropped",
    "merged": "events that became part of another",
    "made": "events that were made of others",
    "evicted": "keys, groups and windows that gave way to others, as their operator's size was reached",
    "delivered": "events that reached the sinks; each once, however many sinks there are",
    "dead_letters": "records that reached the dead letter",
    "lines": "lines that were read",
    "skipped": "lines that were left out as headers",
    "starts": "starts of children",
    "lost": "events that a tool reported as lost",
}
OF_RUNNERS: Final = ("lines", "skipped", "starts", "lost")
#: What can stand beside the names of pipelines.
BESIDE: Final = ("dead_letter", "ledger", "errors")


def is_of_a_pipeline(key: str, value: Any) -> bool:
    """Tell whether what is expected under a key is what a pipeline gives; one may be named ``errors``, whose events are
    no texts.
    """
    if key == "errors":
        items = value if isinstance(value, list | tuple) else [value]
        return any(isinstance(item, Mapping) for item in items)
    return key not in BESIDE


@dataclass(frozen=True)
class Expected:
    """One event that is expected, by its payload: the fields named, others are free.

    `at` is when, in seconds of stream time; None for any time.
    """

    payload: Any
    place: str = ""
    at: float | None = None


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


class ExpectationKind(Kind):
    """The events expected in one place: a list, or ``{any_order: true, events: […]}``."""

    wanted = "a list of events, or {any_order: true, events: […]}"
    _keys = ("events", "any_order")

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Expectation):
            return value
        place = place_of(scope)
        if isinstance(value, list | tuple):
            return Expectation(tuple(_expected(value, scope)), place=place)
        if isinstance(value, str):
            return scope.wrong(f"{self.wanted} is wanted here; a text is one of marbles, which 'marbles' has to name")
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        wrong = False
        scope = scope.like("expect:\n  audit: [{pid: 7}]\n  other: {any_order: true, events: [{pid: 7}, {pid: 8}]}")
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
        return {"anyOf": [{"type": "array"}, long, {"type": "string", "description": "Marbles."}]}


def _expected(values: list[Any] | tuple[Any, ...], scope: Scope) -> Iterator[Expected]:
    for index, value in enumerate(values):
        yield value if isinstance(value, Expected) else Expected(value, place_of(scope.child(index)))


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
            key: ExpectationKind().convert(item, scope.child(key))
            for key, item in value.items()
            if is_of_a_pipeline(key, item)
        }
        letters: Any = {}
        if "dead_letter" in value:
            letters = self._letters(value["dead_letter"], scope.child("dead_letter"))
        ledger: Any = ()
        if "ledger" in value:
            ledger = self._ledger(value["ledger"], scope.child("ledger", "ledger: {delivered: 1, filtered: 1}"))
        errors: Any = None
        if "errors" in value and "errors" not in events:
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
                counts.append(Count(of, key, count, place_of(at)))
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
                "errors": {"anyOf": [ListOf(TEXT, single=True).schema(), events]},
            },
            "additionalProperties": events,
            "minProperties": 1,
        }
