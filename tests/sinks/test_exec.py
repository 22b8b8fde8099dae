"""The program behind an exec sink: how it is started, what it sees, how it is ended."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import rx_collector as rx
from rx_collector import sinks
from tests.conftest import wait_until
from tests.events import event
from tests.sinks.test_sinks import deliver


def test_variables_are_added_to_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RX_TEST_OURS", "ours")
    monkeypatch.setenv("RX_TEST_BOTH", "ours")
    script = f'echo "$RX_TEST_OURS $RX_TEST_BOTH $RX_TEST_ADDED" > {tmp_path}/o; cat > /dev/null'
    deliver(sinks.exec(["sh", "-c", script], env={"RX_TEST_BOTH": "its own", "RX_TEST_ADDED": "added"}), [event({})])
    assert (tmp_path / "o").read_text() == "ours its own added\n"
    deliver(sinks.exec(["sh", "-c", script]), [event({})])
    assert (tmp_path / "o").read_text() == "ours ours \n"
    assert os.environ["RX_TEST_BOTH"] == "ours"


def test_the_working_directory(tmp_path: Path) -> None:
    deliver(sinks.exec(["sh", "-c", "pwd > o; cat >> o"], cwd=str(tmp_path)), [event({"a": 1})])
    assert (tmp_path / "o").read_text() == f'{tmp_path}\n{{"a":1}}\n'
    with pytest.raises(rx.OutputError, match="cannot start 'cat': "):
        sinks.exec(["cat"], cwd=str(tmp_path / "none")).open()


def test_a_text_for_the_shell(tmp_path: Path) -> None:
    deliver(sinks.exec(f"cat | tr a-z A-Z > {tmp_path}/o", shell=True), [event({"a": "b"})])
    assert (tmp_path / "o").read_text() == '{"A":"B"}\n'
    with pytest.raises(rx.OutputError, match=r"^sh: exited with code 7$"):
        deliver(sinks.exec("cat > /dev/null; exit 7", shell=True), [event({})])


@pytest.mark.parametrize(("command", "shell"), [("cat", False), (["cat"], True)])
def test_a_text_goes_with_a_shell_and_a_list_without(command: str | list[str], shell: bool) -> None:
    with pytest.raises(rx.ConfigError, match="a text goes with 'shell: true', a list of arguments without"):
        sinks.exec(command, shell=shell)  # type: ignore[arg-type]


def test_arguments_are_never_given_to_a_shell(tmp_path: Path) -> None:
    deliver(sinks.exec(["tee", str(tmp_path / "a b;$HOME")]), [event({"a": 1})])
    assert (tmp_path / "a b;$HOME").read_text() == '{"a":1}\n'


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"format": "text"}, "said"),
        ({"envelope": True}, '{"id":"run/exec/1/1","source":"exec",'),
        ({"format": "cloudevents"}, '{"specversion":"1.0","id":"run/exec/1/1",'),
    ],
)
def test_formats(tmp_path: Path, options: dict[str, str | bool], line: str) -> None:
    deliver(sinks.exec(["sh", "-c", f"cat > {tmp_path}/o"], **options), [event({"message": "said"})])  # type: ignore[arg-type]
    assert (tmp_path / "o").read_text().startswith(line)


def test_its_output_goes_where_ours_does(capfd: pytest.CaptureFixture[str]) -> None:
    deliver(sinks.exec(["sh", "-c", "cat; echo aside >&2"]), [event({"a": 1})])
    assert capfd.readouterr() == ('{"a":1}\n', "aside\n")


def test_what_is_late_gets_sigterm_first(tmp_path: Path) -> None:
    script = f"""
        trap 'sleep 0.1; echo told > {tmp_path}/told; exit 0' TERM
        echo > {tmp_path}/ready
        while :; do sleep 3600 & wait; done
    """
    writer = sinks.exec(["sh", "-c", script], grace="1ms").open()
    wait_until((tmp_path / "ready").exists, "it runs")
    with pytest.raises(rx.OutputError, match=r"^sh: did not end with its input and was stopped$"):
        writer.close()
    assert (tmp_path / "told").read_text() == "told\n"


@pytest.mark.slow
def test_what_is_deaf_to_sigterm_is_killed(tmp_path: Path) -> None:
    script = f"trap '' TERM; echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; while :; do sleep 1; done"
    writer = sinks.exec(["sh", "-c", script], grace="1ms").open()
    wait_until((tmp_path / "pid").exists, "it runs")
    with pytest.raises(rx.OutputError, match="did not end with its input"):
        writer.close()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_within_its_grace_it_is_let_be(tmp_path: Path) -> None:
    """It ends by itself some time after its input has, and nobody hurries it."""
    script = f"trap 'echo told > {tmp_path}/told' TERM; cat > /dev/null; sleep 0.1; echo well > {tmp_path}/ended"
    assert deliver(sinks.exec(["sh", "-c", script], grace="30s"), [event({})]) == 1
    assert (tmp_path / "ended").read_text() == "well\n"
    assert not (tmp_path / "told").exists()


@pytest.mark.slow
def test_one_that_closes_its_input_is_told_so(tmp_path: Path) -> None:
    script = f"exec 0<&-; echo > {tmp_path}/closed; sleep 3600"
    writer = sinks.exec(["sh", "-c", script], grace="1ms").open()
    wait_until((tmp_path / "closed").exists, "its input is closed")
    with pytest.raises(rx.OutputError, match=r"^sh: closed its input$") as caught:
        writer.write([event({})])
    assert caught.value.delivered == 0
    with pytest.raises(rx.OutputError, match="did not end with its input"):
        writer.close()
