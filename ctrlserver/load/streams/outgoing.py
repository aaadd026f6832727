"""One outgoing stream on the lane: what it sends, what comes back, and how it ends.

Rules: no Python object for each packet. A stream keeps two numbers, bytes taken by the kernel (``sent``) and bytes it
may send (``limit``, always the end of a packet); where packets lie in them only the pattern knows.

A stream tells its ``Observer``, which changes with the stage of the run, when all has been sent, and answered where
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
from typing import Protocol, cast

from ctrlserver.lane.lane import Lane
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.words import counted

#: Bytes of one write. On loopback 512 to 768 KiB gave 1.2 to 1.7 times the rate of 64 KiB, 1 MiB less again; neither
#: sendfile from a memory file nor one sendmsg of many small views was faster.
WRITE_BYTES = 768 * 1024

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


class Observer(Protocol):
    """Whom a stream reports to."""

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
        "observer",
        "over",
        "reason",
        "replies",
        "reply_bytes",
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
        observer: Observer,
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
        self.observer = observer
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
        self.observer.stream_failed(self, message)

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
        self.observer.stream_done(self)

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
            self.observer.stream_ended(self)
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
