"""What a stream holds, without a socket."""

from __future__ import annotations

import sys
import tracemalloc

import pytest

from ctrlserver.net.modes import open_stream
from ctrlserver.net.stream import NO_LINK, OpenStreams
from ctrlserver.net.terms import Terms
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.framing import parse_framing


@pytest.mark.parametrize("mode", ["sink", "echo"])
@pytest.mark.parametrize(("framing", "begun"), [("line", b""), ("int32", b"\0\x08\0\0"), ("netstring", b"600000:")])
def test_a_stream_that_is_over_holds_no_part_of_a_packet_whoever_holds_the_stream(
    mode: str, framing: str, begun: bytes
) -> None:
    """Twisted holds it until TLS is taken down, by the cycle collector."""
    spec = parse_framing(framing, max_packet=1 << 20)
    book = Book(version="test", now=0.0, wall=0.0)
    terms = Terms(book=book, origin=Origin("data", "tcp", spec.text, mode), spec=spec, keep=1)
    stream = open_stream(OpenStreams(terms, lambda: 0.0), NO_LINK, "10.0.0.1:1", 0.0)
    tracemalloc.start()
    try:
        stream.received(memoryview(begun + b"x" * 500_000), 0.0)
        during = tracemalloc.get_traced_memory()[0]
        stream.abort("limit", 0.0)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 500_000 <= during
    assert 100_000 > after
    assert 500_000 + len(begun) == stream.counters.incomplete_bytes


@pytest.mark.parametrize("framing", ["line", "int32", "netstring", "varint", "fixed:1048576", "delimited:0d0a0d0a"])
def test_what_is_counted_of_an_unfinished_packet_is_what_is_allocated_for_it(framing: str) -> None:
    begun = {"int32": b"\0\x10\0\0", "netstring": b"1048576:", "varint": b"\x80\x80\x40"}.get(framing, b"")
    spec = parse_framing(framing, max_packet=1 << 20)
    book = Book(version="test", now=0.0, wall=0.0)
    terms = Terms(book=book, origin=Origin("data", "tcp", spec.text, "sink"), spec=spec, keep=1)
    stream = open_stream(OpenStreams(terms, lambda: 0.0), NO_LINK, "10.0.0.1:1", 0.0)
    for chunk in (begun + b"x" * 10_000, *[b"x" * size for size in (1, 50_000, 9_000, 60_000, 500_000, 100)]):
        stream.received(memoryview(chunk), 0.0)
        allocated = sys.getsizeof(stream._framing._held)  # type: ignore[attr-defined]
        assert allocated - 100 <= book.memory.held <= stream._framing.pending_bytes * 9 // 8
    stream.abort("kicked", 0.0)
    assert 0 == book.memory.held
