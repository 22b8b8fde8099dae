"""SIGKILL of the collector at random moments, round after round, with a spill file before a file sink.

    python -m tests.backpressure.spill_rounds 100

After each kill the events that are in the spill file were acknowledged into it, and have to be delivered by the rounds that
follow. Prints ``rounds, events, missing, duplicates``; exits with 1 when an event is missing, out of order, or twice
beyond what the sink had in hand at a kill.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from rx_collector.backpressure.records import decode

CAPACITY = 40
FILE = """
runners:
  numbers: {{command: [seq, "{lines}"]}}
pipelines:
  p:
    from: numbers
    sinks:
      - file: {{path: out.ndjson, envelope: true, fsync: batch}}
        backpressure: {{strategy: spill, path: waiting.spill, capacity: {capacity}, max_bytes: 64MB}}
"""


class Outcome(NamedTuple):
    rounds: int
    events: int
    missing: int
    duplicates: int
    most_at_once: int  # how many events came twice around one kill, at most
    disordered: int


def acknowledged(directory: Path) -> list[str]:
    """The ids in the spill file, read from a copy."""
    copy = directory / "copy"
    copy.mkdir(exist_ok=True)
    for file in directory.glob("waiting.spill*"):
        shutil.copy(file, copy)
    if not (copy / "waiting.spill").exists():
        return []
    connection = sqlite3.connect(copy / "waiting.spill")
    bodies = [body for (body,) in connection.execute("SELECT body FROM rows ORDER BY number")]
    connection.close()
    shutil.rmtree(copy)
    return [event.id for body in bodies for event in decode(body)]


def collector(directory: Path, lines: int) -> subprocess.Popen[bytes]:
    (directory / "x.yaml").write_text(FILE.format(lines=lines, capacity=CAPACITY))
    command = [sys.executable, "-m", "rx_collector", "run", "x.yaml", "-q", "--report", "r.json"]
    return subprocess.Popen(command, cwd=directory)


def delivered(directory: Path) -> list[str]:
    out = directory / "out.ndjson"
    ids = []
    for line in out.read_bytes().split(b"\n") if out.exists() else []:
        try:
            ids.append(json.loads(line)["id"])
        except ValueError:
            continue  # torn by a kill
    return ids


def play(rounds: int, directory: Path, seed: int = 1) -> Outcome:
    """Kill so many times, then let it end."""
    chance = random.Random(seed)
    wanted: list[str] = []
    twice_before = most_at_once = 0
    for _ in range(rounds):
        before = len(delivered(directory))
        process = collector(directory, lines=3000)
        deadline = time.monotonic() + 20
        while len(delivered(directory)) == before and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)  # until it has begun: the moment of the kill is random from there on
        time.sleep(chance.random() * 0.25)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wanted += acknowledged(directory)
        ids = delivered(directory)
        twice = len(ids) - len(set(ids))
        most_at_once, twice_before = max(most_at_once, twice - twice_before), twice
    process = collector(directory, lines=0)
    if process.wait(120) != 0:
        raise SystemExit("the last run, which nobody killed, failed")
    ids = delivered(directory)
    first = list(dict.fromkeys(ids))
    most_at_once = max(most_at_once, len(ids) - len(first) - twice_before)
    place = {identity: number for number, identity in enumerate(first)}
    order = [place[identity] for identity in dict.fromkeys(wanted) if identity in place]
    disordered = sum(later < earlier for earlier, later in itertools.pairwise(order))
    missing = len(set(wanted) - set(ids))
    return Outcome(rounds, len(first), missing, len(ids) - len(first), most_at_once, disordered)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    with tempfile.TemporaryDirectory() as directory:
        outcome = play(rounds, Path(directory))
    missing, twice, batch = outcome.missing, outcome.duplicates, CAPACITY // 2
    print(f"rounds {outcome.rounds}, events {outcome.events:,}, missing {missing}, duplicates {twice}")
    print(
        f"at most {outcome.most_at_once} twice around one kill (a batch is {batch}), {outcome.disordered} out of order"
    )
    sys.exit(bool(outcome.missing or outcome.disordered or outcome.most_at_once > CAPACITY // 2))


if __name__ == "__main__":
    main()
