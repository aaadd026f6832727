"""``wait``: conditions read, asked of the server, and judged; ``admin`` and ``awaited`` carry the lines.

Rule: the server waits, not the test. Of several conditions each is waited for; then all must hold in one record.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from ctrlserver.testing.admin import Dialogue, asked
from ctrlserver.testing.errors import AdminError, NotReached
from ctrlserver.testing.record import Record
from ctrlserver.testing.since import Since, number_of

__tracebackhide__ = True  # pytest shows a failure at the test's own line

#: The ending of a keyword, and the operator it stands for.
OPERATORS = {"ge": ">=", "le": "<=", "eq": "==", "ne": "!=", "gt": ">", "lt": "<"}

_FORM = re.compile(r"\s*([\w.-]+?)\s*(>=|<=|==|!=|>|<)\s*([^\s<>=!]+)\s*")

Condition = tuple[str, str, str]
"""A field, an operator and a number, each as text."""


def conditions_of(texts: Sequence[str], fields: dict[str, object]) -> list[Condition]:
    """What ``wait("packets>=3", streams_open=0, bytes__lt=9)`` waits for; ValueError where that cannot be read."""
    found: list[Condition] = []
    for text in texts:
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError(f"condition {text!r}: expected FIELD OP NUMBER, such as 'packets>=100'")
        found.append((match[1], match[2], match[3]))
    for name, value in fields.items():
        field, _, word = name.partition("__")
        if word and word not in OPERATORS:
            raise ValueError(f"{name}: expected one of {', '.join(f'{field}__{each}' for each in OPERATORS)}")
        if not isinstance(value, int | float):
            raise ValueError(f"{name}={value!r}: expected a number")
        found.append((field, OPERATORS.get(word, "=="), str(value).lower()))
    if not found:
        raise ValueError("nothing to wait for: expected a condition, such as wait(packets=100)")
    return found


def waiting(conditions: Sequence[Condition], since: Since, timeout: float) -> Dialogue[Record]:
    """The record in which all conditions hold; ``NotReached`` where they do not within ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while True:
        for field, op, number in conditions:
            left = max(0.0, end - time.monotonic())
            try:
                yield from asked(f"wait {since.condition(field, op, number)} timeout={left:.3f}s", left)
            except AdminError as error:
                if error.code != 408:
                    raise
                record = since.record((yield from asked("stats")))
                raise NotReached(_words(field, op, number, timeout, record), record) from None
        record = since.record((yield from asked("stats")))
        broken = [each for each in conditions if len(conditions) > 1 and not _holds(each, record)]
        if not broken:
            return record
        if time.monotonic() >= end:
            raise NotReached(_words(*broken[0], timeout, record), record)


def _words(field: str, op: str, number: str, timeout: float, record: Record) -> str:
    seen = f", it is {record[field]}" if field in record else ""
    return f"{field}{op}{number} was waited for, and did not hold within {timeout:g} s{seen}"


def _holds(condition: Condition, record: Record) -> bool:
    """Whether it holds there; what the record does not have, the server has judged."""
    field, op, number = condition
    if field not in record:
        return True
    value, bound = record[field], number_of(number)
    known = {">=": value >= bound, "<=": value <= bound, ">": value > bound, "<": value < bound, "==": value == bound}
    return bool(known.get(op, value != bound))
