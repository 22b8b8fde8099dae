"""docs/composition.md: its files are written, its commands are run, and print what the page shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "composition.md"
TEXT = PAGE.read_text()
FILE = re.compile(r"^```yaml\n# (\S+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```text\n\$ rx-collector ([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("composition")
    for name, text in FILE.findall(TEXT):
        file = directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"# {name}\n{text}")
    return directory


def test_every_block_is_a_file_or_a_command() -> None:
    assert TEXT.count("```yaml\n") == len(FILE.findall(TEXT)) == len(dict(FILE.findall(TEXT)))
    assert TEXT.count("```text\n") == len(SHOWN.findall(TEXT))
    assert TEXT.count("\n```") == 2 * (len(FILE.findall(TEXT)) + len(SHOWN.findall(TEXT)))


@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize(("arguments", "shown"), SHOWN.findall(TEXT))
def test_a_command_prints_what_the_page_shows(arguments: str, shown: str, directory: Path) -> None:
    arguments, _, wanted = arguments.partition(" | grep ")
    result = subprocess.run(
        [sys.executable, "-m", "rx_collector", *arguments.split()],
        cwd=directory,
        env={**os.environ, "RX_COLLECTOR_PROFILE": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    lines = result.stdout.splitlines()
    assert [line for line in lines if wanted.strip("'") in line] == shown.splitlines()
    assert result.returncode == (2 if "wrong" in arguments else 0)


def test_the_files_of_the_page_are_right(directory: Path) -> None:
    """But the one that is shown for what is wrong with it."""
    from rx_collector.cli.validate import look_at

    whole = [name for name, text in FILE.findall(TEXT) if "pipelines:" in text and "wrong" not in name]
    assert len(whole) == 5
    for name in whole:
        assert [mistake for mistake in look_at(directory / name) if not mistake.warning] == []
