"""Commands about runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.admin.arguments import Names, Number, Pairs, Text, Time
from ctrlserver.admin.commands.command import LIMIT, Command, argument, published, rows
from ctrlserver.admin.commands.ranking import known_fields, with_columns
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Record, Reply, Table
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.stats.chosen import Chosen, Listed
from ctrlserver.stats.records import RunRecord


def after(fresh: Deferred[None] | None, then: Callable[[], Deferred[Any]]) -> Deferred[Any]:
    """What ``then`` gives, once what it reads is of now."""
    return then() if fresh is None else fresh.addCallback(lambda _: then())


@frozen
class RunsList(Command):
    r"""runs [limit=N] [before=RUN] [since=TIME] [until=TIME] [name=PATTERN] [listener=NAME] [label=A:B] [fields=A,B]

    The runs, newest first, the active one included.
    Those of earlier starts too, where a history is kept. At most N of them,
    100 without limit; "OK 100 of 1001" says that there are more, and before=RUN
    lists those after run RUN. since and until choose by the time they began, name
    by a pattern such as soak*, listener and label by whose streams they had; in a
    label's value a comma is \,. With fields, these columns in this order.
    """

    command = "runs"
    reads_figures = True
    elsewhere = True
    answers = "A row for each run, below a line of column names that starts with #."
    example = "runs limit=5"
    limit: int = argument(Number("limit", "limit=N", least=1), LIMIT)
    before: int | None = argument(Number("before", "before=RUN", positional=False), None)
    since: str | None = argument(Time("since", "since=TIME", positional=False), None)
    until: str | None = argument(Time("until", "until=TIME", positional=False), None)
    name: str | None = argument(Text("name", "name=PATTERN", positional=False), None)
    listener: str | None = argument(Text("listener", "listener=NAME", positional=False), None)
    label: tuple[tuple[str, str], ...] = argument(
        Pairs("label", "label=A:B", positional=False, example="site:lab-2,rack:4"), ()
    )
    fields: tuple[str, ...] = argument(Names("fields", "fields=A,B", positional=False, example="run,name,packets"), ())

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[Any] | None:
        """Has the reply where runs are kept in a file."""
        fresh = super().fresh(desk, freshness)
        return fresh if desk.history is None else after(fresh, lambda: self._kept(desk))

    def _kept(self, desk: Desk) -> Deferred[Reply]:
        found = desk.runs(self._chosen(desk), self.limit, self.before)
        return found.addCallback(lambda runs: self._table(desk, runs))

    def reply(self, desk: Desk) -> Reply:
        """Rows of runs."""
        return self._table(desk, desk.runs_in_memory(self._chosen(desk), self.limit, self.before))

    def _chosen(self, desk: Desk) -> Chosen:
        with_columns(desk, "run", self.fields, ())
        known = known_fields(desk, "run")  # an earlier start may have had other labels
        labels = tuple((known.get(name, name), value) for name, value in self.label)
        return Chosen(self.since, self.until, self.name, self.listener, labels)

    def _table(self, desk: Desk, runs: Listed) -> Reply:
        return Table(with_columns(desk, "run", self.fields, rows(desk, runs.records)), runs.total)


@frozen
class Run(Command):
    """run N

    Run number N.
    """

    command = "run"
    reads_figures = True
    elsewhere = True
    answers = "The run record: a line for each field."
    example = "run 1"
    run: int = argument(Number("run", "N", instead=("start", "stop")))

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[Any] | None:
        """Has the reply where the run is no longer in memory, and runs are kept in a file."""
        fresh, history = super().fresh(desk, freshness), desk.history
        if history is None:
            return fresh
        return after(fresh, lambda: history.run(self.run).addCallback(lambda record: self._record(desk, record)))

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        return self._record(desk, desk.book.runs.record(self.run, desk.now()))

    def _record(self, desk: Desk, record: RunRecord | None) -> Reply:
        if record is None:
            newest = desk.book.runs.newest
            seen = f"the newest is {newest}" if newest else "there has been none yet"
            raise CommandError(404, "unknown-run", f"no run {self.run}; {seen}")
        return Record(published(desk, record))


@frozen
class RunStart(Command):
    """run start NAME [expect=N]

    Begin a run; the active one ends.
    It goes on until run stop or the next run start. With expect=N its record
    says whether N packets came.
    """

    command = "run start"
    level = Level.OPERATOR
    reads = False
    reads_figures = True
    answers = "The record of the new run."
    example = "run start soak expect=1000"
    name: str = argument(Text("name", "NAME"))
    expect: int | None = argument(Number("expect", "expect=N", least=1, positional=False), None)

    def reply(self, desk: Desk) -> Reply:
        """The record of the new run."""
        return Record(published(desk, desk.book.runs.start(self.name, self.expect, desk.now())))


@frozen
class RunStop(Command):
    """run stop

    End the active run, and give its record.
    """

    command = "run stop"
    level = Level.OPERATOR
    reads = False
    reads_figures = True
    answers = "The record of the ended run."
    example = "run stop"

    def reply(self, desk: Desk) -> Reply:
        """The record of the ended run."""
        record = desk.book.runs.stop(desk.now())
        if record is None:
            raise CommandError(409, "no-active-run", 'no run is active; "run start NAME" begins one')
        return Record(published(desk, record))
