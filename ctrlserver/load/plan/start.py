"""The moment at which a load begins, as people write it: ``2026-11-26T16:00:00Z``, ``1795708800.5`` or ``+5s``. PURE.

``-`` is a moment that stdin tells once all streams are open (``running/told.py``).

Rules: a time without its zone is refused, because two machines may read it as two moments. ``+5s`` counts from when the
command line is read; ``fixed`` makes a moment of it, and refuses one that is over.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, datetime

from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.units import parse_duration
from ctrlserver.words import printable, quoted

_FORMS = 'expected a time such as "2026-11-26T16:00:00Z", seconds since 1970, "+5s" from now, or "-" for stdin'

_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)

#: The first second of the year 10000, since 1970.
_LATEST = 253402300800

#: Seconds since 1970 below which somebody rather meant seconds from now: a time in 1973.
_FROM_NOW = 10**8


def iso_time(seconds: float) -> str:
    """``seconds`` since 1970 as ISO 8601 UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@frozen
class StartAt:
    """``seconds`` since 1970 or, if ``relative``, from now; ``text`` is what was typed.

    They are infinite while nobody has said when.
    """

    text: str
    seconds: float
    relative: bool = False

    @property
    def is_known(self) -> bool:
        """Whether somebody has said when."""
        return math.isfinite(self.seconds)

    def fixed(self, now: float) -> StartAt:
        """The same since 1970, where it is ``now``; UsageError if that is over."""
        if self.relative:
            return StartAt(self.text, now + self.seconds)
        if self.seconds < now:
            near = f'; did you mean "+{self.text}"?' if self.seconds < _FROM_NOW else ""
            means = f" ({iso_time(self.seconds)})" if _NUMBER.fullmatch(self.text) else ""
            raise UsageError(f"{printable(self.text)}{means} is over, it is {iso_time(now)} now{near}")
        return self


def parse_start(text: str) -> StartAt:
    """A time, or a duration behind ``+``; UsageError in one line for anything else."""
    words = text.strip()
    if words == "-":
        return StartAt(words, math.inf)
    if words.startswith("+"):
        return StartAt(words, parse_duration(words[1:]), relative=True)
    if _NUMBER.fullmatch(words):
        return _since_1970(words)
    try:
        moment = datetime.fromisoformat(words)
    except ValueError:
        raise UsageError(f"{quoted(text)}: {_FORMS}{_from_now(words)}") from None
    if moment.tzinfo is None:
        near = moment.isoformat(timespec="auto")
        raise UsageError(f'{quoted(text)}: a time needs its zone; did you mean "{near}Z"?')
    if moment.timestamp() >= _LATEST:  # by its zone
        raise UsageError(f"{quoted(text)}: the latest start is in the year 9999, in UTC")
    return StartAt(words, moment.timestamp())


def _since_1970(words: str) -> StartAt:
    seconds = float(words)
    if seconds >= _LATEST:
        milliseconds = f'; did you mean "{seconds / 1000:.3f}"?' if seconds / 1000 < _LATEST else ""
        raise UsageError(f"{words}: seconds since 1970 are at most {_LATEST - 1}{milliseconds}")
    return StartAt(words, seconds)


def _from_now(words: str) -> str:
    """``'; did you mean "+5s"?'`` for a duration."""
    with suppress(UsageError):
        parse_duration(words)
        return f'; did you mean "+{words}"?'
    return ""
