"""What the admin port may see and do: the one object that every command is given.

Rules: commands read the book, and change the book only through its own methods; whatever reaches further, such as
ending a stream, is a callable here, so that the admin part never knows listeners, lanes or the reactor. The service
fills it.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from ctrlserver.stats.book import Book


@frozen
class Desk:
    """``now()`` gives monotonic seconds; ``kick(number)`` ends an open stream and is False where none is open."""

    book: Book
    version: str
    now: Callable[[], float]
    kick: Callable[[int], bool]
