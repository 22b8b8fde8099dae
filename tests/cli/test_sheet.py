"""The balance sheet without rich, where there is no terminal, is what rich makes of it."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector.cli import sheet
from rx_collector.ledger import Ledger, Report

NAMES = st.sampled_from(["a", "programs", "a b", "x" * 60, "[red]", "ä", "a:smile:", "日本", "x\\", "a:b", "[", "a\nb"])
COUNTS = st.sampled_from([0, 1, 999, 1_000_000, 10**12])


@st.composite
def reports(draw: st.DrawFn) -> Report:
    ledger = Ledger("x")
    for name in draw(st.lists(NAMES, unique=True, max_size=2)):
        runner = ledger.runner(name)
        runner.lines, runner.bytes, runner.starts = draw(COUNTS), draw(COUNTS), draw(COUNTS)
        runner.lost_upstream, runner.invalid_utf8 = draw(COUNTS), draw(COUNTS)
        runner.rejected[draw(NAMES)] = draw(COUNTS)
    for name in draw(st.lists(NAMES, unique=True, min_size=1, max_size=2)):
        pipeline = ledger.pipeline(name)
        pipeline.taken = draw(COUNTS)
        node = pipeline.node(f"operators[0] {draw(NAMES)}")
        node.rejected = draw(COUNTS)
        node.dropped[draw(NAMES)] = draw(COUNTS)
        node.notes["kept_raw"] = draw(COUNTS)
        _, sink = pipeline.sink(draw(NAMES), set())
        sink.out, sink.failed = draw(COUNTS), draw(COUNTS)
    errors = draw(
        st.lists(st.sampled_from(["it failed", "x.yaml:3:5: wrong", "a :cat: b", "y" * 150, "ß"]), max_size=2)
    )
    return Report.of(
        ledger, seconds=draw(st.sampled_from([0.0, 1.234, 4000.0])), exit_code=0, errors=errors, final=False
    )


@settings(max_examples=150, deadline=None)
@given(reports())
def test_it_is_the_same(report: Report) -> None:
    assert shown(report, plainly=True) == shown(report, plainly=False)


def shown(report: Report, *, plainly: bool) -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", io.StringIO())
        for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        if not plainly:
            patch.setattr(sheet, "_plain", lambda rows, last: None)
        sheet.print_sheet(report)
        said: Any = sys.stderr
        return str(said.getvalue())


def test_a_usual_one_is_written_without_rich() -> None:
    ledger = Ledger("x")
    ledger.runner("load").lines = 1000
    pipeline = ledger.pipeline("all")
    pipeline.taken = 1000
    pipeline.sink("file", set())[1].out = 1000
    report = Report.of(ledger, seconds=1.5, exit_code=0, errors=["disk: full"], final=False)
    text = sheet._plain(list(sheet._table(report)), list(sheet._last(report)))
    assert text is not None
    assert text == shown(report, plainly=False)
    assert text.splitlines()[-1] == "failed: disk: full"
