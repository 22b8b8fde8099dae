"""What of two descriptions differs: nothing for a file that is read twice, each part that is described otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.operators import OPERATORS
from rx_collector.pipeline.compare import Difference, in_order, names
from rx_collector.pipeline.project import Project
from rx_collector.sinks import SINKS

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "pipelines").glob("*.yaml"))

TEXT = """\
runners:
  a: {command: [a]}
  b: {command: [b]}
  unread: {command: [c]}
pipelines:
  one:
    from: a
    operators:
      - filter: x > 1
      - route: {odd: n % 2 == 1}
    sinks:
      - file: one.ndjson
        backpressure: block
    dead_letter: {file: dead.ndjson}
  two:
    from: [one, b]
    sinks:
      - file: {path: two.ndjson, flush: 1s}
        backpressure: {strategy: latest, key: n}
  odd: {from: one.odd, sinks: [{'null': {}, backpressure: block}]}
  told: {from: a.lifecycle, sinks: [{'null': {}, backpressure: block}]}
"""


def load(directory: Path, text: str) -> Project:
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml")


def difference(old: Project, new: Project) -> Difference:
    return Difference.between(old, new, names(old))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_that_is_read_again_is_the_same(file: Path) -> None:
    assert difference(rx.load(file), rx.load(file)).empty


@pytest.mark.parametrize("name", [name for name in OPERATORS if OPERATORS[name].in_yaml and name != "python"])
def test_an_operator_that_is_read_again_is_the_same(name: str, tmp_path: Path) -> None:
    (tmp_path / "users.csv").write_text("uid,user\\n")
    example = OPERATORS[name].example
    text = TEXT.replace("- filter: x > 1", f"- {example}").replace("      - route", "      - route")
    for word in re.findall(r"started|disks", example):
        text += f"  {word}: {{from: b, sinks: [{{'null': {{}}, backpressure: block}}]}}\n"
    if name == "route":
        text = text.replace("      - route: {odd: n % 2 == 1}\n", "").replace("from: one.odd", "from: one.errors")
        text += "  slow: {from: one.slow, sinks: [{'null': {}, backpressure: block}]}\n"
    file = next(iter(re.findall(r"[\w.]+\.(?:csv|json|yaml)", example)), None)
    if file is not None:
        (tmp_path / file).write_text("uid,user,name\n1,2,3\n" if file.endswith("csv") else "[]")
    assert difference(load(tmp_path, text), load(tmp_path, text)).empty


@pytest.mark.parametrize("name", [name for name in SINKS if name not in ("callback", "stdin")])
def test_a_sink_that_is_read_again_is_the_same(name: str, tmp_path: Path) -> None:
    example = SINKS[name].example.replace("\n", "\n        ")
    text = TEXT.replace("      - file: one.ndjson\n        backpressure: block\n", f"      - {example}\n")
    assert difference(load(tmp_path, text), load(tmp_path, text)).empty


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("# nothing", "", "nothing"),
        ("runners:", "# moves all\n\nname: another\nrunners:", "nothing"),
        ("[c]", "[d]", "nothing"),
        ("[a]", "[a, b]", "runner a changed; runners b, unread kept; pipelines one, two, odd, told kept"),
        (
            "x > 1",
            "x > 2",
            "runners a, b, unread kept; pipeline one changed; pipelines two, odd, told kept",
        ),
        ("dead.ndjson", "d.ndjson", "runners a, b, unread kept; pipeline one changed; pipelines two, odd, told kept"),
        ("key: n}", "key: m}", "runners a, b, unread kept; pipeline two changed; pipelines one, odd, told kept"),
        ("flush: 1s", "flush: 2s", "runners a, b, unread kept; pipeline two changed; pipelines one, odd, told kept"),
        (
            "from: [one, b]",
            "from: [one, unread]",
            "runner unread started; runner b stopped; runner a kept; pipeline two changed; pipelines one, odd, told kept",
        ),
        (
            "  told: {from: a",
            "  heard: {from: a",
            "runners a, b, unread kept; pipeline heard added; pipeline told removed; pipelines one, two, odd kept",
        ),
        (
            "  unread: {command: [c]}\n",
            "",
            "runner unread removed; runners a, b kept; pipelines one, two, odd, told kept",
        ),
    ],
)
def test_what_differs_is_said(tmp_path: Path, old: str, new: str, said: str) -> None:
    found = difference(load(tmp_path, TEXT), load(tmp_path, TEXT.replace(old, new)))
    assert (str(found) if not found.empty else "nothing") == said


def test_each_comes_after_what_it_gets_its_events_from(tmp_path: Path) -> None:
    order = in_order(load(tmp_path, TEXT))
    assert sorted(order) == ["a", "b", "odd", "one", "told", "two", "unread"]
    for before, after in (("a", "one"), ("one", "two"), ("b", "two"), ("one", "odd"), ("a", "told")):
        assert order.index(before) < order.index(after)
