"""Edits on the bytes: setting, renaming and dropping fields of a line of JSON without decoding the rest of it.

A row of such stages ends in one splice: the pairs that go are cut out of the line, and those that come are put before its
closing brace, in the order of the stages. What is left is not touched, so numbers keep the form in which they were
written. It is done where it can be proven that decoding, editing and encoding would give the same object, pair by pair:

1. The line is a JSON object: the decoder has read it to its end, with the fields that are named here.
2. A name that is set, or that a field is renamed to, is not among the object's: the decoder has compared its keys, with
   their escapes undone. So what is appended is a new pair, where a dict would put it: last.
3. There is no backslash in a line of which a pair is cut out, so a quote begins or ends a text wherever it stands. The
   name in its quotes stands there once, and the decoder has found it as a key of the object itself: so that is the place,
   and not a key within or a text. Behind it follow a colon, the value as the decoder gave it in its own bytes, and a comma
   or, at the end, the brace: so the pair is whole.
4. The object ends with its brace, with a pair right before it.
5. No stage reads a name that one before it has changed, and none changes one twice.

Where a stage keeps some fields alone, the line is put together from their bytes, which the decoder gives; then the second
to fourth are not needed.

Of a key that stands twice, a dict has the last value in the place of the first; cut out it would have to go twice, so rule
3 refuses it; one that is not touched stays twice, as in a line that no stage changes.

A number beyond a double, 1e400 say, is infinite for whoever reads it, and JSON has no form for that: a line that is encoded
anew has null in its place, one that is spliced has what was written.

Where one of the first four does not hold for a line, that line is decoded, edited and encoded. Where the last does not
hold for the stages, all lines are.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from rx_collector.frozen import frozen
from rx_collector.switches import is_on

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode
    from rx_collector.stream.operator import Stage

__all__ = [
    "BACKSLASH",
    "Edit",
    "Plan",
    "apply",
    "is_plain",
    "joined",
    "kept",
    "plan",
    "token",
    "without",
    "write_dict_edits",
    "write_splice",
]

_encode: Final = msgspec.json.Encoder().encode
BACKSLASH: Final = 92
_COMMA: Final = 44
_BRACE: Final = 125
#: What edits of one line may cost, in eighths of a microsecond. Decoding and encoding one of 250 bytes costs five more
#: than finding out that it is right; cutting a pair out, putting a value into JSON and one piece cost so much.
_MOST_COST: Final = 5
_CUT, _VALUE, _PIECE = 3, 2, 0.5
_MOST_VALUES: Final = 4  # that a line of a learned layout is given: with more of them decoding it is quicker


@frozen
class Edit:
    """One change: ``set`` a field to the value in a local `variable`, or to a constant `value`; ``rename`` it to the name
    `to`; ``drop`` it; ``keep`` nothing but `fields`.
    """

    kind: Literal["set", "rename", "drop", "keep"]
    name: str = ""
    to: str = ""
    variable: str = ""
    value: Any = None
    fields: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are different afterwards."""
        if self.kind == "keep":
            return ()
        return (self.name, self.to) if self.kind == "rename" else (self.name,)

    @property
    def adds(self) -> str | None:
        """The name under which there is a value afterwards, if any."""
        return self.to if self.kind == "rename" else self.name if self.kind == "set" else None


@frozen
class Plan:
    """What a row of stages asks of the decoder: the fields that are read, those whose bytes are cut out or put together,
    and those that must not be there. `edits` tells whether edits are pending to the end of the row, in a splice or for
    nobody, `unread` whether nothing in it or behind it wants more of the line than that, `learned` that the splice is that
    of lines whose layout is learned.
    """

    reads: frozenset[str]
    pieces: frozenset[str] = frozenset()
    absent: frozenset[str] = frozenset()
    edits: bool = False
    unread: bool = False
    learned: bool = False


def plan(stages: Sequence[Stage], reads: Iterable[str], *, to_bytes: bool, absorbed: bool = False) -> Plan:
    """Plan what is decoded of a line ahead of the rest of it, for the stages behind its parser.

    `reads` are the fields that the parser itself wants; `to_bytes` says that nothing behind these stages decodes it,
    `absorbed` that a stage behind them takes all events in, which the last of them may do, too.
    """
    if not is_on("projection"):
        return Plan(frozenset())
    absorbed = absorbed or (bool(stages) and stages[-1].absorbs)
    row = _Row(set(reads), splices=not absorbed)
    ahead: frozenset[str] | None = None  # what is read before the first edit
    for stage in stages:
        edits = stage.edits()
        if edits is not None and ahead is None:
            ahead = frozenset(row.read)
        if not row.takes(stage.needs() if edits is None else stage.edits_read(), edits or ()):
            break
    else:
        if absorbed and is_on("edits") and row.edited:
            return Plan(frozenset(row.read), edits=True, unread=True)
        if to_bytes and is_on("edits") and row.edited and row.cost <= _MOST_COST and not row.absent & row.read:
            return Plan(frozenset(row.read), frozenset(row.pieces), frozenset(row.absent), True, True)
        if to_bytes and is_on("edits") and is_on("layouts") and row.edited and row.values <= _MOST_VALUES:
            return Plan(frozenset(row.read), edits=True, unread=True, learned=True)
        if not row.edited:
            return Plan(frozenset(row.read), unread=to_bytes)
    return Plan(frozenset(row.read) if ahead is None else ahead)


class _Row:
    """What is known of a row of stages as far as it was looked at. Where none `splices`, all edits are alike."""

    def __init__(self, read: set[str], *, splices: bool) -> None:
        self.read = read
        self.edited = False
        self.kept: frozenset[str] | None = None  # the only fields that are left, where a stage keeps some
        self.changed: set[str] = set()
        self.assigned: set[str] = set()  # of these, those whose value is in a variable
        self._splices = splices
        self.pieces: set[str] = set()
        self.absent: set[str] = set()
        self.cost = 0.0
        self.values = 0  # that are put into JSON for each event

    def takes(self, needed: frozenset[str] | None, edits: Sequence[Edit]) -> bool:
        """Take a stage that reads and edits these; False when it cannot stand in the row."""
        if needed is None:
            return False
        needed = needed - self.assigned
        if needed & self.changed or (self.kept is not None and not needed <= self.kept):
            return False
        names = [name for edit in edits for name in edit.names]
        if self._splices and (
            len(set(names)) < len(names) or self.changed & set(names) or not all(map(is_plain, names))
        ):
            return False
        self.read |= needed
        self.changed.update(names)
        return all(map(self._edit, edits))

    def _edit(self, edit: Edit) -> bool:
        first, self.edited = not self.edited, True
        if edit.kind == "set":
            self.assigned.add(edit.name)
        elif edit.kind == "keep":
            self.assigned.intersection_update(edit.fields)
        else:
            self.assigned.difference_update(edit.names)
        if not self._splices:
            if edit.kind == "keep":
                kept = frozenset(edit.fields)
                self.kept = kept if self.kept is None else kept & self.kept
            return True
        if edit.kind == "set" and edit.variable:
            self.cost += _VALUE
            self.values += 1
        if edit.kind == "keep":
            self.kept = frozenset(edit.fields)
            self.pieces |= self.kept
            self.cost += _PIECE * len(self.kept)
            return first and all(map(is_plain, edit.fields))
        new = edit.adds
        if self.kept is None:
            self.absent |= set() if new is None else {new}
            self.pieces |= set() if edit.kind == "set" else {edit.name}
            self.cost += _CUT if edit.kind != "set" else 0
            return True
        return new not in self.kept and (edit.kind == "set" or edit.name in self.kept)


def is_plain(name: str) -> bool:
    """Tell whether a name looks in JSON as it does by itself, so that it can be found in a line without escapes."""
    try:
        return _encode(name) == b'"%b"' % name.encode()
    except UnicodeEncodeError:
        return False


# What the generated loops call


def token(value: Any) -> bytes | None:
    """Give a value as JSON, None for one that only a whole payload can be encoded with.

    >>> token("web"), token(7), token(2**70), token([1])
    (b'"web"', b'7', None, None)
    """
    kind = value.__class__
    if kind is str or kind is bool or value is None:
        pass
    elif kind is int:
        if not -(2**63) <= value < 2**64:
            return None
    elif kind is not float or value - value != 0.0:  # what is infinite, or no number
        return None
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half of a character
        return None


def without(text: bytes, key: bytes, value: Any) -> bytes | None:
    """Cut a pair out of an object, None where it cannot be proven which it is. `key` is the name in its quotes, `value` the
    bytes of its value.

    >>> without(b'{"a":1,"ppid":16,"b":2}', b'"ppid"', b"16"), without(b'{"a":1,"ppid":16}', b'"ppid"', b"16")
    (b'{"a":1,"b":2}', b'{"a":1}')
    >>> without(b'{"ppid":16}', b'"ppid"', b"16"), without(b'{"a":{"ppid":16},"ppid":16}', b'"ppid"', b"16")
    (None, None)
    """
    if BACKSLASH in text:
        return None
    parts = text.split(key)
    if len(parts) != 2:
        return None
    before, rest = parts
    pair = b":" + value
    if not rest.startswith(pair):
        return None
    after = rest[len(pair)]
    if after == _COMMA:
        return before + rest[len(pair) + 1 :]
    if after == _BRACE and before[-1] == _COMMA:
        return before[:-1] + rest[len(pair) :]
    return None


def joined(*pairs: Any) -> bytes:
    """Make an object of pieces of which some are missing: ``b'"pid":'``, the bytes of the value, ``b'"comm":'`` …"""
    there = [key + value for key, value in zip(pairs[::2], pairs[1::2], strict=True) if value is not msgspec.UNSET]
    return b"{" + b",".join(there) + b"}"


def apply(edits: Iterable[Edit], data: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Do the edits on a payload, with the values of the local variables of a loop: for the dead letter of an event that
    a later stage fails for.
    """
    for edit in edits:
        if edit.kind == "set":
            data[edit.name] = values[edit.variable] if edit.variable else edit.value
        elif edit.kind == "keep":
            data = kept(data, edit.fields)
        elif edit.name in data:
            value = data.pop(edit.name)
            if edit.kind == "rename":
                data[edit.to] = value
    return data


def kept(data: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Give some fields of a payload, those that are there."""
    return {name: data[name] for name in names if name in data}


# Writing the loop


def write_dict_edits(code: SegmentCode, edits: Iterable[Edit]) -> None:
    """Write the edits of a payload that is a dict of the loop's own."""
    for edit in edits:
        if edit.kind == "set":
            value = edit.variable or code.bind(edit.value, "constant")
            code.write(f"data[{edit.name!r}] = {value}")
        elif edit.kind == "rename":
            code.write(f"if {edit.name!r} in data: data[{edit.to!r}] = data.pop({edit.name!r})")
        elif edit.kind == "drop":
            code.write(f"data.pop({edit.name!r}, None)")
        else:
            code.write(f"data = {code.bind(kept, 'kept')}(data, {code.bind(edit.fields, 'names')})")


def write_splice(code: SegmentCode, edits: Sequence[Edit], peek: Mapping[str, str], read: Collection[str]) -> None:
    """Write what puts the edited line into ``text``, or None where it cannot be proven to be the same.

    `peek` has the source of what the decoder found under each name; it is a value for those in `read`, else bytes.
    """
    splice = _Splice(code, peek, read)
    if edits[0].kind == "keep":
        splice.build(edits[0].fields, edits[1:])
    else:
        splice.cut_and_append(edits)


class _Splice:
    def __init__(self, code: SegmentCode, peek: Mapping[str, str], read: Collection[str]) -> None:
        self._code = code
        self._peek = peek
        self._read = read
        self._unset = code.bind(msgspec.UNSET, "UNSET")
        self._token = code.bind(token, "token")

    def _bytes_of(self, edit: Edit) -> tuple[bytes, str]:
        """Give the JSON of the value that a field is set to: bytes where they are known, else the source of them."""
        code = self._code
        constant = None if edit.variable else token(edit.value)
        if constant is not None:
            return constant, ""
        made = code.temporary()
        code.write(f"{made} = {self._token}({edit.variable})")
        code.write(f"if {made} is None: text = None")
        return b"", made

    def _piece(self, name: str) -> str:
        """Give the source of the bytes of a field, which may be UNSET."""
        code, source = self._code, self._peek[name]
        if name not in self._read:
            return source
        # It was decoded. Encoded again it is what stands in most lines, and null cannot be told from none.
        piece = code.temporary()
        code.write(f"{piece} = None if {source} is None else {self._token}({source})")
        code.write(f"if {piece} is None: text = None")
        return piece

    def cut_and_append(self, edits: Sequence[Edit]) -> None:
        """Write what cuts pairs out of the line and appends others, in the order of the edits."""
        code, unset = self._code, self._unset
        tests = [f"{self._peek[edit.adds]} is {unset}" for edit in edits if edit.adds is not None]
        appends = all(edit.kind == "set" for edit in edits)
        whole = "raw" if appends else code.line_read()
        code.write(f"text = {whole} if {' and '.join(tests)} else None" if tests else f"text = {whole}")
        cut = code.bind(without, "without")
        suffix: list[str | bytes] = []
        for edit in edits:
            if edit.kind == "set":
                constant, source = self._bytes_of(edit)
                suffix.append(b"," + _encode(edit.name) + b":" + constant)
                if source:
                    suffix.append(source)
                continue
            piece = self._piece(edit.name)
            appended = code.temporary() if edit.kind == "rename" else ""
            if appended:
                code.write(f"{appended} = b''")
                suffix.append(appended)
            code.write(f"if text is not None and {piece} is not {unset}:")
            code.write(f"    text = {cut}(text, {_encode(edit.name)!r}, {piece})")
            if appended:
                code.write(f"    {appended} = {b',' + _encode(edit.to) + b':'!r} + {piece}")
        if suffix:
            last = 2 if appends and code.ended else 1  # bytes before the end of the line, where its brace is
            whole = " + ".join([f"text[:-{last}]", *_written([*suffix, b"}"])])
            code.write("if text is not None:")
            right = f"text[-{last}] == {_BRACE} and text[-{last + 1}] > 32 and text[-{last + 1}] != 123"
            code.write(f"    text = {whole} if {right} else None")

    def build(self, fields: Sequence[str], edits: Sequence[Edit]) -> None:
        """Write what puts the line together from the pieces that are kept, and those that are set."""
        code = self._code
        code.write("text = raw")
        pairs: dict[str, str | bytes] = {name: self._piece(name) for name in fields}
        for edit in edits:
            if edit.kind == "set":
                constant, source = self._bytes_of(edit)
                pairs[edit.name] = source or constant
            else:
                piece = pairs.pop(edit.name)
                if edit.kind == "rename":
                    pairs[edit.to] = piece
        pieces = [piece for piece in pairs.values() if isinstance(piece, str)]
        parts: list[str | bytes] = []
        for number, (name, piece) in enumerate(pairs.items()):
            parts += [b"," if number else b"{", _encode(name) + b":", piece]
        whole = " + ".join(_written([*parts, b"}"] if parts else [b"{}"]))
        code.write("if text is not None:")
        code.indent()
        there = " and ".join(f"{piece} is not {self._unset}" for piece in pieces)
        if not there:
            code.write(f"text = {whole}")
        else:
            each = ", ".join(f"{_encode(name) + b':'!r}, {piece!s}" for name, piece in pairs.items())
            code.write(f"text = {whole} if {there} else {code.bind(joined, 'joined')}({each})")
        code.dedent()


def _written(parts: Iterable[str | bytes]) -> list[str]:
    """Give sources that make up a text, with neighbouring constants as one."""
    sources: list[str] = []
    constant = b""
    for part in parts:
        if isinstance(part, bytes):
            constant += part
            continue
        if constant:
            sources.append(repr(constant))
            constant = b""
        sources.append(part)
    return [*sources, repr(constant)] if constant else sources
