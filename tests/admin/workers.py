"""Workers that count what the desk knows only after a round: for tests of what waits for one.

As with real ones there is one round at a time, and who asks meanwhile shares the next one.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from ctrlserver.admin.ports import AdminPorts
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import Fetched
from tests.admin.conftest import Server


@define
class Round:
    """One that is under way; ``counted``: what the workers had counted by its beginning."""

    counted: list[tuple[StreamCounters, int]]
    asked: list[Deferred[None]]


@define
class Workers:
    """The desk of ``server`` asks them. ``at_once``: a round is over when it begins.

    ``looked_at``: the streams that they were asked to look at, each time.
    """

    server: Server
    at_once: bool = False
    rounds: list[Round] = field(factory=list)
    under_way: list[Round] = field(factory=list)
    fetched: list[tuple[int, int]] = field(factory=list)
    fetches: list[Deferred[Fetched]] = field(factory=list)
    looked_at: list[list[int]] = field(factory=list)
    _counted: list[tuple[StreamCounters, int]] = field(factory=list)
    _waiting: list[Deferred[None]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.server.desk = evolve(self.server.desk, fresh=self._fresh, fetch_packets=self._fetch, look_at=self._look_at)
        self.server.factory = AdminPorts(self.server.desk, self.server.clock)

    def count(self, stream: StreamCounters, packets: int) -> None:
        """A worker has counted; the book does not know yet."""
        self._counted.append((stream, packets))

    def _fresh(self) -> Deferred[None] | None:
        over: Deferred[None] = Deferred()
        self._waiting.append(over)
        if not self.under_way:
            self._begin()
        return over

    def _begin(self) -> None:
        counted, self._counted = self._counted, []
        waiting, self._waiting = self._waiting, []
        begun = Round(counted, waiting)
        self.rounds.append(begun)
        self.under_way.append(begun)
        if self.at_once:
            self.answer()

    def _look_at(self, streams: Iterable[StreamCounters]) -> None:
        self.looked_at.append([each.stream for each in streams])

    def _fetch(self, number: int, most: int) -> Deferred[Fetched] | None:
        if self.server.desk.book.counters.find(number) is None:
            return None
        self.fetched.append((number, most))
        self.fetches.append(Deferred())
        return self.fetches[-1]

    def answer(self, wrong: Exception | None = None) -> None:
        """The oldest round is over."""
        begun = self.under_way[0]
        self.server.book.changed()
        for stream, packets in begun.counted:
            stream.packets += packets
            stream.bytes += packets * 1024
        for each in begun.asked:
            if wrong is None:
                each.callback(None)
            else:
                each.errback(Failure(wrong))
        self.under_way.pop(0)
        if self._waiting and not self.under_way:
            self._begin()

    def answer_all(self) -> None:
        """Until none is under way, and none is begun by who went on."""
        while self.under_way:
            self.answer()
