"""Which class of stream a run makes for each of its connections, and from what.

Rules: only this module chooses between the classes of streams. All streams of a run send from the same memory: the
pattern's block, or its packets if each is a write of its own.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from attrs import evolve, frozen

from ctrlserver.client.target import UDP
from ctrlserver.inject.strikes import Course, Injection
from ctrlserver.lane.due import Due
from ctrlserver.load.measure.due import Releases
from ctrlserver.load.measure.timing import Timing
from ctrlserver.load.plan.modes import RECEIVE, REQUEST
from ctrlserver.load.plan.options import Options
from ctrlserver.load.plan.pieces import Flow, Pieces
from ctrlserver.load.plan.recount import Recount
from ctrlserver.load.streams.answers import Answers
from ctrlserver.load.streams.injected import Injected
from ctrlserver.load.streams.outgoing import Conversation, Line, Observer
from ctrlserver.load.streams.receive import ReceiveStream
from ctrlserver.load.streams.request import RequestStream
from ctrlserver.load.streams.send import PacedSendStream, PacketStream, SendStream, TlsPacketStream
from ctrlserver.load.streams.sender import WRITE_BYTES, Sender
from ctrlserver.load.streams.udp import DatagramStream, ProbesWhenDue, UdpKind, batch_of, empty_sender
from ctrlserver.load.streams.wire import Connection, Opened
from ctrlserver.wire.datagram import LONGEST_DATAGRAM
from ctrlserver.wire.probe import ProbeBlock


@frozen
class Ordered:
    """What ``--inject`` orders of the streams of a run, and the timer by which they carry it out."""

    injection: Injection
    moments: Due


def make_streams(
    options: Options,
    opened: Sequence[Opened],
    observer: Observer,
    timing: Timing,
    session: int,
    ordered: Ordered | None = None,
) -> list[Conversation]:
    """A stream for each of ``opened``, numbered as in the whole load; ``session`` goes into probe packets."""
    pattern = options.pattern
    sendable = pattern.sendable(WRITE_BYTES)
    packets = pattern.packet_views() if options.target.transport == UDP or not options.write_combine else []
    lines = [
        Line(number, one.socket, one.lane, observer, pattern, sendable, one.local, one.peer or options.target.text)
        for number, one in zip(options.numbers, opened, strict=True)
    ]
    if options.mode == RECEIVE:
        words = None if options.payload is None else options.payload.content
        return [ReceiveStream(line, spec=options.framing, words=words, strict=options.strict) for line in lines]
    if ordered is not None:
        return [
            _injected(line, options, timing, one.connection, ordered) for line, one in zip(lines, opened, strict=True)
        ]
    return [_sender(line, options, timing, session, packets) for line in lines]


def _injected(
    line: Line, options: Options, timing: Timing, connection: Connection | None, ordered: Ordered
) -> Injected:
    pattern, over_udp, requesting = line.pattern, options.target.transport == UDP, options.mode == REQUEST
    send: Callable[[memoryview], int] = line.socket.send
    if over_udp:
        assert isinstance(line.socket, socket.socket)
        send = empty_sender(line.socket) if pattern.empty else send
        line = evolve(line, kind=UdpKind(line.socket, 1))
    pieces = Pieces(
        Course(ordered.injection, line.number, options.target.word),
        pattern,
        line.sendable,
        most=WRITE_BYTES,
        single=over_udp or requesting or not options.write_combine,
        datagrams=over_udp,
    )
    answers = None
    if requesting:
        assert options.reply_framing is not None
        answers = Answers(options.reply_framing, options.in_flight, timing)
    return Injected(
        line,
        flow=Flow(pieces),
        answers=answers,
        moments=ordered.moments,
        recount=Recount(options.framing),
        connection=connection,
        stays=options.longest is not None,
        releases=None if options.curve is None else Releases(timing),
        send=send,
    )


def _sender(line: Line, options: Options, timing: Timing, session: int, packets: list[memoryview]) -> Sender:
    pattern, over_udp = line.pattern, options.target.transport == UDP
    releases = None if options.curve is None else Releases(timing)
    combine, write_bytes, batch, probes = options.write_combine, WRITE_BYTES, 1, None
    send: Callable[[memoryview], int] = line.socket.send
    if over_udp:
        assert isinstance(line.socket, socket.socket)
        batch = batch_of(line.socket, pattern, combine=combine)
        send = empty_sender(line.socket) if pattern.empty else send
        line = evolve(line, kind=UdpKind(line.socket, batch))
        combine, write_bytes = batch > 1, batch * pattern.stride or LONGEST_DATAGRAM
    if options.probe:
        probes = ProbeBlock(pattern.block[: pattern.stride] * batch, pattern.stride, session)
    if options.mode == REQUEST:
        assert options.reply_framing is not None
        return RequestStream(
            line,
            reply_spec=options.reply_framing,
            in_flight=options.in_flight,
            timing=timing,
            combine=combine,
            write_bytes=write_bytes,
            releases=releases,
            send=send,
        )
    if releases is not None:
        if probes is not None:
            send = ProbesWhenDue(send, probes, pattern.stride, releases).send
        return PacedSendStream(line, combine=combine, write_bytes=write_bytes, releases=releases, send=send)
    if over_udp and (combine or probes is not None or pattern.empty):
        return DatagramStream(line, batch=batch, probes=probes, send=send)
    if combine:
        return SendStream(line)
    return TlsPacketStream(line) if options.target.over_tls else PacketStream(line, packets=packets)
