"""The streams by the hosts of their peers: the open ones, and what the closed ones came to. PURE.

Rules: the book looks up a host's open streams here instead of in all of them. Of closed streams only sums are kept, for
each host and listener, so they cost nothing however many streams a host has had.

Beware: of the hosts without open streams, those that were idle for longest are forgotten beyond ``HOSTS_KEPT``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from attrs import define, field

from ctrlserver.addresses import host_of
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.overs import Brief

HOSTS_KEPT = 1000
"""Hosts without open streams whose sums are kept: some hundred KiB."""


@define(eq=False)
class ClosedStreams:
    """The closed streams of one host at one listener."""

    host: str
    listener: str
    streams: int = 0
    packets: int = 0
    bytes: int = 0


@define(eq=False)
class Host:
    """``open``: its open streams, oldest first. ``closed``: what the others came to, by listener.

    A stream is found by its peer; one whose peer has another already, at another listener, by its number.
    """

    name: str
    open: dict[str | int, StreamCounters] = field(factory=dict)
    numbered: int = 0
    closed: dict[str, ClosedStreams] = field(factory=dict)


@define(eq=False)
class Hosts:
    """A peer without an address, such as ``unix``, is its own host.

    ``_idle`` are the hosts without open streams, the one that has been so for longest first. ``_sums`` are the
    ``closed`` of all hosts, so that nobody walks over the hosts that have none.
    """

    kept: int = HOSTS_KEPT
    _busy: dict[str, Host] = field(factory=dict, init=False)
    _idle: dict[str, Host] = field(factory=dict, init=False)
    _sums: dict[tuple[str, str], ClosedStreams] = field(factory=dict, init=False)

    def opened(self, stream: StreamCounters) -> None:
        """A stream is open."""
        name = host_of(stream.peer) or stream.peer
        host = self._busy.get(name)
        if host is None:
            self._busy[name] = host = self._idle.pop(name, None) or Host(name)
        if stream.peer in host.open:
            host.open[stream.stream] = stream
            host.numbered += 1
        else:
            host.open[stream.peer] = stream

    def closed(self, stream: StreamCounters) -> None:
        """It is closed, and its numbers are final."""
        host = self._busy[host_of(stream.peer) or stream.peer]
        if host.open.get(stream.peer) is stream:
            del host.open[stream.peer]
        else:
            del host.open[stream.stream]
            host.numbered -= 1
        sums = self._sums_of(host, stream.origin.listener)
        sums.streams += 1
        sums.packets += stream.packets
        sums.bytes += stream.bytes
        if not host.open:
            self._rest(self._busy.pop(host.name))

    def over(self, briefs: Sequence[Brief]) -> None:
        """Streams have opened and closed meanwhile."""
        sums = ClosedStreams("", "")
        for _, _, overs, _, name, packets, octets in briefs:
            listener = overs.origin.listener
            if name != sums.host or listener != sums.listener:
                host = self._busy.get(name)
                if host is None:
                    self._rest(host := self._idle.pop(name, None) or Host(name))
                sums = host.closed.get(listener) or self._sums_of(host, listener)
            sums.streams += 1
            sums.packets += packets
            sums.bytes += octets

    def _sums_of(self, host: Host, listener: str) -> ClosedStreams:
        sums = host.closed.get(listener)
        if sums is None:
            host.closed[listener] = self._sums[host.name, listener] = sums = ClosedStreams(host.name, listener)
        return sums

    def _rest(self, host: Host) -> None:
        self._idle[host.name] = host
        if len(self._idle) > self.kept:
            forgotten = self._idle.pop(next(iter(self._idle)))
            for each in forgotten.closed:
                del self._sums[forgotten.name, each]

    def open_of(self, asked: str) -> list[StreamCounters]:
        """The open streams of a host or of a whole address, oldest first."""
        if (host := self._busy.get(asked.strip("[]"))) is not None:
            return list(host.open.values())
        host = self._busy.get(host_of(asked))
        if host is None:
            return []
        if host.numbered:
            return [stream for stream in host.open.values() if stream.peer == asked]
        found = host.open.get(asked)
        return [] if found is None else [found]

    def sums(self) -> Collection[ClosedStreams]:
        """The closed streams of each host and listener; a view, which changes as streams close."""
        return self._sums.values()
