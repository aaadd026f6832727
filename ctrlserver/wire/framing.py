"""Framings: how a byte stream is cut into packets, chosen by a spec such as ``fixed:1024`` or ``int32:little``.

Rules: a framing never raises on received bytes. It stores the first fault and returns no packet after it; the packets
before it stay valid. ``count`` and ``feed`` may alternate on one stream and agree. This room knows no time, no sockets
and no Twisted: bytes in, packets out. Every buffer is bounded by one packet.

========================= ============================ ==========================================================
spec                      packet                       note
========================= ============================ ==========================================================
``fixed:1024``            that many bytes
``int8`` to ``int64``     length, payload              big-endian, or ``int32:little``; Twisted's IntNStringReceiver
``varint``                length, payload              protobuf's delimited messages
``line``                  payload, LF                  a CR before the LF is not payload
``delimited:0d0a``        payload, those bytes         the delimiter in hex
``netstring``             ``5:hello,``                 djb's
``raw``                   none                         bytes are counted, packets are not
========================= ============================ ==========================================================

Beware: a chunk may be a memoryview over a buffer that the caller reuses: a framing must copy the bytes it keeps.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from attrs import field, frozen

from ctrlserver.errors import FramingError, FramingSpecError, UnitError
from ctrlserver.units import parse_size
from ctrlserver.wire.delimited import Delimited, Lines
from ctrlserver.wire.fixed import FixedSize, Raw
from ctrlserver.wire.integers import LengthPrefixed
from ctrlserver.wire.netstring import Netstring
from ctrlserver.wire.varint import Varint
from ctrlserver.words import nearest, quoted

MAX_PACKET = 1024 * 1024
"""Longest payload in bytes unless a listener sets another; it bounds the memory of one stream."""

PACKETS_A_CALL = 512
"""``most`` of a framing that serves one of many streams: a call takes about half a millisecond at worst."""

MAX_DELIMITER = 64
"""Longest delimiter in bytes: real ones have one to four, so a longer one is a mistake."""


class Framing(Protocol):
    """Cuts one byte stream into packets, independently of how the network cuts it into chunks.

    ``most``: a call ends after about this many packets that it has to cut one by one; no limit unless it is set.
    ``left``: how many bytes at the end of the chunk it has not looked at then. The caller sets it back to 0, and gives
    these bytes again.

    ``holds``: whether the bytes of a packet not yet whole are held. Without them ``count`` counts the same, and nobody
    may call ``feed``. To be set before the first chunk.
    """

    most: int
    left: int
    holds: bool

    @property
    def fault(self) -> FramingError | None:
        """Why the stream cannot be cut any further; set once; the packets before it stay valid."""

    @property
    def pending_bytes(self) -> int:
        """Bytes of the packet not yet whole, header and begun trailer included; 0 after a fault."""

    def count(self, chunk: bytes | memoryview) -> int:
        """Number of packets completed by ``chunk``, without building them; 0 after a fault."""

    def feed(self, chunk: bytes | memoryview) -> list[bytes]:
        """The payloads of the same packets; empty after a fault."""

    def ends(self, chunk: bytes | memoryview) -> Sequence[int]:
        """Where in ``chunk`` the same packets end, ``most`` of them at most: offsets behind their last bytes."""

    def twin(self) -> Framing:
        """Another that goes on from here, for itself."""

    def encode(self, payload: bytes) -> bytes:
        """The frame that carries ``payload``; FramingError for one that no frame can carry."""


class ByLength(Framing, Protocol):
    """A framing that needs only the number of bytes: ``new`` of a ``by_length`` spec returns one."""

    def advance(self, nbytes: int) -> int:
        """Packets completed by the next ``nbytes`` bytes of any content."""


@frozen
class FramingSpec:
    """A chosen framing; ``new`` starts it for one stream.

    ``size`` is the packet size of ``fixed`` in bytes, otherwise None. ``by_length``: ``new`` returns a ByLength.
    ``counts_packets`` is False for ``raw``.
    """

    text: str
    max_packet: int
    new: Callable[[], Framing] = field(repr=False, eq=False)
    size: int | None = None
    by_length: bool = False
    counts_packets: bool = True


@frozen
class Kind:
    """One kind of framing: the ``forms`` of its spec, an ``example`` that parses, and the parser.

    ``parse(text, argument, max_packet)``: ``argument`` is the text after the colon, None without one.
    """

    forms: tuple[str, ...]
    example: str
    parse: Callable[[str, str | None, int], FramingSpec]


def parse_framing(text: str, *, max_packet: int = MAX_PACKET) -> FramingSpec:
    """The framing that ``text`` names, its payloads at most ``max_packet`` bytes; FramingSpecError for a bad spec."""
    if max_packet < 1:
        raise FramingSpecError(f"max_packet {max_packet}: must be at least 1 byte")
    name, colon, rest = text.casefold().partition(":")
    argument = rest if colon else None
    kind = KINDS.get(name)
    if kind is None:
        raise FramingSpecError(f"unknown framing {quoted(text)}{_suggestion(name, argument)}")
    return kind.parse(text, argument, max_packet)


def _fixed(text: str, argument: str | None, max_packet: int) -> FramingSpec:
    if not argument:
        raise FramingSpecError(f'framing {quoted(text)}: the size is missing; write fixed:N, such as "fixed:1024"')
    size = int(argument) if re.fullmatch(r"[0-9]{1,18}", argument) else 0
    if not 1 <= size <= max_packet:
        near = _in_bytes(text.partition(":")[2], max_packet)
        raise FramingSpecError(f"framing {quoted(text)}: the size must be 1 to {max_packet} bytes{near}")
    return FramingSpec(f"fixed:{size}", max_packet, lambda: FixedSize(size), size, by_length=True)


def _in_bytes(text: str, most: int) -> str:
    """``'; did you mean "fixed:1024"?'`` for a size with a unit."""
    try:
        size = parse_size(text)
    except UnitError:
        return ""
    return f'; did you mean "fixed:{size}"?' if 1 <= size <= most else ""


def _delimited(text: str, argument: str | None, max_packet: int) -> FramingSpec:
    if not argument or not re.fullmatch(rf"(?:[0-9a-f]{{2}}){{1,{MAX_DELIMITER}}}", argument):
        raise FramingSpecError(
            f'framing {quoted(text)}: the delimiter must be 1 to {MAX_DELIMITER} bytes in hex, such as "delimited:0d0a"'
        )
    delimiter = bytes.fromhex(argument)
    canonical = f"delimited:{argument}"
    return FramingSpec(canonical, max_packet, lambda: Delimited(canonical, max_packet, delimiter))


def _plain(name: str, make: Callable[[int], Framing], *, by_length: bool = False, counts_packets: bool = True) -> Kind:
    """A framing without an argument; ``make`` starts it for one stream, given ``max_packet``."""

    def parse(text: str, argument: str | None, max_packet: int) -> FramingSpec:
        if argument is not None:
            raise FramingSpecError(f'framing {quoted(text)}: "{name}" takes no argument; write "{name}"')
        return FramingSpec(name, max_packet, lambda: make(max_packet), None, by_length, counts_packets)

    return Kind((name,), name, parse)


def _integer(name: str, layout: str) -> Kind:
    """A length of fixed width, in ``struct``'s letter, before the payload."""

    def parse(text: str, argument: str | None, max_packet: int) -> FramingSpec:
        if argument not in (None, "little", "big"):
            near = "big" if nearest(argument or "", ["big"]) else "little"
            raise FramingSpecError(
                f'framing {quoted(text)}: the byte order must be "little" or "big"; did you mean "{name}:{near}"?'
            )
        little = argument == "little" and name != "int8"  # one byte has no order
        length = struct.Struct(("<" if little else ">") + layout)
        canonical = f"{name}:little" if little else name
        return FramingSpec(canonical, max_packet, lambda: LengthPrefixed.of(canonical, length, max_packet))

    return Kind((name,) if name == "int8" else (name, f"{name}:little"), name, parse)


KINDS: dict[str, Kind] = {
    "fixed": Kind(("fixed:N",), "fixed:1024", _fixed),
    "int8": _integer("int8", "B"),
    "int16": _integer("int16", "H"),
    "int32": _integer("int32", "I"),
    "int64": _integer("int64", "Q"),
    "varint": _plain("varint", Varint.of),
    "line": _plain("line", Lines.of),
    "delimited": Kind(("delimited:HEX",), "delimited:0d0a", _delimited),
    "netstring": _plain("netstring", Netstring.of),
    "raw": _plain("raw", lambda _: Raw(), by_length=True, counts_packets=False),
}
"""All framings, by the first word of their specs."""

FRAMINGS = tuple(form for kind in KINDS.values() for form in kind.forms)
"""All forms of a spec, for help texts."""

EXAMPLES = tuple(kind.example for kind in KINDS.values())
"""A spec of each kind that parses."""


def _suggestion(name: str, argument: str | None) -> str:
    """``'; did you mean "fixed:1024"?'``: the nearest spec that parses, with the argument given where it fits."""
    near = nearest(name, KINDS)
    if near is None:
        return f"; known are {', '.join(FRAMINGS)}"
    example = KINDS[near].example
    if argument is not None:
        with suppress(FramingSpecError):
            example = parse_framing(f"{near}:{argument}").text
    return f'; did you mean "{example}"?'
