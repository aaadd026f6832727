"""The lowest level of the lines that are written: one for the process, as Twisted's logger is.

Rule: who has a debug line asks ``LEVEL.debug`` before it makes one. A line that is not written then costs one look-up.
"""

from __future__ import annotations

from attrs import define, field
from twisted.logger import LogLevel

#: The levels that an operator may choose, from the most lines to the fewest. Errors are always written.
LEVELS = ("debug", "info", "warn")

_ORDER = {level: number for number, level in enumerate(LogLevel.iterconstants())}


@define(eq=False)
class Level:
    """``name`` is one of ``LEVELS``."""

    name: str = "info"
    debug: bool = field(default=False, init=False)
    _lowest: int = field(default=_ORDER[LogLevel.info], init=False)

    def set(self, name: str) -> str:
        """Write lines from level ``name`` on; the level until now."""
        before, self.name = self.name, name
        self.debug = name == "debug"
        self._lowest = _ORDER[LogLevel.levelWithName(name)]
        return before

    def writes(self, level: object) -> bool:
        """Whether a line of ``level`` is written; one without a level is."""
        return _ORDER.get(level, self._lowest) >= self._lowest


LEVEL = Level()
