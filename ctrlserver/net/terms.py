"""What all streams of one listener have in common: ``Terms``, and for its UDP port ``DatagramTerms``.

Rule: terms are frozen. What changes while streams run is in ``OpenStreams``, in ``Peers``, in ``Orders``
and in ``Answers``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from attrs import field, frozen

from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Answers
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.injected.orders import Orders
from ctrlserver.net.replies import CannedReply
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.framing import FramingSpec


@frozen
class Terms:
    """The terms of a listener.

    ``canned``: the reply of mode ``reply``, the packet of mode ``source``. ``keep``: packets kept of each stream, at
    most ``keep_bytes`` of them. ``reply_buffer``: bytes of replies held for a peer that does not take them;
    ``stall_timeout``: seconds after which it is a slow reader. ``idle_timeout``: seconds of silence, 0 for no limit.
    ``keepalive``: seconds after which a TCP peer whose machine does not answer is given up, 0 for never.
    ``probe``: probe headers are read from the packets, and ``wall_ns`` gives their time of arrival, nanoseconds since
    1970. ``transport``: ``tcp``, ``unix``, ``tls`` or ``udp``, whatever the listener calls its protocol. ``orders``:
    the injections of the listener, and ``answers``: its conditional answers; both change while streams run. ``place``:
    what can strike under these terms, None for anything. ``uncut``: nothing depends on where packets begin and end,
    the number of bytes tells all.
    """

    book: Book
    origin: Origin
    spec: FramingSpec
    canned: CannedReply | None = None
    keep: int = 0
    keep_bytes: int = 1 << 20
    reply_buffer: int = 1 << 18
    stall_timeout: float = 30.0
    idle_timeout: float = 0.0
    keepalive: float = 60.0
    gate: Gate = field(factory=lambda: Gate(Seats()))
    probe: bool = False
    wall_ns: Callable[[], int] = time.time_ns
    transport: str = "tcp"
    orders: Orders = field(factory=Orders)
    place: Place | None = None
    answers: Answers = field(factory=Answers)
    uncut: bool = field(init=False)

    @uncut.default
    def _uncut(self) -> bool:
        return self.spec.by_length and not self.keep and not self.probe

    @property
    def skips(self) -> bool:
        """Whether no byte of content is needed at all: the kernel may drop them uncopied."""
        return self.uncut and self.origin.mode == "sink"


@frozen
class DatagramTerms:
    """What a UDP port needs to know beside its ``terms``, whose origin says ``datagram``.

    ``idle_timeout``: seconds without a datagram after which a peer's stream ends. ``max_streams``: open streams at
    once; a stream costs about 600 bytes, and a sender may forge any number of addresses. ``receive_buffer``: bytes that
    the kernel may queue for the port, 0 for its default. ``gro``: the kernel may hand over batches. ``many``: read with
    ``recvmmsg`` where the system has it. ``count_arrivals``: count arrivals where we may, so that dropped
    batches are reported in datagrams. ``answering``: the UDP ports of this server that answer; they share the set.
    ``with_others``: told how many streams are open here, it says how many are in all processes that share the bound.
    ``needs_content``: somebody looks into the datagrams.
    """

    terms: Terms
    idle_timeout: float = 10.0
    max_streams: int = 10_000
    receive_buffer: int = 4 << 20
    gro: bool = True
    many: bool = True
    count_arrivals: bool = True
    answering: set[int] = field(factory=set)
    with_others: Callable[[int], int] = int
    needs_content: bool = field(init=False)

    @needs_content.default
    def _needs_content(self) -> bool:
        terms = self.terms
        return terms.origin.mode != "sink" or terms.keep > 0 or terms.probe
