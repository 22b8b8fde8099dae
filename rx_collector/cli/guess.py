"""What format some lines are in, found by trying those that there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rx_collector.config.options import INVALID, Scope
from rx_collector.errors import ParseError
from rx_collector.event import Origin
from rx_collector.parsers import FORMATS

__all__ = ["Guess", "guesses"]

_ENOUGH: Final = 0.9  # of the lines have to be records
_INTEGER: Final = re.compile(r"0|-?[1-9]\d{0,17}")
_NUMBER: Final = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d{1,17})?")
_NAME: Final = re.compile(r"[A-Za-z_%][\w%/().:#-]*")
_TITLE: Final = re.compile(r'"?[A-Za-z_%][\w %/().#-]*"?')
_WORD: Final = re.compile(r"\S+")
_WORDED: Final = re.compile(r"(?=.*[A-Za-z])[\w%][\w%/().:#-]*")
_MODE: Final = re.compile(r"[-bcdlnps]([-r][-w][-xsS]){2}[-r][-w][-xtT][.+@]?\s+\d+\s")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d")
_ORIGIN: Final = Origin("", "look", 1, None, 0)


@dataclass(frozen=True)
class Guess:
    """A format that fits: the options of `parse` (none: the lines stay texts), and a line with its record.

    `header` are the lines that have to come before that one, `parsed` counts the lines that are records.
    """

    options: Mapping[str, Any]
    header: Sequence[str]
    line: str
    record: Mapping[str, Any]
    parsed: int


def guesses(lines: Sequence[str]) -> Iterator[Guess]:
    """Give what fits some lines, the best first; the last is always that they are texts.

    >>> best = next(guesses(["PID COMMAND", "1 init", "42 sh"]))
    >>> best.options["format"], best.options["types"], best.record
    ('columns', {'PID': 'int'}, {'PID': 1, 'COMMAND': 'init'})
    """
    for candidate in _CANDIDATES:
        for options in candidate.options(lines):
            tried = _try(options, lines)
            if tried is None or not candidate.plausible(tried[1]):
                continue
            types = _types(tried[1]) if "types" in FORMATS[options["format"]].options() else {}
            if types:
                options = {**options, "types": types}
                tried = _try(options, lines)
                assert tried is not None
            number, records = tried
            yield Guess(options, lines[: options.get("header", 0)], lines[number], records[0], len(records))
            break
    shown = next((line for line in lines if line.strip()), lines[0])
    yield Guess({}, (), shown, {"message": shown}, len(lines))


def _try(options: Mapping[str, Any], lines: Sequence[str]) -> tuple[int, list[dict[str, Any]]] | None:
    """Give the number of the first line that is a record, and all records; None when too few lines are."""
    scope = Scope()
    format_ = FORMATS[options["format"]].from_value({key: options[key] for key in options if key != "format"}, scope)
    if format_ is INVALID:
        return None
    parse = format_.parser()
    first = -1
    records: list[dict[str, Any]] = []
    wanted = 0
    for number, line in enumerate(lines):
        try:
            made = parse(line, _ORIGIN)
        except ParseError:
            wanted += 1
            continue
        if not made:
            continue
        wanted += 1
        records += made if isinstance(made, list) else [made]
        first = number if first < 0 else first
    return (first, records) if records and len(records) >= _ENOUGH * wanted else None


def _types(records: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Give the type of each field whose texts are all numbers."""
    types = {}
    for name in dict.fromkeys(name for record in records for name in record):
        texts = [record[name] for record in records if record.get(name) is not None]
        if texts and all(isinstance(text, str) and _NUMBER.fullmatch(text) for text in texts):
            types[name] = "int" if all(map(_INTEGER.fullmatch, texts)) else "float"
    return types


def _always(records: Sequence[Mapping[str, Any]]) -> bool:
    return True


def _has_numbers(records: Sequence[Mapping[str, Any]]) -> bool:
    """Prose has words in columns, too; a table has numbers."""
    return bool(_types(records))


def _has_figures(records: Sequence[Mapping[str, Any]]) -> bool:
    """The same with a unit behind the numbers: 5% or 12G."""
    shared = set(records[0]).intersection(*records)
    return any(all(re.match(r"\d", record[name] or "") for record in records) for name in shared)


def _has_pairs(records: Sequence[Mapping[str, Any]]) -> bool:
    """Any word is a key without a value; most have to have one, and names to be names."""
    pairs = [(key, value) for record in records for key, value in record.items()]
    named = sum(value is not True and _NAME.fullmatch(key) is not None for key, value in pairs)
    return named >= _ENOUGH * len(pairs) and named >= 2 * len(records)


@dataclass(frozen=True)
class _Candidate:
    options: Callable[[Sequence[str]], Iterator[dict[str, Any]]]
    plausible: Callable[[Sequence[Mapping[str, Any]]], bool] = field(default=_always)


def _json(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield {"format": "json"}
    if any(line.lstrip().startswith("{") for line in lines):
        yield {"format": "json", "skip_noise": True}


def _strace(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    if any(re.search(r"\w\(.*\) += ", line) for line in lines):
        yield {"format": "strace"}


def _bpftrace(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    if any(re.match(r"@\w*(\[|: )", line) for line in lines):
        yield {"format": "bpftrace"}


def _syslog(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield {"format": "syslog"}


def _separated(name: str, separator: str) -> Callable[[Sequence[str]], Iterator[dict[str, Any]]]:
    def options(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
        names = lines[0].split(separator)
        if len(lines) > 1 and len(names) > 1 and len(set(names)) == len(names) and all(map(_TITLE.fullmatch, names)):
            yield {"format": name, "header": True}

    return options


def _columns(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for height in (1, 2):
        names = lines[height - 1].split() if len(lines) > height else []
        if height == 2 and "--" not in lines[0]:
            break  # a line above the names groups them; without its rules it is prose
        if len(names) > 1 and len(set(names)) == len(names) and all(map(_NAME.fullmatch, names)):
            yield {"format": "columns", "header": height}
            yield {"format": "columns", "header": height, "rest": True}


def _columns_aligned(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A header of more words than the lines have: some names have two, as ``Mounted on`` and ``Local Address:Port``."""
    names = _aligned_names(lines[0], [line for line in lines[1:] if line.strip()])
    if len(names) > 1 and len(set(names)) == len(names) and all(map(_WORDED.fullmatch, names)):
        yield {"format": "columns", "header": 1, "columns": names, "rest": True}


def _aligned_names(header: str, lines: Sequence[str]) -> list[str]:
    """Put each word of a header above the column of the lines that it overlaps most, or that is nearest.

    >>> _aligned_names("Used Use% Mounted on", ["   1   5% /dev", "  20  50% /run/lock"])
    ['Used', 'Use%', 'Mounted_on']
    """
    rows = [[match.span() for match in _WORD.finditer(line)] for line in lines]
    words = [(match[0], *match.span()) for match in _WORD.finditer(header)]
    count = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    if not 1 < count < len(words):
        return []
    rows = [row for row in rows if len(row) == count]
    spans = [(min(row[n][0] for row in rows), max(row[n][1] for row in rows)) for n in range(count)]
    above: list[list[str]] = [[] for _ in range(count)]
    beyond: list[str] = []  # a last column in which most lines have nothing
    least = 0
    for word, begin, end in words:
        if begin > spans[-1][1] and not word.islower():
            beyond.append(word)
            continue
        overlaps = [min(end, until) - max(begin, since) for since, until in spans[least:]]
        least += max(range(len(overlaps)), key=lambda n: (overlaps[n], n))
        above[least].append(word)
    if beyond:
        above.append(beyond)
    single = sum(len(some) == 1 for some in above)
    return ["_".join(some) for some in above] if all(above) and 2 * single > len(above) else []


def _listing(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What ``ls -l`` prints has no names, and names of files have blanks."""
    files = [line.split() for line in lines if _MODE.match(line)]
    if not files or len(files) < _ENOUGH * len(lines[1:]) or min(map(len, files)) < 8:
        return
    begun = {"header": 1} if lines[0].startswith("total ") else {}
    when = ["date", "time"] if all(map(_DATE.match, (file[5] for file in files))) else ["month", "day", "time"]
    names = ["mode", "links", "owner", "group", "size", *when, "name"]
    yield {"format": "columns", **begun, "columns": names, "rest": True}


def _columns_without_header(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    widths = {len(line.split()) for line in lines}
    if len(widths) == 1 and (width := widths.pop()) > 1:
        yield {"format": "columns", "columns": [f"column_{number}" for number in range(1, width + 1)]}


def _logfmt(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    yield {"format": "logfmt"}


def _key_value(lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for pair in (", ", ",", ";", None):
        for value in ("=", ": ", ":"):
            if all(value in line and (pair is None or pair in line) for line in lines if line.strip()):
                separators = {"value_separator": value} | ({"pair_separator": pair} if pair is not None else {})
                yield {"format": "key_value", **separators}


#: From the format that the fewest other lines would fit, to the one that nearly all do.
_CANDIDATES: Final = (
    _Candidate(_json),
    _Candidate(_strace),
    _Candidate(_bpftrace),
    _Candidate(_syslog),
    _Candidate(_logfmt, _has_pairs),
    _Candidate(_separated("tsv", "\t")),
    _Candidate(_separated("csv", ",")),
    _Candidate(_listing, _has_numbers),
    _Candidate(_columns_aligned, _has_figures),
    _Candidate(_columns, _has_numbers),
    _Candidate(_key_value, _has_pairs),
    _Candidate(_columns_without_header, _has_numbers),
)
