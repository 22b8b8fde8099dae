"""The pages that are made: of every component, of what can be said in a file, of the command line, of the report."""

from __future__ import annotations

import inspect
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from docs._build.cases import SORTS, case_of
from docs._build.picture import Picture, draw
from rx_collector.cli import cli
from rx_collector.cli.catalogue import _components, _general
from rx_collector.config.options import REQUIRED, Spec
from rx_collector.expressions import GROUPS as FUNCTIONS
from rx_collector.expressions import METHODS, Function, Method
from rx_collector.ledger import Report
from rx_collector.ledger.report import NodeReport, PipelineReport, RunnerReport, SinkReport
from rx_collector.pipeline.project import load

__all__ = ["Made", "linked", "made", "navigation", "of_document"]

ROOT: Final = Path(__file__).parent.parent.parent
#: What operators are for. One that is not named here stands at the end.
_GROUPS: Final = {
    "Read and write texts": ("parse", "decode", "encode", "redact"),
    "Choose": ("filter", "where", "dedupe", "sample", "throttle", "skip", "limit", "route"),
    "Change fields": ("set", "map", "rename", "keep", "drop", "cast", "coalesce", "flatten", "scan", "diff"),
    "Make several of one": ("explode", "flat_map"),
    "Gather": ("buffer", "window", "aggregate", "group_by", "debounce", "sort"),
    "Bring together": ("join", "enrich", "merge"),
    "Watch": ("log", "tap", "heartbeat", "timeout"),
    "Beyond": ("python", "restore"),
}
_TITLES: Final = {"operators": "Operators", "formats": "Parsers", "strategies": "Strategies", "sinks": "Sinks"}
_SINGLE: Final = {"operators": "operator", "formats": "format", "strategies": "strategy", "sinks": "sink"}
_INTRODUCTIONS: Final = {
    "operators": "An operator takes a stream and gives a stream. Each is an item of `operators:` in a pipeline, and in Python a "
    "function of `rx_collector.operators`.",
    "formats": "`parse` turns the text of an event into fields; its `format` says how. [Formats](../../formats.md) shows them "
    "side by side.",
    "strategies": "What happens when a sink is slower than its source: each sink says it, beside its name, under "
    "`backpressure:`.",
    "sinks": "Where events end. Each is an item of `sinks:` in a pipeline, with its `backpressure:` beside it.",
}

#: What is said of the looks of the pages beyond the theme: the name of an option stays on one line.
_STYLE: Final = ".md-typeset td:first-child code { white-space: nowrap; word-break: normal }\n"


@dataclass(frozen=True)
class Made:
    """A page or a picture: its place below the documents, its title in the navigation, and what is in it."""

    place: str
    title: str
    text: str


def made() -> Iterator[Made]:
    """Give all pages and pictures, in the order of the navigation. Runs every case, so it takes a few seconds."""
    for sort, components in _components().items():
        yield Made(f"reference/{SORTS[sort]}/index.md", _TITLES[sort], "\n".join(_index(sort, components)))
        for name in _in_order(sort, components):
            case = case_of(sort, name)
            picture = case.picture()
            yield Made(f"reference/{SORTS[sort]}/{name}.svg", "", draw(picture))
            text = "\n".join(_page(sort, name, components[name], picture))
            yield Made(f"reference/{SORTS[sort]}/{name}.md", name, text)
    yield Made("reference/file.md", "Keys of a file", "\n".join(_file()))
    yield Made("reference/functions.md", "Functions", "\n".join(_functions()))
    yield Made("reference/command-line.md", "Command line", "\n".join(_command_line()))
    yield Made("reference/report.md", "The report", "\n".join(_report()))
    yield Made("pages.css", "", _STYLE)
    yield Made("decisions/index.md", "Decisions", "\n".join(_decisions()))
    yield Made("index.md", "rx_collector", of_document("README.md"))
    yield Made("contributing.md", "Contributing", of_document("CONTRIBUTING.md"))
    yield Made("changelog.md", "Changelog", of_document("CHANGELOG.md"))
    yield Made("benchmarks.md", "Benchmarks", of_document("benchmarks/README.md"))


def of_document(name: str) -> str:
    """Give a document of the top directory as a page: its links are those of the documents."""
    text = (ROOT / name).read_text()
    for old, new in (
        ("](docs/decisions/)", "](decisions/index.md)"),
        ("](docs/", "]("),
        ("](CONTRIBUTING.md)", "](contributing.md)"),
        ("](CHANGELOG.md)", "](changelog.md)"),
        ("](benchmarks/README.md)", "](benchmarks.md)"),
    ):
        text = text.replace(old, new)
    return text


#: Where documents lead those who read them where the code is, and the pages that stand for it here.
_LINKS: Final = (
    (r"\]\(\.\./tests/cases/(\w+)/\)", r"](reference/\1/index.md)"),
    (r"\]\(\.\./tests/cases/(\w+)/(\w+)\.yaml\)", r"](reference/\1/\2.md)"),
    (r"\]\(\.\./rx_collector/ledger/report\.py\)", r"](reference/report.md)"),
    (r"\]\(\.\./README\.md", r"](index.md"),
    (r"\]\(\.\./CONTRIBUTING\.md", r"](contributing.md"),
    (r"\]\(\.\./CHANGELOG\.md", r"](changelog.md"),
)


def linked(text: str) -> str:
    """Give a document of ``docs/`` with links to pages that are made, in the place of those to what they are made of.

    >>> linked("see [window](../tests/cases/operators/window.yaml)")
    'see [window](reference/operators/window.md)'
    """
    for pattern, page in _LINKS:
        text = re.sub(pattern, page, text)
    return text


# Components


def _groups(sort: str, components: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    if sort != "operators":
        yield "", list(components)
        return
    for title, names in _GROUPS.items():
        yield title, [name for name in names if name in components]
    known = {name for names in _GROUPS.values() for name in names}
    if rest := [name for name in components if name not in known]:
        yield "Others", rest


def _in_order(sort: str, components: Mapping[str, Any]) -> list[str]:
    return [name for _, names in _groups(sort, components) for name in names]


def _index(sort: str, components: Mapping[str, Any]) -> Iterator[str]:
    yield f"# {_TITLES[sort]}\n\n{_INTRODUCTIONS[sort]}"
    for title, names in _groups(sort, components):
        if title:
            yield f"\n## {title}"
        yield "\n| name | what it does |\n| --- | --- |"
        for name in names:
            yield f"| [{name}]({name}.md) | {_cell(components[name].summary)} |"


def _page(sort: str, name: str, component: Any, picture: Picture) -> Iterator[str]:
    case = case_of(sort, name)
    yield f"# {name}\n\n{component.summary}\n\n{case.about}\n"
    yield f"![{escape(picture.description, quote=True)}]({name}.svg)\n"
    yield from _told(component)
    yield from _options(component)
    yield f"\n## Example\n\nWith its test, as `tests/cases/{SORTS[sort]}/{name}.yaml`:\n\n```yaml\n{case.example}```"
    if getattr(component, "example", "").strip():
        yield f"\nIn short:\n\n```yaml\n{_item(component.example)}\n```"


def _item(text: str) -> str:
    return "\n".join(f"{'- ' if number == 0 else '  '}{line}" for number, line in enumerate(text.splitlines()))


def _told(component: Any) -> Iterator[str]:
    """Give the docstring: its paragraphs, its examples in Python, and the guarantee."""
    for paragraph in (inspect.getdoc(component) or "").split("\n\n"):
        if paragraph.startswith(">>> "):
            yield f"```pycon\n{paragraph}\n```\n"
        elif paragraph:
            yield f"{paragraph.replace('``', '`')}\n"
    if getattr(component, "guarantee", ""):
        yield f"**Guarantee:** {component.guarantee}\n"


def _options(component: type[Spec], heading: str = "## Options") -> Iterator[str]:
    if not (issubclass(component, Spec) and component.options()):
        return
    if heading:
        yield f"{heading}\n"
    short = component.shorthand
    if short and component.shorthand_only:
        yield f"What stands after its name is `{short}` itself.\n"
    elif short:
        yield f"A value alone is `{short}`.\n"
    yield "| option | what it is | value | default |\n| --- | --- | --- | --- |"
    yield from _rows(component, "", 0)


def _rows(component: type[Spec], before: str, depth: int) -> Iterator[str]:
    for key, field in component.options().items():
        kind = field.metadata["kind"]
        nested = getattr(kind, "spec", None)
        value = "see below" if nested is not None and depth == 0 else "" if nested is not None else kind.wanted
        if field.default is REQUIRED:
            default = "needed"
        elif nested is not None or field.default in (None, ()):
            default = ""
        else:
            default = f"`{kind.write(field.default) or ' '}`" if kind.write(field.default) else ""
        yield f"| `{before}{key}` | {_cell(field.metadata['doc'])} | {_cell(value)} | {_cell(default)} |"
        if nested is not None and depth < 1:
            yield from _rows(nested, f"{before}{key}.", depth + 1)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


# What can be said in a file


def _file() -> Iterator[str]:
    yield "# Keys of a file\n"
    yield "What can stand in a pipeline file beside the components, from the declarations that check it.\n"
    seen: set[type[Spec]] = set()
    for key, title, spec in _general():
        if spec in seen:
            continue
        seen.add(spec)
        beside = f" ({title.rstrip(':')})" if title else ""
        yield f"## {key}{beside}\n"
        yield from _told(spec)
        yield from _options(spec, heading="")
        if spec.example:
            yield f"\n```yaml\n{spec.example}\n```"
        yield ""


# Expressions


def _functions() -> Iterator[str]:
    yield "# Functions\n"
    yield "What can be called in an [expression](../expressions.md), each with an example that is run by the tests.\n"
    groups: dict[str, Mapping[str, Function | Method]] = {**FUNCTIONS, "Methods, called on a value": METHODS}
    for title, functions in groups.items():
        yield f"## {title}\n\n| name | what it gives | example |\n| --- | --- | --- |"
        for name, declared in functions.items():
            call, given = declared.example
            yield f"| `{name}` | {_cell(declared.doc)} | {_code(f'{call} → {given!r}')} |"
        yield ""


def _code(text: str) -> str:
    """Give a text as code in a table, whatever is in it."""
    return f"<code>{escape(text).replace('|', '&#124;')}</code>"


# The command line


def _command_line() -> Iterator[str]:
    yield "# Command line\n"
    yield "From what `--help` says. Results go to standard output, everything else to standard error.\n"
    yield "Exit codes: 0 done, also when stopped by a signal and drained; 1 a runner or a sink failed, a test failed, the ledger"
    yield "does not balance, or the drain was cut short; 2 the file or the command line is wrong.\n"
    for name in sorted(cli.commands):
        command = cli.commands[name]
        context = click.Context(command, info_name=f"rx-collector {name}", terminal_width=76, help_option_names=["-h", "--help"])
        yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"


# The report

_EXAMPLE: Final = """\
name: even
runners:
  numbers: {command: [seq, "4"]}
pipelines:
  even:
    from: numbers
    operators:
      - filter: int(message) % 2 == 0
    sinks:
      - "null": {}
        backpressure: block
"""


def _report() -> Iterator[str]:
    yield "# The report\n"
    yield "`rx-collector run --report ledger.json` writes the balance sheet as JSON: the one shape that the table of `run`,"
    yield "the counts of `graph --report` and tests are made from. In Python it is what `run()` gives.\n"
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "even.yaml")
        path.write_text(_EXAMPLE)
        report = load(path, {}).run()
    yield f"```yaml\n{_EXAMPLE}```\n\ngives\n\n```json\n{report.json().decode()}```\n"
    for title, struct in (
        ("The whole", Report),
        ("A runner", RunnerReport),
        ("A pipeline", PipelineReport),
        ("A sink", SinkReport),
        ("A node", NodeReport),
    ):
        yield f"## {title}\n\n{re.sub('``', '`', inspect.getdoc(struct) or '')}\n\n| key | type |\n| --- | --- |"
        for field in msgspec.structs.fields(struct):
            about = field.type.__name__ if isinstance(field.type, type) and not hasattr(field.type, "__args__") else field.type
            short = re.sub(r"[\w.]+\.", "", str(about))
            yield f"| `{field.encode_name}` | {_cell(short)} |"
        yield ""


# Decisions


def _decisions() -> Iterator[str]:
    yield "# Decisions\n\nWhat was decided, why, and what was turned down; half a page each.\n"
    for path in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = path.read_text().partition("\n")[0].removeprefix("# ")
        yield f"- [{title}]({path.name})"


# The navigation

#: Pages that have their place; all others in docs/ stand among the how-tos, behind these.
_HOW_TO: Final = ("recipes.md", "formats.md", "testing-pipelines.md", "graph.md")
_COMPONENTS: Final = ("adding-a-component.md", "testing-a-component.md")
_PLACED: Final = ("tutorial.md", "expressions.md", "how-it-works.md", "coming-from.md")


def navigation(pages: Iterable[Made], documents: Path) -> list[dict[str, Any]]:
    """Give the navigation as mkdocs wants it. A page in `documents` that nobody placed is a how-to."""
    places = {one.place: one.title for one in pages if one.place.endswith(".md")}
    others = sorted({path.name for path in documents.glob("*.md")} - {*_HOW_TO, *_COMPONENTS, *_PLACED})
    reference: list[Any] = []
    for directory in SORTS.values():
        title = places[f"reference/{directory}/index.md"]
        reference.append({title: [place for place in places if place.startswith(f"reference/{directory}/")]})
    reference += ["expressions.md", *(place for place in places if re.fullmatch(r"reference/[^/]+", place))]
    decisions = sorted(f"decisions/{path.name}" for path in (documents / "decisions").glob("*.md"))
    return [
        {"Start": ["index.md", "tutorial.md"]},
        {"How to": [*_HOW_TO, *others, *_COMPONENTS]},
        {"Reference": reference},
        {"Explanations": ["how-it-works.md", {"Decisions": ["decisions/index.md", *decisions]}]},
        {"Coming from": ["coming-from.md"]},
        {"Project": ["contributing.md", "benchmarks.md", "changelog.md"]},
    ]
