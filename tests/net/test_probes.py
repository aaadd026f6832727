"""Claims about streams of probe packets: looked at wherever the network cuts them, by either way in."""

from __future__ import annotations

import socket
import time
from itertools import pairwise

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.net.probes import ProbedFraming
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.probing import Probing
from ctrlserver.stats.records import PROBE_FIELDS, as_mapping
from ctrlserver.wire.framing import FramingSpec, parse_framing
from ctrlserver.wire.probe import HEADER_SIZE, encode, encode_into
from tests.net.conftest import Serve, in_thread, read_to_end

NOW = 1_700_000_000_000_000_000


def framed(spec: FramingSpec, packets: list[bytes]) -> bytes:
    framing = spec.new()
    return b"".join(framing.encode(packet) for packet in packets)


def pieces_of(octets: bytes, cuts: list[int]) -> list[memoryview]:
    edges = sorted({0, len(octets), *(cut % (len(octets) + 1) for cut in cuts)})
    return [memoryview(octets)[start:end] for start, end in pairwise(edges)]


@given(
    st.sampled_from(
        ["fixed:24", "fixed:25", "fixed:64", "fixed:200", "int32", "varint", "netstring", "delimited:0a0a0a"]
    ),
    st.lists(st.integers(0, 100), max_size=120),
    st.lists(st.integers(0, 1 << 20), max_size=40),
    st.booleans(),
)
def test_wherever_the_stream_is_cut_its_probes_are_the_same(
    text: str, sequences: list[int], cuts: list[int], feed: bool
) -> None:
    spec = parse_framing(text)
    fill = (spec.size or 40) - HEADER_SIZE
    packets = [encode(sequence, NOW - 1000 * at) + b"." * fill for at, sequence in enumerate(sequences)]
    expected = Probing()
    for at, sequence in enumerate(sequences):
        expected.take(0, sequence, NOW - 1000 * at, NOW)

    got = Probing()
    framing = ProbedFraming(spec, got, lambda: NOW)
    counted = 0
    for at, piece in enumerate(pieces_of(framed(spec, packets), cuts)):
        counted += len(framing.feed(piece)) if feed and at % 2 else framing.count(piece)

    assert len(packets) == counted
    assert 0 == framing.pending_bytes
    assert framing.fault is None
    assert (expected.lost, expected.duplicate, expected.out_of_order) == (got.lost, got.duplicate, got.out_of_order)
    assert expected.delays.seconds((0.5, 0.99)) == got.delays.seconds((0.5, 0.99))
    assert got.delays.jitter == pytest.approx(expected.delays.jitter, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("text", ["fixed:64", "int32"])
def test_byte_by_byte_the_probes_are_the_same_too(text: str) -> None:
    spec = parse_framing(text)
    got = Probing()
    framing = ProbedFraming(spec, got, lambda: NOW)
    octets = framed(spec, [encode(sequence, NOW) + bytes(40) for sequence in (0, 1, 3)])

    assert 3 == sum(framing.count(octets[at : at + 1]) for at in range(len(octets)))
    assert (1, 0, 0) == (got.lost, got.duplicate, got.out_of_order)


def test_a_packet_not_whole_has_not_come() -> None:
    got = Probing()
    framing = ProbedFraming(parse_framing("fixed:64"), got, lambda: NOW)
    framing.count(encode(1, NOW))

    assert 24 == framing.pending_bytes
    assert 0 == got.sessions


def test_packets_before_a_fault_are_looked_at() -> None:
    got = Probing()
    framing = ProbedFraming(parse_framing("int32", max_packet=64), got, lambda: NOW)

    assert 1 == framing.count(framing.encode(encode(1, NOW)) + b"\xff\xff\xff\xff")
    assert framing.fault is not None
    assert 1 == got.sessions


@pytest.mark.parametrize("keep", [0, 3])
def test_terms_without_probes_are_as_they_were(keep: int) -> None:
    spec = parse_framing("fixed:64")
    origin = Origin("data", "tcp", spec.text, "sink", spec.size, by_size=True)
    book = Book(version="test", now=0.0, wall=0.0)

    assert Terms(book, origin, spec, keep=keep).skips == (not keep)
    assert not Terms(book, origin, spec, keep=keep, probe=True).skips


@pytest.mark.parametrize(("framing", "keep"), [("fixed:64", 0), ("fixed:64", 5), ("int32", 0), ("int32", 5)])
@pytest_twisted.ensureDeferred
async def test_a_stream_of_probes_tells_what_was_lost_and_how_late_it_was(
    serve: Serve, framing: str, keep: int
) -> None:
    served = await serve(framing, probe=True, keep=keep)
    spec = parse_framing(framing)
    count = 20_000
    buffer = bytearray(64 * count)
    encode_into(buffer, 64, 0, [time.time_ns() - 50_000_000] * count)
    packets = [bytes(buffer[at : at + 64]) for at in range(0, len(buffer), 64)]
    del packets[100:110]
    packets.insert(500, packets[499])
    packets[7], packets[8] = packets[8], packets[7]

    def script() -> None:
        client = served.connect()
        client.sendall(framed(spec, packets))
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert (len(packets), "eof") == (record.packets, record.reason)
    assert (10, 1, 1) == (record.lost, record.duplicate, record.out_of_order)
    assert record.jitter_seconds is not None
    assert record.delay_p50_seconds is not None
    assert record.delay_p99_seconds is not None
    assert 0.049 < record.delay_p50_seconds <= record.delay_p99_seconds
    assert record.jitter_seconds >= 0


@pytest_twisted.ensureDeferred
async def test_an_echo_of_probes_is_looked_at_and_sent_back(serve: Serve) -> None:
    served = await serve("fixed:64", "echo", probe=True)
    sent = b"".join(encode(sequence, NOW) + bytes(40) for sequence in (0, 2, 1, 4))

    def script() -> bytes:
        client = served.connect()
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return read_to_end(client)

    assert sent == await in_thread(script)
    (record,) = served.records()
    assert (1, 0, 1) == (record.lost, record.duplicate, record.out_of_order)


@pytest_twisted.ensureDeferred
async def test_packets_that_are_no_probes_are_counted_as_ever(serve: Serve) -> None:
    served = await serve("fixed:64", probe=True)

    def script() -> None:
        client = served.connect()
        client.sendall(bytes(64 * 1000))
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert 1000 == record.packets
    assert (0, 0, 0, 0.0, None, None) == tuple(as_mapping(record)[name] for name in PROBE_FIELDS)


@pytest_twisted.ensureDeferred
async def test_a_stream_of_a_listener_without_probes_has_none_of_their_fields(serve: Serve) -> None:
    served = await serve("fixed:64")

    def script() -> None:
        client = served.connect()
        client.sendall(encode(5, NOW) + bytes(40))
        client.shutdown(socket.SHUT_WR)
        read_to_end(client)

    await in_thread(script)
    (record,) = served.records()
    assert not set(PROBE_FIELDS) & set(as_mapping(record))
