"""Whatever a file holds, loading it ends soon, in a project or in mistakes with places inside the file."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rx_collector.backpressure import STRATEGIES
from rx_collector.cli.mistakes import mistake_lines
from rx_collector.config.document import parse_document, read_document
from rx_collector.errors import ConfigError
from rx_collector.operators import OPERATORS
from rx_collector.parsers import FORMATS
from rx_collector.pipeline.project import examine, load
from rx_collector.pipeline.spec import FileSpec
from rx_collector.sinks import SINKS
from tests.conftest import rounds
from tests.pipeline.test_whole_language import EXAMPLE

ENVIRONMENT = {"API_TOKEN": "hunter2-hunter2", "HOSTNAME": "web"}
SCHEMA = jsonschema.Draft202012Validator(FileSpec.schema())
ROOT = Path(__file__).parent.parent.parent
FILES = [file.read_bytes() for file in sorted(ROOT.glob("pipelines/*.yaml"))]
FILES += [file.read_bytes() for file in sorted(ROOT.glob("tests/cases/**/*.yaml"))]
FILES.append(EXAMPLE.encode())
COMPOSED = b"""\
runners:
  exec: {command: [cat, events.ndjson], cwd: "${HOSTNAME}"}
  load: {command: [vmstat, 1], stop: {signal: SIGINT, grace: 5s}}
pipelines:
  audit:
    from: exec
    operators:
      - use: {t: {most: 5, fields: [a, b], keep: {a: uid}}}
      - group_by: {key: pid, operators: [use: within]}
      - use: t
      - filter: pid > 0
    sinks: [{file: events.ndjson, backpressure: block}]
    dead_letter: {file: rejected.ndjson}
templates:
  t:
    parameters: {most: 10, fields: [c], keep: , what: x}
    operators:
      - drop: ${fields}
      - limit: ${most}
      - buffer: {count: "${most}0", time: 5s}
      - filter: name in ${fields} and "${what}" == this[${what}]
      - set: {a: "${keep}", "b": "'${what}'"}
      - use: {within: {most: "${most}"}}
  within:
    parameters: {most: 5}
    operators: [limit: "${most}", {sample: {rate: 0.5}}]
profiles:
  dev:
    runners: {load: {stop: {grace: 1s}}, exec: {command: [ls]}}
    pipelines: {audit: {operators: [use: {within: {most: 7}}], dead_letter: null}}
  prod:
    pipelines: {audit: {sinks: [{console: , backpressure: drop_oldest}]}}
"""
FILES += [COMPOSED.replace(b"      - use: t\n", b"").replace(b"keep: ,", b"keep: 5,"), COMPOSED, COMPOSED, COMPOSED]

#: Texts that mean something in the language or in YAML, to be put where they do not belong.
TOKENS = [
    *(
        b"\t",
        b"\n",
        b"\r\n",
        b": ",
        b"- ",
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"'",
        b"#",
        b"&a ",
        b"*a",
        b"!!int ",
        b"!x ",
        b"? ",
    ),
    *(b"|\n", b">+\n", b"<<: ", b"---\n", b"...\n", b"%YAML 1.3\n", b"${", b"${X}", b"${X:?m}", b"${X:-}", b"$${"),
    *(b"~", b"null", b"true", b"no", b"-1", b"0", b"1e999", b".nan", b".inf", b"9" * 20, b"5s", b"1h..2h", b"10MB"),
    *(
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\0",
        b"\x1b",
        b"\x85",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x98\x80",
    ),
    *(
        rb"\ud83d",
        rb"\U00110000",
        b"'x' * 10**9",
        b"x.__class__",
        b"lambda: x",
        b"(" * 9,
        b"x if",
        b"sum(x)",
        b"(?P<a>b)",
    ),
    *(
        f"{name}: ".encode()
        for name in ("strategy", "format", "from", "sinks", "operators", "command", "null", "tests")
    ),
    *(f"{name}: ".encode() for name in ("include", "templates", "parameters", "use", "profiles", "dev")),
    *(b"x.yaml", b"${most}", b"${fields}", b"use: t", b"- use: {t: {most: 5}}\n"),
    *(f"{name}: ".encode() for name in ("given", "expect", "ledger", "marbles", "filter", "window", "every", "parse")),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A file that was right, or nearly, with a few pieces put in, taken out, moved or repeated."""
    data = draw(st.sampled_from(FILES))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(start + draw(st.integers(0, 40)), len(data))
        change = draw(st.sampled_from(["insert", "replace", "delete", "repeat", "splice", "line"]))
        if change == "insert":
            data = data[:start] + draw(st.sampled_from(TOKENS)) + data[start:]
        elif change == "replace":
            data = data[:start] + draw(st.sampled_from(TOKENS) | st.binary(max_size=4)) + data[end:]
        elif change == "delete":
            data = data[:start] + data[end:]
        elif change == "repeat":
            data = data[:end] + data[start:end] * draw(st.integers(1, 50)) + data[end:]
        elif change == "splice":
            other = draw(st.sampled_from(FILES))
            at = draw(st.integers(0, len(other)))
            data = data[:start] + other[at : at + 200] + data[end:]
        else:  # another value behind a key
            lines = data.split(b"\n")
            number = draw(st.integers(0, len(lines) - 1))
            key, colon, _ = lines[number].partition(b": ")
            lines[number] = key + (colon or b" ") + draw(st.sampled_from(TOKENS))
            data = b"\n".join(lines)
    return data


def check(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    begun = time.monotonic()
    profiles = (None, *examine([file], ENVIRONMENT).profiles)
    loaded = [loads(file, data, profile) for profile in profiles[:4]]
    if all(loaded) and len(profiles) <= 4:  # what is right with every profile is right by the schema, too
        SCHEMA.validate(read_document(file, ENVIRONMENT).value)
    assert time.monotonic() - begun < 5


def loads(file: Path, data: bytes, profile: str | None) -> bool:
    """Whether it does; if not, its mistakes have places in it."""
    try:
        load(file, ENVIRONMENT, profile=profile)
    except ConfigError as error:
        text = data.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
        lines = text.removesuffix("\n").split("\n")
        assert error.mistakes
        for mistake in error.mistakes:
            assert mistake.file == str(file)
            assert 1 <= mistake.line <= len(lines), mistake
            assert 1 <= mistake.column <= len(lines[mistake.line - 1]) + 1, mistake
            assert len(str(mistake).splitlines()) == 1
            assert mistake.source in (None, lines[mistake.line - 1])
        said = list(mistake_lines(error.mistakes, 80))
        assert all(line.isprintable() for line in said)
        return False
    return True


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "x.yaml"


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=rounds(150, 400))
@given(data=mutated())
def test_a_file_with_mistakes_put_in(file: Path, data: bytes) -> None:
    check(file, data)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(data=st.binary() | st.lists(st.sampled_from(TOKENS)).map(b"".join) | st.text().map(str.encode))
@example(data=b"\xef\xbb\xbf\x80")
@example(data=b"\xef\xbb\xbf\xef\xbb\xbf")
@example(data=b"runners: &a [*a]\npipelines: *a\n")
@example(
    data=b"runners: []\npipelines: {a: [], b: 1, c: {from: [[]], sinks: {a: b}, dead_letter: []}}\ntests: {a: b}\n"
)
def test_any_bytes(file: Path, data: bytes) -> None:
    check(file, data)


NAMES = [
    "use",
    "include",
    "templates",
    "parameters",
    "profiles",
    "within",
    "t",
    "dev",
    "most",
    *OPERATORS,
    *FORMATS,
    *STRATEGIES,
    *SINKS,
    "format",
    "strategy",
    "path",
    "command",
    "exec",
    "audit",
    "events",
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [
            *NAMES,
            "",
            "${X:-}",
            "5s",
            "1h..2h",
            "10MB",
            "x > 1",
            "count()",
            "sum(x)",
            "(",
            "(?P<a>b)",
            "\0",
            "${most}",
            "${fields} x",
            "x.yaml",
        ]
    )
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner),
    max_leaves=6,
)
TREES = [document.value for text in FILES if (document := parse_document(text.decode("utf-8", "replace"))).value]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from paths(item, (*path, key))


@st.composite
def transplanted(draw: st.DrawFn) -> bytes:
    """A file of the right form with values in it that have nothing to do there."""
    tree = copy.deepcopy(draw(st.sampled_from(TREES)))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(paths(tree)) or [()]))
        if not path:
            break
        above = tree
        for key in path[:-1]:
            above = above[key]
        if isinstance(above, dict) and draw(st.booleans()):
            above[draw(st.sampled_from(NAMES))] = draw(VALUES)
        else:
            above[path[-1]] = draw(VALUES)
    return json.dumps(tree, indent=1, ensure_ascii=False, default=str).encode("utf-8", "replace")


def test_the_composed_file_is_right(file: Path) -> None:
    """Or what is made of it would be about its own mistakes alone."""
    check(file, FILES[-4])
    file.write_bytes(FILES[-4])
    for profile in (None, "dev", "prod"):
        load(file, ENVIRONMENT, profile=profile)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=rounds(200, 1000))
@given(data=transplanted())
def test_values_where_they_do_not_belong(file: Path, data: bytes) -> None:
    check(file, data)
