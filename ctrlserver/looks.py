"""Whether silence may be judged: who judges it has read first.

Model: silence is looked for every so often, by a timer. After a pause of the process (a stopped process, a suspended
machine) timers fire before what waits in the sockets is read, and every peer looks silent. So a look that comes late
judges nobody, nor does one right after it: the sockets are read first. The next one judges even if it is late too, or a
busy process would never end a silent stream.
"""

from __future__ import annotations

from attrs import define, field

#: Seconds that a look may be late.
LATE_SECONDS = 0.1


@define
class Looks:
    """Looks every ``every`` seconds."""

    every: float
    _last: float | None = field(default=None, init=False)
    _again: float = field(default=0.0, init=False)
    _skipped: bool = field(default=False, init=False)

    def may_judge(self, now: float) -> bool:
        """Whether the look at ``now`` may judge; to be asked once a look."""
        last, self._last = self._last, now
        late = last is not None and now - last > self.every + LATE_SECONDS
        if late and not self._skipped:
            self._again = now + self.every / 2
        self._skipped = now < self._again
        return not self._skipped
