"""What the admin port may see and do: the one object that every command is given.

Rules: commands read the book, and change it through its own methods only. Whatever reaches further, such as ending a
stream, is a callable here, so that ``admin/`` knows no listener, lane or reactor. The service makes the desk.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ctrlserver.stats.book import Book


@frozen
class Desk:
    """``now()`` gives monotonic seconds. ``kick(number)`` ends an open stream; False where it is not open.

    ``asked``: the number that the book gave to the questions under way, when they arrived.
    """

    book: Book
    version: str
    now: Callable[[], float]
    kick: Callable[[int], bool]
    asked: int | None = None

    def for_questions(self) -> Desk:
        """The same for questions that arrive now."""
        return Desk(self.book, self.version, self.now, self.kick, self.book.asked())
