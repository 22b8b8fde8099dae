"""A page that is a session at a terminal: its files are written, its commands run, and what they print is compared."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.docs.test_documents import BLOCK

__all__ = ["commands", "matches", "play"]

_NAMED = re.compile(r"(?:#|//) ([\w.-]+\.(?:yaml|bt|service))\n")


def commands(block: str) -> list[tuple[str, str]]:
    """Give the commands of a block of a session, each with what it prints."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.MULTILINE)
    assert parts[0] == "", f"a session begins with a command: {parts[0]}"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def matches(shown: str, printed: str, *, numbers: bool = True) -> bool:
    """Tell whether this is what was printed. ``…`` in a line is any text, alone in a line any lines; blanks may differ, and
    numbers unless they count.
    """
    if not numbers:
        shown, printed = (re.sub(r"-?\d+(\.\d+)?", "0", text) for text in (shown, printed))
    pattern = ""
    for line in shown.splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, " ".join(line.split()).split("…"))) + r"\n"
    plain = "".join(" ".join(line.split()) + "\n" for line in printed.splitlines())
    return re.fullmatch(pattern, plain) is not None


def play(text: str, directory: Path) -> int:
    """Do in a directory what a page tells, from its top to its end, and give how many commands there were.

    What a block ``console`` shows is what is printed; in a block ``shell-session`` numbers are those of some machine.
    """
    programs = directory / "bin"
    programs.mkdir()
    (programs / "rx-collector").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rx_collector "$@"\n')
    (programs / "rx-collector").chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    count = 0
    for language, block in BLOCK.findall(text):
        if (named := _NAMED.match(block)) is not None:
            (directory / named[1]).write_text(block)
        if language not in ("console", "shell-session"):
            continue
        for command, shown in commands(block):
            result = subprocess.run(
                ["bash", "-c", command],
                cwd=directory,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=60,
                check=False,
            )
            assert matches(shown, result.stdout, numbers=language == "console"), f"$ {command}\n{result.stdout}"
            count += 1
    return count
