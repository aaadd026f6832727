"""What servers answered, and how several answers are one table. PURE.

::

    records   # field          lab1  lab2  total        tables   # server  stream  peer ...
              packets_total      10    20     30                 lab1           1  ...

Rules: fields stand in the order in which the first server gives them. A total is the sum over all servers that
answered, for numbers that the servers describe as counters or gauges and not as times. A server that did not answer, or
said ERR, has no column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from ctrlserver.stats.records import Value

Row = Mapping[str, Value]


@frozen
class Answer:
    """What one server answered to one command.

    ``envelope`` is its reply in JSON, ``text`` that in text; without either it did not answer, and ``problem`` says
    why. ``summed``: the names of the fields that may be added to those of other servers.
    """

    server: str
    envelope: Mapping[str, object] | None = None
    text: str = ""
    problem: str = ""
    summed: frozenset[str] = frozenset()

    @property
    def wrong(self) -> str:
        """Why this is no good answer; empty where it is one."""
        if self.problem or self.envelope is None:
            return self.problem
        if self.envelope["ok"]:
            return ""
        error = self.envelope.get("error")
        return _error_words(error) if isinstance(error, Mapping) else f"ERR {_text(error)}"

    @property
    def good(self) -> bool:
        """Whether it answered, and not with ERR."""
        status = self.text.rstrip("\n").rpartition("\n")[2]
        return not self.wrong and not status.startswith("ERR")

    @property
    def cut(self) -> str:
        """``100 of 5231`` where the list has more rows."""
        rows, total = (self.envelope or {}).get("data"), (self.envelope or {}).get("total")
        if isinstance(rows, list) and isinstance(total, int) and total > len(rows):
            return f"{len(rows)} of {total}"
        return ""


def _error_words(error: Mapping[str, object]) -> str:
    words = (error.get("code"), error.get("id"), error.get("message"))
    return " ".join(["ERR", *(_text(word) for word in words if word is not None)])


def summed_of(described: object) -> frozenset[str]:
    """The names of fields that may be added up, of the rows of ``describe``."""
    rows = [row for row in described if isinstance(row, Mapping)] if isinstance(described, list) else []
    plain = {_text(row.get("name")) for row in rows if row.get("kind") in ("counter", "gauge")}
    times = {_text(row.get("name")) for row in rows if row.get("unit") == "seconds"}
    return frozenset(plain - times)


def is_record(answers: Sequence[Answer]) -> bool:
    """Whether what they gave is a record each, to be shown with a column each."""
    return any(answer.good and isinstance(_data(answer), Mapping) for answer in answers)


def table(answers: Sequence[Answer]) -> list[Row]:
    """The rows in which the good ``answers`` stand side by side."""
    good = [answer for answer in answers if answer.good]
    return list(_side_by_side(good) if is_record(good) else _one_below_the_other(good))


def totals(answers: Sequence[Answer]) -> dict[str, Value]:
    """The sums of the fields that may be added up, over the good ``answers``."""
    records = [(answer, fields_of(answer)) for answer in answers if answer.good]
    found: dict[str, Value] = {}
    for name in _names([fields for _, fields in records]):
        having = [(answer, fields[name]) for answer, fields in records if name in fields]
        numbers = [value for _, value in having if isinstance(value, int | float) and not isinstance(value, bool)]
        if all(name in answer.summed for answer, _ in having) and numbers:
            total = sum(numbers)
            found[name] = round(total, 6) if isinstance(total, float) else total
    return found


def fields_of(answer: Answer) -> dict[str, Value]:
    """The fields of a record; what is nested stands below a name with a dot."""
    return dict(_flat(_data(answer)))


def rows_of(answer: Answer) -> list[dict[str, Value]]:
    """The rows of a table; one row where the answer is a record."""
    data = _data(answer)
    rows = data if isinstance(data, list) else [data]
    return [dict(_flat(row)) for row in rows]


def _data(answer: Answer) -> object:
    return (answer.envelope or {}).get("data")


def _side_by_side(answers: Sequence[Answer]) -> Iterator[Row]:
    columns = {answer.server: fields_of(answer) for answer in answers}
    sums = totals(answers)
    for name in _names(list(columns.values())):
        row: dict[str, Value] = {"field": name, **{server: fields.get(name) for server, fields in columns.items()}}
        if len(columns) > 1:
            row["total"] = sums.get(name)
        yield row


def _one_below_the_other(answers: Sequence[Answer]) -> Iterator[Row]:
    for answer in answers:
        for row in rows_of(answer):
            yield {"server": answer.server, **{name: value for name, value in row.items() if name != "server"}}


def _names(records: Sequence[Mapping[str, Value]]) -> list[str]:
    return list(dict.fromkeys(name for fields in records for name in fields))


def _flat(value: object, name: str = "") -> Iterator[tuple[str, Value]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else str(key))
    elif value is None or isinstance(value, str | int | float):
        yield name or "value", value
    else:
        yield name or "value", _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
