"""``list``, ``describe`` and ``schema``: what a pipeline can be made of, from the components' own declarations."""

from __future__ import annotations

import inspect
import json
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

import click

from rx_collector.backpressure import STRATEGIES
from rx_collector.config.options import REQUIRED, Spec, did_you_mean
from rx_collector.errors import ConfigError, Mistake
from rx_collector.expressions import GROUPS, METAS, METHODS, Function, Method
from rx_collector.expressions.kinds import in_words
from rx_collector.operators.backpressure import Backpressure
from rx_collector.operators.placed import OperatorItem
from rx_collector.parsers import FORMATS
from rx_collector.pipeline.cases import TestSpec
from rx_collector.pipeline.spec import BranchOptions, FileSpec, PipelineSpec, TemplateSpec
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks import SINKS
from rx_collector.sinks.retry import Retry
from rx_collector.stream.operator import OPERATORS

__all__ = ["describe", "list_", "schema", "schema_text"]


def _components() -> dict[str, dict[str, Any]]:
    return {
        "operators": {name: OPERATORS[name] for name in sorted(OperatorItem.known())},
        "formats": {name: FORMATS[name] for name in FORMATS},
        "strategies": {name: STRATEGIES[name] for name in STRATEGIES},
        "sinks": {name: SINKS[name] for name in SINKS},
    }


@click.command(name="list")
def list_() -> int:
    """Show what a pipeline can be made of."""
    for sort, components in _components().items():
        click.echo(sort)
        for name, component in components.items():
            click.echo(f"    {name:<14}{component.summary}")
    return 0


@click.command()
@click.argument("name")
def describe(name: str) -> int:
    """Explain NAME: an operator, format, strategy or sink, an option with options of its own, a key of a file (include,
    profiles …), or runner, pipeline, template, use, test, sink, retry, file, backpressure, expressions.
    """
    if name == "expressions":
        click.echo("\n".join(_expressions()))
        return 0
    found = [(sort, components[name]) for sort, components in _components().items() if name in components]
    found += [(title, spec) for key, title, spec in _general() if key == ("template" if name == "use" else name)]
    if not found and name in FileSpec.options():
        click.echo("\n".join(_describe_key(name)))
        return 0
    if not found:
        known = {"expressions", "use", *FileSpec.options(), *(key for key, _, _ in _general())}
        known |= {key for components in _components().values() for key in components}
        raise ConfigError([Mistake(f"nothing is named {name!r}{did_you_mean(name, known)}")])
    click.echo("\n\n".join("\n".join(_describe(sort, name, component)) for sort, component in found))
    return 0


def _general() -> Iterator[tuple[str, str, type[Spec]]]:
    """Give what can be described beside the components, and the options that have options of their own."""
    tops: list[tuple[str, type[Spec]]] = [("file", FileSpec), ("runner", RunnerSpec), ("pipeline", PipelineSpec)]
    tops += [
        ("template", TemplateSpec),
        ("test", TestSpec),
        ("sink", BranchOptions),
        ("retry", Retry),
        ("backpressure", Backpressure),
    ]
    for name, spec in tops:
        yield name, "", spec
    seen: set[type[Spec]] = set()
    owners: list[tuple[str, type[Spec]]] = [*tops]
    owners += [(name, component) for components in _components().values() for name, component in components.items()]
    for owner, component in owners:
        for key, field in component.options().items() if issubclass(component, Spec) else ():
            nested = getattr(field.metadata["kind"], "spec", None)
            if nested is not None and nested not in seen and nested not in (RunnerSpec, PipelineSpec, TemplateSpec):
                seen.add(nested)
                yield key, f"option of {owner}:", nested


_TITLES = {"operators": "operator", "formats": "format", "strategies": "strategy", "sinks": "sink"}


def _describe(sort: str, name: str, component: Any) -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    yield f"{_TITLES.get(sort, sort)} {name}".strip()
    for paragraph in (inspect.getdoc(component) or "").replace("``", "").split("\n\n"):
        if paragraph.startswith(">>> "):
            continue  # Python, and its example is below in YAML
        yield ""
        yield textwrap.fill(" ".join(paragraph.split()), width)
    if getattr(component, "guarantee", ""):
        yield ""
        yield textwrap.fill(f"Guarantee: {component.guarantee}", width)
    if issubclass(component, Spec) and component.options():
        short = component.shorthand
        yield ""
        yield f"Options (a value alone is '{short}'):" if short and not component.shorthand_only else "Options:"
        yield from _options(component, width, "    ")
    if getattr(component, "example", ""):
        yield ""
        yield "Example:"
        lines = component.example.splitlines()
        first, rest = ("- ", "  ") if sort in _TITLES else ("", "")
        yield from (f"    {first if index == 0 else rest}{line}" for index, line in enumerate(lines))


def _describe_key(key: str) -> Iterator[str]:
    """Describe a key of a file by what a file says of it, and by what it is made of."""
    field = FileSpec.options()[key]
    yield f"key of a file: {key}"
    yield ""
    yield field.metadata["doc"]
    one = next((name for name, _, _ in _general() if f"{name}s" == key), None)
    if one is not None:
        yield f"'rx-collector describe {one}' tells of one of them."
    example = field.metadata.get("example")
    if example:
        yield ""
        yield "Example:"
        yield f"    {key}: {example}"


def _options(component: type[Spec], width: int, indent: str) -> Iterator[str]:
    for key, field in component.options().items():
        kind = field.metadata["kind"]
        nested = getattr(kind, "spec", None)
        facts = [] if nested is not None else [kind.wanted]
        if field.default is REQUIRED:
            facts.append("needed")
        elif nested is None and field.default not in (None, ()):
            facts.append(f"default {kind.write(field.default)}")
        about = f" ({'; '.join(facts)})" if facts else ""
        text = f"{key}: {field.metadata['doc']}{about}"
        yield textwrap.fill(text, width, initial_indent=indent, subsequent_indent=f"{indent}    ")
        if nested is not None and len(indent) < 8:
            yield from _options(nested, width, f"{indent}    ")


_EXPRESSIONS = """\
An expression is Python's own syntax, restricted. It is checked when the file is loaded: what cannot succeed for any
event, such as "a" + 1 or duration("5 parsecs"), is a mistake with its place in the file. Anything else that fails
rejects that one event.

Values: a bare name is a field of the payload, None where it is missing; a.b and a["b"] are fields of fields, a[0] and
a[1:] items and parts of lists and texts; "this" is the whole payload. ${NAME} is a text. Literals are 1, 0.5, 1e9,
"text", True, False, None, [1, 2], {"key": 1}, and f"{a}: {b:.1f}" puts values into a text.

Operators: + - * / // % ** << >> & | ^ ~; == != < <= > >= and chains such as 0 < a < 10; in, not in, is None; and, or,
not; a if b else c. A comparison of order with None is false.

Of None, as of a missing field, the functions for patterns, times, durations, sizes, paths, URLs, digests and encoded
texts give None or False. A pattern, replacement, network, format or time zone is a text that stands in the expression
and is checked with it, and so is a duration, size or time that is written there. What repeats, joins, fills up or
replaces stops at 64 Mi characters. How long a regular expression takes is its author's care: some take a time that
grows fast with the text.
"""


def _expressions() -> Iterator[str]:
    width = min(shutil.get_terminal_size().columns, 100)
    for paragraph in _EXPRESSIONS.strip().split("\n\n"):
        yield textwrap.fill(paragraph, width)
        yield ""
    metas = ", ".join(f"meta.{name} ({in_words(kinds)})" for name, kinds in METAS.items())
    yield textwrap.fill(f"The envelope: {metas}.", width)
    for title, functions in GROUPS.items():
        yield ""
        yield f"{title}:"
        for name, function in functions.items():
            yield from _callable(name, function, width)
    yield ""
    yield "Methods, called on a value:"
    for name, method in METHODS.items():
        yield from _callable(name, method, width)


def _callable(name: str, declared: Function | Method, width: int) -> Iterator[str]:
    least, most = declared.least, declared.most
    count = f"{least} or more" if most is None else str(least) if least == most else f"{least} to {most}"
    text = f"{name:<15} {declared.doc} ({count} {'argument' if count == '1' else 'arguments'})"
    indent = " " * 20
    yield textwrap.fill(text, width, initial_indent="    ", subsequent_indent=indent)
    call, given = declared.example
    yield f"{indent}{call}  →  {given!r}"


@click.command()
def schema() -> int:
    """Print the JSON Schema of a file, for editors."""
    click.echo(schema_text())
    return 0


def schema_text() -> str:
    """Give the JSON Schema of a file as text."""
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rx_collector",
        **FileSpec.schema(),
    }
    return json.dumps(whole, indent=1)
