"""Commands about the server's life: its health, listeners and config, and draining, reloading, stopping it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence

from attrs import frozen

from ctrlserver.admin.arguments import Choice
from ctrlserver.admin.commands.command import Command, argument, rows
from ctrlserver.admin.levels import Level
from ctrlserver.admin.replies import Document, Listing, Record, Reply, Table, Word
from ctrlserver.desk import Desk
from ctrlserver.linux.usage import cpu_seconds, resident_bytes
from ctrlserver.render.jsonline import Content
from ctrlserver.stats.records import WorkerRecord, seconds_figure


@frozen
class Health(Command):
    """health

    Whether the server is live and ready; if not, why.
    live: it works. ready: new streams are welcome.
    """

    command = "health"
    answers = "A record: live and ready, each yes or no, and reasons."
    example = "health"

    def reply(self, desk: Desk) -> Reply:
        """A record."""
        health = desk.health()
        words = {True: "yes", False: "no"}
        reasons = ", ".join(health.reasons) or None
        return Record({"live": words[health.live], "ready": words[health.ready], "reasons": reasons})


@frozen
class Listeners(Command):
    """listeners

    The data listeners, and what they have counted.
    Name, endpoint, real address, framing and mode of each, and its counts.
    """

    command = "listeners"
    reads_figures = True
    answers = "A row for each listener, below a line of column names that starts with #."
    example = "listeners"

    def reply(self, desk: Desk) -> Reply:
        """Rows of listeners."""
        records = desk.listeners()
        return Table(rows(desk, records), len(records))


@frozen
class Workers(Command):
    """workers

    The processes that serve streams, and their load.
    Without workers there is one, the server itself. share is a worker's part of
    the load of the last second, from 0 to 1.
    """

    command = "workers"
    reads_figures = True
    answers = "A row for each worker, below a line of column names that starts with #."
    example = "workers"

    def reply(self, desk: Desk) -> Reply:
        """Rows of workers."""
        records = worker_records(desk)
        return Table(rows(desk, records), len(records))


@frozen
class Config(Command):
    """config

    The config that holds; no secret is shown.
    It is that of the file, with the flags of the command line over it.
    """

    command = "config"
    answers = "A line KEY = VALUE for each key, in the form of TOML. In JSON, one object."
    example = "config"

    def reply(self, desk: Desk) -> Reply:
        """Lines, or one object."""
        config = desk.config()
        return Document(list(_lines(config)), config)


@frozen
class Drain(Command):
    """drain on|off

    Reject new streams, until drain off.
    Open streams go on.
    """

    command = "drain"
    level = Level.OPERATOR
    reads = False
    answers = "The word draining, or accepting."
    example = "drain off"
    state: str = argument(Choice("state", "on|off", ("on", "off")))

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        desk.drain(self.state == "on")
        return Word("draining" if self.state == "on" else "accepting", {"drain": self.state})


@frozen
class Log(Command):
    """log LEVEL

    From now on log LEVEL and above.
    LEVEL is debug, info or warn.
    """

    command = "log"
    level = Level.OPERATOR
    reads = False
    answers = "The new level. In JSON, the previous one too."
    example = "log info"
    lowest: str = argument(Choice("level", "LEVEL", ("debug", "info", "warn")))

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        return Word(self.lowest, {"level": self.lowest, "previous": desk.log(self.lowest)})


@frozen
class Reload(Command):
    """reload

    Read the config file again, if it is good.
    It is checked whole first; if it is not good, nothing changes.
    """

    command = "reload"
    level = Level.ADMIN
    reads = False
    answers = "A line for each change, and for each key that needs a restart."
    example = "reload"

    def reply(self, desk: Desk) -> Reply:
        """Lines of what changed."""
        lines = desk.reload()
        return Listing(lines, [{"change": line} for line in lines], len(lines))


@frozen
class Shutdown(Command):
    """shutdown

    Stop the server: it drains, then ends.
    """

    command = "shutdown"
    level = Level.ADMIN
    reads = False
    answers = "The word stopping."
    example = "shutdown"

    def reply(self, desk: Desk) -> Reply:
        """A word."""
        desk.shutdown()
        return Word("stopping", {"shutdown": "stopping"})


def worker_records(desk: Desk) -> Sequence[WorkerRecord]:
    """A record for each worker."""
    return [_alone(desk)] if desk.workers is None else desk.workers()


def _alone(desk: Desk) -> WorkerRecord:
    """The one process, which serves all streams itself."""
    totals = desk.book.reading(desk.now(), desk.asked).totals
    return WorkerRecord(
        worker=1,
        pid=os.getpid(),
        state="running",
        streams_open=totals.streams_open,
        streams_total=totals.streams_total,
        packets_total=totals.packets,
        bytes_total=totals.bytes,
        share=1.0,
        cpu_seconds=seconds_figure(cpu_seconds()),
        memory_bytes=resident_bytes(),
        restarts=0,
    )


def _lines(content: Content, path: str = "") -> Iterator[str]:
    """``listener[0].name = "data"``: the paths are those of errors about the config."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from _lines(value, f"{path}.{key}" if path else key)
    elif isinstance(content, Sequence) and content and isinstance(content[0], Mapping):
        for at, value in enumerate(content):
            yield from _lines(value, f"{path}[{at}]")
    else:
        yield f"{path} = {json.dumps(content)}"
