"""Log lines of one kind: at most one a second, with the number of those left out."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field

#: Seconds for which a line is paid.
LINE_SECONDS = 1.0


@define(eq=False)
class Sparing:
    """Says which lines of a kind are written. ``at_once``: so many may follow each other after quiet seconds."""

    at_once: int = 1
    left_out: int = field(default=0, init=False)
    _paid_until: float = field(default=float("-inf"), init=False)

    def may_write(self, now: float) -> bool:
        """Whether a line may be written at ``now``; if not, it is counted in ``left_out``."""
        earliest = now - (self.at_once - 1) * LINE_SECONDS
        if self._paid_until > now:
            self.left_out += 1
            return False
        self._paid_until = max(self._paid_until, earliest) + LINE_SECONDS
        return True

    def overdue(self, now: float) -> int:
        """How many lines were left out, once a line may tell so; they are told then. To be asked now and then."""
        if not self.left_out or self._paid_until > now:
            return 0
        self._paid_until = now + LINE_SECONDS
        told, self.left_out = self.left_out, 0
        return told


@define(eq=False)
class Growth:
    """What counters have grown by since the last line about them."""

    _told: Mapping[str, int] = field(factory=dict, init=False)
    _paid_until: float = field(default=float("-inf"), init=False)

    def since(self, counts: Mapping[str, int], now: float) -> dict[str, int]:
        """The growth by name; empty if there is none, or the last line is less than a second ago."""
        if now < self._paid_until:
            return {}
        grown = {name: more for name, count in counts.items() if (more := count - self._told.get(name, 0))}
        if grown:
            self._told, self._paid_until = dict(counts), now + LINE_SECONDS
        return grown
