"""The page on reloads, done as it says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.docs.test_documents import blocks

pytestmark = [pytest.mark.slow, pytest.mark.once]

PAGE = "docs/reloading.md"


def test_the_page_on_reloads(tmp_path: Path) -> None:
    before, after = blocks(PAGE, "yaml")
    said, refused = blocks(PAGE, "text")
    file, log = tmp_path / "count.yaml", tmp_path / "log"
    file.write_text(before)

    def lines(name: str) -> list[dict[str, object]]:
        path = tmp_path / name
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    with open(log, "wb") as stderr:
        command = [sys.executable, "-m", "rx_collector", "run", "count.yaml", "--watch"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=stderr)
        try:
            wait_until(lambda: len(lines("all.ndjson")) > 3, "events arrive", 20)
            (tmp_path / "new").write_text(after)
            os.replace(tmp_path / "new", file)
            wait_until(lambda: said in log.read_text(), "it is reloaded", 20)
            wait_until(lambda: len(lines("even.ndjson")) > 3, "the new pipeline gets events", 20)
            file.write_text(before.replace("        backpressure: block\n", ""))
            wait_until(lambda: refused in log.read_text(), "it is refused", 20)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(20)
    assert code == 0
    numbers = lines("all.ndjson")
    assert numbers[0] == {"message": "1"}
    assert "even" in numbers[-1]
    assert [int(str(number["message"])) for number in numbers] == list(range(1, len(numbers) + 1))
    assert lines("even.ndjson") == [number for number in numbers if number.get("even")]
