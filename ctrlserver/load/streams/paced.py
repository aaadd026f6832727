"""Streams in send mode by a schedule: they send what the pacer releases, and know since when each packet was due.

Rules: a packet that is released is sent as soon as the kernel takes it. Until then it waits, and its slip counts from
the moment at which it was due. That is what makes an open loop honest: a target that stalls delays packets, it does not
prevent them from being measured. (Request mode by a schedule is in streams/request.py.)

Beware: packets are counted from a stream's first, the warm-up's included; past the stream's limit nothing is released.
"""

from __future__ import annotations

import select

from attrs import define, field

from ctrlserver.load.measure.due import Releases
from ctrlserver.load.streams.sender import Sender

_OUT = select.EPOLLOUT


@define(eq=False)
class PacedSendStream(Sender):
    """What is due together goes in one write, or with ``combine`` off in one write each. It needs ``releases``."""

    metered = True
    releases: Releases = field(kw_only=True)

    @property
    def idle(self) -> bool:
        """Whether nothing is due."""
        return self.sent >= self._allowed

    def release(self, count: int, first: int, last: int) -> None:
        """Send ``count`` packets more."""
        if self.active:
            self.releases.add(count, first, last, self._pattern.packets_in(self.limit))
            self._allowed = self._pattern.bytes_of(self.releases.packets)
            if not self._blocked:
                self._send_on()

    def end_at_packet(self, reason: str) -> None:
        """Begin no further packet."""
        if self.active:
            self._allowed = self.limit = min(self.limit, self._pattern.whole(self.sent))
            self.releases.end(self._pattern.packets_in(self.limit))
        super().end_at_packet(reason)

    def ready(self, events: int) -> None:
        """Drop what the target says, then send on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self._send_on()

    def _send_on(self) -> None:
        self._fill()
        self._check_done()

    def _begun(self, packets: int, now: int) -> None:
        self.releases.begun(packets, now)
        self.last = self.lane.clock()
