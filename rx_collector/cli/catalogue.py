"""``list``, ``describe`` and ``schema``: what a pipeline can be made of, from the components' own declarations."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any

import click

from rx_collector.backpressure import STRATEGIES
from rx_collector.config.options import REQUIRED, Spec, did_you_mean
from rx_collector.expressions import FUNCTIONS, METHODS
from rx_collector.parsers import FORMATS
from rx_collector.pipeline.spec import BranchOptions, FileSpec, OperatorItem, PipelineSpec
from rx_collector.runners.spec import RunnerSpec
from rx_collector.sinks import SINKS
from rx_collector.sinks.retry import Retry
from rx_collector.stream.operator import OPERATORS

__all__ = ["describe", "list_", "schema"]


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
    """Explain NAME: an operator, format, strategy or sink, or runner, pipeline, sink, retry, file, expressions."""
    if name == "expressions":
        click.echo("\n".join(_expressions()))
        return 0
    found = [(sort, components[name]) for sort, components in _components().items() if name in components]
    general: dict[str, type[Spec]] = {"runner": RunnerSpec, "pipeline": PipelineSpec, "file": FileSpec}
    general |= {"sink": BranchOptions, "retry": Retry}
    if name in general:
        found.append(("", general[name]))
    if not found:
        known = [*general, "expressions", *(key for components in _components().values() for key in components)]
        raise click.BadParameter(f"nothing is named {name!r}{did_you_mean(name, known)}", param_hint="NAME")
    click.echo("\n\n".join("\n".join(_describe(sort, name, component)) for sort, component in found))
    return 0


def _describe(sort: str, name: str, component: Any) -> Iterator[str]:
    titles = {"operators": "operator", "formats": "format", "strategies": "strategy", "sinks": "sink"}
    yield f"{titles.get(sort, '')} {name}".strip()
    yield ""
    yield inspect.getdoc(component) or ""
    if getattr(component, "guarantee", ""):
        yield ""
        yield f"Guarantee: {component.guarantee}"
    options = component.options() if issubclass(component, Spec) else {}
    if options:
        yield ""
        yield "Options:"
    for key, field in options.items():
        kind = field.metadata["kind"]
        default = "needed" if field.default is REQUIRED else f"default {_shown(field.default)}"
        yield f"    {key}: {field.metadata['doc']} ({kind.wanted}; {default})"
    if getattr(component, "example", ""):
        yield ""
        yield "Example:"
        lines = component.example.splitlines()
        yield from (f"    {'- ' if index == 0 else '  '}{line}" for index, line in enumerate(lines))


def _shown(default: Any) -> str:
    if default is None or default == ():
        return "none"
    if isinstance(default, Spec):
        return (
            "see describe runner"
            if not default.options()
            else ", ".join(f"{key}: {_shown(getattr(default, field.name))}" for key, field in default.options().items())
        )
    if isinstance(default, bool):
        return str(default).lower()
    return getattr(default, "name", None) or str(default)


def _expressions() -> Iterator[str]:
    yield "Python's expression syntax, restricted. A bare name is a field of the payload, None where it is missing;"
    yield "'this' is the whole payload, 'meta' the envelope (meta.time, meta.runner, meta.line …)."
    yield "A comparison of order with None is false. ${NAME} is a text."
    yield ""
    yield "Functions:"
    for name, function in FUNCTIONS.items():
        most = "…" if function.most is None else str(function.most)
        count = most if str(function.least) == most else f"{function.least} to {most}"
        yield f"    {name:<12}{function.doc} (arguments: {count})"
    yield ""
    yield "Methods: " + ", ".join(sorted(METHODS))


@click.command()
def schema() -> int:
    """Print the JSON Schema of a file, for editors."""
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "rx_collector",
        **FileSpec.schema(),
    }
    click.echo(json.dumps(whole, indent=1))
    return 0
