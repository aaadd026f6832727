"""Conditions of ``wait``: ``FIELD OP NUMBER``, read and judged; no clock, no socket.

FIELD is a number of the stats record by its published name, ``run.FIELD`` of the active or newest run, or
``stream.N.FIELD``. A flag is 1 or 0. What is not known yet (a run that has not begun) fulfils no condition.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import frozen

from ctrlserver.admin.arguments import Number
from ctrlserver.admin.refreshing.freshness import LOOKED_AT
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError, UnitError
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.records import Value, describe
from ctrlserver.stats.rename import Renames
from ctrlserver.units import parse_count
from ctrlserver.words import did_you_mean, quoted

OPERATORS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}

EXPECTED: Final = "FIELD OP NUMBER, such as packets_total>=1000, OP one of >= <= == != > <"

_FORM = re.compile(r"(?:(run)\.|(stream)\.([0-9]+)\.)?([^<>=!]+)(>=|<=|==|!=|>|<)([^<>=!]+)")
_BLANKS = re.compile(r" *([<>=!]+) *")
_NEAR = re.compile(r"([\w.]+)(=|=>|=<|<>)([\w.]+)")
_MEANT: Final = {"=": "==", "=>": ">=", "=<": "<=", "<>": "!="}
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,2})?")
_FLAGS: Final = {"true": 1, "false": 0}
_KINDS: Final = ("counter", "gauge", "flag")


What: TypeAlias = tuple[str, int, str]
"""What is compared: the record, the number of a stream, and the field."""


@frozen
class Condition:
    """``record`` is stats, run or stream (of number ``stream``); ``field`` its own name, ``shown`` what is replied."""

    record: str
    stream: int
    field: str
    shown: str
    text: str
    compares: Callable[[Any, float], bool]
    bound: float

    @property
    def what(self) -> What:
        """What is compared: the same for all conditions of one value."""
        return self.record, self.stream, self.field

    def holds(self, value: Value) -> bool:
        """Whether the field, which is ``value`` now, fulfils it."""
        return value is not None and self.compares(value, self.bound)


def looked_at(desk: Desk, compared: Iterable[What]) -> list[StreamCounters]:
    """The streams of which more is needed than was counted."""
    wanted = {number for record, number, field in compared if record == "stream" and field in LOOKED_AT}
    return [stream for number in wanted if (stream := desk.book.counters.open.get(number)) is not None]


def parse_condition(text: str, renames: Renames) -> Condition:
    """The condition; ``CommandError`` 400 for its form, 404 for a field that is not there."""
    text = _BLANKS.sub(r"\1", text.strip())
    match = _FORM.fullmatch(text)
    if match is None:
        hint = ""
        if near := _NEAR.fullmatch(text):
            hint = f"; did you mean {near[1]}{_MEANT[near[2]]}{near[3]}?"
        raise CommandError(400, "bad-argument", f"condition {quoted(text)}: expected {EXPECTED}{hint}")
    of_run, of_stream, number, name, op, bound = match.groups()
    record = of_run or of_stream or "stats"
    fields = {renames.renamed(each.name): each.name for each in describe() if each.record == record}
    numbers = {each.name for each in describe() if each.record == record and each.kind in _KINDS}
    field = fields.get(name)
    if field not in numbers:
        raise _no_number(name, field, record, renames, {new for new, old in fields.items() if old in numbers})
    shown = text[: text.index(op)]
    return Condition(
        record, Number("stream", "STREAM").read(number or "0"), field, shown, text, OPERATORS[op], _bound(text, bound)
    )


def _no_number(name: str, field: str | None, record: str, renames: Renames, known: set[str]) -> CommandError:
    if field is not None:
        return CommandError(400, "bad-argument", f"{quoted(name)} is no number: expected {EXPECTED}")
    if renames.renamed(name) != name:
        return CommandError(404, "unknown-field", f"{quoted(name)} is published as {quoted(renames.renamed(name))}")
    nearest = did_you_mean(name, sorted(known)) or '; "describe" lists the fields'
    return CommandError(404, "unknown-field", f"{quoted(name)} is no field of a {record} record{nearest}")


def _bound(text: str, bound: str) -> float:
    if bound in _FLAGS:
        return _FLAGS[bound]
    if _NUMBER.fullmatch(bound):
        number = float(bound)
        return int(bound) if bound.lstrip("-").isdecimal() else number
    try:
        return parse_count(bound)
    except UnitError as error:
        raise CommandError(400, "bad-argument", f"condition {quoted(text)}: {error}") from None
