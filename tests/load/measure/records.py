"""Streams of ours, and a server's records of them."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.injections import Struck


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


def struck(
    number: int = 1, packets: int = 10, nbytes: int = 10240, local: str | None = None, **done: Any
) -> StreamCount:
    """A stream to which an injection has done something."""
    nothing = {"hits": 1, "duplicated": 0, "truncated": 0, "corrupted": 0, "dripped": 0, "slowed": 0, "end": None}
    expected = {"expected_packets": packets, "unconfirmed_bytes": 0, "faulty": False, **done}
    outcome = Struck(**{**nothing, "least_packets": expected["expected_packets"], **expected})
    return evolve(stream(number, packets, nbytes, local), injected=outcome)


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
