"""Records as lines of text for people and shell scripts.

Rules: a record is a line ``name value`` for each field. A list is a header line that starts with ``# ``, and aligned
columns under it. An unknown value is ``-``, a flag ``true`` or ``false``. A text of one plain word stands as it is, any
other text is a JSON string. So no cell breaks a line, and no line starts with ``OK`` or ``ERR``: a reader can find the
status line without knowing the command.

Beware: a quoted cell may hold spaces, and the text ``12`` looks like the number. A program that needs every value
exactly should ask for JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from math import isfinite
from typing import Final

from ctrlserver.stats.records import Value

_NOT_KNOWN = "-"
_GAP = "  "
_NOT_PLAIN = frozenset(" \"'")
_STATUS_WORDS = ("OK", "ERR")


def record_lines(mapping: Mapping[str, Value]) -> list[str]:
    """One line for each field."""
    return [f"{_opening(_word(name))} {_cell(value)}" for name, value in mapping.items()]


def cells(mapping: Mapping[str, Value]) -> list[str]:
    """The values of a row whose columns somebody else lays out."""
    return [_cell(value) for value in mapping.values()]


HELD: Final = 256
"""Rows of a table whose cells are held until the widths of the columns are known; more than a person reads."""


class TableText:
    """A header line and a line for each record, made row by row: ``add`` each record, then take the ``lines``.

    So the maker of a long table may do something else between two rows. Of more than ``HELD`` only the widths are held:
    the rows are made again for ``lines``, and a cell that has grown since makes its line longer. A row costs no memory.

    Without records there is no line. The columns
    are the union of all names, in the order of their first use. Numbers are aligned to the right, except in the first
    column, so that a line starts with its first cell.
    """

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._heads: list[str] = []
        self._widths: list[int] = []
        self._numbers: list[bool | None] = []  # whether all that is known of a column are numbers; None: nothing is
        self._rows: list[list[str]] = []
        self.count = 0

    def add(self, row: Mapping[str, Value]) -> None:
        """One more row."""
        cells = [_NOT_KNOWN] * len(self._heads)
        for name, value in row.items():
            place = self._places.get(name)
            if place is None:
                place = self._places[name] = len(self._heads)
                self._heads.append(_word(name) if place else f"# {_word(name)}")
                self._widths.append(len(self._heads[place]))
                self._numbers.append(None)
                cells.append(_NOT_KNOWN)
            if value is None:
                continue
            cell = _cell(value) if place else _opening(_cell(value))
            cells[place] = cell
            if len(cell) > self._widths[place]:
                self._widths[place] = len(cell)
            if self._numbers[place] is not False:
                self._numbers[place] = _is_number(value)
        self.count += 1
        if self.count <= HELD:
            self._rows.append(cells)

    def lines(self, again: Iterable[Mapping[str, Value]] = ()) -> Iterator[str]:
        """The header and a line for each row, ``again`` where they are too many; nothing if there is no column."""
        if not self._heads:
            return
        columns = [
            (str.rjust if number and place else str.ljust, width)
            for place, (number, width) in enumerate(zip(self._numbers, self._widths, strict=True))
        ]
        held = self._rows if self.count <= HELD else map(self._cells, again)
        for cells in chain([self._heads], held):
            cells += [_NOT_KNOWN] * (len(columns) - len(cells))
            padded = [pad(cell, width) for cell, (pad, width) in zip(cells, columns, strict=True)]
            yield _GAP.join(padded).rstrip()

    def _cells(self, row: Mapping[str, Value]) -> list[str]:
        cells = [_NOT_KNOWN] * len(self._heads)
        for name, value in row.items():
            place = self._places.get(name)
            if place is not None and value is not None:
                cells[place] = _cell(value) if place else _opening(_cell(value))
        return cells


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
    """Without an exponent; ``-`` for NaN and the infinities."""
    if not isfinite(value):
        return _NOT_KNOWN
    text = repr(value)
    return text if "e" not in text else f"{value:.6f}".rstrip("0").rstrip(".")


def _word(text: str) -> str:
    """As it is, unless that could be mistaken for something else; then in quotes."""
    plain = text.isprintable() and not _NOT_PLAIN.intersection(text) and not text.startswith("#")
    return text if text and plain and text != _NOT_KNOWN else json.dumps(text)


def _opening(cell: str) -> str:
    """The first cell of a line, in quotes if the line would look like a status line."""
    return json.dumps(cell) if cell.startswith(_STATUS_WORDS) else cell
