"""enrich: add what a table knows of an event."""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from loguru import logger

from rx_collector.config.document import parse_document
from rx_collector.config.options import COUNT, PATH, TEXT, Choice, ListOf, Scope, described, option
from rx_collector.errors import ConfigError, OutputError
from rx_collector.expressions.keys import canonical
from rx_collector.expressions.option import KEY, Evaluation
from rx_collector.stream.operator import Stage, operator

if TYPE_CHECKING:
    from rx_collector.stream.code import SegmentCode

__all__ = ["Enrich"]

_LOOK_EVERY = 1.0  # seconds between two looks at whether the file has changed
_Rows = dict[str, dict[str, Any]]


@operator(
    "enrich",
    summary="Add the fields of a row of a table.",
    example="enrich: {table: users.csv, on: uid, prefix: user_}",
)
@described
class Enrich(Stage):
    """Add to an event the fields of the row of a table whose key it has.

    The table is a file: ``.csv`` or ``.tsv`` with a header, ``.json`` or ``.yaml`` with a list of objects, or with a mapping
    of keys to objects. Keys are compared as texts, so that 7 finds "7". It is read before the first event, and again when
    it has changed, looked at once a second at the most; one that cannot be read any more is told of, and the old one
    stays. An event without a row passes as it is, or is filtered or rejected as `missing` says.

    >>> import pathlib, tempfile
    >>> import rx_collector as rx
    >>> from rx_collector import operators as op
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     table = pathlib.Path(directory, "users.csv")
    ...     _ = table.write_text("uid,name\\n0,root\\n")
    ...     rx.runner("echo", "0").pipe(op.enrich(table, "message", prefix="user_")).run().data
    {'message': '0', 'user_name': 'root'}

    Runs on the thread that brings the event; it blocks while it reads the table. Raises ConfigError for one that cannot be
    read.
    """

    in_groups: ClassVar[bool] = False

    table: str = option(PATH, "The file.", example="users.csv")
    on: Evaluation = option(KEY, "What is looked for.", example="uid")
    key: str | None = option(TEXT, "The column that has it; the first one unless said.", None)
    fields: Sequence[str] | None = option(
        ListOf(TEXT, single=True, least=1), "The columns that are added; all but the key unless said.", None
    )
    prefix: str = option(TEXT, "What stands before their names.", "")
    missing: str = option(Choice("pass", "drop", "reject"), "What becomes of an event without a row.", "pass")
    size: int = option(COUNT, "How many rows a table may have.", 1_000_000)

    def check(self, scope: Scope) -> None:
        try:
            read_table(self)
        except OutputError as error:
            scope.child("table").wrong(str(error))

    def emit(self, code: SegmentCode, following: Sequence[Stage]) -> None:
        table = code.state(lambda: _Table(self), "table")
        rows, row = code.temporary(), code.temporary()
        code.prologue.append(f"{rows} = {table}.rows()")
        key = code.bind(_key, "key_of")
        code.write(f"{row} = {rows}.get({key}({code.value(self.on)}))")
        if self.missing != "pass":
            code.write(f"if {row} is None:")
            code.indent()
            if self.missing == "drop":
                code.lose()
            else:
                code.write(f"raise {code.bind(LookupError, 'LookupError')}('the table has no such row')")
            code.dedent()
        code.own()
        code.write(f"if {row} is not None: data.update({row})")


class _Table:
    """The rows of a table as it is now."""

    def __init__(self, spec: Enrich) -> None:
        self._spec = spec
        self._looked = 0.0
        self._seen: tuple[int, int, int] | None = None
        self._rows: _Rows = {}

    def rows(self) -> _Rows:
        now = time.monotonic()
        if self._seen is not None and now - self._looked < _LOOK_EVERY:
            return self._rows
        self._looked = now
        try:
            status = os.stat(self._spec.table)
            state = (status.st_ino, status.st_mtime_ns, status.st_size)
            if state == self._seen:
                return self._rows
            first, self._seen = self._seen is None, state
            self._rows = read_table(self._spec)
            if not first:
                logger.info("{}: read again, {:,} rows", self._spec.table, len(self._rows))
        except (OSError, OutputError) as error:
            if self._seen is None:
                raise OutputError(f"cannot read {self._spec.table}: {error}") from None
            logger.warning("{}; the rows read before are used", error)
        return self._rows


def _key(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return canonical(value).decode()


def read_table(spec: Enrich) -> _Rows:
    """Read a table. Raises OutputError, in one line, for one that is none."""
    path = spec.table
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            suffix = os.path.splitext(path)[1].lower()
            if suffix in (".csv", ".tsv"):
                records = _of_columns(spec, csv.reader(file, delimiter="\t" if suffix == ".tsv" else ",", strict=True))
            elif suffix == ".json":
                records = _of_values(spec, json.load(file))
            elif suffix in (".yaml", ".yml"):
                records = _of_values(spec, _yaml(file.read(), path))
            else:
                raise OutputError(f"{path}: a table is a .csv, .tsv, .json or .yaml file")
    except OSError as error:
        raise OutputError(f"cannot read {path}: {os.strerror(error.errno or 0).lower()}") from None
    except (ValueError, csv.Error, RecursionError) as error:
        raise OutputError(f"{path} is no table: {str(error).splitlines()[0]}") from None
    except ConfigError as error:
        raise OutputError(f"{path} is no table: {error.mistakes[0].message}") from None
    rows: _Rows = {}
    for key, record in records:
        if len(rows) >= spec.size:
            raise OutputError(f"{path} has more than {spec.size:,} rows")
        chosen = record if spec.fields is None else {name: record.get(name) for name in spec.fields}
        rows[key] = {f"{spec.prefix}{name}": value for name, value in chosen.items()}
    return rows


def _of_columns(spec: Enrich, reader: Any) -> list[tuple[str, dict[str, Any]]]:
    names = next(reader, None)
    if not names:
        raise OutputError(f"{spec.table} is empty; a header with the names of the columns is wanted")
    key = spec.key or names[0]
    _check_names(spec, names, key)
    made = []
    for number, row in enumerate(reader, 2):
        if not row:
            continue
        if len(row) != len(names):
            raise OutputError(f"{spec.table}, row {number}: {len(row)} values for {len(names)} columns")
        record = dict(zip(names, row, strict=True))
        made.append((record.pop(key), record))
    return made


def _yaml(text: str, path: str) -> Any:
    document = parse_document(text, path, {})
    if not document.mistakes:
        return document.value
    # A document has a mapping at the top; a list becomes the value of one.
    whole = parse_document("rows:\n" + text, path, {})
    if whole.mistakes:
        raise ConfigError(document.mistakes)
    return whole.value["rows"]


def _check_names(spec: Enrich, names: Sequence[str], key: str) -> None:
    for name in (key, *(spec.fields or ())):
        if name not in names:
            raise OutputError(f"{spec.table} has no column {name!r}; it has {', '.join(names)}")


def _of_values(spec: Enrich, value: Any) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(value, Mapping):
        records = []
        for key, record in value.items():
            if not isinstance(record, Mapping):
                raise OutputError(f"{spec.table}: under the key {key!r} an object is wanted")
            records.append((str(key), dict(record)))
        return records
    if not isinstance(value, list):
        raise OutputError(f"{spec.table}: a list of objects is wanted, or a mapping of keys to objects")
    made = []
    for number, record in enumerate(value, 1):
        if not isinstance(record, Mapping) or not record:
            raise OutputError(f"{spec.table}, entry {number}: an object is wanted")
        fields = dict(record)
        name = spec.key or next(iter(fields))
        key = _key(fields.pop(name, None))
        if key is None:
            raise OutputError(f"{spec.table}, entry {number}: it has no {name!r}")
        made.append((key, fields))
    return made
