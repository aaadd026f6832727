"""A history file is opened: found good, made, brought to the newest schema, or refused.

Rules:

- A file of a later version, and a database of another program, are refused and not touched. A damaged one is put aside
  under another name, ``FILE.corrupt-TIME``, with what SQLite has beside it; nothing is ever overwritten.
- The upgrades are the files of ``sql/``, by their numbers; ``user_version`` is the last that was applied. All of them
  are one transaction. Before it, a file that has content is copied to ``FILE.before-N``, N being the version it goes
  to.
- Several servers may open one file at a time: what another has done meanwhile is seen, and not done again.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.resources import files
from typing import Final

from attrs import frozen

from ctrlserver.errors import HistoryError
from ctrlserver.history.shared import Shared
from ctrlserver.words import printable

APPLICATION: Final = 0x6374726C
"""``ctrl``: whose file it is, in the header of the database."""

OPENING_SECONDS: Final = 0.25
"""For so long an opening waits for another program that has the file locked: a server starts meanwhile."""

_USED = (
    "SELECT daemon, state, name, began, listeners, labels, record FROM runs ORDER BY run DESC LIMIT 1",
    "SELECT 1 FROM runs ORDER BY began DESC LIMIT 1",
    "SELECT version, host, pid, began, seen, totals, heir FROM daemons WHERE NOT ended",
    "SELECT stored, document FROM results LIMIT 0",
)
"""What a good file gives."""

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_OF_ITS_SCHEMA = re.compile(r"no such |malformed database |unsupported file format|table \w+ has no column ")
_FULL = "the disk is full"
_LONGEST = 200
_BESIDE = ("-wal", "-shm")


class Damaged(HistoryError):
    """The file is no good, and may be put aside."""


@frozen
class Upgrade:
    """What brings a file to version ``number``."""

    number: int
    sql: str


def packaged() -> list[Upgrade]:
    """The upgrades of this version, in order."""
    found = [each for each in files("ctrlserver.history").joinpath("sql").iterdir() if each.name.endswith(".sql")]
    return sorted(
        (Upgrade(int(each.name[:4]), each.read_text("utf-8")) for each in found), key=lambda each: each.number
    )


def connect(path: str, seconds: float, *, reading: bool = False) -> sqlite3.Connection:
    """A connection for any thread, one at a time; each statement is its own transaction unless one is begun."""
    mode = "rw" if reading else "rwc"
    uri = f"file:{path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    found = sqlite3.connect(uri, uri=True, timeout=seconds, isolation_level=None, check_same_thread=False)
    found.text_factory = lambda text: text.decode(errors="replace")  # bytes that are no text are of one row alone
    if reading:
        found.execute("PRAGMA query_only = 1")
    return found


def opened(path: str, upgrades: Sequence[Upgrade], seconds: float = OPENING_SECONDS) -> sqlite3.Connection:
    """The file, ready to be written; ``Damaged`` or ``HistoryError`` where it cannot be had."""
    with told(path):
        connection = connect(path, seconds)
        try:
            _prepare(connection, path, upgrades)
            connection.execute("PRAGMA synchronous = NORMAL")
            for used in _USED:
                connection.execute(used).fetchone()
        except BaseException:
            connection.close()
            raise
        return connection


def opened_to_read(path: str, seconds: float) -> sqlite3.Connection:
    """The file, which nothing changes; ``HistoryError`` where it is no history, or one of a later version."""
    with told(path):
        os.stat(path)  # SQLite would not say that there is no file
        connection = connect(path, seconds, reading=True)
        try:
            newest = packaged()[-1].number
            if not _version(connection, path, newest):
                raise HistoryError(f"{path} is no history")
        except BaseException:
            connection.close()
            raise
        return connection


def _prepare(connection: sqlite3.Connection, path: str, upgrades: Sequence[Upgrade]) -> None:
    newest = upgrades[-1].number
    version = _version(connection, path, newest)
    if version == newest:
        return
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL")
    if version:
        _copy(connection, f"{path}.before-{newest}")
    with transaction(connection):
        version = _version(connection, path, newest)
        for upgrade in upgrades:
            if upgrade.number > version:
                for statement in _statements(upgrade.sql):
                    connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {newest}")


def _version(connection: sqlite3.Connection, path: str, newest: int) -> int:
    """The schema of the file, 0 for an empty one; ``HistoryError`` for one of others."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (tables or application or version):
        raise HistoryError(f"{path} is a database of another program")
    if version > newest:
        raise HistoryError(f"{path} is of a later version: it has schema {version}, and {newest} is known here")
    if application == APPLICATION and not tables:
        raise Damaged(f"{path} has lost its tables")
    return int(version)


def _statements(sql: str) -> Iterator[str]:
    statement = ""
    for line in sql.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _copy(connection: sqlite3.Connection, path: str) -> None:
    """The whole file as it is now, under a name that appears once it is whole; one that is there already stays."""
    if os.path.exists(path):
        return
    part = f"{path}.part-{os.getpid()}"
    try:
        with closing(sqlite3.connect(part)) as copy:
            connection.backup(copy)
        os.rename(part, path)
    finally:
        with suppress(OSError):
            os.unlink(part)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


@contextmanager
def told(path: str) -> Iterator[None]:
    """What SQLite and the system say of the file, as an error of ours, in one line.

    Beware: SQLite quotes a damaged schema, in several lines and with bytes that are no text.
    """
    try:
        yield
    except UnicodeDecodeError:
        raise Damaged(f"{path} is damaged: not UTF-8 text") from None
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        says = printable(" ".join(str(error).split()))[:_LONGEST]
        if code in _DAMAGED or (code == sqlite3.SQLITE_ERROR and _OF_ITS_SCHEMA.match(says)):
            raise Damaged(f"{path} is damaged: {says}") from None
        full = code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path))
        raise HistoryError(f"{path}: {_FULL if full else says}") from None
    except OSError as error:
        raise HistoryError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _is_full(path: str) -> bool:
    with suppress(OSError):
        there = os.statvfs(os.path.dirname(path) or ".")
        return not there.f_bavail
    return False


def put_aside(path: str, time: str, shared: Shared, upgrades: Sequence[Upgrade]) -> str | None:
    """Rename a damaged file; its new name, or None where it is good after all: another server has made a new one.

    ``time`` stands in the name. ``HistoryError`` where that cannot be done.
    """
    with told(path), shared.alone():
        try:
            whole = opened(path, upgrades)
        except Damaged:
            pass
        else:
            with closing(whole):
                if _is_whole(whole):
                    return None
        aside = _free_name(f"{path}.corrupt-{time}")
        os.rename(path, aside)
        for end in _BESIDE:
            with suppress(FileNotFoundError):
                os.rename(f"{path}{end}", f"{aside}{end}")
        return aside


def _is_whole(connection: sqlite3.Connection) -> bool:
    try:
        return bool(connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",))
    except UnicodeDecodeError:
        return False
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            return False
        raise


def _free_name(name: str) -> str:
    tried, number = name, 1
    while os.path.lexists(tried):
        number += 1
        tried = f"{name}-{number}"
    return tried
