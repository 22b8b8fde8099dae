"""Mermaid, DOT and SVG are read again: all that stands in a picture is there, in each of them, whatever it is called."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html import unescape
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector.graph.dot import dot
from rx_collector.graph.mermaid import mermaid
from rx_collector.graph.model import Count, Edge, Graph, Node, Row
from rx_collector.graph.svg import svg

SVG = "{http://www.w3.org/2000/svg}"
NASTY = [
    '"]; x --> y',
    "</title><script>alert(1)</script>",
    "a & b &amp; #quot; #35;",
    "**bold** _it_ `code` 1. list - item www.example.org fa:fa-bug",
    "}{()[]|<>\\/%%{init}%%",
    "end",
    "subgraph",
    "日本語 Ümläut ﷽",
    "]]> --> <!-- -->",
    "' onload='alert(1)",
]
TEXT = st.one_of(
    st.sampled_from(NASTY), st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=30)
)
COUNT = st.builds(Count, st.integers(0, 10**12), TEXT, st.sampled_from(["plain", "good", "loss", "held", "change"]))
COUNTS = st.lists(COUNT, max_size=7).map(tuple)
ROW = st.builds(Row, TEXT, st.one_of(st.just(""), TEXT), st.one_of(st.none(), st.integers(0, 10**9)), COUNTS)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes = []
    for number in range(draw(st.integers(1, 8))):
        kind = draw(st.sampled_from(["runner", "pipeline", "boundary", "sink"]))
        rows = tuple(draw(st.lists(ROW, max_size=4))) if kind == "pipeline" else ()
        dead = kind in ("boundary", "sink") and draw(st.booleans())
        detail = draw(st.one_of(st.just(""), TEXT))
        nodes.append(Node(f"{kind}{number}", kind, draw(TEXT), "" if rows else detail, draw(COUNTS), rows, dead))
    keys = st.sampled_from([node.key for node in nodes])
    edges = []
    for start, end in draw(st.lists(st.tuples(keys, keys), max_size=12)):
        if start != end:
            count, label = draw(st.one_of(st.none(), st.integers(0, 10**9))), draw(st.one_of(st.just(""), TEXT))
            edges.append(Edge(start, end, label, count, draw(st.booleans())))
    summary = draw(st.one_of(st.just(""), TEXT))
    return Graph(
        draw(TEXT), tuple(nodes), tuple(edges), draw(st.one_of(st.just(""), TEXT)), summary, draw(st.booleans())
    )


def texts_of(graph: Graph) -> dict[str, list[str]]:
    """All that has to be read at each node and operator."""
    texts = {}
    for node in graph.nodes:
        texts[node.key] = [text for text in (node.title, node.detail) if text] + [str(count) for count in node.counts]
        for index, row in enumerate(node.rows):
            own = [text for text in (row.title, row.detail) if text] + [str(count) for count in row.counts]
            texts[f"{node.key}operator{index}"] = own
    return texts


def ways_of(graph: Graph) -> list[tuple[str, str, str, bool]]:
    """The edges between nodes and operators: from, to, what stands at it, whether it is dashed."""
    rows = {node.key: node.rows for node in graph.nodes}
    ways = []
    for node in graph.nodes:
        for index, row in enumerate(node.rows[:-1]):
            text = f"{row.out:,}" if row.out is not None else ""
            ways.append((f"{node.key}operator{index}", f"{node.key}operator{index + 1}", text, False))
    for edge in graph.edges:
        start = f"{edge.start}operator{len(rows[edge.start]) - 1}" if rows[edge.start] else edge.start
        end = f"{edge.end}operator0" if rows[edge.end] else edge.end
        ways.append((start, end, edge.text, edge.dashed))
    return ways


# Mermaid


def read_mermaid(text: str) -> tuple[str, dict[str, str], list[tuple[str, str, str, bool]]]:
    """The title, the nodes with their labels, and the edges. Every line has to be one of the known forms."""
    lines = text.splitlines()
    assert lines[0] == lines[2] == "---"
    assert lines[3] == "flowchart LR"
    title = json.loads(lines[1].removeprefix("title: "))
    labels: dict[str, str] = {}
    ways = []
    for line in lines[4:]:
        if found := re.fullmatch(r' +(\w+)(\(\[|\[\(|\[|\{\{)"([^"]*)"(\]\)|\)\]|\]|\}\}):::(\w+)', line):
            labels[found[1]] = found[3]
        elif found := re.fullmatch(r' +subgraph (\w+)\["([^"]*)"\]', line):
            labels[found[1]] = found[2]
        elif found := re.fullmatch(r' +(\w+) (?:(--|-\.) "([^"]*)" )?(-->|\.->|-\.->) (\w+)', line):
            ways.append((found[1], found[5], entities(found[3] or ""), "." in found[4]))
        else:
            known = r" +(direction LR|end|class \w+ loss|classDef \w+ [\w#:,-]+( \d)?)"
            assert re.fullmatch(known, line), line
    return title, labels, ways


def entities(text: str) -> str:
    assert not re.search(r"[^\w ,#;<>/-]", text), text
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), text)


@settings(deadline=None)
@given(graphs())
def test_mermaid(graph: Graph) -> None:
    title, labels, ways = read_mermaid(mermaid(graph))
    assert graph.title.replace("#", "♯") in title
    expected = texts_of(graph)
    rows = {node.key for node in graph.nodes if node.rows}
    assert labels.keys() == expected.keys()
    for key, label in labels.items():
        assert "<" not in label.replace("<br/>", "")
        own = expected[key]
        if key in rows:
            assert entities(label) == ", ".join(own)
        else:
            assert ", ".join(map(entities, label.split("<br/>"))) == ", ".join(own)
    assert sorted(ways) == sorted(ways_of(graph))


# DOT


class Dot:
    """As much of DOT as is written."""

    def __init__(self, text: str) -> None:
        self.labels: dict[str, str] = {}
        self.ways: list[tuple[str, str, str, bool]] = []
        lines = text.splitlines()
        assert (lines[0], lines[-1]) == ("digraph {", "}")
        clusters: list[str] = []
        for line in lines[1:-1]:
            if found := re.fullmatch(r" +subgraph cluster(\w+) \{", line):
                clusters.append(found[1])
            elif re.fullmatch(r" +\}", line):
                clusters.pop()
            elif found := re.fullmatch(r" +(\w+)(?: -> (\w+))?(?: \[(.*)\])?", line):
                self._statement(found[1], found[2], found[3] or "", clusters)
            else:
                raise AssertionError(line)
        assert clusters == []

    def _statement(self, start: str, end: str | None, attributes: str, clusters: list[str]) -> None:
        label = ""
        if "label=<" in attributes:
            head, _, tail = attributes.partition("label=<")
            depth, at = 1, 0
            while depth:  # in a label of this form, brackets are balanced
                depth += {"<": 1, ">": -1}.get(tail[at], 0)
                at += 1
            label, attributes = tail[: at - 1], head + tail[at:]
        if end is None and start in ("node", "edge", "graph"):
            if start == "graph" and clusters:
                self.labels[clusters[-1]] = label
            return
        assert re.fullmatch(r'(?:(?:[\w]+=(?:\w+|"[^"\\]*")|), ?)*(?:\w+=(?:\w+|"[^"\\]*"))?', attributes), attributes
        if end is None:
            self.labels[start] = label
        else:
            if not clusters:  # between pipelines, an edge ends at their frames
                for key, way in (("ltail", start), ("lhead", end)):
                    frame = re.search(rf"{key}=cluster(\w+)", attributes)
                    assert (frame[1] if frame else way) == way.partition("operator")[0]
            self.ways.append((start, end, plain(label), "style=dashed" in attributes))


def plain(label: str) -> str:
    """The text of a label, which has to be well-formed and of known elements only."""
    top = ElementTree.fromstring(f"<top>{label.replace('<BR/>', ', ')}</top>")
    assert {element.tag for element in top.iter()} <= {"top", "B", "FONT"}
    return "".join(top.itertext())


@settings(deadline=None)
@given(graphs())
def test_dot(graph: Graph) -> None:
    read = Dot(dot(graph))
    expected = texts_of(graph)
    assert {key: plain(label) for key, label in read.labels.items()} == {
        key: ", ".join(own) for key, own in expected.items()
    }
    assert sorted(read.ways) == sorted(ways_of(graph))


# SVG


@settings(deadline=None)
@given(graphs())
def test_svg(graph: Graph) -> None:
    top = ElementTree.fromstring(svg(graph))
    tags = {element.tag.removeprefix(SVG) for element in top.iter()}
    assert tags <= {"svg", "title", "desc", "style", "rect", "g", "path", "text", "tspan", "circle"}
    for element in top.iter():
        assert not any(name.startswith("on") or "href" in name for name in element.attrib)
        assert not any("url(" in value for value in element.attrib.values())
    assert top.findtext(f"{SVG}title") == graph.title
    assert top.findtext(f"{SVG}desc", "") == graph.description
    assert {"@import", "url(", "http"}.isdisjoint(re.findall(r"@import|url\(|http", top.findtext(f"{SVG}style", "")))
    groups = {group.get("id"): group for group in top.iter(f"{SVG}g") if group.get("id") is not None}
    assert list(groups) == [node.key for node in graph.nodes]
    for node in graph.nodes:
        shown = ["".join(span.itertext()) for span in groups[node.key].iter(f"{SVG}tspan")]
        wanted = [node.title, *map(str, node.counts[:3])]
        if node.kind != "pipeline":
            wanted += [node.detail] * bool(node.detail) + list(map(str, node.counts))
        for row in node.rows:
            wanted += [row.title, *map(str, row.counts), *([f"{row.out:,}"] if row.out is not None else [])]
        assert [text for text in wanted if text not in shown] == []
        assert len(groups[node.key].findall(f"{SVG}circle")) == len(node.rows)
        assert len(groups[node.key].findall(f"{SVG}path")) == (len(node.rows) > 1)
    links = [group for group in top.iter(f"{SVG}g") if group.get("class") == "link"]
    assert [
        (
            link.get("data-start"),
            link.get("data-end"),
            "".join(link.itertext()).strip(),
            "dashed" in link.findall(f"{SVG}path")[0].get("class", ""),
        )
        for link in links
    ] == [(edge.start, edge.end, edge.text.strip(), edge.dashed) for edge in graph.edges]


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.get(name, "0"))


@settings(deadline=None)
@given(graphs())
def test_no_box_of_an_svg_lies_on_another_and_all_are_in_the_picture(graph: Graph) -> None:
    top = ElementTree.fromstring(svg(graph))
    boxes = [box for box in top.iter(f"{SVG}rect") if box.get("class") == "box"]
    assert len(boxes) == len(graph.nodes)
    sides = [(number(box, "x"), number(box, "y"), number(box, "width"), number(box, "height")) for box in boxes]
    for (x, y, width, height), (left, upper, wide, high) in combinations(sides, 2):
        assert x + width < left or left + wide < x or y + height < upper or upper + high < y
    for x, y, width, height in sides:
        assert x >= 0
        assert y >= 0
        assert x + width <= number(top, "width")
        assert y + height <= number(top, "height")
    for group in (group for group in top.iter(f"{SVG}g") if group.get("id") is not None):
        box = group.find(f"{SVG}rect")
        assert box is not None
        lines = [number(text, "y") for text in group.iter(f"{SVG}text")]
        assert all(number(box, "y") + 8 < line <= number(box, "y") + number(box, "height") - 6 for line in lines)


GRAPH = Graph(
    "audit",
    (
        Node("runner0", "runner", "exec", "seq 9", (Count(9, "lines"),)),
        Node(
            "pipeline0",
            "pipeline",
            "p",
            "",
            (Count(9, "in"),),
            (Row("filter", "a", 7, (Count(2, "rejected", "loss"),)),),
        ),
        Node("sink0", "sink", "file", "", (Count(7, "delivered", "good"), Count(1, "failed", "loss"))),
    ),
    (Edge("runner0", "pipeline0", "", 9), Edge("pipeline0", "sink0", "", 7)),
    summary="balanced, after 1s",
)


def test_what_is_lost_is_told_by_its_colour() -> None:
    text = svg(GRAPH)
    assert '<tspan class="loss">2 rejected</tspan>' in text
    assert 'class="loss" dx="5">1 failed</tspan>' in text
    assert '<tspan class="good">7 delivered</tspan>' in text
    assert re.search(r"^\.loss \{ fill: #dc2626", text, re.MULTILINE)
    assert '<FONT COLOR="#dc2626">2 rejected</FONT>' in dot(GRAPH)
    lines = mermaid(GRAPH).splitlines()
    assert "    class pipeline0operator0 loss" in lines
    assert "    class sink0 loss" in lines
    assert not any(line.startswith("    class runner0") for line in lines)


def test_an_edge_bends_only_between_levels_and_ends_at_its_arrow() -> None:
    two = replace(
        GRAPH,
        nodes=(*GRAPH.nodes, Node("sink1", "sink", "other")),
        edges=(*GRAPH.edges, Edge("pipeline0", "sink1"), Edge("sink1", "runner0", "stdin")),
    )
    top = ElementTree.fromstring(svg(two))
    links = [
        [path.get("d", "") for path in group.findall(f"{SVG}path")]
        for group in top.iter(f"{SVG}g")
        if group.get("class") == "link"
    ]
    for way, arrow in links:
        first, last = re.findall(r"[\d.]+", way)[:2], re.findall(r"[\d.]+", way)[-2:]
        x, y = re.findall(r"[\d.]+", arrow)[:2]
        if "C" not in way:
            assert y == first[1]
            assert x == last[-1]
        elif way.rpartition("H")[2] == x:
            assert re.findall(r"[\d.]+ ([\d.]+)H[\d.]+$", way) == [y]
        else:
            assert last == [x, y]
    assert ["C" in way for way, _ in links] == [True, True, True, True]
    assert [re.findall("l(-?7) ", arrow) for _, arrow in links] == [["-7"], ["-7"], ["-7"], ["7"]]
    assert ["C" in path.get("d", "") for path in ElementTree.fromstring(svg(GRAPH)).iter(f"{SVG}path")][:1] == [False]


def test_the_width_of_a_text_is_written_where_fonts_do_not_agree_about_it() -> None:
    text = svg(Graph("audit", (Node("runner0", "runner", "日本", "Ümläut"),), ()))
    assert re.findall(r'textLength="([\d.]+)" lengthAdjust="spacingAndGlyphs">(\w+)<', text) == [("33.8", "日本")]


def test_a_heading_is_within_the_picture() -> None:
    top = ElementTree.fromstring(svg(Graph("W" * 100, (Node("runner0", "runner", "a"),), ())))
    assert number(top, "width") > 100 * 18


def test_what_could_be_markup_in_mermaid() -> None:
    line = mermaid(Graph("a", (Node("runner0", "runner", "_it_ --x a-b-c drop_oldest 1. a__b"),), ())).splitlines()[4]
    assert line == '    runner0(["#95;it#95; #45;#45;x a-b-c drop_oldest 1#46; a#95;#95;b"]):::runner'


def test_a_run_that_did_not_end_well_is_told_by_its_colour() -> None:
    wrong = replace(GRAPH, summary="not balanced, after 1s", well=False)
    assert '<tspan class="about loss">not balanced, after 1s</tspan>' in svg(wrong)
    assert '<tspan class="about good">balanced, after 1s</tspan>' in svg(GRAPH)
    assert '<FONT COLOR="#dc2626">not balanced, after 1s</FONT>' in dot(wrong)
    assert "title: " + json.dumps("audit (not balanced, after 1s)") in mermaid(wrong)


def test_an_svg_knows_light_and_dark() -> None:
    style = ElementTree.fromstring(svg(GRAPH)).findtext(f"{SVG}style", "")
    light, _, dark = style.partition("@media (prefers-color-scheme: dark) {")
    selectors = re.findall(r"^(\S.*?) \{ [^}]*(?:fill|stroke): #", light, re.MULTILINE)
    assert len(selectors) > 15
    for selector in selectors:
        assert f"\n{selector} {{" in dark


@pytest.mark.parametrize("name", NASTY)
def test_a_name_is_no_markup(name: str) -> None:
    graph = Graph(name, (Node("runner0", "runner", name, name),), ())
    assert "<script" not in svg(graph) + mermaid(graph) + dot(graph)
    assert unescape(svg(graph)).count(name) == 4  # twice as the title, and at the node
