"""Words of ``export`` and ``diff``. PURE.

Rules: ``since`` and ``until`` may also say how long ago, ``since=2d``; then the server is told the time. Every other
word is the server's to judge.
"""

from __future__ import annotations

from collections.abc import Sequence

from ctrlserver.errors import UnitError, UsageError
from ctrlserver.stats.records import timestamp
from ctrlserver.units import parse_duration
from ctrlserver.words import quoted

_TIMES = ("since", "until")


def resolved(words: Sequence[str], now: float) -> list[str]:
    """The words as ``runs`` takes them."""
    return [_resolved(word, now) for word in words]


def _resolved(word: str, now: float) -> str:
    name, equals, text = word.partition("=")
    if not equals or name.casefold() not in _TIMES or text.isdecimal():
        return word
    try:
        ago = parse_duration(text)
    except UnitError:
        return word
    return f"{name}={timestamp(now - ago)}"


def with_number(words: Sequence[str], number: str) -> tuple[list[str], bool]:
    """The words, ``fields`` with the name of the run's number, by which pages follow; whether that was missing."""
    asked = [f"{word},{number}" if _lacks(word, number) else word for word in words]
    return asked, asked != list(words)


def _lacks(word: str, number: str) -> bool:
    name, _, names = word.partition("=")
    return name.casefold() == "fields" and number not in names.split(",")


def chosen_fields(words: Sequence[str]) -> list[str]:
    """The names in ``fields``; none where it is not given."""
    parts = [word.partition("=") for word in words]
    return next((names.split(",") for name, _, names in parts if name.casefold() == "fields"), [])


def check_export(words: Sequence[str]) -> None:
    """UsageError for a word that cannot choose."""
    for word in words:
        if "=" not in word or word.partition("=")[0].casefold() in ("limit", "before"):
            expected = "since=TIME, until=TIME, name=PATTERN, listener=NAME, label=NAME:VALUE or fields=A,B"
            raise UsageError(f"export: {quoted(word)}: expected {expected}")


def two_runs(words: Sequence[str]) -> tuple[str, str]:
    """The numbers of the two runs; UsageError for anything else."""
    if len(words) != 2 or not all(word.isascii() and word.isdecimal() for word in words):
        raise UsageError("diff: expected the numbers of two runs, such as: diff 117 118")
    return words[0], words[1]
