"""Lines that are laid out alike: edits of many fields on the bytes, for lines whose keys are known beforehand.

A program prints most of its lines with the same keys in the same order. So the layout of one line is learned: its keys,
and which values are texts. A regular expression that is made of it finds out, in one pass, whether another line is laid
out in the same way, and gives its pieces; what the edits make of them is known when it is compiled. A line that it does
not match is decoded, edited and encoded. This is why a line that it matches has exactly these pairs in this order:

1. The line is a JSON object: the decoder has read it to its end.
2. The expression begins with the brace and ends with the other one; between them stand, for each pair, the key in its
   quotes, the colon, a value and the comma. The value is a quote, no quotes, and a quote, or characters of which numbers
   and the three words alone are made; so there is no object and no array in it. What the decoder reads at each place is
   then what stands there in the expression, as long as a text ends for both at the same quote.
3. It does. If there was a backslash before a quote that ends a text in the expression, the decoder would go on to the next
   quote, with which a key begins in the expression, and a comma is before it; so it would end there, and from then on be
   within a text where the expression is between texts, and the other way round. There is no backslash between the texts of
   the expression, keys that were learned have none, and so there is none within the texts that the decoder reads then: it
   stays like that to the end of the line, where the decoder would miss the end of a text and have refused the line.
4. The keys that were learned differ. So none stands twice, and one that was not learned is not there.

With that the edits are those of a dict with these keys. Values are not touched, so numbers and escapes keep the form in
which they were written, as in a line that no stage changes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rx_collector.stream.edits import Edit, token

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Layout", "layout_of", "write_learned"]

_TEXT, _BARE, _EITHER = rb'"[^"]*+"', rb"[-+.0-9A-Za-z]++", rb'(?:"[^"]*+"|[-+.0-9A-Za-z]++)'
_PAIR: Final = re.compile(rb'"([^"\\]*+)"(: ?)(?:(' + _TEXT + rb")|" + _BARE + rb")(, ?|\}\n?\Z)")
_MOST_PAIRS: Final = 60  # of a line with more of them an expression would take long to compile

#: The key of each pair as it is written, the expression of its value; then the colon and the comma with their blanks.
_Layout: TypeAlias = tuple[tuple[tuple[bytes, bytes], ...], bytes, bytes]


def layout_of(line: bytes) -> _Layout | None:
    """Give the layout of a line of JSON, None for one that has objects or arrays in it, or that is written otherwise.

    >>> layout_of(b'{"pid":7,"comm":"sh"}')[0]
    ((b'pid', b'[-+.0-9A-Za-z]++'), (b'comm', b'"[^"]*+"'))
    >>> layout_of(b'{"a":{}}'), layout_of(b'{"a":1,"a":2}'), layout_of(rb'{"\\u0061":1}')
    (None, None, None)
    """
    if line[:1] != b"{":
        return None
    pairs: list[tuple[bytes, bytes]] = []
    seen: set[bytes] = set()
    colons, commas = set(), set()
    at, size = 1, len(line)
    while at < size:
        pair = _PAIR.match(line, at)
        if pair is None or pair[1] in seen or len(pairs) >= _MOST_PAIRS:
            return None
        pairs.append((pair[1], _BARE if pair[3] is None else _TEXT))
        seen.add(pair[1])
        colons.add(pair[2])
        if pair[4].startswith(b","):
            commas.add(pair[4])
        at = pair.end()
    if not pairs or not line.rstrip(b"\n").endswith(b"}") or len(colons) > 1 or len(commas) > 1:
        return None
    return tuple(pairs), colons.pop(), commas.pop() if commas else b","


class Layout:
    """What is known of how lines are laid out, for one row of edits. For one thread.

    `edited(line, *values)` gives the edited line, or None when it is not laid out as was learned; `values` are the JSON of
    those that the edits set to what is made for each event. It changes when `missed` has learned from a line.
    """

    def __init__(self, edits: Sequence[Edit], constants: Sequence[bytes | None]) -> None:
        """Make it; `constants` has for each edit the JSON of the value that it sets, None where that is made anew."""
        self._edits = list(zip(edits, constants, strict=True))
        self._known: _Layout | None = None
        self._misses = 0
        self.edited: Callable[..., bytes | None] = lambda line, *values: None

    def missed(self, line: bytes) -> Callable[..., bytes | None]:
        """A line was not laid out as was learned. Now and then, ever more seldom, its layout is learned instead.

        Gives `edited`.
        """
        self._misses += 1
        if self._misses & (self._misses - 1) == 0 and (layout := layout_of(line)) is not None:
            self._learn(layout)
        return self.edited

    def _learn(self, layout: _Layout) -> None:
        known = self._known
        pairs, colon, comma = layout
        if known is not None and known[1:] == layout[1:] and [k for k, _ in known[0]] == [k for k, _ in pairs]:
            # The same keys: a value is a text in some lines and none in others.
            pairs = tuple(
                (key, one if one == two else _EITHER) for (key, one), (_, two) in zip(known[0], pairs, strict=True)
            )
        self._known = pairs, colon, comma
        self.edited = self._compile(pairs, colon, comma)

    def _outcome(self, keys: Sequence[bytes]) -> list[tuple[bytes, int | bytes | str]]:
        """Do the edits on a dict of the keys. Gives the pairs that come out: key, and as the value the index of the pair
        that it was, bytes, or the name of an argument.
        """
        fields: dict[bytes, int | bytes | str] = {key: index for index, key in enumerate(keys)}
        for number, (edit, constant) in enumerate(self._edits):
            name = edit.name.encode()
            if edit.kind == "set":
                fields[name] = f"v{number}" if constant is None else constant
            elif edit.kind == "keep":
                fields = {key: fields[key] for key in map(str.encode, edit.fields) if key in fields}
            elif name in fields:
                value = fields.pop(name)
                if edit.kind == "rename":
                    fields[edit.to.encode()] = value
        return list(fields.items())

    def _compile(self, pairs: Sequence[tuple[bytes, bytes]], colon: bytes, comma: bytes) -> Callable[..., bytes | None]:
        """Make `edited` for a layout: the expression has a group for each row of neighbours that are written as they are,
        and for each value that goes under another name.
        """
        keys = [key for key, _ in pairs]
        parts: list[str] = []  # the sources of what is joined
        constant = b"{"
        rows: dict[int, int] = {}  # the first pair of a group, and the last
        values: set[int] = set()  # the pairs of which the value alone is a group
        first = last = -2  # the group that is the latest part
        for number, (key, value) in enumerate(self._outcome(keys)):
            same = isinstance(value, int) and keys[value] == key
            if same and value == last + 1:
                rows[first] = last = value
                continue
            constant += b"," if number else b""
            first = last = -2
            if not same:
                constant += b'"' + key + b'":'
            if isinstance(value, bytes):
                constant += value
                continue
            parts += [repr(constant)] if constant else []
            constant = b""
            if isinstance(value, int):
                parts.append(f"g{value}")
                if same:
                    first = last = rows[value] = value
                else:
                    values.add(value)
            else:
                parts.append(value)
        parts.append(repr(constant + b"}"))

        pattern = rb"\{"
        end = -1
        for index, (key, kind) in enumerate(pairs):
            pattern += re.escape(comma) if index else b""
            if index in rows:
                pattern += b"("
                end = rows[index]
            pattern += re.escape(b'"' + key + b'"' + colon)
            pattern += b"(" + kind + b")" if index in values else kind
            pattern += b")" if index == end else b""
        match = re.compile(pattern + rb"\}\n?").fullmatch

        groups = [f"g{index}" for index in range(len(pairs)) if index in rows or index in values]
        arguments = [f"v{n}" for n, (edit, constant) in enumerate(self._edits) if _is_made(edit, constant)]
        source = [
            f"def edited({', '.join(['line', *arguments])}):",
            "    found = match(line)",
            "    if found is None: return None",
            *([f"    {', '.join(groups)}, = found.groups()"] if groups else []),
            f"    return join(({', '.join(parts)},))",
        ]
        names: dict[str, Any] = {"match": match, "join": b"".join}
        exec("\n".join(source), names)
        return names["edited"]  # type: ignore[no-any-return]


def _is_made(edit: Edit, constant: bytes | None) -> bool:
    """Tell whether an edit sets a value that is made for each event."""
    return edit.kind == "set" and constant is None


def write_learned(code: SegmentCode, edits: Sequence[Edit]) -> None:
    """Write what puts the edited line into ``text``, or None where it is not laid out as was learned."""
    constants = [token(edit.value) if edit.kind == "set" and not edit.variable else None for edit in edits]
    layout = code.state(lambda: Layout(edits, constants), "layout")
    code.prologue.append(f"edited = {layout}.edited")
    to_json = code.bind(token, "token")
    made = []
    for edit, constant in zip(edits, constants, strict=True):
        if _is_made(edit, constant):
            made.append(code.temporary())
            value = edit.variable or code.bind(edit.value, "constant")
            code.write(f"{made[-1]} = {to_json}({value})")
    there = f" if {' and '.join(f'{value} is not None' for value in made)} else None" if made else ""
    code.write(f"text = edited({', '.join(['raw', *made])}){there}")
    code.learn = f"edited = {layout}.missed(raw)"
