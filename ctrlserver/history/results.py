"""Result documents of ctrlload in a history file, the newest of which are ``last``, ``last~1`` and so on.

Rules: a file that is no good is an error and stays as it is: the one who measures has named it. The newest ``keep``
stay, and of those none from before ``since``.
"""

from __future__ import annotations

import os
import re
from contextlib import closing, suppress

from ctrlserver.errors import HistoryError
from ctrlserver.history.opening import opened, opened_to_read, packaged, told, transaction
from ctrlserver.words import counted, quoted

_BUSY_SECONDS = 10.0
_PLACE = re.compile(r"last(?:~(?P<back>[0-9]{1,18}))?|(?P<number>[0-9]{1,18})")


def check_history(path: str) -> None:
    """``HistoryError`` where the file is there and no result can be kept in it, as far as that shows."""
    with suppress(OSError):
        if os.path.getsize(path):
            opened_to_read(path, _BUSY_SECONDS).close()


def keep_result(path: str, document: str, stored: str, keep: int, since: str | None) -> int:
    """Keep ``document``, as of the time ``stored``; its number. ``HistoryError`` where that cannot be done."""
    with closing(opened(path, packaged(), _BUSY_SECONDS)) as connection, told(path), transaction(connection):
        made = connection.execute("INSERT INTO results (stored, document) VALUES (?, ?)", (stored, document))
        connection.execute(
            "DELETE FROM results WHERE stored < ?"
            " OR result <= (SELECT result FROM results ORDER BY result DESC LIMIT 1 OFFSET ?)",
            (since, keep),
        )
    assert made.lastrowid is not None
    return made.lastrowid


def reference_in(text: str) -> tuple[str, str] | None:
    """The file and the place in it that ``FILE:last~1`` or ``FILE:7`` names; None for the name of a file."""
    path, _, place = text.rpartition(":")
    return (path, place) if os.path.isfile(path) and not os.path.exists(text) else None


def result_at(path: str, place: str, most: int) -> bytes:
    """The document at that place, cut behind ``most`` bytes; ``HistoryError`` where there is none."""
    found = _PLACE.fullmatch(place)
    if found is None:
        expected = "last, last~1, last~2 and so on, or the number of a result"
        raise HistoryError(f"{path}: {quoted(place)}: expected {expected}; did you mean {quoted(_near(place))}?")
    number = found["number"]
    by, value = (
        ("WHERE result = ?", number) if number else ("ORDER BY result DESC LIMIT 1 OFFSET ?", found["back"] or 0)
    )
    with told(path), closing(opened_to_read(path, _BUSY_SECONDS)) as connection:
        kept, first, last = connection.execute("SELECT count(*), min(result), max(result) FROM results").fetchone()
        row = connection.execute(
            f"SELECT CAST(substr(CAST(document AS BLOB), 1, ?) AS BLOB) FROM results {by}", (most, int(value))
        ).fetchone()
    if row is None or row[0] is None:
        numbers = f", {first} to {last}" if kept else f"; ctrlload run --history {path} keeps one"
        raise HistoryError(f"{path}:{place}: there is none; {path} has {counted(kept, 'result')}{numbers}")
    return bytes(row[0])


def _near(place: str) -> str:
    if re.fullmatch(r"[0-9]{1,18}\D+", place):
        return re.sub(r"\D", "", place)
    back = re.search(r"[0-9]{1,18}", place)
    return f"last~{back[0]}" if back else "last"
