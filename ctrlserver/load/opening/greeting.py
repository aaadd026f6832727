"""Targets that speak first: awaiting their greeting, and noticing one that nobody announced.

Rules: a greeting (``--greeting SPEC``) is one packet of its own framing on each stream, and no reply. All streams await
it, for a bounded time, before the first packet goes. More than one packet is an error, because the rest would pass for
replies. Without ``--greeting`` the run listens for a moment before its first request to a foreign target; a target that
speaks then fails the run, in words that name the flag.

Beware: if a target greets after that moment, only its last reply, which is one too many, gives it away.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence
from typing import cast

from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

from ctrlserver.client.connect import RESETS, TARGET_RESET
from ctrlserver.errors import LoadError
from ctrlserver.lane.lane import Lane
from ctrlserver.load.streams.outgoing import Conversation
from ctrlserver.load.streams.wire import Wire
from ctrlserver.looks import deadlines
from ctrlserver.wire.framing import FramingSpec
from ctrlserver.words import counted, quoted

#: Seconds a foreign target is listened to before its first request.
LISTEN_SECONDS = 0.05

#: Bytes of a target's words that a message quotes.
QUOTED_BYTES = 80


class Greeting:
    """Awaits the greeting on one socket of the lane. It calls ``report`` once: with None, or why there is none."""

    def __init__(self, sock: Wire, lane: Lane, spec: FramingSpec, report: Callable[[str | None], None]) -> None:
        self._socket = sock
        self._lane = lane
        self._spec = spec
        self._framing = spec.new()
        self._report = report
        self._said = b""
        self._over = False

    def begin(self) -> None:
        """Listen."""
        self._lane.watch(self._socket.fileno(), self, select.EPOLLIN)

    def ready(self, events: int) -> None:
        """One chunk of it."""
        try:
            size = self._socket.recv_into(self._lane.copy_view)
        except BlockingIOError:
            return
        except OSError as error:
            words = f"the connection broke before the greeting was whole ({error.strerror or error})"
            self.end(f"{TARGET_RESET if error.errno in RESETS else words}{self._heard()}")
            return
        if not size:
            self.end(f"the target closed the connection before its greeting was whole{self._heard()}")
            return
        chunk = bytes(self._lane.copy_view[:size])
        self._said = (self._said + chunk)[:QUOTED_BYTES]
        packets = self._framing.count(chunk)
        if self._framing.fault is not None:
            self.end(f"the greeting breaks framing {self._spec.text}: {self._framing.fault}{self._heard()}")
        elif packets > 1 or (packets and self._framing.pending_bytes):
            past = f" and {counted(self._framing.pending_bytes, 'byte')}" if self._framing.pending_bytes else ""
            more = f"it is {counted(packets, 'packet')}{past} of framing {self._spec.text}, not 1"
            self.end(f"the greeting is longer than --greeting says: {more}{self._heard()}")
        elif packets:
            self.end(None)

    def failed(self) -> None:
        """The lane dropped us after an exception of our own."""
        self.end("an error of ctrlload's own ended it")

    def too_late(self, seconds: float) -> None:
        """The time is over: report that there is no greeting."""
        self.end(f"no greeting within {seconds:g} s (--greeting {self._spec.text}){self._heard()}")

    def end(self, problem: str | None) -> None:
        """Leave the lane and report; only the first time counts."""
        if not self._over:
            self._over = True
            self._lane.forget(self._socket.fileno())
            self._report(problem)

    def _heard(self) -> str:
        return f"; it said {said(self._said)}" if self._said else ""


async def await_greetings(
    reactor: IReactorTime, lane: Lane, streams: Sequence[Conversation], spec: FramingSpec, timeout: float
) -> None:
    """Until every stream has been greeted; LoadError in one line for the first that is not."""
    waiting: list[IDelayedCall] = []

    def listen(stream: Conversation) -> Deferred[None]:
        heard: Deferred[None] = Deferred()

        def report(problem: str | None) -> None:
            if problem is None:
                heard.callback(None)
            else:
                heard.errback(LoadError(f"{stream}: {problem}"))

        greeting = Greeting(stream.socket, lane, spec, report)
        greeting.begin()
        waiting.append(deadlines(reactor).callLater(timeout, greeting.too_late, timeout))
        return heard

    try:
        await gatherResults([listen(stream) for stream in streams], consumeErrors=True)
    except FirstError as first:
        raise cast("Exception", first.subFailure.value) from None
    finally:
        for late in waiting:
            if late.active():
                late.cancel()


async def expect_silence(reactor: IReactorTime, streams: Sequence[Conversation]) -> None:
    """Listen for a moment; LoadError where a target speaks before it is spoken to."""
    await deferLater(reactor, LISTEN_SECONDS)
    for stream in streams:
        words = _unread(stream.socket, QUOTED_BYTES)
        if words:
            spec = "line" if b"\n" in words else "SPEC"
            hint = f"where that is its greeting, --greeting {spec} awaits it and does not count it as a reply"
            raise LoadError(f"{stream}: the target spoke before it was asked: {said(words)}; {hint}")


def _unread(sock: Wire, nbytes: int) -> bytes:
    """Up to ``nbytes`` that have come and that nobody has read; they stay unread."""
    buffer = memoryview(bytearray(nbytes))
    try:
        return bytes(buffer[: sock.recv_into(buffer, 0, socket.MSG_PEEK)])
    except OSError:  # nothing, or the connection broke, which its next use reports
        return b""


def said(words: bytes) -> str:
    """What a target said, quoted in one line."""
    return quoted(words[:QUOTED_BYTES].decode("utf-8", "backslashreplace"))
