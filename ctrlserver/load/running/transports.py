"""What differs between TCP, TLS and UDP over a whole run: how it connects, and how a server's counts are compared.

Rules: nothing else in load/running asks which protocol the target has. Over TCP a target may greet first, over TLS and
UDP it may not. Over UDP the server is also asked, before the first packet, for the streams that it has open and the
datagrams that its kernel has dropped: both are subtracted from what it reports afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from ctrlserver.client.admin import AdminClient
from ctrlserver.client.target import UDP
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.datagrams import OfDatagrams
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import ByAddress, Comparison
from ctrlserver.load.measure.unix import OverUnix
from ctrlserver.load.opening.connections import Connections
from ctrlserver.load.opening.udp_sockets import DatagramSockets
from ctrlserver.load.plan.options import Options
from ctrlserver.load.running.asking import OTHERS_ON_VIEW, read
from ctrlserver.load.running.servers import AllServers, Servers


class Transport:
    """TCP, TLS and unix sockets.

    ``servers``: whose counts are compared with ours. ``before``: what they said before our streams were opened, once
    they were asked.
    """

    #: Streams to ask for before ours are opened: the newest, whose number tells ours from those before.
    _before = 1

    def __init__(
        self,
        connections: Connections | DatagramSockets,
        servers: Servers,
        options: Options,
        clock: Callable[[], float],
    ) -> None:
        self.connections = connections
        self.servers = servers
        self.may_greet = not (options.target.over_tls or options.target.transport == UDP)
        self.before = Reading()
        self._clock = clock
        self._framing = options.framing.text

    @property
    def elsewhere(self) -> str:
        """What an error says where nothing listens: the addresses of the target that were not tried."""
        return self.connections.elsewhere if isinstance(self.connections, DatagramSockets) else ""

    async def ask_first(self, client: AdminClient | AllServers) -> None:
        """Before the first packet: ask the server for what its later counts are compared with."""
        self.before = await read(client, self._before, self._clock)

    def comparison(self, counts: Sequence[StreamCount], began: float, ended: float, verb: str) -> Comparison:
        """How to compare ``counts`` with the server's; we sent or received (``verb``) from ``began`` to ``ended``.

        By our addresses; streams over a unix socket have none.
        """
        kind = ByAddress if all(count.local for count in counts) else OverUnix
        return kind(counts, self._framing, self.before, began, ended, verb)


class OverUdp(Transport):
    """UDP: the streams that are open before ours are asked for too."""

    _before = OTHERS_ON_VIEW

    def comparison(self, counts: Sequence[StreamCount], began: float, ended: float, verb: str) -> Comparison:
        """By our addresses; what did not arrive is loss."""
        return OfDatagrams(counts, self.before, began, ended)


def transport_of(reactor: IReactorTime, lane: Lane, options: Options) -> Transport:
    """The transport of the target that ``options`` name."""
    servers = Servers(reactor, options.admin)
    if options.target.transport == UDP:
        return OverUdp(DatagramSockets(reactor, lane, options), servers, options, lane.clock)
    return Transport(Connections(reactor, lane, options), servers, options, lane.clock)
