"""A YAML file as plain values, with the exact place of each of them and every mistake found on the way.

The values are those of the YAML 1.2 core schema: ``no``, ``12:30`` and ``2024-01-01`` are texts. PyYAML, which knows
YAML 1.1, is used only to compose nodes: what a scalar means is decided here, and nothing is ever constructed. Variables
are put in when the structure is settled, so no value can change it.
"""

from __future__ import annotations

import codecs
import os
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import yaml
from yaml.composer import ComposerError
from yaml.error import MarkedYAMLError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError
from yaml.tokens import ScalarToken

from rx_collector.config.variables import Parameters, Variables
from rx_collector.errors import Mistake

__all__ = ["Document", "Path", "Place", "parse_document", "read_document", "where"]

#: The keys and indexes that lead from the top of a document to a value.
Path: TypeAlias = tuple[str | int, ...]

# Bounds that no honest file meets, so that a hostile or broken one fails fast, in little memory.
_MOST_BYTES: Final = 4 * 2**20
_MOST_LEVELS: Final = 64
_MOST_ALIASED: Final = 10_000
_MOST_MISTAKES: Final = 1_000

_NOTHING: Final[frozenset[str]] = frozenset()
_TOO_DEEP: Final = f"nested too deeply; {_MOST_LEVELS} levels are the limit"

_STYLES: Final = {None: "plain", "'": "single", '"': "double", "|": "literal", ">": "folded"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands in the file. Lines and columns count from 1, columns in characters.

    `key_line` and `key_column` are those of its key; a list item has no key, so they are its own. `text` is a scalar as
    written, `expanded` the same with its variables put in (both None for collections). `style` is ``plain``, ``single``,
    ``double``, ``literal``, ``folded``, or empty for collections.
    """

    line: int
    column: int
    key_line: int
    key_column: int
    text: str | None = None
    style: str = ""
    #: Not shown: it may hold a secret.
    expanded: str | None = field(default=None, repr=False)


class Document:
    """What was read from a YAML file: its value, the place of everything in it, and the mistakes.

    `value` is made of dict, list, str, int, float, bool and None; it is None when the file could not be parsed. `broken`
    holds the paths whose value could not be known (an unset variable, an unknown tag): `mistakes` tells about them
    already, and `value` has the text as written there.
    """

    def __init__(self, file: str, text: str, variables: Variables) -> None:
        self.file = file
        self.value: Any = None
        self.places: dict[Path, Place] = {}
        self.mistakes: list[Mistake] = []
        self.broken: set[Path] = set()
        #: The scalars in templates that refer to parameters, and to which; `value` has their text as written.
        self.referring: dict[Path, frozenset[str]] = {}
        self.variables = variables
        #: The source, line by line; never empty.
        self.lines: list[str] = _BREAK.split(text)
        if len(self.lines) > 1 and not self.lines[-1]:
            self.lines.pop()
        self._text = text
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        self._scalars: dict[Path, ScalarNode] = {}
        self._shown: dict[tuple[int, int], str | None] = {}

    def mistake(
        self,
        path: Path,
        message: str,
        *,
        on_key: bool = False,
        inside: tuple[int, int] | None = None,
        example: str = "",
    ) -> Mistake:
        """Make a Mistake about the value at a path, or about its key; it is not added to `mistakes`.

        `inside` is a line (from 1) and a column (from 0, in characters) within the scalar's text: the mistake then points
        at that very character in the file. A path that has no place takes that of its nearest parent. Secrets that were
        handed out are redacted in the message. `example` is the right form of what is meant.

        >>> document = parse_document('sinks:\\n  file: "a\\\\tb + c"\\n')
        >>> print(document.mistake(("sinks", "file"), "no field c", inside=(1, 6)))
        <text>:2:17: sinks.file: no field c
        >>> print(document.mistake(("sinks", "exec"), "wanted here", on_key=True))
        <text>:1:1: sinks.exec: wanted here
        """
        known = path
        while known and known not in self.places:
            known = known[:-1]
        place = self.places.get(known)
        if place is None:
            line, column = 1, 1
        elif on_key:
            line, column = place.key_line, place.key_column
        elif inside is not None and known == path and path in self._scalars:
            line, column = self._position(_index_inside(self._text, self._scalars[path], *inside))
        else:
            line, column = place.line, place.column
        return self._mistake_at((line, column), path, message, example)

    def place(self, path: Path) -> Place | None:
        """Give the place of a value, if there is one."""
        return self.places.get(path)

    def place_of(self, path: Path) -> str:
        """Give where a value stands, as ``file:line``; its file alone where it has no place."""
        place = self.places.get(path)
        return f"{self.file}:{place.key_line}" if place is not None else self.file

    def resolve(self, path: Path, expanded: str) -> Any:
        """Give the value of the scalar at a path, had it this text. Raises ValueError where its tag does not fit."""
        return value_of(self._scalars[path], expanded)

    def key_place(self, path: Path) -> str:
        """Give where the key of a value stands, as ``file:line:column``."""
        mistake = self.mistake(path, "", on_key=True)
        return f"{mistake.file}:{mistake.line}:{mistake.column}"

    def is_broken(self, path: Path) -> bool:
        """Say whether the value here could not be known; `mistakes` has said why."""
        return path in self.broken

    def references(self, path: Path) -> frozenset[str]:
        """Give the names of the parameters that a scalar refers to."""
        return self.referring.get(path, _NOTHING)

    def variable(self, path: Path) -> Callable[[str], Any]:
        """Give the function that gives the value of what stands between ``${`` and ``}`` in the scalar at this path."""
        return self.variables.value

    def is_argument(self, path: Path) -> bool:
        """Say whether the value here was put in for a parameter, as a whole: in an expression it is a constant."""
        return False

    def directory(self, path: Path) -> str | None:
        """Give what relative paths at this place are relative to; None where that is said elsewhere."""
        return None

    def position(self, path: Path) -> str:
        """Give how an operator at this path is numbered in the ledger; nothing where its index is its number."""
        return ""

    def _position(self, index: int) -> tuple[int, int]:
        """Give the line and column of a character of the source; its end is the end of the last line."""
        line = bisect_right(self._starts, index) - 1
        if line >= len(self.lines):
            return len(self.lines), len(self.lines[-1]) + 1
        return line + 1, index - self._starts[line] + 1

    def _mistake_at(self, position: tuple[int, int], path: Path, message: str, example: str = "") -> Mistake:
        source = self._source_of(position[0])
        message = _on_one_line(self.variables.redact(message))
        return Mistake(message, where(path), self.file, *position, source, example)

    def _source_of(self, line: int) -> str | None:
        """Give a line as it may be shown: none that holds, by itself, the value of a secret."""
        key = line, self.variables.secrets_handed_out
        if key not in self._shown:
            text = self.lines[line - 1]
            self._shown[key] = text if self.variables.redact(text) == text else None
        return self._shown[key]

    def _report(self, index: int, path: Path, message: str, example: str = "") -> None:
        """Add a mistake at a character of the source."""
        if len(self.mistakes) < _MOST_MISTAKES:
            self.mistakes.append(self._mistake_at(self._position(index), path, message, example))
        elif len(self.mistakes) == _MOST_MISTAKES:
            message = f"more than {_MOST_MISTAKES:,} mistakes; the rest is left out"
            self.mistakes.append(self._mistake_at(self._position(index), path, message))


def where(path: Path) -> str:
    """Write a path the way mistakes show it.

    >>> where(("pipelines", "audit", "operators", 0, "filter"))
    'pipelines.audit.operators[0].filter'
    """
    written = ""
    for key in path:
        if isinstance(key, int):
            written += f"[{key}]"
        else:
            # A mistake is one line, whatever the key holds.
            name = key if key and key.isprintable() else repr(key)
            written += f".{name}" if written else name
    return written


def _on_one_line(text: str) -> str:
    """Give a text with escapes for what would break the line or drive a terminal; names in a file can hold anything."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def read_document(file: str | os.PathLike[str], environment: Mapping[str, str] | Variables | None = None) -> Document:
    """Read a YAML file. What is wrong with the file or in it is in the document's `mistakes`; nothing is raised.

    Blocks while it reads. `environment` is where variables are looked up; that of the process unless given. Documents that
    get the same `Variables` share what is secret.
    """
    name = os.fspath(file)
    data = b""
    problem = None
    try:
        with open(name, "rb") as stream:
            # One more than is allowed, so that an endless file such as /dev/zero ends here too.
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        problem = "no such file"
    except IsADirectoryError:
        problem = "this is a directory; a file is wanted"
    except PermissionError:
        problem = "the file may not be read (permission denied)"
    except OSError as error:
        problem = f"the file cannot be read: {error.strerror or error}"
    except ValueError:
        problem = f"{name!r} cannot be the name of a file"  # it holds a NUL character
    if problem is None and len(data) <= _MOST_BYTES:
        try:
            return parse_document(data.decode("utf-8"), name, environment)
        except UnicodeDecodeError as error:
            problem = f"the file is not UTF-8 (byte 0x{data[error.start]:02x})"
            encoding = "UTF-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "LATIN1"
            example = f"iconv -f {encoding} -t UTF-8 old.yaml >new.yaml"
            # What cannot be read is shown as U+FFFD, behind what can; a byte order mark is no column.
            document = _empty_document(name, data.decode("utf-8", errors="replace").removeprefix("\ufeff"), environment)
            before = data[: error.start].decode("utf-8").removeprefix("\ufeff")
            document._report(len(before), (), problem, example)
            return document
    document = _empty_document(name, "", environment)
    document._report(0, (), problem or _TOO_LARGE)
    return document


def parse_document(
    text: str, file: str = "<text>", environment: Mapping[str, str] | Variables | None = None
) -> Document:
    """Parse a YAML text. What is wrong in it is in the document's `mistakes`; nothing is raised.

    >>> document = parse_document("open: 12:30\\nlimit: ${LIMIT:-0o17}\\nname: '1'\\n", environment={})
    >>> document.value
    {'open': '12:30', 'limit': 15, 'name': '1'}
    >>> for mistake in parse_document("a: 1\\nb: ${X}\\na: 2", "x.yaml", {}).mistakes:
    ...     print(mistake)
    x.yaml:2:4: b: the variable X is not set; give it a default with ${X:-default}
    x.yaml:3:1: a: duplicate key 'a', first used in line 1
    """
    text = text.removeprefix("\ufeff")
    if len(text) > _MOST_BYTES:
        document = _empty_document(file, "", environment)
        document._report(0, (), _TOO_LARGE)
        return document
    document = _empty_document(file, text, environment)
    root = _compose(text, document)
    if root is not None:
        document.variables.add_secrets(_secret_names(root))
        _Walk(document, _parameters(root)).top(root)
        document.mistakes.sort(key=lambda mistake: (mistake.line, mistake.column))
    return document


_TOO_LARGE: Final = f"the file is larger than {_MOST_BYTES // 2**20} MiB"


def _empty_document(file: str, text: str, environment: Mapping[str, str] | Variables | None) -> Document:
    if isinstance(environment, Variables):
        return Document(file, text, environment)
    return Document(file, text, Variables(os.environ if environment is None else environment))


# From text to nodes.


class _Alias(Node):
    """An alias that stays one: a mistake about it points at the alias, and its expansion can be counted."""

    def __init__(self, name: str, target: Node | None, event: AliasEvent) -> None:
        super().__init__("", target, event.start_mark, event.end_mark)  # type: ignore[arg-type]
        self.name = name


class _Loader(yaml.SafeLoader):
    """Composes nodes. A tag is what was written, or empty: none is guessed by the rules of YAML 1.1."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def resolve(self, kind: object, value: object, implicit: object) -> str:
        return ""

    def scan_plain(self) -> ScalarToken:
        """Let an index stand in a plain scalar within ``{}``: ``{dir: path.rpartition("/")[0]}``.

        YAML ends a plain scalar there and then has no use for a bracket that follows without a blank, so no right file
        changes its meaning by this; and expressions are full of them.
        """
        token: ScalarToken = super().scan_plain()
        while self.flow_level and self.peek() == "[" and token.end_mark.index == self.index:
            length = self._bracketed()
            if length == 0:
                break
            text = token.value + self.prefix(length)
            self.forward(length)
            end = self.get_mark()
            blanks = 0
            while self.peek(blanks) == " ":
                blanks += 1
            if self.peek(blanks) not in "\0 \t\r\n\x85\u2028\u2029,?[]{}:#":
                self.forward(blanks)
                rest: ScalarToken = super().scan_plain()
                text, end = text + " " * blanks + rest.value, rest.end_mark
            token = ScalarToken(text, True, token.start_mark, end)
        return token

    def _bracketed(self) -> int:
        """Give the length of what stands in brackets here, both included; 0 when they are not closed on this line."""
        depth = length = 0
        while (character := self.peek(length)) not in "\0\r\n\x85\u2028\u2029":
            depth += {"[": 1, "]": -1}.get(character, 0)
            length += 1
            if depth == 0:
                return length
        return 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent):
            self.get_event()  # type: ignore[no-untyped-call]
            name = str(event.anchor)
            return _Alias(name, self.anchors.get(name), event)
        self.anchors.pop(event.anchor, None)  # YAML 1.2 lets an anchor be used again, PyYAML does not
        self._depth += 1
        if self._depth > _MOST_LEVELS:
            raise ComposerError(None, None, _TOO_DEEP, event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def compose_scalar_node(self, anchor: Any) -> ScalarNode:
        # Unlike the original, this keeps a lone `!`: it makes a text of a plain scalar.
        event = self.get_event()  # type: ignore[no-untyped-call]
        node = ScalarNode(event.tag or "", event.value, event.start_mark, event.end_mark, style=event.style)
        if anchor is not None:
            self.anchors[anchor] = node
        return node


def _compose(text: str, document: Document) -> Node | None:
    """Give the top node of a text, or report why there is none."""
    loader = None
    try:
        loader = _Loader(text)
        root = loader.get_node() if loader.check_node() else None
        if root is None or (isinstance(root, ScalarNode) and not root.tag and root.style is None and not root.value):
            document._report(0, (), "the file is empty; a mapping is wanted", _WHOLE)
            return None
        if loader.check_node():
            second = loader.peek_event()  # type: ignore[no-untyped-call]
            problem = "a second document begins here; a file holds one"
            document._report(second.start_mark.index, (), problem, "rx-collector validate one.yaml another.yaml")
    except ReaderError as error:
        message = f"the character U+{error.character:04X} is not allowed in YAML"
        escape = f"\\x{error.character:02x}" if error.character < 256 else f"\\u{error.character:04x}"
        document._report(error.position, (), message, f'name: "a{escape}b"')
    except MarkedYAMLError as error:
        index, message, example = _in_plain_words(error, document)
        document._report(index, (), message, example)
    except (ValueError, OverflowError):
        # PyYAML lets these out: the escapes "\U00110000" and "\UFFFFFFFF", and a directive's number of 5,000 digits.
        index = loader.index if loader is not None else 0
        document._report(index, (), "there is no such character or number", 'name: "\\u00e9"')
    else:
        return root
    finally:
        if loader is not None:
            loader.dispose()
    return None


_TOKENS: Final = {
    "<block mapping start>": "a key",
    "<block sequence start>": "a list item",
    "<block end>": "the end of the block",
    "<stream end>": "the end of the file",
    "<document start>": "'---'",
    "<document end>": "'...'",
    "<scalar>": "a text",
    "<alias>": "an alias",
    "<anchor>": "an anchor",
    "<tag>": "a tag",
    "<directive>": "a directive",
    "?": "a key",
    "-": "a list item",
}


def _in_plain_words(error: MarkedYAMLError, document: Document) -> tuple[int, str, str]:
    """Give the place of a syntax error, what is wrong in the words of someone who writes YAML, and the right form."""
    text = document._text
    problem = error.problem or "this is not valid YAML"
    mark = error.problem_mark or error.context_mark
    index = mark.index if mark is not None else 0
    start = error.context_mark.index if error.context_mark is not None else index
    line = document._position(start)[0]
    if text[max(index - 1, 0) : index + 1] == "${":
        return index - 1, 'within [ ] or { } a variable must stand in quotes: "${NAME}"', 'file: {path: "${NAME}"}'
    if problem.startswith("found character"):
        if text[index : index + 1] != "\t":
            return index, f"a text cannot begin with {text[index : index + 1]!r}; put it in quotes", _QUOTED
        before = text[:index].replace("\r", "\n").rpartition("\n")[2]
        return index, f"a tab cannot {'stand here' if before.strip() else 'indent'}; use spaces", _INDENTED
    if problem == "could not find expected ':'":
        return start, "a ':' is missing after this key", _KEY
    if problem == "mapping values are not allowed here":
        return _missing_colon(document, index) or (
            index,
            "a ':' cannot stand here; put the text in quotes, or mend the indentation",
            _QUOTED,
        )
    if problem == "sequence entries are not allowed here":
        return index, "a list item cannot stand here; put it on a line of its own", _LISTED
    if problem in ("found unexpected end of stream", "found unexpected document separator"):
        return start, "this quote is never closed", _QUOTED
    if problem.startswith("found unknown escape character"):
        escape = text[index : index + 1]
        message = f"unknown escape \\{escape} in double quotes; write \\\\, or use single quotes"
        return index, message, "pattern: '^\\d+ (?P<rest>.*)'"
    if problem.startswith("expected alphabetic or numeric") and error.context in (
        "while scanning an alias",
        "while scanning an anchor",
    ):
        sign = text[start : start + 1]
        return start, f"{sign!r} begins {error.context[15:]} here; put the text in quotes", _QUOTED
    if match := re.fullmatch(r"(expected .*), but (?:found|got) '(.*)'", problem):
        wanted, token = match.groups()
        found = _TOKENS.get(token, f"'{token}'")
        if wanted == "expected <block end>":
            if token in ("<block mapping start>", "<block sequence start>", "?", "-"):
                message = f"{found} cannot stand here: it does not line up with the block begun in line {line}"
                return index, message, _INDENTED
            message = f"{found} cannot stand here; put the whole value in quotes, or mend the indentation"
            return index, message, _QUOTED
        if wanted.startswith("expected ',' or"):
            opening = "[" if wanted.endswith("']'") else "{"
            if token == "<scalar>" and text[:index].rstrip()[-1:] in ("'", '"'):
                message = f"{found} cannot follow the quote that ends before it; put the whole value in quotes"
                return index, message, """set: {host: '"web" + name'}"""
            message = f"{wanted[9:]} is wanted here, not {found}; the '{opening}' is in line {line}"
            return index, message, "command: [vmstat, 1]" if opening == "[" else "stop: {signal: SIGINT, grace: 5s}"
        if wanted == "expected the node content":
            return index, f"a value is wanted here, not {found}", _KEY
        wanted = wanted.removeprefix("expected ").strip("'")
        return index, f"wanted here: {_TOKENS.get(wanted, wanted)}; found: {found}", _KEY
    if problem.startswith("found incompatible YAML document"):
        return start, "this version of YAML is not known; leave the line out", "%YAML 1.2\n---\nname: audit"
    if problem.startswith("found undefined tag handle"):
        return index, f"unknown tag {problem.rpartition(' ')[2].strip(chr(39))}", _TAGLESS
    return index, " ".join(problem.split()), _KEY


def _missing_colon(document: Document, index: int) -> tuple[int, str, str] | None:
    """Tell whether a ':' is one too many because the line before lacks its own, which makes one text of both."""
    line, column = document._position(index)
    before, key = document.lines[line - 2] if line > 1 else "", document.lines[line - 1][: column - 1]
    depth = len(before) - len(before.lstrip(" "))
    if not re.fullmatch(r" *[\w.-]+", key) or depth > len(key) - len(key.lstrip(" ")):
        return None
    if not re.fullmatch(r" *\w[^:#]*(?::[^\s:#]+)?", before):
        return None
    what = "a blank is missing behind the ':' of this key" if ":" in before else "a ':' is missing after this key"
    return document._starts[line - 2] + depth, what, _KEY


# The right form of what mistakes are about.
_KEY: Final = "name: value"
_PAIR: Final = 'name: "\\ud83d\\ude00"'
_ONCE: Final = "runners:\n  load: {command: [vmstat, 1]}\n  disks: {command: [df, -P], every: 1m}"
_ALIAS: Final = (
    "runners:\n  load: {command: [vmstat, 1], stop: &gently {signal: SIGINT, grace: 5s}}\n"
    "  disks: {command: [iostat, 1], stop: *gently}"
)
_WHOLE: Final = (
    "runners:\n  load: {command: [vmstat, 1]}\n"
    "pipelines:\n  all: {from: load, sinks: [{console: {}, backpressure: block}]}"
)
_QUOTED: Final = """name: 'load: @home, "quoted", 100%'"""
_INDENTED: Final = "runners:\n  load:\n    command: [vmstat, 1]\n    stop: SIGINT"
_LISTED: Final = "operators:\n  - filter: uid > 0\n  - drop: [ppid]"
_TAGLESS: Final = "name: '!audit'"
_TYPED: Final = "skip_lines: 10"


# From nodes to values.

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_PROPERTIES: Final = re.compile(r"(?:(?:!<[^>\s]*>|[!&][^\s,\[\]{}]*)(?:\s++(?:#[^\r\n]*+\s*+)*+)?)+")
_CORE_TAG: Final = "tag:yaml.org,2002:"

_NULL: Final = frozenset(["", "~", "null", "Null", "NULL"])
_BOOLEAN: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_BASED: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def _resolve(text: str) -> str | int | float | bool | None:
    """Give the value of a plain scalar by the YAML 1.2 core schema.

    >>> [_resolve(text) for text in ("no", "0777", "0x1F", "1e3", "TRUE", "~", "1_000")]
    ['no', 777, 31, 1000.0, True, None, '1_000']

    Raises ValueError for an integer longer than Python reads.
    """
    if text in _NULL:
        return None
    if text in _BOOLEAN:
        return _BOOLEAN[text]
    if _INTEGER.fullmatch(text):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"an integer of {len(text):,} digits is too long") from None
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _resolve_as(tag: str, text: str) -> str | int | float | bool | None:
    """Give the value of a scalar whose type is written before it. Raises ValueError when it is not of that type."""
    if tag == "str":
        return text
    value = _resolve(text)
    if tag == "null" and value is None:
        return None
    if tag == "bool" and isinstance(value, bool):
        return value
    if tag == "int" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if tag == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("-inf" if value < 0 else "inf")  # what the same digits are with a dot after them
    raise ValueError(f"{text!r} is not what its tag !!{tag} says")


def _join_surrogates(text: str) -> str:
    """Make characters of the surrogate pairs that JSON's escapes leave. Raises ValueError for one that stands alone."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _is_plain(node: Node | None) -> bool:
    """Tell whether it is a scalar without quotes."""
    return isinstance(node, ScalarNode) and node.style is None and not node.tag


def _content_of(node: Node) -> str | None:
    return node.value if _is_plain(node) else None


def _last_of(node: Node) -> Node:
    """Give the value of a pair that is an item of a list: ``[filter: contains(a, b)]``."""
    pair = isinstance(node, MappingNode) and node.flow_style and len(node.value) == 1
    return node.value[0][1] if pair else node


def _index(node: Node) -> int:
    """Give where a node begins in the source, its tag and anchor included."""
    return int(node.start_mark.index)


def _content(text: str, node: Node) -> int:
    """Give where what a scalar says begins, behind its tag and anchor."""
    start = _index(node)
    if text[start : start + 1] in ("!", "&") and (match := _PROPERTIES.match(text, start)):
        return min(match.end(), int(node.end_mark.index))
    return start


def _secret_names(root: Node) -> list[str]:
    """Give the names in the top-level list ``secrets``; what is wrong with it is reported by whoever reads it."""
    names = []
    for key, value in root.value if isinstance(root, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value == "secrets":
            target = value.value if isinstance(value, _Alias) else value
            for item in target.value if isinstance(target, SequenceNode) else [target]:
                scalar = item.value if isinstance(item, _Alias) else item
                if isinstance(scalar, ScalarNode):
                    names.append(scalar.value)
    return names


def _parameters(root: Node) -> dict[str, list[str]]:
    """Give the names of the parameters of each template; what is wrong with them is reported by whoever reads them."""
    found: dict[str, list[str]] = {}
    for name, template in _entries(root, "templates"):
        found.setdefault(name, [key for key, _ in _entries(template, "parameters")])
    return found


def _entries(node: Node, section: str) -> Iterator[tuple[str, Node]]:
    """Give the keys and values of a mapping that is a value of another one."""
    for key, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(key, ScalarNode) and key.value == section:
            target = value.value if isinstance(value, _Alias) else value
            for name, item in target.value if isinstance(target, MappingNode) else ():
                if isinstance(name, ScalarNode):
                    yield name.value, item.value if isinstance(item, _Alias) else item
            return


class _TooMuch(Exception):
    """The document goes beyond a bound: the walk ends."""

    def __init__(self, index: int, path: Path, message: str) -> None:
        super().__init__(message)
        self.index = index
        self.path = path
        self.message = message


class _Walk:
    """Turns nodes into plain values, and fills in the document's places and mistakes."""

    def __init__(self, document: Document, parameters: Mapping[str, Iterable[str]]) -> None:
        self._document = document
        self._parameters = {name: Parameters(names, document.variables) for name, names in parameters.items()}
        self._source = document._text
        self._open: set[int] = set()  # the collections that the walk is in
        self._halves: set[int] = set()  # scalars that a comma has cut
        self._aliases = 0  # how many aliases deep the walk is
        self._outermost = 0  # where the first of those stands
        self._aliased = 0  # how many values came from aliases so far
        # A scalar with several aliases is expanded once: its mistakes are told once, and memory stays bounded.
        self._expanded: dict[tuple[int, str], tuple[Any, str, bool]] = {}

    def top(self, root: Node) -> None:
        """Set the document's value from its top node."""
        if not isinstance(root, MappingNode):
            sort = "a list" if isinstance(root, SequenceNode) else "a single value"
            self._document._report(_index(root), (), f"a mapping is wanted at the top, not {sort}", _WHOLE)
            return
        try:
            self._document.value = self._value(root, (), None, True)
        except _TooMuch as error:
            self._document._report(error.index, error.path, error.message)

    def _value(self, node: Node, path: Path, key: int | None, keep: bool) -> Any:
        """Give the value of a node. `key` is where its key begins; without `keep` only its mistakes are wanted."""
        if isinstance(node, _Alias):
            return self._alias(node, path, key, keep)
        if len(path) >= _MOST_LEVELS:
            raise _TooMuch(_index(node), path, _TOO_DEEP)
        if self._aliases:
            self._aliased += 1
            if self._aliased > _MOST_ALIASED:
                message = f"the aliases stand for more than {_MOST_ALIASED:,} values; write less with them"
                raise _TooMuch(self._outermost, path, message)
        if isinstance(node, ScalarNode):
            return self._scalar(node, path, key, keep)
        if keep:
            self._place(_index(node), path, key)
        self._open.add(id(node))
        value = self._mapping(node, path, keep) if isinstance(node, MappingNode) else self._list(node, path, keep)
        self._open.discard(id(node))
        return value

    def _alias(self, alias: _Alias, path: Path, key: int | None, keep: bool) -> Any:
        target = alias.value
        if target is None or id(target) in self._open:
            problem = "has no anchor before it" if target is None else "stands within its own anchor"
            self._document._report(_index(alias), path, f"the alias *{alias.name} {problem}", _ALIAS)
            if keep:
                self._place(_index(alias), path, key)
                self._document.broken.add(path)
            return None
        if not self._aliases:
            self._outermost = _index(alias)
        self._aliases += 1
        value = self._value(target, path, _index(alias) if key is None else key, keep)
        self._aliases -= 1
        return value

    def _place(self, index: int, path: Path, key: int | None, text: str | None = None, style: str = "") -> None:
        position = self._document._position(index)
        key_position = position if key is None else self._document._position(key)
        self._document.places[path] = Place(*position, *key_position, text, style)

    def _list(self, node: Node, path: Path, keep: bool) -> list[Any]:
        self._collection_tag(node, path, keep)
        cut = self._cut(node, path)
        items = [item for item in node.value if id(item) not in cut]
        return [self._value(item, (*path, index), None, keep) for index, item in enumerate(items)]

    def _cut(self, node: Node, path: Path) -> set[int]:
        """Report each call within ``{}`` or ``[]`` that YAML cuts at a comma, as in ``{a: default(n, 0)}``, and mark what
        is left of its value. Gives the nodes that are the rest of a call.
        """
        if not isinstance(node, MappingNode | SequenceNode) or not node.flow_style:
            return set()
        pairs = [item if isinstance(item, tuple) else (item, None) for item in node.value]
        rest: set[int] = set()
        for number, (head, value) in enumerate(pairs):
            begun = value if value is not None else _last_of(head)
            if id(head) in rest or not _is_plain(begun) or "(" not in begun.value:
                continue
            open_ = begun.value.count("(") - begun.value.count(")")
            found: list[Node] = []
            for after, empty in pairs[number + 1 :]:
                if open_ <= 0 or not _is_plain(after) or (empty is not None and _content_of(empty) != ""):
                    break
                found.append(after)
                open_ += after.value.count("(") - after.value.count(")")
            if open_ == 0 and found:
                rest |= {id(one) for one in found}
                self._halves.add(id(begun))
                whole = " ".join(self._source[_index(begun) : found[-1].end_mark.index].split())
                quoted = whole.replace("'", "''")
                quoted = f": '{quoted}'" if len(quoted) <= 80 else ""
                message = f"a comma ends the value within {{}} and []; put the whole value in quotes{quoted}"
                below = (*path, number if value is None else str(head.value))
                self._document._report(_index(begun), below, message, "set: {level: 'default(level, 0)'}")
        return rest

    def _mapping(self, node: Node, path: Path, keep: bool) -> dict[str, Any]:
        self._collection_tag(node, path, keep)
        result: dict[str, Any] = {}
        first: dict[str, int] = {}
        cut = self._cut(node, path)
        for key_node, value_node in node.value:
            if id(key_node) in cut:
                continue
            name = self._key(key_node, path)
            if name is None:
                self._value(value_node, (*path, "?"), None, False)
                continue
            index = _content(self._source, key_node)
            below = (*path, name)
            if name in first:
                line = self._document._position(first[name])[0]
                self._document._report(index, below, f"duplicate key {name!r}, first used in line {line}", _ONCE)
                self._value(value_node, below, index, False)
                continue
            first[name] = index
            result[name] = self._value(value_node, below, index, keep)
        return result

    def _key(self, node: Node, path: Path) -> str | None:
        """Give a key as it is written, whatever type it would have as a value; None for what cannot be one."""
        target = node.value if isinstance(node, _Alias) else node
        index = _index(node)
        if target is None:
            self._document._report(index, path, "the alias in this key has no anchor before it", _ALIAS)
        elif not isinstance(target, ScalarNode):
            self._document._report(index, path, "a key must be a text, not a list or a mapping", _KEY)
        elif target.style is None and target.value == "<<" and not target.tag:
            merge = "YAML 1.2 has no merge key '<<'; write out the keys it would bring"
            self._document.broken.add(path)  # what it lacks may be what the merge key was to bring
            self._document._report(index, path, merge, _ALIAS)
        else:
            if problem := _tag_problem(target.tag, _SCALAR_TAGS, "a scalar"):
                self._document._report(index, path, problem, _TAGLESS)
            try:
                return _join_surrogates(target.value)
            except ValueError:
                self._document._report(index, path, _SURROGATE, _PAIR)
        return None

    def _collection_tag(self, node: Node, path: Path, keep: bool) -> None:
        known, sort = ({"map"}, "a mapping") if isinstance(node, MappingNode) else ({"seq"}, "a list")
        if problem := _tag_problem(node.tag, known, sort):
            self._document._report(_index(node), path, problem, _TAGLESS)
            if keep:
                self._document.broken.add(path)

    def _scalar(self, node: ScalarNode, path: Path, key: int | None, keep: bool) -> Any:
        # Within a template the names of its parameters mean something else.
        template = str(path[1]) if len(path) > 3 and path[0] == "templates" and path[2] == "operators" else ""
        parameters = self._parameters.get(template) if template else None
        key_of_it = (id(node), template if parameters is not None else "")
        if key_of_it not in self._expanded:
            self._expanded[key_of_it] = self._expand(node, path, parameters)
        value, expanded, broken = self._expanded[key_of_it]
        if keep:
            document = self._document
            if parameters is not None and not broken and (names := parameters.in_text(node.value)):
                document.referring[path] = names
            line, column = document._position(_content(self._source, node))
            key_position = (line, column) if key is None else document._position(key)
            document.places[path] = Place(line, column, *key_position, node.value, _STYLES[node.style], expanded)
            document._scalars[path] = node
            if broken or id(node) in self._halves:
                document.broken.add(path)
        return value

    def _expand(self, node: ScalarNode, path: Path, parameters: Parameters | None) -> tuple[Any, str, bool]:
        """Give a scalar's value, its text with variables put in, and whether a mistake about it was reported.

        One that refers to parameters stays as it is: what it is will be known where its template is used.
        """
        document = self._document
        try:
            node.value = _join_surrogates(node.value)
        except ValueError:
            document._report(_index(node), path, _SURROGATE, _PAIR)
            return None, "", True
        text = node.value
        refers = parameters is not None and parameters.in_text(text)
        try:
            expanded = text if refers else document.variables.expand(text)
            problems = parameters.problems(text) if refers and parameters is not None else []
        except ValueError:
            expanded = text
            problems = (parameters or document.variables).problems(text)
        if problems:
            indexes = _indexes(self._source, node)
            for offset, message in problems:
                document._report(indexes[offset], path, message, 'path: "${OUTPUT:-out.ndjson}"')
            return text, text, True
        tag = node.tag
        if problem := _tag_problem(tag, _SCALAR_TAGS, "a scalar"):
            document._report(_index(node), path, problem, _TAGLESS)
            return expanded, expanded, True
        if refers:
            return text, text, False
        try:
            return value_of(node, expanded), expanded, False
        except ValueError as error:
            document._report(_content(self._source, node), path, str(error), _TYPED)
            return expanded, expanded, True


def value_of(node: ScalarNode, expanded: str) -> Any:
    """Give the value of a scalar, in which these are the variables put in. Raises ValueError where its tag does not fit."""
    if node.tag.startswith(_CORE_TAG):
        return _resolve_as(node.tag.removeprefix(_CORE_TAG), expanded)
    return _resolve(expanded) if node.style is None and not node.tag else expanded


_SURROGATE: Final = "an escape in this text is half of a character"


_SCALAR_TAGS: Final = frozenset(["str", "null", "bool", "int", "float"])


def _tag_problem(tag: str, known: Collection[str], sort: str) -> str | None:
    """Say what is wrong with a tag, None for a right one or none."""
    short = tag.removeprefix(_CORE_TAG)
    if tag in ("", "!") or (tag.startswith(_CORE_TAG) and short in known):
        return None
    if tag.startswith(_CORE_TAG) and short in _SCALAR_TAGS | {"map", "seq"}:
        return f"the tag !!{short} does not fit {sort}"
    shown = f"!!{short}" if tag.startswith(_CORE_TAG) else tag
    return f"unknown tag {shown if shown.isprintable() else repr(shown)}"  # escapes can hide any character in a tag


# From a scalar's text back to the source.

_BLANK: Final = re.compile(r"[ \t\r\n]+")
_FIRST_SPACES: Final = re.compile(r"(?:\s*[\r\n])?( *)")
_LOW_SURROGATE: Final = re.compile(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|\Z)")
_HEXADECIMAL: Final = {"x": 2, "u": 4, "U": 8}
_ESCAPES: Final = {
    "0": "\0",
    "a": "\a",
    "b": "\b",
    "t": "\t",
    "\t": "\t",
    "n": "\n",
    "v": "\v",
    "f": "\f",
    "r": "\r",
    "e": "\x1b",
    "N": "\x85",
    "_": "\xa0",
    "L": "\u2028",
    "P": "\u2029",
}


def _index_inside(source: str, node: ScalarNode, line: int, column: int) -> int:
    """Give the index in the source of a line (from 1) and column (from 0) of a scalar's text."""
    lines = node.value.split("\n")
    line = min(max(line, 1), len(lines))
    column = min(max(column, 0), len(lines[line - 1]))
    return _indexes(source, node)[sum(len(before) + 1 for before in lines[: line - 1]) + column]


def _indexes(source: str, node: ScalarNode) -> list[int]:
    """Give the index in the source of each character of a scalar's text, and of its end.

    The source is read a second time here. Should the two readings differ, all is put where the scalar begins.
    """
    start, end = _content(source, node), int(node.end_mark.index)
    text: str = node.value
    if node.style in ("|", ">"):
        # The indentation may be declared relative to a parent unknown here, so it is told from what is left of it.
        written, read = _FIRST_SPACES.match(source, _line_end(source, start, end), end), _FIRST_SPACES.match(text)
        indentation = len(written[1]) - len(read[1]) if written is not None and read is not None else 0
        found = list(_block(source, start, end, indentation, folded=node.style == ">"))[: len(text)]  # chomping
        last = found[-1][1] + 1 if found else start
    else:
        last = end if node.style is None else end - 1
        found = list(_flow(source, start if node.style is None else start + 1, last, node.style))
    if "".join(character for character, _ in found) != text:
        return [start] * (len(text) + 1)
    return [*(index for _, index in found), last]


def _line_end(source: str, start: int, end: int) -> int:
    line = _LINE.match(source, start, end)
    return line.end() if line is not None else end


def _flow(source: str, index: int, end: int, style: str | None) -> Iterator[tuple[str, int]]:
    """Give each character of a plain or quoted scalar, with its index in the source."""
    while index < end:
        character = source[index]
        if blank := _BLANK.match(source, index, end):
            breaks = list(_BREAK.finditer(blank[0]))
            if not breaks:
                yield from ((source[at], at) for at in range(index, blank.end()))
            elif len(breaks) == 1:
                yield " ", index
            else:
                yield from (("\n", index + found.start()) for found in breaks[1:])
            index = blank.end()
        elif style == "'" and character == "'":
            yield "'", index
            index += 2
        elif style == '"' and character == "\\":
            code = source[index + 1 : index + 2]
            if code in ("\r", "\n"):
                folded = _BLANK.match(source, index + 1, end)
                breaks = list(_BREAK.finditer(folded[0])) if folded is not None else []
                yield from (("\n", index + 1 + found.start()) for found in breaks[1:])
                index = folded.end() if folded is not None else index + 2
            elif code in _HEXADECIMAL:
                digits = _HEXADECIMAL[code]
                value = int(source[index + 2 : index + 2 + digits], 16)
                low = _LOW_SURROGATE.match(source, index + 6, end)
                if digits == 4 and 0xD800 <= value < 0xDC00 and low is not None:
                    yield chr(0x10000 + ((value - 0xD800) << 10) + int(low[1], 16) - 0xDC00), index
                    index = low.end()
                else:
                    yield chr(value), index
                    index += 2 + digits
            else:
                yield _ESCAPES.get(code, code), index
                index += 2
        else:
            yield character, index
            index += 1


def _block(source: str, start: int, end: int, indentation: int, *, folded: bool) -> Iterator[tuple[str, int]]:
    """Give each character of a literal or folded scalar, unchomped, with its index in the source."""
    blank: list[tuple[str, int]] = []  # the breaks of the empty lines since the last that was not
    last: tuple[bool, int] | None = None  # whether that line may be folded, and where it ends
    for number, line in enumerate(_LINE.finditer(source, start, end)):
        if number == 0 or not line[0]:
            continue  # the header, and the empty match at the end
        content = line[0].rstrip("\r\n")
        spaces = min(indentation, len(content) - len(content.lstrip(" ")))
        begin, stop = line.start() + spaces, line.start() + len(content)
        if begin == stop:
            blank.append(("\n", stop))
            continue
        foldable = folded and source[begin] not in " \t"
        if last is not None:
            if not (foldable and last[0]):
                yield "\n", last[1]
            elif not blank:
                yield " ", last[1]
        yield from blank
        blank.clear()
        yield from ((source[at], at) for at in range(begin, stop))
        last = foldable, stop
    if last is not None:
        yield "\n", last[1]
    yield from blank
