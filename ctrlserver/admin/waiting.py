"""Replies that come later: after a pause, when a condition holds, at each interval.

Rules: nobody waits in vain. The end of the connection (``cancel``) and of the server (``stop``) end every timer. All
who wait for a condition share one reading of the numbers. Whatever is due is made in the connection's own slice
(``more``), so those who watch take turns as those who ask do. Those who watch at the same pace share their rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from math import ceil
from typing import ClassVar, Final, TypeAlias

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ctrlserver.admin.conditions import Condition, What, looked_at
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Record, encode_error, encode_in_steps
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.render.jsonline import success, success_after_rows
from ctrlserver.render.text import cells
from ctrlserver.stats.counters import Totals
from ctrlserver.stats.records import RunRecord, StatsRecord, StreamRecord, Value, as_mapping, describe

Row: TypeAlias = Mapping[str, Value]

STOPPING: Final = CommandError(503, "stopping", "the server stops")

TICK_SECONDS: Final = 0.0125
"""Between two looks of those who wait for a condition."""

SHARE: Final = 0.01
"""Of the time, what these looks may cost."""

ASKING_SHARE: Final = 0.25
"""Of the time, how much the workers may be asked for them: a figure of each of 20 000 streams takes 0.1 s."""

TICKS: Final = 4
"""Of so many looks the quickest one says what a look costs: the process itself may have been paused in the others."""

GRID_SECONDS: Final = 0.05
"""Rows of ``watch`` are due at multiples of it: those who watch at the same pace share readings, and rows."""

_RECENT_SECONDS: Final = 0.02
"""So long a reading may be shared by those who watch: until ten whose rows are due at one time had their slices."""

_OF_TOTALS: Final = {
    "streams_open": "streams_open",
    "streams_total": "streams_total",
    "packets_total": "packets",
    "bytes_total": "bytes",
    "incomplete_bytes_total": "incomplete_bytes",
    "faults_total": "faults",
    "rejected_total": "rejected",
    "replies_total": "replies",
    "dropped_total": "dropped",
}
"""Fields of the stats record that are sums, as ``Totals`` calls them."""

_TIME_WIDTH: Final = 24
_NUMBER_WIDTH: Final = 10
_ROUNDING: Final = 1e-6


def _nothing() -> None:
    """Nobody is to be woken."""


@define(eq=False)
class Later:
    """What a command gives back whose reply comes later, whole or in pieces.

    The connection begins it once, and asks for ``more`` when it was woken; what it makes then stands for itself.
    Meanwhile no further line is carried out. ``ended`` once nothing follows; ``closes``: the connection ends with it.
    Ctrl-C interrupts it. ``ends_at_a_line``: so does a line that comes meanwhile, and is dropped.
    """

    ends_at_a_line: ClassVar[bool] = False
    closes: bool = field(default=False, kw_only=True)
    ended: bool = field(default=False, init=False)
    _json: bool = field(default=False, init=False)
    _wake: Callable[[], None] = field(default=_nothing, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _reply: bytes = field(default=b"", init=False)  # its end, once that is known
    _gone: bool = field(default=False, init=False)

    def begin(self, wake: Callable[[], None], *, json: bool) -> None:
        """The connection waits now; ``wake`` it when there is more."""
        self._wake, self._json = wake, json

    def more(self) -> bytes:
        """What is to be sent now; short, and empty where nothing is."""
        self.ended = bool(self._reply)
        return self._reply

    def interrupt(self) -> None:
        """End it now, in good order, where that may be; ``more`` has the rest."""

    def stop(self) -> None:
        """The server stops; ``more`` has the rest."""
        self._end(self._reply or self._encode(STOPPING))

    def cancel(self) -> None:
        """The connection is gone."""
        self._gone = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _when_fresh(self, fresh: Deferred[None] | None, then: Callable[[], None]) -> None:
        """Do ``then`` now where all is of now, else when it is, or cannot be had; then the connection is woken too."""
        if fresh is None:
            then()
            return
        woken = False

        def over(_: object) -> None:
            if not self._gone:
                then()
                if woken:
                    self._wake()

        fresh.addBoth(over)
        woken = True

    def _end(self, reply: bytes) -> None:
        self.cancel()
        self._reply = reply

    def _encode(self, error: CommandError) -> bytes:
        return encode_error(error, json=self._json)


@define(eq=False)
class Pause(Later):
    """An error that comes only after some seconds; nothing but the server's end shortens them."""

    reactor: IReactorTime
    seconds: float
    error: CommandError

    def begin(self, wake: Callable[[], None], *, json: bool) -> None:
        """The pause begins."""
        super().begin(wake, json=json)
        self._timer = self.reactor.callLater(self.seconds, self._is_over)

    def _is_over(self) -> None:
        self._end(self._encode(self.error))
        self._wake()


class Reading:
    """The numbers of one instant; each record is made when somebody wants it, and once."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._now = desk.now()

    @cached_property
    def stats(self) -> StatsRecord:
        """The whole server."""
        return self._desk.book.stats(self._now)

    @cached_property
    def totals(self) -> Totals:
        """The sums, which cost a fifth of the whole record."""
        return self._desk.book.counters.totals()

    @cached_property
    def run(self) -> RunRecord | None:
        """The active or newest run."""
        runs = self._desk.book.runs
        return runs.record(runs.newest, self._now)

    def value(self, condition: Condition) -> Value:
        """What a condition asks for; None where there is none yet."""
        record: StatsRecord | RunRecord | StreamRecord | None = None
        if condition.record == "stats":
            if condition.field in _OF_TOTALS:
                total: int = getattr(self.totals, _OF_TOTALS[condition.field])
                return total
            record = self.stats
        elif condition.record == "run":
            record = self.run
        elif (stream := self._desk.book.counters.find(condition.stream)) is not None:
            record = self._desk.book.record(stream)
        value: Value = getattr(record, condition.field, None)
        return value


@define(eq=False)
class Readings:
    """One reading for all who wait, as often as ``TICK_SECONDS``, or so rarely that it costs ``SHARE`` of the time.

    Waiters stand below what they wait for; they are looked at only where its value is not the one ``_seen`` last.
    """

    desk: Desk
    reactor: IReactorTime
    freshness: Freshness = field(init=False, default=Factory(lambda self: Freshness(self.desk), True))
    _waiters: dict[What, dict[Waiting, None]] = field(factory=dict, init=False)
    _seen: dict[object, Value] = field(factory=dict, init=False)
    _next: IDelayedCall | None = field(default=None, init=False)
    _took: deque[float] = field(factory=lambda: deque([0.0], maxlen=TICKS), init=False)
    _asked: deque[float] = field(factory=lambda: deque([0.0], maxlen=TICKS), init=False)
    _recent: tuple[float, StatsRecord] | None = field(default=None, init=False)
    _rows: dict[bool, tuple[StatsRecord, StatsRecord, bytes]] = field(factory=dict, init=False)

    def add(self, waiter: Waiting) -> None:
        """From now on it has a look."""
        self._waiters.setdefault(waiter.condition.what, {})[waiter] = None
        self._seen.pop(waiter.condition.what, None)
        if self._next is None:
            self._next = self.reactor.callLater(TICK_SECONDS, self._tick)

    def remove(self, waiter: Waiting) -> None:
        """It waits no more."""
        waiters = self._waiters.get(waiter.condition.what, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiters.pop(waiter.condition.what, None)
            self._seen.pop(waiter.condition.what, None)
        if not self._waiters and self._next is not None:
            self._next.cancel()
            self._next = None

    def _tick(self) -> None:
        self._next = None
        fresh = self.freshness.look(lambda: looked_at(self.desk, self._waiters))
        if fresh is None:
            self._look()
        else:
            began = self.reactor.seconds()
            fresh.addBoth(lambda _: self._look(self.reactor.seconds() - began))

    def _look(self, asked: float = 0.0) -> None:
        began = self.reactor.seconds()
        reading = Reading(self.desk)
        try:
            for what, waiters in list(self._waiters.items()):
                if not waiters:
                    continue
                value = reading.value(next(iter(waiters)).condition)
                if value is None or value == self._seen.get(what):
                    continue
                self._seen[what] = value
                for waiter in list(waiters):
                    if waiter.condition.holds(value):
                        waiter.found(value)
        finally:
            took = self.reactor.seconds() - began
            self._took.append(took)
            self._asked.append(asked)
            if self._waiters and self._next is None:
                after = max(TICK_SECONDS - took, min(self._took) / SHARE, min(self._asked) / ASKING_SHARE)
                self._next = self.reactor.callLater(after, self._tick)

    def recent(self) -> StatsRecord:
        """The record of now, or of a moment ago."""
        now = self.reactor.seconds()
        if self._recent is None or now - self._recent[0] > _RECENT_SECONDS:
            self._recent = now, self.desk.book.stats(self.desk.now())
        return self._recent[1]

    def row(self, before: StatsRecord, after: StatsRecord, make: Callable[[Row], bytes], *, json: bool) -> bytes:
        """What ``make`` makes of the interval between two readings; those who share both share it."""
        row = self._rows.get(json)
        if row is None or row[0] is not before or row[1] is not after:
            interval = as_mapping(self.desk.book.interval(before, after))
            row = self._rows[json] = before, after, make(self.desk.book.renames.apply(interval))
        return row[2]


@define(eq=False)
class Waiting(Later):
    """Until a condition holds, or the time is over."""

    readings: Readings
    condition: Condition
    seconds: float

    def begin(self, wake: Callable[[], None], *, json: bool) -> None:
        """It waits."""
        super().begin(wake, json=json)
        self.readings.add(self)
        self._timer = self.readings.reactor.callLater(self.seconds, self._time_is_over)

    def found(self, value: Value) -> None:
        """The condition holds."""
        self._end(self._record(value))
        self._wake()

    def _time_is_over(self) -> None:
        self._look_last(408, "timeout", f"within {self.seconds:g} s")
        self._wake()

    def interrupt(self) -> None:
        """Ctrl-C came."""
        if not self._reply:
            self._look_last(499, "interrupted", "until Ctrl-C")

    def _look_last(self, code: int, id: str, until: str) -> None:
        desk, what = self.readings.desk, self.condition.what
        fresh = self.readings.freshness.look(lambda: looked_at(desk, [what]), desk.book.asked())
        self._when_fresh(fresh, lambda: self._give_up(code, id, until))

    def _give_up(self, code: int, id: str, until: str) -> None:
        value = Reading(self.readings.desk).value(self.condition)
        seen = f"{self.condition.shown} is {'not known' if value is None else value}"
        wrong = CommandError(code, id, f"{self.condition.text} did not hold {until}; {seen}")
        self._end(self._record(value) if self.condition.holds(value) else self._encode(wrong))

    def _record(self, value: Value) -> bytes:
        return b"".join(encode_in_steps("wait", Record({self.condition.shown: value}), json=self._json))

    def cancel(self) -> None:
        """Nobody waits for it."""
        self.readings.remove(self)
        super().cancel()


@define(eq=False)
class Watching(Later):
    """A row for each interval, until there were ``count`` of them, or a line comes.

    A row is made when it is sent: for a peer that does not read, intervals are left out, and the next row covers them.
    """

    readings: Readings
    seconds: float
    count: int | None
    ends_at_a_line: ClassVar[bool] = True
    _due_at: float = field(default=0.0, init=False)
    _is_owed: bool = field(default=False, init=False)
    _last: StatsRecord | None = field(default=None, init=False)
    _made: int = field(default=0, init=False)
    _widths: list[int] = field(factory=list, init=False)

    def begin(self, wake: Callable[[], None], *, json: bool) -> None:
        """The first interval begins."""
        super().begin(wake, json=json)
        desk = self.readings.desk
        self._last = desk.book.stats(desk.now())
        self._due_at = self.readings.reactor.seconds()
        self._schedule()

    def _schedule(self) -> None:
        now = self.readings.reactor.seconds()
        due = max(self._due_at + self.seconds, now)
        self._due_at = round(ceil(due / GRID_SECONDS - _ROUNDING) * GRID_SECONDS, 6)
        self._timer = self.readings.reactor.callLater(self._due_at - now, self._is_due)

    def _is_due(self) -> None:
        self._schedule()
        self._when_fresh(self.readings.freshness.ask(), self._owe)
        self._wake()

    def _owe(self) -> None:
        self._is_owed = True

    def more(self) -> bytes:
        """The head at first, a row where one is due, the status at the end."""
        octets = b"" if self._widths else self._head()
        if self._is_owed and not self._reply:
            octets += self._row()
            self._is_owed = False
            if self._made == self.count:
                self.interrupt()
        return octets + super().more()

    def _head(self) -> bytes:
        renamed = self.readings.desk.book.renames.renamed
        names = [renamed(each.name) for each in describe() if each.record == "interval"]
        names[0] = f"# {names[0]}"
        least = [_TIME_WIDTH, *[_NUMBER_WIDTH] * (len(names) - 1)]
        self._widths = [max(len(name), width) for name, width in zip(names, least, strict=True)]
        return b"" if self._json else self._line(names)

    def _row(self) -> bytes:
        assert self._last is not None
        before, self._last = self._last, self.readings.recent()
        self._made += 1
        return self.readings.row(before, self._last, self._encoded, json=self._json)

    def _encoded(self, row: Row) -> bytes:
        return success("watch", row) if self._json else self._line(cells(row))

    def _line(self, words: Iterable[str]) -> bytes:
        padded = [word.rjust(width) for word, width in zip(words, self._widths, strict=False)]
        padded[0] = padded[0].lstrip().ljust(self._widths[0])
        return f"{' '.join(padded)}\r\n".encode()

    def interrupt(self) -> None:
        """A line came, or Ctrl-C."""
        status = success_after_rows("watch", self._made) if self._json else f"OK {self._made}\r\n".encode()
        self._end(self._reply or status)
