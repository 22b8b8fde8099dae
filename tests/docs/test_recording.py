"""What the page about recordings shows runs, and says what is so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from rx_collector.pipeline import recording as form
from tests.docs.test_documents import ROOT, blocks

pytestmark = [pytest.mark.slow, pytest.mark.once]
PAGE = "docs/recording.md"


def test_the_page_about_recordings(tmp_path: Path) -> None:
    """The commands with their comparison, and the Python that reads what they wrote."""
    (yaml,), (commands,), (python,) = (blocks(PAGE, language) for language in ("yaml", "bash", "python"))
    (tmp_path / "load.yaml").write_text(yaml)
    (tmp_path / "rx-collector").write_text(f'#!/bin/sh\nexec {sys.executable} -m rx_collector "$@"\n')
    (tmp_path / "rx-collector").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = ["bash", "-ec", commands]
    result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "first.ndjson").read_bytes()
    assert (tmp_path / "ledger.json").exists()
    argv = [sys.executable, "-c", python]
    shown = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.findall(r"words \[\[b'(\w)'\]\]", shown) == list("abacab")
    assert re.match(r"0\.\d s words", shown)


def test_the_table_of_records_is_whole() -> None:
    """Each record, each of its keys."""
    text = (ROOT / PAGE).read_text()
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|", text.partition("| `record` |")[2], re.MULTILINE)
    shown = {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}
    kinds = [form.Header, form.Lines, form.Stderr, form.Lifecycle, form.RunnerEnd, form.Clocks, form.Closed]
    wanted = {
        str(kind.__struct_config__.tag): {field.name for field in msgspec.structs.fields(kind)} - {"tick", "wall_ns"}
        for kind in kinds
    }
    wanted["recording"].add("wall_ns")
    assert shown == wanted
    assert f"This is version {form.VERSION}." in text
