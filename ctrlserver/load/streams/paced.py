"""Streams of an open loop: they send what the pacer releases, and know since when each packet was due.

Rules: a packet that is released is sent as soon as the stream can: in send mode when the kernel takes it, in request
mode when besides there is room for one more in flight. Until then it waits, and its slip, and in request mode its
response time, count from the moment at which it was due. That is what makes an open loop honest: a target that stalls
delays packets, it does not prevent them from being measured.

Beware: packets are counted from a stream's first, the warm-up's included; past the stream's limit nothing is released.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.due import Backlog, Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.metered import MeteredStream
from ctrlserver.load.streams.outgoing import Observer
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.wire.framing import FramingSpec

_OUT = select.EPOLLOUT


class PacedSendStream(MeteredStream):
    """Send mode by a schedule: what is due together goes in one write, or with ``combine`` off in one write each."""

    __slots__ = ("_releases",)

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        lane: Lane,
        observer: Observer,
        pattern: Pattern,
        sendable: memoryview,
        local: str,
        target: str,
        *,
        combine: bool,
        timing: Timing,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(number, sock, lane, observer, pattern, sendable, local, target, combine=combine, clock=clock)
        self._releases = Releases(timing)

    @property
    def due(self) -> int:
        """Packets that were due so far, sent or not."""
        return self._releases.packets + self._releases.dropped

    @property
    def dropped(self) -> int:
        """Of those, packets that will not be sent."""
        return self._releases.dropped

    @property
    def idle(self) -> bool:
        """Whether nothing is due."""
        return self.sent >= self._allowed

    def release(self, count: int, first: int, last: int) -> None:
        """Send so many packets more."""
        if self.active:
            self._releases.add(count, first, last, self._pattern.packets_in(self.limit))
            self._allowed = self._pattern.bytes_of(self._releases.packets)
            if not self._blocked:
                self._send_on()

    def end_released(self, reason: str) -> None:
        """Nothing more will be released."""
        if self.active:
            self.reason = reason
            self.limit = min(self.limit, self._allowed)
            self._check_done()

    def end_at_packet(self, reason: str) -> None:
        """Send no packet that has not been begun."""
        if self.active:
            self._allowed = self.limit = min(self.limit, self._pattern.whole(self.sent))
            self._releases.end(self._pattern.packets_in(self.limit))
        super().end_at_packet(reason)

    def ready(self, events: int) -> None:
        """Drop what came, then send on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self._send_on()

    def _send_on(self) -> None:
        self._fill()
        self._check_done()

    def _begun(self, packets: int, now: int) -> None:
        self._releases.begun(packets, now)
        self.last = self._lane.clock()


class PacedRequestStream(RequestStream):
    """Request mode by a schedule: ``in_flight`` packets at most are on their way, the others wait for room."""

    __slots__ = ("_awaited", "_due_at", "_releases", "_response", "_size")

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        lane: Lane,
        observer: Observer,
        pattern: Pattern,
        sendable: memoryview,
        local: str,
        target: str,
        *,
        reply_framing: FramingSpec,
        in_flight: int,
        combine: bool,
        timing: Timing,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        super().__init__(
            number,
            sock,
            lane,
            observer,
            pattern,
            sendable,
            local,
            target,
            reply_framing=reply_framing,
            in_flight=in_flight,
            combine=combine,
            timing=timing,
            clock=clock,
        )
        self._stride = 0  # a reply alone lets nothing go: never the short cut of the closed loop
        self._size = pattern.stride if in_flight == 1 else 0  # 0: not the short cut here
        self._releases = Releases(timing)
        self._awaited = Backlog()  # when the packets in flight were due, where there may be several
        self._due_at = 0  # when the one was
        self._response = timing.response.now

    @property
    def due(self) -> int:
        """Packets that were due so far, sent or not."""
        return self._releases.packets + self._releases.dropped

    @property
    def dropped(self) -> int:
        """Of those, packets that will not be sent."""
        return self._releases.dropped

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing awaited."""
        return not self._outstanding and not self._releases.waiting

    def release(self, count: int, first: int, last: int) -> None:
        """Send so many packets more, as there is room."""
        if self._size and count == 1 and not self._outstanding and self._can_go_alone():
            self._go_alone(first)
        elif self.active:
            self._releases.add(count, first, last, self._pattern.packets_in(self.limit))
            self._let_go(0)

    def end_released(self, reason: str) -> None:
        """Nothing more will be released."""
        if self.active:
            self.reason = reason
            self.limit = min(self.limit, self._pattern.bytes_of(self._releases.packets))
            self._check_done()

    def end_at_packet(self, reason: str) -> None:
        """Send no packet that has not been begun, and await the replies to the others."""
        if self.active:
            self._releases.end(self._pattern.packets_in(self._pattern.whole(self.sent)))
        super().end_at_packet(reason)

    def _can_go_alone(self) -> bool:
        return self.active and self.sent == self._allowed < self.limit and not self._releases.waiting

    def _go_alone(self, due_at: int) -> None:
        """The common case: one packet, nothing before it."""
        self._outstanding = 1
        self._allowed += self._size
        self._begun_packets += 1
        self._due_at = due_at
        now = self._sent_at = self._clock()
        self._releases.gone(now - due_at)
        try:
            taken = self._send(self._packet)
        except BlockingIOError:
            taken = 0
        except OSError as error:
            self._lost(error)
            return
        if taken:
            self.sent += taken
            self.writes += 1
        if taken != self._size:
            self._fill()

    def _go(self) -> None:
        self._check_done()

    def _answered(self, answered: int) -> None:
        if answered == 1 and self._size and self._outstanding:
            self.replies += 1
            self._outstanding = 0
            now = self._clock()
            self._response.record(now - self._due_at)
            self._service.record(now - self._sent_at)
            if self._releases.waiting:
                self._let_go(0)
            elif self.sent >= self.limit:
                self._check_done()
        else:
            super()._answered(answered)

    def _let_go(self, packets: int) -> None:
        """As many of those released as there is room for."""
        allowed = self._pattern.packets_in(self._allowed)
        more = min(self._in_flight - self._outstanding, self._releases.packets - allowed)
        if more > 0:
            self._allowed = self._pattern.bytes_of(allowed + more)
            self._outstanding += more
            if not self._blocked:
                self._fill()

    def _begun(self, packets: int, now: int) -> None:
        for run in self._releases.begun(packets, now):
            if self._in_flight == 1:
                self._due_at = run[1]
            else:
                self._awaited.push(*run)
        super()._begun(packets, now)

    def _time(self, answered: int, now: int) -> None:
        if self._in_flight == 1:
            self._response.record(now - self._due_at)
        for run in self._awaited.pop(answered):
            self._response.record_run(now, *run)
        super()._time(answered, now)
