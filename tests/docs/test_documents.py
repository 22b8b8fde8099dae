"""Every example in the documents and docstrings runs."""

from __future__ import annotations

import doctest
import importlib.util
import json
import pkgutil
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rx_collector
from rx_collector.cli.catalogue import _components
from rx_collector.parsers import FORMATS

ROOT = Path(__file__).parent.parent.parent
MODULES = [module.name for module in pkgutil.walk_packages(rx_collector.__path__, "rx_collector.")]
BLOCK = re.compile(r"^```([\w-]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(file: str, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall((ROOT / file).read_text()) if name == language]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


def test_every_function_of_the_python_interface_has_an_example() -> None:
    """That it is right is what the test before shows."""
    from rx_collector import operators

    functions = [getattr(operators, name) for name in operators.__all__ if name.islower()]
    functions += [rx_collector.runner, rx_collector.run, rx_collector.load, rx_collector.Runner.builder]
    functions += [rx_collector.Runner.stop]
    assert [function.__qualname__ for function in functions if ">>> " not in (function.__doc__ or "")] == []


def test_ci_runs_the_two_commands_of_the_readme_word_for_word() -> None:
    """It finds them by patterns, and each has to find just the one that stands alone in its block."""
    script = (ROOT / ".ci" / "run").read_text()
    patterns = re.findall(r"grep -m 1 '([^']+)' README\.md", script)
    readme = (ROOT / "README.md").read_text().splitlines()
    found = [[line for line in readme if re.search(pattern, line)] for pattern in patterns]
    assert found == [[command.strip()] for command in blocks("README.md", "bash")]
    assert 'bash -c "$first"' in script
    assert 'bash -c "$second"' in script
    subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")], check=True)


def test_the_pages_of_the_readme_are_there() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_the_stages_that_the_package_names_are_its_modules() -> None:
    """In the order of the flow, as its first page tells them, and each says at its top what it is."""
    named = re.findall(r"^    (\w+) {2,}\S", rx_collector.__doc__ or "", re.MULTILINE)
    assert named[0] == "runners"
    assert named[-1] == "cli"
    assert {"event", "parsers", "operators", "backpressure", "sinks", "ledger"} < set(named)
    for name in named:
        assert (importlib.import_module(f"rx_collector.{name}").__doc__ or "").strip(), name


def test_the_python_of_the_readme(capfd: pytest.CaptureFixture[str]) -> None:
    (text,) = blocks("README.md", "python")
    exec(text, {})
    assert capfd.readouterr().out == "".join(f'{{"hundreds":{n}}}\n' for n in range(1, 11))


def test_the_yaml_of_the_readme(tmp_path: Path) -> None:
    (text,) = blocks("README.md", "yaml")
    (tmp_path / "audit.yaml").write_text(text)
    project = rx_collector.load(tmp_path / "audit.yaml")
    assert project.runners["exec"].command[0] == "bpftrace"
    capture = str(ROOT / "tests" / "captures" / "bpftrace-json-exec.ndjson")
    report = project.with_runner("exec", command=["cat", capture]).run()
    assert (report.balanced, report.pipelines["audit"].sinks["file"].delivered) == (
        True,
        report.pipelines["audit"].sinks["console"].delivered,
    )
    assert report.pipelines["audit"].sinks["file"].delivered > 0


def test_the_readme_names_every_pipeline() -> None:
    text = (ROOT / "README.md").read_text()
    for file in (ROOT / "pipelines").glob("*.yaml"):
        assert f"`pipelines/{file.name}`" in text
    for command in blocks("README.md", "bash"):
        assert command.startswith("sh install.sh ")


@pytest.mark.slow
@pytest.mark.once
def test_the_quickstart() -> None:
    command = [sys.executable, "-m", "rx_collector", "run", "pipelines/quickstart.yaml", "--duration", "1500ms"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 2
    assert "balanced" in result.stderr


EXAMPLE = re.compile(r"^```yaml\n(.*?)^```\n\n```text\n(.*?)^```\n\n```json\n(.*?)^```", re.DOTALL | re.MULTILINE)
EXAMPLES = EXAMPLE.findall((ROOT / "docs" / "formats.md").read_text())
RUN_ITEMS = """\
runners:
  tool: {command: [cat, app.log]}
pipelines:
  p:
    from: tool
    sinks:
      - file: out.ndjson
        backpressure: block
    operators:
"""


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_a_format(number: int, tmp_path: Path) -> None:
    written, printed, payloads = EXAMPLES[number]
    if "format: jc" in written:
        pytest.importorskip("jc")
    whole = written.startswith("runners:")
    (tmp_path / "x.yaml").write_text(written if whole else RUN_ITEMS + textwrap.indent(written, "      "))
    (tmp_path / "app.log").write_text(printed)
    report = rx_collector.load(tmp_path / "x.yaml").run()
    assert report.balanced
    assert report.exit_code == 0
    (output,) = tmp_path.glob("*.ndjson")
    made = [json.loads(line) for line in output.read_text().splitlines()]
    assert made == [json.loads(line) for line in payloads.splitlines()]


def test_every_format_has_an_example() -> None:
    text = (ROOT / "docs" / "formats.md").read_text()
    assert len(EXAMPLES) == text.count("```yaml")
    used = re.findall(r"parse: (?:{format: )?(\w+)", "".join(written for written, _, _ in EXAMPLES))
    assert set(used) == set(FORMATS)
    headed = [name.strip() for line in re.findall(r"^## (.*)$", text, re.MULTILINE) for name in line.split(",")]
    assert headed[:-1] == sorted(FORMATS, key=headed.index)


@pytest.mark.slow
@pytest.mark.once
def test_adding_a_component(tmp_path: Path) -> None:
    """The worked example, put where it says, in a copy of the package and of what tests its cases."""
    leave = shutil.ignore_patterns("__pycache__")
    for directory in ("rx_collector", "docs", "tests/docs", "tests/cases"):
        shutil.copytree(ROOT / directory, tmp_path / directory, ignore=leave)
    (tmp_path / "tests" / "captures").mkdir()
    for name in (
        "tests/__init__.py",
        "tests/conftest.py",
        "tests/events.py",
        "tests/warm.py",
        "tests/captures/users.csv",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    format_text, operator_text = blocks("docs/adding-a-component.md", "python")
    (tmp_path / "rx_collector" / "parsers" / "pair.py").write_text(format_text)
    (tmp_path / "rx_collector" / "operators" / "only.py").write_text(operator_text)
    pair_case, only_case, yaml = blocks("docs/adding-a-component.md", "yaml")

    def tested() -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/docs/test_reference.py"]
        argv += ["-k", "formats-pair or operators-only"]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    result = tested()
    assert "pair needs a case: a pipeline file with tests, tests/cases/parsers/pair.yaml" in result.stdout
    assert "only needs a case: a pipeline file with tests, tests/cases/operators/only.yaml" in result.stdout
    (tmp_path / "tests" / "cases" / "parsers" / "pair.yaml").write_text(pair_case)
    (tmp_path / "tests" / "cases" / "operators" / "only.yaml").write_text(only_case)
    result = tested()
    assert result.returncode == 0, result.stdout
    assert "6 passed" in result.stdout
    (tmp_path / "x.yaml").write_text(yaml)

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "rx_collector", *arguments]
        return subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    result = command("run", "x.yaml")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "pairs.ndjson").read_text() == '{"left":"sh","right":"1"}\n'
    assert "balanced" in result.stderr
    listed = command("list").stdout
    assert "    only " in listed
    assert "    pair " in listed
    assert "What stands between the two." in command("describe", "pair").stdout
    assert '"only"' in command("schema").stdout


@pytest.mark.slow
@pytest.mark.once
def test_testing_a_component(tmp_path: Path) -> None:
    """The page is a file of tests: all of it passes, and what it shows of a bad sink is what is said."""
    text = "\n".join(blocks("docs/testing-a-component.md", "python"))
    (tmp_path / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout
    assert f"{text.count('def test_')} passed" in result.stdout
    (tmp_path / "test_mine.py").write_text(text.replace("self.events.extend(events)", "self.events.extend(events[1:])"))
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    (said,) = blocks("docs/testing-a-component.md", "text")
    for line in said.splitlines():
        assert line in result.stdout


@pytest.mark.slow
@pytest.mark.once
def test_testing_pipelines(tmp_path: Path) -> None:
    """The example, with the output that the document shows for it; only how long it takes differs."""
    (yaml,) = blocks("docs/testing-pipelines.md", "yaml")
    shown = blocks("docs/testing-pipelines.md", "")

    def printed(text: str) -> str:
        (tmp_path / "audit.yaml").write_text(text)
        argv = [sys.executable, "-m", "rx_collector", "test", "audit.yaml"]
        result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert result.stderr == ""
        return timeless(result.stdout)

    def timeless(text: str) -> str:
        return re.sub(r"[0-9.]+ ms", "… ms", text)

    right, wrong = map(timeless, shown)
    assert right == "$ rx-collector test audit.yaml\n" + printed(yaml)
    assert wrong in printed(yaml.replace("dir: /bin}]", "dir: /sbin}]"))


def test_every_example_of_a_component_is_right(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "captures" / "users.csv", tmp_path)  # the table of enrich
    for sort, components in _components().items():
        for name, component in components.items():
            example = getattr(component, "example", "")
            if not example or name == "python" or (name == "jc" and importlib.util.find_spec("jc") is None):
                continue
            item = "\n".join(f"        {'- ' if n == 0 else '  '}{line}" for n, line in enumerate(example.splitlines()))
            sinks = item if sort in ("sinks", "strategies") else "        - null:\n          backpressure: block"
            operators = "" if sort in ("sinks", "strategies") else f"    operators:\n{item}\n"
            runners = "runners:\n  a: {command: [seq, 1]}\n  sorter: {command: [sort]}\n"
            pipeline = f"pipelines:\n  p:\n    from: a\n{operators}    sinks:\n{sinks}\n"
            if name == "route":  # somebody has to read its branches
                pipeline += "  q: {from: [p.errors, p.slow], sinks: [{null: , backpressure: block}]}\n"
            for other in (
                ("started", "disks") if name in ("join", "merge") else ()
            ):  # and what they read has to be there
                pipeline += f"  {other}: {{from: a, sinks: [{{null: , backpressure: block}}]}}\n"
            (tmp_path / "x.yaml").write_text(runners + pipeline)
            rx_collector.load(tmp_path / "x.yaml")


def test_public_names() -> None:
    assert sorted(rx_collector.__all__) == list(rx_collector.__all__)
    for name in rx_collector.__all__:
        assert getattr(rx_collector, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rx_collector.nothing  # noqa: B018


@pytest.mark.parametrize("modules", ["reactivex", "loguru", "msgspec", "yaml", "click", "rich"])
def test_an_import_is_cheap(modules: str) -> None:
    """What is heavy is imported when it is needed."""
    script = f"import sys, rx_collector; assert {modules!r} not in sys.modules; rx_collector.runner"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
