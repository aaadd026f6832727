"""A table that is too wide for a terminal is cut to the columns that matter. PURE.

Rules: of a table's lines, the header with its ``# `` first, whole columns are left out, those that matter least first.
A column of texts may be cut instead, and ends with an ellipsis. What is no table stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

#: What a person looks for first, in this order; all other columns come after these, from the left.
_MATTER = (
    *("server", "field", "total", "name", "stream", "packets", "listener", "peer", "state", "bytes", "streams", "run"),
    *("packets_per_second", "bits_per_second", "streams_open", "packets_total", "ready", "live", "reason", "complete"),
    *("command", "usage", "help", "record", "kind", "unit", "endpoint", "address", "seconds", "time"),
)

_CELL = re.compile(r'(?:^# )?(?:"(?:[^"\\]|\\.)*"|\S+)')
_GAP = "  "

#: A text is cut to no fewer columns.
_SHORTEST = 16


def fitted(lines: Sequence[str], width: int) -> tuple[list[str], list[str]]:
    """The lines in ``width`` columns, and the names of the columns that are left out."""
    if not lines or not lines[0].startswith("# ") or max(map(len, lines)) <= width:
        return list(lines), []
    rows = [_CELL.findall(line) for line in lines]
    if len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows):
        return list(lines), []
    names = [rows[0][0].removeprefix("# "), *rows[0][1:]]
    columns = list(zip(*rows, strict=True))
    kept = _chosen(names, columns, width)
    shown = [_padded(columns[at], size) for at, size in sorted(kept.items())]
    left_out = [name for at, name in enumerate(names) if at not in kept]
    return [_GAP.join(row).rstrip() for row in zip(*shown, strict=True)], left_out


def aligned(lines: Sequence[str]) -> list[str]:
    """The same table with all columns but the first one to the right, as numbers are read."""
    rows = [_CELL.findall(line) for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust, *[str.rjust] * len(widths)]
    return [
        _GAP.join(pad(cell, size) for pad, cell, size in zip(pads, row, widths, strict=False)).rstrip() for row in rows
    ]


def padded(lines: Sequence[str], widths: dict[str, int], names: Sequence[str]) -> list[str]:
    """The same table with columns at least as wide as ``widths``, which grow by it."""
    rows = [_CELL.findall(line) for line in lines]
    for name, column in zip(names, zip(*rows, strict=True), strict=True):
        widths[name] = max(widths.get(name, 0), *map(len, column))
    shown = [_padded(column, widths[name]) for name, column in zip(names, zip(*rows, strict=True), strict=True)]
    return [_GAP.join(row).rstrip() for row in zip(*shown, strict=True)]


def _chosen(names: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The places of the columns that stay, and their widths. The first one always stays."""
    ranked = sorted(range(len(names)), key=lambda at: (_MATTER.index(names[at]) if names[at] in _MATTER else 99, at))
    kept: dict[int, int] = {}
    texts: list[int] = []
    room = width
    for at in [0, *(at for at in ranked if at)]:
        need = max(map(len, columns[at])) + (len(_GAP) if kept else 0)
        if not kept:
            kept[at] = min(need, width)
            room -= kept[at]
        elif need <= room - (_SHORTEST + len(_GAP) if texts else 0):
            kept[at] = need - len(_GAP)
            room -= need
        elif _is_text(columns[at]):
            texts.append(at)
    for at in texts[:1]:
        if room >= _SHORTEST + len(_GAP):
            kept[at] = min(room - len(_GAP), max(map(len, columns[at])))
    return kept


def _is_text(column: Sequence[str]) -> bool:
    return any(cell.startswith('"') for cell in column[1:])


def _padded(column: Sequence[str], width: int) -> list[str]:
    cells = [cell if len(cell) <= width else f"{cell[: width - 1]}…" for cell in column]
    number = all(re.fullmatch(r"-|-?\d+(\.\d+)?", cell) for cell in column[1:]) and not column[0].startswith("# ")
    return [cell.rjust(width) if number else cell.ljust(width) for cell in cells]
