"""One stream in receive mode: it asks, and counts what comes.

Rules: the first words are a source's line (``N`` packets, or an empty line for packets without end), or a payload of
one's own; they are said once. Packets are counted by the framing. Where bytes alone decide, the kernel drops them
uncopied, and no byte past the limit is read. A stream is done at its limit, at the end of the time, or when the target
closes: that is early, and a failure, only where a number was asked for on the command line. When nothing comes for a
while our side is closed, so that a target that only waits for that (``nc -l < file``) ends the stream.

Beware: ``sent`` and ``limit``, which every stream has, are what came and how much is to come. They are bytes where
bytes decide (``fixed``, ``raw``); for other framings ``limit`` is in packets, as their pattern's stride of 1 says.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import cast

from ctrlserver.load.streams.outgoing import UNLIMITED, Conversation, Line
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, CUT, ENDED, REPLY_FAULT, RESET, STALLED
from ctrlserver.wire.framing import ByLength, FramingSpec
from ctrlserver.words import counted

#: Seconds without a byte after which our side is closed; half the time to the stall where that is shorter.
QUIET_SECONDS = 2.0

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


class ReceiveStream(Conversation):
    """Receive mode. ``words``: what is said first, None for a source's line; ``strict``: an early close is a failure.

    ``received``: bytes so far. ``wanted``: how much is to come in all, in bytes if the framing is by length, else in
    packets. ``patient``: at the end of the time it reads on, because somebody has the target end the stream.
    """

    __slots__ = (
        "_asks",
        "_counted",
        "_flags",
        "_framing",
        "_left",
        "_spec",
        "_strict",
        "_view",
        "_words",
        "patient",
        "received",
        "wanted",
    )

    def __init__(self, line: Line, *, framing: FramingSpec, words: bytes | None, strict: bool) -> None:
        super().__init__(line)
        self.received = 0
        self.wanted = 0
        self._spec = framing
        self._framing = framing.new()
        self._words = words
        self._asks = words is None and bool(framing.size)
        self._strict = strict
        self._left = b""  # of the first words, what the kernel did not take
        self._counted = 0
        self._flags = socket.MSG_TRUNC if framing.by_length else 0
        self._view = self.lane.view if framing.by_length else self.lane.copy_view
        self.patient = False

    @property
    def packets(self) -> int:
        """Whole packets that came."""
        return self._counted

    @property
    def moved(self) -> int:
        """Bytes that came."""
        return self.received

    @property
    def incomplete_bytes(self) -> int:
        """Bytes of a packet that is not whole."""
        return self._framing.pending_bytes

    def ready(self, events: int) -> None:
        """Count one chunk."""
        if events == _OUT:
            self._say()
            return
        view = self._view
        by_length = self._spec.by_length
        wanted = min(len(view), self.wanted - self.received) if by_length else len(view)
        try:
            size = self.socket.recv_into(view, wanted, self._flags)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)
            return
        if not size:
            self._read_nothing()
            return
        self.received += size
        if by_length:
            self._counted += cast("ByLength", self._framing).advance(size)
            self.last = self.lane.clock()
            if self.received >= self.wanted:
                self._finish(self.reason)
            return
        self._counted += self._framing.count(view[:size])
        self.last = self.lane.clock()
        if self._framing.fault is not None:
            words = f"what came breaks framing {self._spec.text}: {self._framing.fault}"
            self.fail(REPLY_FAULT, f"{self}: {words}, after {self.so_far()}")
        elif self._counted >= self.wanted:
            self._finish(self.reason)

    def end_at_packet(self, reason: str) -> None:
        """Read no more, unless the stream is ended by the target's hand."""
        if self.active:
            self.reason = reason
            if not self.patient:
                self._finish(reason)

    def bound(self, limit: int) -> None:
        """Another limit while it goes on."""
        self.wanted = limit

    def stall(self, seconds: float) -> None:
        """The watchdog has seen no progress for so long."""
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: the target sends nothing, {self.so_far()}")

    def quiet(self, seconds: float, patience: float) -> None:
        """Nothing comes: say that we say no more, which ends a netcat that has sent its file."""
        if self.received and not self.half_closed and seconds >= min(QUIET_SECONDS, patience / 2):
            self.half_close()

    def so_far(self) -> str:
        """For the line that says why a stream is over."""
        begun = f" and {self.incomplete_bytes} bytes of another" if self.incomplete_bytes else ""
        if not self._spec.counts_packets:
            return f"{counted(self.received, 'byte')} had come"
        return f"{counted(self._counted, 'packet')}{begun} had come"

    def _wanted(self) -> str:
        if not self._spec.counts_packets:
            return f"{self.wanted} were"
        packets = self.wanted // (self._spec.size or 1)
        return f"{packets} {'was' if packets == 1 else 'were'}"

    def unsent_bytes(self) -> int:
        """Nothing is waited for."""
        return 0

    def start(self, limit: int) -> None:
        """Ask the target, and read until ``limit`` is there."""
        self.wanted = limit
        self._begin(_IN)
        words = self._words
        if words is None:
            size = self._spec.size  # without one it is no source of ours: nothing is asked of it
            words = b"" if not size else b"\n" if self.wanted >= UNLIMITED else b"%d\n" % (self.wanted // size)
        self._left, self._words = words, b""
        self._say()
        if self.active and self.wanted == 0:
            self._finish(COMPLETE)

    def _say(self) -> None:
        """The first words, as far as the kernel takes them."""
        before = bool(self._left)
        if self._left:
            try:
                self._left = self._left[self.socket.send(self._left) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._lost(error)
                return
        if before and not self.over:
            self._watch(_IN | _OUT if self._left else _IN)

    def _finish(self, reason: str) -> None:
        """All has come that is wanted; whatever else is on its way is not read."""
        self.active = False
        self.over = True
        self.reason = reason
        self.leave()
        self.observer.stream_done(self)

    def _ended(self) -> None:
        """The target has closed its side."""
        if self.reason == ENDED:
            self._finish(ENDED)
        elif self._strict and self.wanted < UNLIMITED:
            words = f"{self.so_far()}, {self._wanted()} asked for"
            self.fail(CLOSED, f"{self}: the target closed the connection early: {words}")
        else:
            self._finish(CLOSED)

    def _lost(self, error: OSError) -> None:
        if self.reason == ENDED:
            self._finish(CUT)
        elif self._asks and error.errno == errno.ECONNRESET:
            hint = "a target that sends without reading resets for what it was asked: --payload '' asks nothing"
            self.fail(RESET, f"{self}: the target reset the connection, {self.so_far()}; {hint}")
        else:
            super()._lost(error)
