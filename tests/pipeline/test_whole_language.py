"""A file that uses all of the language, and the odd corners of YAML."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector.config.document import parse_document

EXAMPLE = """
name: exec-audit
description: Programs started on this host, without the package manager's own.

runners:
  exec:
    command: [cat, given]
    cwd: .
    env: {LC_ALL: C.UTF-8}
    stop: {signal: SIGINT, grace: 5s}
    restart: {when: on-failure, backoff: 1s..30s, limit: 5 in 1m}
    max_line: 1MiB
    stderr: log
    output: pipe

pipelines:
  audit:
    from: [exec]
    operators:
      - parse: {format: json, on_error: dead_letter}
      - filter: uid != 0 and not filename.startswith("/usr/bin/dpkg")
      - set: {host: "${HOSTNAME}", dir: filename.rpartition("/")[0]}
      - drop: [ppid]
      - buffer: {count: 500, time: 1s}
    sinks:
      - file: {path: exec.ndjson, rotate: {size: 100MB, keep: 7}}
        backpressure: {strategy: block, capacity: 10_000}
      - console: {format: pretty}
        backpressure: {strategy: drop_oldest, capacity: 1_000}
    dead_letter:
      file: {path: rejected.ndjson}

tests:
  - name: the package manager's own programs are left out
    given:
      exec:
        - {"pid": 7, "uid": 1000, "filename": "/bin/ls"}
        - {after: 2s, line: '{"pid": 8, "uid": 1000, "filename": "/usr/bin/dpkg-query"}'}
        - {exit: 0}
    expect:
      audit: [{pid: 7, dir: /bin}]
      ledger: {filtered: 1, delivered: 1}
"""


def test_the_whole_language(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(EXAMPLE)
    (tmp_path / "given").write_text(
        '{"pid": 7, "uid": 1000, "ppid": 1, "filename": "/bin/ls"}\n'
        '{"pid": 8, "uid": 1000, "filename": "/usr/bin/dpkg-query"}\n'
        '{"pid": 9, "uid": 0, "filename": "/bin/ls"}\n'
        '{"pid": 10, "uid": 5}\n'
        "Attaching 1 probe...\n"
    )
    report = rx.load(tmp_path / "x.yaml").run()
    assert report.balanced, report.unbalanced
    expected = {"pid": 7, "uid": 1000, "filename": "/bin/ls", "host": socket.gethostname(), "dir": "/bin"}
    assert json.loads((tmp_path / "exec.ndjson").read_text()) == expected
    letters = [json.loads(line) for line in (tmp_path / "rejected.ndjson").read_text().splitlines()]
    assert {(one["line"], one["reason"]) for one in letters} == {(4, "filter"), (5, "parse")}
    assert report.pipelines["audit"].filtered == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{dir: f.rpartition("/")[0]}', {"dir": 'f.rpartition("/")[0]'}),
        ("{a: x[0][1].y[2], b: 1}", {"a": "x[0][1].y[2]", "b": 1}),
        ("[x[0], y[1:2], [z]]", ["x[0]", "y[1:2]", ["z"]]),
        ("{a: [1, 2]}", {"a": [1, 2]}),
        ("{a: x[b[0]] + 1}", {"a": "x[b[0]] + 1"}),
    ],
)
def test_an_index_within_braces(text: str, value: object) -> None:
    document = parse_document(f"k: {text}\n")
    assert document.mistakes == []
    assert document.value == {"k": value}


def test_a_mistake_behind_an_index_within_braces_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(EXAMPLE.replace("[0]}", "[0] + foo(1)}"))
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml")
    (mistake,) = caught.value.mistakes
    line = (tmp_path / "x.yaml").read_text().splitlines()[mistake.line - 1]
    assert line[mistake.column - 1 :].startswith("foo(1)")


def test_brackets_that_are_not_closed_are_a_mistake() -> None:
    assert parse_document("k: {a: x[0}\n").mistakes
    assert parse_document("k: {a: x [0]}\n").mistakes
