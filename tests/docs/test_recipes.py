"""Each recipe passes its own tests, and is run on recordings of the tools it names."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from tests.docs.test_documents import ROOT, blocks

CAPTURES = ROOT / "tests" / "captures"
RECORDINGS = {
    "process": "process.ndjson",
    "sslsniff": "sslsniff.ndjson",
    "vmstat": "vmstat.txt",
    "inotify": "inotifywait.txt",
}
RECIPES = {name: text for text in blocks("docs/recipes.md", "yaml") for name in re.findall(r"^name: (\w+)", text)}


def run_recipe(name: str, directory: Path, **more: list[str]) -> tuple[rx.Report, list[dict[str, Any]]]:
    """Run a recipe with `cat` of the recordings in the place of its tools."""
    (directory / "x.yaml").write_text(RECIPES[name])
    project = rx.load(directory / "x.yaml", {})
    for runner in project.runners:
        command = more.get(runner) or ["cat", str(CAPTURES / RECORDINGS[runner])]
        project = project.with_runner(runner, command=command)
    report = project.run()
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0, report.errors
    out = directory / f"{name}.ndjson"
    return report, [json.loads(line) for line in out.read_bytes().split(b"\n")[:-1]] if out.exists() else []


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_passes_its_own_tests(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(RECIPES[name])
    verdicts = rx.load(tmp_path / "x.yaml", {}).test()
    assert verdicts
    for verdict in verdicts:
        assert verdict.passed, verdict


def test_talkers(tmp_path: Path) -> None:
    _, lines = run_recipe("talkers", tmp_path)
    assert sum(line["events"] for line in lines) == 2976
    assert all(1 <= len(line["talkers"]) <= 3 <= line["programs"] for line in lines)


def test_archive(tmp_path: Path) -> None:
    report, _ = run_recipe("archive", tmp_path)
    with gzip.open(tmp_path / "archive.ndjson.gz") as file:
        lines = [json.loads(line) for line in file]
    records = [json.loads(line) for line in (CAPTURES / "process.ndjson").read_bytes().split(b"\n")[1:-1]]
    assert [line["data"] for line in lines] == records
    assert report.pipelines["archive"].sinks["file"].delivered == len(records)
    packed = (tmp_path / "archive.ndjson.gz").stat().st_size
    assert packed * 5 < sum(len(json.dumps(line)) for line in lines)


def test_sessions(tmp_path: Path) -> None:
    _, lines = run_recipe("sessions", tmp_path)
    records = [json.loads(line) for line in (CAPTURES / "process.ndjson").read_bytes().split(b"\n")[1:-1]]
    assert sum(line["events"] for line in lines) == len(records)
    assert {line["pid"] for line in lines} == {record["pid"] for record in records}


def test_traffic(tmp_path: Path) -> None:
    secret = "s3cr3t-t0ken-value"
    line = {"comm": "curl", "data": f"GET / HTTP/1.1\r\nAuthorization: Bearer {secret}\r\nCookie: id={secret}\r\n\r\n"}
    shutil.copy(CAPTURES / "sslsniff.ndjson", tmp_path / "capture")
    with open(tmp_path / "capture", "a") as file:
        file.write(json.dumps(line) + "\n")
    _, lines = run_recipe("traffic", tmp_path, sslsniff=["cat", "capture"])
    assert len(lines) == 400
    assert secret not in (tmp_path / "traffic.ndjson").read_text()
    assert re.search(r"Authorization: Bearer [0-9a-f]{16}\r\nCookie: [0-9a-f]{16}\r\n", lines[-1]["data"])
    plain = json.loads((CAPTURES / "sslsniff.ndjson").read_bytes().split(b"\n")[0])
    assert lines[0] == plain  # what has no secret is as it was


def test_changes(tmp_path: Path) -> None:
    _, lines = run_recipe("changes", tmp_path)
    assert [line["cs_change"] for line in lines] == [None, None, None, None, 15]
    assert [line["in_change"] for line in lines] == [None, None, None, None, 41]


def test_severities(tmp_path: Path) -> None:
    entries = "".join(json.dumps({"PRIORITY": str(n % 8), "MESSAGE": str(n)}) + "\n" for n in range(80))
    (tmp_path / "entries").write_text(entries)
    report, _ = run_recipe("severities", tmp_path, journal=["cat", "entries"])
    errors = [json.loads(line)["PRIORITY"] for line in (tmp_path / "errors.ndjson").read_text().splitlines()]
    assert errors == [0, 1, 2, 3] * 10
    assert report.pipelines["entries"].sinks["console"].delivered == 40


def test_changed(tmp_path: Path) -> None:
    report, lines = run_recipe("changed", tmp_path)
    assert 0 < len(lines) < 388
    assert len({(line["directory"], line["file"]) for line in lines}) == len(lines)  # the recording is read at once
    assert report.pipelines["changed"].merged + len(lines) + sum(report.pipelines["changed"].rejected.values()) == 388


def test_requests(tmp_path: Path) -> None:
    _, lines = run_recipe("requests", tmp_path)
    sent = [json.loads(line) for line in (CAPTURES / "sslsniff.ndjson").read_bytes().split(b"\n")[:-1]]
    wanted = [one for one in sent if one["function"] == "WRITE/SEND" and re.match("(GET|POST) ", one["data"])]
    assert [line["request"] for line in lines] == [one["data"].partition("\r\n")[0] for one in wanted]
    assert len(lines) > 30
