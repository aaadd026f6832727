"""What every stream that sends shares: how far it may send, and sending that far.

The model: ``sent <= allowed <= limit``, all three in bytes of the pattern. ``limit`` is the run's. ``allowed`` is what
replies or the schedule have released; streams that send as fast as they can (streams/send.py) ignore it. Both are
always the end of a packet.

Rules: what is allowed goes at once, as far as the kernel takes it; the rest when the kernel has room. A stream that has
done ``BURST_PACKETS`` writes in a row waits for its next turn, for the others' sake.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from attrs import Factory, define, field

from ctrlserver.load.measure.due import Releases
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.outgoing import Conversation, derived
from ctrlserver.words import counted

#: Bytes of one write. On loopback 512 to 768 KiB gave 1.2 to 1.7 times the rate of 64 KiB, 1 MiB less again; neither
#: sendfile from a memory file nor one sendmsg of many small views was faster.
WRITE_BYTES = 768 * 1024

#: Writes for one ``ready`` where each packet is a write of its own: 0.2 to 0.4 ms.
BURST_PACKETS = 256

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


@define(eq=False)
class Sender(Conversation):
    """A stream that sends the packets of a pattern.

    ``combine``: several packets may go in one write, of at most ``write_bytes``. ``clock`` gives monotonic nanoseconds.
    ``releases``: what the schedule has let it send; None without a schedule. ``send``: in place of the socket's.
    """

    #: Whether it sends what is allowed, by ``_fill``; else it sends all it can, by ``_write``.
    metered = False

    sent: int = 0  # bytes that the kernel has taken
    limit: int = 0  # bytes to send in all
    releases: Releases | None = field(default=None, kw_only=True)
    _combine: bool = field(default=True, kw_only=True)
    _write_bytes: int = field(default=WRITE_BYTES, kw_only=True)
    _send: Callable[[memoryview], int] = field(
        default=Factory(lambda self: self.socket.send, takes_self=True), kw_only=True
    )
    _clock: Callable[[], int] = field(default=time.monotonic_ns, kw_only=True)
    _pattern: Pattern = derived(lambda self: self.line.pattern)
    _sendable: memoryview = derived(lambda self: self.line.sendable)
    _allowed: int = 0  # bytes that may have been sent by now
    _begun_packets: int = 0  # reported to _begun
    _blocked: bool = False  # the kernel took less than was offered

    # What the run asks

    @property
    def packets(self) -> int:
        """Whole packets sent."""
        return self._pattern.packets_in(self.sent)

    @property
    def moved(self) -> int:
        """Bytes sent; empty datagrams have none."""
        return 0 if self._pattern.empty else self.sent

    @property
    def progress(self) -> int:
        """A number that grows as long as the target reads or answers."""
        return self.sent + self.reply_bytes + self.replies

    @property
    def incomplete_bytes(self) -> int:
        """Bytes of a packet that is begun and not ended."""
        return self._pattern.rest_in(self.sent)

    def so_far(self) -> str:
        """For the line that says why the stream is over."""
        return f"{counted(self.packets, 'packet')} had been sent"

    # What the run orders

    def start(self, limit: int) -> None:
        """Send up to byte ``limit`` from now on; may be called again after ``stream_done``."""
        self.limit = limit
        self._begin(self._events())
        self._go()

    def bound(self, limit: int) -> None:
        """Another limit while sending; a packet that was begun is ended all the same."""
        self.limit = max(limit, self._pattern.whole(self.sent))
        self._check_done()

    def end_at_packet(self, reason: str) -> None:
        """Begin no further packet."""
        if self.active:
            self.reason = reason
            self.limit = min(self.limit, self._pattern.whole(self.sent))
            self._allowed = min(self._allowed, self.limit)
            if self.releases is not None:
                self.releases.end(self._pattern.packets_in(self.limit))
            self._check_done()

    def end_released(self, reason: str) -> None:
        """The schedule is over: end after what it has released."""
        if self.active and self.releases is not None:
            self.reason = reason
            self.limit = min(self.limit, self._pattern.bytes_of(self.releases.packets))
            self._check_done()

    # What the lane calls

    def ready(self, events: int) -> None:
        """Drop what the target says, then write on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self.last = self.lane.clock()
            try:
                self._write()
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(error)
                return
            if self.sent >= self.limit:
                self._done()

    def _write(self) -> None:
        """A bounded number of writes; BlockingIOError when the kernel has no room."""
        raise NotImplementedError

    # What the modes share

    def _events(self) -> int:
        return _IN | _OUT if self._blocked or not self.metered else _IN

    def _go(self) -> None:
        """Begin to send after ``start``, unless the lane calls for it."""
        self._check_done()

    def _fill(self) -> None:
        """Send what is allowed, as far as the kernel takes it."""
        pattern = self._pattern
        size = len(pattern.block)
        writes = 0
        while self.sent < self._allowed:
            end = self._allowed if self._combine else pattern.bytes_of(self.packets + 1)
            offered = min(self._write_bytes, end - self.sent)
            offset = self.sent % size
            now = self._clock()
            try:
                taken = self._send(self._sendable[offset : offset + offered])
            except BlockingIOError:
                taken = 0
            except OSError as error:
                self._lost(error)
                return
            if taken:
                self.sent += taken
                self.writes += 1
                begun = pattern.packets_in(pattern.whole(self.sent)) - self._begun_packets
                if begun > 0:
                    self._begun_packets += begun
                    self._begun(begun, now)
            writes += 1
            if taken < offered or writes >= BURST_PACKETS:
                break
        blocked = self.sent < self._allowed
        if blocked != self._blocked:
            self._blocked = blocked
            self._watch(self._events())

    def _begun(self, packets: int, now: int) -> None:
        """The kernel has taken the first byte of ``packets`` packets more, offered to it at ``now``."""

    def _try_later(self) -> None:
        """Wait until the socket has room; one packet a call, if the socket has turned out not to combine."""
        self._combine = self._combine and self.kind.combines
        if self.active:  # else a datagram sent before has failed, and a socket with room would keep the lane busy
            self._blocked = True
            self._watch(self._events())

    def _check_done(self) -> None:
        if self.active and self.sent >= self.limit:
            self._done()

    def _done(self) -> None:
        self.active = False
        self.last = self.lane.clock()
        self._watch(_IN)
        self.observer.stream_done(self)

    def _drop(self) -> bool:
        """Read one chunk and forget it; False if the stream is over by it."""
        try:
            size = self.socket.recv_into(self.lane.view)
        except BlockingIOError:
            return True
        except OSError as error:
            self._lost(error)
            return False
        if not size:
            self._read_nothing()
        return True
