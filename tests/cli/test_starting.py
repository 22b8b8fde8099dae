"""What a command imports: what is heavy, and what the file does not name, is left out."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from rx_collector.cli.starting import starting

FILE = """\
runners: {a: {command: [seq, 5]}}
pipelines:
  p:
    from: a
    operators:
      - set: {n: int(message)}
      - filter: n > 1
      - rename: {n: number}
    sinks: [{file: out.ndjson, backpressure: block}]
"""
#: Packages that take long to import, and that such a run has no use for.
HEAVY = {
    "reactivex",
    "loguru",
    "asyncio",
    "multiprocessing",
    "concurrent",
    "rich",
    "logging",
    "socket",
    "ssl",
    "sqlite3",
}
HEAVY |= {"random", "tempfile", "zoneinfo", "urllib", "ipaddress", "difflib", "hashlib", "traceback", "pty"}


def modules(tmp_path: Path, *arguments: str, code: int = 0) -> set[str]:
    """Run the command in a child of its own; give the modules that it has imported at its end."""
    script = (
        "import sys\nfrom rx_collector.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "finally:\n    open('modules', 'w').write(' '.join(sys.modules))\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == code, result.stderr
    return set((tmp_path / "modules").read_text().split())


def of_site(tmp_path: Path) -> set[str]:
    """What the interpreter itself imports here, for packages that are installed for editing say."""
    return set(
        subprocess.run(
            [sys.executable, "-c", "import sys; print(*sys.modules)"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout.split()
    )


@pytest.mark.slow
def test_a_run_imports_what_its_file_names_and_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FILE)
    found = modules(tmp_path, "run", "x.yaml")
    assert (tmp_path / "out.ndjson").read_text().count("\n") == 4
    assert {name.partition(".")[0] for name in found - of_site(tmp_path)} & HEAVY == set()
    components = {
        "operators": {"backpressure", "delivery", "fields", "filter", "placed", "python"},
        "sinks": {"base", "descriptor", "file", "format", "retry", "stdin"},
        "parsers": {"base"},
        "backpressure": {"block", "boundary", "consumer", "pace", "queue", "strategy"},
    }
    for package, expected in components.items():
        inner = {name.split(".")[2] for name in found if name.startswith(f"rx_collector.{package}.")}
        assert inner == expected, package
    assert found & {"rx_collector.stream.eventstream", "rx_collector.stream.workers", "pickle"} == set()
    others = {"catalogue", "explain", "graph", "init", "mistakes", "record", "replay", "test", "validate", "verdicts"}
    assert found & {f"rx_collector.cli.{other}" for other in others} == set()
    assert found & {f"rx_collector.pipeline.{other}" for other in ("cases", "expect", "rehearsal", "replay")} == set()


@pytest.mark.slow
def test_what_is_named_is_imported(tmp_path: Path) -> None:
    """So that the test above can fail: the names of what a run imports are those that it looks for."""
    (tmp_path / "through.py").write_text("def through(stream): return stream\n")
    python = "      - python: through:through\n      - window: {every: 1m, aggregate: {n: count()}}\n    sinks"
    (tmp_path / "x.yaml").write_text(FILE.replace("    sinks", python))
    found = modules(tmp_path, "run", "x.yaml")
    assert {"reactivex", "rx_collector.stream.eventstream", "rx_collector.operators.window"} <= found
    assert "rx_collector.operators.sort" not in found


@pytest.mark.slow
def test_what_is_not_known_has_everything_imported_for_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(FILE.replace("filter:", "filtr:"))
    assert "rx_collector.operators.window" in modules(tmp_path, "validate", "x.yaml", code=2)


@pytest.mark.slow
def test_the_help_of_a_command_imports_no_other(tmp_path: Path) -> None:
    found = modules(tmp_path, "graph", "--help")
    assert "rx_collector.cli.graph" in found
    assert "rx_collector.cli.run" not in found


def test_a_start_collects_no_garbage_and_leaves_it_turned_on() -> None:
    before = gc.get_freeze_count()
    try:
        with starting():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
        gc.disable()
        with starting():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
