"""Every framing against the reference: the same packets, the same pending bytes and the fault at the same byte."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from tests.wire.conformance import CASES, Case, in_one_buffer
from tests.wire.reference import Reference

STREAMS = 60
"""For each framing; 100 times as many were tried by hand."""

LIKELY = b"\0\1\4\x05\x7f\x80\xff\r\n019:,x"
"""What headers and delimiters are made of."""


def stream(case: Case, chance: Random) -> bytes:
    """Good packets in runs long enough for every short cut; then a byte changed, or garbage between, or neither."""
    framing = case.spec().new()
    parts = []
    for _ in range(chance.randint(1, 5)):
        length = case.size or chance.choice([0, 1, chance.randint(0, 20), chance.randint(0, case.limit), case.limit])
        payload = chance.choice([chance.randbytes(length), bytes(chance.choices(LIKELY, k=length)), b"x" * length])
        parts.append(framing.encode(case.fitted(payload)) * chance.choice([1, 1, 2, 3, 40, 70, 300]))
    if chance.random() < 0.5:
        garbage = [*case.faults, bytes(chance.choices(LIKELY, k=12)), b"x" * (case.longest + 1)]
        parts.insert(chance.randint(0, len(parts)), chance.choice(garbage))
    octets = bytearray(b"".join(parts)[:6_000])
    if octets and chance.random() < 0.5:
        octets[chance.randrange(len(octets))] = chance.choice(LIKELY)
    return bytes(octets)


def chunks(octets: bytes, chance: Random) -> list[bytes]:
    """Cut at a few places, at many, or nowhere."""
    cuts = chance.choices(range(len(octets) + 1), k=chance.choice([0, 1, 3, 30]))
    return [octets[start:end] for start, end in pairwise([0, *sorted(cuts), len(octets)])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.text)
def test_packets_pending_bytes_and_fault_are_those_of_the_definition(case: Case) -> None:
    for number in range(STREAMS):
        chance = Random(f"{case.text} {number}")
        cut = chunks(stream(case, chance), chance)
        feeding, counting, reference = case.spec().new(), case.spec().new(), Reference(case.text, case.limit)
        for chunk, view in zip(cut, in_one_buffer(cut), strict=True):
            before = len(reference.packets)
            reference.take(chunk)
            expected = reference.fault, len(reference.begun)
            assert reference.packets[before:] == feeding.feed(view), number
            assert len(reference.packets) - before == counting.count(view), number
            assert expected == (feeding.fault is not None, feeding.pending_bytes), number
            assert expected == (counting.fault is not None, counting.pending_bytes), number
