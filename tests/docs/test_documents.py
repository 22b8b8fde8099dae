"""Every example in the documents and docstrings runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rx_collector
from rx_collector.cli.catalogue import _components

ROOT = Path(__file__).parent.parent.parent
MODULES = [module.name for module in pkgutil.walk_packages(rx_collector.__path__, "rx_collector.")]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(file: str, language: str) -> list[str]:
    return [text for name, text in BLOCK.findall((ROOT / file).read_text()) if name == language]


@pytest.mark.parametrize("name", [name for name in MODULES if not name.endswith("__main__")])
def test_docstrings(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


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
def test_the_quickstart() -> None:
    command = [sys.executable, "-m", "rx_collector", "run", "pipelines/quickstart.yaml", "--duration", "1500ms"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 2
    assert "balanced" in result.stderr


@pytest.mark.slow
def test_adding_a_component(tmp_path: Path) -> None:
    """The worked example, put where it says, in a copy of the package."""
    shutil.copytree(ROOT / "rx_collector", tmp_path / "rx_collector", ignore=shutil.ignore_patterns("__pycache__"))
    format_text, operator_text = blocks("docs/adding-a-component.md", "python")
    (tmp_path / "rx_collector" / "parsers" / "pair.py").write_text(format_text)
    (tmp_path / "rx_collector" / "operators" / "only.py").write_text(operator_text)
    (yaml,) = blocks("docs/adding-a-component.md", "yaml")
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
    for sort, components in _components().items():
        for name, component in components.items():
            example = getattr(component, "example", "")
            if not example or name == "python":
                continue
            item = "\n".join(f"        {'- ' if n == 0 else '  '}{line}" for n, line in enumerate(example.splitlines()))
            sinks = item if sort in ("sinks", "strategies") else "        - null:\n          backpressure: block"
            operators = "" if sort in ("sinks", "strategies") else f"    operators:\n{item}\n"
            runners = "runners:\n  a: {command: [seq, 1]}\n  sorter: {command: [sort]}\n"
            pipeline = f"pipelines:\n  p:\n    from: a\n{operators}    sinks:\n{sinks}\n"
            (tmp_path / "x.yaml").write_text(runners + pipeline)
            rx_collector.load(tmp_path / "x.yaml")


def test_public_names() -> None:
    assert sorted(rx_collector.__all__) == list(rx_collector.__all__)
    for name in rx_collector.__all__:
        assert getattr(rx_collector, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        rx_collector.nothing  # noqa: B018


@pytest.mark.parametrize("modules", ["reactivex", "msgspec", "yaml", "click", "rich"])
def test_an_import_is_cheap(modules: str) -> None:
    """What is heavy is imported when it is needed; loguru alone has to be told at once that we are silent."""
    script = f"import sys, rx_collector; assert {modules!r} not in sys.modules; rx_collector.runner"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
