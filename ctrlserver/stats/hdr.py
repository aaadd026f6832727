"""The exchange format of HDR histograms: version 2, compressed, base64. PURE.

::

    base64 of   0x1c849314  length of what follows  zlib of
                0x1c849313  length of the counts  0  digits  lowest  highest  1.0  counts
    a count     a signed number, zigzag, in groups of 7 bits, the lowest first; -N stands for N empty buckets

Rules: a text of ``encoded`` decodes in any library that reads HDR histograms, and ``decoded`` reads what those write.
The library's own codec walks through all of its 33 000 counts; a result with an hour of intervals has thousands of
histograms, of a few hundred buckets each.

Beware: do not trust a text: it may be anything, and is never decompressed to more than ``MOST_DECOMPRESSED``.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping

_HEADER = struct.Struct(">IIIIQQd")
_OUTER = struct.Struct(">II")
_COOKIE, _OUTER_COOKIE = 0x1C849313, 0x1C849314

#: Bytes of a histogram once decompressed: ten times what one with all buckets of our layout takes. The library itself
#: has no bound, and a compressed megabyte may hold a thousand.
MOST_DECOMPRESSED = 4 << 20

#: Of a count of 64 bits: eight groups of 7 bits, and a last one of 8.
_LAST_GROUP = 56


def encoded(counts: Mapping[int, int], lowest: int, highest: int, digits: int) -> str:
    """The text of ``counts`` by bucket, in a layout of whole ``lowest`` to ``highest`` with so many ``digits``."""
    groups = bytearray()
    upto = 0
    for bucket, count in sorted(counts.items()):
        if count > 0:
            numbers = (2 * (bucket - upto) - 1, 2 * count) if bucket > upto else (2 * count,)
            for number in numbers:
                if number < 0x80:
                    groups.append(number)
                else:
                    _put(groups, number)
            upto = bucket + 1
    payload = _HEADER.pack(_COOKIE, len(groups), 0, digits, lowest, highest, 1.0) + groups
    packed = zlib.compress(payload)
    return base64.b64encode(_OUTER.pack(_OUTER_COOKIE, len(packed)) + packed).decode("ascii")


def decoded(text: str) -> tuple[dict[int, int], tuple[int, int, int]]:
    """The counts by bucket, and the layout: lowest, highest, digits; ValueError in words."""
    try:
        payload = unpacked(text)
        cookie, length, shift, digits, lowest, highest, _ = _HEADER.unpack_from(payload)
    except (ValueError, zlib.error, struct.error) as error:
        raise ValueError(f"no HDR histogram: {error}") from None
    if cookie != _COOKIE or shift or _HEADER.size + length > len(payload):
        raise ValueError("no HDR histogram of version 2")
    return _counts(payload[_HEADER.size : _HEADER.size + length]), (lowest, highest, digits)


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


def _counts(groups: bytes) -> dict[int, int]:
    counts: dict[int, int] = {}
    bucket = number = shift = 0
    for octet in groups:
        if shift:
            number |= (octet if shift >= _LAST_GROUP else octet & 0x7F) << shift
            if octet & 0x80 and shift < _LAST_GROUP:
                shift += 7
                continue
            shift = 0
        elif octet & 0x80:
            number, shift = octet & 0x7F, 7
            continue
        else:
            number = octet
        if number & 1:
            bucket += (number + 1) >> 1
        else:
            if number:
                counts[bucket] = number >> 1
            bucket += 1
    if shift:
        raise ValueError("no HDR histogram: its last count is cut short")
    return counts
