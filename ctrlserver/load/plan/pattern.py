"""The bytes that a stream sends: a block of whole encoded packets, repeated.

Rules: a stream is the block repeated without end; its packets and its bytes are numbered from 0. A pattern converts
exactly between the two ("how many packets are in the first 9999 bytes", "where does packet 70 end"), also within a
block. The same sizes and seed give the same bytes, on every stream and on every machine.

Beware: a packet's bytes include its framing; the size asked for is the payload's.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_right
from itertools import accumulate

from attrs import field, frozen

from ctrlserver.errors import FramingError, UnitError, UsageError
from ctrlserver.units import BitRate, parse_size
from ctrlserver.wire.datagram import DATAGRAM
from ctrlserver.wire.framing import Framing, FramingSpec
from ctrlserver.words import quoted

#: About the bytes of a block of equal packets: small enough to stay in the L2 cache while writes repeat it.
BLOCK_BYTES = 64 * 1024

#: About the bytes of a block of random sizes: long enough that the sizes do not repeat soon.
RANDOM_BLOCK_BYTES = 1 << 20

#: Fewest packets of random sizes in a block: fewer would not represent the range.
RANDOM_PACKETS = 16

#: What payloads are filled with: text that shows where a packet was cut. If it holds the framing's delimiter, one of
#: the others does not: each is a single repeated byte.
_FILLS = (b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_", b"x", b"-", b"\x01")

#: On a stream nothing would be sent. A mixture would have to be counted in two ways.
_NO_EMPTY_PACKETS = "packets of no bytes go over udp: only, and only if all of them are so"


@frozen
class Sizes:
    """Payload bytes of a packet: constant if ``least == most``, else random, evenly distributed between the two."""

    least: int
    most: int

    def __str__(self) -> str:
        return str(self.as_option())

    def as_option(self) -> int | str:
        """``1024`` or ``"64..1024"``."""
        return self.least if self.least == self.most else f"{self.least}..{self.most}"


def parse_sizes(text: str) -> Sizes:
    """``"1024"``, ``"64KiB"`` or ``"64..1024"``; ``UnitError`` for anything else."""
    least, dots, most = text.partition("..")
    if not dots:
        size = parse_size(text)
        return Sizes(size, size)
    sizes = Sizes(parse_size(least), parse_size(most))
    if sizes.least > sizes.most:
        raise UnitError(f'size {quoted(text)}: the first is the larger; did you mean "{most}..{least}"?')
    return sizes


@frozen(eq=False)
class Pattern:
    """A block of whole packets, repeated without end.

    ``stride`` is the bytes of each packet. It is 0 if they differ; ``ends`` then has where each one ends. If the
    packets are ``empty`` datagrams, the block has one byte for each, which does not go on the wire.
    """

    block: bytes = field(repr=False)
    packets_a_block: int
    stride: int
    ends: array[int] | None = field(default=None, repr=False)
    empty: bool = False

    def bytes_of(self, packets: int) -> int:
        """Bytes of the first ``packets`` packets."""
        if self.ends is None:
            return packets * self.stride
        blocks, rest = divmod(packets, self.packets_a_block)
        return blocks * len(self.block) + (self.ends[rest - 1] if rest else 0)

    def packets_in(self, nbytes: int) -> int:
        """Whole packets in the first ``nbytes`` bytes."""
        if self.ends is None:
            return nbytes // self.stride
        blocks, rest = divmod(nbytes, len(self.block))
        return blocks * self.packets_a_block + bisect_right(self.ends, rest)

    def rest_in(self, nbytes: int) -> int:
        """Bytes past the last whole packet of the first ``nbytes`` bytes."""
        return nbytes - self.bytes_of(self.packets_in(nbytes))

    def whole(self, nbytes: int) -> int:
        """``nbytes`` rounded up to the end of a packet."""
        packets = self.packets_in(nbytes)
        end = self.bytes_of(packets)
        return end if end == nbytes else self.bytes_of(packets + 1)

    def packets_to_cover(self, nbytes: int, start: int = 0) -> int:
        """How many packets, from number ``start`` on, it takes to hold ``nbytes`` bytes."""
        return self.packets_in(self.whole(self.bytes_of(start) + nbytes)) - start

    def sendable(self, write_bytes: int) -> memoryview:
        """The block, repeated so that one slice of ``write_bytes`` can begin anywhere in the first block."""
        return memoryview(self.block * (1 + -(-write_bytes // max(1, len(self.block)))))

    def in_packets(self, rate: float) -> float:
        """A rate in packets per second; one in bits counts whole packets with their framing, of the mean size."""
        return rate * self.packets_a_block / (8 * len(self.block)) if isinstance(rate, BitRate) else rate

    def packet_views(self) -> list[memoryview]:
        """Each packet of the block, not copied; a single one if all have the same length."""
        view = memoryview(self.block)
        if self.ends is None:
            return [view[: self.stride]]
        return [view[start:end] for start, end in zip([0, *self.ends], self.ends, strict=False)]


#: The pattern of a download.
SENDS_NOTHING = Pattern(block=b"", packets_a_block=0, stride=0)


def shares(total: int, streams: int) -> list[int]:
    """``total`` divided evenly; the first streams get the remainder."""
    each, rest = divmod(total, streams)
    return [each + (number < rest) for number in range(streams)]


def payload_pattern(payload: bytes, spec: FramingSpec) -> Pattern:
    """One payload, repeated; ``UsageError`` if the framing cannot carry it."""
    try:
        packet = spec.new().encode(payload)
    except FramingError as error:
        raise UsageError(f"--payload: framing {spec.text} cannot carry it: {error}") from None
    return _constant(packet, spec, BLOCK_BYTES)


def size_pattern(sizes: Sizes, spec: FramingSpec, seed: int, block_bytes: int | None = None) -> Pattern:
    """Packets of ``sizes`` filled with text; ``UsageError`` if the framing cannot carry them."""
    framing = spec.new()
    fill = _fill(sizes, spec, framing)
    if sizes.least == sizes.most:
        return _constant(framing.encode(_filled(fill, sizes.most)), spec, block_bytes or BLOCK_BYTES)
    if not framing.encode(_filled(fill, sizes.least)):
        raise UsageError(f"--size {sizes}: with framing {spec.text}, {_NO_EMPTY_PACKETS}")
    count = max(RANDOM_PACKETS, 2 * (block_bytes or RANDOM_BLOCK_BYTES) // (sizes.least + sizes.most + 1))
    draw = random.Random(seed)
    text = _filled(fill, sizes.most)
    drawn = draw.choices(range(sizes.least, sizes.most + 1), k=count)
    packet_of = {size: framing.encode(text[:size]) for size in set(drawn)}
    packets = [packet_of[size] for size in drawn]
    ends = array("q", accumulate(map(len, packets)))
    return Pattern(block=b"".join(packets), packets_a_block=count, stride=0, ends=ends)


def _constant(packet: bytes, spec: FramingSpec, block_bytes: int) -> Pattern:
    if not packet and spec is DATAGRAM:
        return Pattern(block=bytes(block_bytes), packets_a_block=block_bytes, stride=1, empty=True)
    if not packet:
        raise UsageError(f"--size, --payload: {_NO_EMPTY_PACKETS}")
    count = max(1, block_bytes // len(packet))
    return Pattern(block=packet * count, packets_a_block=count, stride=len(packet))


def _filled(fill: bytes, size: int) -> bytes:
    return (fill * (size // len(fill) + 1))[:size]


def _fill(sizes: Sizes, spec: FramingSpec, framing: Framing) -> bytes:
    """The first fill that the framing can carry at the least and the most size."""
    refused = ""
    for fill in _FILLS:
        try:
            framing.encode(_filled(fill, sizes.most))
            framing.encode(_filled(fill, sizes.least))
        except FramingError as error:
            refused = refused or str(error)
        else:
            return fill
    raise UsageError(f"--size {sizes}: framing {spec.text} cannot carry it: {refused}")
