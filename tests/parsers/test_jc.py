"""jc: its parsers on captures, and what happens without it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import rx_collector as rx
from rx_collector import operators as op
from tests.parsers.reading import CAPTURES, counts, errors, parsed

SYSLOG = "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed"


@pytest.mark.parametrize("parser", ["vmstat", "vmstat_s"])
def test_the_whole_output_of_a_program(parser: str, tmp_path: Path) -> None:
    runner = rx.runner("cat", str(CAPTURES / "vmstat.txt"), framing="nul")
    events = runner.pipe(op.parse("jc", parser=parser)).to_list().run()
    assert [event["context_switches"] for event in events] == [1506, 712, 688, 684, 699]
    assert [event.part for event in events] == ["0", "1", "2", "3", "4"]


def test_a_line_at_a_time() -> None:
    result = parsed("jc", [SYSLOG, SYSLOG], parser="syslog_s")
    assert counts(result) == (2, 0, 0)
    assert result.data[0]["appname"] == "su"
    assert [event.part for event in result.events] == ["", ""]


def test_a_record_of_one_object() -> None:
    (record,) = parsed("jc", ["Wed Mar 24 11:11:30 UTC 2021"], parser="date").data
    assert (record["year"], record["month_num"], record["timezone"]) == (2021, 3, "UTC")


def test_what_jc_cannot_read_is_rejected() -> None:
    result = parsed("jc", ["no date at all"], parser="date")
    assert counts(result) == (0, 0, 1)
    assert errors(result)[0].startswith("not date: ")


def test_nothing_in_it() -> None:
    assert counts(parsed("jc", [""], parser="ps")) == (0, 1, 0)


def test_an_unknown_parser() -> None:
    with pytest.raises(rx.ConfigError, match=r"parse\.parser: jc has no parser 'vmstatt', did you mean 'vmstat'\?"):
        op.parse("jc", parser="vmstatt")
    with pytest.raises(rx.ConfigError, match="'parser' is missing"):
        op.parse("jc")


def test_without_jc(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec

    def find(name: str, *arguments: Any) -> Any:
        return None if name == "jc" else found(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    with pytest.raises(rx.ConfigError, match=r"jc is not installed: pip install 'rx_collector\[jc\]'"):
        op.parse("jc", parser="ps")
