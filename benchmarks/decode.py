"""Decoding: `count` of a framing against Twisted's receiver of the same wire format, in this process.

    python -m benchmarks.decode [--repeats 5] [--seconds 0.2] [--json FILE]

Rules: both sides get the same stream in the same chunks of 64 KiB, and every pass begins with fresh state; the packets
of each pass are checked before its speed is given. The receivers are Twisted's own, each with a method that adds one
for a packet, fed through `dataReceived`. `ours` takes the chunks as memoryviews over one bytearray, as the lane hands
them over, or as bytes, as a Twisted transport does; the peers can only take bytes.

Beware: the stream is about 1 MiB, so that it stays in the caches: a server reads each chunk just after the kernel has
written it. `count` builds no packets, Twisted's receivers do; building them is what it saves, not an unfair advantage.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from attrs import frozen
from twisted.internet.testing import StringTransport
from twisted.protocols import basic

from benchmarks.pairs import CountsDifferError, Measure, Outcome, measured, table
from ctrlserver.wire.fixed import FixedSize
from ctrlserver.wire.framing import FramingSpec, parse_framing

CHUNK = 65536
STREAM = 17 * CHUNK  # 17 chunks of 64-byte packets behind four bytes end where a packet ends


class Counted:
    """Counts what a receiver hands over; `lineReceived` and `stringReceived` are the two names there are."""

    packets = 0

    def stringReceived(self, _payload: bytes) -> None:
        self.packets += 1

    lineReceived = stringReceived


class Int32(Counted, basic.Int32StringReceiver):
    pass


class Netstrings(Counted, basic.NetstringReceiver):
    pass


class Lines(Counted, basic.LineOnlyReceiver):
    delimiter = b"\n"


Sizes = Callable[[], int]


def all_of(size: int) -> Sizes:
    return lambda: size


def spread(least: int, most: int) -> Sizes:
    """The same sizes in every run."""
    generator = random.Random(7)
    return lambda: generator.randint(least, most)


@frozen
class Case:
    """One row; `width` is the bytes of a chunk, or None for one packet a chunk; `views` hands ours memoryviews."""

    what: str
    framing: str
    sizes: Sizes
    width: int | None
    views: bool
    receiver: type[Any]
    reach: float | None


CASES = [
    Case("int32, 64 B, memoryview", "int32", all_of(64), CHUNK, True, Int32, 50.0),
    Case("int32, 64 B, bytes", "int32", all_of(64), CHUNK, False, Int32, 50.0),
    Case("int32, 0-128 B, memoryview", "int32", spread(0, 128), CHUNK, True, Int32, 2.5),
    Case("int32, 0-128 B, bytes", "int32", spread(0, 128), CHUNK, False, Int32, 2.5),
    Case("int32, 1 KiB, memoryview", "int32", all_of(1024), CHUNK, True, Int32, None),
    Case("int32, 1 KiB, one a chunk", "int32", all_of(1024), None, True, Int32, None),
    Case("line, 64 B, memoryview", "line", all_of(64), CHUNK, True, Lines, 3.0),
    Case("line, 0-128 B, memoryview", "line", spread(0, 128), CHUNK, True, Lines, 3.0),
    Case("line, 1 KiB, memoryview", "line", all_of(1024), CHUNK, True, Lines, None),
    Case("netstring, 64 B, memoryview", "netstring", all_of(64), CHUNK, True, Netstrings, 2.0),
    Case("netstring, 0-128 B, memoryview", "netstring", spread(0, 128), CHUNK, True, Netstrings, 2.0),
]


def speed(packets: int, once: Callable[[], int], seconds: float) -> Measure:
    """Packets per second of as many passes as fill the seconds, each checked."""

    def measure() -> float:
        passes, spent = 0, 0.0
        while spent < seconds:
            start = perf_counter()
            got = once()
            spent += perf_counter() - start
            passes += 1
            if got != packets:
                raise CountsDifferError(f"decode: expected {packets}, got {got}")
        return packets * passes / spent

    return measure


def counts(spec: FramingSpec, chunks: Sequence[bytes | memoryview]) -> int:
    """One pass of ours."""
    count = spec.new().count
    return sum([count(chunk) for chunk in chunks])


def received(receiver: type[Any], chunks: Sequence[bytes]) -> int:
    """One pass of the peer."""
    protocol = receiver()
    protocol.makeConnection(StringTransport())
    take = protocol.dataReceived
    for chunk in chunks:
        take(chunk)
    packets = protocol.packets
    assert isinstance(packets, int)
    return packets


def measure_case(case: Case, repeats: int, seconds: float) -> Outcome:
    spec = parse_framing(case.framing)
    framing = spec.new()
    frames = []
    room = STREAM
    while room > 0:
        frames.append(framing.encode(b"x" * case.sizes()))
        room -= len(frames[-1])
    stream = b"".join(frames)
    width = case.width
    chunks = frames if width is None else [stream[at : at + width] for at in range(0, len(stream), width)]
    ours: list[bytes | memoryview] = list(chunks)
    if case.views:
        buffer, ours, at = memoryview(bytearray(stream)), [], 0
        for chunk in chunks:
            ours.append(buffer[at : at + len(chunk)])
            at += len(chunk)
    return measured(
        case.what,
        "packets/s",
        case.reach,
        speed(len(frames), lambda: counts(spec, ours), seconds),
        speed(len(frames), lambda: received(case.receiver, chunks), seconds),
        repeats,
    )


def rows(repeats: int, seconds: float = 0.2) -> list[Outcome]:
    """All cases, `repeats` pairs of `seconds` a side each; CountsDifferError where a count is wrong."""
    return [measure_case(case, repeats, seconds) for case in CASES]


def calls(seconds: float) -> list[str]:
    """What one call of the fixed framing costs; Twisted has no receiver to set beside it."""
    framing = FixedSize(1024)
    chunk = memoryview(bytearray(1024))
    advance, count = framing.advance, framing.count
    by_advance = speed(1000, lambda: sum([advance(1024) for _ in range(1000)]), seconds)
    by_count = speed(1000, lambda: sum([count(chunk) for _ in range(1000)]), seconds)
    return [
        f"fixed:1024, one packet a chunk: {name} {1e9 / measure():.0f} ns a call"
        for name, measure in (("advance", by_advance), ("count", by_count))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decode", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="pairs for each row (5)")
    parser.add_argument("--seconds", type=float, default=0.2, help="seconds of one measurement (0.2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to FILE")
    chosen = parser.parse_args(arguments)
    if chosen.repeats < 1 or not 0 < chosen.seconds < 3600:
        parser.error("--repeats must be at least 1 and --seconds above 0")
    try:
        outcomes = rows(chosen.repeats, chosen.seconds)
    except CountsDifferError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(table(outcomes) + calls(chosen.seconds)))
    if chosen.json:
        chosen.json.write_text(json.dumps([as_row(outcome) for outcome in outcomes], indent=2) + "\n")
    return 0


def as_row(outcome: Outcome) -> dict[str, object]:
    """The medians of both sides, and of the ratios taken pair by pair."""
    return {
        "what": outcome.what,
        "ours": median(outcome.ours),
        "peer": median(outcome.peer),
        "unit": outcome.unit,
        "ratio": {"median": median(outcome.ratios), "min": min(outcome.ratios), "max": max(outcome.ratios)},
        "reach": outcome.reach,
    }


if __name__ == "__main__":
    sys.exit(main())
