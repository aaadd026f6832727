"""What a test ordered of a server, injections and answers: each ends with its ``with`` block, or by ``off``.

Model: while it is in force the server is asked for its hits; its last reply has those at the end.
"""

from __future__ import annotations

from types import TracebackType
from typing import ClassVar, Self

from ctrlserver.testing.admin import AdminPort
from ctrlserver.testing.errors import AdminError
from ctrlserver.testing.record import Record

__tracebackhide__ = True  # pytest shows a failure at the test's own line


class Ordered:
    """``number``: the server's; ``record``: as ``listing``, a command of the admin port, has it under its ``field``."""

    command: ClassVar[str]
    listing: ClassVar[str]
    field: ClassVar[str]

    def __init__(self, admin: AdminPort, number: int, words: str) -> None:
        self._admin = admin
        self.number = number
        self.words = words
        self.is_over = False
        self._hits_at_the_end: int | None = None

    @property
    def record(self) -> Record:
        """What the server has of it; ``AdminError`` 404 once it has that no more."""
        for row in self._admin.ask(self.listing):
            if row[self.field] == self.number:
                return Record(row)
        raise AdminError(self.listing, 404, f"unknown-{self.field}", f"{self.field} {self.number} is over")

    @property
    def hits(self) -> int:
        """How often it has struck, or answered; of one that ``off`` has ended, until then."""
        return int(self.record.hits) if self._hits_at_the_end is None else self._hits_at_the_end

    def off(self) -> None:
        """End it; no matter if it is over already."""
        if self.is_over:
            return
        try:
            self._hits_at_the_end = self._admin.ask(f"{self.command} off {self.number}")["hits"]
        except AdminError as error:
            if error.code != 404:
                raise
        self.is_over = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.off()

    def __repr__(self) -> str:
        return f"<{self.field} {self.number}: {self.words}>"


class Injection(Ordered):
    """A misbehaviour; also of one that is over the server has the record, of the last 100."""

    command = "inject"
    listing = "inject all"
    field = "injection"


class Answer(Ordered):
    """A rule for answers."""

    command = listing = "answer"
    field = "answer"


def injection_line(
    listener: str,
    spec: str,
    duration: float | str | None = None,
    streams: str | None = None,
    peer: str | None = None,
    seed: int | None = None,
) -> str:
    """The line of the admin port that orders an injection."""
    quote = '"' if "'" in spec else "'"
    if quote in spec:
        raise ValueError(f"injection {spec!r}: expected one kind of quote in it, for it is sent in the other")
    options = _options({"for": duration, "streams": streams, "peer": peer, "seed": seed})
    return f"inject {listener} {quote}{_escaped(spec)}{quote}{options}"


def answer_line(
    listener: str,
    when: str | bytes,
    answer: str | bytes,
    times: int | None = None,
    delay: float | str | None = None,
) -> str:
    """The line of the admin port that orders an answer."""
    options = _options({"times": times, "delay": delay})
    return f"answer {listener} when='{_quotable(when)}' with='{_quotable(answer)}'{options}"


def _options(given: dict[str, object]) -> str:
    return "".join(f" {name}={value}" for name, value in given.items() if value is not None)


def _quotable(text: str | bytes) -> str:
    """As it stands in single quotes; escapes that are in a text stay, bytes are what they are."""
    if isinstance(text, bytes):
        return "".join(f"\\x{byte:02x}" for byte in text)
    return _escaped(text).replace("'", r"\x27")


def _escaped(text: str) -> str:
    """Without control characters: the end of a line would end the command."""
    return "".join(f"\\x{ord(each):02x}" if each < " " or each == "\x7f" else each for each in text)
