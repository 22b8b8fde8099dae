"""A picture as DOT text, for Graphviz."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from rx_collector.graph.model import Count, Graph, Node
from rx_collector.units import format_count

__all__ = ["dot"]

_SHAPES = {"runner": "box", "pipeline": "box", "boundary": "hexagon", "sink": "cylinder"}
_COLORS = {"runner": "#2563eb", "pipeline": "#7c3aed", "boundary": "#b45309", "sink": "#15803d"}
_FILLS = {"runner": "#dbeafe", "pipeline": "#ede9fe", "boundary": "#fef3c7", "sink": "#dcfce7"}
_TONES = {"plain": "#4b5563", "good": "#15803d", "loss": "#dc2626", "held": "#b45309", "change": "#2563eb"}
_DEAD, _DEAD_FILL = "#b91c1c", "#fee2e2"


def dot(graph: Graph) -> str:
    """Give a picture as DOT text. What is lost is written in red."""
    return "\n".join(_lines(graph)) + "\n"


def _lines(graph: Graph) -> Iterator[str]:
    yield "digraph {"
    summary = _colored(graph.summary, _TONES["good" if graph.well else "loss"]) if graph.summary else ""
    yield f"    graph [rankdir=LR, compound=true, labelloc=t, label={_label(_bold(graph.title), summary)}]"
    yield '    graph [fontname="Helvetica,Arial,sans-serif", fontsize=12, nodesep=0.3, ranksep=0.6]'
    yield '    node [fontname="Helvetica,Arial,sans-serif", fontsize=11, style="filled,rounded", margin="0.16,0.08"]'
    yield '    edge [fontname="Helvetica,Arial,sans-serif", fontsize=10, color="#6b7280", arrowsize=0.7]'
    for node in graph.nodes:
        yield from _node(node)
    rows = {node.key: len(node.rows) for node in graph.nodes}
    for edge in graph.edges:
        more = [f"label={_label(_escaped(edge.text))}"] if edge.text else []
        start, end = edge.start, edge.end
        if rows[start]:
            more.append(f"ltail=cluster{start}")
            start = f"{start}operator{rows[start] - 1}"
        if rows[end]:
            more.append(f"lhead=cluster{end}")
            end = f"{end}operator0"
        if edge.dashed:
            more.append("style=dashed")
        yield f"    {start} -> {end}{_attributes(more)}"
    yield "}"


def _node(node: Node) -> Iterator[str]:
    counts = _counts(node.counts)
    if not node.rows:
        color, fill = (_DEAD, _DEAD_FILL) if node.dead else (_COLORS[node.kind], _FILLS[node.kind])
        style = "filled,dashed" if node.dead else "filled,rounded" if node.kind in ("runner", "pipeline") else "filled"
        label = _label(_bold(node.title), _escaped(node.detail), counts)
        yield (
            f'    {node.key} [shape={_SHAPES[node.kind]}, style="{style}", color="{color}", fillcolor="{fill}", '
            f"label={label}]"
        )
        return
    yield f"    subgraph cluster{node.key} {{"
    yield f'        graph [style=rounded, color="{_COLORS["pipeline"]}", label={_label(_bold(node.title), counts)}]'
    keys = [f"{node.key}operator{index}" for index in range(len(node.rows))]
    for key, row in zip(keys, node.rows, strict=True):
        label = _label(_bold(row.title), _escaped(row.detail), _counts(row.counts))
        yield f'        {key} [shape=box, color="{_COLORS["pipeline"]}", fillcolor="{_FILLS["pipeline"]}", label={label}]'
    for index, row in enumerate(node.rows[:-1]):
        more = [f"label={_label(format_count(row.out))}"] if row.out is not None else []
        yield f"        {keys[index]} -> {keys[index + 1]}{_attributes(more)}"
    yield "    }"


def _attributes(attributes: list[str]) -> str:
    return f" [{', '.join(attributes)}]" if attributes else ""


def _label(*lines: str) -> str:
    return f"<{'<BR/>'.join(line for line in lines if line) or ' '}>"


def _bold(text: str) -> str:
    return f"<B>{_escaped(text)}</B>" if text else ""


def _colored(text: str, color: str) -> str:
    return f'<FONT COLOR="{color}">{_escaped(text)}</FONT>'


def _counts(counts: tuple[Count, ...]) -> str:
    return ", ".join(_colored(str(count), _TONES[count.tone]) for count in counts)


def _escaped(text: str) -> str:
    return escape(text, quote=True)
