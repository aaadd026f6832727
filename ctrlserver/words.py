"""Words that lines for a person have in common: a value in quotes, what may have been meant, a number of things.

Rules: pure, imports nothing of ours. Whatever the input, the result is printable and stands in one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar, cast

Document = TypeVar("Document")

#: No number that anything counts here is larger.
_MOST = 1 << 64

_NUMBERS = frozenset((int, float))

#: Letters of a word's beginning by which it is known.
_BEGINNING = 3


def quoted(value: object, *, limit: int = 80) -> str:
    """``value`` as an error line shows it: text in double quotes, one line always, cut past ``limit`` characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = printable(text)
    return f'"{shown}"' if isinstance(value, str) else shown


def printable(text: str) -> str:
    """``text`` in one line: each control character, and all else that no terminal shows, as its escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def harmless(document: Document) -> Document:
    """A document of JSON that others wrote, with ``printable`` keys and texts; ValueError for a number that is none.

    RecursionError for one that is nested too deeply.
    """
    found: object = document
    if isinstance(document, str):
        found = printable(document)
    elif isinstance(document, dict):
        items: Iterable[tuple[str, Any]] = document.items()
        found = {
            printable(key): value if type(value) in _NUMBERS and -_MOST <= value <= _MOST else harmless(value)
            for key, value in items
        }
    elif isinstance(document, list):
        found = [harmless(value) for value in document]
    elif isinstance(document, int | float) and not -_MOST <= document <= _MOST:  # infinite, too: 1e999 is read so
        raise ValueError("a number in it is too large")
    return cast("Document", found)


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``given``, in any case, is most like, or alone begins; None where there is none."""
    word, words = given.casefold(), list(known)
    near = get_close_matches(word, words, n=1)
    if not near and len(word) >= _BEGINNING:
        near = [each for each in words if each.startswith(word)]
    return near[0] if len(near) == 1 else None


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``'; did you mean "stats"?'``, or an empty string where none of ``known`` is near."""
    near = nearest(given, known)
    return "" if near is None else f'; did you mean "{near}"?'


def hint_in(error: Exception) -> str:
    """The ``'; did you mean "stats"?'`` at the end of an error's line; an empty string where there is none."""
    _, found, hint = str(error).partition("; did you mean")
    return found + hint


def counted(number: int, one: str, many: str = "") -> str:
    """``"1 packet"``, ``"2 packets"``; ``many`` where it is not ``one`` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"
