"""One outgoing stream on the lane: what it sends, what comes back, and how it ends.

Rules: no Python object for each packet. A stream keeps two numbers, bytes taken by the kernel (``sent``) and bytes it
may send (``limit``, always the end of a packet); where packets lie in them only the pattern knows. Writes are large
slices of the pattern's block, a bounded number for each ``ready``, so timers keep their turn. In send mode what the
target says is read and dropped; in request mode replies are counted and each lets one packet more go.

A stream tells its run (``Run``, which changes with the stage of the run) when all has been sent, and answered where
answers are awaited; when the target has closed its side after ours; or, once, that the target or the network ended it.

Beware: sockets are closed by their Twisted transport, never here; a stream leaves the lane before that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from contextlib import suppress
from os import write
from typing import Protocol, cast

from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.words import counted

#: Bytes of one write. On loopback 512 to 768 KiB gave 1.2 to 1.7 times the rate of 64 KiB, 1 MiB less again; neither
#: sendfile from a memory file nor one sendmsg of many small views was faster.
WRITE_BYTES = 768 * 1024

#: Writes for one ``ready`` where packets are combined; stops early when the kernel takes less than was offered.
BURST_WRITES = 4

#: Writes for one ``ready`` where each packet is a write of its own: 0.2 to 0.4 ms.
BURST_PACKETS = 256

#: A limit that is none: more bytes than any run sends.
UNLIMITED = 1 << 62

#: How a stream ended (``streams[].reason``).
COMPLETE = "complete"  # all that was asked for
ENDED = "ended"  # by the clock or Ctrl-C, at the end of a packet
CUT = "cut"  # as ENDED, but the target took no more: the rest of a packet is incomplete
RESET = "reset"  # by the target or the network
CLOSED = "closed"  # by the target, early
STALLED = "stalled"  # the target neither read nor answered
REPLY_FAULT = "reply-fault"  # what it says breaks its framing
SURPLUS = "surplus"  # it answered more than it was sent
ABORTED = "aborted"  # another stream or the run failed
REFUSED = "refused"  # nothing listens at the other end of a UDP stream
REASONS = (COMPLETE, ENDED, CUT, RESET, CLOSED, STALLED, REPLY_FAULT, SURPLUS, ABORTED, REFUSED)

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT
_BROKEN = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED, errno.ENOTCONN)


class Run(Protocol):
    """Whoever a stream tells how it goes."""

    def stream_done(self, stream: Outgoing) -> None:
        """All has been sent, and answered where answers are awaited."""

    def stream_failed(self, stream: Outgoing, message: str) -> None:
        """The stream is over before its time; ``message`` is one line."""

    def stream_ended(self, stream: Outgoing) -> None:
        """The target has closed its side after all was sent."""


class Outgoing:
    """What streams of every mode have in common. ``sock`` is connected and non-blocking; ``number`` counts from 1."""

    #: Whether ``replies`` and ``reply_bytes`` mean anything.
    counts_replies = False

    #: Whether the target closes its side after ours; else nobody waits for that.
    closes = True

    __slots__ = (
        "_lane",
        "_pattern",
        "_sendable",
        "_socket",
        "_watched",
        "active",
        "began",
        "eof",
        "half_closed",
        "last",
        "limit",
        "local",
        "number",
        "over",
        "reason",
        "replies",
        "reply_bytes",
        "run",
        "seen",
        "seen_at",
        "sent",
        "target",
        "writes",
    )

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        lane: Lane,
        run: Run,
        pattern: Pattern,
        sendable: memoryview,
        local: str,
        target: str,
    ) -> None:
        self.number = number
        self.local = local
        self.target = target
        self.sent = 0
        self.limit = 0
        self.writes = 0
        self.replies = 0
        self.reply_bytes = 0
        self.reason = ABORTED
        self.began = self.last = 0.0
        self.active = False  # sending, or awaiting replies
        self.over = False  # failed or cut: nothing more is asked of it
        self.eof = False  # the target has closed its side
        self.half_closed = False  # we have closed ours
        self.seen = -1  # progress when the watchdog last looked, and when it last moved
        self.seen_at = 0.0
        self._socket = sock
        self._lane = lane
        self.run = run
        self._pattern = pattern
        self._sendable = sendable
        self._watched = False

    def __str__(self) -> str:
        return f"stream {self.number} ({self.target})"

    # What the run asks

    @property
    def packets(self) -> int:
        """Whole packets sent."""
        return self._pattern.packets_in(self.sent)

    @property
    def incomplete_bytes(self) -> int:
        """Bytes of a packet that was begun and not ended."""
        return self._pattern.rest_in(self.sent)

    @property
    def progress(self) -> int:
        """A number that grows as long as the target takes or answers."""
        return self.sent + self.reply_bytes

    @property
    def idle(self) -> bool:
        """Whether no progress is expected: nothing is due, nothing awaited."""
        return False

    @property
    def in_flight(self) -> int:
        """Packets that are to be answered and are not."""
        return 0

    @property
    def seconds(self) -> float:
        """First to last data."""
        return max(0.0, self.last - self.began)

    @property
    def handle(self) -> socket.socket:
        """Its socket, for who listens before it begins."""
        return self._socket

    def unread(self, nbytes: int) -> bytes:
        """Up to ``nbytes`` of what the target has said and nobody has read; they stay unread."""
        try:
            return self._socket.recv(nbytes, socket.MSG_PEEK)
        except OSError:  # nothing, or the connection broke, which is told when it is used
            return b""

    def unsent_bytes(self) -> int:
        """Bytes the kernel still holds for the target, those on their way included."""
        try:
            answer = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            return 0
        return cast("int", struct.unpack("i", answer)[0])

    # What the run orders

    def start(self, limit: int) -> None:
        """Send up to byte ``limit`` from now on; also goes on after ``stream_done``."""
        if not self.sent:
            self.began = self.last = self._lane.clock()
        self.limit = limit
        self.active = True
        self.seen_at = self._lane.clock()
        self._watch(self._events())
        self._go()

    def end_at_packet(self, reason: str) -> None:
        """Send no packet that has not been begun."""
        if self.active:
            self.reason = reason
            self.limit = min(self.limit, self._pattern.whole(self.sent))
            self._check_done()

    def bound(self, limit: int) -> None:
        """Another limit while sending; a packet that was begun is ended all the same."""
        self.limit = max(limit, self._pattern.whole(self.sent))
        self._check_done()

    def cut(self, reason: str) -> None:
        """Stop at once, in the middle of a packet if need be."""
        if self.active:
            self.active = False
            self.reason = reason
        self.over = True
        self.leave()

    def half_close(self) -> None:
        """Say that no more comes; the target's close is told by ``stream_ended``."""
        self.half_closed = True
        if self.eof:
            self.leave()  # hung up on both sides the lane would call for ever
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._lost(error)

    def check_broken(self) -> bool:
        """Look for an error the kernel keeps for us; True where there was one, and the stream has failed."""
        try:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as problem:
            error = problem.errno or errno.EBADF
        if error:
            self._lost(OSError(error, os.strerror(error)))
        return bool(error)

    def leave(self) -> None:
        """Off the lane; the socket stays open. May be called again."""
        if self._watched:
            self._watched = False
            self._lane.forget(self._socket.fileno())

    def fail(self, reason: str, message: str) -> None:
        """The stream is over: tell the run, once. ``message`` is one line that names the stream."""
        self.active = False
        self.over = True
        self.reason = reason
        self.leave()
        self.run.stream_failed(self, message)

    def stall(self, seconds: float) -> None:
        """The watchdog has seen no progress for so long."""
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: the target does not read")

    def quiet(self, seconds: float, patience: float) -> None:
        """The watchdog has seen no progress for so long; at ``patience`` it calls ``stall``."""

    # What the lane calls

    def ready(self, events: int) -> None:
        """The socket can be read or written."""
        raise NotImplementedError

    def failed(self) -> None:
        """The lane dropped us after an exception of our own."""
        self._watched = False
        self.fail(ABORTED, f"{self}: an error of ctrlload's own ended it after {self.so_far()}")

    # What the modes share

    def so_far(self) -> str:
        """For the line that says why a stream is over."""
        return f"{counted(self.packets, 'packet')} had been sent"

    def _events(self) -> int:
        return _IN | _OUT

    def _go(self) -> None:
        """Begin to send after ``start``; where that is not left to the lane."""
        self._check_done()

    def _check_done(self) -> None:
        if self.active and self.sent >= self.limit:
            self._done()

    def _done(self) -> None:
        self.active = False
        self.last = self._lane.clock()
        self._watch(_IN)
        self.run.stream_done(self)

    def _watch(self, events: int) -> None:
        if self.eof:
            events &= ~_IN  # at the end the socket is readable for ever
            if not events:
                self.leave()
                return
        if self._watched:
            self._lane.change(self._socket.fileno(), events)
        else:
            self._lane.watch(self._socket.fileno(), self, events)
            self._watched = True

    def _drop(self) -> bool:
        """Read and forget one chunk; False where the stream is over by it."""
        try:
            size = self._socket.recv_into(self._lane.view)
        except BlockingIOError:
            return True
        except OSError as error:
            self._lost(error)
            return False
        if not size:
            self._ended()
        return True

    def _ended(self) -> None:
        """The target has closed its side."""
        self.eof = True
        if self.half_closed:
            self.leave()
            self.run.stream_ended(self)
        elif self.active:
            self._watch(_OUT)
        else:
            self.leave()

    def _lost(self, error: OSError) -> None:
        """A socket call failed."""
        if error.errno not in _BROKEN:
            self.fail(RESET, f"{self}: the connection broke ({error.strerror or error}) after {self.so_far()}")
        elif self.eof:
            self.fail(CLOSED, f"{self}: the target closed the connection early, after {self.so_far()}")
        else:
            self.fail(RESET, f"{self}: the target reset the connection after {self.so_far()}")


class SendStream(Outgoing):
    """Send mode: one way, as fast as the target takes it, many packets a write."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """Drop what came, then write on."""
        if events & ~_OUT and not self._drop():
            return
        if self.active and events & _OUT:
            self.last = self._lane.clock()
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
        """A bounded number of large writes; ends by BlockingIOError, or after one the kernel did not take whole."""
        size = len(self._pattern.block)
        for _ in range(BURST_WRITES):
            offset = self.sent % size
            offered = min(WRITE_BYTES, self.limit - self.sent)
            taken = self._socket.send(self._sendable[offset : offset + offered])
            self.sent += taken
            self.writes += 1
            if taken < offered or self.sent >= self.limit:
                return


class PacketStream(SendStream):
    """Send mode with one write for each packet (``--no-write-combine``).

    The system may put what several writes brought into one segment while earlier ones are on their way (Nagle), as for
    any program that writes without a pause: 1.3 to 2.5 times the rate. ``os.write`` of ``bytes`` costs less of a call
    than ``send`` of a view.
    """

    __slots__ = ("_next", "_packets", "_single")

    def __init__(
        self,
        number: int,
        sock: socket.socket,
        lane: Lane,
        run: Run,
        pattern: Pattern,
        sendable: memoryview,
        local: str,
        target: str,
        packets: list[memoryview],
    ) -> None:
        super().__init__(number, sock, lane, run, pattern, sendable, local, target)
        self._packets = packets
        self._single = bytes(packets[0]) if len(packets) == 1 else b""
        self._next = 0

    def start(self, limit: int) -> None:
        """As any stream; from now on small writes may share a segment."""
        self._set_no_delay(False)
        super().start(limit)

    def _done(self) -> None:
        self._set_no_delay(True)  # sends what is held back
        super()._done()

    def _set_no_delay(self, wanted: bool) -> None:
        if self._socket.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # a broken connection is told by the next write
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, wanted)

    def _write(self) -> None:
        fd = self._socket.fileno()
        if not self._end_begun(fd):
            return
        if self._single:
            self._write_equal(fd, self._single)
            return
        packets, count = self._packets, len(self._packets)
        for _ in range(BURST_PACKETS):
            if self.sent >= self.limit:
                return
            packet = packets[self._next]
            taken = write(fd, packet)
            self.sent += taken
            self.writes += 1
            if taken != len(packet):
                return
            self._next = (self._next + 1) % count

    def _write_equal(self, fd: int, packet: bytes) -> None:
        """The common case: nothing is counted for each packet."""
        size = len(packet)
        most = min(BURST_PACKETS, (self.limit - self.sent) // size)
        number = whole = part = 0
        try:
            for number in range(most):
                part = write(fd, packet)
                if part != size:
                    whole = number
                    return
            whole, part = most, 0
        except OSError:
            whole, part = number, 0
            raise
        finally:
            self.sent += whole * size + part
            self.writes += whole + (part > 0)

    def _end_begun(self, fd: int) -> bool:
        """Write the rest of a packet that the kernel took in part; True where none is left."""
        rest = self._pattern.rest_in(self.sent)
        if not rest:
            return True
        offset = self.sent % len(self._pattern.block)
        left = len(self._packets[self._next]) - rest
        taken = write(fd, self._sendable[offset : offset + left])
        self.sent += taken
        self.writes += 1
        if taken < left:
            return False
        self._next = (self._next + 1) % len(self._packets)
        return self.sent < self.limit
