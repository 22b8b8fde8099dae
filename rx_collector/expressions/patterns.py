"""Functions that look for patterns: regular expressions, paths with wildcards, networks.

How long a regular expression takes is its author's care: Python's can take time that grows fast with the text. The other
patterns here take time in proportion to the text and the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from rx_collector.expressions.function import MOST_TEXT, Constant, Function
from rx_collector.expressions.kinds import Kinds
from rx_collector.later import later

if TYPE_CHECKING:
    from ipaddress import IPv4Network, IPv6Network

    Network: TypeAlias = IPv4Network | IPv6Network

__all__ = ["PATTERN_FUNCTIONS"]

MOST_FOUND: Final = 1000
_OPTIONAL_TEXT: Final = Kinds.TEXT | Kinds.NULL


# Regular expressions


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None


def _groups(match: re.Match[str], pattern: re.Pattern[str]) -> Any:
    return match.groupdict() or (match[1] if pattern.groups else match[0])


def _matches(text: Any, pattern: re.Pattern[str]) -> bool:
    return text is not None and pattern.search(text) is not None


def _extract(text: Any, pattern: re.Pattern[str]) -> Any:
    match = None if text is None else pattern.search(text)
    if match is None:
        return None
    return match.groupdict() or (match[1] if pattern.groups else match[0])


def _find_all(text: Any, pattern: re.Pattern[str]) -> Any:
    if text is None:
        return None
    found = []
    for match in pattern.finditer(text):
        found.append(_groups(match, pattern))
        if len(found) == MOST_FOUND:
            break
    return found


def _replace_all(text: Any, pattern: re.Pattern[str], by: str) -> Any:
    if text is None:
        return None
    references = by.count("\\")
    if (len(text) + 1) * (len(by) + references * len(text)) > MOST_TEXT:  # it depends on what is found
        size = 0
        for match in pattern.finditer(text):
            longest = max((len(group) for group in (match[0], *match.groups()) if group), default=0)
            size += len(by) + references * longest
            if size > MOST_TEXT:
                raise OverflowError("the text is too long")
    return pattern.sub(by, text)


def _check_replacement(constants: Sequence[Any]) -> None:
    pattern, by = constants
    try:
        pattern.sub(by, "")
    except (re.error, IndexError) as error:
        raise ValueError(f"not a replacement: {error}") from None


# Paths


def _part(text: str) -> str:
    """Give the regular expression of one part of a path, which never goes back: what stands between two stars is where
    it is found first.
    """
    chunks: list[str] = [""]
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "*":
            chunks.append("")
        elif character == "?":
            chunks[-1] += "[^/]"
        elif character == "[" and (closed := text.find("]", index + 1 + (text[index : index + 1] == "!"))) > 0:
            chunks[-1] += _one_of(text[index:closed])
            index = closed + 1
        else:
            chunks[-1] += re.escape(character)
    first, *rest = chunks
    if not rest:
        return first
    return first + "".join(f"(?>[^/]*?{chunk})" for chunk in rest[:-1]) + f"[^/]*{rest[-1]}"


def _one_of(inside: str) -> str:
    sign, inside = ("^/", inside[1:]) if inside.startswith("!") else ("", inside)
    ranges = "".join(f"{re.escape(a)}-{re.escape(b)}" for a, b in re.findall(r"(.)-(.)", inside, re.DOTALL))
    single = "".join(map(re.escape, re.sub(r".-.", "", inside, flags=re.DOTALL)))
    return f"[{sign}{ranges}{single}]"


class Glob:
    """A pattern of paths: ``*`` and ``?`` stand within a part, ``**`` for any number of parts.

    >>> Glob("/usr/**/bin/*").matches("/usr/local/x/bin/y")
    True
    """

    def __init__(self, text: str) -> None:
        # Between two `**` there are rows of parts; each is found as early as it can be.
        rows: list[list[str]] = [[]]
        for part in text.split("/"):
            if part == "**":
                rows.append([])
            else:
                rows[-1].append(part)
        try:
            self._whole = re.compile("/".join(map(_part, rows[0])), re.DOTALL) if len(rows) == 1 else None
            self._rows = [[re.compile(_part(part), re.DOTALL) for part in row] for row in rows]
        except re.error as error:
            raise ValueError(f"not a pattern of paths: {error}") from None

    def matches(self, path: str) -> bool:
        """Tell whether the whole path is as the pattern says."""
        if self._whole is not None:
            return self._whole.fullmatch(path) is not None
        parts = path.split("/")
        first, *middle, last = self._rows
        end = len(parts) - len(last)
        if len(first) > end or not _are(first, parts, 0) or not _are(last, parts, end):
            return False
        at = len(first)
        for row in middle:
            at = next((start for start in range(at, end - len(row) + 1) if _are(row, parts, start)), end)
            at += len(row)
            if at > end:
                return False
        return True


def _are(row: list[re.Pattern[str]], parts: list[str], start: int) -> bool:
    return all(pattern.fullmatch(parts[start + index]) for index, pattern in enumerate(row))


def _glob(path: Any, *patterns: Glob) -> bool:
    return path is not None and any(pattern.matches(path) for pattern in patterns)


# Addresses


def _network(text: str) -> Network:
    import ipaddress

    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        meant = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError("not a network; write 10.0.0.0/8 or fd00::/8") from None
    raise ValueError(f"not a network but an address in one; write {meant}")


def _in_cidr(address: Any, *networks: Network) -> bool:
    if address is None:
        return False
    if not isinstance(address, str):
        raise TypeError(f"in_cidr takes a text, not a {type(address).__name__}")
    try:
        parsed = later("ipaddress", "ip_address")(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    if mapped is not None:
        return any(parsed in network or mapped in network for network in networks)
    return any(parsed in network for network in networks)


PATTERN: Final = Constant("pattern", _pattern)
#: By name.
PATTERN_FUNCTIONS: Final[dict[str, Function]] = {
    "matches": Function(
        _matches,
        2,
        2,
        "whether a regular expression is found in a text",
        ('matches("eth0", "^eth")', True),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT),
        gives=Kinds.BOOLEAN,
        constants=(None, PATTERN),
    ),
    "extract": Function(
        _extract,
        2,
        2,
        "what a regular expression finds in a text first: an object of its named groups, else its first group, else all",
        ('extract("took 15 ms", "([0-9]+) ms")', "15"),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT),
        gives=Kinds.NULL | Kinds.TEXT | Kinds.OBJECT,
        constants=(None, PATTERN),
    ),
    "find_all": Function(
        _find_all,
        2,
        2,
        f"a list of all that a regular expression finds in a text, each as by extract; the first {MOST_FOUND:,} of them",
        ('find_all("a=1 b=2", "[a-z]=([0-9])")', ["1", "2"]),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT),
        gives=Kinds.NULL | Kinds.LIST,
        constants=(None, PATTERN),
    ),
    "replace_all": Function(
        _replace_all,
        3,
        3,
        r"a text with something else for all that a regular expression finds; \1 there is the first group",
        (r'replace_all("pid 12, pid 7", "[0-9]+", "N")', "pid N, pid N"),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT, Kinds.TEXT),
        gives=_OPTIONAL_TEXT,
        constants=(None, PATTERN, Constant("replacement", str)),
        check=_check_replacement,
    ),
    "glob": Function(
        _glob,
        2,
        None,
        "whether a path is as one of some patterns says: * ? [a-z] [!a-z] stand within a part, ** for any number of parts",
        ('glob("/usr/local/bin/x", "/usr/*/bin/*", "/opt/**")', True),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT),
        gives=Kinds.BOOLEAN,
        constants=(None, Constant("pattern", Glob)),
    ),
    "in_cidr": Function(
        _in_cidr,
        2,
        None,
        "whether an IP address is in one of some networks; a text that is no address is in none",
        ('in_cidr("10.1.2.3", "10.0.0.0/8", "fd00::/8")', True),
        takes=(_OPTIONAL_TEXT, Kinds.TEXT),
        gives=Kinds.BOOLEAN,
        constants=(None, Constant("network", _network)),
    ),
}
