r"""Probe packets: a header of 24 bytes in front of a test packet, with its number and intended send time.

All numbers are big-endian.

====== ===== ==========================================================================================================
byte   bytes content
====== ===== ==========================================================================================================
0      4     magic, ``c7 50 52 42`` (``\xc7PRB``): the first byte is no ASCII and the first two no UTF-8
4      1     version, 1; a packet of another version is no probe to this reader
5      1     flags, 0; a reader ignores them
6      2     session: a number that a sender takes anew when it starts its sequence again
8      8     sequence, unsigned, from 0, one more for each packet
16     8     intended send time, nanoseconds since 1970 in UTC, signed: good until the year 2262
24           whatever the packet is filled with
====== ===== ==========================================================================================================

Rules: no content raises; ``decode`` skips a packet that is too short or does not begin with magic and version. It
decodes in bulk with numpy if that is installed and there are enough packets, otherwise one by one with struct: the
results are the same. Seen in pairs on 64-byte packets in chunks of 64 KiB, medians of nine: numpy decodes
30 times as many in the same time, and 32 times with the figures of ``stats/probing.py`` made of them.

Beware: numpy is imported by the first call of ``has_numpy``, which takes 0.1 to 0.2 s. No result is a view
of the chunk, because the caller reuses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import groupby, pairwise
from operator import itemgetter
from struct import Struct
from sys import byteorder
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADER_SIZE = 24
"""Bytes of a header: the shortest probe packet."""

MAGIC = b"\xc7PRB"

VERSION = 1

BULK = 32
"""Packets from which numpy is faster than struct, the cost of their figures included; measured."""

SHORT_RUN = 128
"""Packets of a run from which numpy pays for the run alone; shorter runs are decoded together."""

_HEADER = Struct(">4sBBHQq")
_FIELDS = Struct(">IBxHQq")
_CHANGING = Struct(">Qq")
_CHANGING_AT = 8
_MARK = int.from_bytes(MAGIC, "big")
_MARKED = MAGIC + bytes((VERSION,))

Numbers: TypeAlias = "list[int] | NDArray[np.uint64] | NDArray[np.int64]"


class Heads(NamedTuple):
    """The headers of successive probes; arrays if numpy decoded them.

    ``session`` is that of all, or a list of each one's. ``sent`` are the intended send times, nanoseconds since 1970.
    """

    session: int | list[int]
    sequences: Numbers
    sent: Numbers


@cache
def has_numpy() -> bool:
    """Whether numpy is installed; imports it."""
    try:
        import numpy as np
    except ImportError:
        return False
    return bool(np.__version__)


def encode(sequence: int, sent: int, session: int = 0) -> bytes:
    """One header."""
    return _HEADER.pack(MAGIC, VERSION, 0, session, sequence, sent)


def encode_into(
    buffer: bytearray | memoryview, size: int, sequence: int, sent: Sequence[int], session: int = 0
) -> None:
    """Write headers to the packets of ``size`` bytes that ``buffer`` starts with; the rest of each stays.

    As many as there are send times, with sequences from ``sequence`` on. ``ValueError`` if they do not fit.
    """
    packets = len(sent)
    if size < HEADER_SIZE or packets * size > len(buffer):
        raise ValueError(f"no {packets} probe packets of {size} bytes fit into {len(buffer)} bytes")
    for at, time in enumerate(sent):
        _HEADER.pack_into(buffer, at * size, MAGIC, VERSION, 0, session, sequence + at, time)


class ProbeBlock:
    """Successive packets of ``size`` bytes; the sender stamps them anew before each send.

    The constructor writes the session and, if numpy is installed, makes the views, because no stamp changes them. A
    stamp of 46 packets of 1 400 bytes takes 1.6 us then. ``ValueError`` if ``content`` is not whole packets that can
    hold a header.
    """

    def __init__(self, content: bytes | memoryview, size: int, session: int) -> None:
        self.buffer = bytearray(content)
        self.packets, rest = divmod(len(self.buffer), size)
        if rest or not self.packets:
            raise ValueError(f"{len(self.buffer)} bytes are no packets of {size} bytes")
        encode_into(self.buffer, size, 0, [0] * self.packets, session)
        self._size = size
        self._views: tuple[Any, Any, Any] | None = None
        if self.packets >= BULK and has_numpy():
            import numpy as np

            heads = np.frombuffer(self.buffer, _layout(size), self.packets)
            self._views = np.arange(self.packets, dtype=np.uint64), heads["sequence"], heads["sent"]

    def stamp(self, packets: int, sequence: int, sent: int | Sequence[int]) -> None:
        """Number the first ``packets`` from ``sequence`` on; ``sent`` is one intended send time for all or one each."""
        if self._views is None:
            times = [sent] * packets if isinstance(sent, int) else sent
            for at, time in enumerate(times[:packets]):
                _CHANGING.pack_into(self.buffer, at * self._size + _CHANGING_AT, sequence + at, time)
            return
        count, sequences, intended = self._views
        sequences[:packets] = count[:packets] + sequence
        intended[:packets] = sent


def decode(chunk: bytes | bytearray | memoryview, size: int, packets: int, at: int = 0) -> list[Heads]:
    """The headers of ``packets`` packets of ``size`` bytes each, the first of them at ``at``.

    An item for each run of one session; numpy decodes short runs into one item.
    """
    if size < HEADER_SIZE or not packets:
        return []
    if packets < BULK or not has_numpy():
        return decode_plain(chunk, size, packets, at)
    return _decode_bulk(chunk, size, packets, at)


def decode_plain(chunk: bytes | bytearray | memoryview, size: int, packets: int, at: int = 0) -> list[Heads]:
    """As ``decode``, with struct."""
    unpack = _FIELDS.unpack_from
    heads = [unpack(chunk, place) for place in range(at, at + packets * size, size)]
    probes = [head for head in heads if head[0] == _MARK and head[1] == VERSION]
    return [
        Heads(session, [head[3] for head in run], [head[4] for head in run])
        for session, run in ((key, list(same)) for key, same in groupby(probes, itemgetter(2)))
    ]


def decode_each(packets: Sequence[bytes]) -> list[Heads]:
    """As ``decode``, of packets that differ in length."""
    heads = [packet[:HEADER_SIZE] for packet in packets if len(packet) >= HEADER_SIZE]
    return decode(b"".join(heads), HEADER_SIZE, len(heads))


def _decode_bulk(chunk: bytes | bytearray | memoryview, size: int, packets: int, at: int) -> list[Heads]:
    import numpy as np

    heads = np.frombuffer(chunk, _layout(size), packets, at)
    words = heads["word"]
    first = words[0]
    if not (words == first).all():
        marks = words.astype(np.uint64) if byteorder == "big" else words.byteswap()
        good = marks >> np.uint64(24) == int.from_bytes(_MARKED, "big")
        heads = heads[good]
        sessions = marks[good] & np.uint64(0xFFFF)
        edges = (np.flatnonzero(sessions[1:] != sessions[:-1]) + 1).tolist()
        if len(edges) * SHORT_RUN > packets:
            return [_heads(sessions.tolist(), heads)]
        spans = pairwise([0, *edges, len(heads)]) if len(heads) else ()
        return [_heads(int(sessions[start]), heads[start:end]) for start, end in spans]
    head = bytes(chunk[at : at + 8])
    return [_heads(int.from_bytes(head[6:], "big"), heads)] if head.startswith(_MARKED) else []


def _heads(session: int | list[int], heads: NDArray[Any]) -> Heads:
    import numpy as np

    return Heads(session, heads["sequence"].astype(np.uint64), heads["sent"].astype(np.int64))


@lru_cache(64)  # a listener has one size; a UDP peer may send any
def _layout(size: int) -> Any:
    import numpy as np

    # The eight bytes from the magic to the session are one word, compared in native order. The fill has no name,
    # because a selection of packets copies every named field.
    return np.dtype(
        {
            "names": ["word", "sequence", "sent"],
            "formats": ["=u8", ">u8", ">i8"],
            "offsets": [0, 8, 16],
            "itemsize": size,
        }
    )
