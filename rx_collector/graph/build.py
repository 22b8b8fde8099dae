"""The picture of a project, and what its balance sheet adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from rx_collector.backpressure.strategy import Strategy
from rx_collector.config.options import PATH, Spec, Unit
from rx_collector.errors import ConfigError, Mistake
from rx_collector.graph.model import Count, Edge, Graph, Node, Row
from rx_collector.graph.text import legible, shortened
from rx_collector.ledger import NodeReport, PipelineReport, Report, RunnerReport, SinkReport
from rx_collector.ledger.counts import PipelineLedger
from rx_collector.operators.placed import all_steps_of
from rx_collector.operators.python import Python
from rx_collector.pipeline.project import Project
from rx_collector.pipeline.spec import Branch, PipelineSpec
from rx_collector.sinks.stdin import Stdin
from rx_collector.units import format_duration

__all__ = ["graph_of"]

_LONGEST_TITLE: Final = 40
_LONGEST_DETAIL: Final = 42
_LONGEST_DESCRIPTION: Final = 110
_MAX_EVENTS: Final = "max_events"  # the node that `run --max-events` puts at the end of each pipeline


def graph_of(project: Project, report: Report | None = None) -> Graph:
    """Make the picture of a project; with the report of a run, with its counts.

    No value of a secret variable is in it. Raises ConfigError that says all in which the report does not fit the project.
    """
    if report is not None and (mistakes := list(_misfits(project, report))):
        raise ConfigError(mistakes)
    return _Builder(project, report).build()


class _Builder:
    def __init__(self, project: Project, report: Report | None) -> None:
        self._project = project
        self._report = report
        self._nodes: list[Node] = []
        self._edges: list[Edge] = []
        self._keys: dict[str, str] = {}  # of runners and pipelines, which share their names

    def build(self) -> Graph:
        project, report = self._project, self._report
        for sort, names in (("runner", project.runners), ("pipeline", project.pipelines)):
            self._keys |= {name: f"{sort}{index}" for index, name in enumerate(names)}
        for name, runner in project.runners.items():
            command = runner.command if isinstance(runner.command, str) else " ".join(runner.command)
            counts = tuple(_of_runner(report.runners[name])) if report is not None else ()
            self._node(Node(self._keys[name], "runner", name, command, counts))
        for name, spec in project.pipelines.items():
            self._pipeline(name, spec, report.pipelines[name] if report is not None else None)
        return Graph(
            title=self._shown(project.name, _LONGEST_DESCRIPTION),
            nodes=tuple(self._nodes),
            edges=tuple(self._edges),
            description=self._shown(project.description, _LONGEST_DESCRIPTION),
            summary=_summary(report) if report is not None else "",
            well=report is None or report.exit_code == 0,
        )

    def _shown(self, text: str, most: int) -> str:
        """Give a text as it is shown. Secrets are hidden first: a part of one would not be known for one."""
        return shortened(legible(" ".join(self._project.redact(text).split())), most)

    def _node(self, node: Node) -> None:
        rows = tuple(
            Row(self._shown(row.title, _LONGEST_TITLE), self._shown(row.detail, _LONGEST_DETAIL), row.out, row.counts)
            for row in node.rows
        )
        title, detail = self._shown(node.title, _LONGEST_TITLE), self._shown(node.detail, _LONGEST_DETAIL)
        counts = tuple(
            Count(count.number, self._shown(count.what, _LONGEST_DETAIL), count.tone) for count in node.counts
        )
        self._nodes.append(Node(node.key, node.kind, title, detail, counts, rows, node.dead))

    def _pipeline(self, name: str, spec: PipelineSpec, report: PipelineReport | None) -> None:
        key = self._keys[name]
        counts = (Count(report.taken, "in"),) if report is not None else ()
        self._node(Node(key, "pipeline", name, "", counts, tuple(_rows(spec, report, self._project.redact))))
        for source, count in zip(spec.sources, self._given(name, spec), strict=True):
            start, label = self._start(source)
            self._edges.append(Edge(start, key, label, count))
        groups = _grouped(spec, _operator_nodes(spec, report)) if report is not None else None
        for index, (step, _) in enumerate(all_steps_of(spec.operators)):
            for source in step.operator.reads:
                start, label = self._start(source)
                count = groups[index][0].joined.get(source) if groups is not None else None
                self._edges.append(Edge(start, key, f"{step.operator.name} {label}".strip(), count, dashed=True))
        names = PipelineLedger(name)
        dead = f"{key}dead"
        for index, branch in enumerate(spec.sinks):
            title = names.sink(branch.name)[1].name.partition(" ")[2]
            nodes = report.nodes[len(report.nodes) - 2 * (len(spec.sinks) - index) :][:2] if report is not None else ()
            sink = report.sinks[title] if report is not None else None
            boundary, end = self._branch(f"{key}sink{index}", branch, title, nodes, sink)
            self._edges.append(Edge(key, boundary, "", nodes[0].taken if nodes else None))
            if isinstance(branch.sink, Stdin):
                written = sink.delivered if sink is not None else None
                self._edges.append(Edge(end, self._keys[branch.sink.runner], "stdin", written))
            if branch.on_failure == "dead_letter":
                failed = sink.failed if sink is not None else None
                self._edges.append(Edge(end, f"{dead}boundary", "failed", failed, dashed=True))
        if spec.dead_letter is not None:
            letters = report.dead_letter if report is not None else None
            boundary, _ = self._branch(dead, spec.dead_letter, "dead letter", (), letters, dead=True)
            self._edges.append(Edge(key, boundary, "rejected", None, dashed=True))

    def _start(self, source: str) -> tuple[str, str]:
        """Give the node that events read under a name come from, and which of its events they are; nothing for all."""
        if source in self._keys:
            return self._keys[source], ""
        owner, _, part = source.rpartition(".")
        return self._keys[owner], part

    def _branch(
        self,
        key: str,
        branch: Branch,
        title: str,
        nodes: tuple[NodeReport, ...] | list[NodeReport],
        sink: SinkReport | None,
        *,
        dead: bool = False,
    ) -> tuple[str, str]:
        strategy = branch.backpressure.strategy
        waiting = tuple(_of_node(nodes[0])) if nodes else ()
        boundary = Node(
            f"{key}boundary",
            "boundary",
            strategy.name,
            _of_strategy(strategy, self._project.redact),
            waiting,
            dead=dead,
        )
        kind = "" if branch.sink.name == title else branch.sink.name
        about = f"{kind} {_detail(branch.sink, self._project.redact)}".strip()
        end = Node(key, "sink", title, about, tuple(_of_sink(sink, nodes[1:])) if sink is not None else (), dead=dead)
        self._node(boundary)
        self._node(end)
        taken = sink.delivered + sink.failed + sink.held if sink is not None else None
        self._edges.append(Edge(boundary.key, end.key, "", nodes[1].taken if nodes else taken, dashed=dead))
        return boundary.key, end.key

    def _given(self, name: str, spec: PipelineSpec) -> list[int | None]:
        """Give how many events came from each source. A report has no count of the lifecycle events that were sent to
        who reads them alone, but they are what is left when the rest is known.
        """
        if self._report is None:
            return [None] * len(spec.sources)
        counts = [self._sent(source) for source in spec.sources]
        if counts.count(None) == 1:
            rest = self._report.pipelines[name].taken - sum(count for count in counts if count is not None)
            counts[counts.index(None)] = rest
        return counts

    def _sent(self, source: str) -> int | None:
        assert self._report is not None
        if source in self._report.runners:
            return self._report.runners[source].out
        if source not in self._report.pipelines:
            owner, _, way = source.rpartition(".")
            if owner not in self._report.pipelines:
                return None
            nodes = _operator_nodes(self._project.pipelines[owner], self._report.pipelines[owner])
            return sum(node.branches.get(way, 0) for node in nodes)
        pipeline = self._report.pipelines[source]
        operators = _operator_nodes(self._project.pipelines[source], pipeline)
        return _passed(operators[-1]) if operators else pipeline.taken


# What is declared


def _detail(spec: Spec, redact: Callable[[str], str]) -> str:
    """Say of a component what tells it from others of its kind, on one line: the option that stands for it alone, or
    all that are said where it has none such; and what is a number of some unit.
    """
    short = spec.shorthand
    options = spec.options()
    said = {key: getattr(spec, field.name) for key, field in options.items()}
    said = {key: value for key, value in said.items() if value is not None and value != options[key].default}
    said = {
        key: value for key, value in said.items() if value is not getattr(spec, "within", None)
    }  # rows of their own
    kinds = {key: options[key].metadata["kind"] for key in said}
    parts = {}
    for key, value in said.items():
        if (
            kinds[key] is PATH
        ):  # made absolute when the file was loaded, and long; a part of a secret is not known for one
            parts[key] = redact(value).rpartition("/")[2]
        else:
            parts[key] = _written(value, kinds[key], " " if key == "command" else ", ")
    shown = [key for key in said if key == short or short is None or isinstance(kinds[key], Unit)]
    named = short is None or (len(shown) > 1 and isinstance(kinds.get(short), Unit))
    return ", ".join(f"{key} {parts[key]}" if named or key != short else parts[key] for key in shown)


def _of_strategy(strategy: Strategy, redact: Callable[[str], str]) -> str:
    """Say of a strategy what bounds it, and its options."""
    detail = _detail(strategy, redact)
    capacity = strategy.options().get("capacity")
    if capacity is None or detail.startswith("capacity "):
        return detail
    bound = f"capacity {capacity.metadata['kind'].write(getattr(strategy, capacity.name))}"
    return f"{bound}, {detail}" if detail else bound


def _written(value: Any, kind: Any = None, between: str = ", ") -> str:
    """Write the value of an option, as it is written in YAML where that is short."""
    if isinstance(kind, Unit):
        return kind.write(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_written(item)}" for key, item in value.items())
    if isinstance(value, tuple | list):
        return between.join(map(_written, value))
    if isinstance(value, bool):
        return str(value).lower()
    for attribute in ("text", "name", "__qualname__"):
        if isinstance(text := getattr(value, attribute, None), str):
            return text
    return str(value) if isinstance(value, str | int | float) else type(value).__name__


# What was counted


def _summary(report: Report) -> str:
    balanced = "balanced" if report.balanced else "not balanced"
    failed = ", failed" if report.errors else ""
    return f"{balanced}{failed}, after {format_duration(round(report.seconds, 2))}"


def _of_runner(runner: RunnerReport) -> Iterator[Count]:
    yield Count(runner.lines, "lines")
    if runner.starts != 1:
        yield Count(runner.starts, "starts")
    for number, what in (
        (runner.stderr_events, "stderr lines"),
        (runner.lifecycle, "lifecycle events"),
        (runner.skipped, "skipped"),
    ):
        if number:
            yield Count(number, what)
    for verb, reasons in (("rejected", runner.rejected), ("dropped", runner.dropped)):
        for reason, number in reasons.items():
            if number:
                yield Count(number, f"{verb}, {reason.replace('_', ' ')}", "loss")
    if runner.lost_upstream:
        yield Count(runner.lost_upstream, "lost upstream", "loss")


def _of_node(node: NodeReport, failed: int = 0) -> Iterator[Count]:
    """Give what became of the events at a node, beside those that went on."""
    counts = (
        Count(node.filtered, "filtered"),
        Count(node.rejected, "rejected", "loss"),
        Count(node.dropped - failed, "dropped", "loss"),
        Count(node.merged, "merged", "change"),
        Count(node.made, "made", "change"),
        Count(node.held - node.kept, "held", "held"),
        Count(node.kept, "kept on disk", "held"),
    )
    return (count for count in counts if count.number)


def _of_sink(sink: SinkReport, nodes: tuple[NodeReport, ...] | list[NodeReport]) -> Iterator[Count]:
    yield Count(sink.delivered, "delivered", "good")
    for count in (Count(sink.failed, "failed", "loss"), Count(sink.retried, "retried")):
        if count.number:
            yield count
    if nodes:
        yield from _of_node(nodes[0], sink.failed)
    else:  # the report has no node of a dead letter
        held = (Count(sink.held - sink.kept, "held", "held"), Count(sink.kept, "kept on disk", "held"))
        yield from (count for count in held if count.number)


def _operator_nodes(spec: PipelineSpec, report: PipelineReport) -> list[NodeReport]:
    return report.nodes[: len(report.nodes) - 2 * len(spec.sinks)]


def _passed(node: NodeReport) -> int:
    """Give what went on to the next operator."""
    return node.out - sum(node.branches.values())


def _rows(spec: PipelineSpec, report: PipelineReport | None, redact: Callable[[str], str]) -> Iterator[Row]:
    groups = _grouped(spec, _operator_nodes(spec, report)) if report is not None else None
    for index, (step, depth) in enumerate(all_steps_of(spec.operators)):
        name, detail = "· " * depth + step.operator.name, _detail(step.operator, redact)
        if groups is None or not (nodes := groups[index]):
            yield Row(name, detail)
            continue
        counts: dict[str, Count] = {}
        for node in nodes:
            for count in _of_node(node):
                before = counts.get(count.what, Count(0, count.what, count.tone))
                counts[count.what] = Count(before.number + count.number, count.what, count.tone)
        yield Row(name, detail, _passed(nodes[-1]), tuple(counts.values()))
    if groups is not None:
        for node in groups[-1]:
            yield Row(_MAX_EVENTS, "of the command line", node.out, tuple(_of_node(node)))


def _labels(spec: PipelineSpec) -> list[str | None]:
    """Give the names of the operators in a report; None for those in Python, which are any number of nodes there."""
    return [None if isinstance(step.operator, Python) else step.label for step, _ in all_steps_of(spec.operators)]


def _grouped(spec: PipelineSpec, nodes: list[NodeReport]) -> list[list[NodeReport]]:
    """Give the nodes of each operator, and at the end that of the limit of the command line, if it was there.

    Of several operators in Python in a row, the last gets the nodes of all: who made which cannot be told.
    """
    limit = [node for node in nodes[-1:] if node.node == _MAX_EVENTS]
    nodes = nodes[: len(nodes) - len(limit)]
    labels = _labels(spec)
    places = _places(labels, [node.node for node in nodes])
    assert places is not None, "a report that does not fit is refused before"
    groups: list[list[NodeReport]] = []
    used = 0
    for index, label in enumerate(labels):
        if label is not None:
            used = places[index] + 1
            groups.append([nodes[used - 1]])
        elif index + 1 < len(labels) and labels[index + 1] is None:
            groups.append([])
        else:
            groups.append(nodes[used : places.get(index + 1, len(nodes))])
    return [*groups, limit]


def _places(labels: list[str | None], names: list[str]) -> dict[int, int] | None:
    """Give which of the report's names each label is, both by their numbers; None when they do not fit.

    Between them are those of operators in Python, which may bear the same names: what stands before the first and after
    the last of these is certain, and of what stands between two of them the last that fits is taken.
    """
    if None not in labels:
        return {index: index for index in range(len(labels))} if names == labels else None
    first = labels.index(None)
    if names[:first] != labels[:first]:
        return None
    places = {index: index for index in range(first)}
    stop, end = len(names), len(labels)
    while end > first:
        start = end
        while labels[start - 1] is not None:
            start -= 1
        length = end - start
        ends = [stop] if end == len(labels) else range(stop, first + length - 1, -1)
        found = next((at for at in ends if at - length >= first and names[at - length : at] == labels[start:end]), None)
        if found is None:
            return None
        places |= {start + number: found - length + number for number in range(length)}
        stop, end = found - length, start
        while end > first and labels[end - 1] is None:
            end -= 1
    return places


# Whether they fit


def _misfits(project: Project, report: Report) -> Iterator[Mistake]:
    if report.version != 1:
        yield Mistake(f"the report is of version {report.version}, and version 1 is known")
        return
    said: Callable[[str], str] = project.redact
    for sort, ours, theirs in (
        ("runner", set(project.runners), set(report.runners)),
        ("pipeline", set(project.pipelines), set(report.pipelines)),
    ):
        for name in sorted(ours - theirs):
            yield Mistake(said(f"the report has no {sort} {name!r}"))
        for name in sorted(theirs - ours):
            yield Mistake(said(f"the report has a {sort} {name!r}, which the file has not"))
    for name, spec in project.pipelines.items():
        if name in report.pipelines:
            for message in _misfits_of(spec, report.pipelines[name]):
                yield Mistake(said(message), said(legible(f"pipelines.{name}")))


def _misfits_of(spec: PipelineSpec, report: PipelineReport) -> Iterator[str]:
    names = PipelineLedger("")
    ends = [node.name for branch in spec.sinks for node in names.sink(branch.name)]
    nodes = [node.node for node in report.nodes]
    if any(name.startswith("generation ") for name in nodes):
        yield "it was changed while it ran (a reload), so the report has more than the file describes"
        return
    labels = _labels(spec)
    there = [name for name in nodes if name.startswith("sinks[")]
    operators = [name for name in nodes if not name.startswith("sinks[")]
    if operators[-1:] == [_MAX_EVENTS]:
        operators.pop()
    known = [label for label in labels if label is not None]
    yield from _differences(known, operators, _places(labels, operators) is not None, None in labels)
    yield from _differences(ends, there, ends == there)
    if ends == there and list(names.sinks) != list(report.sinks):
        yield "the sinks of the report are not those that its nodes are of"
    if spec.dead_letter is not None and report.dead_letter is None:
        yield "the file has a dead letter, which the report has not"
    if spec.dead_letter is None and report.dead_letter is not None:
        yield "the report has a dead letter, which the file has not"


def _differences(ours: list[str], theirs: list[str], fits: bool, more: bool = False) -> Iterator[str]:
    """Say what is in one list and not in the other, or that the order differs. `more` of theirs may be anything."""
    if fits:
        return
    missing = [name for name in ours if name not in theirs]
    extra = [name for name in theirs if name not in ours and not more]
    for name in missing:
        yield f"the file has {name!r}, which the report has not"
    for name in extra:
        yield f"the report has {name!r}, which the file has not"
    if not missing and not extra:
        yield f"the report has them in another order: {', '.join(theirs)}"
