"""The log: loguru's where there is loguru, in whatever order they are imported, the command's own where there is none."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HEAR = "said = []; logger.remove(); logger.add(lambda message: said.append(message.record), level=0)\n"
SAY = """
from rx_collector.log import logger as ours
def say():
    ours.debug('one {}', 1)
    ours.log('INFO', 'two')
    try:
        1 / 0
    except ZeroDivisionError as error:
        ours.opt(exception=error).error('three')
say.__globals__['__name__'] = 'rx_collector.somewhere'
say()
import json
def shown(record):
    error = record['exception'] and record['exception'].value
    return record['level'].name, record['message'], record['name'], record['function'], str(error)
print(json.dumps([shown(record) for record in said]))
"""
HEARD = [
    ["DEBUG", "one 1", "rx_collector.somewhere", "say", "None"],
    ["INFO", "two", "rx_collector.somewhere", "say", "None"],
    ["ERROR", "three", "rx_collector.somewhere", "say", "division by zero"],
]


def script(text: str) -> str:
    result = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import rx_collector\nfrom loguru import logger\n",
        "from loguru import logger\nimport rx_collector\n",
        "from rx_collector.log import logger as ours\nours.error('nobody hears it')\nfrom loguru import logger\n",
        "import rx_collector, importlib\nlogger = importlib.import_module('loguru').logger\n",
    ],
)
def test_the_library_is_silent_until_it_is_asked_whatever_is_imported_first(imports: str) -> None:
    assert json.loads(script(imports + HEAR + SAY)) == []
    assert json.loads(script(imports + HEAR + "logger.enable('rx_collector')\n" + SAY)) == HEARD
    assert json.loads(script(imports + "logger.enable('rx_collector')\n" + HEAR + SAY)) == HEARD


def test_a_process_without_loguru_does_without() -> None:
    text = "import sys\nfrom rx_collector.log import logger\nlogger.error('{}', 1)\nassert 'loguru' not in sys.modules"
    assert script(text) == ""


def test_who_finds_modules_is_left_as_it_was() -> None:
    script(
        "import sys; before = [*sys.meta_path]\n"
        "import rx_collector, loguru, json.tool\n"
        "assert sys.meta_path == before, sys.meta_path\n"
        "assert loguru.__spec__.loader.get_source('loguru')\n"
    )


@pytest.mark.slow
def test_loguru_in_an_archive_is_met_too(tmp_path: Path) -> None:
    """There one loader loads all of it."""
    import loguru

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in Path(loguru.__file__).parent.rglob("*.py"):
            archive.write(file, f"loguru/{file.relative_to(Path(loguru.__file__).parent)}")
    before = f"import sys; sys.path.insert(0, {str(tmp_path / 'all.zip')!r})\nimport rx_collector\n"
    imports = "from loguru import logger\nimport loguru; assert '.zip' in loguru.__file__\n"
    assert json.loads(script(before + imports + HEAR + SAY)) == []
    assert json.loads(script(before + imports + HEAR + "logger.enable('rx_collector')\n" + SAY)) == HEARD


def test_without_loguru_the_import_of_it_fails_as_ever() -> None:
    script(
        "import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        f"sys.path.append({str(Path(__file__).parent.parent)!r})\n"
        "import rx_collector\n"
        "for _ in range(2):\n"
        "    try: import loguru\n"
        "    except ModuleNotFoundError as error: assert error.name == 'loguru'\n"
        "    else: raise AssertionError\n"
    )


FILE = """\
runners:
  a: {{command: [sh, -c, 'echo said >&2; sleep 0.05; echo 1; echo 2; exit 3']}}
pipelines:
  p:
    from: a
    operators:
      - python: {module}:through
      - tap: message
      - log: {{show: message, level: warning}}
    sinks: [{{null: , backpressure: block}}]
"""


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("option", [[], ["--quiet"], ["--verbose"]])
def test_the_command_writes_the_same_lines_with_and_without_loguru(
    tmp_path: Path, option: list[str], terminal: bool
) -> None:
    (tmp_path / "without.py").write_text("def through(stream): return stream\n")
    (tmp_path / "with_it.py").write_text("import loguru\ndef through(stream): return stream\n")
    said = []
    for module in ("without", "with_it"):
        (tmp_path / "x.yaml").write_text(FILE.format(module=module))
        text = errors_of([sys.executable, "-m", "rx_collector", "run", "x.yaml", *option], tmp_path, terminal)
        text = re.sub(r"\d\d:\d\d:\d\d|pid \d+|after .*", "…", text)
        said.append(sorted(line for line in text.splitlines() if "…" in line and "/s, in " not in line))
    assert said[0] == said[1]
    assert any(("WARNING\x1b[0m 2" if terminal else "… WARNING 2") in line for line in said[0])


def errors_of(command: list[str], directory: Path, terminal: bool) -> str:
    """What a command writes to standard error, which may be a terminal."""
    if not terminal:
        return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False).stderr
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.DEVNULL, stderr=theirs, env=environment)
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
    os.close(ours)
    process.wait(60)
    return shown.decode()


def test_nobody_else_here_imports_loguru() -> None:
    """A module that did would bring it, with asyncio and multiprocessing, into every process that imports that module."""
    package = Path(__file__).parent.parent / "rx_collector"
    found = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if re.search(r"^(from loguru|import loguru)", file.read_text(), re.MULTILINE)
    }
    assert found == set()
