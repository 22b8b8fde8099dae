"""YAML files: what they mean, where everything in them stands, and what is said about those that are wrong."""

from __future__ import annotations

import math
import os
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rx_collector.config.document import Document, Path, parse_document, read_document, where

ENVIRONMENT = {
    "HOST": "web",
    "EMPTY": "",
    "NUMBER": "10",
    "LIST": "[1, 2]",
    "LINES": "a: 1\nb: 2",
    "A_PASSWORD": "hunter2",
}


def parse(text: str) -> Document:
    return parse_document(text, "file.yaml", ENVIRONMENT)


def value_of(text: str) -> Any:
    document = parse(f"key: {text}\n")
    assert document.mistakes == []
    return document.value["key"]


def said(text: str) -> list[str]:
    return [str(mistake) for mistake in parse(text).mistakes]


# What a scalar means.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(text, True) for text in ("true", "True", "TRUE")],
        *[(text, False) for text in ("false", "False", "FALSE")],
        *[(text, None) for text in ("", "~", "null", "Null", "NULL")],
        *[(text, text) for text in ("no", "on", "off", "yes", "y", "No", "nUll", "tRUE")],
        *[(text, text) for text in ("12:30", "1_000", "2024-01-01", "0b1", "0o8", "-0x1F", "1,5", "+", ".", "=")],
        *[(text, text) for text in ("1e", "e5", ".inf.", "+.nan", "inf", "nan", "1 2", "5s", "٣")],
        ("0", 0),
        ("+12", 12),
        ("-12", -12),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1.5e-3", -0.0015),
        ("1e3", 1000.0),
        ("+.inf", math.inf),
        ("-.INF", -math.inf),
        ("'5'", "5"),
        ('"true"', "true"),
        ("''", ""),
        ("|\n  5", "5\n"),
        (">-\n  true", "true"),
        ("!!str 5", "5"),
        ("!!str", ""),
        ("! 5", "5"),
        ("!<tag:yaml.org,2002:str> 5", "5"),
        ("!!int '5'", 5),
        ("!!int 0x1F", 31),
        ("!!float 5", 5.0),
        ("!!bool 'true'", True),
        ("!!null ''", None),
        ("!!seq [1]", [1]),
        ("!!map {a: 1}", {"a": 1}),
        ('"\\ud83d\\ude00"', "\U0001f600"),
    ],
)
def test_scalars_of_yaml_1_2(text: str, value: object) -> None:
    result = value_of(text)
    assert result == value
    assert type(result) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(value_of(".nan"))


def test_keys_are_the_texts_that_were_written() -> None:
    document = parse("null: a\n5: b\ntrue: c\n'x y': d\n0x10: e\n~: {12:30: f, on: g}\n!!int 7: h\n")
    assert document.mistakes == []
    assert document.value == {
        "null": "a",
        "5": "b",
        "true": "c",
        "x y": "d",
        "0x10": "e",
        "~": {"12:30": "f", "on": "g"},
        "7": "h",
    }


# Variables.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}", "web"),
        ("${NUMBER}", 10),
        ("${NUMBER}0", 100),
        ("'${NUMBER}'", "10"),
        ('"${NUMBER}"', "10"),
        ("|-\n  ${NUMBER}", "10"),
        ("${UNSET:-1000}", 1000),
        ("${UNSET:-true}", True),
        ("${EMPTY}", None),
        ("'${EMPTY}'", ""),
        ("!!str ${NUMBER}", "10"),
        ("!!int '${NUMBER}'", 10),
        # A value is a value, whatever it looks like.
        ("${LIST}", "[1, 2]"),
        ("${LINES}", "a: 1\nb: 2"),
        ("$${HOST}", "${HOST}"),
        ("'a $${HOST} ${HOST}'", "a ${HOST} web"),
        ("{a: ['${HOST}']}", {"a": ["web"]}),
    ],
)
def test_variables_are_put_in_after_parsing(text: str, value: object) -> None:
    result = value_of(text)
    assert result == value
    assert type(result) is type(value)


def test_keys_take_no_variables() -> None:
    assert parse("${HOST}: ${HOST}").value == {"${HOST}": "web"}


def test_every_unset_variable_is_a_mistake_where_it_stands() -> None:
    document = parse("a: x ${ONE} ${TWO}\nb: ['${THREE:?is needed}', '${']\n")
    assert [(mistake.line, mistake.column, mistake.where) for mistake in document.mistakes] == [
        (1, 6, "a"),
        (1, 13, "a"),
        (2, 6, "b[0]"),
        (2, 29, "b[1]"),
    ]
    assert document.mistakes[2].message == "the variable THREE is not set: is needed"
    assert document.broken == {("a",), ("b", 0), ("b", 1)}
    assert document.value == {"a": "x ${ONE} ${TWO}", "b": ["${THREE:?is needed}", "${"]}


def test_a_place_keeps_the_text_as_written_and_the_text_with_variables() -> None:
    document = parse("a: ${NUMBER}0\nb: [1]\nc: 0.50\n")
    place = document.places[("a",)]
    assert (place.text, place.expanded, place.style) == ("${NUMBER}0", "100", "plain")
    assert document.places[("b",)].text is None
    assert document.places[("c",)].text == "0.50"


@pytest.mark.parametrize("secrets", ["[HOST]", "\n  - HOST", "HOST", "&names [&name HOST]"])
def test_the_list_of_secrets_is_known_before_any_variable_is_put_in(secrets: str) -> None:
    document = parse(f"name: ${{HOST}}\nsecrets: {secrets}\n")
    assert document.value["name"] == "web"
    assert document.variables.is_secret("HOST")
    assert document.variables.redact("the web") == "the ***"


def test_a_secret_is_shown_neither_in_a_mistake_nor_in_a_place() -> None:
    document = parse("a: ${A_PASSWORD}\nb: !!int ${A_PASSWORD}\nc: !!int 'x${A_PASSWORD}'\n")
    assert document.value["a"] == "hunter2"
    assert [mistake.message for mistake in document.mistakes] == [
        "'***' is not what its tag !!int says",
        "'x***' is not what its tag !!int says",
    ]
    assert document.mistake(("a",), "unknown choice 'hunter2'").message == "unknown choice '***'"
    assert "hunter2" not in repr(document.places)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RX_COLLECTOR_TEST", "7")
    assert parse_document("a: ${RX_COLLECTOR_TEST}").value == {"a": 7}
    assert parse_document("a: ${RX_COLLECTOR_TEST}", environment={}).mistakes


# Places.

PLACES = """\
# a comment
name: "x"
runners:
  exec: &anchor
    command: [sleep, !!str 5]
    cwd:
  "two words": *anchor
list:
- one
-   key: 'é' # ü
    é: |
      text
"""


@pytest.mark.parametrize(
    ("path", "value", "key", "style"),
    [
        ((), (2, 1), (2, 1), ""),
        (("name",), (2, 7), (2, 1), "double"),
        (("runners",), (4, 3), (3, 1), ""),
        (("runners", "exec"), (4, 9), (4, 3), ""),
        (("runners", "exec", "command"), (5, 14), (5, 5), ""),
        (("runners", "exec", "command", 0), (5, 15), (5, 15), "plain"),
        (("runners", "exec", "command", 1), (5, 28), (5, 28), "plain"),
        (("runners", "exec", "cwd"), (6, 9), (6, 5), "plain"),
        (("runners", "two words"), (4, 9), (7, 3), ""),
        (("runners", "two words", "command", 0), (5, 15), (5, 15), "plain"),
        (("list",), (9, 1), (8, 1), ""),
        (("list", 1), (10, 5), (10, 5), ""),
        (("list", 1, "key"), (10, 10), (10, 5), "single"),
        (("list", 1, "é"), (11, 8), (11, 5), "literal"),
    ],
)
def test_places(path: Path, value: tuple[int, int], key: tuple[int, int], style: str) -> None:
    document = parse(PLACES)
    assert document.mistakes == []
    place = document.places[path]
    assert ((place.line, place.column), (place.key_line, place.key_column), place.style) == (value, key, style)


def test_the_places_are_those_of_all_values() -> None:
    document = parse("a: {b: [1, {c: 2}]}\nd: &x {e: 3}\nf: *x\n")
    assert list(document.places) == [
        (),
        ("a",),
        ("a", "b"),
        ("a", "b", 0),
        ("a", "b", 1),
        ("a", "b", 1, "c"),
        ("d",),
        ("d", "e"),
        ("f",),
        ("f", "e"),
    ]


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
def test_lines_are_counted_whatever_ends_them(line_break: str) -> None:
    document = parse(f"a: 1{line_break}b: |{line_break}  x{line_break}  y${{NO}}{line_break}c: 2")
    assert document.lines == ["a: 1", "b: |", "  x", "  y${NO}", "c: 2"]
    assert (document.mistakes[0].line, document.mistakes[0].column) == (4, 4)
    assert document.places[("c",)].line == 5


def test_a_byte_order_mark_is_no_column() -> None:
    assert parse("\ufeffa: 1").places[("a",)].column == 4


@pytest.mark.parametrize(
    ("path", "written"),
    [
        ((), ""),
        (("a",), "a"),
        (("a", 0, 1, "b"), "a[0][1].b"),
        ((0,), "[0]"),
        (("a", "", "b"), "a.''.b"),
        (("two\nlines",), "'two\\nlines'"),
    ],
)
def test_where(path: Path, written: str) -> None:
    assert where(path) == written


# Places within a scalar: every source below has a ^ line that shows where the character @ of the text is.


@pytest.mark.parametrize(
    "source",
    [
        "key: one @ two",
        "key: a@",
        "key: &x !!str  one @",
        "key: 'it''s @'",
        "key: 'a ''''@'",
        'key: "@"',
        'key: "a\\tb @"',
        'key: "\\x41\\u00e9\\U0001F600\\\\\\"\\/@"',
        'key: "\\ud83d\\ude00@"',
        'key: "é\U0001f600 @"',
        "[{key: [1, 'x @']}]",
        "key: |\n  one\n  two @\n",
        "key: |\n\n    one\n\n      two @\n",
        "key: |+2  # a comment\n      one\n    @\n\n",
        "key: |-\n  one\n  @",
        "key: >\n  one\n  two @\n",
        "key: >-\n  one\n  two\n\n\n  three\n    four\n  @\n",
        "key: one\n  two\n\n  three @\n",
        "key: 'one\n  two\n\n  it''s @'\n",
        'key: "one \\\n  two\n\n  \\t@"\n',
        "key: one\r\n  two\r\n\r\n  three @\r\n",
        "key: |\r\n  one\r\n  two @\r\n",
    ],
)
def test_a_place_within_a_scalar(source: str) -> None:
    document = parse(f"top: {source}" if source.startswith("[") else source)
    [(path, place)] = [(path, place) for path, place in document.places.items() if "@" in (place.text or "")]
    assert place.text is not None
    before, _, rest = place.text.partition("@")
    inside = (before.count("\n") + 1, len(before.rpartition("\n")[2]))
    mistake = document.mistake(path, "here", inside=inside)
    assert document.lines[mistake.line - 1][mistake.column - 1] == "@"
    if not rest:
        end = document.mistake(path, "the end", inside=(inside[0], inside[1] + 1))
        assert (end.line, end.column) == (mistake.line, mistake.column + 1)


def test_a_place_beyond_the_text_is_its_end() -> None:
    document = parse("key: 'text'\n")
    assert document.mistake(("key",), "x", inside=(9, 99)).column == 11
    assert document.mistake(("key",), "x", inside=(0, -5)).column == 7


def test_a_text_that_cannot_be_traced_is_placed_where_it_begins() -> None:
    # PyYAML folds U+0085 as YAML 1.1 does; it is no line break to an editor.
    document = parse("a: 1\nkey: 'one\x85two @'\n")
    mistake = document.mistake(("key",), "x", inside=(1, 8))
    assert (mistake.line, mistake.column) == (2, 6)


@pytest.mark.parametrize(
    ("path", "on_key", "line", "column"),
    [
        (("a", "b"), False, 2, 6),
        (("a", "b"), True, 2, 3),
        (("a", "b", "missing", 3), False, 2, 6),
        (("a", "missing"), True, 1, 1),
        (("missing",), False, 1, 1),
    ],
)
def test_a_mistake_without_a_place_is_put_at_the_nearest_parent(
    path: Path, on_key: bool, line: int, column: int
) -> None:
    document = parse("a:\n  b: 1\n")
    mistake = document.mistake(path, "wrong", on_key=on_key, inside=(1, 0))
    assert (mistake.line, mistake.column, mistake.where) == (line, column, where(path))
    assert document.mistakes == []  # it is made, not added


# Mistakes.


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("", "1:1: the file is empty; a mapping is wanted"),
        ("# nothing\n\n", "1:1: the file is empty; a mapping is wanted"),
        ("---\n", "1:1: the file is empty; a mapping is wanted"),
        ("# x\n- a", "2:1: a mapping is wanted at the top, not a list"),
        ("text", "1:1: a mapping is wanted at the top, not a single value"),
        ("a:\n\tb: 1", "2:1: a tab cannot indent; use spaces"),
        ("a:\n  \tb: 1", "2:3: a tab cannot indent; use spaces"),
        ("a:\tb", "1:3: a tab cannot stand here; use spaces"),
        ("a: 1\nb: [1, 2\nc: 3", "3:2: ',' or ']' is wanted here, not ':'; the '[' is in line 2"),
        ("a: {b: 1", "1:9: ',' or '}' is wanted here, not the end of the file; the '{' is in line 1"),
        ("a: {b: ${HOST}}", '1:8: within [ ] or { } a variable must stand in quotes: "${NAME}"'),
        ('a: "x" y', "1:8: a text cannot stand here; put the whole value in quotes, or mend the indentation"),
        ("a: 1\nb: 'x\n", "2:4: this quote is never closed"),
        ('a: "\\w"', "1:6: unknown escape \\w in double quotes; write \\\\, or use single quotes"),
        ('a: "\\UFFFFFFFF"', "1:7: there is no such character or number"),
        ("a: *.log", "1:4: '*' begins an alias here; put the text in quotes"),
        ("a: @b", "1:4: a text cannot begin with '@'; put it in quotes"),
        ("a: 1\nb\nc: 1", "2:1: a ':' is missing after this key"),
        ("a: b: c", "1:5: a ':' cannot stand here; put the text in quotes, or mend the indentation"),
        ("a:\n    b: 1\n  c: 2", "3:3: a key cannot stand here: it does not line up with the block begun in line 1"),
        ("a: - b", "1:4: a list item cannot stand here; put it on a line of its own"),
        ("a: &x &y z", "1:7: an anchor cannot stand here; put the whole value in quotes, or mend the indentation"),
        ("a:\n  b: 1\n- c", "3:1: a list item cannot stand here: it does not line up with the block begun in line 1"),
        ("a: ]", "1:4: a value is wanted here, not ']'"),
        ("a: !x!y z", "1:4: unknown tag !x!"),
        ("%FOO\na: 1", "2:1: wanted here: '---'; found: a text"),
        ("a: \0", "1:4: the character U+0000 is not allowed in YAML"),
        ("a: é\nb: \x1b[0m", "2:4: the character U+001B is not allowed in YAML"),
    ],
)
def test_a_text_that_is_not_a_yaml_mapping_is_one_mistake_in_plain_words(text: str, mistake: str) -> None:
    document = parse(text)
    assert [str(found) for found in document.mistakes] == [f"file.yaml:{mistake}"]
    assert document.value is None


@pytest.mark.parametrize(
    ("text", "value", "mistakes"),
    [
        ("a: 1\n---\nb: 2", {"a": 1}, ["2:1: a second document begins here; a file holds one"]),
        ("a: 1\nb: 2\na: 3", {"a": 1, "b": 2}, ["3:1: a: duplicate key 'a', first used in line 1"]),
        (
            "a: {b: 1, 'b': 2,\n b: 3}",
            {"a": {"b": 1}},
            ["1:11: a.b: duplicate key 'b', first used in line 1", "2:2: a.b: duplicate key 'b', first used in line 1"],
        ),
        ("x: {? [a] : 1}", {"x": {}}, ["1:7: x: a key must be a text, not a list or a mapping"]),
        (
            "x:\n  <<: {a: 1}\n  '<<': 2",
            {"x": {"<<": 2}},
            ["2:3: x: YAML 1.2 has no merge key '<<'; write out the keys it would bring"],
        ),
        ("a: !foo x", {"a": "x"}, ["1:4: a: unknown tag !foo"]),
        ("a: !!timestamp 2024-01-01", {"a": "2024-01-01"}, ["1:4: a: unknown tag !!timestamp"]),
        (
            "a: !!python/object/apply:os.system [x]",
            {"a": ["x"]},
            ["1:4: a: unknown tag !!python/object/apply:os.system"],
        ),
        ("!!python/name:x a: 1", {"a": 1}, ["1:1: unknown tag !!python/name:x"]),
        ("a: !%0A x", {"a": "x"}, ["1:4: a: unknown tag '!\\n'"]),
        ("a: !!str [x]", {"a": ["x"]}, ["1:4: a: the tag !!str does not fit a list"]),
        ("a: !!seq {}", {"a": {}}, ["1:4: a: the tag !!seq does not fit a mapping"]),
        ("a: !!map x", {"a": "x"}, ["1:4: a: the tag !!map does not fit a scalar"]),
        ("a: !!int x", {"a": "x"}, ["1:10: a: 'x' is not what its tag !!int says"]),
        ("a: !!bool yes", {"a": "yes"}, ["1:11: a: 'yes' is not what its tag !!bool says"]),
        ("a: *x\nb: &x 1", {"a": None, "b": 1}, ["1:4: a: the alias *x has no anchor before it"]),
        ("*x : 1", {}, ["1:1: the alias in this key has no anchor before it"]),
        ("a: &x {b: [*x]}", {"a": {"b": [None]}}, ["1:12: a.b[0]: the alias *x stands within its own anchor"]),
        ('a: "\\uD800"', {"a": None}, ["1:4: a: an escape in this text is half of a character"]),
    ],
)
def test_a_mistake_within_a_mapping_leaves_the_rest_readable(text: str, value: object, mistakes: list[str]) -> None:
    document = parse(text)
    assert [str(found) for found in document.mistakes] == [f"file.yaml:{mistake}" for mistake in mistakes]
    assert document.value == value


def test_all_mistakes_come_in_one_go_and_in_the_order_of_the_file() -> None:
    assert said("a: ${ONE}\nb: !x 1\na: ${TWO}\n<<: {c: *y}\n? {}\n: ${FOUR}\n") == [
        "file.yaml:1:4: a: the variable ONE is not set; give it a default with ${ONE:-default}",
        "file.yaml:2:4: b: unknown tag !x",
        "file.yaml:3:1: a: duplicate key 'a', first used in line 1",
        "file.yaml:3:4: a: the variable TWO is not set; give it a default with ${TWO:-default}",
        "file.yaml:4:1: YAML 1.2 has no merge key '<<'; write out the keys it would bring",
        "file.yaml:4:9: ?.c: the alias *y has no anchor before it",
        "file.yaml:5:3: a key must be a text, not a list or a mapping",
        "file.yaml:6:3: ?: the variable FOUR is not set; give it a default with ${FOUR:-default}",
    ]


def test_a_mistake_found_early_is_told_where_it_stands_in_the_file() -> None:
    assert [mistake.line for mistake in parse("a: 1\nb: ${ONE}\n---\nc: 1\n").mistakes] == [2, 3]


def test_what_is_broken_is_known() -> None:
    document = parse("a: !x [1, !y 2]\nb: *none\nc: [1, !!int z]\nd: 1\nd: ${NONE}\n")
    assert document.broken == {("a",), ("a", 1), ("b",), ("c", 1)}
    assert document.broken <= set(document.places)


def test_the_places_of_a_duplicate_key_are_those_of_the_first() -> None:
    document = parse("a: {b: 1}\na: {b: 2, c: 3}\n")
    assert document.value == {"a": {"b": 1}}
    assert document.places[("a", "b")].line == 1
    assert ("a", "c") not in document.places


# Aliases and bounds.


def test_aliases_stand_for_what_they_name_each_with_its_own_copy() -> None:
    document = parse("a: &x [1, {b: !!int '${NUMBER}'}]\nc: *x\nd: &x 2\ne: *x\n&k f: *x\n*k : 3\n")
    assert [mistake.message for mistake in document.mistakes] == ["duplicate key 'f', first used in line 5"]
    assert document.value == {"a": [1, {"b": 10}], "c": [1, {"b": 10}], "d": 2, "e": 2, "f": 2}
    document.value["a"][1]["b"] = 0
    assert document.value["c"] == [1, {"b": 10}]


def test_a_mistake_in_what_is_aliased_is_told_once() -> None:
    assert len(said("a: &x ${UNSET}\nb: *x\nc: *x\n")) == 1


def test_a_billion_laughs_are_one_mistake() -> None:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    document = parse("\n".join(lines))
    [mistake] = document.mistakes
    assert mistake.message == "the aliases stand for more than 10,000 values; write less with them"
    assert document.value is None
    assert len(document.places) < 20_000


def test_only_what_comes_from_aliases_is_counted_against_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rx_collector.config.document._MOST_ALIASED", 3)
    assert said("a: &x [1]\nb: *x\nc: [1, 2, 3, 4, 5]\n") == []
    assert len(said("a: &x [1]\nb: *x\nc: *x\n")) == 1


def test_nesting_by_aliases_is_bounded() -> None:
    lines = ["a0: &a0 1"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 100)]
    [mistake] = parse("\n".join(lines)).mistakes
    assert mistake.message == "nested too deeply; 64 levels are the limit"


@pytest.mark.parametrize("text", ["[" * 5000, "[\n" * 5000, "{a: " * 5000, "[" * 5000 + "]" * 5000, "\n" + "- " * 5000])
def test_nesting_is_bounded(text: str) -> None:
    [mistake] = parse(f"key: {text}").mistakes
    assert mistake.message == "nested too deeply; 64 levels are the limit"


def test_64_levels_are_read() -> None:
    document = parse("key: " + "[" * 62 + "1" + "]" * 62)
    assert document.mistakes == []
    assert len(parse("key: " + "[" * 63 + "1" + "]" * 63).mistakes) == 1


def test_an_endless_number_is_a_mistake() -> None:
    assert said(f"a: {'9' * 5000}") == ["file.yaml:1:4: a: an integer of 5,000 digits is too long"]


def test_a_flood_of_mistakes_is_cut_short() -> None:
    mistakes = parse("a: '" + "${} " * 2000 + "'").mistakes
    assert len(mistakes) == 1001
    assert mistakes[-1].message == "more than 1,000 mistakes; the rest is left out"


# Files.


def test_a_file_is_read(tmp_path: FilePath) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: é ${HOST}\nb: ${NONE}\n", encoding="utf-8")
    document = read_document(file, ENVIRONMENT)
    assert document.file == str(file)
    assert document.value["a"] == "é web"
    assert [(mistake.file, mistake.line, mistake.column) for mistake in document.mistakes] == [(str(file), 2, 4)]


def test_a_missing_file(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("missing.yaml", "-", "missing/x.yaml"):
        document = read_document(name)
        assert [str(mistake) for mistake in document.mistakes] == [f"{name}:1:1: no such file"]
        assert document.value is None


@pytest.mark.parametrize(
    ("content", "mistake"),
    [
        (b"a: \xff", "1:4: the file is not UTF-8 (byte 0xff)"),
        ("é: 1\nb: é".encode() + b"\xc3", "2:5: the file is not UTF-8 (byte 0xc3)"),
        ("a: 1".encode("utf-16"), None),
        (b"", "1:1: the file is empty; a mapping is wanted"),
        (b"a: " + b"x" * (4 * 2**20), "1:1: the file is larger than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: FilePath, content: bytes, mistake: str | None) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(content)
    document = read_document(file)
    assert document.value is None
    assert len(document.mistakes) == 1
    if mistake is not None:
        assert str(document.mistakes[0]) == f"{file}:{mistake}"


def test_what_is_not_a_file(tmp_path: FilePath) -> None:
    assert [mistake.message for mistake in read_document(tmp_path).mistakes] == [
        "this is a directory; a file is wanted"
    ]
    assert [mistake.message for mistake in read_document("a\0b").mistakes] == ["'a\\x00b' cannot be the name of a file"]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    [mistake] = read_document(loop).mistakes
    assert mistake.message.startswith("the file cannot be read: ")


def test_an_unreadable_file(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    # Root may read everything, so the refusal is played.
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    document = read_document(tmp_path / "x.yaml")
    assert [mistake.message for mistake in document.mistakes] == ["the file may not be read (permission denied)"]


def test_an_endless_file_ends() -> None:
    [mistake] = read_document(os.devnull.replace("null", "zero")).mistakes
    assert mistake.message == "the file is larger than 4 MiB"


# Whatever a file holds, it is read to an end, and what is wrong with it is told.

STYLES = """\
a: &x "t\\x41\\u00e9 \\
   b

  c"
b: !!int 5
c: >-
   one
   two

     three
   ${NUMBER}
d: |2
    x
  y
e: 'it''s
  me'
f: [*x, {k: "${HOST}"}]
? g
: plain over
  lines
"""

PIPELINE = """\
name: x
secrets: [HOST]
pipelines:
  a:
    from: [exec]
    operators:
      - parse: {format: json}
      - filter: uid != 0 and not name.startswith("/usr")
      - set: {host: "${HOST}"}
"""

VALID = [PLACES, STYLES, PIPELINE]
PIECES = [*"\t\n\r :-?,[]{}#&*!|>'\"%@`${}\\x0uN~<.=\ufeff\x85\u2028é\0", "${", "$${", "---", "\n...\n", "*x", "&x "]
PIECES += ["!!int ", "<<: ", "\\u", "\\U00110000", "\\ud83d", "|2\n", ">+\n", "\r\n", "? ", "%YAML 1.2\n", "%TAG ! x\n"]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(0, 5))):
        at, to = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        change = draw(st.sampled_from(["insert", "delete", "repeat"]))
        if change == "insert":
            text = text[:at] + draw(st.sampled_from(PIECES)) + text[at:]
        elif change == "delete":
            text = text[:at] + text[min(to, at + 10) :]
        else:
            text = text[:to] + text[at : at + 40] + text[to:]
    return text


@pytest.mark.parametrize("text", VALID)
def test_the_texts_that_are_mutated_are_valid(text: str) -> None:
    assert said(text) == []


@settings(derandomize=True, deadline=None, max_examples=300)
@given(mutated() | st.text() | st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_raises(text: str) -> None:
    document = parse(text)
    assert isinstance(document.value, dict) or (document.value is None and document.mistakes)
    for mistake in document.mistakes:
        assert 1 <= mistake.line <= len(document.lines)
        assert 1 <= mistake.column <= len(document.lines[mistake.line - 1]) + 1
        assert len(str(mistake).splitlines()) == 1
    for path, place in document.places.items():
        text_lines = (place.text or "").split("\n")
        inner = document.mistake(path, "x", inside=(len(text_lines), len(text_lines[-1])))
        assert (inner.line, inner.column) >= (place.line, place.column)
        if document.value is not None:
            value: Any = document.value
            for key in path:
                value = value[key]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(st.binary())
def test_no_file_raises(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    file.write_bytes(content)
    document = read_document(file, {})
    assert document.value is not None or document.mistakes
