"""What a command of the admin port is, and what several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import Any, ClassVar, Final, Generic, Self, TypeVar

from attrs import NOTHING, evolve, field, fields, frozen
from twisted.internet.defer import Deferred

from ctrlserver.admin.arguments import Parameter, bind
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Reply
from ctrlserver.admin.session import Session
from ctrlserver.admin.waiting import Later
from ctrlserver.desk import Desk, Struck
from ctrlserver.errors import CommandError, RenameError
from ctrlserver.stats.records import Published, RunRecord, Value, as_mapping
from ctrlserver.stats.rename import Renames
from ctrlserver.words import did_you_mean, quoted

LIMIT: Final = 100
"""Rows of a list without ``limit=N``: a screen or two, and far below what makes a reader wait."""

T = TypeVar("T")
U = TypeVar("U")
_PARAMETER: Final = "parameter"


def argument(parameter: Parameter, default: object = NOTHING) -> Any:
    """A field of a command that ``parameter`` reads, by the parameter's name; it must be given if it has no default."""
    parameter = evolve(parameter, required=default is NOTHING)
    return field(default=default, alias=_alias(parameter.name), metadata={_PARAMETER: parameter})


def _alias(name: str) -> str:
    """``for_`` for an argument whose name Python keeps to itself."""
    return f"{name}_" if iskeyword(name) else name


def parameters_of(command: type[Any]) -> Sequence[Parameter]:
    """What a command takes, in the order of its fields."""
    return [each.metadata[_PARAMETER] for each in fields(command)]


class Command:
    """What all commands share. A class is one row of the table: ``help`` and docs/admin-protocol.md are made from it.

    The docstring of a class is its usage line, then its help, whose first line stands alone in lists. Its fields are
    the arguments, each declared by ``argument``. ``answers`` says what a good reply holds. ``example`` is a line that
    the page shows with its reply. ``lists``: without arguments it only lists something, which any viewer may.
    ``reads_figures``: it reads numbers, which are to be of now before it is carried out.
    ``elsewhere``: some of what it reads is in a file, however many processes there are.
    ``journaled``: if it changes something, the journal says so; otherwise what is changed has a line of its own.
    """

    command: ClassVar[str]
    answers: ClassVar[str]
    example: ClassVar[str]
    level: ClassVar[Level] = Level.VIEWER
    reads: ClassVar[bool] = True
    reads_figures: ClassVar[bool] = False
    lists: ClassVar[bool] = False
    elsewhere: ClassVar[bool] = False
    journaled: ClassVar[bool] = True

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """A call with these words after the name; ``CommandError`` where they do not fit."""
        arguments: Mapping[str, Any] = bind(cls.command, parameters_of(cls), words)
        return cls(**{_alias(name): value for name, value in arguments.items()})

    def only_reads(self) -> bool:
        """Nothing is changed by this call, so it may be carried out from a line that was cut."""
        return self.reads

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[Any] | None:
        """Fires when what the call reads is of now, some with the reply; None where it is so."""
        return freshness.ask(desk.asked) if self.reads_figures else None

    def answer(self, desk: Desk, session: Session) -> Reply | Later:
        """Carry the call out for whoever asks; ``reply`` where that makes no difference."""
        return self.reply(desk)

    def reply(self, desk: Desk) -> Reply:
        """Carry the call out."""
        raise NotImplementedError


def published(desk: Desk, record: Published) -> Mapping[str, Value]:
    """The fields of ``record`` by their published names."""
    return _renamed(desk.book.renames, record)


def _renamed(renames: Renames, record: Published) -> Mapping[str, Value]:
    """A label that an earlier start gave a run is left out where a field is published under its name now."""
    try:
        return renames.apply(as_mapping(record))
    except RenameError:
        if not isinstance(record, RunRecord):
            raise
        taken = {new for _, new in renames.pairs}
        labels = {name: values for name, values in record.labels.items() if name not in taken}
        return renames.apply(as_mapping(evolve(record, labels=labels)))


class Ended(Mapping[str, int]):
    """``off`` and ``hits`` of what has ended; hits that workers tell later count until this is read."""

    def __init__(self, ended: Sequence[Struck]) -> None:
        self._ended = ended

    def __getitem__(self, name: str) -> int:
        """Of now."""
        return {"off": len(self._ended), "hits": sum(each.hits for each in self._ended)}[name]

    def __iter__(self) -> Iterator[str]:
        return iter(("off", "hits"))

    def __len__(self) -> int:
        return 2


@frozen
class Made(Generic[T, U]):
    """What ``make`` makes of each of ``of``, when its turn comes; as often as they are gone through."""

    make: Callable[[T], U]
    of: Iterable[T]

    def __iter__(self) -> Iterator[U]:
        return map(self.make, self.of)


def rows(desk: Desk, records: Iterable[Published | None]) -> Iterable[Mapping[str, Value] | None]:
    """Published one by one, all under the names of now; as often as ``records`` may be gone through."""
    renames = desk.book.renames
    return Made(lambda record: None if record is None else _renamed(renames, record), records)


def numbered(desk: Desk, what: str, given: str, known: Sequence[int]) -> int | str | None:
    """The number of a ``what`` that is ``known``, the name of a listener, or None for all; ``CommandError`` 404."""
    if not given:
        return None
    if given.isascii() and given.isdecimal():
        number = int(given[:20])
        if number in known:
            return number
        near = min(known, key=lambda each: abs(each - number), default=None)
        hint = ", nor is any other" if near is None else f"; did you mean {near}?"
        raise CommandError(404, f"unknown-{what}", f"no {what} {number} is active{hint}")
    names = [each.name for each in desk.listeners()]
    if given not in names:
        hint = did_you_mean(given, names) or f"; the listeners are {', '.join(names)}"
        raise CommandError(404, "unknown-listener", f"no listener {quoted(given)}{hint}")
    return given


def unknown_field(desk: Desk, given: str, published: Iterable[str]) -> CommandError:
    """404: ``given`` is none of ``published``; with its new name, or the nearest one."""
    renamed = desk.book.renames.renamed(given)
    if renamed != given:
        return CommandError(404, "unknown-field", f"{quoted(given)} is published as {quoted(renamed)}")
    nearest = did_you_mean(given, sorted(published)) or '; "describe" lists the fields'
    return CommandError(404, "unknown-field", f"{quoted(given)}{nearest}")
