"""The table of the admin port's commands: ``help``, the dispatch and docs/admin-protocol.md are made from it.

A command is a class: its docstring is its help, and it states its name (one or two words), its level, whether it only
reads, what it answers and an example; its fields are its arguments. An instance is one call, checked; ``reply`` carries
it out on a desk.

Rules: what cannot be done is a ``CommandError`` with a code and an id that scripts may rely on. Records go out under
their published names; ``version``, ``packets`` and the lists of commands and renames are not records, and no rename
touches them. The names are in ``ctrlserver/commands.py`` too, in the same order. Whoever adds or changes a command
makes the page anew (``page.py``).

Beware: a ``json`` that only words such as ``limit=5`` follow is the form of the reply and never reaches a command.
``run 5`` and ``run start`` are different commands: the longest name that fits wins.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from textwrap import wrap
from typing import Final

from attrs import frozen

from ctrlserver.admin.arguments import Text
from ctrlserver.admin.commands.access import Auth, WhoAmI
from ctrlserver.admin.commands.answering import Answer, AnswerOff
from ctrlserver.admin.commands.asking import Describe, Ping, Quit, Reset, Stats, Version
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.commands.injecting import Inject, InjectAll, InjectOff
from ctrlserver.admin.commands.metrics import Metrics
from ctrlserver.admin.commands.renames import Rename, Unrename
from ctrlserver.admin.commands.runs import Run, RunsList, RunStart, RunStop
from ctrlserver.admin.commands.serving import Config, Drain, Health, Listeners, Log, Reload, Shutdown, Workers
from ctrlserver.admin.commands.streams import Kick, Packets, Peers, Streams
from ctrlserver.admin.commands.waiting import Wait, Watch
from ctrlserver.admin.dialogue import Request
from ctrlserver.admin.levels import Level
from ctrlserver.admin.replies import Listing, Reply
from ctrlserver.admin.session import Session
from ctrlserver.admin.waiting import Later
from ctrlserver.commands import ALIASES
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.logs.level import LEVEL
from ctrlserver.words import did_you_mean, quoted


@frozen
class Help(Command):
    """help [COMMAND]

    The commands, or what one of them does.
    A reply is zero or more lines and one status line, which starts with OK or
    ERR. With json as its last word a command gives one line of JSON instead. A
    level in parentheses is what the command needs; whoami shows yours.
    """

    command = "help"
    answers = "A line for each command, with its level where that is above viewer. With COMMAND, its whole help text."
    example = "help kick"
    topic: str = argument(Text("command", "COMMAND", rest=True), "")

    def reply(self, desk: Desk) -> Reply:
        """All commands in a line each, or the whole help text of one, or of those that begin with its word."""
        if not self.topic:
            return Listing([*_list(), *_HINTS], _all_about(), len(COMMANDS))
        asked = " ".join(self.topic.casefold().split())
        asked = ALIASES.get(asked, asked)
        chosen = [each for each in COMMANDS if each.command == asked or each.command.startswith(f"{asked} ")]
        if not chosen:
            raise unknown_command(self.topic)
        lines: list[str] = []
        for each in chosen:
            lines += ["", *_usage_lines(each)] if lines else _usage_lines(each)
            lines += [f"  {line}" for line in help_of(each)]
            lines.append(f"  Level: {each.level}.")
        return Listing(lines, [_about(each) for each in chosen], len(lines))


COMMANDS: Final[tuple[type[Command], ...]] = (
    Help,
    Version,
    Ping,
    WhoAmI,
    Auth,
    Health,
    Stats,
    Metrics,
    Describe,
    Streams,
    Packets,
    Peers,
    RunsList,
    Run,
    RunStart,
    RunStop,
    Reset,
    Rename,
    Unrename,
    Kick,
    Inject,
    InjectAll,
    InjectOff,
    Answer,
    AnswerOff,
    Listeners,
    Workers,
    Config,
    Wait,
    Watch,
    Drain,
    Log,
    Reload,
    Shutdown,
    Quit,
)

_BY_NAME: Final = {command.command: command for command in COMMANDS}

_MEANT: Final = {
    **dict.fromkeys(("info", "status", "show", "uptime"), "stats"),
    **dict.fromkeys(("clients", "connections", "sessions", "ls", "ps"), "streams"),
    **dict.fromkeys(("h", "-h", "--help", "man", "commands"), "help"),
    **dict.fromkeys(("top", "monitor"), "watch"),
    **dict.fromkeys(("stop", "halt"), "shutdown"),
    **dict.fromkeys(("login", "password", "su"), "auth"),
    **dict.fromkeys(("ports", "endpoints"), "listeners"),
    **dict.fromkeys(("processes", "procs"), "workers"),
    **dict.fromkeys(("fault", "toxic", "misbehave", "chaos"), "inject"),
    **dict.fromkeys(("stub", "expect", "respond"), "answer"),
    "kill": "kick",
}
"""Words of other programs, and the command that is meant."""


def call_of(request: Request, desk: Desk, session: Session) -> Command:
    """The call that the line asks for; ``CommandError`` where it cannot be carried out.

    Every command comes this way, so the level is checked here, before anything else of it is looked at.
    """
    kind, words = _find(request.words)
    if LEVEL.debug:
        session.journal.asked(session.peer, session.level, kind.command)
    _check_level(kind, words, desk, session)
    command = kind.parse(words)
    if not request.ended and not command.only_reads():
        wrong = f"{quoted(kind.command)} changes something, and its line ended without a newline; nothing was done"
        raise CommandError(400, "incomplete-line", wrong)
    return command


def carry_out(command: Command, request: Request, desk: Desk, session: Session) -> Reply | Later:
    """The reply to the call of ``request``; ``CommandError`` where there is none."""
    if command.only_reads():
        return command.answer(desk, session)
    desk.book.changed()
    session.changed()
    reply = command.answer(desk, session)
    if command.journaled:
        session.journal.changed(session.peer, session.level, request.words)
    return reply


def _check_level(kind: type[Command], words: Sequence[str], desk: Desk, session: Session) -> None:
    needed = Level.VIEWER if kind.lists and not words else kind.level
    if session.level < needed:
        desk.book.admin_refused += 1
        session.journal.refused(session.peer, session.level, kind.command)
        wrong = f"{quoted(kind.command)} needs level {needed}, and this connection has {session.level}"
        raise CommandError(403, "not-permitted", f"{wrong}; {session.way_to(needed)}")


def unknown_command(given: str) -> CommandError:
    """404, with the nearest command there is."""
    meant = _MEANT.get(given.casefold())
    nearest = did_you_mean(meant or given, _BY_NAME) or '; "help" lists the commands'
    return CommandError(404, "unknown-command", f"{quoted(given)}{nearest}")


def _find(words: Sequence[str]) -> tuple[type[Command], Sequence[str]]:
    words = (ALIASES.get(words[0].casefold(), words[0]), *words[1:])
    for length in (2, 1):
        command = _BY_NAME.get(" ".join(words[:length]).casefold())
        if command is not None:
            return command, words[length:]
    raise unknown_command(words[0])


def help_of(command: type[Command]) -> list[str]:
    """The help text without its usage line."""
    return inspect.cleandoc(command.__doc__ or "").splitlines()[2:]


def usage_of(command: type[Command]) -> str:
    """``kick STREAM``."""
    return inspect.cleandoc(command.__doc__ or "").partition("\n")[0]


_HINTS: Final = (
    '# "help COMMAND" says more. With json as its last word a command gives JSON.',
    '# (operator), (admin): the level that it needs; "whoami" shows yours.',
)

_COLUMNS: Final = 80
"""Of a terminal: no line of help is wider."""

_USAGE_WIDTH: Final = 26
"""Of the list: the rest of a line has room for a sentence."""


@cache
def _list() -> Sequence[str]:
    """A line for each command; made once, for a peer may ask for it a thousand times a second."""
    lines = []
    for each in COMMANDS:
        usage = usage_of(each) if len(usage_of(each)) <= _USAGE_WIDTH else f"{each.command} ..."
        level = f" ({each.level})" if each.level > Level.VIEWER else ""
        lines.append(f"{usage:<{_USAGE_WIDTH}}  {help_of(each)[0]}{level}")
    return lines


def _usage_lines(command: type[Command]) -> list[str]:
    return wrap(usage_of(command), _COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


@cache
def _all_about() -> Sequence[Mapping[str, str]]:
    return [_about(each) for each in COMMANDS]


def _about(command: type[Command]) -> Mapping[str, str]:
    return {
        "command": command.command,
        "usage": usage_of(command),
        "level": str(command.level),
        "help": " ".join(help_of(command)),
    }
