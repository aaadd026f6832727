"""What every framing must do, as checks that take a case; test_conformance.py runs them over CASES.

Rules: a check knows a framing only by its contract (count, feed, encode, fault, pending_bytes) and judges it by the
payloads that went in, never by another framing's code. A new framing is one more Case and passes all checks unchanged.

Beware: ``limit`` is small, so that a random stream reaches it; the payloads look like headers on purpose, so that a
framing which loses its place goes on reading lengths and is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, pairwise

from attrs import frozen
from hypothesis import strategies as st

from ctrlserver.wire.framing import MAX_DELIMITER, Framing, FramingSpec, parse_framing

LIMIT = 300
"""The max_packet of most cases: over what one byte can say, so that int8 and two-byte varints are both reached."""


@frozen
class Case:
    """One framing under test."""

    text: str
    allowed: Callable[[bytes], bool] = lambda _: True
    limit: int = LIMIT
    size: int | None = None  # the only payload length there is
    overhead: int = 0  # bytes of header and begun trailer that a packet not yet whole may hold beside its payload
    faults: Sequence[bytes] = ()  # what breaks the framing at once, wherever a packet should begin
    too_long: Callable[[int], bytes] | None = None  # the shortest bytes that announce a payload of limit + 1 bytes

    @property
    def longest(self) -> int:
        """The longest payload."""
        return self.size or self.limit

    def spec(self) -> FramingSpec:
        return parse_framing(self.text, max_packet=self.limit)

    def payloads(self) -> st.SearchStrategy[bytes]:
        """Single payloads, many of them made of what headers and delimiters are made of."""
        if self.size is not None:
            return st.binary(min_size=self.size, max_size=self.size)
        likely = st.text("\0\1\4\x05\x80\r\n01:,x", max_size=self.limit).map(lambda text: text.encode("latin-1"))
        return st.one_of(likely, st.binary(max_size=self.limit), st.just(b"")).map(self.fitted)

    def fitted(self, payload: bytes) -> bytes:
        """``payload``, or where the framing cannot carry it another of about its length."""
        payload = payload[: self.longest]
        return payload if self.allowed(payload) else b"x" * len(payload)

    def streams(self) -> st.SearchStrategy[list[bytes]]:
        """Payloads in a row: mixed ones, and runs of one length, which a framing may treat in another way."""
        runs = st.tuples(self.payloads(), st.sampled_from([1, 2, 31, 33, 70, 300])).map(
            lambda run: [run[0][:20] if self.size is None else run[0]] * run[1]
        )
        safe = runs.map(lambda run: [self.fitted(payload) for payload in run])
        rows = st.lists(st.one_of(self.payloads().map(lambda payload: [payload]), safe), max_size=6)
        return rows.map(lambda row: [payload for run in row for payload in run])


def _length(width: int, order: str = "big") -> Callable[[int], bytes]:
    return lambda length: length.to_bytes(width, "little" if order == "little" else "big")


def _varint(length: int) -> bytes:
    return bytes([length & 127 | 128, length >> 7])


CASES = [
    Case("fixed:1", size=1),
    Case("fixed:7", size=7),
    Case("fixed:60", size=60),
    Case("int8", limit=100, overhead=1, too_long=_length(1), faults=[b"\xff"]),
    Case("int16", overhead=2, too_long=_length(2), faults=[b"\xff\xff"]),
    Case("int16:little", overhead=2, too_long=_length(2, "little"), faults=[b"\xff\xff"]),
    Case("int32", overhead=4, too_long=_length(4), faults=[b"\xff" * 4, b"\x80\0\0\0"]),
    Case("int32:little", overhead=4, too_long=_length(4, "little"), faults=[b"\0\0\0\x80"]),
    Case("int64", overhead=8, too_long=_length(8), faults=[b"\xff" * 8, b"\x80" + b"\0" * 7]),
    Case("int64:little", overhead=8, too_long=_length(8, "little"), faults=[b"\xff" * 8]),
    Case("varint", overhead=10, too_long=_varint, faults=[b"\xff" * 10, b"\x80" * 10]),
    Case(
        "line",
        allowed=lambda payload: b"\n" not in payload and not payload.endswith(b"\r"),
        overhead=1,
        too_long=lambda length: b"x" * length,
    ),
    Case(
        "delimited:00",
        allowed=lambda payload: b"\0" not in payload,
        too_long=lambda length: b"x" * length,
    ),
    Case(
        "delimited:0d0a",
        allowed=lambda payload: b"\r\n" not in payload,
        overhead=1,
        too_long=lambda length: b"x" * length,
    ),
    Case(
        "delimited:0a0a",  # begins inside itself
        allowed=lambda payload: b"\n\n" not in payload and not payload.endswith(b"\n"),
        overhead=1,
        too_long=lambda length: b"x" * length,
    ),
    Case(
        "delimited:78307830",  # x0x0: as above, two bytes on
        allowed=lambda payload: (payload + b"x0x0").find(b"x0x0") == len(payload),
        overhead=3,
        too_long=lambda length: b"y" * length,
    ),
    Case(
        "netstring",
        overhead=5,
        too_long=lambda length: b"%d" % length,
        faults=[
            b"00",
            b"01",
            b":",
            b",",
            b"-1",
            b"+1",
            b" 1",
            b"1 ",
            b"1x",
            b"1,",
            b"\n",
            b"1:x;",
            b"0:;",
            b"999",
            b"0x",
        ],
    ),
]


def splits(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    """The stream cut into chunks at any places, empty chunks among them."""
    cuts = st.lists(st.integers(0, len(stream)), max_size=12)
    return cuts.map(lambda places: [stream[a:b] for a, b in pairwise([0, *sorted(places), len(stream)])])


def encoded(framing: Framing, payloads: Iterable[bytes]) -> list[bytes]:
    return [framing.encode(payload) for payload in payloads]


def fed(framing: Framing, chunks: Iterable[bytes | memoryview]) -> list[bytes]:
    """All that ``feed`` gives for the chunks."""
    return [payload for chunk in chunks for payload in framing.feed(chunk)]


def counted(framing: Framing, chunks: Iterable[bytes | memoryview]) -> int:
    """All that ``count`` gives for the chunks."""
    return sum(framing.count(chunk) for chunk in chunks)


def in_one_buffer(chunks: Sequence[bytes]) -> Iterator[memoryview]:
    """Each chunk as the lane hands it over: in the same buffer, whose old content is gone with the next."""
    buffer = bytearray(max(map(len, chunks), default=0))
    for chunk in chunks:
        buffer[:] = b"\xaa" * len(buffer)
        buffer[: len(chunk)] = chunk
        yield memoryview(buffer)[: len(chunk)]
        buffer[:] = b"\x55" * len(buffer)


def state(framing: Framing) -> tuple[str | None, int]:
    """What is left to see of a framing after some bytes: its fault's words and its pending bytes."""
    return None if framing.fault is None else str(framing.fault), framing.pending_bytes


def check_payloads(case: Case, payloads: list[bytes], chunks: list[bytes]) -> None:
    """Chunks of the encoded payloads give just these payloads, and as many by count; nothing is left, no fault."""
    feeding, counting = case.spec().new(), case.spec().new()
    assert payloads == fed(feeding, chunks)
    assert len(payloads) == counted(counting, chunks)
    assert (None, 0) == state(feeding)
    assert (None, 0) == state(counting)


def check_pending(case: Case, payloads: list[bytes], end: int) -> None:
    """After the first ``end`` bytes of a good stream: the whole packets are out and the rest of them is pending."""
    frames = encoded(case.spec().new(), payloads)
    ends = list(accumulate(map(len, frames), initial=0))
    stream = b"".join(frames)[:end]
    whole = sum(1 for place in ends[1:] if place <= end)
    feeding, counting = case.spec().new(), case.spec().new()
    assert payloads[:whole] == feeding.feed(stream)
    assert whole == counting.count(stream)
    # A CR at the end belongs to a line not yet whole like any other byte.
    assert (None, len(stream) - ends[whole]) == state(feeding)
    assert (None, len(stream) - ends[whole]) == state(counting)


def check_same(case: Case, chunks: list[bytes]) -> None:
    """For any bytes whatever: feed, count, both in turn, bytes, reused memoryviews, and byte by byte all agree."""
    stream = b"".join(chunks)
    singles = [stream[i : i + 1] for i in range(len(stream))]
    reference = case.spec().new()
    packets = fed(reference, singles)
    expected = state(reference)
    for cut in (singles, chunks, [stream]):
        for hand_over in (iter, in_one_buffer):
            feeding, counting = case.spec().new(), case.spec().new()
            assert packets == fed(feeding, hand_over(cut))
            assert len(packets) == counted(counting, hand_over(cut))
            assert expected == state(feeding)
            assert expected == state(counting)


def check_mixed(case: Case, chunks: list[bytes], by_feed: list[bool]) -> None:
    """Count and feed in turn on one framing: each packet comes out once, whole, in the call that completes it."""
    feeding, mixed = case.spec().new(), case.spec().new()
    for number, view in enumerate(in_one_buffer(chunks)):
        expected = feeding.feed(chunks[number])
        if by_feed[number % len(by_feed)]:
            assert expected == mixed.feed(view)
        else:
            assert len(expected) == mixed.count(view)
        assert state(feeding) == state(mixed)


def check_bounded(case: Case, chunks: list[bytes]) -> None:
    """Whatever comes, no more than one packet of the limit and its framing is ever pending."""
    feeding, counting = case.spec().new(), case.spec().new()
    for chunk in chunks:
        feeding.feed(chunk)
        counting.count(chunk)
        assert feeding.pending_bytes <= case.longest + case.overhead
        assert counting.pending_bytes <= case.longest + case.overhead


def check_too_long(case: Case, chunks: list[bytes], good: int) -> None:
    """Chunks of some good packets and one over the limit, whole, are the good ones and a fault."""
    feeding, counting = case.spec().new(), case.spec().new()
    assert good == len(fed(feeding, chunks))
    assert good == counted(counting, chunks)
    assert feeding.fault is not None
    assert counting.fault is not None


def check_fault(case: Case, payloads: list[bytes], fault: bytes, after: bytes) -> None:
    """What breaks the framing sets the fault at once; the packets before it are good, and nothing comes after it."""
    stream = b"".join(encoded(case.spec().new(), payloads))
    feeding, counting = case.spec().new(), case.spec().new()
    assert payloads == feeding.feed(stream + fault)
    assert len(payloads) == counting.count(stream + fault)
    for framing in (feeding, counting):
        found = framing.fault
        assert found is not None
        assert "\n" not in str(found)
        assert case.text in str(found)
        assert [] == framing.feed(after)
        assert 0 == framing.count(after)
        assert found is framing.fault
        assert 0 == framing.pending_bytes


def check_portions(case: Case, stream: bytes, most: int) -> None:
    """A call ends after about ``most`` packets, and what it leaves, given again, makes the same packets and fault."""
    whole = case.spec().new()
    payloads = whole.feed(stream)
    for build in (True, False):
        framing = case.spec().new()
        framing.most = most
        packets: list[bytes] = []
        counted, rest = 0, memoryview(stream)
        while True:
            if build:
                cut = framing.feed(rest)
                assert len(cut) <= most + 1
                packets += cut
                counted += len(cut)
            else:
                counted += framing.count(rest)
            left, framing.left = framing.left, 0
            if not left:
                break
            assert left < len(rest), "each call goes on"
            rest = rest[len(rest) - left :]
        assert len(payloads) == counted
        if build:
            assert payloads == packets
        assert str(whole.fault) == str(framing.fault)
        assert whole.pending_bytes == framing.pending_bytes


def check_without_bytes(case: Case, chunks: Sequence[bytes]) -> None:
    """A framing that holds no bytes of a packet counts as one that does, and tells the same rest and fault."""
    holding, other = case.spec().new(), case.spec().new()
    other.holds = False
    for chunk in chunks:
        assert holding.count(chunk) == other.count(memoryview(chunk))
        assert holding.pending_bytes == other.pending_bytes
        assert str(holding.fault) == str(other.fault)
        assert len(getattr(other, "_held", b"")) <= case.overhead + MAX_DELIMITER


def check_ends(case: Case, chunks: Sequence[bytes], most: int, holds: bool) -> None:
    """The packets end where they are whole byte by byte, at most so many in a call; a twin goes on for itself."""
    singly, cutting = case.spec().new(), case.spec().new()
    cutting.most, cutting.holds = most, holds
    at = 0
    for chunk in chunks:
        expected = [at + place for place in range(1, len(chunk) + 1) if singly.count(chunk[place - 1 : place])]
        found: list[int] = []
        rest = memoryview(chunk)
        while len(rest):
            twin = cutting.twin()
            ends = cutting.ends(rest)
            assert list(ends) == list(twin.ends(rest))
            assert (state(twin), twin.left) == (state(cutting), cutting.left)
            assert case.size is not None or len(ends) <= most
            found += [at + len(chunk) - len(rest) + end for end in ends]
            left, cutting.left = cutting.left, 0
            rest = rest[len(rest) - left :]
        assert expected == found
        assert state(singly) == state(cutting)
        at += len(chunk)
