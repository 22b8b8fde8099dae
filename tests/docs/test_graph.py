"""The pictures in the documents are what the command gives for the files beside them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_documents import ROOT, blocks

pytestmark = [pytest.mark.slow, pytest.mark.once]


def run(line: str, directory: Path) -> str:
    name, *arguments = shlex.split(line)
    assert name == "rx-collector"
    argv = [sys.executable, "-m", "rx_collector", *arguments]
    result = subprocess.run(argv, cwd=directory, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def timeless(text: str) -> str:
    return re.sub(r"balanced, after [^<]+", "balanced, after …", text)


def test_the_picture_of_the_readme(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "yaml")
    (tmp_path / "audit.yaml").write_text(text)
    run("rx-collector graph audit.yaml --output audit.svg", tmp_path)
    assert (tmp_path / "audit.svg").read_text() == (ROOT / "docs" / "audit.svg").read_text()
    assert "](docs/audit.svg)" in (ROOT / "README.md").read_text()


def test_the_page_of_pictures(tmp_path: Path) -> None:
    """Only how long the run took differs from one run to the next."""
    (text,) = blocks("docs/graph.md", "yaml")
    (commands,) = blocks("docs/graph.md", "bash")
    (mermaid,) = blocks("docs/graph.md", "mermaid")
    (tmp_path / "shares.yaml").write_text(text)
    for line in commands.splitlines():
        run(line, tmp_path)
    made, shown = (tmp_path / "shares.svg").read_text(), (ROOT / "docs" / "shares.svg").read_text()
    assert timeless(made) == timeless(shown)
    assert "500 filtered" in shown
    assert "](shares.svg)" in (ROOT / "docs" / "graph.md").read_text()
    assert run("rx-collector graph shares.yaml", tmp_path) == mermaid
