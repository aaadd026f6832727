"""How many processes send a load: ``4``, or ``auto`` for one a core. PURE."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.errors import UsageError
from ctrlserver.units import parse_count
from ctrlserver.words import counted, quoted

AUTO = "auto"


@frozen
class Processes:
    """``number`` processes; None: as many as there are cores, and streams."""

    number: int | None

    @property
    def text(self) -> int | str:
        """As the result document has it."""
        return AUTO if self.number is None else self.number

    def of(self, streams: int, cores: int) -> int:
        """How many send ``streams`` from ``cores``."""
        return max(1, min(streams, cores)) if self.number is None else self.number


def crowded(number: int, cores: int) -> str | None:
    """What to say if ``number`` processes that never sleep have fewer ``cores``."""
    if number <= cores:
        return None
    return f"{number} processes that never sleep share {counted(cores, 'core')}, and delay one another"


def parse_processes(text: str) -> Processes:
    """``"4"`` or ``"auto"``; UsageError for anything else."""
    if text.strip().casefold() == AUTO:
        return Processes(None)
    try:
        number = parse_count(text)
    except UsageError:
        raise UsageError(f'{quoted(text)}: expected a number of processes, or "{AUTO}"') from None
    if number < 1:
        raise UsageError(f'{quoted(text)}: there is at least 1 process; did you mean "{AUTO}"?')
    return Processes(number)
