"""The streams of a run: which class each of its connections gets, and with what.

Rules: nothing else in the program knows the classes of streams apart. What the streams have in common is made once: the
pattern's block to send from, and its packets where each is a write of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from attrs import evolve

from ctrlserver.client.target import UDP
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.modes import RECEIVE, REQUEST
from ctrlserver.load.plan.options import Options
from ctrlserver.load.streams.outgoing import Conversation, Line, Observer
from ctrlserver.load.streams.receive import ReceiveStream
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.send import PacedSendStream, PacketStream, SendStream, TlsPacketStream
from ctrlserver.load.streams.sender import WRITE_BYTES, Sender
from ctrlserver.load.streams.udp import DatagramStream, ProbesWhenDue, UdpKind, batch_of
from ctrlserver.load.streams.wire import Poller, Wire
from ctrlserver.wire.datagram import DATAGRAM, LONGEST_DATAGRAM
from ctrlserver.wire.probe import ProbeBlock


class Opened(Protocol):
    """A connection, or a connected socket of datagrams. ``local`` and ``peer`` are ``host:port``, or empty."""

    local: str
    peer: str

    @property
    def socket(self) -> Wire | None:
        """What its stream reads and writes."""

    @property
    def lane(self) -> Poller:
        """What watches the socket."""


def make_streams(
    options: Options, opened: Sequence[Opened], observer: Observer, timing: Timing, session: int
) -> list[Conversation]:
    """A stream for each of ``opened``, numbered from 1; ``session`` goes into probe packets."""
    pattern = options.pattern
    sendable = pattern.sendable(0 if options.mode == RECEIVE else WRITE_BYTES)
    packets = [] if options.write_combine else pattern.packet_views()
    streams: list[Conversation] = []
    for number, held in enumerate(opened, start=1):
        assert held.socket is not None
        target = held.peer or options.target.text
        line = Line(number, held.socket, held.lane, observer, pattern, sendable, held.local, target)
        if options.target.transport == UDP:
            streams.append(_over_udp(line, options, timing, session))
        else:
            streams.append(_over_tcp(line, options, timing, packets))
    return streams


def _over_tcp(line: Line, options: Options, timing: Timing, packets: list[memoryview]) -> Conversation:
    releases = None if options.curve is None else Releases(timing)
    combine = options.write_combine
    if options.mode == RECEIVE:
        words = None if options.payload is None else options.payload.content
        return ReceiveStream(line, spec=options.framing, words=words, strict=options.strict)
    if options.mode == REQUEST:
        assert options.reply_framing is not None
        return RequestStream(
            line,
            reply_spec=options.reply_framing,
            in_flight=options.in_flight,
            timing=timing,
            combine=combine,
            releases=releases,
        )
    if releases is not None:
        return PacedSendStream(line, combine=combine, releases=releases)
    if combine:
        return SendStream(line)
    return TlsPacketStream(line) if options.target.over_tls else PacketStream(line, packets=packets)


def _over_udp(line: Line, options: Options, timing: Timing, session: int) -> Sender:
    sock, pattern = line.socket, line.pattern
    assert isinstance(sock, socket.socket)
    releases = None if options.curve is None else Releases(timing)
    batch = batch_of(sock, pattern, combine=options.write_combine)
    line = evolve(line, kind=UdpKind(sock, batch))
    write_bytes = batch * pattern.stride or LONGEST_DATAGRAM
    probes = ProbeBlock(pattern.block[: pattern.stride] * batch, pattern.stride, session) if options.probe else None
    if options.mode == REQUEST:
        return RequestStream(
            line,
            reply_spec=DATAGRAM,
            in_flight=options.in_flight,
            timing=timing,
            combine=batch > 1,
            write_bytes=write_bytes,
            releases=releases,
        )
    if releases is not None:
        send = sock.send if probes is None else ProbesWhenDue(sock, probes, pattern.stride, releases).send
        return PacedSendStream(line, combine=batch > 1, write_bytes=write_bytes, releases=releases, send=send)
    if batch > 1 or probes is not None:
        return DatagramStream(line, batch=batch, probes=probes)
    return PacketStream(line, packets=pattern.packet_views())
