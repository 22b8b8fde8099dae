"""What the page for users of other collectors shows of ours runs; what it shows of theirs is of their form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

import rx_collector as rx
from tests.docs.test_documents import BLOCK, ROOT

PAGE = (ROOT / "docs" / "coming-from.md").read_text()
BLOCKS = [(language, text) for language, text in BLOCK.findall(PAGE)]
OURS = [text for _, text in BLOCKS if text.startswith("# here\n")]
THEIRS = [(language, text) for language, text in BLOCKS if not text.startswith("# here\n")]


def test_three_of_each_stand_before_ours() -> None:
    names = [re.split(r"[;\n]", text)[0] for _, text in BLOCKS]
    assert names == [part for tool in ("# Vector", "# Fluent Bit", "# Benthos") for part in (tool, "# here") * 3]


@pytest.mark.parametrize("number", range(len(OURS)))
def test_ours_passes_its_tests(number: int, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(OURS[number])
    verdicts = rx.load(tmp_path / "x.yaml").test()
    assert verdicts
    for verdict in verdicts:
        assert verdict.passed, verdict


@pytest.mark.parametrize("number", range(len(OURS)))
def test_ours_runs(number: int, tmp_path: Path) -> None:
    """With a program that prints what the test of the file gives, once; as much arrives as the test expects."""
    (tmp_path / "x.yaml").write_text(OURS[number])
    project = rx.load(tmp_path / "x.yaml")
    (test,) = project.tests
    ((runner, given),) = test.given.items()
    (tmp_path / "printed").write_text("".join(f"{item.value}\n" for item in given if item.sort == "line"))
    never = type(project.runners[runner].restart)()
    report = project.with_runner(runner, command=["cat", "printed"], every=None, restart=never).run()
    assert report.balanced
    assert report.exit_code == 0, report.errors
    for name, expectation in test.expect.events.items():
        (sink,) = report.pipelines[name].sinks.values()
        # The windows of the real run are of this minute, not one after the other.
        least = 1 if "window" in OURS[number] else len(expectation.events)
        assert len(expectation.events) >= sink.delivered >= least


@pytest.mark.parametrize("number", range(len(THEIRS)))
def test_theirs_is_of_their_form(number: int) -> None:
    language, text = THEIRS[number]
    if language == "yaml":
        keys = set(yaml.safe_load(text))
        assert keys <= {"sources", "transforms", "sinks"} or keys <= {"input", "buffer", "pipeline", "output"}
    else:
        assert language == "ini"
        for line in text.splitlines()[1:]:
            assert re.fullmatch(r"\[[A-Z]+\]|    \w+ +\S.*|", line), line


def test_the_words_of_ours_are_ours() -> None:
    """What stands at the right of the tables in code is a component, an option or a command of ours."""
    from click.testing import CliRunner

    from rx_collector.cli.catalogue import _components, schema_text

    known = {name for components in _components().values() for name in components}
    known |= set(re.findall(r'"(\w+)": \{', schema_text()))
    for row in re.findall(r"^\| (?!---)(.+) \| (.+) \|$", PAGE, re.MULTILINE):
        for code in re.findall(r"`([^`]+)`", row[1]):
            if code.startswith("rx-collector "):
                from rx_collector.cli import cli

                assert CliRunner().invoke(cli, [*code.split()[1:], "--help"]).exit_code == 0
            else:
                assert set(re.findall(r"(?:^|[{,] ?)(\w+)(?=:|$)", code)) <= known | {"file"}, code
    assert json.loads(schema_text())
