"""An injection that a test ordered: it ends with the ``with`` block, or by ``off``."""

from __future__ import annotations

from types import TracebackType

from ctrlserver.testing.admin import AdminPort
from ctrlserver.testing.errors import AdminError
from ctrlserver.testing.record import Record


class Injection:
    """``number``: the server's; ``record``: as ``inject`` lists it."""

    def __init__(self, admin: AdminPort, number: int, spec: str) -> None:
        self._admin = admin
        self.number = number
        self.spec = spec

    @property
    def record(self) -> Record:
        """What the server has of it now; ``AdminError`` 404 once it is over."""
        for row in self._admin.ask("inject"):
            if row["injection"] == self.number:
                return Record(row)
        raise AdminError("inject", 404, "unknown-injection", f"injection {self.number} is over")

    @property
    def hits(self) -> int:
        """How often it has struck."""
        return int(self.record.hits)

    def off(self) -> None:
        """End it; no matter if it is over already."""
        try:
            self._admin.ask(f"inject off {self.number}")
        except AdminError as error:
            if error.code != 404:
                raise

    def __enter__(self) -> Injection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()

    def __repr__(self) -> str:
        return f"<injection {self.number}: {self.spec}>"


def order(
    listener: str,
    spec: str,
    duration: float | str | None = None,
    streams: str | None = None,
    peer: str | None = None,
    seed: int | None = None,
) -> str:
    """The line of the admin port that orders it."""
    quote = '"' if "'" in spec else "'"
    if quote in spec:
        raise ValueError(f"injection {spec!r}: expected one kind of quote in it, for it is sent in the other")
    given = {"for": duration, "streams": streams, "peer": peer, "seed": seed}
    options = "".join(f" {name}={value}" for name, value in given.items() if value is not None)
    return f"inject {listener} {quote}{spec}{quote}{options}"
