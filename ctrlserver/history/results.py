"""Result documents of ctrlload in a history file, the newest of which are ``last``, ``last~1`` and so on.

Rules: a file that is no good is an error and stays as it is: the one who measures has named it.
"""

from __future__ import annotations

import os
import re
from contextlib import closing

from ctrlserver.errors import HistoryError
from ctrlserver.history.opening import connect, opened, packaged, told, transaction

_BUSY_SECONDS = 10.0
_REFERENCE = re.compile(r"(?s)(?P<path>.+):(?:last(?:~(?P<back>[0-9]{1,9}))?|(?P<number>[0-9]{1,18}))")


def keep_result(path: str, document: str, stored: str) -> int:
    """Keep ``document``, as of the time ``stored``; its number. ``HistoryError`` where that cannot be done."""
    with closing(opened(path, packaged())) as connection, told(path):
        connection.execute(f"PRAGMA busy_timeout = {int(_BUSY_SECONDS * 1000)}")
        with transaction(connection):
            made = connection.execute("INSERT INTO results (stored, document) VALUES (?, ?)", (stored, document))
        assert made.lastrowid is not None
        return made.lastrowid


def is_reference(text: str) -> bool:
    """Whether ``text`` names a result in a history, ``FILE:last~1`` or ``FILE:7``, and not a file of that name."""
    found = _REFERENCE.fullmatch(text)
    return found is not None and not os.path.exists(text) and os.path.isfile(found["path"])


def result_at(reference: str, most: int) -> bytes:
    """The document at such a reference, cut behind ``most`` bytes; ``HistoryError`` where there is none."""
    found = _REFERENCE.fullmatch(reference)
    assert found is not None
    path, number = found["path"], found["number"]
    with told(path), closing(connect(path, _BUSY_SECONDS, reading=True)) as connection:
        (kept,) = connection.execute("SELECT count(*) FROM results").fetchone()
        which, value = (
            ("result = ?", int(number))
            if number
            else ("1 ORDER BY result DESC LIMIT 1 OFFSET ?", int(found["back"] or 0))
        )
        row = connection.execute(
            f"SELECT CAST(substr(CAST(document AS BLOB), 1, ?) AS BLOB) FROM results WHERE {which}", (most, value)
        ).fetchone()
    if row is None:
        raise HistoryError(f"{path} has {kept} results and none at {reference.removeprefix(f'{path}:')}")
    return bytes(row[0])
