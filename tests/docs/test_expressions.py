"""The examples of the page of expressions, and what `describe expressions` says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from rx_collector.cli.catalogue import describe
from rx_collector.expressions import FUNCTIONS, METAS, METHODS, ExpressionError, parse_expression
from tests.events import event

PAGE = (Path(__file__).parent.parent.parent / "docs" / "expressions.md").read_text()
BLOCKS = re.findall(r"^```json\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
EXAMPLES = [(line, json.loads(payload)) for payload, text in BLOCKS for line in text.splitlines()]
MISTAKES = [line for line in PAGE.splitlines() if "  ✗  " in line]


@pytest.mark.parametrize(("line", "payload"), EXAMPLES)
def test_an_example(line: str, payload: dict[str, object]) -> None:
    text, given = line.split("  →  ")
    assert repr(parse_expression(text)(event(payload))) == given


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake(line: str) -> None:
    text, said = line.split("  ✗  ")
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    assert caught.value.message == said


def test_the_page_has_examples_and_each_is_one_that_runs() -> None:
    assert len(EXAMPLES) == PAGE.count("  →  ")
    assert len(EXAMPLES) > 40
    assert len(MISTAKES) >= 10
    assert PAGE.count("```") == 2 * (2 * len(BLOCKS) + 1)
    patterns_and_times = {
        "find_all",
        "replace_all",
        "glob",
        "in_cidr",
        "parse_time",
        "format_time",
        "duration",
        "size",
        "lookup",
    }
    assert patterns_and_times <= set(re.findall(r"\b(\w+)\(", PAGE))


def test_describe_tells_all_and_its_examples_are_right() -> None:
    printed = CliRunner().invoke(describe, ["expressions"], env={"COLUMNS": "100"}).output
    examples = re.findall(r"^ {20}(.*)  →  (.*)$", printed, re.MULTILINE)
    assert len(examples) == len(FUNCTIONS) + len(METHODS)
    for text, given in examples:
        assert repr(parse_expression(text)(event({}))) == given
    told = re.findall(r"^    (\w+) +\S", printed, re.MULTILINE)
    assert [name for name in told if name in {*FUNCTIONS, *METHODS}] == [*FUNCTIONS, *METHODS]
    for name in METAS:
        assert f"meta.{name} " in printed
