r"""What stands in the brackets of an action: delays, rates, drips, bits, lengths and texts, read and written again.

Rules: an argument is frozen and checked when it is read; ``text`` is its canonical spelling, which reads back as an
equal one. Times are whole nanoseconds, sizes bytes. Readers raise ``UsageError``; the parser adds the place.

Beware: what takes a random ``word`` takes 64 bits of a hash (``inject/draws.py``), never a generator of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from math import log
from typing import NoReturn, Protocol

from attrs import frozen

from ctrlserver.errors import UnitError, UsageError
from ctrlserver.units import BitRate, parse_duration, parse_escapes, parse_rate, parse_size

LONGEST = 3600 * 10**9
"""Nanoseconds of a delay, or between two pieces of a drip: a test that waits longer has other tools."""
LARGEST = 1 << 60
"""Bytes of a size."""
MOST_BITS = 1 << 16
"""Bits that ``corrupt`` turns over in one answer: each takes a draw."""
LONGEST_TEXT = 1 << 16
"""Bytes of the text of ``wrong``: it stands in for each answer struck."""

_WORDS = 1 << 64


class Argument(Protocol):
    """The argument of an action."""

    @property
    def text(self) -> str:
        """Its canonical spelling, without the brackets."""


class Delay(Argument, Protocol):
    """How long an answer waits."""

    def seconds(self, word: int) -> float:
        """Its delay, drawn by 64 random bits."""


@frozen
class Fixed:
    """The same delay for each answer."""

    ns: int

    @property
    def text(self) -> str:
        """Such as ``200ms``."""
        return time_text(self.ns)

    def seconds(self, word: int) -> float:
        """Always the same."""
        return self.ns / 1e9


@frozen
class Uniform:
    """A delay between two bounds, each nanosecond as likely as the next."""

    low: int
    high: int

    @property
    def text(self) -> str:
        """Such as ``50ms..200ms``."""
        return f"{time_text(self.low)}..{time_text(self.high)}"

    def seconds(self, word: int) -> float:
        """From ``low`` to ``high``, both included."""
        return (self.low + word * (self.high - self.low + 1) // _WORDS) / 1e9


@frozen
class Exponential:
    """A delay of the exponential distribution: at most 45 times the mean, for a word has 64 bits."""

    mean: int

    @property
    def text(self) -> str:
        """Such as ``exp 20ms``."""
        return f"exp {time_text(self.mean)}"

    def seconds(self, word: int) -> float:
        """By inversion."""
        return -self.mean * log((word + 1) / _WORDS) / 1e9


@frozen
class Rate:
    """Bytes a second."""

    nbytes: int

    @property
    def text(self) -> str:
        """Such as ``10KiB/s``."""
        return f"{size_text(self.nbytes)}/s"


@frozen
class Drip:
    """Pieces of ``nbytes``, ``ns`` from the start of one to that of the next."""

    nbytes: int
    ns: int

    @property
    def text(self) -> str:
        """Such as ``1B/10ms``."""
        return f"{size_text(self.nbytes)}/{time_text(self.ns)}"

    def seconds(self, length: int) -> float:
        """From the first piece of an answer of ``length`` bytes until the next answer may begin."""
        return -(-length // self.nbytes) * self.ns / 1e9


@frozen
class Bits:
    """A number of bits."""

    number: int

    @property
    def text(self) -> str:
        """Such as ``1 bit``; "bit" is the unit."""
        return f"{self.number} bit"


@frozen
class Length:
    """A number of bytes that stay."""

    nbytes: int

    @property
    def text(self) -> str:
        """Plain digits."""
        return str(self.nbytes)


@frozen
class Text:
    """Bytes that are sent instead."""

    octets: bytes

    @property
    def text(self) -> str:
        r"""In single quotes; what is not printable ASCII as an escape, such as ``'NO\r\n'``."""
        return "'" + "".join(map(_octet_text, self.octets)) + "'"


_ESCAPES = {0: r"\0", 9: r"\t", 10: r"\n", 13: r"\r", 39: r"\'", 92: r"\\"}


def _octet_text(octet: int) -> str:
    return _ESCAPES.get(octet) or (chr(octet) if 32 <= octet < 127 else f"\\x{octet:02x}")


def time_text(ns: int) -> str:
    """In the largest unit of which it is a whole number: ``90s`` ``2m`` ``1500ms``."""
    for unit, scale in (("h", 3600 * 10**9), ("m", 60 * 10**9), ("s", 10**9), ("ms", 10**6), ("us", 1000)):
        if ns and ns % scale == 0:
            return f"{ns // scale}{unit}"
    return f"{ns}ns" if ns else "0s"


def size_text(nbytes: int) -> str:
    """In the largest binary unit of which it is a whole number: ``64KiB`` ``1500B``."""
    for power, unit in ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")):
        if nbytes and nbytes % (1 << power) == 0:
            return f"{nbytes >> power}{unit}"
    return f"{nbytes}B"


# The readers


@contextmanager
def _between(before: str, after: str) -> Iterator[None]:
    """Complete the nearest good text of an error: what was read stands between these two."""
    try:
        yield
    except UsageError as error:
        wrong, meant, near = str(error).partition('did you mean "')
        raise type(error)(f'{wrong}{meant}{before}{near[:-2]}{after}"?' if meant else wrong) from None


def read_delay(text: str) -> Delay:
    """``200ms``, ``50ms..200ms`` or ``exp 20ms``."""
    if exponential := re.fullmatch(r"(?i:exp)(?:onential)?\b\s*(.*)", text):
        if not exponential[1]:
            _refuse("expected its mean", "exp 20ms")
        with _between("exp ", ""):
            return Exponential(_time(exponential[1], least=1))
    low, dots, high = map(str.strip, text.partition(".."))
    if not dots:
        return Fixed(_time(text, least=1))
    with _between("", f"..{high}"):
        first = _time(low)
    with _between(f"{low}..", ""):
        last = _time(high, least=1)
    if first >= last:
        _refuse_range(low, high, first, last)
    return Uniform(first, last)


def _refuse_range(low: str, high: str, first: int, last: int) -> NoReturn:
    unit = re.sub(r"[\d. ]+", "", high)
    if low.isdigit() and unit and low + unit != high:
        _refuse("the unit of the shorter time is missing", f"{low}{unit}..{high}")
    _refuse("expected the shorter time first", f"{time_text(last)}..{time_text(first)}" if first > last else low)


def read_rate(text: str) -> Rate:
    """``10KiB/s``, or bits such as ``80kbit/s``."""
    try:
        bits = parse_rate(text)
    except UnitError:
        bits = 0.0
    if isinstance(bits, BitRate):
        if bits < 8 or bits % 8:
            _refuse("expected whole bytes a second", "1B/s")
        return Rate(int(bits) // 8)
    size, _, second = map(str.strip, text.partition("/"))
    if second != "s":
        _refuse('expected bytes a second such as "10KiB/s"', f"{size}/s" if size[:1].isdigit() else "")
    with _between("", "/s"):
        return Rate(_size(size, "at least a byte a second"))


def read_drip(text: str) -> Drip:
    """``1B/10ms``; ``/s`` is ``/1s``."""
    size, slash, every = map(str.strip, text.partition("/"))
    if not slash:
        _refuse('expected bytes and the time of each such as "1B/10ms"', f"{size}/10ms" if size[:1].isdigit() else "")
    with _between("", f"/{every}"):
        nbytes = _size(size, "at least a byte")
    with _between(f"{size}/", ""):
        return Drip(nbytes, _time(f"1{every}" if every.isalpha() else every, least=1))


def read_bits(text: str) -> Bits:
    """``1 bit``, ``3 bits``, ``3``."""
    match = re.fullmatch(r"([0-9]{1,9})\s*(?:(?i:bits?))?", text)
    if match is None:
        _refuse('expected a number of bits such as "1 bit"')
    number = int(match[1])
    if not 1 <= number <= MOST_BITS:
        _refuse(f"expected 1 to {MOST_BITS} bits", "1 bit" if number < 1 else f"{MOST_BITS} bit")
    return Bits(number)


def read_length(text: str) -> Length:
    """Bytes that stay, one at least."""
    return Length(_size(text, 'at least 1 byte: to send nothing is "swallow"'))


def read_text(text: str) -> Text:
    """A text in single or double quotes, in which a backslash before the quote keeps it."""
    mark = text[:1]
    if mark not in ("'", '"') or len(text) < 2 or not text.endswith(mark):
        near = text.strip("'\"")
        _refuse("expected a text in quotes", f"'{near}'" if near and not set("'\"\\") & set(near) else "'TEXT'")
    inner = re.sub(r"\\(.)", lambda pair: pair[1] if pair[1] in "'\"" else pair[0], text[1:-1], flags=re.DOTALL)
    try:
        octets = parse_escapes(inner)
    except UnitError as error:
        raise UsageError(str(error).partition(" at ")[0] + str(error)[str(error).index(": ") :]) from None
    if not octets:
        _refuse('expected a text of at least 1 byte: to send nothing is "swallow"')
    if len(octets) > LONGEST_TEXT:
        _refuse(f"expected a text of at most {LONGEST_TEXT} bytes")
    return Text(octets)


def _time(text: str, least: int = 0) -> int:
    ns = round(parse_duration(text) * 1e9)
    if not least <= ns <= LONGEST:
        _refuse("expected a time above 0 and at most 1h", "1ms" if ns < least else "1h")
    return ns


def _size(text: str, expected: str) -> int:
    nbytes = parse_size(text)
    if nbytes < 1:
        _refuse(f"expected {expected}")
    return nbytes


def _refuse(expected: str, near: str = "") -> NoReturn:
    raise UsageError(expected + (f'; did you mean "{near}"?' if near else ""))
