"""The benchmarks themselves: each part runs with hardly any events, and what is made of the figures is of its form."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from benchmarks import readme
from benchmarks.chart import chart
from benchmarks.tables import tables

ROOT = Path(__file__).parent.parent.parent
PARTS = ("J1", "J2", "J3", "keep1", "start", "idle", "latency", "stage", "boundary", "workers", "growth")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RX_COLLECTOR")}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All figures of a run that measures next to nothing."""
    file = tmp_path_factory.mktemp("figures") / "speed.json"
    result = run("--tiny", "--json", str(file))
    assert result.returncode == 0, result.stderr
    figures: dict[str, Any] = json.loads(file.read_text())
    assert list(tables(figures)) == result.stdout.splitlines()
    return figures


@pytest.mark.slow
def test_a_part_can_be_measured_again(found: dict[str, Any], tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(found))
    result = run("--tiny", "idle", "--from", str(old), "--json", str(new))
    assert result.returncode == 0, result.stderr
    again = json.loads(new.read_text())
    assert again["parts"]["jobs"] == found["parts"]["jobs"]
    assert set(again["parts"]) == set(found["parts"])


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for item in value.values() for number in _numbers(item)]
    if isinstance(value, list):
        return [number for item in value for number in _numbers(item)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.slow
def test_every_part_gives_figures(found: dict[str, Any]) -> None:
    assert set(found["parts"]) == {"jobs", *PARTS[4:]}
    assert list(found["parts"]["jobs"]["results"]) == ["J1", "J2", "J3", "keep 1 %"]
    for job in found["parts"]["jobs"]["results"].values():
        assert {"rx_collector", "by hand, typed Struct", "by hand, dicts", "reactivex + msgspec"} <= set(job)
        assert job["by hand, typed Struct"]["cpu_ratio"] == 1.0
    assert set(found["parts"]["growth"]["results"]) == {"operators", "sinks", "events", "runners", "line length"}
    assert all(math.isfinite(number) for number in _numbers(found["parts"]))
    assert all(row["p50_ms"] > 0 for row in found["parts"]["latency"]["results"].values())


@pytest.mark.slow
def test_the_chart_is_one_picture_for_light_and_dark(found: dict[str, Any]) -> None:
    drawn = chart(found)
    picture = ElementTree.fromstring(drawn)
    texts = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("rx_collector") == 4
    assert "prefers-color-scheme: dark" in drawn
    assert "nan" not in drawn
    _, _, width, height = map(float, picture.attrib["viewBox"].split())
    for text in picture.iter("{http://www.w3.org/2000/svg}text"):
        assert 0 <= float(text.attrib["x"]) <= width
        assert 0 <= float(text.attrib["y"]) <= height


@pytest.mark.slow
def test_the_readme_is_rewritten_between_its_markers(found: dict[str, Any], tmp_path: Path) -> None:
    page, picture = tmp_path / "README.md", tmp_path / "speed.svg"
    page.write_text(f"before\n{readme.BEGIN}\nold\n{readme.END}\nbehind\n")
    readme.update(found, page, picture)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nbehind\n") and "\nold\n" not in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert sum("reached" in row for row in rows) >= 10
    assert len({row.count("|") for row in rows if "reached" in row or "at most" in row}) == 1
    assert picture.read_text() == chart(found)
    readme.update(found, page, picture)
    assert page.read_text() == text, "again, the same"


def test_the_readme_of_this_package_has_the_markers_and_the_chart() -> None:
    text = readme.README.read_text()
    assert text.count(readme.BEGIN) == text.count(readme.END) == 1
    ElementTree.parse(readme.CHART)


def test_without_markers_nothing_is_written() -> None:
    with pytest.raises(ValueError, match="markers"):
        readme.between("no markers", "new")


@pytest.mark.slow
def test_a_part_that_there_is_not_is_told() -> None:
    result = run("J7")
    assert result.returncode == 2
    assert "unknown part 'J7'" in result.stderr
