"""What stands beside the failure of a test: the server's record, injections, streams, kept packets, last log."""

from __future__ import annotations

from collections.abc import Iterator

from ctrlserver.testing.errors import AdminError
from ctrlserver.testing.server import Server

#: Of each: what a person looks through beside a failure.
_STREAMS, _PACKETS, _BYTES, _LOG_LINES = 5, 5, 64, 10


def report_of(server: Server) -> str:
    """Some lines."""
    return "\n".join(_lines(server))


def _lines(server: Server) -> Iterator[str]:
    if not server.is_running:
        yield "the server does not run"
    else:
        yield "stats, without what is 0:"
        yield server.stats().lines()
        for row in server.ask("inject"):
            yield f"injection {row['injection']}: {row['spec']} hits={row['hits']}"
        streams = server.streams()
        for stream in streams[-_STREAMS:]:
            words = [f"{name}={stream[name]}" for name in ("peer", "state", "reason", "packets", "bytes")]
            yield f"stream {stream.stream}: {' '.join(words)}"
            yield from _kept(server, stream.stream)
    log = server.log(_LOG_LINES)
    if log:
        yield "the end of its log:"
        yield from (f"  {line}" for line in log)


def _kept(server: Server, stream: int) -> Iterator[str]:
    try:
        packets = server.packets(stream)
    except AdminError:
        return  # none are kept
    for packet in packets[-_PACKETS:]:
        cut = f" ... {len(packet)} bytes" if len(packet) > _BYTES else ""
        yield f"  packet {packet[:_BYTES]!r}{cut}"
