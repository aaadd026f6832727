"""The exchange format of HDR histograms: version 2, compressed, base64. PURE.

::

    base64 of   0x1c849314  length of what follows  zlib of
                0x1c849313  length of the counts  0  digits  lowest  highest  1.0  counts
    a count     a signed number, zigzag, in groups of 7 bits, the lowest first; -N stands for N empty buckets

Rules: a text of ``encoded`` decodes in any library that reads HDR histograms, and ``summed`` reads what those write.
The library's own encoder walks through all of its 33 000 counts; a result with an hour of intervals has thousands of
histograms, of a few hundred buckets each.

Beware: do not trust a text: it may be anything, and is never decompressed to more than ``MOST_DECOMPRESSED``.
"""

from __future__ import annotations

import base64
import struct
import zlib
from array import array
from collections.abc import Iterable, Mapping
from itertools import compress

from pyhdrh import add_array, decode

_HEADER = struct.Struct(">IIIIQQd")
_OUTER = struct.Struct(">II")
_COOKIE, _OUTER_COOKIE = 0x1C849313, 0x1C849314

#: Bytes of a histogram once decompressed: ten times what one with all buckets of our layout takes. The library itself
#: has no bound, and a compressed megabyte may hold a thousand.
MOST_DECOMPRESSED = 4 << 20

#: A count below it is one group, and so are as many empty buckets.
_SHORT = 64

#: Of a count of 64 bits: eight groups of 7 bits, and a last one of 8.
_LAST_GROUP = 56


def encoded(counts: Mapping[int, int], lowest: int, highest: int, digits: int) -> str:
    """The text of ``counts`` by bucket, in a layout of whole ``lowest`` to ``highest`` with so many ``digits``."""
    groups = bytearray()
    upto = 0
    for bucket, count in sorted(counts.items()):
        if count > 0:
            empty = bucket - upto
            if 0 < empty <= _SHORT:
                groups.append(2 * empty - 1)
            elif empty:
                _put(groups, 2 * empty - 1)
            if count < _SHORT:
                groups.append(2 * count)
            else:
                _put(groups, 2 * count)
            upto = bucket + 1
    payload = _HEADER.pack(_COOKIE, len(groups), 0, digits, lowest, highest, 1.0) + groups
    packed = zlib.compress(payload)
    return base64.b64encode(_OUTER.pack(_OUTER_COOKIE, len(packed)) + packed).decode("ascii")


def summed(texts: Iterable[str], layout: tuple[int, int, int], buckets: int) -> dict[int, int]:
    """The counts of all ``texts`` together, by bucket; ValueError in words for one that has not this ``layout``.

    ``buckets``: how many the layout has. The library's code in C reads and adds them, where Python takes ten times as
    long; a result of many shards has thousands of histograms.
    """
    one, whole, empty = (array("Q", bytes(8 * buckets)) for _ in range(3))
    (source, _), (target, _) = one.buffer_info(), whole.buffer_info()
    used, unused = memoryview(one), memoryview(empty)
    least, most = buckets, -1
    for text in texts:
        groups = _groups(text, layout)
        try:
            found = decode(groups, 0, source, buckets, 8)
            first, last = found["min_nonzero_index"], found["max_nonzero_index"]
            if first < 0:
                continue
            add_array(target + 8 * first, source + 8 * first, last + 1 - first, 8)
        except IndexError:
            raise ValueError("an HDR histogram with more buckets than its layout has") from None
        except (ValueError, OverflowError) as error:
            raise ValueError(f"no HDR histogram: {error}") from None
        used[first : last + 1] = unused[first : last + 1]
        least, most = min(least, first), max(most, last)
    counts = whole[least : most + 1]
    return dict(compress(enumerate(counts, least), counts))


def _groups(text: str, layout: tuple[int, int, int]) -> bytes:
    """The counts as they are encoded."""
    try:
        payload = unpacked(text)
        cookie, length, shift, digits, lowest, highest, _ = _HEADER.unpack_from(payload)
    except (ValueError, zlib.error, struct.error) as error:
        raise ValueError(f"no HDR histogram: {error}") from None
    if cookie != _COOKIE or shift or _HEADER.size + length > len(payload):
        raise ValueError("no HDR histogram of version 2")
    if (lowest, highest, digits) != layout:
        found = lowest, highest, digits
        raise ValueError(f"an HDR histogram of another layout: lowest, highest, digits are {found}")
    return payload[_HEADER.size : _HEADER.size + length]


def unpacked(text: str) -> bytes:
    """What is compressed in a text, ``MOST_DECOMPRESSED`` at most; ValueError, or an error of zlib, for nonsense."""
    octets = base64.b64decode(text)[_OUTER.size :]
    unpacking = zlib.decompressobj()
    found = unpacking.decompress(octets, MOST_DECOMPRESSED + 1)
    if len(found) > MOST_DECOMPRESSED:
        raise ValueError(f"larger than {MOST_DECOMPRESSED} bytes")
    if not unpacking.eof:
        raise ValueError("it is cut short")
    return found


def _put(groups: bytearray, number: int) -> None:
    """Append ``number``, zigzag already."""
    shift = 0
    while number > 0x7F and shift < _LAST_GROUP:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
        shift += 7
    groups.append(number)
