"""The commands of the admin port: one class each; its docstring is its help text, usage line first.

Rules: a class states its command (one word or two), the level it needs, whether it only reads, and its parameters; an
instance is one call, checked, and ``reply`` carries it out on a desk. What cannot be done is a ``CommandError`` with a
code and an id that scripts may rely on. Records go out under their published names; ``version``, ``packets`` and the
lists of commands and renames are not records, and no rename touches them.

Beware: a ``json`` that only words such as ``limit=5`` follow is the form of the reply and never reaches a command.
``run 5`` and ``run start`` are different commands: the longest name that fits wins.
"""

from __future__ import annotations

import inspect
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Final, Self

import twisted
from attrs import frozen

from ctrlserver.admin.arguments import Choice, Number, Parameter, Text, bind
from ctrlserver.admin.dialogue import Request
from ctrlserver.admin.hexdump import dump, printable
from ctrlserver.admin.replies import Body, Listing, Record, Reply, Table, Word
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError, RenameError
from ctrlserver.stats.counters import StreamCounters
from ctrlserver.stats.records import RunRecord, StatsRecord, StreamRecord, Value, as_mapping, describe, field_names
from ctrlserver.stats.rename import Renames
from ctrlserver.words import did_you_mean, quoted

LIMIT: Final = 100
"""Rows of a list without ``limit=N``: a screen or two, and far below what makes a reader wait."""

PACKETS_LIMIT: Final = 10
"""Packets shown without ``limit=N``."""


class Level(IntEnum):
    """What a peer may do; each level may do all that those below may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    def __str__(self) -> str:
        return self.name.lower()


class Command:
    """What all commands share."""

    command: ClassVar[str]
    level: ClassVar[Level] = Level.VIEWER
    reads: ClassVar[bool] = True
    parameters: ClassVar[tuple[Parameter, ...]] = ()

    @classmethod
    def parse(cls, words: Sequence[str]) -> Self:
        """A call with these words after the name; ``CommandError`` where they do not fit."""
        arguments: Mapping[str, Any] = bind(cls.command, cls.parameters, words)
        return cls(**arguments)

    def only_reads(self) -> bool:
        """Nothing is changed by this call, so it may be carried out from a line that was cut."""
        return self.reads

    def reply(self, desk: Desk) -> Reply:
        """Carry the call out."""
        raise NotImplementedError


@frozen
class Help(Command):
    """help [COMMAND]

    The commands, or what one of them does.
    A reply is zero or more lines and one status line that starts with OK or ERR.
    With json as its last word a command gives one line of JSON instead.
    """

    command = "help"
    parameters = (Text("topic", "COMMAND", rest=True),)
    topic: str = ""

    def reply(self, desk: Desk) -> Reply:
        """All commands in a line each, or the whole help text of one, or of those that begin with its word."""
        del desk
        if not self.topic:
            width = max(len(_usage(each)) for each in COMMANDS)
            lines = [f"{_usage(each):<{width}}  {each.level!s:<8}  {_text(each)[0]}" for each in COMMANDS]
            return Body(lines, [_about(each) for each in COMMANDS])
        asked = " ".join(self.topic.casefold().split())
        chosen = [each for each in COMMANDS if each.command == asked or each.command.startswith(f"{asked} ")]
        if not chosen:
            raise unknown_command(self.topic)
        lines = []
        for each in chosen:
            lines += ["", _usage(each)] if lines else [_usage(each)]
            lines += [f"  {line}" for line in _text(each)]
            lines.append(f"  Level: {each.level}.")
        return Body(lines, [_about(each) for each in chosen])


@frozen
class Version(Command):
    """version

    The versions of this server and of what it runs on.
    """

    command = "version"

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        return Record(
            {
                "version": desk.version,
                "python": platform.python_version(),
                "twisted": twisted.__version__,
                "platform": platform.platform(),
            }
        )


@frozen
class Ping(Command):
    """ping

    OK pong, when the server is there.
    """

    command = "ping"

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        del desk
        return Word("pong", {"ping": "pong"})


@frozen
class Stats(Command):
    """stats [PREFIX]

    What the server has counted, or those fields whose names begin with PREFIX.
    The fields ending in _total count since the start, packets and bytes since the last reset.
    """

    command = "stats"
    parameters = (Text("prefix", "PREFIX"),)
    prefix: str = ""

    def reply(self, desk: Desk) -> Reply:
        """The stats record, or a part of it."""
        published = _published(desk, desk.book.stats(desk.now()))
        chosen = {name: value for name, value in published.items() if name.startswith(self.prefix)}
        if not chosen:
            raise _unknown_field(desk, self.prefix, published)
        return Record(chosen)


@frozen
class Describe(Command):
    """describe [FIELD]

    Name, record, kind, unit and meaning of the published fields, or of one.
    A field that is renamed is known by its new name.
    """

    command = "describe"
    parameters = (Text("field", "FIELD"),)
    field: str = ""

    def reply(self, desk: Desk) -> Reply:
        """Rows of fields."""
        renames = desk.book.renames
        rows = [{**as_mapping(field), "name": renames.renamed(field.name)} for field in describe()]
        chosen = [row for row in rows if not self.field or row["name"] == self.field]
        if not chosen:
            raise _unknown_field(desk, self.field, (renames.renamed(name) for name in field_names()))
        return Table(chosen, len(chosen))


@frozen
class Streams(Command):
    """streams [open|closed] [peer=HOST[:PORT]] [limit=N]

    The streams, open and closed ones, newest first.
    At most N of them, 100 without limit; "OK 100 of 5231" says that there are more.
    The last 1000 closed streams stay on view.
    """

    command = "streams"
    parameters = (
        Choice("state", "open|closed", ("open", "closed")),
        Text("peer", "peer=HOST[:PORT]", positional=False, longest=300),
        Number("limit", "limit=N", least=1, required=False, positional=False),
    )
    state: str | None = None
    peer: str | None = None
    limit: int = LIMIT

    def reply(self, desk: Desk) -> Reply:
        """Rows of streams."""
        chosen, total = desk.book.choose(self.state, self.peer, self.limit)
        return Table(_rows(desk, self._records(desk, chosen)), total, len(chosen))

    def _records(self, desk: Desk, chosen: Iterable[StreamCounters]) -> Iterator[StreamRecord]:
        """Made one by one; a stream that has been closed meanwhile is not among the open ones."""
        for stream in chosen:
            if self.state in (None, stream.state):
                yield desk.book.record(stream)


@frozen
class Packets(Command):
    """packets STREAM [limit=N]

    The last packets kept of a stream, oldest first, in hex and ASCII.
    At most N of them, 10 without limit. A listener keeps packets where keep = N is set in its configuration.
    """

    command = "packets"
    parameters = (
        Number("stream", "STREAM"),
        Number("limit", "limit=N", least=1, required=False, positional=False),
    )
    stream: int
    limit: int = PACKETS_LIMIT

    def reply(self, desk: Desk) -> Reply:
        """A header line and a hex dump for each packet."""
        kept = desk.book.kept(self.stream)
        if kept is None:
            if not _on_view(desk, self.stream):
                raise _unknown_stream(desk, self.stream)
            wrong = f"no packets of stream {self.stream} are kept; set keep = N for its listener in the configuration"
            raise CommandError(409, "keeps-nothing", wrong)
        packets = kept.last(self.limit)
        value: Iterator[Mapping[str, Value]] = (
            {"packet": number, "bytes": len(octets), "hex": octets.hex(), "ascii": printable(octets)}
            for number, octets in packets
        )
        return Listing(_dumps(packets), value, len(packets), len(kept))


@frozen
class RunsList(Command):
    """runs [limit=N]

    The runs, newest first, the active one included.
    At most N of them, 100 without limit; "OK 100 of 1001" says that there are more.
    """

    command = "runs"
    parameters = (Number("limit", "limit=N", least=1, required=False),)
    limit: int = LIMIT

    def reply(self, desk: Desk) -> Reply:
        """Rows of runs."""
        records = desk.book.run_records(desk.now())
        return Table(_rows(desk, records[: self.limit]), len(records))


@frozen
class Run(Command):
    """run N

    Run number N.
    """

    command = "run"
    parameters = (Number("run", "N", instead=("start", "stop")),)
    run: int

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        now = desk.now()
        record = desk.book.run(self.run, now)
        if record is None:
            known = desk.book.run_records(now)
            seen = f"the newest is {known[0].run}" if known else "there has been none yet"
            raise CommandError(404, "unknown-run", f"no run {self.run}; {seen}")
        return Record(_published(desk, record))


@frozen
class RunStart(Command):
    """run start NAME [expect=N]

    Begin a run by order; the active one ends.
    It goes on until run stop or the next run start. With expect=N its record says whether N packets came.
    """

    command = "run start"
    level = Level.OPERATOR
    reads = False
    parameters = (
        Text("name", "NAME", required=True),
        Number("expect", "expect=N", least=1, required=False, positional=False),
    )
    name: str
    expect: int | None = None

    def reply(self, desk: Desk) -> Reply:
        """The record of the new run."""
        return Record(_published(desk, desk.book.start_run(self.name, self.expect, desk.now())))


@frozen
class RunStop(Command):
    """run stop

    End the active run, and give its record.
    """

    command = "run stop"
    level = Level.OPERATOR
    reads = False

    def reply(self, desk: Desk) -> Reply:
        """The record of the ended run."""
        record = desk.book.stop_run(desk.now())
        if record is None:
            raise CommandError(409, "no-active-run", 'no run is active; "run start NAME" begins one')
        return Record(_published(desk, record))


@frozen
class Reset(Command):
    """reset

    Begin a new reading, and give the one that is closed by it.
    Nothing is lost in between; the fields ending in _total go on.
    """

    command = "reset"
    level = Level.OPERATOR
    reads = False

    def reply(self, desk: Desk) -> Reply:
        """The stats record of the closed reading."""
        return Record(_published(desk, desk.book.reset(desk.now())))


@frozen
class Rename(Command):
    """rename [OLD NEW]

    Publish field OLD as NEW, or list the renames.
    Its content and its place are kept. A NEW that is already a field is refused, and nothing is changed.
    """

    command = "rename"
    level = Level.OPERATOR
    reads = False
    parameters = (Text("old", "OLD"), Text("new", "NEW"))
    old: str = ""
    new: str = ""

    def only_reads(self) -> bool:
        """Without arguments it lists."""
        return not self.old and not self.new

    def reply(self, desk: Desk) -> Reply:
        """Rows of renames, or the one made."""
        renames = desk.book.renames
        if self.only_reads():
            return Table([{"old": old, "new": new} for old, new in renames.pairs], len(renames.pairs))
        if not self.old or not self.new:
            missing = "NEW" if self.old else "OLD"
            raise CommandError(400, "missing-argument", f'"rename" needs {missing}; usage: rename [OLD NEW]')
        desk.book.renames = self._checked(renames)
        return Word("renamed", {"old": self.old, "new": self.new})

    def _checked(self, renames: Renames) -> Renames:
        known = field_names() | renames.fields
        published = {renames.renamed(name) for name in known} | {new for _, new in renames.pairs}
        if self.old not in known | published:
            wrong = f"{quoted(self.old)}{did_you_mean(self.old, sorted(published))}"
            raise CommandError(404, "unknown-field", wrong)
        if self.new not in known:
            try:
                Renames(((self.old, self.new),))  # alone, so nothing but its own spelling can be wrong
            except RenameError as error:
                raise CommandError(400, "bad-argument", str(error)) from error
        try:
            return renames.with_rename(self.old, self.new)
        except RenameError as error:
            raise CommandError(409, "rename-conflict", str(error)) from error


@frozen
class Unrename(Command):
    """unrename NEW

    Publish the field now called NEW under its own name again.
    """

    command = "unrename"
    level = Level.OPERATOR
    reads = False
    parameters = (Text("new", "NEW", required=True),)
    new: str

    def reply(self, desk: Desk) -> Reply:
        """The rename taken back."""
        renames = desk.book.renames
        pair = next((pair for pair in renames.pairs if pair[1] == self.new), None)
        if pair is None:
            targets = [new for _, new in renames.pairs]
            nearest = did_you_mean(self.new, targets) or '; "rename" lists the renames'
            raise CommandError(404, "unknown-rename", f"no field is renamed to {quoted(self.new)}{nearest}")
        try:
            desk.book.renames = renames.without(self.new)
        except RenameError as error:
            raise CommandError(409, "rename-conflict", str(error)) from error
        return Word("unrenamed", {"old": pair[0], "new": pair[1]})


@frozen
class Kick(Command):
    """kick STREAM

    Close an open stream; the packets it brought stay counted.
    """

    command = "kick"
    level = Level.OPERATOR
    reads = False
    parameters = (Number("stream", "STREAM"),)
    stream: int

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        counters = desk.book.counters
        if self.stream not in counters.open:
            closed = next((each for each in counters.recent if each.stream == self.stream), None)
            if closed is None:
                raise _unknown_stream(desk, self.stream)
            wrong = f"stream {self.stream} is closed already, by reason {closed.reason}"
            raise CommandError(409, "stream-closed", wrong)
        if not desk.kick(self.stream):
            raise CommandError(409, "stream-closed", f"stream {self.stream} is closing already")
        return Word("kicked", {"kicked": self.stream})


@frozen
class Quit(Command):
    """quit

    OK bye, and the connection is closed.
    """

    command = "quit"

    def reply(self, desk: Desk) -> Reply:
        """The last word."""
        del desk
        return Word("bye", {"quit": "bye"}, closes=True)


COMMANDS: Final[tuple[type[Command], ...]] = (
    Help,
    Version,
    Ping,
    Stats,
    Describe,
    Streams,
    Packets,
    RunsList,
    Run,
    RunStart,
    RunStop,
    Reset,
    Rename,
    Unrename,
    Kick,
    Quit,
)

_BY_NAME: Final = {command.command: command for command in COMMANDS}


def carry_out(request: Request, desk: Desk) -> tuple[str, Reply]:
    """The name of the command asked for, and its reply; ``CommandError`` where it cannot be carried out."""
    kind, words = _find(request.words)
    command = kind.parse(words)
    if not request.ended and not command.only_reads():
        wrong = f"{quoted(kind.command)} changes something, and its line ended without a newline; nothing was done"
        raise CommandError(400, "incomplete-line", wrong)
    return kind.command, command.reply(desk)


def unknown_command(given: str) -> CommandError:
    """404, with the nearest command there is."""
    nearest = did_you_mean(given, _BY_NAME) or '; "help" lists the commands'
    return CommandError(404, "unknown-command", f"{quoted(given)}{nearest}")


def _find(words: Sequence[str]) -> tuple[type[Command], Sequence[str]]:
    for length in (2, 1):
        command = _BY_NAME.get(" ".join(words[:length]).casefold())
        if command is not None:
            return command, words[length:]
    raise unknown_command(words[0])


def _published(desk: Desk, record: StatsRecord | StreamRecord | RunRecord) -> Mapping[str, Value]:
    return desk.book.renames.apply(as_mapping(record))


def _rows(desk: Desk, records: Iterable[StreamRecord | RunRecord]) -> Iterator[Mapping[str, Value]]:
    """Published one by one, all under the names of now."""
    renames = desk.book.renames
    return (renames.apply(as_mapping(record)) for record in records)


def _dumps(packets: Iterable[tuple[int, bytes]]) -> Iterator[str]:
    """A line for people above the dump of each."""
    for number, octets in packets:
        yield f"# packet {number} {len(octets)} bytes"
        yield from dump(octets)


def _unknown_field(desk: Desk, given: str, published: Iterable[str]) -> CommandError:
    renamed = desk.book.renames.renamed(given)
    if renamed != given:
        return CommandError(404, "unknown-field", f"{quoted(given)} is published as {quoted(renamed)}")
    nearest = did_you_mean(given, sorted(published)) or '; "describe" lists the fields'
    return CommandError(404, "unknown-field", f"{quoted(given)}{nearest}")


def _on_view(desk: Desk, number: int) -> bool:
    counters = desk.book.counters
    return number in counters.open or any(stream.stream == number for stream in counters.recent)


def _unknown_stream(desk: Desk, number: int) -> CommandError:
    newest = desk.book.streams(desk.now(), limit=1)
    seen = f"the newest is {newest[0].stream}" if newest else "there has been none yet"
    return CommandError(404, "unknown-stream", f"no stream {number} is on view; {seen}")


def _text(command: type[Command]) -> list[str]:
    """The help text without its usage line."""
    return inspect.cleandoc(command.__doc__ or "").splitlines()[2:]


def _usage(command: type[Command]) -> str:
    return inspect.cleandoc(command.__doc__ or "").partition("\n")[0]


def _about(command: type[Command]) -> Mapping[str, str]:
    return {
        "command": command.command,
        "usage": _usage(command),
        "level": str(command.level),
        "help": " ".join(_text(command)),
    }
