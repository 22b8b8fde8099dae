"""The benchmarks themselves: each part runs with hardly any events, and what is made of the figures is of its form."""

from __future__ import annotations

import ast
import json
import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks import parts, readme
from benchmarks.chart import chart
from benchmarks.measure import Usage, interleaved, median_of, percentile, ratio_to
from benchmarks.tables import tables

pytestmark = pytest.mark.once
ROOT = Path(__file__).parent.parent.parent
PARTS = (
    "J1",
    "J2",
    "J3",
    "keep1",
    "start",
    "idle",
    "latency",
    "steady",
    "stage",
    "boundary",
    "workers",
    "compression",
    "growth",
)


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
        assert {
            "rx_collector",
            "by hand, typed Struct",
            "by hand, tuned",
            "by hand, dicts",
            "reactivex + msgspec",
        } <= set(job)
        assert job["by hand, typed Struct"]["cpu_ratio"] == 1.0
    assert set(found["parts"]["growth"]["results"]) == {"operators", "sinks", "events", "runners", "line length"}
    assert all(math.isfinite(number) for number in _numbers(found["parts"]))
    assert all(row["p50_ms"] > 0 for row in found["parts"]["latency"]["results"].values())


# How it is measured


_MEASURE = "import sys; from benchmarks.measure import measure; print(vars(measure(sys.argv[1:])))"


def measured(*command: str) -> dict[str, float]:
    """Measure in a process of its own, since all that is left behind there is waited for."""
    program = [sys.executable, "-c", _MEASURE, *command]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ValueError(done.stderr)
    found: dict[str, float] = ast.literal_eval(done.stdout)
    return found


@pytest.mark.slow
def test_what_a_contender_starts_and_leaves_behind_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    leave = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    alone, left = (measured(sys.executable, "-c", text) for text in ("pass", leave))
    assert left["cpu"] > alone["cpu"] + 0.25
    large = measured(sys.executable, "-c", "x = bytearray(50_000_000)")
    assert 45e6 < large["memory"] - alone["memory"] < 60e6
    with pytest.raises(ValueError, match="false failed"):
        measured("false")


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    order: list[str] = []

    def run_of(name: str) -> Callable[[], Usage]:
        def one() -> Usage:
            order.append(name)
            return Usage(len(order), 0, 0)

        return one

    taken = interleaved({name: run_of(name) for name in "abc"}, 2, lambda _: None)
    assert "".join(order) == "cba" + "abc" + "cba"
    assert [usage.cpu for usage in taken["a"]] == [4, 9]


def test_a_ratio_is_that_of_the_pairs_and_ours_is_above() -> None:
    ours = [Usage(1, 5, 7), Usage(20, 5, 9), Usage(3, 50, 8)]
    theirs = [Usage(2, 1, 1), Usage(40, 1, 1), Usage(4, 1, 1)]
    assert ratio_to(ours, theirs) == 0.5  # the machine was slow for both in the second round
    assert ratio_to(ours, theirs, "wall") == 5
    assert [median_of(ours, what) for what in ("cpu", "wall", "memory")] == [3, 5, 8]
    assert percentile([*range(100)], 0.99) == 99
    assert percentile([5, 1, 3], 0.5) == 3


@pytest.mark.parametrize(
    ("job", "changed", "same"),
    [
        ("J1", [b'{"a":1}', b'{"b":2,"a":1}'], True),
        ("J1", [b'{"a":1}'], False),
        ("J1", [b'{"a":1}', b'{"a":1,"b":3}'], False),
        ("J1", [b'{"a":1,"b":2}', b'{"a":1}'], False),
        ("J3", [b'{"a":1,"b":2}', b'{"a":1}'], True),
    ],
)
def test_contenders_that_do_not_do_the_same_are_told(
    job: str, changed: list[bytes], same: bool, tmp_path: Path
) -> None:
    many = [b'{"a":0}'] * 10_000  # what is wrong may come late
    for name in ("ours", "typed", "tuned", "dicts", "chain"):
        lines = [b'{"a":1}', b'{"a":1,"b":2}'] if name != "ours" else changed
        (tmp_path / f"{name}.out").write_bytes(b"".join(line + b"\n" for line in many + lines))
    if same:
        parts._same_work(job, tmp_path)
    else:
        with pytest.raises(SystemExit, match="do not give the same"):
            parts._same_work(job, tmp_path)


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
    verdicts = [row.split("|")[5].partition(":")[0].strip() for row in rows if row.count("|") == 6][2:]
    assert len(verdicts) == len(readme._GOALS)
    assert set(verdicts) <= {"reached", "reached, the aim is not", "**not reached**", "not measured"}
    assert sum(verdict != "not measured" for verdict in verdicts) >= 10
    assert sum(line.startswith("J2 into a gzip file") for line in text.splitlines()) == 1
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
