"""What differs between TCP, TLS and UDP over a whole run: how it connects, and how a server's counts are compared.

Rules: nothing else in this room asks for the transport. Over TCP a target may greet first, over TLS and UDP it may not.
Over UDP the server is also asked, before the first packet, for what it has open and what its kernel has dropped: both
are subtracted from what it says afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from ctrlserver.client.admin import AdminClient
from ctrlserver.client.target import UDP
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.reconciling import ByAddress, Comparison, OfDatagrams, OverUnix
from ctrlserver.load.opening.connections import Connections
from ctrlserver.load.opening.udp_sockets import DatagramSockets
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.ending import OTHERS_ON_VIEW


class Transport(Protocol):
    """One way for packets to travel. ``newest_before``: the server's newest stream before ours, once it was asked."""

    may_greet: bool
    newest_before: int

    @property
    def connections(self) -> Connections | DatagramSockets:
        """What opens the connections, and closes them."""

    async def ask_first(self, client: AdminClient) -> None:
        """Before the first packet: ask the server for what its later counts are held against."""

    def comparison(self, counts: Sequence[StreamCount], seconds: float, verb: str) -> Comparison:
        """How to compare ``counts``, which we sent or received (``verb``) in ``seconds``, with the server's."""


class OverTcp:
    """TCP, and unix sockets."""

    may_greet = True

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options) -> None:
        verified = (options.cafile, options.insecure)
        self.connections = Connections(reactor, lane, options.target, options.connect_timeout, *verified)
        self.newest_before = 0
        self._framing = options.framing.text

    async def ask_first(self, client: AdminClient) -> None:
        """Its newest stream."""
        self.newest_before = await client.newest_stream()

    def comparison(self, counts: Sequence[StreamCount], seconds: float, verb: str) -> Comparison:
        """By our addresses; streams over a unix socket have none."""
        kind = ByAddress if all(count.local for count in counts) else OverUnix
        return kind(counts, self._framing, self.newest_before, seconds, verb)


class OverTls(OverTcp):
    """TLS."""

    may_greet = False


class OverUdp:
    """UDP."""

    may_greet = False

    def __init__(self, reactor: IReactorTime, lane: Lane, options: Options) -> None:
        self.connections = DatagramSockets(reactor, lane, options.target, options.connect_timeout)
        self.newest_before = 0
        self._open_before: dict[int, tuple[int, int]] = {}
        self._dropped_before: int | None = None

    async def ask_first(self, client: AdminClient) -> None:
        """Its newest stream, those that are open, and the datagrams dropped so far."""
        self.newest_before = await client.newest_stream()
        self._open_before = await client.open_counts(OTHERS_ON_VIEW)
        self._dropped_before = await client.dropped()

    def comparison(self, counts: Sequence[StreamCount], seconds: float, verb: str) -> Comparison:
        """By our addresses; what did not arrive is loss."""
        return OfDatagrams(counts, self.newest_before, seconds, self._open_before, self._dropped_before)


def transport_of(reactor: IReactorTime, lane: Lane, options: Options) -> Transport:
    """The transport of the target that ``options`` name."""
    kind = OverUdp if options.target.transport == UDP else OverTls if options.target.over_tls else OverTcp
    return kind(reactor, lane, options)
