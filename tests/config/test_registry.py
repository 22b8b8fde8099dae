"""How components are found: by their names in the text of the modules, without importing the others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rx_collector
from rx_collector.backpressure import STRATEGIES
from rx_collector.config.registry import Registry
from rx_collector.operators import OPERATORS
from rx_collector.parsers import FORMATS
from rx_collector.sinks import SINKS

PARTS = Path(rx_collector.__file__).parent


@pytest.mark.parametrize("registry", [OPERATORS, FORMATS, SINKS, STRATEGIES], ids=lambda registry: registry.sort)
def test_each_component_is_found_by_its_name_in_the_text(registry: Registry[Any]) -> None:
    """One that is not is found all the same, by importing all: slowly."""
    found = {name: registry[name].__module__.rpartition(".")[2] for name in registry}
    assert {name: module for name, module in registry._declared() if name in found} == found


def run(script: str, **more: Any) -> str:
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, **more, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_one_that_is_asked_for_is_imported_alone() -> None:
    run(
        "import sys\n"
        "from rx_collector.operators import OPERATORS\n"
        "assert OPERATORS['set'].__name__ == 'Set' and 'rename' in OPERATORS\n"
        "assert 'rx_collector.operators.fields' in sys.modules\n"
        "assert 'rx_collector.operators.window' not in sys.modules\n"
        "assert OPERATORS.get('nothing') is None\n"
        "assert 'rx_collector.operators.window' in sys.modules\n"
    )


@pytest.mark.slow
def test_a_name_that_is_taken_by_a_module_not_imported_yet_is_taken() -> None:
    said = run(
        "from dataclasses import dataclass\n"
        "from rx_collector import operators\n"
        "from rx_collector.stream.operator import Stage, operator\n"
        "class Mine(Stage): pass\n"
        "try: operator('rename', summary='', example='')(Mine)\n"
        "except RuntimeError as error: print(error)\n"
    )
    assert said == ("two operators are named 'rename': rx_collector.operators.fields.Rename and __main__.Mine\n")


@pytest.mark.slow
def test_where_the_modules_have_no_text_all_are_imported(tmp_path: Path) -> None:
    shutil.copytree(PARTS, tmp_path / "rx_collector", ignore=shutil.ignore_patterns("__pycache__"))
    compile_all = "import compileall; assert compileall.compile_dir('rx_collector', quiet=1, legacy=True)"
    run(compile_all, cwd=tmp_path)
    for file in (tmp_path / "rx_collector").rglob("*.py"):
        file.unlink()
    script = (
        "import rx_collector\n"
        f"assert rx_collector.__file__.startswith({str(tmp_path)!r})\n"
        "from rx_collector.parsers import FORMATS\n"
        "assert FORMATS['json'].__name__ and 'csv' in FORMATS\n"
    )
    run(script, cwd=tmp_path)


@pytest.mark.slow
def test_a_function_stays_one_whatever_is_imported_first() -> None:
    """A module of its name is put into the package by Python, when it is imported."""
    run(
        "import rx_collector as rx\n"
        "import rx_collector.operators.filter, rx_collector.sinks.file, rx_collector.runners.runner\n"
        "from rx_collector import operators as op, sinks\n"
        "assert op.filter('n > 1').where and sinks.file('x').path == 'x'\n"
        "from rx_collector.operators import filter, map\n"
        "import rx_collector.operators.map\n"
        "assert filter is op.filter and map is op.map and callable(op.map)\n"
        "from rx_collector.runners import runner\n"
        "assert runner is rx.runner and callable(runner)\n"
        "assert {*op.__all__} <= {*dir(op)}\n"
        "try: op.nothing\n"
        "except AttributeError as error: assert 'has no attribute' in str(error)\n"
        "else: raise AssertionError\n"
    )
