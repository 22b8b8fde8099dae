"""The page on workers: what it shows is what is shown, and what it says of operators is what they say of themselves."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from rx_collector.operators import OPERATORS
from rx_collector.stream.operator import Stage
from tests.cli.test_errors import command
from tests.docs.test_documents import ROOT, blocks

PAGE = "docs/workers.md"


@pytest.mark.slow
@pytest.mark.once
def test_the_page_on_workers(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/captures/sslsniff.ndjson", tmp_path)
    for text, said, output in zip(blocks(PAGE, "yaml"), blocks(PAGE, "text"), ("clean", "first"), strict=True):
        (tmp_path / "x.yaml").write_text(text)
        assert said.rstrip() in command("explain", "x.yaml", cwd=tmp_path).stdout
        ran = command("run", "x.yaml", cwd=tmp_path)
        assert ran.returncode == 0, ran.stderr
        assert (tmp_path / f"{output}.ndjson").read_text()


def test_the_operators_that_it_names_are_those_that_are_shared() -> None:
    named = re.search(r"whatever came before: (.*?)\. What keeps", (ROOT / PAGE).read_text(), re.DOTALL)
    assert named is not None
    independent = {
        name
        for name in OPERATORS
        if issubclass(operator := OPERATORS[name], Stage) and operator.independent and name != "where"
    }
    assert set(re.findall(r"`(\w+)`", named[1])) - {"rate"} == independent


def test_the_operators_with_a_key_that_it_names_are_those_that_have_one() -> None:
    page = (ROOT / PAGE).read_text()
    named = re.search(r"## By a key\n\n(.*?) keep something for each key", page, re.DOTALL)
    between = re.search(r"changed in\sbetween by anything but (.*?)\.", page, re.DOTALL)
    assert named is not None
    assert between is not None
    stages = {name: OPERATORS[name] for name in OPERATORS if issubclass(OPERATORS[name], Stage)}
    keyed = {name for name, stage in stages.items() if stage.keyed_by is not Stage.keyed_by}
    readers = {name for name, stage in stages.items() if stage.key_reader is not Stage.key_reader}
    assert set(re.findall(r"`(\w+)`", named[1])) - {"every"} == keyed
    assert set(re.findall(r"`(\w+)`", between[1])) == readers - {"parse"}
