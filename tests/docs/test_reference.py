"""Every component has a case that passes, a picture that is made by running it, and a page; every link leads somewhere."""

from __future__ import annotations

import doctest
import importlib.util
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from docs._build import cases, slow_sink
from docs._build import pages as pages_module
from docs._build import picture as picture_module
from docs._build.cases import CASES, SORTS, Case, case_of, run_sink
from docs._build.pages import Made, linked, made, navigation
from docs._build.picture import WIDTH, Picture, draw
from rx_collector.cli.catalogue import _components
from rx_collector.pipeline.project import load
from tests.docs.test_documents import ROOT

COMPONENTS = [(sort, name) for sort, components in _components().items() for name in components]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(("sort", "name"), COMPONENTS)
def test_a_component_has_a_case(sort: str, name: str) -> None:
    path = case_of(sort, name).path
    assert path.exists(), f"{name} needs a case: a pipeline file with tests, {path.relative_to(ROOT)}"


@pytest.mark.parametrize("directory", SORTS.values())
def test_a_case_is_one_of_a_component(directory: str) -> None:
    known = {case_of(sort, name).path for sort, name in COMPONENTS}
    assert set((CASES / directory).iterdir()) <= known


@pytest.mark.parametrize(("sort", "name"), COMPONENTS)
def test_a_case_passes_its_own_tests(sort: str, name: str) -> None:
    needed(name)
    case = case_of(sort, name)
    project = case.project()
    assert project.name == name
    verdicts = project.test()
    assert verdicts
    for verdict in verdicts:
        assert verdict.passed, verdict
    shown = " ".join(case.yaml(next(iter(project.tests[0].expect.events))))
    written = "format: " + name if sort == "formats" and "{format" in shown else name
    assert re.search(rf"\b{written}\b", shown), f"{case.path.relative_to(ROOT)} does not show {name}"


def needed(name: str) -> None:
    if name == "jc":
        pytest.importorskip("jc")


@cache
def picture(sort: str, name: str) -> Picture:
    return case_of(sort, name).picture()


def rectangles(svg: ElementTree.Element) -> Iterator[tuple[float, float, float, float]]:
    for rect in svg.iter(f"{SVG}rect"):
        if "marble" in rect.get("class", "") or rect.get("class") == "box":
            x, y, width, height = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
            yield x, y, x + width, y + height


@pytest.mark.parametrize(("sort", "name"), [pair for pair in COMPONENTS if pair[0] != "sinks"])
def test_a_picture(sort: str, name: str) -> None:
    check_picture(sort, name)


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("name", [name for sort, name in COMPONENTS if sort == "sinks"])
def test_a_picture_of_a_sink(name: str) -> None:
    check_picture("sinks", name)


def check_picture(sort: str, name: str) -> None:
    """It can be read on a phone, nothing lies upon something else, and it is told in words, too."""
    needed(name)
    drawn = draw(picture(sort, name))
    svg = ElementTree.fromstring(drawn)
    assert svg.get("width") == f"{WIDTH:g}", "it is too wide: let the case have shorter texts or fewer moments"
    assert (svg.findtext(f"{SVG}title") or "").startswith(f"{name}: ")
    assert "In comes " in (svg.findtext(f"{SVG}desc") or "")
    found = list(rectangles(svg))
    assert len(found) >= 2
    for number, (left, top, right, bottom) in enumerate(found):
        assert 0 <= left < right <= WIDTH
        assert bottom <= float(svg.get("height", ""))
        for other in found[:number]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
            assert apart, f"{name}: {(left, top, right, bottom)} lies upon {other}"
    # A letter is not wider than 0.61 of its height in the usual fonts.
    for text in svg.iter(f"{SVG}text"):
        if text.get("class") in (None, "quiet") and text.get("text-anchor") is None:
            assert float(text.get("x", "")) + len("".join(text.itertext())) * 12 * 0.61 <= WIDTH - 8
    assert "prefers-color-scheme: dark" in drawn
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|<script|@import|url\(", drawn.replace(told(drawn), ""))


def told(drawn: str) -> str:
    (found,) = re.findall(r"<desc[^>]*>(.*?)</desc>", drawn, re.DOTALL)
    return str(found)


@pytest.mark.parametrize("name", [name for sort, name in COMPONENTS if sort == "strategies"])
def test_what_a_slow_sink_gets(name: str) -> None:
    slow = case_of("strategies", name).slow
    assert slow is not None
    got = picture("strategies", name).below[0]
    assert " ".join(line for marble in got.marbles for line in marble.lines) == slow[1]


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("name", [name for sort, name in COMPONENTS if sort == "sinks"])
def test_what_a_sink_leaves(name: str) -> None:
    case = case_of("sinks", name)
    assert case.leaves is not None
    assert run_sink(case) == case.leaves[1]


def marbles(sort: str, name: str) -> list[tuple[float, str, bool]]:
    return [(one.at, " ".join(one.lines), one.gone) for lane in picture(sort, name).lanes for one in lane.marbles]


def test_a_picture_shows_what_the_component_does() -> None:
    """What is filtered is drawn as gone, a list comes when it is complete, and a blocked producer is late."""
    assert marbles("operators", "where") == [
        (0, "90", False),
        (1, "10", True),
        (2, "50", True),
        (3, "70", False),
        (0, "90", False),
        (3, "70", False),
    ]
    assert marbles("operators", "buffer")[-3:] == [(1, "[1, 2, 3]", False), (4, "[4]", False), (6, "[5, 6]", False)]
    wanted, written, got = picture("strategies", "block").lanes
    assert [one.at for one in wanted.marbles] == [0, 1, 2, 3, 4]
    assert [one.at for one in written.marbles] == [0, 1, 2, 4, 6]
    assert [one.at for one in got.marbles] == [0, 2, 4, 6, 8]
    assert picture("strategies", "error").below[0].failed
    assert [one.gone for one in picture("strategies", "drop_oldest").above[0].marbles] == [0, 0, 1, 0, 1, 0]


@cache
def pages() -> dict[str, Made]:
    return {one.place: one for one in made()}


def everything() -> dict[str, str]:
    """All pages, those that are made and those that are written, by their place."""
    documents = ROOT / "docs"
    written = {str(path.relative_to(documents)): path.read_text() for path in documents.rglob("*.md")}
    made_ = {place: one.text for place, one in pages().items() if place.endswith(".md")}
    return {place: linked(text) for place, text in (written | made_).items()}


def anchors(text: str) -> set[str]:
    """The names by which the headings of a page are reached."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", re.sub(r"\]\([^)]*\)", "", title)).strip().lower())
        for title in titles
    }


@pytest.mark.slow
@pytest.mark.once
def test_every_link_leads_somewhere() -> None:
    found = everything()
    pictures = {place for place in pages() if place.endswith(".svg")}
    pictures |= {path.name for path in (ROOT / "docs").glob("*.svg")}
    for place, text in found.items():
        prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            if target.startswith("https://"):
                continue
            path, _, anchor = target.partition("#")
            there = str((Path("/") / place).parent.joinpath(path).resolve().relative_to("/")) if path else place
            assert there in found or there in pictures, f"{place}: {target}"
            assert not anchor or anchor in anchors(found[there]), f"{place}: {target}"


def test_every_link_leads_somewhere_for_readers_of_the_code_too() -> None:
    """Where the documents are not pages but files: nothing that is made may be linked."""
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        prose = re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE))
        for target in re.findall(r"\]\(([^)\s]+)\)", prose):
            file, _, anchor = target.partition("#")
            if not target.startswith("https://"):
                there = path.parent / file if file else path
                assert there.exists(), f"{path.relative_to(ROOT)}: {target}"
                assert not anchor or anchor in anchors(there.read_text()), f"{path.relative_to(ROOT)}: {target}"


@pytest.mark.slow
@pytest.mark.once
def test_every_page_is_in_the_navigation() -> None:
    def places(item: object) -> Iterator[str]:
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            for one in item.values():
                yield from places(one)
        elif isinstance(item, list):
            for one in item:
                yield from places(one)

    placed = list(places(navigation(pages().values(), ROOT / "docs")))
    assert sorted(placed) == sorted(everything())


def test_every_document_with_code_is_run_by_a_test() -> None:
    """What its code does is the business of that test; this one knows only that there is one which names the document."""
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for path in (ROOT / "docs").glob("*.md"):
        if "```" in path.read_text():
            assert f'{path.name}"' in tests, f"docs/{path.name} has code; let a test in tests/docs run it"


@pytest.mark.slow
@pytest.mark.once
def test_the_yaml_of_the_pages_that_are_made_is_right(tmp_path: Path) -> None:
    """Of the report and of the keys of a file; that of the components are their cases and what `describe` shows."""
    (text,) = re.findall(r"^```yaml\n(.*?)^```", pages()["reference/report.md"].text, re.DOTALL | re.MULTILINE)
    (tmp_path / "even.yaml").write_text(text)
    report = load(tmp_path / "even.yaml").run()
    shown = re.findall(r"^```json\n(.*?)^```", pages()["reference/report.md"].text, re.DOTALL | re.MULTILINE)
    changing = r'"(?:\w*seconds|max_rss)": [^,\n]*'
    assert re.sub(changing, "", report.json().decode()) == re.sub(changing, "", shown[0])
    for line in re.findall(r"^```yaml\n(.*?)^```", pages()["reference/file.md"].text, re.DOTALL | re.MULTILINE):
        assert yaml.safe_load(line)


@pytest.mark.slow
@pytest.mark.once
def test_a_page_of_a_component_has_what_there_is_to_know() -> None:
    for sort, name in COMPONENTS:
        text = pages()[f"reference/{SORTS[sort]}/{name}.md"].text
        component = _components()[sort][name]
        assert component.summary in text
        assert f"]({name}.svg)" in text
        assert case_of(sort, name).example in text
        for key in component.options():
            assert f"| `{key}` |" in text
        assert getattr(component, "guarantee", "") in text
        assert f"]({name}.md)" in pages()[f"reference/{SORTS[sort]}/index.md"].text


if importlib.util.find_spec("mkdocs") is not None:  # where it is installed: tox -e docs

    @pytest.mark.slow
    @pytest.mark.once
    def test_the_site_is_built_and_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path)]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        assert result.returncode == 0, result.stderr
        built = list(tmp_path.rglob("*.html"))
        assert len(built) > len(COMPONENTS)
        for path in built:
            text = path.read_text()
            assert re.findall(r'<(?:script|img|iframe)[^>]* src="(?:https?:)?//[^"]*"', text) == [], path.name
            assert re.findall(r'<link[^>]* rel="(?:stylesheet|preconnect)"[^>]* href="(?:https?:)?//', text) == [], (
                path.name
            )
        assert (tmp_path / "reference" / "operators" / "window.svg").exists()
        assert not (tmp_path / "_build").exists()


@pytest.mark.parametrize("module", [cases, pages_module, picture_module, slow_sink])
def test_docstrings_of_what_makes_the_pages(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_a_case_knows_its_parts() -> None:
    case: Case = case_of("strategies", "drop_oldest")
    assert case.about == "A screen that shows what is new: old events that nobody has seen yet make room."
    assert case.example.startswith("name: drop_oldest\n")
    assert case.yaml("screen")[0] == "- console: pretty"
    assert case.leaves is None
