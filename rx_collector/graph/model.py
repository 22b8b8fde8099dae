"""What stands in a picture of a project, before any format: nodes, the edges between them, and counts at both.

All texts are as they are to be shown: without secrets, without anything that is not printable, cut to a length. They are
not escaped; that is each format's own business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rx_collector.units import format_count

__all__ = ["Count", "Edge", "Graph", "Kind", "Node", "Row", "Tone"]

#: ``boundary`` and ``sink`` are those of a sink and those of a dead letter alike; `Node.dead` tells them apart.
Kind = Literal["runner", "pipeline", "boundary", "sink"]
#: What a count says: events that arrived, that are lost, that are on their way, that became others; or nothing of these.
Tone = Literal["plain", "good", "loss", "held", "change"]


@dataclass(frozen=True)
class Count:
    """So many events, and what became of them."""

    number: int
    what: str
    tone: Tone = "plain"

    def __str__(self) -> str:
        return f"{format_count(self.number)} {self.what}"


@dataclass(frozen=True)
class Row:
    """An operator of a pipeline. `out` is how many events it sent on, None when that is not known."""

    title: str
    detail: str = ""
    out: int | None = None
    counts: tuple[Count, ...] = ()


@dataclass(frozen=True)
class Node:
    """A runner, a pipeline with its operators, a boundary or a sink.

    `key` is unique in a graph and made of ASCII letters and digits only, so that it needs no escaping anywhere.
    """

    key: str
    kind: Kind
    title: str
    detail: str = ""
    counts: tuple[Count, ...] = ()
    rows: tuple[Row, ...] = ()
    dead: bool = False

    @property
    def lossy(self) -> bool:
        """Whether events were lost here, not counting those that its operators lost."""
        return any(count.tone == "loss" for count in self.counts)


@dataclass(frozen=True)
class Edge:
    """A way that events take, from the node `start` to the node `end` (keys), and how many took it."""

    start: str
    end: str
    label: str = ""
    count: int | None = None
    dashed: bool = False

    @property
    def text(self) -> str:
        """What stands at the edge."""
        count = format_count(self.count) if self.count is not None else ""
        return f"{count} {self.label}".strip()


@dataclass(frozen=True)
class Graph:
    """The whole picture. When there is a report, `summary` says how the run ended, and `well` whether that was well."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    description: str = ""
    summary: str = ""
    well: bool = True

    def of_kind(self, *kinds: Kind) -> Iterator[Node]:
        """Give the nodes of some kinds, in order."""
        return (node for node in self.nodes if node.kind in kinds)
