"""What a stream holds, without a socket."""

from __future__ import annotations

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
