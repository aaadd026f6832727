"""The wait for the moment at which a load begins (``--start-at``): all streams are open, and nothing has been sent.

Rules: the moment is one of the system's clock, which may be set while the run waits, so that is asked again at least
once a second. A moment that has come before all streams were open is no failure: the run begins at once, late.
One that is not known yet is asked for once all are open.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from attrs import define, evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ctrlserver.load.plan.start import StartAt, iso_time
from ctrlserver.load.results.shards import Start
from ctrlserver.load.running.told import told_start
from ctrlserver.units import format_duration

#: Seconds before the moment in which nobody is told any more: a view that is drawn takes half a millisecond.
QUIET_SECONDS = 0.5

#: Seconds late from which people are told so in a line of their own, and a schedule begins no earlier than the run.
LATE_SECONDS = 0.01


@define
class Starting:
    """The wait for ``asked``, which must be fixed or not known yet; ``wall`` gives seconds since 1970.

    ``late_seconds``: how long after the moment the wait was over, None until then.
    """

    _reactor: IReactorTime
    _asked: StartAt
    _wall: Callable[[], float]
    _ask: Callable[[IReactorTime], Deferred[StartAt]] = told_start
    late_seconds: float | None = None

    async def wait(self, tell: Callable[[float | None], None]) -> None:
        """Until the moment; ``tell`` is called with the seconds that are left, at once and then every second.

        It gets None while the moment is not known. LoadError if nobody says it.
        """
        if not self._asked.is_known:
            tell(None)
            said = await self._ask(self._reactor)
            seconds = said.fixed(self._wall()).seconds if said.relative else said.seconds
            self._asked = evolve(self._asked, seconds=seconds)
        told = False
        while (left := self._asked.seconds - self._wall()) > 0:
            if not told or left > QUIET_SECONDS:
                tell(left)
                told = True
            await deferLater(self._reactor, min(left, left - ceil(left) + 1))
        self.late_seconds = -left

    @property
    def behind(self) -> float:
        """How long ago a schedule began: at the moment, so that shards keep to one plan, unless the run is late."""
        late = self.late_seconds or 0.0
        return late if late < LATE_SECONDS else 0.0

    @property
    def remark(self) -> str | None:
        """For people, if the run began late."""
        late = self.late_seconds
        if late is None or late < LATE_SECONDS:
            return None
        return f"began {format_duration(late)} after the start asked for, {iso_time(self._asked.seconds)}"

    @property
    def outcome(self) -> Start | None:
        """For the result; None if nobody said when."""
        if not self._asked.is_known:
            return None
        late = None if self.late_seconds is None else round(self.late_seconds, 6)
        return Start(iso_time(self._asked.seconds), late)
