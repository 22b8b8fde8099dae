"""The declaration of a test in a file: what its runners print, and what its pipelines are expected to make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rx_collector.config.options import (
    INVALID,
    TEXT,
    Kind,
    MappingOf,
    Nested,
    Scope,
    Spec,
    described,
    did_you_mean,
    option,
)
from rx_collector.config.place import place_of
from rx_collector.pipeline.expect import BESIDE, COUNTS, OF_RUNNERS, Expect, ExpectKind, is_of_a_pipeline
from rx_collector.pipeline.given import Given, ScriptKind
from rx_collector.pipeline.marbles import with_marbles

if TYPE_CHECKING:
    from rx_collector.config.document import Document, Path
    from rx_collector.errors import Mistake

__all__ = ["A_TEST", "TestSpec", "check_names"]


@described
class TestSpec(Spec):
    """One test: what the runners print, and what is expected of the pipelines. No runner is started for it.

    A runner that is not named in `given` prints nothing. A pipeline that is not named in `expect` may give anything.
    """

    __test__: ClassVar[bool] = False
    example: ClassVar[str] = (
        "tests:\n  - name: system users are left out\n    given: {exec: ['{\"uid\": 0}', '{\"uid\": 1000}']}\n"
        "    expect: {audit: [{uid: 1000}], ledger: {filtered: 1}}"
    )
    name: str = option(TEXT, "What the test shows, in words.", example="'system users are left out'")
    given: Mapping[str, tuple[Given, ...]] = option(
        MappingOf(ScriptKind()), "What each runner prints, by its name.", example="{exec: ['{\"pid\": 7}']}"
    )
    expect: Expect = option(ExpectKind(), "What is expected of each pipeline.", example="{audit: [{pid: 7}]}")

    marbles: Mapping[str, Any] | None = option(
        MappingOf(Kind()), "What the letters in texts of 'given' and 'expect' stand for: lines, payloads.", None
    )

    place: str = ""

    @classmethod
    def from_value(cls, value: Any, scope: Scope) -> Any:
        found = len(scope.mistakes)
        if isinstance(value, Mapping) and isinstance(value.get("marbles"), Mapping):
            value = with_marbles(value, scope.like(_MARBLES))
        made = super().from_value(value, scope)
        return INVALID if made is INVALID or len(scope.mistakes) > found else replace(made, place=place_of(scope))


#: The kind of option that a test is.
A_TEST: Final = Nested(TestSpec)

# The right form of what mistakes are about.
_MARBLES: Final = "marbles: {a: '{\"uid\": 1000}', b: {uid: 1000}}\ngiven: {exec: --a-|}\nexpect: {audit: --b}"
_LEDGER: Final = "ledger: {audit: {delivered: 1, filtered: 1}, exec: {lines: 2, starts: 1}}"
_LETTERS: Final = (
    "pipelines:\n  audit:\n    from: [exec]\n    sinks:\n      - file: audit.ndjson\n        backpressure: block\n"
    "    dead_letter: {file: rejected.ndjson}"
)


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
            problem = f"no {sort} {path[-1]!r}{hint}"
            mistakes.append(document.mistake(path, problem, on_key=True, example=TestSpec.example))

    names: dict[str, int] = {}
    for index, test in enumerate(tests if isinstance(tests, list) else ()):
        test, path = _mapping(test), ("tests", index)
        name = test.get("name")
        if isinstance(name, str) and names.setdefault(name, index) != index:
            first = document.mistake(("tests", names[name]), "").line
            problem = f"the test in line {first} has this name, too"
            mistakes.append(document.mistake((*path, "name"), problem, example="name: 'what only this one shows'"))
        for key in _mapping(test.get("given")):
            check((*path, "given", key), "runner", runners)
        expect = _mapping(test.get("expect"))
        for key in expect:
            if is_of_a_pipeline(key, expect[key]):
                check((*path, "expect", key), "pipeline", pipelines, *(name for name in BESIDE if name != key))
        for key, counts in _mapping(expect.get("ledger")).items():
            if isinstance(counts, Mapping):
                check((*path, "expect", "ledger", key), "pipeline or runner", {**runners, **pipelines})
                for count in counts:
                    if key in (runners if count not in OF_RUNNERS else pipelines) and count in COUNTS:
                        whose = "a pipeline" if key in runners else "a runner"
                        at = (*path, "expect", "ledger", key, count)
                        problem = f"{count!r} is a count of {whose}"
                        mistakes.append(document.mistake(at, problem, on_key=True, example=_LEDGER))
        mistakes += _check_letters(document, (*path, "expect", "dead_letter"), expect.get("dead_letter"), pipelines)
    return mistakes


def _check_letters(document: Document, path: Path, letters: Any, pipelines: Mapping[str, Any]) -> Iterator[Mistake]:
    with_letters = [name for name, pipeline in pipelines.items() if _mapping(pipeline).get("dead_letter") is not None]
    if isinstance(letters, list) or (isinstance(letters, Mapping) and "events" in letters):
        if not with_letters:
            yield document.mistake(path, "no pipeline has a 'dead_letter'", on_key=True, example=_LETTERS)
        return
    for name in _mapping(letters):
        if name not in pipelines:
            hint = did_you_mean(name, pipelines)
            problem = f"no pipeline {name!r}{hint}"
            yield document.mistake((*path, name), problem, on_key=True, example=TestSpec.example)
        elif name not in with_letters:
            problem = f"the pipeline {name!r} has no 'dead_letter'"
            yield document.mistake((*path, name), problem, on_key=True, example=_LETTERS)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
