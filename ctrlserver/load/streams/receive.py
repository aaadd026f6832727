"""One stream in receive mode: it asks once, and counts arrivals.

Rules: the stream asks with a source's line (``N`` packets, or an empty line for packets without end), or with the
user's payload. The framing counts packets. If it needs lengths alone, the kernel drops the bytes uncopied, and the
stream reads no byte past ``wanted``. A stream is done when it has what is wanted, at the end of the time, or when the
target closes. Such a close is early, and a failure, only if the command line asks for a number. If nothing arrives for
a while, the stream closes its side: a target that only waits for that (``nc -l < file``) then ends the stream.

Beware: ``wanted`` is in bytes for framings by length (``fixed``, ``raw``), in packets for all others.
"""

from __future__ import annotations

import errno
import select
import socket
from typing import cast

from attrs import define, field

from ctrlserver.load.streams.outgoing import UNLIMITED, Conversation, derived
from ctrlserver.load.streams.wire import CLOSED, COMPLETE, CUT, ENDED, REPLY_FAULT, RESET, STALLED
from ctrlserver.wire.framing import ByLength, Framing, FramingSpec
from ctrlserver.words import counted

#: Seconds without a byte after which our side is closed; half the time to the stall where that is shorter.
QUIET_SECONDS = 2.0

_IN, _OUT = select.EPOLLIN, select.EPOLLOUT


@define(eq=False)
class ReceiveStream(Conversation):
    """Receive mode. ``words``: what it asks with, None for a source's line; ``strict``: an early close is a failure.

    ``received``: bytes so far. ``wanted``: how much to receive in all. ``patient``: at the end of the time it reads on,
    because the run has the server end the stream.
    """

    packets: int = 0
    received: int = 0
    wanted: int = 0
    patient: bool = False
    _spec: FramingSpec = field(kw_only=True)
    _words: bytes | None = field(kw_only=True)
    _strict: bool = field(kw_only=True)
    _framing: Framing = derived(lambda self: self._spec.new())
    _asks: bool = derived(lambda self: self._words is None and bool(self._spec.size))
    _flags: int = derived(lambda self: socket.MSG_TRUNC if self._spec.by_length else 0)
    _view: memoryview = derived(lambda self: self.lane.view if self._spec.by_length else self.lane.copy_view)
    _left: bytes = b""  # of what it asks with, the bytes that the kernel had no room for

    @property
    def moved(self) -> int:
        """Bytes received."""
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
            self.packets += cast("ByLength", self._framing).advance(size)
            self.last = self.lane.clock()
            if self.received >= self.wanted:
                self._finish(self.reason)
            return
        self.packets += self._framing.count(view[:size])
        self.last = self.lane.clock()
        if self._framing.fault is not None:
            words = f"a packet breaks framing {self._spec.text}: {self._framing.fault}"
            self.fail(REPLY_FAULT, f"{self}: {words}, after {self.so_far()}")
        elif self.packets >= self.wanted:
            self._finish(self.reason)

    def end_at_packet(self, reason: str) -> None:
        """Read no more, unless the target is to end the stream."""
        if self.active:
            self.reason = reason
            if not self.patient:
                self._finish(reason)

    def bound(self, limit: int) -> None:
        """Another limit while it goes on."""
        self.wanted = limit

    def stall(self, seconds: float) -> None:
        """The watchdog saw no progress for so long: fail."""
        words = f"the target sends nothing, {self.so_far()}"
        if not self.received:
            words += "; mode receive needs a server that sends, such as one with --mode source"
        self.fail(STALLED, f"no progress on {self} for {seconds:g} s: {words}")

    def quiet(self, seconds: float, patience: float) -> None:
        """Nothing arrives: close our side, which ends a netcat that has sent its file."""
        if self.received and not self.half_closed and seconds >= min(QUIET_SECONDS, patience / 2):
            self.half_close()

    def so_far(self) -> str:
        """For the line that says why the stream is over."""
        begun = f" and {self.incomplete_bytes} bytes of another" if self.incomplete_bytes else ""
        if not self._spec.counts_packets:
            return f"{counted(self.received, 'byte')} had come"
        return f"{counted(self.packets, 'packet')}{begun} had come"

    def _wanted(self) -> str:
        if not self._spec.counts_packets:
            return f"{self.wanted} were"
        packets = self.wanted // (self._spec.size or 1)
        return f"{packets} {'was' if packets == 1 else 'were'}"

    def unsent_bytes(self) -> int:
        """None: the run does not wait for the question to arrive."""
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
        """Ask, as far as the kernel has room."""
        if not self._left:
            return
        try:
            self._left = self._left[self.socket.send(self._left) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(error)
            return
        self._watch(_IN | _OUT if self._left else _IN)

    def _finish(self, reason: str) -> None:
        """The stream is done; it does not read what is still on its way."""
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
