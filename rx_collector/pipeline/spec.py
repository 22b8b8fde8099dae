"""The declaration of a file: what stands at its top, in a pipeline, in an operator's and in a sink's item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

from rx_collector.backpressure import STRATEGIES
from rx_collector.config.options import (
    INVALID,
    TEXT,
    Choice,
    Kind,
    ListOf,
    MappingOf,
    Nested,
    Scope,
    Spec,
    did_you_mean,
    example_of,
    nearest,
    option,
    schema_of,
)
from rx_collector.config.place import place_of
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.placed import OperatorItem, PlacedOperator, definitions, unknown
from rx_collector.pipeline.cases import TestSpec
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks import SINKS, Sink
from rx_collector.sinks.retry import ON_FAILURE, Retry

__all__ = ["Branch", "BranchOptions", "FileSpec", "PipelineSpec"]


@dataclass(frozen=True)
class Branch:
    """A sink, the boundary before it, and its name in the ledger."""

    sink: Sink
    backpressure: Backpressure
    name: str
    place: str = ""
    retry: Retry | None = None
    on_failure: str = "fail"


@dataclass(frozen=True)
class BranchOptions(Spec):
    """What stands beside every sink: what happens when it is slower than its source, and when it fails.

    `retry` tries again, in order and only what has not arrived. What is not delivered then is dealt with by
    `on_failure`: ``fail`` ends this branch (exit code 1) and no other, ``dead_letter`` sends the events to the pipeline's
    dead letter and ``drop`` to nobody, and both go on with what follows. All of it is counted as failed.
    """

    backpressure: Backpressure | None = option(Nested(Backpressure), "What happens when the sink is slower.", None)
    name: str | None = option(TEXT, "The name in the ledger; that of the sink unless said.", None)
    retry: Retry | None = option(Nested(Retry), "How often a sink that fails is tried again; none: never.", None)
    on_failure: str = option(Choice(*ON_FAILURE), "What becomes of events that the sink did not take.", "fail")


class SinkItem(Kind):
    """``{file: …, backpressure: …}``: one sink by its name, its backpressure, and a name of its own if it likes."""

    wanted = "a sink such as {file: out.ndjson, backpressure: {strategy: block}}"

    def __init__(self, *, strategy_needed: bool = True) -> None:
        self._strategy_needed = strategy_needed

    def example(self) -> str:
        return "{file: out.ndjson, backpressure: {strategy: block}}" if self._strategy_needed else "{file: out.ndjson}"

    def convert(self, value: Any, scope: Scope) -> Any:
        if isinstance(value, Branch):
            return value
        scope = scope.like(SINKS["file"].example if self._strategy_needed else "dead_letter: {file: rejected.ndjson}")
        if isinstance(value, str):
            if value not in SINKS:
                near = did_you_mean(value, SINKS)
                return scope.wrong(f"unknown sink {value!r}{near}; a file is written {{file: {value}}}")
            value = {value: None}
        if value is None and scope.text() == "null":
            return scope.wrong("a sink is wanted here, not nothing; the sink 'null' is written with a colon, null:")
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        extra = BranchOptions.options()
        names = [key for key in value if key not in extra]
        wrong = False
        for key in names:
            if key not in SINKS:
                meant, example = nearest(key, {*SINKS, *extra}), ""
                if meant in extra:
                    example = example_of(meant, extra[meant])
                elif meant is not None and self._strategy_needed:
                    example = SINKS[meant].example
                hint = did_you_mean(key, SINKS if meant is None else [meant])
                unknown("sink", key, hint, scope, example)
                wrong = True
            elif isinstance(value[key], Mapping) and "backpressure" in value[key]:
                scope.child(key).child("backpressure").wrong(
                    f"'backpressure' stands beside {key!r}, one level up, not among its options", on_key=True
                )
                return INVALID
        known = [key for key in names if key in SINKS]
        if not wrong and len(known) != 1:
            what = "no sink is named" if not known else f"{len(known)} sinks are named ({', '.join(known)})"
            scope.wrong(f"{what}; one is wanted in each item, one of {', '.join(SINKS)}")
            wrong = True
        unsaid = value.get("backpressure") is None and not scope.child("backpressure").broken
        if self._strategy_needed and unsaid and not wrong:
            choices = ", ".join(STRATEGIES)
            at = known[0] if known else "sink"
            scope.wrong(
                f"{at} does not say what happens when it is slower than its source: "
                f"add 'backpressure: {{strategy: …}}' with one of {choices}",
                on_key=True,
                example=SINKS[known[0]].example if known else "",
            )
            wrong = True
        options: Any = BranchOptions.from_value({key: item for key, item in value.items() if key in extra}, scope)
        made: Any = INVALID
        for key in known:
            made = SINKS[key].from_value(value[key], scope.child(key, SINKS[key].example))
        if wrong or INVALID in (options, made):
            return INVALID
        if options.on_failure == "dead_letter" and not self._strategy_needed:
            return scope.child("on_failure").wrong("the dead letter has no dead letter of its own; say fail or drop")
        backpressure = options.backpressure or Backpressure("block")  # type: ignore[arg-type]
        place = place_of(scope.child(known[0]))
        return Branch(made, backpressure, options.name or made.name, place, options.retry, options.on_failure)

    def schema(self) -> dict[str, Any]:
        forms = []
        for name in SINKS:
            beside = {key: schema_of(field) for key, field in BranchOptions.options().items()}
            properties = {name: SINKS[name].schema(), **beside}
            forms.append(
                {
                    "type": "object",
                    "description": SINKS[name].summary,
                    "properties": properties,
                    "required": [name, "backpressure"] if self._strategy_needed else [name],
                    "additionalProperties": False,
                }
            )
        return {"anyOf": forms}


@dataclass(frozen=True)
class PipelineSpec(Spec):
    """One pipeline: where its events come from, what is done with them, where they go."""

    name: ClassVar[str] = "pipeline"
    example: ClassVar[str] = (
        "pipelines:\n  all:\n    from: [load]\n    sinks:\n      - console: {}\n        backpressure: {strategy: block}"
    )

    sources: tuple[str, ...] = option(
        ListOf(TEXT, single=True, least=1), "The runners and pipelines it reads, merged.", example="[exec]", key="from"
    )
    operators: tuple[PlacedOperator, ...] = option(
        ListOf(OperatorItem()), "What is done with each event, in order.", ()
    )
    sinks: tuple[Branch, ...] = option(ListOf(SinkItem()), "Where its events go; each gets all of them.", ())
    dead_letter: Branch | None = option(
        SinkItem(strategy_needed=False), "Where the records of rejected events go.", None
    )

    @cached_property
    def branches(self) -> tuple[str, ...]:
        """The names of the branches that its operators send events to; other pipelines read them as NAME.BRANCH."""
        return tuple(way for placed in self.operators for way in placed.operator.ways)

    @cached_property
    def reads(self) -> frozenset[str]:
        """The names of all that it reads: where its events come from, and what its operators read beside them."""
        return frozenset({*self.sources, *(name for placed in self.operators for name in placed.operator.reads)})

    def check(self, scope: Scope) -> None:
        seen: set[str] = set()
        for index, placed in enumerate(self.operators):
            for way in placed.operator.ways:
                if way in seen:
                    at = scope.child("operators").child(index).child("route").child(way)
                    at.wrong(f"there is a branch {way!r} already", on_key=True)
                seen.add(way)
        for index, branch in enumerate(self.sinks):
            if branch.on_failure == "dead_letter" and self.dead_letter is None:
                scope.child("sinks").child(index).child("on_failure").wrong(
                    "the pipeline has no 'dead_letter' to send to", example="dead_letter: {file: rejected.ndjson}"
                )


@dataclass(frozen=True, kw_only=True)
class FileSpec(Spec):
    """A whole file."""

    name: ClassVar[str] = ""
    example: ClassVar[str] = (
        "runners:\n  load: {command: [vmstat, 1]}\npipelines:\n  all:\n    from: [load]\n"
        "    sinks:\n      - console: {}\n        backpressure: {strategy: block}"
    )

    title: str | None = option(
        TEXT, "The name of what this file does; that of the file unless said.", None, example="audit", key="name"
    )
    description: str | None = option(
        TEXT, "What it does, for people.", None, example="'Programs started on this host.'"
    )
    secrets: tuple[str, ...] = option(
        ListOf(TEXT), "Variables whose values are never shown.", (), example="[DATABASE_URL, PIN]"
    )
    runners: Mapping[str, RunnerSpec] = option(
        MappingOf(Nested(RunnerSpec), least=1), "The programs to start, by name."
    )
    pipelines: Mapping[str, PipelineSpec] = option(
        MappingOf(Nested(PipelineSpec), least=1), "What becomes of what they print, by name."
    )
    tests: tuple[TestSpec, ...] = option(ListOf(Nested(TestSpec)), "Tests of the pipelines, for `test`.", ())

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Give the JSON Schema of a file, with what it refers to."""
        return {**super().schema(), "$defs": definitions()}
