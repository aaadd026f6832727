"""Streams of ours, and a server's records of them."""

from __future__ import annotations

from typing import Any

from ctrlserver.load.measure.counts import StreamCount


def stream(number: int = 1, packets: int = 10, nbytes: int = 10240, local: str | None = None) -> StreamCount:
    return StreamCount(
        stream=number,
        local=f"127.0.0.1:{40000 + number}" if local is None else local,
        target="127.0.0.1:22222",
        packets=packets,
        bytes=nbytes,
        seconds=1.0,
        incomplete_bytes=0,
        writes=1,
        replies=None,
        received_packets=None,
        received_bytes=None,
        reason="complete",
    )


def record(number: int = 1, packets: int = 10, nbytes: int = 10240, **more: Any) -> dict[str, object]:
    published = {
        "stream": number,
        "peer": f"127.0.0.1:{40000 + number}",
        "framing": "fixed:1024",
        "state": "open",
        "reason": None,
        "packets": packets,
        "bytes": nbytes,
        "seconds": 2.0,
    }
    return {**published, **more}


def ours(number: int = 1, packets: int = 10, nbytes: int = 1000, local: str = "127.0.0.1:5") -> StreamCount:
    return stream(number, packets, nbytes, local)


def theirs(number: int, packets: int, nbytes: int, peer: str = "127.0.0.1:5", **more: object) -> dict[str, Any]:
    return {"stream": number, "peer": peer, "packets": packets, "bytes": nbytes, "seconds": 0.5, **more}
