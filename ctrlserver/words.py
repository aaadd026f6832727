"""Words that lines for a person have in common: a value in quotes, what may have been meant, a number of things.

Rules: pure, imports nothing of ours. Whatever the input, the result is printable and stands in one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def quoted(value: object, *, limit: int = 80) -> str:
    """``value`` as an error line shows it: text in double quotes, one line always, cut past ``limit`` characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = value if isinstance(value, str) else str(value)
    if len(text) > limit:
        text = text[: limit - 3] + "..."
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return f'"{shown}"' if isinstance(value, str) else shown


def nearest(given: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that ``given``, in any case, is most like; None where it is like none."""
    return next(iter(get_close_matches(given.casefold(), list(known), n=1)), None)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """``'; did you mean "stats"?'``, or an empty string where none of ``known`` is near."""
    near = nearest(given, known)
    return "" if near is None else f'; did you mean "{near}"?'


def counted(number: int, one: str, many: str = "") -> str:
    """``"1 packet"``, ``"2 packets"``; ``many`` where it is not ``one`` with an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"
