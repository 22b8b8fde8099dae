"""What is said of wrong files, word for word: tests/cases/errors/NAME.yaml and NAME.txt, as it stands on a terminal.

``python -m tests.cli.test_mistakes`` writes every NAME.txt anew; read what changed before it is committed.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from rx_collector.cli.catalogue import _components, _general
from rx_collector.cli.mistakes import mistake_lines
from rx_collector.cli.validate import look_at
from rx_collector.config.document import parse_document
from rx_collector.config.options import Scope, Spec, example_of
from rx_collector.errors import ConfigError, Mistake
from rx_collector.pipeline.project import load
from rx_collector.pipeline.spec import FileSpec, TemplateSpec

CASES = Path(__file__).parent.parent / "cases" / "errors"
FILES = sorted(CASES.glob("*.yaml"))
ENVIRONMENT = {"API_TOKEN": "hunter2-hunter2"}
WIDTH = 100
COMMANDS = ("iconv ", "rx-collector ")  # where the right form is no YAML


def profile_of(file: Path) -> str | None:
    """The profile that the first line of a case names, if it does."""
    match = re.match(rb"# profile: (\w+)\n", file.read_bytes())
    return match[1].decode() if match else None


def mistakes_in(file: Path) -> list[Mistake]:
    """The mistakes in a file of the working directory, and its warnings; none where it is right."""
    return look_at(file.name, ENVIRONMENT, profile=profile_of(file))


def shown(file: Path) -> str:
    return "".join(f"{line}\n" for line in mistake_lines(mistakes_in(file), WIDTH))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_said_of_a_wrong_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    expected = file.with_suffix(".txt").read_text(encoding="utf-8")
    assert shown(file) == expected
    mistakes = mistakes_in(file)
    # What is piped is the first line of each, and each is in the file and has an example of the right form.
    assert [str(mistake) for mistake in mistakes] == [line for line in expected.splitlines() if line[:1] != " "]
    assert mistakes
    # Those of each file together, that of the case first unless they are all in one that it includes.
    runs = [(name, list(run)) for name, run in itertools.groupby(mistakes, key=lambda mistake: mistake.file)]
    names = [name for name, _ in runs]
    assert len(set(names)) == len(names)
    assert file.name not in names[1:]
    for _, run in runs:
        assert run == sorted(run, key=lambda mistake: (mistake.line, mistake.column))
    for mistake in mistakes:
        assert mistake.example
        if not mistake.example.startswith(COMMANDS):
            assert not parse_document(mistake.example, environment={"NAME": "x", "fields": "x", **ENVIRONMENT}).mistakes


def test_every_text_has_its_file() -> None:
    assert len(FILES) >= 100
    assert {file.stem for file in CASES.iterdir() if file.is_file()} == {file.stem for file in FILES}


SPECS = {spec.__qualname__: spec for _, _, spec in _general()}
SPECS |= {
    f"{sort} {name}": component
    for sort, components in _components().items()
    for name, component in components.items()
    if name not in ("jc", "python")  # what they name has to be there
}


@pytest.mark.parametrize("name", SPECS)
def test_the_example_of_each_option_is_right(name: str, tmp_path: Path) -> None:
    for key, field in SPECS[name].options().items():
        example = example_of(key, field)
        if not example or key == "merge":  # a function that has to be there
            continue
        document = parse_document(example + "\n")
        assert document.mistakes == []
        assert list(document.value) == [key]
        scope = Scope(document, (key,), directory=str(tmp_path))
        field.metadata["kind"].convert(document.value[key], scope)
        assert scope.mistakes == [], example


WHOLE_FILE = """\
runners: {load: {command: [ls]}}
pipelines: {all: {from: load, sinks: [{null: {}, backpressure: block}]}}
"""


@pytest.mark.parametrize(
    "spec", [spec for name, spec in SPECS.items() if " " not in name and spec.example and spec is not TemplateSpec]
)
def test_the_example_of_what_has_options_is_right(spec: type[Spec], tmp_path: Path) -> None:
    document = parse_document(spec.example + "\n")
    assert document.mistakes == []
    scope = Scope(document, directory=str(tmp_path))
    if list(document.value) == [getattr(spec, "name", "")]:
        spec.from_value(document.value[spec.name], scope.child(spec.name))
    else:
        whole = parse_document(WHOLE_FILE).value | document.value
        FileSpec.from_value(whole, Scope(directory=str(tmp_path), mistakes=scope.mistakes))
    assert scope.mistakes == []


def test_the_example_of_a_template_is_right(tmp_path: Path) -> None:
    used = WHOLE_FILE.replace("from: load,", "from: load, operators: [use: no_system],")
    (tmp_path / "x.yaml").write_text(TemplateSpec.example + "\n" + used)
    assert look_at(tmp_path / "x.yaml") == []


# On a terminal, and only there.


def on_a_terminal(cwd: Path, *arguments: str, width: int = 80, **environment: str) -> str:
    """What the command writes on standard error when that is a terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    known = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS")}
    with subprocess.Popen(
        [sys.executable, "-m", "rx_collector", *arguments],
        cwd=cwd,
        env={**known, **environment},
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        pieces = []
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            pieces.append(piece)
    os.close(ours)
    assert process.returncode == 2
    return b"".join(pieces).decode().replace("\r\n", "\n")


SEVERAL = "several_in_the_order_of_the_file"


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["validate", "run", "explain", "test"])
def test_on_a_terminal_there_is_the_line_and_an_example(verb: str) -> None:
    expected = (CASES / f"{SEVERAL}.txt").read_text(encoding="utf-8")
    said = on_a_terminal(CASES, verb, f"{SEVERAL}.yaml", width=WIDTH, NO_COLOR="1")
    assert said == expected
    coloured = on_a_terminal(CASES, verb, f"{SEVERAL}.yaml", width=WIDTH)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == expected


@pytest.mark.slow
def test_on_a_narrow_terminal_the_line_is_cut_around_the_place() -> None:
    said = on_a_terminal(CASES, "validate", "yaml_a_long_line.yaml", width=60, NO_COLOR="1").splitlines()
    excerpt, caret = said[1:3]
    assert max(len(excerpt), len(caret)) <= 60
    assert excerpt[len("    8 | ")] == excerpt[-1] == "…"
    assert excerpt[caret.index("^") :].startswith("= 1 or pid")


@pytest.mark.slow
def test_piped_each_mistake_of_each_file_is_one_line() -> None:
    files = [file for file in FILES if profile_of(file) is None]
    argv = [sys.executable, "-m", "rx_collector", "validate", "--strict", *(file.name for file in files)]
    result = subprocess.run(
        argv, cwd=CASES, env={**os.environ, **ENVIRONMENT}, capture_output=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (2, b"")
    texts = [file.with_suffix(".txt").read_text(encoding="utf-8") for file in files]
    lines = [line for text in texts for line in text.splitlines() if line[:1] != " "]
    assert result.stderr.decode().splitlines() == lines


@pytest.mark.parametrize("width", [1, 20, 60, 61, 80, 100])
@settings(derandomize=True, deadline=None, max_examples=100)
@given(line=st.text(st.characters(blacklist_characters="\r\n"), max_size=200), data=st.data())
def test_whatever_a_line_holds_it_fits_and_the_caret_stands_below_the_place(
    width: int, line: str, data: st.DataObject
) -> None:
    column = data.draw(st.integers(1, len(line) + 1))
    mistake = Mistake("m", file="x", line=7, column=column, source=line)
    said = list(mistake_lines([mistake], width))
    if not line.strip():
        assert said == [f"x:7:{column}: m"]
        return
    excerpt, caret = said[1].removeprefix("    7 | "), said[2].removeprefix("      | ")
    assert excerpt.isprintable()
    room = max(width, 40) - len("    7 | ")
    assert cell_len(excerpt) <= room
    assert len(caret) <= room
    if column <= len(line) and line[column - 1].isascii() and line[column - 1].isprintable():
        assert [prefix for prefix in range(len(excerpt)) if cell_len(excerpt[:prefix]) == len(caret) - 1]
        at = next(prefix for prefix in reversed(range(len(excerpt))) if cell_len(excerpt[:prefix]) == len(caret) - 1)
        assert excerpt[at] == line[column - 1]


def test_a_line_that_holds_a_secret_is_not_shown(tmp_path: Path) -> None:
    text = (CASES / "variable_secret_in_a_mistake.yaml").read_text() + "nmae: hunter2-hunter2\n"
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "x.yaml", ENVIRONMENT)
    assert "hunter2" not in "".join(mistake_lines(caught.value.mistakes, WIDTH)) + repr(caught.value.mistakes)
    assert caught.value.mistakes[-1].source is None


if __name__ == "__main__":
    os.chdir(CASES)
    for file in FILES:
        file.with_suffix(".txt").write_text(shown(file), encoding="utf-8")
