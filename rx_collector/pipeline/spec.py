"""The declaration of a file: what stands at its top, in a pipeline, in an operator's and in a sink's item."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rx_collector.backpressure import STRATEGIES
from rx_collector.config.options import (
    COUNT,
    INVALID,
    TEXT,
    Choice,
    Deferred,
    Kind,
    ListOf,
    MappingOf,
    Nested,
    Scope,
    Spec,
    described,
    did_you_mean,
    example_of,
    nearest,
    option,
    plainly,
    schema_of,
)
from rx_collector.config.place import place_of
from rx_collector.config.schemas import in_part, with_references
from rx_collector.frozen import frozen
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.placed import OperatorItem, PlacedOperator, definitions, steps_of, unknown
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks import SINKS, Sink
from rx_collector.sinks.retry import ON_FAILURE, Retry
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.pipeline.cases import TestSpec

__all__ = ["Branch", "BranchOptions", "FileSpec", "PipelineSpec", "TemplateSpec"]

_MOST_WORKERS: Final = 64


@frozen
class Branch:
    """A sink, the boundary before it, and its name in the ledger."""

    sink: Sink
    backpressure: Backpressure
    name: str
    place: str = ""
    retry: Retry | None = None
    on_failure: str = "fail"


@described
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
        return {"$ref": "#/$defs/sink" if self._strategy_needed else "#/$defs/dead_letter"}

    def definition(self) -> dict[str, Any]:
        """Give the JSON Schema that `schema` refers to."""
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


@described
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
    workers: int = option(
        COUNT,
        "How many processes share the first operators, as far as these keep nothing, or keep it by a key; 1: none but this.",
        1,
        example="4",
    )
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
        self._check_workers(scope)
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

    def _check_workers(self, scope: Scope) -> None:
        at = scope.child("workers")
        if not 1 <= self.workers <= _MOST_WORKERS:
            at.wrong(f"there can be 1 to {_MOST_WORKERS} workers, not {self.workers:,}", example="workers: 4")
        elif self.workers > 1 and (why := _cannot_share(self.operators)):
            at.wrong(f"{self.workers} workers have nothing to do: {why}", example="workers: 1")


def _cannot_share(operators: Sequence[PlacedOperator]) -> str:
    """Say why several processes cannot share the first operator; empty where they can."""
    if not operators:
        return "there is no operator that they could share"
    from rx_collector.stream.chain import shared_by

    if shared_by(steps_of(operators), 2) is not None or not is_on("workers"):
        return ""
    first = operators[0].operator.name
    return f"they share the first operators, as far as these keep nothing or keep it by a key of the line; {first} does not"


class _Parameters(MappingOf):
    """The parameters of a template: names that ``${name}`` can stand for, with their defaults."""

    wanted = "a mapping of names to defaults (nothing: no default)"

    def __init__(self) -> None:
        super().__init__(Kind())
        self.wanted = type(self).wanted

    def convert(self, value: Any, scope: Scope) -> Any:
        made = super().convert(value, scope)
        for name in made if made is not INVALID else ():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                message = f"{name!r} cannot be referred to; a parameter's name has letters, digits and '_'"
                scope.child(name).wrong(message, on_key=True)
                made = INVALID
        return made

    def schema(self) -> dict[str, Any]:
        return {"type": "object", "propertyNames": {"pattern": r"^[A-Za-z_]\w*$"}}


class _Body(ListOf):
    """The operators of a template, in which parameters can stand for values."""

    def __init__(self) -> None:
        super().__init__(OperatorItem(), least=1)

    def schema(self) -> dict[str, Any]:
        return with_references(super().schema())


@described(kw_only=True)
class TemplateSpec(Spec):
    """A list of operators that pipelines take in by its name, with values for its parameters.

    ``use: no_system`` stands among the operators of a pipeline, or of another template; with values it is written
    ``use: {no_system: {below: 500}}``.

    In its operators ``${name}`` means the parameter of that name, and a variable only where there is none. A scalar that is
    nothing else takes the value as it is, be it a list; within a text the value is text; in an expression it is a constant.
    """

    name: ClassVar[str] = "template"
    example: ClassVar[str] = (
        "templates:\n  no_system:\n    parameters: {below: 1000}\n    operators:\n      - filter: uid >= ${below}"
    )

    description: str | None = option(TEXT, "What it does, for people.", None, example="'Leaves out system users.'")
    parameters: Mapping[str, Any] | None = option(
        _Parameters(), "What stands for '${name}' in its operators unless said; nothing: it has to be said.", None
    )
    operators: tuple[PlacedOperator, ...] = option(
        _Body(), "What is done with each event, in order.", example="[filter: uid > 0]"
    )


class _Checked(dict[str, Any]):
    """Templates that were looked at."""


class _Templates(MappingOf):
    """Templates are checked here as they are by themselves; a parameter without a default is known where they are used."""

    def __init__(self) -> None:
        super().__init__(Nested(TemplateSpec))

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, _Checked) and isinstance(value, Mapping):
            super().convert(value, scope)
            return _Checked(value)  # what is wrong is reported, and what is not known is not wrong
        return value if isinstance(value, _Checked) else super().convert(value, scope)


class _Profiles(Kind):
    """Parts of a file that are laid over it when their profile is chosen."""

    wanted = "a mapping (each value parts of the file)"

    def convert(self, value: Any, scope: Scope) -> Any:
        if not isinstance(value, Mapping):
            return self._wanted(value, scope)
        known = FileSpec.in_profiles()
        wrong = False
        for profile, parts in value.items():
            at = scope.child(profile)
            if parts is not None and not isinstance(parts, Mapping):
                at.wrong(f"a mapping is wanted here (keys: {', '.join(known)}), not {plainly(parts)}")
                wrong = True
            for key in parts if isinstance(parts, Mapping) else ():
                if key not in known:
                    hint = "; a profile cannot change that" if key in FileSpec.options() else did_you_mean(key, known)
                    at.child(key).wrong(f"unknown key {key!r}{hint}", on_key=True)
                    wrong = True
        return INVALID if wrong else value

    def schema(self) -> dict[str, Any]:
        options = FileSpec.options()
        properties = {
            key: {"anyOf": [in_part(schema_of(options[key])), {"type": "null"}]} for key in FileSpec.in_profiles()
        }
        parts = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
        return {"type": "object", "additionalProperties": parts}


@described(kw_only=True)
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
    include: tuple[str, ...] = option(
        ListOf(TEXT, single=True),
        "Files whose runners, pipelines and templates are taken in; relative to this one.",
        (),
        example="[common.yaml]",
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
    templates: Mapping[str, Any] | None = option(
        _Templates(),
        "Lists of operators that pipelines use, by name.",
        None,
        example="{no_system: {operators: [filter: uid >= 1000]}}",
    )
    profiles: Mapping[str, Any] | None = option(
        _Profiles(),
        "Parts that are laid over this file when their name is said by --profile.",
        None,
        example="{dev: {runners: {load: {command: [cat, load.txt]}}}}",
    )
    tests: tuple[TestSpec, ...] = option(
        ListOf(Deferred("rx_collector.pipeline.cases", "A_TEST")), "Tests of the pipelines, for `test`.", ()
    )

    @staticmethod
    def in_profiles() -> tuple[str, ...]:
        """Give the keys that a profile can change."""
        return "name", "description", "runners", "pipelines", "tests"

    @classmethod
    def hint(cls, name: str) -> str:
        return " (only a file that others include can do without)"

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Give the JSON Schema of a file, with what it refers to."""
        # What is missing may be in a file that is included, or in the one that includes this one.
        whole = super().schema()
        del whole["required"]
        some = [{"required": [key]} for key in ("runners", "pipelines", "templates", "include")]
        letter = SinkItem(strategy_needed=False).definition()
        sinks = {"sink": SinkItem().definition(), "dead_letter": letter, "dead_letter_in_part": in_part(letter)}
        return {**whole, "anyOf": some, "$defs": {**definitions(), **sinks}}
