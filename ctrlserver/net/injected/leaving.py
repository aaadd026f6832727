"""Delayed answers of many streams that are due in one turn: they leave by one call.

Model: of each struck stream that is due, ``takes`` notes that it is, and ``leave``, at the end of the turn of ``Due``,
copies what is due into the rows of a table (``linux/transfers.py``) and has the kernel send all rows::

    Due --due--> Struck --takes--> a list --leave: FEWEST or more--> rows --one call--> sockets
                                          --fewer, or no AIO ------> each stream sends by itself

Rules:

- A stream is sent for only while its link is on the lane and reads, and no end waits for its answers. All else it does
  itself; so does a stream whose socket did not take all, or whose peer is gone: it finds that out by sending again.
- Whose stream has ended since it was noted is left out.
- If the table itself fails, nobody knows what was sent. Those streams end as a fault of ours, and from then on each
  stream sends by itself.

Beware: rows are parts of the lane's buffer. A turn of ``Due`` is a call of the lane's, so nobody else needs it then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from ctrlserver.lane.due import Due
from ctrlserver.lane.lane import ROUND_SOCKETS, Lane
from ctrlserver.linux.transfers import ROW_BYTES, Transfers, transfers

if TYPE_CHECKING:
    from ctrlserver.net.injected.struck import Struck

#: From this many sockets on, one call for all costs less than a call for each.
FEWEST = 3

log = Logger()


class Leaving:
    """What is due in this turn. The table is made when a stream on ``lane`` is due for the first time."""

    def __init__(self, lane: Lane | None) -> None:
        self._lane = lane
        self._table: Transfers | None = None
        self._noted: list[Struck] = []

    def takes(self, struck: Struck, now: int) -> bool:
        """Whether it will send what is due of ``struck`` by ``now``."""
        lane = self._lane
        if lane is None or struck.waiting.moment > now or not struck.only_sends():
            return False
        if self._table is None:
            self._table = transfers(lane.view, ROUND_SOCKETS)
            if self._table is None:
                self._lane = None
                return False
        self._noted.append(struck)
        if len(self._noted) == ROUND_SOCKETS:
            self.leave(now)
        return True

    def leave(self, now: int) -> None:
        """Send what was noted."""
        if not self._noted:
            return
        noted, self._noted = self._noted, []
        table = self._table
        if len(noted) < FEWEST or table is None:
            for struck in noted:
                struck.go_on(now)
            return
        sent_for: list[Struck] = []
        sockets: list[int] = []
        blocks: list[memoryview] = []
        for struck in noted:
            block = struck.waiting.block_at(now)
            if not struck.only_sends() or not 0 < len(block) <= ROW_BYTES:
                struck.go_on(now)
            else:
                sent_for.append(struck)
                sockets.append(struck.stream._link._fd)
                blocks.append(block)
        try:
            sent = table.send_blocks(sockets, blocks)
        except Exception:
            log.failure("delayed answers leave one by one from now on: sending them together failed", event="bug")
            self.close()
            for struck in sent_for:
                if struck.stream is not None:
                    struck.stream.failed(now / 1e9)
            return
        for struck, block, taken in zip(sent_for, blocks, sent, strict=True):
            struck.left(taken, len(block), now)

    def close(self) -> None:
        """Give the table back to the kernel; each stream sends by itself from now on. May be called twice."""
        table, self._table, self._lane = self._table, None, None
        if table is not None:
            table.close()


def leaving_of(due: Due) -> Leaving:
    """That of all whom ``due`` calls."""
    if not isinstance(due.together, Leaving):
        due.together = Leaving(due.lane)
    return due.together
