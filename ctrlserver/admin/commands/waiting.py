"""Commands whose reply comes later."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.admin.arguments import Duration, Number, Text
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.conditions import looked_at, parse_condition
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Record, Reply
from ctrlserver.admin.session import Session
from ctrlserver.admin.waiting import Later, Reading, Readings, Waiting, Watching
from ctrlserver.desk import Desk

TIMEOUT: Final = 10.0
LONGEST: Final = 3600.0
SHORTEST_INTERVAL: Final = 0.1


@frozen
class Wait(Command):
    """wait CONDITION [timeout=T]

    Reply when CONDITION holds, or with ERR 408 after T.
    CONDITION is FIELD OP NUMBER, such as packets_total>=1000. OP is one of
    >= <= == != > <, and FIELD a number of the stats record, run.packets,
    run.streams, run.complete (1 or 0) and other numbers of the active or newest
    run, or stream.N.packets and the like. T is 10s where none is given, and 1h
    at most; the ERR says what the value was. Later lines wait until then.
    Ctrl-C of telnet ends it, with ERR 499.
    """

    command = "wait"
    reads_figures = True
    answers = "The field and its value."
    example = "wait packets_total>=1000"
    condition: str = argument(Text("condition", "CONDITION", whole=True))
    timeout: float = argument(Duration("timeout", "timeout=T", most=LONGEST, positional=False), TIMEOUT)

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[None] | None:
        """With what takes a look at the stream, where that is waited for."""
        condition = parse_condition(self.condition, desk.book.renames)
        return freshness.look(lambda: looked_at(desk, [condition.what]), desk.asked)

    def answer(self, desk: Desk, session: Session) -> Reply | Later:
        """At once where the condition holds."""
        condition = parse_condition(self.condition, desk.book.renames)
        value = Reading(desk).value(condition)
        if condition.holds(value):
            return Record({condition.shown: value})
        return Waiting(_readings(session), condition, self.timeout)


@frozen
class Watch(Command):
    """watch SECONDS [COUNT]

    A row every SECONDS, until COUNT or until Enter.
    Any line ends it, an empty one too, and is dropped; so does Ctrl-C of telnet.
    With json each row is a line of JSON, and a last one says how many there
    were. If you do not read, the next row covers the longer time.
    """

    command = "watch"
    reads_figures = True
    answers = "A row for each interval, below a line of column names that starts with #."
    example = "watch 1 2"
    seconds: float = argument(Duration("seconds", "SECONDS", least=SHORTEST_INTERVAL, most=LONGEST))
    count: int | None = argument(Number("count", "COUNT", least=1), None)

    def answer(self, desk: Desk, session: Session) -> Later:
        """Rows."""
        return Watching(_readings(session), self.seconds, self.count)


def _readings(session: Session) -> Readings:
    assert session.readings is not None
    return session.readings
