"""One outgoing stream: the model, and what streams of every mode share.

A stream is one socket on the lane, from its first byte to its end. It knows no other stream and no plan of the run.

::

      start        stream_done         half_close        stream_ended
    ---------> ACTIVE --------> DONE -----------> CLOSING -----------> off the lane
                 ^               |
                 +---- start ----+        (the end of the warm-up, then the measured part)

    any of them -- fail, cut --> OVER     (by the target, the network, the watchdog, or the run)

The states are flags: ``active``, ``half_closed``, ``over``; ``eof`` says that the target has closed its side, which may
happen in any state. ``reason`` is the result's word for the end.

Two classes stand below every mode. A ``Conversation`` (here) has the socket, the observer and the end. A ``Sender``
(sender.py) has three counts of bytes besides, ``sent <= allowed <= limit``: taken by the kernel, released by replies or
the schedule, and wanted by the run. A download is a ``Conversation`` with ``received`` and ``wanted``.

Who calls whom:

- The run calls ``start``, ``bound``, ``end_at_packet``, ``cut`` and ``half_close``, and reads the counts.
- The lane calls ``ready`` and, after an exception of ours, ``failed``. The pacer calls ``release``.
- The stream calls its ``Observer``, which changes with the phase of the run: ``stream_done`` once for each ``start``
  that is not cut; ``stream_failed`` at most once in its life; ``stream_ended`` once after ``half_close``.

What must never happen: a Python object for each packet, because only the pattern knows where packets lie in the bytes;
a ``ready`` without a bound on its writes, because timers need their turn; a limit inside a packet; two
reports of one end.

Beware: the Twisted transport closes the socket, never the stream; the stream leaves the lane before that.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any, Protocol, cast

from attrs import Factory, define, field, frozen

from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.wire import ABORTED, STALLED, Poller, SocketKind, Wire

#: A limit that is none: more bytes than any run sends.
UNLIMITED = 1 << 62

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class Observer(Protocol):
    """Whom a stream reports to."""

    def stream_done(self, stream: Conversation) -> None:
        """All packets have been sent, or received; those that need a reply have been answered."""

    def stream_failed(self, stream: Conversation, message: str) -> None:
        """The stream is over before its time; ``message`` is one line."""

    def stream_ended(self, stream: Conversation) -> None:
        """The target has closed its side after we closed ours."""


@frozen
class Line:
    """What every stream is made of. ``number`` counts from 1; ``local`` and ``target`` are addresses in words.

    ``kind`` is the kind of ``socket``: what its errors mean, and whether it closes.

    ``sendable`` is the pattern's block, repeated so that one write can be a slice of it from any place in the block.
    """

    number: int
    socket: Wire
    lane: Poller
    observer: Observer
    pattern: Pattern
    sendable: memoryview
    local: str
    target: str
    kind: SocketKind = field(factory=SocketKind)


def derived(make: Callable[[Any], object]) -> Any:
    """A field that no caller gives: ``make`` makes it from the stream's fields above it."""
    return field(init=False, default=Factory(make, takes_self=True))


@define(eq=False)
class Conversation:
    """What streams of every mode share: the socket on its lane, the observer, and the end.

    ``active``: sending, receiving or awaiting replies. ``over``: failed, cut or finished, so that nothing more is asked
    of it. ``eof``: the target has closed its side; ``half_closed``: we have closed ours.
    ``seen`` is the watchdog's: the progress it last found, and since ``seen_at``.
    """

    #: Whether ``replies`` and ``reply_bytes`` mean anything.
    counts_replies = False

    line: Line
    number: int = derived(lambda self: self.line.number)
    socket: Wire = derived(lambda self: self.line.socket)
    lane: Poller = derived(lambda self: self.line.lane)
    observer: Observer = derived(lambda self: self.line.observer)
    local: str = derived(lambda self: self.line.local)
    target: str = derived(lambda self: self.line.target)
    kind: SocketKind = derived(lambda self: self.line.kind)
    writes: int = 0
    replies: int = 0
    reply_bytes: int = 0
    reason: str = ABORTED
    began: float = 0.0
    last: float = 0.0
    active: bool = False
    over: bool = False
    eof: bool = False
    half_closed: bool = False
    seen: int = -1
    seen_at: float = 0.0
    _watched: bool = False

    def __str__(self) -> str:
        return f"stream {self.number} ({self.target})"

    # What the run asks

    @property
    def packets(self) -> int:
        """Whole packets sent or, in receive mode, received."""
        raise NotImplementedError

    @property
    def moved(self) -> int:
        """Bytes sent or, in receive mode, received."""
        raise NotImplementedError

    @property
    def incomplete_bytes(self) -> int:
        """Bytes of the last packet, if it is not whole."""
        raise NotImplementedError

    @property
    def progress(self) -> int:
        """A number that grows as long as the target reads or answers."""
        return self.moved + self.reply_bytes

    @property
    def idle(self) -> bool:
        """Whether no progress is expected: nothing is due, nothing awaited."""
        return False

    @property
    def in_flight(self) -> int:
        """Packets that await their reply."""
        return 0

    @property
    def seconds(self) -> float:
        """From the first to the last data."""
        return max(0.0, self.last - self.began)

    def unsent_bytes(self) -> int:
        """Bytes that the kernel still holds for the target, unacknowledged ones included."""
        try:
            answer = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            return 0
        return cast("int", struct.unpack("i", answer)[0])

    # What the run orders

    def start(self, limit: int) -> None:
        """Go on up to ``limit``; may be called again after ``stream_done``."""
        raise NotImplementedError

    def bound(self, limit: int) -> None:
        """Take another limit while active."""
        raise NotImplementedError

    def end_at_packet(self, reason: str) -> None:
        """End at the next end of a packet."""
        raise NotImplementedError

    def cut(self, reason: str) -> None:
        """Stop at once, in the middle of a packet if need be."""
        if self.active:
            self.active = False
            self.reason = reason
        self.over = True
        self.leave()

    def half_close(self) -> None:
        """Close our side. The observer hears of the target's close; over UDP there is nothing to close."""
        self.half_closed = True
        if self.eof:
            self.leave()  # closed on both sides the socket would be ready for ever
        if self.kind.closes:
            try:
                self.socket.shutdown(socket.SHUT_WR)
            except OSError as error:
                self._lost(error)

    def check_broken(self) -> bool:
        """Fail if the kernel keeps an error for the socket; True if so."""
        try:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except OSError as problem:
            error = problem.errno or errno.EBADF
        if error:
            self._lost(OSError(error, os.strerror(error)))
        return bool(error)

    def leave(self) -> None:
        """Leave the lane; the socket stays open. May be called again."""
        if self._watched:
            self._watched = False
            self.lane.forget(self.socket.fileno())

    def fail(self, reason: str, message: str) -> None:
        """End the stream and report it, once. ``message`` is one line that names the stream."""
        self.active = False
        self.over = True
        self.reason = reason
        self.leave()
        self.observer.stream_failed(self, message)

    def stall(self, seconds: float) -> None:
        """The watchdog saw no progress for so long: fail."""
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: the target does not read")

    def quiet(self, seconds: float, patience: float) -> None:
        """The watchdog saw no progress for so long; at ``patience`` it calls ``stall``."""

    # What the lane calls

    def ready(self, events: int) -> None:
        """The socket can be read or written."""
        raise NotImplementedError

    def failed(self) -> None:
        """``ready`` raised, and the lane dropped the stream."""
        self._watched = False
        self.fail(ABORTED, f"{self}: an error of ctrlload's own ended it after {self.so_far()}")

    # What the modes share

    def so_far(self) -> str:
        """What was sent or received, for the line that says why the stream is over."""
        raise NotImplementedError

    def _begin(self, events: int) -> None:
        """Be active from now on, and wait for ``events``."""
        now = self.lane.clock()
        if not self.progress:
            self.began = self.last = now
        self.active = True
        self.seen_at = now
        self._watch(events)

    def _watch(self, events: int) -> None:
        if self.eof:
            events &= ~_IN  # at the end the socket is readable for ever
            if not events:
                self.leave()
                return
        if self._watched:
            self.lane.change(self.socket.fileno(), events)
        else:
            self.lane.watch(self.socket.fileno(), self, events)
            self._watched = True

    def _read_nothing(self) -> None:
        """A read gave no bytes: the target has closed its side. Over UDP it is an empty datagram."""
        if self.kind.closes:
            self.eof = True
            self._ended()

    def _ended(self) -> None:
        """The target has closed its side."""
        if self.half_closed:
            self.leave()
            self.observer.stream_ended(self)
        elif self.active:
            self._watch(_OUT)
        else:
            self.leave()

    def _lost(self, error: OSError) -> None:
        """A socket call failed."""
        failure = self.kind.failure(error, self.eof, self.so_far())
        if failure is None:
            self._try_later()
        else:
            reason, words = failure
            self.fail(reason, f"{self}: {words}")

    def _try_later(self) -> None:
        """The socket had no room, although it did not say so by EAGAIN."""
