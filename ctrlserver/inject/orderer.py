"""Who orders injections and answers. PURE."""

from __future__ import annotations

from attrs import frozen


@frozen
class Orderer:
    """A peer of the admin port with its level; without one the config, or the program around a plane."""

    peer: str
    level: str | None = None

    @property
    def text(self) -> str:
        """``127.0.0.1:5000 (operator)``, ``the config``."""
        return f"the {self.peer}" if self.level is None else f"{self.peer} ({self.level})"


CONFIG = Orderer("config")
PROGRAM = Orderer("program")
