"""Commands about runs."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.admin.arguments import Names, Number, Text
from ctrlserver.admin.commands.command import LIMIT, Command, argument, published, rows
from ctrlserver.admin.commands.ranking import with_columns
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import Figures
from ctrlserver.admin.replies import Record, Reply, Table
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError


@frozen
class RunsList(Command):
    """runs [limit=N] [fields=A,B]

    The runs, newest first, the active one included.
    At most N of them, 100 without limit; "OK 100 of 1001" says that there are
    more. With fields, these columns in this order.
    """

    command = "runs"
    figures = Figures.NUMBERS
    answers = "A row for each run, below a line of column names that starts with #."
    example = "runs limit=5"
    limit: int = argument(Number("limit", "limit=N", least=1), LIMIT)
    fields: tuple[str, ...] = argument(Names("fields", "fields=A,B", positional=False, example="run,name,packets"), ())

    def reply(self, desk: Desk) -> Reply:
        """Rows of runs."""
        records = desk.book.runs.records(desk.now())
        shown = with_columns(desk, "run", self.fields, rows(desk, records[: self.limit]))
        return Table(shown, len(records))


@frozen
class Run(Command):
    """run N

    Run number N.
    """

    command = "run"
    figures = Figures.NUMBERS
    answers = "The run record: a line for each field."
    example = "run 1"
    run: int = argument(Number("run", "N", instead=("start", "stop")))

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        runs = desk.book.runs
        record = runs.record(self.run, desk.now())
        if record is None:
            seen = f"the newest is {runs.total}" if runs.total else "there has been none yet"
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
    figures = Figures.NUMBERS
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
    figures = Figures.NUMBERS
    answers = "The record of the ended run."
    example = "run stop"

    def reply(self, desk: Desk) -> Reply:
        """The record of the ended run."""
        record = desk.book.runs.stop(desk.now())
        if record is None:
            raise CommandError(409, "no-active-run", 'no run is active; "run start NAME" begins one')
        return Record(published(desk, record))
