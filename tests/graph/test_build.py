"""The picture of a project: what stands in it, what a report adds, and what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import reactivex.operators as rx_operators

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.errors import ConfigError
from rx_collector.graph.build import graph_of
from rx_collector.graph.model import Edge, Graph, Node
from rx_collector.ledger import PipelineReport
from rx_collector.operators.placed import PlacedOperator
from rx_collector.operators.python import Python

ROOT = Path(__file__).parent.parent.parent
FILE = """\
name: everything
description: Each sort of edge.
runners:
  numbers: {command: [seq, "20"]}
  sorter: {command: [sort, -u]}
pipelines:
  parsed:
    from: numbers
    operators:
      - set: {n: int(message)}
      - filter: n > 5
      - set: {part: 1 / (n % 10)}
  all:
    from: [parsed, numbers.lifecycle]
    operators: [buffer: {count: 4, time: 1m}]
    sinks:
      - file: all.ndjson
        backpressure: {strategy: block, capacity: 100}
      - file: {path: again.ndjson}
        backpressure: drop_oldest
        on_failure: dead_letter
    dead_letter: {file: rejected.ndjson}
  fed:
    from: parsed
    sinks:
      - stdin: sorter
        backpressure: block
  sorted:
    from: sorter
    sinks:
      - null: {}
        name: nothing
        backpressure: {strategy: latest, key: message}
"""


def project(directory: Path, text: str = FILE, **environment: str) -> rx.Project:
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml", environment)


def node(graph: Graph, title: str, kind: str = "pipeline") -> Node:
    (found,) = (node for node in graph.nodes if node.title == title and node.kind == kind)
    return found


def named(graph: Graph) -> set[tuple[str, str, str, int | None, bool]]:
    """The edges, by the titles of their nodes."""
    titles = {node.key: f"{node.kind} {node.title}" for node in graph.nodes}
    return {(titles[edge.start], titles[edge.end], edge.label, edge.count, edge.dashed) for edge in graph.edges}


def test_all_parts_and_all_ways(tmp_path: Path) -> None:
    graph = graph_of(project(tmp_path))
    assert (graph.title, graph.description, graph.summary) == ("everything", "Each sort of edge.", "")
    assert [(node.kind, node.title, node.detail, node.dead) for node in graph.nodes] == [
        ("runner", "numbers", "seq 20", False),
        ("runner", "sorter", "sort -u", False),
        ("pipeline", "parsed", "", False),
        ("pipeline", "all", "", False),
        ("boundary", "block", "capacity 100", False),
        ("sink", "file", "all.ndjson", False),
        ("boundary", "drop_oldest", "capacity 10_000", False),
        ("sink", "file_2", "file again.ndjson", False),
        ("boundary", "block", "capacity 10_000", True),
        ("sink", "dead letter", "file rejected.ndjson", True),
        ("pipeline", "fed", "", False),
        ("boundary", "block", "capacity 10_000", False),
        ("sink", "stdin", "sorter", False),
        ("pipeline", "sorted", "", False),
        ("boundary", "latest", "capacity 10_000, key message", False),
        ("sink", "nothing", "null", False),
    ]
    assert [(row.title, row.detail) for row in node(graph, "parsed").rows] == [
        ("set", "n: int(message)"),
        ("filter", "n > 5"),
        ("set", "part: 1 / (n % 10)"),
    ]
    assert [(row.title, row.detail) for row in node(graph, "all").rows] == [("buffer", "count 4, time 1m")]
    assert named(graph) == {
        ("runner numbers", "pipeline parsed", "", None, False),
        ("runner numbers", "pipeline all", "lifecycle", None, False),
        ("pipeline parsed", "pipeline all", "", None, False),
        ("pipeline all", "boundary block", "", None, False),
        ("boundary block", "sink file", "", None, False),
        ("pipeline all", "boundary drop_oldest", "", None, False),
        ("boundary drop_oldest", "sink file_2", "", None, False),
        ("sink file_2", "boundary block", "failed", None, True),
        ("pipeline all", "boundary block", "rejected", None, True),
        ("boundary block", "sink dead letter", "", None, True),
        ("pipeline parsed", "pipeline fed", "", None, False),
        ("pipeline fed", "boundary block", "", None, False),
        ("boundary block", "sink stdin", "", None, False),
        ("sink stdin", "runner sorter", "stdin", None, False),
        ("runner sorter", "pipeline sorted", "", None, False),
        ("pipeline sorted", "boundary latest", "", None, False),
        ("boundary latest", "sink nothing", "", None, False),
    }
    keys = [node.key for node in graph.nodes]
    assert len(set(keys)) == len(keys)
    assert all(key.isascii() and key.isalnum() for key in keys)


@pytest.mark.slow
def test_the_counts_of_a_run(tmp_path: Path) -> None:
    run = project(tmp_path)
    report = run.run()
    assert report.balanced
    graph = graph_of(run, msgspec.json.decode(report.json(), type=rx.Report))
    assert graph.summary.startswith("balanced, after ")
    assert list(map(str, node(graph, "numbers", "runner").counts)) == ["20 lines"]
    assert [(row.out, list(map(str, row.counts))) for row in node(graph, "parsed").rows] == [
        (20, []),
        (15, ["5 filtered"]),
        (13, ["2 rejected"]),
    ]
    told = report.pipelines["all"].taken - 13  # of the runner's lifecycle
    assert told > 0
    (row,) = node(graph, "all").rows
    lists = -(-(13 + told) // 4)
    assert (row.out, list(map(str, row.counts))) == (lists, [f"{13 + told} merged", f"{lists} made"])
    assert list(map(str, node(graph, "file_2", "sink").counts)) == [f"{lists} delivered"]
    assert list(map(str, node(graph, "dead letter", "sink").counts)) == ["0 delivered"]
    assert {
        ("runner numbers", "pipeline parsed", "", 20, False),
        ("runner numbers", "pipeline all", "lifecycle", told, False),
        ("pipeline parsed", "pipeline all", "", 13, False),
        ("pipeline all", "boundary drop_oldest", "", lists, False),
        ("boundary drop_oldest", "sink file_2", "", lists, False),
        ("sink file_2", "boundary block", "failed", 0, True),
        ("boundary block", "sink dead letter", "", 0, True),
        ("sink stdin", "runner sorter", "stdin", 13, False),
        ("runner sorter", "pipeline sorted", "", 13, False),
    } <= named(graph)


LOSSY = """\
runners:
  numbers:
    command: [sh, -c, "seq 500 | sed 's/.*/{\\"n\\": &}/'; echo none; echo a line that is too long"]
    max_line: 16
pipelines:
  odd:
    from: numbers
    operators: [filter: '"17}" not in message', parse: {format: json, on_error: drop}, set: {part: 1 / (n % 100)}]
    sinks:
      - exec: {command: [sh, -c, "sleep 0.3; cat >/dev/null"]}
        backpressure: {strategy: drop_newest, capacity: 10}
      - file: /dev/full
        name: broken
        backpressure: block
        on_failure: dead_letter
    dead_letter: {file: rejected.ndjson}
"""


BESIDE = """\
runners:
  numbers: {command: [seq, "20"]}
  others: {command: [seq, "5"]}
pipelines:
  all:
    from: numbers
    operators:
      - route: {small: len(message) < 2}
      - join: {with: others, on: message}
    sinks: [{"null": {}, backpressure: block}]
  extra:
    from: all.small
    operators:
      - merge: [others, all]
      - group_by: {key: len(message), operators: [skip: 2, limit: 3]}
    sinks: [{"null": {}, backpressure: block}]
"""


def test_ways_beside_the_stream_and_operators_within_one(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(BESIDE)
    project = rx.load(file)
    names = {"runner1": "others", "pipeline0": "all", "runner0": "numbers", "pipeline1": "extra"}

    def ways(graph: Graph) -> list[tuple[str, str, str, int | None, bool]]:
        return [
            (names[edge.start], names[edge.end], edge.label, edge.count, edge.dashed)
            for edge in graph.edges
            if edge.end in names
        ]

    assert ways(graph_of(project)) == [
        ("numbers", "all", "", None, False),
        ("others", "all", "join", None, True),
        ("all", "extra", "small", None, False),
        ("others", "extra", "merge", None, True),
        ("all", "extra", "merge", None, True),
    ]
    graph = graph_of(project, project.run())
    assert ways(graph) == [
        ("numbers", "all", "", 20, False),
        ("others", "all", "join", None, True),
        ("all", "extra", "small", 9, False),
        ("others", "extra", "merge", 5, True),
        ("all", "extra", "merge", 11, True),
    ]
    rows = {node.title: [(row.title, row.detail, row.out) for row in node.rows] for node in graph.nodes if node.rows}
    assert rows == {
        "all": [("route", "small: len(message) < 2", 11), ("join", "with others, on message", 11)],
        "extra": [
            ("merge", "others, all", 25),
            ("group_by", "key len(message)", 25),
            ("· skip", "2", 21),
            ("· limit", "3", 6),
        ],
    }


@pytest.mark.slow
def test_what_was_lost(tmp_path: Path) -> None:
    """Every count of the report stands somewhere in the picture, and is a loss where it is one."""
    run = project(tmp_path, LOSSY)
    report = run.run()
    graph = graph_of(run, report)
    counts = {str(count): count.tone for node in graph.nodes for count in node.counts}
    counts |= {str(count): count.tone for node in graph.nodes for row in node.rows for count in row.counts}
    odd = report.pipelines["odd"]
    assert counts["1 rejected, line too long"] == "loss"
    assert counts["5 filtered"] == "plain"
    failed = odd.sinks["broken"].failed
    assert failed > 0
    assert counts[f"{failed} failed"] == "loss"
    assert list(map(str, node(graph, "broken", "sink").counts)) == ["0 delivered", f"{failed} failed"]
    assert counts["5 rejected"] == counts["1 rejected"] == "loss"
    assert odd.dead_letter is not None
    assert counts[f"{odd.dead_letter.delivered} delivered"] == "good"
    assert ("sink broken", "boundary block", "failed", failed, True) in named(graph)
    for reason, number in odd.dropped.items():
        assert counts[f"{number} dropped"] == "loss", reason
    assert node(graph, "broken", "sink").lossy
    assert not node(graph, "odd").lossy


def test_what_the_command_line_limited(tmp_path: Path) -> None:
    run = project(tmp_path, FILE.split("  all:")[0] + "    sinks: [{null: {}, backpressure: block}]\n")
    graph = graph_of(run, run.run(max_events=3))
    assert [(row.title, row.out) for row in node(graph, "parsed").rows][-1] == ("max_events", 3)
    assert [str(count) for count in node(graph, "parsed").rows[-1].counts] == ["10 dropped"]


def chain(*operators: object, directory: Path) -> tuple[rx.Project, rx.Report]:
    """A project with operators, some of them in Python, and its report."""
    text = "runners: {n: {command: [seq, '9']}}\npipelines: {p: {from: n, sinks: [{null: {}, backpressure: block}]}}\n"
    (directory / "x.yaml").write_text(text)
    loaded = rx.load(directory / "x.yaml")
    placed = tuple(
        PlacedOperator(operator if isinstance(operator, op.Operator) else Python(operator))  # type: ignore[arg-type]
        for operator in operators
    )
    changed = replace(loaded, pipelines={"p": replace(loaded.pipelines["p"], operators=placed)})
    return changed, changed.run()


def two(stream: rx.EventStream) -> rx.EventStream:
    return stream.pipe(op.filter("int(message) > 2"), op.set(x=1))  # type: ignore[return-value]


def none(stream: rx.EventStream) -> rx.EventStream:
    return stream


def foreign(stream: rx.EventStream) -> rx.EventStream:
    return stream.pipe(rx_operators.filter(lambda event: event["message"] != "5"))  # type: ignore[return-value]


SAME = op.filter("message")
CHAINS = {
    "before one of the same number and name": ([two, op.set(y=1)], [(7, ["2 filtered"]), (7, [])]),
    "after": ([op.filter("int(message) < 9"), two], [(8, ["1 filtered"]), (6, ["2 filtered"])]),
    "between": ([SAME, two, SAME], [(9, []), (7, ["2 filtered"]), (7, [])]),
    "none": ([none, SAME], [(None, []), (9, [])]),
    "several in a row": ([SAME, none, foreign, two], [(9, []), (None, []), (None, []), (6, ["3 filtered"])]),
    "twice": ([two, SAME, two, SAME], [(7, ["2 filtered"]), (7, []), (7, []), (7, [])]),
}


@pytest.mark.parametrize("name", CHAINS)
def test_operators_in_python_are_any_number_of_nodes(name: str, tmp_path: Path) -> None:
    operators, expected = CHAINS[name]
    graph = graph_of(*chain(*operators, directory=tmp_path))
    rows = node(graph, "p").rows
    assert [row.out for row in rows] == [out for out, _ in expected]
    assert [list(map(str, row.counts)) for row in rows] == [counts for _, counts in expected]


def misfits(ours: rx.Project, report: rx.Report) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        graph_of(ours, report)
    return [f"{mistake.where}: {mistake.message}" for mistake in caught.value.mistakes]


def with_all(report: rx.Report, pipeline: PipelineReport) -> rx.Report:
    return msgspec.structs.replace(report, pipelines={**report.pipelines, "all": pipeline})


@pytest.mark.slow
def test_all_that_does_not_fit_is_said(tmp_path: Path) -> None:
    report = project(tmp_path).run()
    changed = (
        FILE.replace("numbers", "digits")
        .replace("  fed:", "  fod:")
        .replace("- filter: n > 5", "- map: n")
        .replace(
            "      - file: {path: again.ndjson}\n        backpressure: drop_oldest\n        on_failure: dead_letter\n",
            "",
        )
        .replace("    dead_letter: {file: rejected.ndjson}\n", "")
    )
    assert misfits(project(tmp_path, changed), report) == [
        ": the report has no runner 'digits'",
        ": the report has a runner 'numbers', which the file has not",
        ": the report has no pipeline 'fod'",
        ": the report has a pipeline 'fed', which the file has not",
        "pipelines.parsed: the file has 'operators[1] map', which the report has not",
        "pipelines.parsed: the report has 'operators[1] filter', which the file has not",
        "pipelines.all: the report has 'sinks[1] file_2 backpressure', which the file has not",
        "pipelines.all: the report has 'sinks[1] file_2', which the file has not",
        "pipelines.all: the report has a dead letter, which the file has not",
    ]
    (tmp_path / "without").mkdir()
    without = project(
        tmp_path / "without",
        FILE.replace("        on_failure: dead_letter\n", "").replace("    dead_letter: {file: rejected.ndjson}\n", ""),
    )
    whole = project(tmp_path)
    assert misfits(whole, without.run()) == ["pipelines.all: the file has a dead letter, which the report has not"]
    everything = report.pipelines["all"]
    turned = msgspec.structs.replace(
        everything, nodes=[*everything.nodes[:1], *everything.nodes[3:], *everything.nodes[1:3]]
    )
    assert misfits(whole, with_all(report, turned)) == [
        "pipelines.all: the report has them in another order: sinks[1] file_2 backpressure, sinks[1] file_2, "
        "sinks[0] file backpressure, sinks[0] file"
    ]
    renamed = msgspec.structs.replace(everything, sinks={"a": everything.sinks["file"]})
    assert misfits(whole, with_all(report, renamed)) == [
        "pipelines.all: the sinks of the report are not those that its nodes are of"
    ]
    newer = msgspec.structs.replace(report, version=2)
    assert misfits(project(tmp_path), newer) == [": the report is of version 2, and version 1 is known"]


def test_what_stands_between_operators_in_python_has_to_fit_too(tmp_path: Path) -> None:
    _, report = chain(two, directory=tmp_path)
    longer, _ = chain(none, op.map("message"), directory=tmp_path)
    assert misfits(longer, report) == ["pipelines.p: the file has 'operators[1] map', which the report has not"]
    turned, _ = chain(op.set(x=1), none, directory=tmp_path)
    assert misfits(turned, report) == ["pipelines.p: the file has 'operators[0] set', which the report has not"]


SECRET = 'se<cr>et "42"/and  more'


def test_no_part_of_a_secret_is_shown(tmp_path: Path) -> None:
    """Neither as it is, nor cut off, nor what remains of it as the name of a file."""
    text = """\
runners:
  numbers: {command: [echo, 12345678901234567890123456, "${MY_TOKEN}", "${MY_TOKEN}"]}
pipelines:
  all:
    from: numbers
    operators: [filter: 'message != "${MY_TOKEN}"']
    sinks:
      - file: "a${MY_TOKEN}b"
        name: "name ${MY_TOKEN}"
        backpressure: {strategy: latest, key: '"${MY_TOKEN}"'}
"""
    graph = graph_of(project(tmp_path, text, MY_TOKEN=SECRET))
    shown = repr(graph)
    for part in ("se<", "cr>", "42", "and", "more"):
        assert part not in shown.replace("12345678901234567890123456", ""), part
    assert "name ***" in shown
    assert node(graph, "numbers", "runner").detail == "echo 12345678901234567890123456 *** ***"


def test_how_a_run_ended(tmp_path: Path) -> None:
    run, report = chain(directory=tmp_path)
    report = msgspec.structs.replace(report, seconds=1.0)
    graph = graph_of(run, report)
    assert (graph.summary, graph.well) == ("balanced, after 1s", True)
    graph = graph_of(run, msgspec.structs.replace(report, errors=["n exited with code 3"], exit_code=1))
    assert (graph.summary, graph.well) == ("balanced, failed, after 1s", False)
    graph = graph_of(run, msgspec.structs.replace(report, balanced=False, exit_code=1))
    assert (graph.summary, graph.well) == ("not balanced, after 1s", False)


def test_texts_are_cut_and_legible(tmp_path: Path) -> None:
    text = 'runners: {"a\\n\\e[31m": {command: [echo, "' + "x" * 100 + '"]}}\n'
    text += 'pipelines: {p: {from: "a\\n\\e[31m", sinks: [{null: {}, backpressure: block}]}}\n'
    graph = graph_of(project(tmp_path, text))
    assert graph.nodes[0].title == "a \\x1b[31m"
    assert graph.nodes[0].detail == "echo " + "x" * 36 + "…"


@pytest.mark.parametrize("file", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_pipelines_that_come_with_it(file: Path) -> None:
    loaded = rx.load(file, {})
    graph = graph_of(loaded)
    keys = {node.key for node in graph.nodes}
    assert all({edge.start, edge.end} <= keys for edge in graph.edges)
    assert [node.title for node in graph.of_kind("runner", "pipeline")] == [*loaded.runners, *loaded.pipelines]
    sinks = sum(len(spec.sinks) + (spec.dead_letter is not None) for spec in loaded.pipelines.values())
    assert len(list(graph.of_kind("sink"))) == len(list(graph.of_kind("boundary"))) == sinks
    assert str(ROOT) not in repr(graph)


def test_what_stands_at_an_edge() -> None:
    assert Edge("a", "b", "stdin", 1234).text == "1,234 stdin"
    assert Edge("a", "b", "", 0).text == "0"
    assert Edge("a", "b", "lifecycle").text == "lifecycle"
    assert Edge("a", "b").text == ""


def test_the_report_of_a_reloaded_run_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(BESIDE)
    project = rx.load(file)
    report = project.run()
    pipeline = report.pipelines["all"]
    again = msgspec.structs.replace(pipeline.nodes[0], node=f"generation 2, {pipeline.nodes[0].node}")
    pipelines = {**report.pipelines, "all": msgspec.structs.replace(pipeline, nodes=[*pipeline.nodes, again])}
    with pytest.raises(ConfigError) as caught:
        graph_of(project, msgspec.structs.replace(report, pipelines=pipelines))
    assert [str(mistake) for mistake in caught.value.mistakes] == [
        "pipelines.all: it was changed while it ran (a reload), so the report has more than the file describes"
    ]
