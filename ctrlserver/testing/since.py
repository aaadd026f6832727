"""What had been counted before a test: its records begin at 0, and its streams and runs at 1, on a server in use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ctrlserver.testing.record import Record


class Since:
    """``totals``: the stats record at the beginning; empty for a server that has just started.

    ``newest_run``: the number of the newest run then, where a server keeps runs over restarts.
    """

    def __init__(self, totals: Mapping[str, Any] | None = None, newest_run: int | None = None) -> None:
        self._totals = {name: value for name, value in (totals or {}).items() if name.endswith("_total")}
        self.streams: int = self._totals.get("streams_total", 0)
        self.runs: int = self._totals.get("runs_total", 0) if newest_run is None else newest_run

    def record(self, stats: Mapping[str, Any]) -> Record:
        """The stats record, counted from the beginning on."""
        return Record(
            {
                name: value - self._totals.get(name, 0) if name in self._totals else value
                for name, value in stats.items()
            }
        )

    def rows(self, rows: list[dict[str, Any]], number: str) -> list[Record]:
        """Streams or runs, whose number is the field ``number``: those that began since, the oldest first."""
        before = {"stream": self.streams, "run": self.runs}
        made = []
        for row in sorted(rows, key=lambda row: int(row[number])):
            if row[number] > before[number]:
                made.append(Record({name: self._shifted(value, before.get(name)) for name, value in row.items()}))
        return made

    @staticmethod
    def _shifted(value: Any, before: int | None) -> Any:
        return value - before if before is not None and isinstance(value, int) else value

    def condition(self, field: str, op: str, number: str) -> str:
        """A condition that is meant since then, as the server takes it."""
        if before := self._totals.get(field, 0):
            return f"{field}{op}{before + number_of(number):.15g}"
        head, _, rest = field.partition(".")
        at, _, name = rest.partition(".")
        if head == "stream" and at.isdecimal():
            return f"stream.{int(at) + self.streams}.{name}{op}{number}"
        return f"{field}{op}{number}"


def number_of(text: str) -> float:
    """The number of a condition, as the server reads it."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return float(text)
    except ValueError:
        from ctrlserver.units import parse_count

        return parse_count(text)
