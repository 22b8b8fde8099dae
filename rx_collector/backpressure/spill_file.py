"""The file that events spill to: rows of events in SQLite, in WAL mode, checksummed, bounded, used by one process.

A row is written in one transaction, so after a SIGKILL at any moment it is there or it is not. What is lost when the
machine itself fails is the last moments (``synchronous=NORMAL``), never the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rx_collector.backpressure.records import decode, encode
from rx_collector.errors import OutputError
from rx_collector.event import Event
from rx_collector.log import logger

__all__ = ["LEAST_BYTES", "SPACING", "STEP", "Damaged", "NoRoom", "Row", "SpillFile"]

_APPLICATION: Final = 0x52785370  # "RxSp"
_VERSION: Final = 1
_PAGE: Final = 16_384
#: Between the numbers of two rows, so that rows can be put between them later.
STEP: Final = 1 << 28
#: Between the numbers of rows that are put between others, so that each of them can be split.
SPACING: Final = 1 << 14
#: The least `max_bytes` with which the bookkeeping of SQLite is not most of it.
LEAST_BYTES: Final = 1 << 20
_MOST_WAL: Final = 16 << 20
_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)  # the last: no such table
_SUFFIXES: Final = ("", "-wal", "-shm", "-journal")


class NoRoom(Exception):
    """A row could not be written. `bounded` tells that `max_bytes` is why, and not the disk."""

    def __init__(self, message: str, *, bounded: bool) -> None:
        super().__init__(message)
        self.bounded = bounded


class Damaged(Exception):
    """The file cannot be read as what it was written as."""


@dataclass(frozen=True, slots=True)
class Row:
    """Some events; None where they cannot be read any more, and then only `count` is known."""

    number: int
    count: int
    at: float
    events: list[Event] | None


class SpillFile:
    """Rows of events by number. For one thread at a time. Raises OutputError when it cannot be opened.

    A file that is damaged is set aside as ``path.damaged-N``, whole, and the rows that can be read go into a new one.
    """

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path
        self.damaged = 0  # events of rows that were found damaged when the file was opened, as far as that is known
        reserve = min(max(max_bytes // 4, LEAST_BYTES // 4), _MOST_WAL)
        self._most_pages = max(8, (max_bytes - reserve) // _PAGE)
        self._wal_pages = max(4, reserve // 2 // _PAGE)
        #: The most bytes in one row, so that one transaction does not outgrow what is reserved for the log.
        self.row_bytes = reserve // 4
        try:
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        except FileExistsError:
            raise OutputError(f"cannot spill to {path}: a part of its path is not a directory") from None
        except OSError as error:
            raise OutputError(f"cannot spill to {path}: {os.strerror(error.errno or 0).lower()}") from None
        # Not by opening it: closing a descriptor would give up the locks that this process has on the file.
        if os.path.exists(path) and not os.access(path, os.W_OK):
            read_only = os.statvfs(path).f_flag & os.ST_RDONLY
            raise OutputError(
                f"cannot spill to {path}: {'read-only file system' if read_only else 'permission denied'}"
            )
        try:
            self._connection = self._open(path)
            self._check()
        except sqlite3.Error as error:
            if _code(error) not in _DAMAGE:
                self._quietly_close()
                raise OutputError(f"cannot spill to {path}: {_why(error)}") from None
            self.salvage(str(error))
        self._inode = os.stat(path).st_ino

    # Opening and mending

    def _open(self, path: str) -> sqlite3.Connection:
        self._connection = connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=16
        )
        execute = connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        (application,) = execute("PRAGMA application_id").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        if tables and application != _APPLICATION:
            connection.close()
            raise OutputError(f"cannot spill to {path}: it is a database of something else")
        if version > _VERSION:
            connection.close()
            raise OutputError(f"cannot spill to {path}: a newer version of rx_collector wrote it")
        if not tables:
            execute(f"PRAGMA page_size={_PAGE}")
        execute("BEGIN EXCLUSIVE")  # the lock is kept from here to the end
        execute("COMMIT")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=NORMAL")
        execute(f"PRAGMA wal_autocheckpoint={self._wal_pages}")
        execute(f"PRAGMA journal_size_limit={self._wal_pages * _PAGE}")
        execute("PRAGMA cache_size=-4096")
        execute(f"PRAGMA max_page_count={self._most_pages}")
        if not tables:
            execute("BEGIN")
            execute(f"PRAGMA application_id={_APPLICATION}")
            execute(f"PRAGMA user_version={_VERSION}")
            execute(
                "CREATE TABLE rows (number INTEGER PRIMARY KEY, count INTEGER NOT NULL, at REAL NOT NULL, "
                "checksum INTEGER NOT NULL, body BLOB NOT NULL)"
            )
            execute("COMMIT")
        return connection

    def _check(self) -> None:
        """Walk over all rows, without their bodies. Raises sqlite3.Error where the tree is broken."""
        self._connection.execute("SELECT total(count + length(body)) FROM rows").fetchone()

    def salvage(self, why: str) -> None:
        """Set the file aside and carry what can be read of it into a new one. Raises OutputError when that fails."""
        self._quietly_close()
        aside = self._set_aside()
        saved, lost = 0, 0
        try:
            self._connection = self._open(self.path)
            for row in _readable(aside):
                if row.events is None:
                    lost += row.count
                else:
                    self.insert(row.number, row.events, row.at)
                    saved += row.count
        except (sqlite3.Error, NoRoom) as error:
            raise OutputError(f"cannot spill to {self.path}: {error}") from None
        self.damaged += lost
        self._inode = os.stat(self.path).st_ino
        logger.error(
            "{} was damaged ({}): {} events were saved from it, {}; it is kept as {}",
            self.path,
            why,
            saved,
            f"{lost} could not be read" if lost else "how many others it had cannot be told",
            aside,
        )

    def _set_aside(self) -> str:
        number = 1
        while os.path.lexists(f"{self.path}.damaged-{number}"):
            number += 1
        aside = f"{self.path}.damaged-{number}"
        try:
            for suffix in _SUFFIXES:
                if os.path.lexists(self.path + suffix):
                    os.rename(self.path + suffix, aside + suffix)
        except OSError as error:
            raise OutputError(
                f"cannot spill to {self.path}: it is damaged and cannot be set aside: {error.strerror}"
            ) from None
        return aside

    def _quietly_close(self) -> None:
        try:
            self._connection.close()
        except (sqlite3.Error, AttributeError):
            pass

    # Rows

    def counts(self) -> list[tuple[int, int]]:
        """Give number and count of every row, in order. Raises Damaged."""
        return self._reading("SELECT number, count FROM rows ORDER BY number")

    def largest(self) -> int:
        """Give the events of the largest row. Raises Damaged."""
        return int(self._reading("SELECT coalesce(max(count), 0) FROM rows")[0][0])

    def insert(self, number: int, events: list[Event], at: float | None = None) -> None:
        """Write a row. It is safe from the death of this process when this returns. Raises NoRoom."""
        body = encode(events)
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?)",
                (number, len(events), time.time() if at is None else at, _checksum(number, body), body),
            )
        except sqlite3.Error as error:
            raise self._no_room(error, len(body)) from None

    def read(self, after: int | None, most: int) -> list[Row]:
        """Give the rows that follow number `after`, as many as have `most` events or fewer, at least one. Raises Damaged."""
        rows: list[Row] = []
        count = 0
        while count < most:
            found = self._reading(
                "SELECT number, count, at, checksum, body FROM rows WHERE number > ? ORDER BY number LIMIT 1",
                after if after is not None else -(1 << 62),
            )
            if not found or (rows and count + found[0][1] > most):
                break
            rows.append(_row(*found[0]))
            count += rows[-1].count
            after = rows[-1].number
        return rows

    def _reading(self, statement: str, *values: int) -> list[tuple]:  # type: ignore[type-arg]
        try:
            # All of it: a statement that is not read to its end would keep the log from being begun anew.
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise Damaged(_why(error)) from None

    def delete(self, through: int) -> None:
        """Forget the rows up to a number. Raises NoRoom: forgetting needs a little room, too."""
        try:
            self._connection.execute("DELETE FROM rows WHERE number <= ?", (through,))
        except sqlite3.Error as error:
            raise self._no_room(error, 0) from None

    def delete_one(self, number: int) -> None:
        """Forget one row. Raises NoRoom."""
        try:
            self._connection.execute("DELETE FROM rows WHERE number = ?", (number,))
        except sqlite3.Error as error:
            raise self._no_room(error, 0) from None

    def _no_room(self, error: sqlite3.Error, size: int) -> NoRoom:
        bounded = False
        if _code(error) == sqlite3.SQLITE_FULL:
            try:
                (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
                (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
                bounded = (self._most_pages - pages + free) * _PAGE <= size + 4 * _PAGE
            except sqlite3.Error:
                pass
        return NoRoom(_why(error), bounded=bounded)

    @property
    def present(self) -> bool:
        """Whether the file is still there where it was, and not removed behind our back."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    def close(self, *, remove: bool = False) -> None:
        """Release it; with `remove`, take it away as well. Nothing is raised: what was written is safe."""
        try:
            if remove and self.present:
                os.unlink(self.path)  # while the lock is held, so that nobody else's file is taken away
        except OSError as error:
            logger.warning("{} is empty and cannot be removed: {}", self.path, error.strerror)
        self._quietly_close()
        if remove:
            for suffix in _SUFFIXES[1:]:
                try:
                    os.unlink(self.path + suffix)
                except OSError:
                    pass


def _row(number: int, count: int, at: float, checksum: int, body: bytes) -> Row:
    events: list[Event] | None = None
    if isinstance(body, bytes) and _checksum(number, body) == checksum:
        try:
            events = decode(body)
        except ValueError:
            pass
    if events is not None and len(events) == count:
        return Row(number, count, at, events)
    return Row(number, count if isinstance(count, int) and count > 0 else 0, at, None)


def _checksum(number: int, body: bytes) -> int:
    return zlib.crc32(body, number & 0xFFFFFFFF)


def _readable(path: str) -> Iterator[Row]:
    """Give whatever can be read of a damaged file: from the front to the damage, and what lies behind it."""
    columns = "SELECT number, count, at, checksum, body FROM rows"
    last = -(1 << 62)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        connection.execute("PRAGMA writable_schema=ON")  # or a file that is shorter than it says is not read at all
        try:
            for values in connection.execute(f"{columns} ORDER BY number"):
                last = values[0]
                yield _row(*values)
        except (sqlite3.Error, TypeError):
            pass
        behind: list[int] = []
        try:
            for (number,) in connection.execute("SELECT number FROM rows ORDER BY number DESC"):
                if number <= last:
                    break
                behind.append(number)
        except (sqlite3.Error, TypeError):
            pass
        for number in reversed(behind):
            try:
                yield _row(*connection.execute(f"{columns} WHERE number = ?", (number,)).fetchone())
            except (sqlite3.Error, TypeError):
                continue
    finally:
        connection.close()


def _code(error: sqlite3.Error) -> int:
    """Give SQLite's primary result code, 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


_REASONS: Final = {
    sqlite3.SQLITE_BUSY: "another process uses it",
    sqlite3.SQLITE_LOCKED: "another process uses it",
    sqlite3.SQLITE_FULL: "no space left on device",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_IOERR: "input/output error",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}


def _why(error: sqlite3.Error) -> str:
    return _REASONS.get(_code(error), str(error))
