"""One stream in request mode: it sends packets, counts and times the replies, and sends one packet more for each.

Rules: at most ``in_flight`` packets await their reply. Without a schedule a packet goes as soon as there is room in
flight; by a schedule (``releases``) it must be due besides. The common cases, one constant packet for one reply, are
short cuts: one read, one count and one send of a view made beforehand.

A stream is done when every packet is answered. A reply to nothing is the target's fault and ends the stream. Replies
come in the order of packets. Service time runs from the offer of a packet's first byte to the kernel until its reply is
read; response time from the moment the packet was due.

Beware: bytes past the last reply are a fault too; but after our half-close a target may say good-bye, which is not
counted.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from attrs import Factory, define, field

from ctrlserver.load.measure.due import Backlog
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.streams.outgoing import derived
from ctrlserver.load.streams.sender import Sender
from ctrlserver.load.streams.wire import CLOSED, REPLY_FAULT, STALLED, SURPLUS
from ctrlserver.stats.latency import Histogram
from ctrlserver.wire.framing import Framing, FramingSpec
from ctrlserver.words import counted

_OUT = select.EPOLLOUT


@define(eq=False)
class RequestStream(Sender):
    """Request mode, at most ``in_flight`` packets of which await their reply. With ``releases`` by a schedule."""

    counts_replies = True
    metered = True

    _reply_spec: FramingSpec = field(kw_only=True)
    _in_flight: int = field(kw_only=True)
    _timing: Timing = field(kw_only=True)
    _reply_framing: Framing = derived(lambda self: self._reply_spec.new())
    # If no byte of a reply is needed, the kernel drops them uncopied.
    _advance: Callable[[int], int] | None = derived(
        lambda self: self._reply_framing.advance if self._reply_spec.by_length else None
    )
    _flags: int = derived(lambda self: socket.MSG_TRUNC if self._reply_spec.by_length else 0)
    _view: memoryview = derived(lambda self: self.lane.view if self._reply_spec.by_length else self.lane.copy_view)
    _recv: Callable[[memoryview, int, int], int] = derived(lambda self: self.socket.recv_into)
    _packet: memoryview = derived(lambda self: self._sendable[: self._pattern.stride])
    # The short cuts of the closed loop and of the schedule: a packet's bytes, 0 if the short cut is closed.
    _stride: int = derived(lambda self: self._pattern.stride if self.releases is None else 0)
    _size: int = derived(lambda self: self._pattern.stride if self.releases is not None and self._in_flight == 1 else 0)
    _outstanding: int = 0  # packets allowed to go that are not answered
    _service: Histogram = derived(lambda self: self._timing.service.now)
    _response: Histogram = derived(lambda self: self._timing.response.now)
    _times: dict[int, int] = derived(lambda self: self._service.counts)
    _sent_at: int = 0  # of the one packet in flight
    _due_at: int = 0  # the same, by the schedule
    _flight: Backlog = Factory(Backlog)  # when the packets in flight were sent, if there may be several
    _awaited: Backlog = Factory(Backlog)  # the same: when they were due

    # What the run asks and orders

    @property
    def in_flight(self) -> int:
        """Packets that are not answered."""
        return self._outstanding

    @property
    def idle(self) -> bool:
        """Whether nothing is due and nothing awaited."""
        return self.releases is not None and not self._outstanding and not self.releases.waiting

    @property
    def pending_bytes(self) -> int:
        """Bytes of a reply that is not whole."""
        return self._reply_framing.pending_bytes

    def so_far(self) -> str:
        """For the line that says why the stream is over."""
        came = counted(self.replies, "reply", "replies")
        return f"{super().so_far()} and {came} had come"

    def end_at_packet(self, reason: str) -> None:
        """Begin no further packet, and await the replies to the others."""
        if self.active:
            pattern = self._pattern
            self._outstanding -= pattern.packets_in(self._allowed) - pattern.packets_in(pattern.whole(self.sent))
        super().end_at_packet(reason)

    def stall(self, seconds: float) -> None:
        """The watchdog saw no progress for so long: fail."""
        if not self.kind.closes:
            missing = counted(self.packets - self.replies, "request has", "requests have")
            words = f"{missing} no reply: lost on the way, or not answered; a lost datagram is not sent again"
        elif self.sent < self._allowed:
            words = "the target does not read"
        else:
            so_far = f"; {self.pending_bytes} bytes of a reply have come" if self.pending_bytes else ""
            if self.replies:
                so_far = f" any more, after {counted(self.replies, 'reply', 'replies')}{so_far}"
            elif not so_far:
                so_far = "; mode request needs a server that does, such as one with --mode echo"
            words = f"the target does not answer{so_far}"
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: {words}")

    def release(self, count: int, first: int, last: int) -> None:
        """Send ``count`` packets more, as there is room in flight."""
        releases = self.releases
        assert releases is not None
        if (
            self._size
            and count == 1
            and not self._outstanding
            and self.active
            and self.sent == self._allowed < self.limit
            and not releases.waiting
        ):
            taken, lost = 0, None
            now = self._clock()  # the packet is due: send it before anything is counted
            try:
                taken = self._send(self._packet)
            except BlockingIOError:
                pass
            except OSError as error:
                lost = error
            self._outstanding = 1
            self._allowed += self._size
            self._begun_packets += 1
            self._due_at = first
            self._sent_at = now
            releases.gone(now - first)
            if lost is not None:
                self._lost(lost)
                return
            if taken:
                self.sent += taken
                self.writes += 1
            if taken != self._size:
                self._fill()
        elif self.active:
            releases.add(count, first, last, self._pattern.packets_in(self.limit))
            self._let_go()

    # What the lane calls

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
        now = self._clock()
        if not size:
            self._read_nothing()
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
                self.replies += answered
                self._answered_too_much()
            return
        self.reply_bytes += size
        self.last = self.lane.round_began
        if answered == 1:
            stride = self._stride
            if stride and self.sent == self._allowed < self.limit and self._outstanding:
                self.replies += 1
                self._allowed += stride
                self._begun_packets += 1
                if self._in_flight == 1:
                    took = now - self._sent_at
                    magnitude = took.bit_length() - 11  # bucket_of in stats/latency.py, in place
                    self._times[(magnitude << 10) + (took >> magnitude) if magnitude > 0 else took] += 1
                    self._sent_at = now
                else:
                    for count, moment, _ in self._flight.pop(1):
                        self._service.record(now - moment, count)
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
        self._answered(answered, now)

    # Replies

    def _answered(self, answered: int, now: int) -> None:
        """``answered`` replies were read at ``now``: time them, and send what may be sent for them."""
        if answered == 1 and self._size and self._outstanding:  # the short cut of the schedule
            self.replies += 1
            self._outstanding = 0
            self._response.record(now - self._due_at)
            self._service.record(now - self._sent_at)
            if self.releases is not None and self.releases.waiting:
                self._let_go()
            elif self.sent >= self.limit:
                self._check_done()
            return
        self.replies += answered
        if answered > self._outstanding:
            self._answered_too_much()
            return
        self._outstanding -= answered
        self._time(answered, now)
        self._let_go()
        if self.active and not self._outstanding:
            self._check_done()

    def _time(self, answered: int, now: int) -> None:
        """The replies to the oldest packets in flight have come."""
        if self._in_flight == 1:
            self._service.record(now - self._sent_at)
            if self.releases is not None:
                self._response.record(now - self._due_at)
            return
        for count, moment, _ in self._flight.pop(answered):
            self._service.record(now - moment, count)
        if self.releases is not None:
            for run in self._awaited.pop(answered):
                self._response.record_run(now, *run)

    def _begun(self, packets: int, now: int) -> None:
        if self._in_flight == 1:
            self._sent_at = now
        else:
            self._flight.push(packets, now, now)
        if self.releases is not None:
            for run in self.releases.begun(packets, now):
                if self._in_flight == 1:
                    self._due_at = run[1]
                else:
                    self._awaited.push(*run)

    def _let_go(self) -> None:
        """Send as many packets as are released and as there is room for in flight."""
        pattern = self._pattern
        begun = pattern.packets_in(self._allowed)
        more = self._in_flight - self._outstanding
        if self.releases is not None:
            more = min(more, self.releases.packets - begun)
        if more > 0:
            allowed = pattern.bytes_of(begun + more)
            if allowed > self.limit:
                allowed = self.limit
                more = pattern.packets_in(allowed) - begun
            self._allowed = allowed
            self._outstanding += more
            self._fill()

    # The end

    def _go(self) -> None:
        self._let_go()
        self._check_done()

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

    def _read_nothing(self) -> None:
        """The target has closed its side. Over UDP it is an empty datagram, which is a reply."""
        if self.kind.closes:
            super()._read_nothing()
        elif self.active:
            self.last = self.lane.round_began
            self._answered(1, self._clock())
        elif not self.half_closed:
            self._answered_too_much()

    def _ended(self) -> None:
        if self.active:
            self.fail(CLOSED, f"{self}: the target closed the connection early, after {self.so_far()}")
        else:
            super()._ended()
