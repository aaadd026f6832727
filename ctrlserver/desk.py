"""What the admin port may see and do: the one object that every command is given.

Rules: commands read the book, and change it through its own methods only. Whatever reaches further, such as ending a
stream, is a callable here, so that ``admin/`` knows no listener, lane or reactor. The service makes the desk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, Protocol

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, maybeDeferred

from ctrlserver.errors import CommandError
from ctrlserver.inject.orderer import Orderer
from ctrlserver.inject.rules import Rule, Standing
from ctrlserver.stats.book import Book
from ctrlserver.stats.chosen import Chosen, Listed, listed
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.kept import Fetched
from ctrlserver.stats.records import InjectionRecord, ListenerRecord, RunRecord, WorkerRecord

_ANY = Chosen()


@frozen
class Health:
    """``live``: the loop turns. ``ready``: new streams are welcome; if not, ``reasons`` say why."""

    live: bool
    ready: bool
    reasons: Sequence[str] = ()


class History(Protocol):
    """The runs that are kept in a file, with those in memory. Nothing waits for the file."""

    def runs(self, chosen: Chosen, limit: int, before: int | None = None) -> Deferred[Listed]:
        """The newest ``limit`` that are chosen, of those listed after run ``before``; ``CommandError`` without it."""

    def run(self, number: int) -> Deferred[RunRecord | None]:
        """The run of this number."""


class Struck(Protocol):
    """An injection or an answer; its hits may still grow when it has ended, until that is ``settled``."""

    @property
    def hits(self) -> int:
        """What it has struck, or how often it was given."""


def of_now() -> Deferred[None] | None:
    """One process counts everything itself."""
    return None


def not_wired(*_: object, **__: object) -> NoReturn:
    """What nobody has given this desk."""
    raise CommandError(409, "not-available", "this server cannot do that")


@frozen
class Desk:
    """``now()`` gives monotonic seconds. ``kick(number)`` ends an open stream; False where it is not open.

    ``listeners()`` has a record each, of now or of the totals given. ``drain(True)`` has the data ports reject what is
    new, ``drain(False)`` ends that. ``log(level)`` sets the level of the log and gives the one before. ``reload()``
    reads the config again and gives a line for each change, or for what needs a restart; ``CommandError`` 400
    ``bad-config`` where the config is not good, and nothing has changed then. ``shutdown()`` begins the end.
    ``config()`` has the tables and values that hold, without secrets. ``inject(listener, spec, **options)`` orders an
    injection, with the options of ``Ordering.begin``, or raises ``InjectionError``; ``injections(over)`` has a record
    of each in force, and with ``over`` of those that are over; ``end_injections(which, by)`` ends that of a number,
    those of a listener, or all, and has them. ``answer(listener, rule, by)`` puts a rule in force, or raises
    ``InjectionError``; ``answers()`` has those in force, and ``end_answers(which)`` ends that of a number, those of a
    listener, or all, and has them.

    ``fresh()`` fires when the numbers in the book are no older than the call; None where they are so at any time.
    ``look_at(streams)`` fires when those of their probe packets and connections are, which cost more; None likewise.
    ``fetch_packets(number, most)`` has the newest kept packets of a stream that another process serves; None where none
    does. ``workers()`` has a record of each process that serves streams; None where this one serves them all.

    ``settled()`` fires when all that was ordered is carried out, and the hits of what has ended are known; None where
    that is so.

    ``history`` has the runs that are kept; None where none are.

    ``asked``: the number that the book gave to the questions under way, when they arrived. ``instance`` tells this
    server from all others.
    """

    book: Book
    version: str
    now: Callable[[], float]
    kick: Callable[[int], bool]
    listeners: Callable[..., Sequence[ListenerRecord]] = lambda *_: ()
    health: Callable[[], Health] = lambda: Health(live=True, ready=True)
    drain: Callable[[bool], None] = not_wired
    log: Callable[[str], str] = not_wired
    reload: Callable[[], Sequence[str]] = not_wired
    shutdown: Callable[[], None] = not_wired
    config: Callable[[], Mapping[str, Any]] = not_wired
    inject: Callable[..., InjectionRecord] = not_wired
    injections: Callable[[bool], Sequence[InjectionRecord]] = lambda _: ()
    end_injections: Callable[[int | str | None, Orderer], Sequence[Struck]] = lambda *_: ()
    answer: Callable[[str, Rule, Orderer], Standing] = not_wired
    answers: Callable[[], Sequence[Standing]] = tuple
    end_answers: Callable[[int | str | None], Sequence[Standing]] = not_wired
    fresh: Callable[[], Deferred[None] | None] = of_now
    look_at: Callable[[Iterable[StreamCounters]], Deferred[Any] | None] = lambda _: None
    fetch_packets: Callable[[int, int], Deferred[Fetched] | None] = lambda *_: None
    workers: Callable[[], Sequence[WorkerRecord]] | None = None
    settled: Callable[[], Deferred[None] | None] = lambda: None
    history: History | None = None
    asked: int | None = None
    instance: str = ""

    def runs(self, chosen: Chosen = _ANY, limit: int = 100, before: int | None = None) -> Deferred[Listed]:
        """The newest runs that are chosen, of those listed after run ``before``; ``CommandError`` 404 without it."""
        if self.history is not None:
            return self.history.runs(chosen, limit, before)
        return maybeDeferred(self.runs_in_memory, chosen, limit, before)

    def runs_in_memory(self, chosen: Chosen, limit: int, before: int | None) -> Listed:
        """Those that this server has had."""
        records = self.book.runs.records(self.now())
        first = next((record for record in records if record.run == before), None)
        if before is not None and first is None:
            raise CommandError(404, "unknown-run", f"no run {before}")
        return listed(records, chosen, limit, first)

    def for_questions(self) -> Desk:
        """The same for questions that arrive now."""
        return evolve(self, asked=self.book.asked())
