"""Includes, templates, profiles and warnings on the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rx_collector.cli import cli
from rx_collector.pipeline.spec import FileSpec
from tests.cli.test_errors import command
from tests.conftest import wait_until

MAIN = """\
include: lib/common.yaml
pipelines:
  large:
    from: numbers
    operators:
      - use: {above: {least: 3}}
    sinks:
      - file: out.ndjson
        backpressure: block
profiles:
  few:
    pipelines: {large: {operators: [use: {above: {least: 4}}]}}
tests:
  - name: small numbers are left out
    given: {numbers: [1, 2, 3, 4]}
    expect: {large: [{n: 3}, {n: 4}]}
"""
COMMON = """\
runners:
  numbers: {command: [seq, "5"]}
templates:
  above:
    parameters: {least: }
    operators:
      - map: "{'n': int(message)}"
      - filter: n >= ${least}
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "x.yaml").write_text(MAIN)
    (tmp_path / "lib" / "common.yaml").write_text(COMMON)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), env=environment, standalone_mode=False)


def said(result: Result) -> tuple[int, list[str]]:
    return result.return_value, result.output.splitlines()


@pytest.mark.usefixtures("directory")
def test_validate_says_ok_of_the_whole() -> None:
    assert said(ask("validate", "x.yaml")) == (0, ["x.yaml: ok"])
    code, lines = said(ask("validate", "lib/common.yaml"))
    assert code == 2
    assert lines == [
        "lib/common.yaml:1:1: 'pipelines' is missing: What becomes of what they print, by name "
        "(only a file that others include can do without)"
    ]


def test_validate_checks_the_file_and_each_profile(directory: Path) -> None:
    (directory / "x.yaml").write_text(MAIN.replace("least: 4", "least: 4, most: 5").replace("least: 3", "laest: 3"))
    of_the_file = [
        "x.yaml:6:15: pipelines.large.operators[0].use.above: the template 'above' needs 'least'",
        "x.yaml:6:23: pipelines.large.operators[0].use.above.laest: the template 'above' has no parameter 'laest', "
        "did you mean 'least'?",
    ]
    of_the_profile = [
        "x.yaml:12:61: profiles.few.pipelines.large.operators[0].use.above.most: the template 'above' has no parameter "
        "'most'; known: least"
    ]
    assert said(ask("validate", "x.yaml")) == (2, of_the_file + of_the_profile)
    assert said(ask("validate", "--profile", "few", "x.yaml")) == (2, of_the_profile)
    assert said(ask("validate", "x.yaml", RX_COLLECTOR_PROFILE="few")) == (2, of_the_profile)
    assert said(ask("validate", "x.yaml", RX_COLLECTOR_PROFILE="")) == (2, of_the_file + of_the_profile)


WARNING = (
    "x.yaml:11:3: runners.unread: warning: no pipeline reads this runner, so it is not started; "
    "one does with from: unread"
)


def test_a_warning_changes_nothing_unless_strict(directory: Path) -> None:
    unread = "runners:\n  unread: {command: [ls]}\nprofiles:"
    (directory / "x.yaml").write_text(MAIN.replace("profiles:", unread))
    assert said(ask("validate", "x.yaml")) == (0, [WARNING, "x.yaml: ok"])
    assert said(ask("validate", "--strict", "x.yaml")) == (2, [WARNING])
    # What one of the profiles has a use for is no warning, but where that profile is not chosen.
    reading = "    pipelines: {large: {from: [numbers, unread], operators: "
    (directory / "x.yaml").write_text(
        MAIN.replace("profiles:", unread).replace("    pipelines: {large: {operators: ", reading)
    )
    assert said(ask("validate", "--strict", "x.yaml")) == (0, ["x.yaml: ok"])
    assert said(ask("validate", "--profile", "few", "x.yaml")) == (0, ["x.yaml: ok"])


@pytest.mark.slow
def test_run_logs_each_warning_once(directory: Path) -> None:
    (directory / "x.yaml").write_text(MAIN.replace("profiles:", "runners:\n  unread: {command: [ls]}\nprofiles:"))
    result = command("run", "x.yaml", cwd=directory)
    assert result.returncode == 0
    told = [line.partition(" ")[2] for line in result.stderr.splitlines() if "no pipeline" in line]
    assert told == [f"WARNING {WARNING.replace('warning: ', '')}"]


@pytest.mark.slow
def test_a_profile_is_chosen_by_option_or_environment(directory: Path) -> None:
    for arguments, environment, delivered in (
        ([], {}, 3),
        (["--profile", "few"], {}, 2),
        ([], {"RX_COLLECTOR_PROFILE": "few"}, 2),
        (["--profile", "few"], {"RX_COLLECTOR_PROFILE": "none"}, 2),
    ):
        result = command("run", "-q", "--report", "r.json", "x.yaml", *arguments, cwd=directory, **environment)
        assert (result.returncode, result.stderr) == (0, "")
        report = json.loads((directory / "r.json").read_text())
        assert report["pipelines"]["large"]["sinks"]["file"]["delivered"] == delivered
    assert "RX_COLLECTOR_PROFILE" in ask("run", "--help").output


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["run", "validate", "test", "explain", "graph", "record", "replay"])
def test_an_unknown_profile_is_a_mistake_of_each_command(verb: str, directory: Path) -> None:
    more = {"record": ["--to", "x.recording"], "replay": ["no.recording"]}.get(verb, [])
    result = command(verb, *more, "--profile", "fwe", "x.yaml", cwd=directory)
    assert (result.returncode, result.stderr) == (
        2,
        "x.yaml:10:1: profiles: no profile 'fwe', did you mean 'few'?\n",
    )


@pytest.mark.usefixtures("directory")
def test_tests_see_the_profile() -> None:
    assert ask("test", "x.yaml").return_value == 0
    result = ask("test", "--profile", "few", "x.yaml")
    assert result.return_value == 1
    assert "1 failed" in result.output


@pytest.mark.slow
def test_explain_and_graph_show_what_comes_of_templates(directory: Path) -> None:
    explained = ask("explain", "--source", "x.yaml").output
    assert "numbers -> map -> filter -> file (block)" in explained
    assert "# operators[0] above[0] map (lib/common.yaml:7, used at x.yaml:6)" in explained
    assert "# operators[0] above[1] filter (lib/common.yaml:8, used at x.yaml:6)" in explained
    command("run", "-q", "--report", "r.json", "x.yaml", cwd=directory)
    drawn = ask("graph", "--report", "r.json", "x.yaml").output
    assert "2 filtered" in drawn
    assert ask("graph", "--profile", "few", "--report", "r.json", "x.yaml").return_value == 0


@pytest.mark.slow
def test_two_files_that_include_the_same(directory: Path) -> None:
    other = MAIN.replace("large", "small").replace("out.", "other.").replace(">=", "<").partition("profiles:")[0]
    (directory / "other.yaml").write_text(other)
    result = command("run", "-q", "x.yaml", "other.yaml", "--profile", "few", cwd=directory)
    assert (result.returncode, result.stderr) == (0, "")
    assert (directory / "out.ndjson").read_text() == '{"n":4}\n{"n":5}\n'
    assert (directory / "other.ndjson").read_text() == '{"n":3}\n{"n":4}\n{"n":5}\n'
    assert said(ask("validate", "x.yaml", "other.yaml")) == (0, ["x.yaml: ok", "other.yaml: ok"])


@pytest.mark.slow
def test_watch_looks_at_what_is_included_even_if_it_cannot_be_loaded(directory: Path) -> None:
    out, common = directory / "printed", directory / "lib" / "common.yaml"
    common.unlink()

    def rounds() -> int:
        return out.read_text().count("waiting for a change")

    with open(out, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "rx_collector", "test", "--watch", "x.yaml"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "RX_COLLECTOR_PROFILE": ""},
        )
    try:
        wait_until(lambda: rounds() == 1, "the round without the included file")
        assert "no such file: lib/common.yaml" in out.read_text()
        common.write_text(COMMON.replace("filter:", "filtr:"))
        wait_until(lambda: rounds() == 2, "the round after it appeared")
        assert "lib/common.yaml:8:9: templates.above.operators[1].filtr: unknown operator 'filtr'" in out.read_text()
        common.write_text(COMMON)
        wait_until(lambda: rounds() == 3, "the round after it was mended")
        assert "1 passed" in out.read_text()
        common.write_text(COMMON.replace(">=", "<"))
        wait_until(lambda: rounds() == 4, "the round after it changed")
        assert f"{os.path.join('lib', 'common.yaml')} has changed" in out.read_text()
        assert "1 failed" in out.read_text()
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@pytest.mark.usefixtures("directory")
def test_the_new_keys_are_described() -> None:
    described = ask("describe", "file").output
    for key in ("include", "templates", "profiles"):
        assert f"    {key}: " in described
    assert "templates:\n      no_system:" in ask("describe", "template").output
    assert "use: no_system stands among the operators" in ask("describe", "use").output
    for key in FileSpec.options():
        assert ask("describe", key).output.startswith(f"key of a file: {key}\n"), key
    assert "include: [common.yaml]" in ask("describe", "include").output
    assert "'rx-collector describe test'" in ask("describe", "tests").output
