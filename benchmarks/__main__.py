"""Measure, and show what was measured as tables; write it as JSON; put it into the README as a chart and a table.

python -m benchmarks                        # everything: J1 J2 J3 keep1 start idle latency steady stage boundary workers compression growth
python -m benchmarks J1 latency --quick     # some parts, little of each
python -m benchmarks --readme               # everything, then the chart and the table of the README
python -m benchmarks --from speed.json --readme   # the same from what was measured before
python -m benchmarks start --from speed.json --json speed.json   # with one part measured again
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.parts import PARTS, SIZES, jobs
from benchmarks.readme import update
from benchmarks.tables import tables

_JOBS = {"J1": "J1", "J2": "J2", "J3": "J3", "keep1": "keep 1 %"}
_NAMES = [*_JOBS, *PARTS]


def _machine() -> dict[str, Any]:
    """Say on what it was measured: the class of the machine, not which one it is."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {
        "processors": os.cpu_count(),
        "model": model or platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tox -e bench --", description="Measure rx_collector beside others.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"what to measure: {' '.join(_NAMES)} (all)")
    sizes = parser.add_mutually_exclusive_group()
    for name, what in (("quick", "little of everything"), ("full", "all sizes"), ("tiny", "as good as nothing")):
        sizes.add_argument(f"--{name}", action="store_const", const=name, dest="sizes", help=what)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured to this file")
    parser.add_argument(
        "--from",
        type=Path,
        metavar="FILE",
        dest="measured",
        help="take what stands in this file; with PART those alone are measured again",
    )
    parser.add_argument("--readme", action="store_true", help="rewrite the chart and the table of the README")
    parser.set_defaults(sizes="default")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in _NAMES]:
        parser.error(f"unknown part {unknown[0]!r}; there are {', '.join(_NAMES)}")
    return arguments


def _measure(names: list[str], size: str) -> dict[str, Any]:
    sizes = SIZES[size]
    found: dict[str, Any] = {
        "version": 1,
        "date": time.strftime("%Y-%m-%d"),
        "sizes": size,
        "machine": _machine(),
        "parts": {},
    }
    if wanted := [job for name, job in _JOBS.items() if name in names]:
        found["parts"]["jobs"] = jobs(wanted, sizes, _say)
    for name, part in PARTS.items():
        if name in names:
            found["parts"][name] = part(sizes, lambda what, name=name: _say(f"{name}: {what}"))  # type: ignore[misc]
    found["machine"]["load_after"] = round(os.getloadavg()[0], 2)
    return found


def _say(what: str) -> None:
    """Tell on standard error what is being measured; in one place where that is a terminal."""
    end = "\r" if sys.stderr.isatty() else "\n"
    print(f"\x1b[K{what}" if end == "\r" else what, end=end, file=sys.stderr, flush=True)


def main() -> None:
    arguments = _arguments()
    found = None if arguments.measured is None else json.loads(arguments.measured.read_text())
    if found is None or arguments.parts:
        again = _measure(arguments.parts or _NAMES, arguments.sizes)
        if found is None:
            found = again
        else:
            if (before := found["parts"].get("jobs")) is not None and "jobs" in again["parts"]:
                again["parts"]["jobs"]["results"] = before["results"] | again["parts"]["jobs"]["results"]
            found["parts"].update(again["parts"])
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")
    print("\n".join(tables(found)))
    if arguments.readme:
        update(found)


if __name__ == "__main__":
    main()
