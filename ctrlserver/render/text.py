"""Records as lines of text for people and shell scripts.

Rules: one record is ``name value`` lines; a list is a header line that starts with ``# `` and aligned columns under
it. What is not known is ``-``; a flag is ``true`` or ``false``; a text is written as it is where that is one plain
word, and else as a JSON string. So a cell never breaks a line, and no line starts with ``OK`` or ``ERR``: a reader may
stop at the status line without knowing the command.

Beware: a quoted cell may hold spaces, and the text ``12`` looks like the number; who needs every value exactly asks
for JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from ctrlserver.stats.records import Value

_NOT_KNOWN = "-"
_GAP = "  "
_NOT_PLAIN = frozenset(" \"'")
_STATUS_WORDS = ("OK", "ERR")


def record_lines(mapping: Mapping[str, Value]) -> list[str]:
    """One line for each field."""
    return [f"{_opening(_word(name))} {_cell(value)}" for name, value in mapping.items()]


def table_lines(mappings: Iterable[Mapping[str, Value]]) -> list[str]:
    """A header and one line for each record; nothing at all for no records.

    The columns are the union of the names, in the order in which they come. Numbers stand to the right, except in the
    first column, so that a line starts with its first cell.
    """
    rows = list(mappings)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not names:
        return []
    columns = [_column(name, [row.get(name) for row in rows], first=i == 0) for i, name in enumerate(names)]
    return [_GAP.join(cells).rstrip() for cells in zip(*columns, strict=True)]


def _column(name: str, values: Sequence[Value], *, first: bool) -> list[str]:
    cells = [_cell(value) for value in values]
    cells = [f"# {_word(name)}", *map(_opening, cells)] if first else [_word(name), *cells]
    width = max(map(len, cells))
    known = [value for value in values if value is not None]
    if known and not first and all(map(_is_number, known)):
        return [cell.rjust(width) for cell in cells]
    return [cell.ljust(width) for cell in cells]


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Value) -> str:
    if value is None:
        return _NOT_KNOWN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _decimal(value)
    if isinstance(value, int):
        return str(value)
    return _word(value)


def _decimal(value: float) -> str:
    """Without an exponent; ``-`` where it is not a number."""
    if not isfinite(value):
        return _NOT_KNOWN
    text = repr(value)
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")


def _word(text: str) -> str:
    """As it is where that cannot be mistaken for anything else."""
    plain = text.isprintable() and not _NOT_PLAIN.intersection(text) and not text.startswith("#")
    return text if text and plain and text != _NOT_KNOWN else json.dumps(text)


def _opening(cell: str) -> str:
    """The start of a line, in quotes where it would look like a status line."""
    return json.dumps(cell) if cell.startswith(_STATUS_WORDS) else cell
