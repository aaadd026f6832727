"""Commands that ask about the server as a whole, and those about the connection."""

from __future__ import annotations

import platform

import twisted
from attrs import frozen

from ctrlserver.admin.arguments import Text
from ctrlserver.admin.commands.command import Command, argument, published, unknown_field
from ctrlserver.admin.levels import Level
from ctrlserver.admin.replies import Record, Reply, Table, Word
from ctrlserver.desk import Desk
from ctrlserver.stats.records import as_mapping, describe, field_names


@frozen
class Version(Command):
    """version

    The versions of this server and of what it runs on.
    The instance is drawn at random at the start: a server at two
    addresses gives the same one at both.
    """

    command = "version"
    answers = "A record of five fields."
    example = "version"

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        return Record(
            {
                "version": desk.version,
                "python": platform.python_version(),
                "twisted": twisted.__version__,
                "platform": platform.platform(),
                "instance": desk.instance,
            }
        )


@frozen
class Ping(Command):
    """ping

    OK pong, when the server is there.
    """

    command = "ping"
    answers = "The word pong."
    example = "ping"

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        return Word("pong", {"ping": "pong"})


@frozen
class Stats(Command):
    """stats [PREFIX]

    What the server has counted.
    With PREFIX, those fields whose names begin with it. The fields ending in
    _total count since the start, packets and bytes since the last reset.
    """

    command = "stats"
    reads_figures = True
    answers = "The stats record, or a part of it: a line for each field."
    example = "stats packets"
    prefix: str = argument(Text("prefix", "PREFIX"), "")

    def reply(self, desk: Desk) -> Reply:
        """The stats record, or a part of it."""
        record = published(desk, desk.book.stats(desk.now(), desk.asked))
        chosen = {name: value for name, value in record.items() if name.startswith(self.prefix)}
        if not chosen:
            raise unknown_field(desk, self.prefix, record)
        return Record(chosen)


@frozen
class Describe(Command):
    """describe [FIELD]

    What the published fields mean, or one of them.
    Name, record, kind, unit and meaning of each. A field that is renamed is
    known by its new name.
    """

    command = "describe"
    answers = "A row for each field, below a line of column names that starts with #."
    example = "describe packets"
    field: str = argument(Text("field", "FIELD"), "")

    def reply(self, desk: Desk) -> Reply:
        """Rows of fields."""
        renames = desk.book.renames
        rows = [{**as_mapping(field), "name": renames.renamed(field.name)} for field in describe()]
        chosen = [row for row in rows if not self.field or row["name"] == self.field]
        if not chosen:
            raise unknown_field(desk, self.field, (renames.renamed(name) for name in field_names()))
        return Table(chosen, len(chosen))


@frozen
class Reset(Command):
    """reset

    Begin a new reading; give the old one.
    Nothing is lost in between; the fields ending in _total go on.
    """

    command = "reset"
    level = Level.OPERATOR
    reads = False
    reads_figures = True
    answers = "The stats record of the closed reading."
    example = "reset"

    def reply(self, desk: Desk) -> Reply:
        """The stats record of the closed reading."""
        return Record(published(desk, desk.book.reset(desk.now())))


@frozen
class Quit(Command):
    """quit

    OK bye, and the connection is closed.
    """

    command = "quit"
    answers = "The word bye, then the end of the connection."
    example = "quit"

    def reply(self, desk: Desk) -> Reply:
        """The last word."""
        return Word("bye", {"quit": "bye"}, closes=True)
