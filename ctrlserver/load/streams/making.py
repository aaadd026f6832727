"""The streams of a run: which class each of its connections gets, and with what.

Rules: nothing else in the program knows the classes of streams apart. What the streams have in common is made once: the
pattern's block to send from, and its packets where each is a write of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Protocol

from ctrlserver.client.target import UDP
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.modes import RECEIVE, REQUEST
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.pattern import Pattern
from ctrlserver.load.streams.outgoing import WRITE_BYTES, Observer, Outgoing
from ctrlserver.load.streams.paced import PacedRequestStream, PacedSendStream
from ctrlserver.load.streams.receive import ReceiveStream
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.send import PacketStream, SendStream, TlsPacketStream
from ctrlserver.load.streams.udp import (
    DatagramRequestStream,
    DatagramStream,
    PacedDatagramRequestStream,
    PacedDatagramStream,
    UnequalDatagramStream,
    batch_of,
)
from ctrlserver.wire.datagram import DATAGRAM, LONGEST_DATAGRAM
from ctrlserver.wire.probe import ProbeBlock

_Common = tuple[int, socket.socket, Lane, Observer, Pattern, memoryview, str, str]


class Opened(Protocol):
    """A connection, or a connected socket of datagrams. ``local`` and ``peer`` are ``host:port``, or empty."""

    local: str
    peer: str

    @property
    def socket(self) -> socket.socket | None:
        """What its stream reads and writes."""

    @property
    def lane(self) -> Lane:
        """What watches the socket."""


def make_streams(
    options: Options, opened: Sequence[Opened], observer: Observer, timing: Timing, session: int
) -> list[Outgoing]:
    """A stream for each of ``opened``, numbered from 1; ``session`` goes into probe packets."""
    pattern = options.pattern
    sendable = pattern.sendable(0 if options.mode == RECEIVE else WRITE_BYTES)
    packets = [] if options.write_combine else pattern.packet_views()
    streams: list[Outgoing] = []
    for number, held in enumerate(opened, start=1):
        assert held.socket is not None
        target = held.peer or options.target.text
        common = (number, held.socket, held.lane, observer, pattern, sendable, held.local, target)
        if options.target.transport == UDP:
            streams.append(_over_udp(common, options, timing, session))
        else:
            streams.append(_over_tcp(common, options, timing, packets))
    return streams


def _over_tcp(common: _Common, options: Options, timing: Timing, packets: list[memoryview]) -> Outgoing:
    paced = options.curve is not None
    if options.mode == RECEIVE:
        words = None if options.payload is None else options.payload.content
        return ReceiveStream(*common, framing=options.framing, words=words, strict=options.strict)
    if options.mode == REQUEST:
        assert options.reply_framing is not None
        kind = PacedRequestStream if paced else RequestStream
        return kind(
            *common,
            reply_framing=options.reply_framing,
            in_flight=options.in_flight,
            combine=options.write_combine,
            timing=timing,
        )
    if paced:
        return PacedSendStream(*common, combine=options.write_combine, timing=timing)
    if options.write_combine:
        return SendStream(*common)
    return TlsPacketStream(*common) if options.target.over_tls else PacketStream(*common, packets)


def _over_udp(common: _Common, options: Options, timing: Timing, session: int) -> Outgoing:
    _, sock, _, _, pattern, *_ = common
    batch = batch_of(sock, pattern, combine=options.write_combine)
    paced = options.curve is not None
    block = ProbeBlock(pattern.block[: pattern.stride] * batch, pattern.stride, session) if options.probe else None
    if options.mode == REQUEST:
        kind = PacedDatagramRequestStream if paced else DatagramRequestStream
        request = kind(*common, reply_framing=DATAGRAM, in_flight=options.in_flight, combine=batch > 1, timing=timing)
        request.send_batches(batch * pattern.stride or LONGEST_DATAGRAM)
        return request
    if paced:
        scheduled = PacedDatagramStream(*common, combine=batch > 1, timing=timing)
        scheduled.send_batches(batch * pattern.stride or LONGEST_DATAGRAM)
        if block is not None:
            scheduled.probe_with(block)
        return scheduled
    if batch > 1 or block is not None:
        return DatagramStream(*common, batch=batch, probes=block)
    return UnequalDatagramStream(*common, packets=pattern.packet_views())
