"""What is held for all peers together, within one limit. PURE.

Model: whoever holds bytes for a peer says how many, each time it holds more or less (``hold``). Over the limit ``over``
is called, once until ``relieve``, and ``due`` says that this is to be called, as soon as no holder is at work. It gives
up in this order:

1. kept packets of closed streams, the oldest first (the book's);
2. kept packets of open streams, those first that have been silent longest;
3. streams: the one that holds most ends, for the reason ``limit``.

Rules: small objects are counted with their headers. ``relieve`` makes an eighth of the limit free, ``MOST_FREED`` at
most. So its walk over the holders is paid for by as much growth, and a large limit makes no long stall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ctrlserver.stats.counters import StreamCounters

UNLIMITED = 1 << 62

#: Bytes that one ``relieve`` frees below the limit, at most.
MOST_FREED = 32 << 20


class Holder(Protocol):
    """A stream that holds bytes for its peer."""

    counters: StreamCounters

    def abort(self, reason: str, now: float) -> None:
        """End at once; it holds nothing then."""


class Memory:
    """Bytes ``held`` by ``holders``, at most ``limit`` but for what one round reads.

    ``given_up``: kept packets given up for the limit; ``ended``: streams ended for it.
    """

    __slots__ = ("due", "ended", "given_up", "held", "holders", "limit", "over")

    def __init__(self, limit: int = UNLIMITED, over: Callable[[], object] = lambda: None) -> None:
        self.limit = limit
        self.over = over
        self.held = 0
        self.given_up = 0
        self.ended = 0
        self.holders: dict[Holder, int] = {}
        self.due = False

    def hold(self, holder: Holder, nbytes: int) -> None:
        """``holder`` holds ``nbytes`` in all from now on."""
        before = self.holders.pop(holder, 0)
        if nbytes:
            self.holders[holder] = nbytes
        self.add(nbytes - before)

    def add(self, nbytes: int) -> None:
        """So many bytes more are held, by nobody in particular."""
        self.held += nbytes
        if self.held > self.limit and not self.due:
            self.due = True
            self.over()

    def relieve(self, give_up_closed: Callable[[], bool], now: float) -> None:
        """Come below the limit if that is due.

        ``give_up_closed`` gives up those of one closed stream; False if there are none.
        """
        if not self.due:
            return
        self.due = False
        enough = self.limit - min(self.limit // 8, MOST_FREED)
        while self.held > enough and give_up_closed():
            pass
        if self.held > enough:
            keeping = [holder for holder in self.holders if holder.counters.kept]
            for holder in sorted(keeping, key=lambda holder: holder.counters.last):
                if self.held <= enough:
                    return
                kept = holder.counters.kept
                if kept is not None:
                    freed, packets = kept.memory, kept.clear()
                    self.given_up += packets
                    self.hold(holder, max(0, self.holders[holder] - freed))
        if self.held > enough:
            for holder in sorted(self.holders, key=self.holders.__getitem__, reverse=True):
                if self.held <= enough:
                    return
                self.ended += 1
                holder.abort("limit", now)
