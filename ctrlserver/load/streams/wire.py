"""What a stream needs below it: a socket, a lane, and what errors of the socket mean; and the words for its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import frozen

from ctrlserver.client.connect import RESETS, TARGET_RESET
from ctrlserver.lane.costly import Owner

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
INJECTED = "injected"  # by --inject, before all was sent that was asked for
REASONS = (COMPLETE, ENDED, CUT, RESET, CLOSED, STALLED, REPLY_FAULT, SURPLUS, ABORTED, REFUSED, INJECTED)


class Wire(Protocol):
    """The part of a non-blocking socket that a stream uses."""

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""

    def send(self, octets: memoryview | bytes, /) -> int:
        """Bytes taken; BlockingIOError if there is no room."""

    def recv_into(self, buffer: memoryview, nbytes: int = 0, flags: int = 0, /) -> int:
        """Bytes read, 0 at the end; BlockingIOError if there are none yet."""

    def shutdown(self, how: int, /) -> None:
        """Close a side."""

    def getsockopt(self, level: int, option: int, /) -> int:
        """An option's value."""


class Poller(Protocol):
    """The part of a lane that a stream uses: it calls the stream when its socket is ready, and lends read buffers."""

    clock: Callable[[], float]
    view: memoryview
    copy_view: memoryview

    @property
    def round_began(self) -> float:
        """When the sockets that are served now were seen ready."""

    def watch(self, fd: int, owner: Owner, events: int) -> None:
        """Call ``owner.ready`` from now on."""

    def change(self, fd: int, events: int) -> None:
        """Wait for other events."""

    def forget(self, fd: int) -> None:
        """Call nobody any more."""


class Connection(Protocol):
    """The part of a connection that a stream uses to end it before the run does."""

    def unwritten(self) -> int:
        """Bytes that are not yet with the kernel."""

    def hang_up(self, *, reset: bool) -> None:
        """Close it in order, or by a reset, which drops what the target has not acknowledged."""


@frozen
class Opened:
    """A connection or a connected UDP socket. ``local`` and ``peer`` are ``host:port``, empty for a unix socket.

    ``connection`` is None over UDP.
    """

    socket: Wire
    lane: Poller
    local: str
    peer: str
    connection: Connection | None = None


class SocketKind:
    """What differs by the kind of socket: errors and the end. This kind is that of TCP, TLS and unix sockets.

    ``closes``: each side closes, and an empty read is the end; else an empty read is a datagram. ``combines``: one call
    may send several packets.
    """

    closes = True
    combines = True

    def failure(self, error: OSError, eof: bool, so_far: str) -> tuple[str, str] | None:
        """The reason and the words for an error of a socket call; None if the call is to be tried again later.

        ``eof``: the target had closed its side before.
        """
        if error.errno not in RESETS:
            return RESET, f"the connection broke ({error.strerror or error}) after {so_far}"
        if eof:
            return CLOSED, f"the target closed the connection early, after {so_far}"
        return RESET, f"{TARGET_RESET} after {so_far}"
