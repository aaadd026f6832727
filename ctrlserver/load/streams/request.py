"""One outgoing stream in request mode: packets go, replies are counted and timed, each lets one packet more go.

Rules: ``in_flight`` packets are on their way at most. The common case, one reply of a constant packet and one more
packet to send, is one read, one count and one send of a view made beforehand. A stream is done when every packet is
answered. A reply to nothing is the target's fault and ends the stream. The service time of a packet counts from the
moment its first byte was offered to the kernel to the moment its reply was read; replies come in the order of packets.

Beware: a reply counts when it is whole, so bytes past the last one are a fault too; after our half-close a target may
say good-bye, which is not counted.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from typing import cast

from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.due import Backlog
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.metered import MeteredStream
from ctrlserver.load.streams.outgoing import CLOSED, REPLY_FAULT, STALLED, SURPLUS, Observer
from ctrlserver.wire.framing import ByLength, FramingSpec
from ctrlserver.words import counted

_OUT = select.EPOLLOUT


class RequestStream(MeteredStream):
    """Request mode. ``combine``: packets that may go together go in one write."""

    __slots__ = (
        "_advance",
        "_flags",
        "_flight",
        "_in_flight",
        "_outstanding",
        "_packet",
        "_recv",
        "_reply_framing",
        "_reply_spec",
        "_sent_at",
        "_service",
        "_stride",
        "_times",
        "_view",
    )

    counts_replies = True

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
        super().__init__(number, sock, lane, observer, pattern, sendable, local, target, combine=combine, clock=clock)
        self._reply_spec = reply_framing
        self._reply_framing = reply_framing.new()
        self._advance: Callable[[int], int] | None = None
        self._flags = 0
        self._view = lane.copy_view
        if reply_framing.by_length:  # no byte of a reply is needed: the kernel drops them uncopied
            self._advance = cast("ByLength", self._reply_framing).advance
            self._flags = socket.MSG_TRUNC
            self._view = lane.view
        self._in_flight = in_flight
        self._outstanding = 0  # packets allowed to go that are not answered
        self._service = timing.service.now
        self._times = timing.service.now.counts
        self._sent_at = 0  # of the one packet in flight
        self._flight = Backlog()  # moments of sending, where several may be
        self._stride = pattern.stride  # 0: packets differ, and the common case below is never taken
        self._packet = sendable[: pattern.stride]
        self._recv = sock.recv_into

    def ready(self, events: int) -> None:
        """Count the replies of one chunk and send as many packets more."""
        if events == _OUT:
            self._fill()
            return
        try:
            size = self._recv(self._view, 0, self._flags)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if not size:
            self._ended()
            return
        if self._advance is not None:
            answered = self._advance(size)
        else:
            answered = self._reply_framing.count(self._view[:size])
            if self._reply_framing.fault is not None:
                said = f"a reply breaks framing {self._reply_spec.text}: {self._reply_framing.fault}"
                self.fail(REPLY_FAULT, f"{self}: {said}")
                return
        if not self.active:
            if not self.half_closed:
                self._answered_too_much()
            return
        self.reply_bytes += size
        self.last = self._lane.round_began
        if answered == 1:
            stride = self._stride
            if stride and self.sent == self._allowed < self.limit and self._outstanding:
                self.replies += 1
                self._allowed += stride
                self._begun_packets += 1
                now = self._clock()
                if self._in_flight == 1:
                    took = now - self._sent_at
                    magnitude = took.bit_length() - 11  # the bucket of stats.latency
                    self._times[(magnitude << 10) + (took >> magnitude) if magnitude > 0 else took] += 1
                    self._sent_at = now
                else:
                    self._time(1, now)
                    self._flight.push(1, now, now)
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
                if taken != stride:
                    self._fill()
                return
        elif not answered:
            return
        self._answered(answered)

    def end_at_packet(self, reason: str) -> None:
        """Send no packet that has not been begun, and await the replies to the others."""
        if self.active:
            self.reason = reason
            self.limit = min(self.limit, self._pattern.whole(self.sent))
            if self._allowed > self.limit:
                self._outstanding -= self._pattern.packets_in(self._allowed) - self._pattern.packets_in(self.limit)
                self._allowed = self.limit
            self._check_done()

    def stall(self, seconds: float) -> None:
        """The watchdog has seen no progress for so long."""
        if self.sent < self._allowed:
            super().stall(seconds)
            return
        begun = f"; {self.pending_bytes} bytes of a reply have come" if self.pending_bytes else ""
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: the target does not answer{begun}")

    def so_far(self) -> str:
        """For the line that says why a stream is over."""
        came = counted(self.replies, "reply", "replies")
        return f"{super().so_far()} and {came} had come"

    @property
    def in_flight(self) -> int:
        """Packets that are not answered."""
        return self._outstanding

    @property
    def pending_bytes(self) -> int:
        """Bytes of a reply that is not whole."""
        return self._reply_framing.pending_bytes

    def _go(self) -> None:
        self._let_go(self._in_flight)
        self._check_done()

    def _answered(self, answered: int) -> None:
        """Any number of replies, and whatever may be sent for them."""
        if answered > self._outstanding:
            self.replies += answered
            self._answered_too_much()
            return
        self.replies += answered
        self._outstanding -= answered
        self._time(answered, self._clock())
        self._let_go(answered)
        if self.active and not self._outstanding:
            self._check_done()

    def _time(self, answered: int, now: int) -> None:
        """The oldest packets in flight have been answered."""
        if self._in_flight == 1:
            self._service.record(now - self._sent_at)
            return
        for count, moment, _ in self._flight.pop(answered):
            self._service.record(now - moment, count)

    def _begun(self, packets: int, now: int) -> None:
        if self._in_flight == 1:
            self._sent_at = now
        else:
            self._flight.push(packets, now, now)

    def _let_go(self, packets: int) -> None:
        """Let so many packets more go, up to the limit."""
        begun = self._pattern.packets_in(self._allowed)
        self._allowed = min(self.limit, self._pattern.bytes_of(begun + packets))
        self._outstanding += self._pattern.packets_in(self._allowed) - begun
        self._fill()

    def _check_done(self) -> None:
        if self.active and self.sent >= self.limit and not self._outstanding:
            if self.pending_bytes:
                self._answered_too_much()
            else:
                self._done()

    def _answered_too_much(self) -> None:
        past = f" and {self.pending_bytes} bytes more" if self.pending_bytes else ""
        late = self.replies == self.packets + 1 and not self.pending_bytes and not self._reply_spec.by_length
        hint = "; a target that greets first needs --greeting" if late else ""
        said = f"{counted(self.replies, 'reply', 'replies')}{past} for {counted(self.packets, 'packet')}"
        self.fail(SURPLUS, f"{self}: the target answers too much: {said} (framing {self._reply_spec.text}){hint}")

    def _ended(self) -> None:
        if self.active:
            self.eof = True
            self.fail(CLOSED, f"{self}: the target closed the connection early, after {self.so_far()}")
        else:
            super()._ended()
