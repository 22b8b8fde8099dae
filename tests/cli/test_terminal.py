"""The progress lines on a real terminal: there while it runs, gone afterwards, never over the log."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_errors import GOOD
from tests.conftest import wait_until

pytestmark = pytest.mark.slow


def test_progress_on_a_terminal(tmp_path: Path) -> None:
    runner = '[sh, -c, "echo word >&2; i=0; while :; do i=$((i+1)); echo $i; done"]'
    (tmp_path / "x.yaml").write_text(GOOD.replace('[seq, "5"]', runner))
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-m", "rx_collector", "run", "x.yaml"], cwd=tmp_path, stderr=theirs)
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def more() -> bool:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:  # nothing there now, or the other side is closed
            pass
        return process.poll() is not None

    wait_until(lambda: more() or b"/s, in " in shown.partition(b"stderr: word")[2], "log and progress are shown", 20)
    process.send_signal(signal.SIGINT)
    wait_until(more, "it ends", 20)
    more()
    os.close(ours)
    assert process.returncode == 0
    screen = render(shown.decode())
    assert any("numbers stderr: word" in line for line in screen), screen
    assert not any("/s, in " in line for line in screen), screen
    assert any("balanced" in line for line in screen), screen


def render(text: str) -> list[str]:
    """The lines that stand on a terminal after this was written to it: newlines, and the two movements that we use."""
    import re

    lines = [""]
    row = 0
    for piece in re.split(r"(\x1b\[\d*[A-Za-z]|\r|\n)", text):
        if piece == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif piece == "\r":
            pass
        elif piece.startswith("\x1b["):
            if piece.endswith("A"):
                row -= int(piece[2:-1])
            elif piece.endswith("J"):
                del lines[row:]
                lines.append("")
        else:
            lines[row] += piece
    return lines
