"""Lists in another order than that of age, and of some columns only.

Rules: whoever sorts has to look at all there is, so it goes in steps: ``Ranked`` gives None where it has looked at
some more, and only ``limit`` things are held. Numbers begin with the largest, texts with A; what is not known is last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush, heappushpop
from typing import Any, Final, Generic, TypeVar

from attrs import define, field

from ctrlserver.admin.commands.command import Made, unknown_field
from ctrlserver.desk import Desk
from ctrlserver.stats.records import Value, describe

T = TypeVar("T")

A_STEP: Final = 4
"""Things looked at in one step: a record of each is made, which takes about as long as a row."""


class _Turned(str):
    """A text that is the less, the later it comes."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        return str.__gt__(self, other)


def rank(value: Value, *, turned: bool) -> tuple[Any, ...]:
    """Greater for what comes earlier in a list; ``turned``: the other way round, but what is not known stays last."""
    if value is None:
        return (0,)
    if isinstance(value, str):
        return (1, value if turned else _Turned(value))
    return (2, -value if turned else value)


@define(eq=False)
class Ranked(Generic[T]):
    """The first ``limit`` of ``of`` by ``key``, which is None for what is left out; ``total`` of them are not.

    Keys are greater for what comes earlier, and never equal. The order is found once, and holds as often as it is
    gone through.
    """

    of: Iterable[T]
    key: Callable[[T], tuple[Any, ...] | None]
    limit: int
    total: int = field(default=0, init=False)
    _found: list[T] | None = field(default=None, init=False)

    def __iter__(self) -> Iterator[T | None]:
        if self._found is not None:
            yield from self._found
            return
        best: list[tuple[tuple[Any, ...], T]] = []
        for at, each in enumerate(self.of):
            if (key := self.key(each)) is not None:
                self.total += 1
                if len(best) < self.limit:
                    heappush(best, (key, each))
                else:
                    heappushpop(best, (key, each))
            if at % A_STEP == 0:
                yield None
        found: list[T] = []
        while best:
            found.append(heappop(best)[1])
            if len(found) % (A_STEP * 16) == 0:
                yield None
        found.reverse()
        self._found = found
        yield from found


@define(eq=False)
class Behind(Generic[T]):
    """What ``of`` gives behind the first ``offset``; the steps between stay."""

    of: Iterable[T | None]
    offset: int

    def __iter__(self) -> Iterator[T | None]:
        left = self.offset
        for each in self.of:
            if each is None or left == 0:
                yield each
            else:
                left -= 1


def known_fields(desk: Desk, record: str) -> Mapping[str, str]:
    """The fields of a kind of record, with a stream's labels: own names by published names."""
    renames = desk.book.renames
    names = [each.name for each in describe() if each.record == record]
    if record in ("stream", "run"):
        names += sorted(renames.fields)
    return {renames.renamed(name): name for name in names}


def own_name(desk: Desk, record: str, given: str) -> str:
    """The own name of the field that is published as ``given``; 404 where there is none."""
    known = known_fields(desk, record)
    if given not in known:
        raise unknown_field(desk, given, known)
    return known[given]


def with_columns(
    desk: Desk, record: str, columns: Sequence[str], rows: Iterable[Mapping[str, Value] | None]
) -> Iterable[Mapping[str, Value] | None]:
    """The rows with these columns in this order, all columns where none is given; 404 for an unknown one."""
    for column in columns:
        own_name(desk, record, column)
    if not columns:
        return rows
    return Made(lambda row: None if row is None else {column: row.get(column) for column in columns}, rows)
