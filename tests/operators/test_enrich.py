"""Tables: what they look like, what they add, and what happens when they change under the run."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from loguru import logger

import rx_collector as rx
from rx_collector import operators as op
from rx_collector.stream.eventstream import EventStream, new_context
from tests.events import Given, Result, event, run

USERS = "uid,name,shell\n0,root,/bin/bash\n1000,alice,/bin/zsh\n"
EVENTS = [{"uid": 0}, {"uid": "1000"}, {"uid": 7}, {}, {"uid": None, "name": "own"}]


def table(directory: Path, name: str, text: str) -> str:
    (directory / name).write_text(text)
    return str(directory / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", USERS),
        ("t.tsv", USERS.replace(",", "\t")),
        ("t.json", json.dumps([{"uid": 0, "name": "root"}, {"uid": "1000", "name": "alice"}])),
        ("t.yaml", "- {uid: 0, name: root}\n- {uid: 1000, name: alice}\n"),
        ("t.json", json.dumps({"0": {"name": "root"}, "1000": {"name": "alice"}})),
        ("t.yml", "0: {name: root}\n1000: {name: alice}\n"),
    ],
)
def test_every_form_of_a_table(tmp_path: Path, name: str, text: str) -> None:
    operator = op.enrich(table(tmp_path, name, text), "uid", fields="name", prefix="user_")
    result = run(operator, events=[dict(record) for record in EVENTS])
    assert [one.get("user_name") for one in result.data] == ["root", "alice", None, None, None]
    assert result.data[2] == {"uid": 7}
    lines = [json.dumps(record) for record in EVENTS]
    assert run(op.parse("json"), operator, lines=lines).data == result.data


def test_a_number_is_found_however_it_is_written(tmp_path: Path) -> None:
    for name, text in (("t.csv", USERS), ("t.json", json.dumps([{"uid": 1000.0, "name": "alice"}]))):
        result = run(op.enrich(table(tmp_path, name, text), "uid"), events=[{"uid": 1000.0}, {"uid": 1000}])
        assert [one["name"] for one in result.data] == ["alice", "alice"]


def test_another_key_and_all_columns_replace_what_was_there(tmp_path: Path) -> None:
    operator = op.enrich(table(tmp_path, "t.csv", USERS), "who", key="name")
    assert run(operator, events=[{"who": "alice", "uid": 3}]).data == [
        {"who": "alice", "uid": "1000", "shell": "/bin/zsh"}
    ]


@pytest.mark.parametrize(("missing", "filtered", "rejected"), [("drop", 3, 0), ("reject", 0, 3)])
def test_an_event_without_a_row(tmp_path: Path, missing: str, filtered: int, rejected: int) -> None:
    operator = op.enrich(table(tmp_path, "t.csv", USERS), "uid", missing=missing)
    result = run(operator, events=[dict(record) for record in EVENTS])
    assert len(result.data) == 2
    assert result.report.pipelines["test"].filtered == filtered
    assert [one["error"] for one in result.rejected] == ["LookupError: the table has no such row"] * rejected


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", None, "no such file"),
        ("t.txt", "x", "a table is a .csv, .tsv, .json or .yaml file"),
        ("t.csv", "", "is empty"),
        ("t.csv", "uid,name\n1\n", "row 2: 1 values for 2 columns"),
        ("t.csv", 'uid\n"x', "is no table"),
        ("t.csv", "a,b\n1,2\n", "has no column 'uid'; it has a, b"),
        ("t.json", "{", "is no table"),
        ("t.json", "7", "a list of objects is wanted"),
        ("t.json", "[7]", "entry 1: an object is wanted"),
        ("t.json", '[{"a": 1}]', "entry 1: it has no 'uid'"),
        ("t.json", '{"a": 1}', "under the key 'a' an object is wanted"),
        ("t.yaml", "a: [", "is no table"),
        ("t.csv", "uid\n1\n2\n3\n", "has more than 2 rows"),
    ],
)
def test_what_is_no_table_is_a_mistake_of_the_file(tmp_path: Path, name: str, text: str | None, message: str) -> None:
    if text is not None:
        table(tmp_path, name, text)
    (tmp_path / "x.yaml").write_text(
        "runners: {a: {command: [echo]}}\npipelines:\n  p:\n    from: a\n    operators:\n"
        f"      - enrich: {{table: {name}, on: uid, key: uid, size: 2}}\n"
        "    sinks: [{null: , backpressure: block}]\n"
    )
    with pytest.raises(rx.ConfigError) as caught:
        rx.load(tmp_path / "x.yaml", {})
    (mistake,) = caught.value.mistakes
    assert message in mistake.message
    assert (mistake.line, mistake.column) == (6, 25)


def test_a_table_is_read_again_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(sys.modules[op.enrich.__module__], "time", SimpleNamespace(monotonic=lambda: clock[0]))
    path = table(tmp_path, "t.csv", "k,v\na,1\n")
    said: list[str] = []
    handler = logger.add(lambda message: said.append(message.record["message"]), level="INFO")
    logger.enable("rx_collector")
    heads: list[Any] = []

    class Kept(Given):
        def connect(self, observer: Any, context: Any) -> Any:
            heads.append(observer)
            return Given([]).connect(Result(), new_context())

    try:
        result = Result()
        context = new_context("test")
        EventStream(Kept([])).then(op.enrich(path, "k")).connect(result, context)

        def value() -> Any:
            heads[0].on_batch([event({"k": "a"})])
            return result.events[-1]["v"]

        def change(text: str) -> None:
            Path(path + ".new").write_text(text)
            os.replace(path + ".new", path)

        assert value() == "1"
        change("k,v\na,2\n")
        assert value() == "1"  # it has just looked
        clock[0] += 1.1
        assert value() == "2"
        change("k,v\na\n")
        clock[0] += 1.1
        assert value() == "2"
        os.unlink(path)
        clock[0] += 1.1
        assert value() == "2"
        change("k,v\na,3\n")
        clock[0] += 1.1
        assert value() == "3"
    finally:
        logger.remove(handler)
        logger.disable("rx_collector")
    assert [text.rpartition("/")[2] for text in said] == [
        "t.csv: read again, 1 rows",
        "t.csv, row 2: 1 values for 2 columns; the rows read before are used",
        "t.csv'; the rows read before are used",
        "t.csv: read again, 1 rows",
    ]
