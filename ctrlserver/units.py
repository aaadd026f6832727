"""Numbers with units, as people write them: "10s" "64KiB" "5M" "5k/s" "10Mbit/s" and back; the only parser of units.

Rules: a parser takes a text or a plain number and gives seconds, bytes, a count or a rate. It is strict: what is not
wholly understood raises ``UnitError``, one line that names the input, what was expected and, where there is one, the
nearest good value. Negative, infinite, undefined and absurdly large numbers (the bound is named) are rejected. Zero
is accepted; the caller decides what it means. Arithmetic is exact up to the last step, so "0.1M" is exactly 100000. A
formatter gives three or four significant digits for a person, never for a program, and accepts any finite number.

Beware: letters have their case. ``M`` is a million, ``m`` a minute; a size of ``1KiB`` or ``1K`` is 1024 bytes, as
iperf3 has it, of ``1kB`` 1000; a count or a rate of ``1K`` is 1000.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

from attrs import frozen

from ctrlserver.errors import UnitError
from ctrlserver.words import nearest, quoted

_NUMBER = r"(?:\d+(?:_\d+)*(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?"
_TERM = re.compile(rf"({_NUMBER}) *([A-Za-z]*) *", re.ASCII)
_LONGEST = 64
"""Most characters of a number: no person means a longer one, and exact arithmetic on it would be slow."""

_THOUSANDS = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DURATIONS = {
    "d": Fraction(86400),
    "h": Fraction(3600),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_SIZES = {
    **{prefix: 1024**power for prefix, power in {"": 0, "k": 1, "K": 1, "M": 2, "G": 3, "T": 4}.items()},
    **{f"{prefix}B": scale for prefix, scale in _THOUSANDS.items()},
    **{f"{prefix}iB": 2 ** (10 * power) for power, prefix in enumerate("KMGTPE", 1)},
}
_OTHER_WORDS = {
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("msec", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("byte", "bytes"), "B"),
    **dict.fromkeys(("b", "bits"), "bit"),
    **dict.fromkeys(("kb", "kbits"), "kbit"),
    **dict.fromkeys(("mb", "mbits"), "Mbit"),
    **dict.fromkeys(("gb", "gbits"), "Gbit"),
    **dict.fromkeys(("tb", "tbits"), "Tbit"),
    **dict.fromkeys(("thousand",), "k"),
    **dict.fromkeys(("million", "mio"), "M"),
    **dict.fromkeys(("billion",), "G"),
}
"""Units people write that are not ours; only for the nearest good value of an error."""


@frozen
class _Quantity:
    """One kind of number: its units, its bound and the words its errors use.

    ``compound`` allows several terms of falling units ("1h30m"); ``whole`` refuses fractions; ``per`` may end the text.
    """

    name: str
    expected: str
    units: Mapping[str, Fraction | int]
    most: Fraction | int
    most_text: str
    whole: bool = False
    compound: bool = False
    per: str = ""


_DURATION = _Quantity(
    name="duration",
    expected='seconds such as 0.5, "500ms", "10s" or "1h30m"',
    units={"": Fraction(1), **_DURATIONS},
    most=36500 * 86400,
    most_text='"36500d"',
    compound=True,
)
_SIZE = _Quantity(
    name="size",
    expected='bytes such as 1024, "64KiB" or "1MB"',
    units=_SIZES,
    most=2**60,
    most_text='"1EiB"',
    whole=True,
)
_COUNT = _Quantity(
    name="count",
    expected='a whole number such as 10000, "10_000" or "5M"',
    units=_THOUSANDS,
    most=10**18,
    most_text='"1e18"',
    whole=True,
)
_RATE = _Quantity(
    name="rate",
    expected='a number per second such as 5000, "5k" or "5k/s", or bits such as "10Mbit/s"',
    units=_THOUSANDS,
    most=10**12,
    most_text='"1T/s"',
    per="/s",
)
_BIT_RATE = _Quantity(
    name="rate",
    expected='bits per second such as "10Mbit/s" or "1Gbit/s"',
    units={f"{prefix}bit": scale for prefix, scale in _THOUSANDS.items()},
    most=10**15,
    most_text='"1000Tbit/s"',
    per="/s",
)
#: What is meant as bits per second, if not all of it is understood; a ``B`` is a byte.
_BITS = re.compile(r"[+-]?[\d.,_]+(?:[eE][+-]?\d+)? *[kKmMgGtT]?(?:b|[bB][iI][tT][sS]?) *(?:/ *s.*|ps)?", re.ASCII)


class BitRate(float):
    """Bits per second: packets per second once somebody knows how many bits a packet has."""


def parse_duration(given: object) -> float:
    """Seconds of "10s" "500ms" "2m" "1h30m" "0.5" or a number; at most 36500 days."""
    return float(_parse(given, _DURATION))


def parse_size(given: object) -> int:
    """Bytes of "64KiB" "1MB" "10M" or a whole number; at most 1 EiB."""
    return int(_parse(given, _SIZE))


def parse_count(given: object) -> int:
    """The whole number of "5M" "10_000" "1e6" or a whole number; at most 1e18."""
    return int(_parse(given, _COUNT))


def parse_rate(given: object) -> float:
    """What "5k/s" "5k" or a number says, per second, at most 1e12; a ``BitRate`` of "10Mbit/s" or "10Mbit"."""
    if isinstance(given, str) and _BITS.fullmatch(given.strip()):
        return BitRate(_parse(given, _BIT_RATE))
    return float(_parse(given, _RATE))


def parse_share(given: object) -> float:
    """What "5%" or "0.05" says; a plain number is at most 1, a percentage any."""
    text = given.strip() if isinstance(given, str) else str(given)
    number = text.removesuffix("%").rstrip()
    refused = f'share {quoted(given)}: expected a percentage such as "5%", or a fraction such as 0.05'
    if len(text) > _LONGEST or not re.fullmatch(_NUMBER, number, re.ASCII):
        raise UnitError(refused)
    value = _exact(number)
    if text.endswith("%"):
        value /= 100
    elif value > 1:
        raise UnitError(f'{refused}; did you mean "{number}%"?')
    if value > 10**6:
        raise UnitError(f'{refused}, at most "1e8%"')
    return float(value)


def parse_escapes(text: str) -> bytes:
    r"""The UTF-8 of ``text``, in which ``\r`` ``\n`` ``\t`` ``\0`` ``\xHH`` and ``\\`` stand for one byte each.

    Bytes of a command line that are not UTF-8 come through as they were given. UnitError for any other escape.
    """

    def one_byte(escape: re.Match[str]) -> str:
        if escape[0] == "\\":
            place = f"at character {escape.start() + 1} of {quoted(text)}"
            raise UnitError(rf"unknown escape {place}: expected \r \n \t \0 \xHH, or \\ for a backslash")
        octet = bytes.fromhex(escape[1]) if escape[1] else _ESCAPES[escape[2]]
        return octet.decode("ascii", "surrogateescape")

    return re.sub(r"\\(?:x([0-9A-Fa-f]{2})|([rnt0\\])|)", one_byte, text).encode("utf-8", "surrogateescape")


_ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}


def _parse(given: object, quantity: _Quantity) -> Fraction:
    value: Fraction | None = None
    if isinstance(given, str):
        value = _read(given.strip(), quantity)
    elif (isinstance(given, int) and not isinstance(given, bool)) or (
        isinstance(given, float) and math.isfinite(given)
    ):
        value = Fraction(given)
    refused = f"{quantity.name} {quoted(given)}: expected {quantity.expected}"
    if value is None:
        raise UnitError(refused + (_nearest_text(given, quantity) if isinstance(given, str) else ""))
    if value < 0:
        raise UnitError(f"{refused}, not negative{_nearest_number(-value, quantity)}")
    if value > quantity.most:
        raise UnitError(f"{refused}, at most {quantity.most_text}")
    if quantity.whole and value.denominator != 1:
        raise UnitError(f"{refused}, not a fraction{_nearest_number(value, quantity)}")
    return value


def _read(text: str, quantity: _Quantity) -> Fraction | None:
    """The value of ``text`` before any bound, or None where it is not understood."""
    if len(text) > _LONGEST:
        return None
    terms = _terms(text.removesuffix(quantity.per).rstrip())
    if not terms or any(unit not in quantity.units for _, unit in terms):
        return None
    scales = [quantity.units[unit] for _, unit in terms]
    if len(terms) > 1:
        falling = all(left > right for left, right in pairwise(scales))
        if not (quantity.compound and falling and all(unit for _, unit in terms)):
            return None
    return sum((_exact(number) * scale for (number, _), scale in zip(terms, scales, strict=True)), Fraction(0))


def _exact(number: str) -> Fraction:
    return Fraction(number.replace("_", ""))


def _terms(text: str) -> list[tuple[str, str]]:
    """The ``(number, unit)`` pairs that make up the whole of ``text``; none where anything else is in it."""
    found = list(_TERM.finditer(text))
    return [(term[1], term[2]) for term in found] if "".join(term[0] for term in found) == text else []


def _nearest_text(given: str, quantity: _Quantity) -> str:
    """``'; did you mean "64KiB"?'`` for a text that was not understood, where a slip explains it."""
    text = given.strip().lstrip("+-").lstrip()
    if len(text) > _LONGEST:
        return ""
    if re.fullmatch(r"\d{1,3}(,\d{3})+(?!\d).*", text, re.ASCII):
        text = text.replace(",", "")
    text = text.replace(",", ".")
    if quantity.per:
        text = re.sub(r"\s*(/\s*sec(ond)?s?|/?\s*p/?s|pps|per second)$", quantity.per, text, flags=re.IGNORECASE)
    ending = quantity.per if text.endswith(quantity.per) else ""
    terms = _terms(text.removesuffix(ending).rstrip())
    corrected = _with_known_units(terms, quantity)
    guess = "".join(number + unit for number, unit in corrected) + ending
    value = _read(guess, quantity)
    if value is None or value > quantity.most or (quantity.whole and value.denominator != 1):
        return ""
    if len(_terms(guess.removesuffix(ending))) != len(terms):
        return ""  # two numbers that ran together are not what was meant
    return f'; did you mean "{guess}"?'


def _with_known_units(terms: Sequence[tuple[str, str]], quantity: _Quantity) -> list[tuple[str, str]]:
    """The terms with each unknown unit replaced by the nearest known one, largest unit first."""
    known = [unit for unit in quantity.units if unit]
    corrected: list[tuple[str, str]] = []
    for number, unit in terms:
        if unit in quantity.units and (unit or len(terms) == 1):
            corrected.append((number, unit))
        elif not unit and corrected and corrected[-1][1] in ("d", "h", "m"):
            corrected.append((number, {"d": "h", "h": "m", "m": "s"}[corrected[-1][1]]))
        else:
            corrected.append((number, _nearest_unit(unit, known)))
    return sorted(corrected, key=lambda term: -quantity.units.get(term[1], 0))


def _nearest_unit(unit: str, known: Sequence[str]) -> str:
    word = _OTHER_WORDS.get(unit.casefold(), "")
    if word in known:
        return word
    same = next((candidate for candidate in known if candidate.casefold() == unit.casefold()), None)
    return same or nearest(unit, known) or unit


def _nearest_number(value: Fraction, quantity: _Quantity) -> str:
    """``"; did you mean 5?"`` for a plain number that is out of its bounds, where a good one is near."""
    if value > quantity.most:
        return f"; the most is {quantity.most_text}"
    if quantity.whole:
        return f"; did you mean {round(value)}?"
    return f"; did you mean {float(value):g}?"


def format_count(count: float) -> str:
    """Such as "999" and "1.23 M": three significant digits from a thousand on."""
    return _with_prefix(count, 1000, ("", "k", "M", "G", "T", "P", "E"))


def format_rate(per_second: float) -> str:
    """Such as "999/s" and "72.4 k/s"."""
    return format_count(per_second) + "/s"


def format_bits(bits_per_second: float) -> str:
    """Such as "0 bit/s" and "1.23 Gbit/s"."""
    text = format_count(bits_per_second)
    return text + "bit/s" if " " in text else text + " bit/s"


def format_bytes(count: float) -> str:
    """Such as "512 B" and "10.0 MiB"."""
    return _with_prefix(count, 1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"))


def format_duration(seconds: float) -> str:
    """Such as "0 s", "12.30 us" and "1.234 s", and from a minute on, to whole seconds, "1m30s", "1h30m" and "2d3h"."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds == 0:
        return "0 s"
    if round(seconds, 2) >= 60:
        return _clock(round(seconds)) if math.isfinite(seconds) else str(seconds)
    for unit, scale in (("ns", 1e9), ("us", 1e6), ("ms", 1e3)):
        value = seconds * scale
        if round(value, 1) < 1000:
            return f"{_digits(value, 4)} {unit}"
    return f"{_digits(seconds, 4)} s"


def _clock(seconds: int) -> str:
    text = ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, length)
        if number:
            text += f"{number}{unit}"
    return text


def _with_prefix(value: float, step: int, prefixes: Sequence[str]) -> str:
    if value < 0:
        return "-" + _with_prefix(-value, step, prefixes)
    plain = f"{int(value)}" if value == value // 1 else _digits(value, 3)
    if float(plain) < step:
        return f"{plain} {prefixes[0]}".rstrip()
    at = 0
    while float(_digits(value, 3)) >= step and at + 1 < len(prefixes):
        value /= step
        at += 1
    return f"{_digits(value, 3)} {prefixes[at]}"


def _digits(value: float, significant: int) -> str:
    """``value`` with ``significant`` digits, and never fewer digits than its whole part has."""
    if not math.isfinite(value) or value == 0:
        return f"{value:.0f}"
    whole = len(str(int(value))) if value >= 1 else 1
    text = f"{value:.{max(0, significant - whole)}f}"
    if len(text.partition(".")[0]) > whole:
        text = f"{value:.{max(0, significant - whole - 1)}f}"
    return text
