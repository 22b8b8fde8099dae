"""``rx-collector graph``: its formats, its counts, its mistakes, through the real command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.test_errors import GOOD, command

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def test_mermaid_is_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    result = command("graph", "x.yaml", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[:11] == [
        "---",
        'title: "good"',
        "---",
        "flowchart LR",
        '    runner0(["numbers<br/>seq 5"]):::runner',
        '    subgraph pipeline0["all"]',
        "        direction LR",
        '        pipeline0operator0["filter<br/>int#40;message#41; #62; 2"]:::pipeline',
        "    end",
        '    pipeline0sink0boundary{{"block<br/>capacity 10_000"}}:::boundary',
        '    pipeline0sink0[("file<br/>out#46;ndjson")]:::sink',
    ]
    assert command("graph", "x.yaml", "--format", "mermaid", cwd=tmp_path).stdout == result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]  # nothing was run


def test_the_format_is_that_of_the_suffix(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    for suffix, begin in (
        (".mmd", "---\n"),
        (".mermaid", "---\n"),
        (".dot", "digraph {\n"),
        (".gv", "digraph {\n"),
        (".SVG", "<svg "),
    ):
        result = command("graph", "x.yaml", "--output", f"picture{suffix}", cwd=tmp_path)
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert (tmp_path / f"picture{suffix}").read_text().startswith(begin)
    ElementTree.parse(tmp_path / "picture.SVG")
    assert command("graph", "x.yaml", "--format", "dot", "--output", "picture.txt", cwd=tmp_path).returncode == 0
    assert (tmp_path / "picture.txt").read_text() == (tmp_path / "picture.dot").read_text()
    assert command("graph", "x.yaml", "--format", "svg", cwd=tmp_path).stdout == (tmp_path / "picture.SVG").read_text()


def test_the_counts_of_a_real_report(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    assert command("run", "x.yaml", "--quiet", "--report", "ledger.json", cwd=tmp_path).returncode == 0
    printed = command("graph", "x.yaml", "--report", "ledger.json", cwd=tmp_path).stdout
    for line in (
        '    runner0(["numbers<br/>seq 5<br/>5 lines"]):::runner',
        '    subgraph pipeline0["all, 5 in"]',
        '        pipeline0operator0["filter<br/>int#40;message#41; #62; 2<br/>2 filtered"]:::pipeline',
        '    pipeline0sink0[("file<br/>out#46;ndjson<br/>3 delivered")]:::sink',
        '    runner0 -- "5" --> pipeline0operator0',
        '    pipeline0operator0 -- "3" --> pipeline0sink0boundary',
        '    pipeline0sink0boundary -- "3" --> pipeline0sink0',
    ):
        assert line in printed.splitlines()
    assert 'title: "good (balanced, after ' in printed
    assert "2 filtered" in command("graph", "x.yaml", "--report", "ledger.json", "--format", "svg", cwd=tmp_path).stdout


def test_several_files_are_one_picture(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    (tmp_path / "y.yaml").write_text(GOOD.replace("numbers", "digits").replace("all:", "others:"))
    printed = command("graph", "x.yaml", "y.yaml", cwd=tmp_path).stdout
    assert 'title: "good+good"' in printed
    assert 'runner1(["digits<br/>seq 5"])' in printed
    assert "pipeline1operator0 --> pipeline1sink0boundary" in printed


MISTAKES = {
    "no file": ([], "rx-collector graph: Missing argument 'FILE...'."),
    "missing file": (["y.yaml"], "y.yaml:1:1: no such file"),
    "a mistake in the file": (
        ["wrong.yaml"],
        "wrong.yaml:8:9: pipelines.all.operators[0].filtr: unknown operator 'filtr', did you mean 'filter'?",
    ),
    "unknown format": (
        ["x.yaml", "--format", "png"],
        "rx-collector graph: Invalid value for '--format': 'png' is not one of 'mermaid', 'dot', 'svg'.",
    ),
    "unknown suffix": (
        ["x.yaml", "--output", "picture.svgz"],
        "rx-collector graph: Invalid value for --output: picture.svgz: '.svgz' is the suffix of no format, "
        "did you mean '.svg'?",
    ),
    "no suffix": (
        ["x.yaml", "--output", "picture"],
        "rx-collector graph: Invalid value for --output: picture: without a suffix (.dot, .gv, .mermaid, .mmd, .svg) "
        "the format has to be said by --format",
    ),
    "no directory": (
        ["x.yaml", "--output", "none/picture.svg"],
        "rx-collector graph: Invalid value for --output: cannot write none/picture.svg",
    ),
    "no report": (
        ["x.yaml", "--report", "none.json"],
        "rx-collector graph: Invalid value for --report: cannot read none.json: no such file or directory",
    ),
    "a report that is none": (
        ["x.yaml", "--report", "x.yaml"],
        "rx-collector graph: Invalid value for --report: x.yaml is no report of 'run --report': JSON is malformed: ",
    ),
    "JSON that is no report": (
        ["x.yaml", "--report", "list.json"],
        "rx-collector graph: Invalid value for --report: list.json is no report of 'run --report': "
        "Expected `object`, got `array`",
    ),
    "bytes that are no text": (
        ["x.yaml", "--report", "bytes.json"],
        "rx-collector graph: Invalid value for --report: bytes.json is no report of 'run --report': ",
    ),
    "a report of another file": (
        ["other.yaml", "--report", "ledger.json"],
        "ledger.json: the report has no runner 'digits'\n"
        "ledger.json: the report has a runner 'numbers', which the file has not\n"
        "ledger.json: pipelines.all: the file has 'operators[0] map', which the report has not\n"
        "ledger.json: pipelines.all: the report has 'operators[0] filter', which the file has not",
    ),
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mistakes")
    (path / "x.yaml").write_text(GOOD)
    (path / "wrong.yaml").write_text(GOOD.replace("- filter:", "- filtr:"))
    (path / "other.yaml").write_text(
        GOOD.replace("numbers", "digits").replace("filter: int(message) > 2", "map: message")
    )
    (path / "list.json").write_text("[]")
    (path / "bytes.json").write_bytes(b'{"name": "\xff"}')
    assert command("run", "x.yaml", "--quiet", "--report", "ledger.json", cwd=path).returncode == 0
    return path


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake(name: str, directory: Path) -> None:
    arguments, message = MISTAKES[name]
    result = command("graph", *arguments, cwd=directory)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.rstrip("\n").startswith(message)
    assert len(result.stderr.splitlines()) == len(message.splitlines())
    assert not list(directory.glob("picture*"))


def test_a_disk_that_is_full_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    result = command("graph", "x.yaml", "--format", "svg", "--output", "/dev/full", cwd=tmp_path)
    assert result.returncode == 1
    assert result.stderr == "rx-collector: cannot write /dev/full: no space left on device\n"


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = GOOD.replace('"5"', '"5", "${API_TOKEN}"').replace("out.ndjson", "out-${API_TOKEN}.ndjson")
    (tmp_path / "x.yaml").write_text(text)
    for format in ("mermaid", "dot", "svg"):
        result = command("graph", "x.yaml", "--format", format, cwd=tmp_path, API_TOKEN="<hunter2>&/hunter2")
        assert result.returncode == 0
        assert "seq 5 ***" in result.stdout.replace("#42;", "*")
        assert "hunter2" not in result.stdout + result.stderr


def test_it_is_utf_8_wherever_it_is_printed(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD.replace("all:", "größe:"))
    argv = [sys.executable, "-m", "rx_collector", "graph", "x.yaml"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    result = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=True)
    assert 'subgraph pipeline0["größe"]' in result.stdout.decode()


def test_the_same_file_gives_the_same_picture(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(GOOD)
    for format in ("mermaid", "dot", "svg"):
        pictures = {
            command("graph", "x.yaml", "--format", format, cwd=tmp_path, PYTHONHASHSEED=seed).stdout
            for seed in ("1", "2", "3")
        }
        assert len(pictures) == 1


def test_other_commands_do_not_load_it(tmp_path: Path) -> None:
    script = (
        "import sys, json, rx_collector.cli; json.dump([name for name in sys.modules if '.graph.' in name], sys.stdout)"
    )
    result = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    assert json.loads(result.stdout) == []


def test_the_pipelines_that_come_with_it() -> None:
    for file in sorted((ROOT / "pipelines").glob("*.yaml")):
        result = command("graph", str(file), "--format", "svg", cwd=ROOT)
        assert result.returncode == 0, result.stderr
        assert ElementTree.fromstring(result.stdout).findtext("{http://www.w3.org/2000/svg}title") == file.stem
