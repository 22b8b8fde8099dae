"""Files loaded, changed and run from Python; the captures; the schema."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import rx_collector as rx
from rx_collector import operators as op
from rx_collector import sinks
from rx_collector.pipeline.spec import FileSpec
from tests.cli.test_errors import CASES, GOOD

CAPTURES = Path(__file__).parent.parent / "captures"


def load(directory: Path, text: str, **environment: str) -> rx.Project:
    (directory / "x.yaml").write_text(text)
    return rx.load(directory / "x.yaml", environment)


def test_load_change_and_run(tmp_path: Path) -> None:
    project = load(tmp_path, GOOD).with_runner("numbers", command=["seq", "7"])
    report = project.run()
    assert report.pipelines["all"].sinks["file"].delivered == 5
    with pytest.raises(rx.ConfigError, match="did you mean 'numbers'"):
        project.with_runner("number")


REPLAY = """
runners:
  replay: {{command: [cat, {capture}]}}
pipelines:
  p:
    from: replay
    operators:
      - parse: {format}
      - set: {{seen: true}}
    sinks:
      - file: out.ndjson
        backpressure: block
    dead_letter: {{file: dead.ndjson}}
"""


def bytes_of(record: Any) -> bytes:
    return record["raw"].encode() if "raw" in record else base64.b64decode(record["raw_base64"])


@pytest.mark.parametrize("capture", sorted(CAPTURES.glob("*.*")), ids=lambda path: path.name)
@pytest.mark.parametrize("format", ["json", "text"])
def test_every_capture_goes_through(tmp_path: Path, capture: Path, format: str) -> None:
    report = load(tmp_path, REPLAY.format(capture=capture, format=format)).run()
    content = capture.read_bytes()
    assert report.balanced
    assert report.exit_code == 0
    runner, pipeline = report.runners["replay"], report.pipelines["p"]
    unterminated = 0 if content.endswith(b"\n") else 1
    assert runner.lines == content.count(b"\n") + unterminated == pipeline.taken
    assert runner.bytes == len(content)
    bad = {}
    for number, line in enumerate(content.split(b"\n"), 1):
        try:
            json_object = json.loads(line.decode("utf-8", "replace"))
            if not isinstance(json_object, dict):
                raise ValueError
        except ValueError:
            bad[number] = line
    delivered = [json.loads(line) for line in (tmp_path / "out.ndjson").read_bytes().split(b"\n")[:-1]]
    assert all(one["seen"] is True for one in delivered)
    letters = (tmp_path / "dead.ndjson").read_bytes().split(b"\n")[:-1]
    if format == "text":
        assert (len(delivered), letters) == (runner.lines, [])
        return
    records = [json.loads(line) for line in letters]
    assert [record["line"] for record in records] == [number for number in bad if number <= runner.lines]
    assert all((record["reason"], record["operator"]) == ("parse", "operators[0] parse") for record in records)
    assert [bytes_of(record) for record in records] == [bad[record["line"]] for record in records]
    assert len(delivered) + len(records) == runner.lines
    assert pipeline.sinks["file"].delivered == len(delivered)
    assert (pipeline.dead_letter.delivered if pipeline.dead_letter else -1) == len(records)
    assert pipeline.rejected == ({"parse": len(records)} if records else {})


def test_fan_out_merge_and_chain(tmp_path: Path) -> None:
    text = """
runners:
  a: {command: [seq, "1000"]}
  b: {command: [seq, "500"]}
pipelines:
  both:
    from: [a, b]
    operators: [{map: int(message)}, {filter: this % 2 == 0}]
    sinks:
      - file: one
        backpressure: block
      - file: two
        name: second
        backpressure: {strategy: block, capacity: 1}
  chained:
    from: [both, b]
    operators:
      - buffer: {count: 100}
    sinks:
      - null:
        backpressure: block
"""
    report = load(tmp_path, text).run()
    assert report.balanced, report.unbalanced
    both, chained = report.pipelines["both"], report.pipelines["chained"]
    assert (both.taken, both.filtered) == (1500, 750)
    assert {name: sink.delivered for name, sink in both.sinks.items()} == {"file": 750, "second": 750}
    assert (chained.taken, chained.merged, chained.made) == (1250, 1250, 13)
    assert sorted(map(int, (tmp_path / "one").read_text().split())) == sorted([*range(2, 1001, 2), *range(2, 501, 2)])
    assert (tmp_path / "two").read_text() == (tmp_path / "one").read_text()


def test_a_failing_sink_ends_its_own_branch_only(tmp_path: Path) -> None:
    text = GOOD.replace('[seq, "5"]', '[seq, "100000"]') + "      - file: /dev/full\n        backpressure: block\n"
    report = load(tmp_path, text).run()
    sinks = report.pipelines["all"].sinks
    assert report.exit_code == 1
    assert report.balanced, report.unbalanced
    assert sinks["file"].delivered == 99_998
    assert sinks["file_2"].delivered == 0
    assert sinks["file_2"].failed + report.pipelines["all"].dropped["file_2: sink failed"] == 99_998


def test_when_the_last_sink_fails_the_child_is_stopped_before_the_sheet_is_drawn(tmp_path: Path) -> None:
    endless = '[sh, -c, "trap \\"exit 0\\" TERM; while :; do echo 9; done"]'
    project = load(tmp_path, GOOD.replace('[seq, "5"]', endless).replace("out.ndjson", "/dev/full"))
    for _ in range(10):
        report = project.run()
        (end,) = report.runners["numbers"].exits
        assert (end["code"], report.exit_code, report.balanced) == (0, 1, True)
        assert report.errors == ["all, file: cannot write /dev/full: no space left on device"]
        assert report.runners["numbers"].lines == report.pipelines["all"].taken


def test_a_sink_that_hangs_holds_back_only_its_own_branch(tmp_path: Path) -> None:
    text = GOOD.replace('[seq, "5"]', '[seq, "300000"]') + (
        "      - exec: {command: [sleep, '3600'], grace: 1ms}\n"
        "        backpressure: {strategy: drop_oldest, capacity: 10}\n"
    )
    report = load(tmp_path, text).run(drain="100ms")
    pipeline = report.pipelines["all"]
    assert pipeline.sinks["file"].delivered == 299_998
    assert (report.exit_code, report.balanced) == (1, True)
    lost = pipeline.dropped["exec: drop_oldest"] + pipeline.dropped.get("exec: cut short", 0)
    assert pipeline.sinks["exec"].delivered + pipeline.sinks["exec"].failed + lost == 299_998


def test_stop_from_a_signal_handler_at_any_moment(tmp_path: Path) -> None:
    """A handler runs between any two steps of the main thread, also within those of its own waiting."""
    import signal
    import threading
    import time

    from rx_collector.pipeline.collector import Collector

    project = load(tmp_path, GOOD.replace('[seq, "5"]', "[sleep, '3600']"))
    for _ in range(10):
        collector = Collector(project)
        done = threading.Event()
        old = signal.signal(signal.SIGUSR1, lambda number, frame, collector=collector: collector._news.set())

        def pester(done: threading.Event = done, collector: Collector = collector) -> None:
            end = time.monotonic() + 0.02
            while time.monotonic() < end:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            collector.stop()
            done.set()

        thread = threading.Thread(target=pester)
        thread.start()
        assert collector.run().balanced
        assert done.wait(10)
        thread.join()
        signal.signal(signal.SIGUSR1, old)


def test_on_error_fail_ends_the_pipeline_and_balances(tmp_path: Path) -> None:
    text = GOOD.replace("- filter: int(message) > 2", "- parse: {format: json, on_error: fail}").replace(
        '[seq, "5"]', """[sh, -c, "echo '{}'; echo bad; seq 100000"]"""
    )
    report = load(tmp_path, text).run()
    assert (report.exit_code, report.balanced) == (1, True)
    assert (tmp_path / "out.ndjson").read_text() == "{}\n"


def test_an_overlong_line_goes_to_the_dead_letter(tmp_path: Path) -> None:
    text = GOOD.replace('{command: [seq, "5"]}', """{command: [sh, -c, "echo 7; echo 1234567890"], max_line: 5}""")
    report = load(tmp_path, text + "    dead_letter: {file: dead}\n").run()
    assert report.balanced, report.unbalanced
    assert report.runners["numbers"].rejected == {"line_too_long": 1}
    record = json.loads((tmp_path / "dead").read_text())
    assert (record["reason"], record["line"], record["raw"]) == ("line_too_long", 2, "1234567890")


def test_python_operator_from_a_module_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "my_operators_for_a_test.py").write_text(
        "import reactivex.operators as ops\n"
        "from rx_collector import operators as op\n"
        "double = op.map(lambda e: int(e['message']) * 2)\n"
        "def last_two(stream):\n    return stream.pipe(ops.take_last(2))\n"
    )
    text = GOOD.replace(
        "- filter: int(message) > 2",
        "- python: my_operators_for_a_test:double\n      - python: my_operators_for_a_test:last_two\n      - map: this + 1",
    )
    report = load(tmp_path, text).run()
    assert report.balanced, report.unbalanced
    assert (tmp_path / "out.ndjson").read_text() == "9\n11\n"


def test_variables_are_put_in_after_parsing(tmp_path: Path) -> None:
    text = GOOD.replace(
        "- filter: int(message) > 2", '- set: {host: "${NAME}", n: 1}\n      - filter: host == "${NAME}"'
    )
    name = "x: {a: [1]}\n- \"' + str(1) + '"
    load(tmp_path, text, NAME=name).run()
    assert json.loads((tmp_path / "out.ndjson").read_text().splitlines()[0]) == {"message": "1", "host": name, "n": 1}


@pytest.mark.parametrize("name", CASES)
def test_wrong_files_give_every_mistake_as_an_error(tmp_path: Path, name: str) -> None:
    text, message = CASES[name]
    if text is None:
        return
    with pytest.raises(rx.ConfigError) as caught:
        load(tmp_path, text)
    assert message.removeprefix("x.yaml") in str(caught.value)
    assert all(mistake.line >= 1 and mistake.column >= 1 for mistake in caught.value.mistakes)


def test_schema() -> None:
    schema = FileSpec.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    from rx_collector.config.document import parse_document

    good: Any = parse_document(GOOD).value
    jsonschema.validate(good, schema)
    for name in ("unknown operator", "unknown key", "sink without strategy"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(parse_document(str(CASES[name][0])).value, schema)


@pytest.mark.slow
def test_two_million_lines_in_bounded_memory(tmp_path: Path) -> None:
    """The peak of the resident memory of the collector's own process, over its whole life, and as of the first million: the
    child prints the second one when that has been looked at.
    """
    import subprocess
    import sys

    script = f"""
from pathlib import Path
import rx_collector as rx
from rx_collector.pipeline.collector import Collector
collector = Collector(rx.load({str(tmp_path / "x.yaml")!r}))
def peak():
    status = Path("/proc/self/status").read_text().splitlines()
    return next(line.split()[1] for line in status if line.startswith("VmHWM"))
peaks = []
def look():
    if not peaks and collector.report().runners["big"].lines == 1_000_000:
        peaks.append(peak())
        Path({str(tmp_path / "seen")!r}).touch()
report = collector.run(tick=look, interval=0.02)
print(report.runners["big"].lines, report.pipelines["p"].sinks["file"].delivered, report.balanced)
print(*peaks, peak())
"""
    (tmp_path / "make.py").write_text(
        "import os, sys, time\n"
        'row = \'{"timestamp":%d,"event":"%s","comm":"bash","pid":%d,"ppid":1,"filename":"/usr/bin/x"}\\n\'\n'
        "for block in range(2000):\n"
        "    if block == 1000:\n"
        "        sys.stdout.flush()\n"
        "        while not os.path.exists('seen'):\n"
        "            time.sleep(0.01)\n"
        "    sys.stdout.write(''.join(row % (n, 'EXEC' if n % 3 == 0 else 'EXIT', n) for n in range(1000)))\n"
    )
    (tmp_path / "x.yaml").write_text(
        f"""
runners:
  big: {{command: [{sys.executable}, make.py]}}
pipelines:
  p:
    from: big
    operators:
      - parse: json
      - filter: event == "EXEC"
      - set: {{seen: true}}
    sinks:
      - file: out.ndjson
        backpressure: block
"""
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=True)
    totals, peaks = done.stdout.splitlines()
    assert totals == "2000000 668000 True"
    assert (tmp_path / "out.ndjson").read_bytes().count(b"\n") == 668_000
    first, whole = map(int, peaks.split())
    assert whole < 60 * 1024, peaks
    assert whole < first + 6 * 1024, peaks  # flat: the second million takes no more than the first


# Pipelines that are complete before their runners are


def test_a_limit_ends_the_run_and_its_child(tmp_path: Path) -> None:
    text = """
runners: {a: {command: [seq, "1000000000"]}}
pipelines:
  p: {from: a, operators: [{limit: 3}], sinks: [{file: out, backpressure: block}]}
"""
    (tmp_path / "x.yaml").write_text(text)
    report = rx.load(tmp_path / "x.yaml").run()
    assert (tmp_path / "out").read_text().split() == ['{"message":"1"}', '{"message":"2"}', '{"message":"3"}']
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0


def test_a_runner_whose_pipelines_are_complete_is_stopped_while_others_go_on(tmp_path: Path) -> None:
    text = f"""
runners:
  a: {{command: [sh, -c, 'while :; do echo a; sleep 0.01; done']}}
  b: {{command: [sh, -c, 'while kill -0 $(cat {tmp_path}/pid 2>/dev/null) 2>/dev/null; do sleep 0.01; done; echo b']}}
  c: {{command: [sh, -c, 'echo $$ > {tmp_path}/pid; while :; do echo c; sleep 0.01; done']}}
pipelines:
  p: {{from: a, sinks: [{{null: , backpressure: block}}], operators: [limit: 1]}}
  q: {{from: [c], operators: [filter: 'True']}}
  r: {{from: q, operators: [limit: 5], sinks: [{{file: c, backpressure: block}}]}}
  s: {{from: b, sinks: [{{file: b, backpressure: block}}]}}
"""
    (tmp_path / "x.yaml").write_text(text)
    (tmp_path / "pid").write_text("1")
    report = rx.load(tmp_path / "x.yaml", {}).run(duration="20s")
    assert report.seconds < 15  # it ended because all were complete
    assert (tmp_path / "b").read_text() == '{"message":"b"}\n'
    assert report.balanced, report.unbalanced
    assert report.exit_code == 0


def test_a_stream_in_python_that_is_complete_early_leaves_no_child() -> None:
    report = rx.run(rx.runner("seq", "1000000000").pipe(op.limit(2), op.to(sinks.null())))
    assert report.balanced, report.unbalanced
    assert report.pipelines["stream"].nodes[1].out == 2
