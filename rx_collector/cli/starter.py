"""The text of a file to begin with, from what was seen of a command."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rx_collector.cli.guess import Guess

__all__ = ["Seen", "starter"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./=+%@-]+")
_BEGIN: Final = re.compile(r"[A-Za-z_./]|-[A-Za-z-]")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WORDS: Final = frozenset(["null", "true", "false", "~", ".inf", ".nan", ".", "-", "---", "..."])
_MOST_FIELDS: Final = 4  # that a test or a suggestion names
_MOST_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Seen:
    """What is known of a command: itself, where it runs (nothing: beside the file), and how it went."""

    command: Sequence[str]
    runner: str
    cwd: str
    output: str
    ended: bool
    lines: Sequence[str]


def starter(seen: Seen, guess: Guess, file: str, schema: str) -> str:
    """Give the text of the file. What is commented out is right, too, when the sign before it is taken away."""
    return "\n".join(_lines(seen, guess, file, schema)) + "\n"


def _lines(seen: Seen, guess: Guess, file: str, schema: str) -> Iterator[str]:
    runner = seen.runner
    pipeline = "events" if runner != "events" else "all"
    yield f"# yaml-language-server: $schema={schema}"
    yield f"# What {_shown(' '.join(seen.command))} prints, as events."
    yield f"# Check it with 'rx-collector test {file}', run it with 'rx-collector run {file}'."
    yield f"name: {_scalar(runner)}"
    yield ""
    yield "runners:"
    yield f"  {_scalar(runner)}:"
    yield f"    command: [{', '.join(map(_scalar, seen.command))}]"
    if seen.cwd:
        yield f"    cwd: {_scalar(seen.cwd)}"
    if seen.output == "pty":
        yield "    output: pty  # into a pipe it printed nothing for a while: it writes in blocks there"
    if seen.ended:
        yield "    # It ended by itself; this runs it again and again:"
        yield "    # every: 10s"
    else:
        yield "    stop: SIGINT  # how it is asked to end; then SIGTERM, then SIGKILL"
        yield "    # restart: {when: on-failure, backoff: 1s..30s, limit: 5 in 1m}"
    yield ""
    yield "pipelines:"
    yield f"  {pipeline}:"
    yield f"    from: {_scalar(runner)}"
    yield from _operators(seen, guess)
    yield "    sinks:"
    yield "      - console: {}  # for eyes on a terminal, ndjson in a pipe"
    yield "        backpressure: {strategy: drop_oldest, capacity: 1_000}  # a slow terminal holds nothing back"
    yield f"      # - file: {{path: {_scalar(runner + '.ndjson')}, rotate: {{size: 100MB, keep: 7}}}}"
    yield "      #   backpressure: {strategy: block, capacity: 10_000}"
    yield "    # dead_letter: {file: rejected.ndjson}"
    yield ""
    yield "tests:"
    yield "  - name: a line becomes an event"
    yield "    given:"
    yield f"      {_scalar(runner)}:"
    for line in (*guess.header, guess.line):
        yield f"        - {_text(line)}"
    yield "    expect:"
    yield f"      {pipeline}: [{_mapping(_some(guess.record))}]"


def _operators(seen: Seen, guess: Guess) -> Iterator[str]:
    names = [name for name in guess.record if _NAME.fullmatch(name)]
    number = next((name for name in names if type(guess.record[name]) in (int, float)), None)
    if guess.options:
        yield "    operators:"
        yield f"      # Lines seen: {len(seen.lines)}, records: {guess.parsed}. A line of another form is rejected."
        yield f"      - parse: {_mapping(guess.options)}"
        sign = "      # "
    else:
        yield "    # No format fits its lines; each is an event with the field 'message'."
        yield "    # operators:"
        yield "    #   - parse: {format: regex, pattern: '(?P<first>\\S+) ?(?P<rest>.*)'}"
        sign = "    #   "
    condition = f"{number} > 0" if number is not None else f"{names[0]} != None" if names else "len(this) > 0"
    yield f"{sign}- filter: {condition}"
    if guess.options and names:
        yield f"{sign}- keep: [{', '.join(map(_scalar, names[:_MOST_FIELDS]))}]"


def _some(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields that a test can name: short and whole."""
    short = {
        name: value
        for name, value in record.items()
        if (isinstance(value, str) and len(value) <= _MOST_CHARACTERS) or isinstance(value, bool | int)
    }
    return dict(list(short.items())[:_MOST_FIELDS])


def _mapping(values: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f"{_scalar(key)}: {_value(value)}" for key, value in values.items()) + "}"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _scalar(value) if isinstance(value, str) else json.dumps(value)


def _scalar(text: str) -> str:
    """Write a text as a scalar of YAML, without quotes where that says the same."""
    plain = _PLAIN.fullmatch(text) and _BEGIN.match(text) and text.lower() not in _WORDS and not text.startswith(".")
    return text if plain else _text(text)


def _text(text: str) -> str:
    written = json.dumps(text, ensure_ascii=not text.isprintable())
    return written.replace("\x7f", "\\x7f").replace("${", "$${")


def _shown(text: str) -> str:
    """Give a text for a comment: on one line, and not too long."""
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…"
