"""A picture as Mermaid text, for places that draw it themselves: Markdown on many sites, documents, editors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from rx_collector.graph.model import Count, Graph, Node
from rx_collector.units import format_count

__all__ = ["mermaid"]

_SHAPES = {"runner": ("([", "])"), "pipeline": ("[", "]"), "boundary": ("{{", "}}"), "sink": ("[(", ")]")}
#: All but letters, digits, spaces, commas, and what joins the parts of a word.
_MARKUP = re.compile(r"(?<![^\W_])[_-]|[_-](?![^\W_])|[^\w ,-]")
_STYLES = """\
    classDef runner fill:#dbeafe,stroke:#2563eb,color:#111827
    classDef pipeline fill:#ede9fe,stroke:#7c3aed,color:#111827
    classDef boundary fill:#fef3c7,stroke:#b45309,color:#111827
    classDef sink fill:#dcfce7,stroke:#15803d,color:#111827
    classDef dead fill:#fee2e2,stroke:#b91c1c,color:#111827,stroke-dasharray:5 4
    classDef loss stroke:#dc2626,stroke-width:3px,color:#b91c1c"""


def mermaid(graph: Graph) -> str:
    """Give a picture as Mermaid text. What lost events has a red edge."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    title = f"{graph.title} ({graph.summary})" if graph.summary else graph.title
    yield "---"
    yield f"title: {_quoted(title)}"
    yield "---"
    yield "flowchart LR"
    for node in graph.nodes:
        yield from _node(node)
    dashed = {"start": '-. "', "end": '" .->', "bare": "-.->"}
    solid = {"start": '-- "', "end": '" -->', "bare": "-->"}
    rows = {node.key: len(node.rows) for node in graph.nodes}
    for edge in graph.edges:
        arrow = dashed if edge.dashed else solid
        joined = f"{arrow['start']}{_escaped(edge.text)}{arrow['end']}" if edge.text else arrow["bare"]
        start = f"{edge.start}operator{rows[edge.start] - 1}" if rows[edge.start] else edge.start
        end = f"{edge.end}operator0" if rows[edge.end] else edge.end
        yield f"    {start} {joined} {end}"
    yield _STYLES


def _node(node: Node) -> Iterator[str]:
    if not node.rows:
        left, right = _SHAPES[node.kind]
        label = _label(node.title, node.detail, node.counts)
        yield f'    {node.key}{left}"{label}"{right}:::{"dead" if node.dead else node.kind}'
        if node.lossy:
            yield f"    class {node.key} loss"
        return
    counts = "".join(f", {count}" for count in node.counts)
    yield f'    subgraph {node.key}["{_escaped(node.title + counts)}"]'
    yield "        direction LR"
    keys = [f"{node.key}operator{index}" for index in range(len(node.rows))]
    for key, row in zip(keys, node.rows, strict=True):
        yield f'        {key}["{_label(row.title, row.detail, row.counts)}"]:::pipeline'
    for index, row in enumerate(node.rows[:-1]):
        arrow = "-->" if row.out is None else f'-- "{_escaped(format_count(row.out))}" -->'
        yield f"        {keys[index]} {arrow} {keys[index + 1]}"
    yield "    end"
    for key, row in zip(keys, node.rows, strict=True):
        if any(count.tone == "loss" for count in row.counts):
            yield f"    class {key} loss"


def _label(title: str, detail: str, counts: tuple[Count, ...]) -> str:
    lines = [title, detail, ", ".join(map(str, counts))]
    return "<br/>".join(_escaped(line) for line in lines if line)


def _escaped(text: str) -> str:
    """Write as an entity whatever could be markup of any kind: Mermaid's, Markdown's or HTML's."""
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", text)


def _quoted(text: str) -> str:
    """Write a title for YAML, and so that it does no harm in a page of HTML; a # would begin an entity, not undone there."""
    quoted = json.dumps(text.replace("#", "♯"))
    return quoted.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
