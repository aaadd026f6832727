"""All servers asked at once, each over a connection of its own.

Rules: no server holds up another. Each step has the time limit, all of them together twice that. What goes wrong with a
server is the problem in its answer, in one line.
"""

from __future__ import annotations

import re
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ctrlserver.client.admin import AdminClient, open_admin
from ctrlserver.errors import LoadError, UnitError, UsageError
from ctrlserver.looks import deadlines
from ctrlserver.overview.answers import Answer, summed_of
from ctrlserver.overview.servers import Server
from ctrlserver.units import parse_duration

#: Seconds that ``wait`` waits where no time is given, and the most that it may.
WAIT_SECONDS, MOST_WAIT_SECONDS = 10.0, 3600.0

T = TypeVar("T")


@frozen
class Question:
    """One command, as a line. ``timeout``: seconds that a server has to connect, and for each answer.

    ``in_json``: so that it can stand beside others; ``sums``: what may be added up is asked as well.
    """

    line: str
    timeout: float
    in_json: bool = False
    sums: bool = False
    secret: bytes | None = None

    @property
    def own_seconds(self) -> float:
        """Seconds that the command itself takes: those of ``wait``."""
        words = self.line.split()
        if words[0].casefold() != "wait":
            return 0.0
        given = re.search(r"(?i)\btimeout=(\S+)", self.line)
        try:
            return min(parse_duration(given[1]), MOST_WAIT_SECONDS) if given else WAIT_SECONDS
        except UnitError:  # the server says what is wrong
            return 0.0


def line_of(words: Sequence[str]) -> str:
    """The command as a line: a word with blanks in quotes, a single word as it is; UsageError for what is no line."""
    for word in words:
        if not word.isprintable():
            raise UsageError("the command has a character that no line may have")
    if len(words) == 1:
        return words[0].strip()
    return " ".join(in_quotes(word) for word in words)


def in_quotes(word: str) -> str:
    """A word as a line has it: with blanks in quotes, of ``name=text`` the text; UsageError where it has both kinds."""
    name, equals, text = word.partition("=")
    front, text = (f"{name}=", text) if equals and name.isidentifier() else ("", word)
    if text and not set(text) & set(" \"'"):
        return word
    mark = '"' if '"' not in text else "'"
    if mark in text:
        raise UsageError(f"{word}: a word has only one kind of quotes")
    return f"{front}{mark}{text}{mark}"


def without_json(line: str) -> tuple[str, bool]:
    """The line without the word that asks for JSON, and whether it had one, as a server reads it."""
    words = line.split(" ")
    last = max((at for at, word in enumerate(words) if "=" not in word), default=0)
    if last and words[last].casefold() == "json":
        return " ".join([*words[:last], *words[last + 1 :]]), True
    return line, False


async def connected(
    reactor: IReactorTime, server: Server, timeout: float, secret: bytes | None = None, *, renames: bool = False
) -> AdminClient:
    """A connection over which a ctrlserver answers, the challenge answered; LoadError where none does.

    ``renames``: its records will be understood by their original names.
    """
    client = await open_admin(reactor, server.target, timeout, timeout)
    try:
        await (client.version() if renames else client.hello())
        if secret is not None:
            await client.auth(secret)
    except BaseException:
        client.close()
        raise
    return client


async def answer_of(reactor: IReactorTime, server: Server, question: Question) -> Answer:
    """What ``server`` answers."""
    whole = Deferred.fromCoroutine(_answer(reactor, server, question))
    most = question.own_seconds + 2 * question.timeout
    whole.addTimeout(most, deadlines(reactor))
    try:
        return await whole
    except LoadError as error:
        return Answer(server.name, problem=str(error))
    except defer.TimeoutError:
        return Answer(server.name, problem=f"no whole answer within {most:g} s")


async def _answer(reactor: IReactorTime, server: Server, question: Question) -> Answer:
    client = await connected(reactor, server, question.timeout, question.secret)
    try:
        return await answer_over(client, server, question)
    finally:
        client.close()


async def answer_over(client: AdminClient, server: Server, question: Question) -> Answer:
    """What ``server`` answers over this connection."""
    seconds = question.own_seconds + question.timeout
    if not question.in_json:
        return Answer(server.name, text=await client.ask(question.line, seconds))
    envelope = await client.ask_json(question.line, seconds)
    summed: frozenset[str] = frozenset()
    if question.sums and isinstance(envelope.get("data"), Mapping):
        summed = summed_of((await client.ask_json("describe", question.timeout)).get("data"))
    return Answer(server.name, envelope, summed=summed)


async def at_once(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all ``works`` give, in their order; once one fails, or the wait is cancelled, the others are cancelled."""
    begun = [Deferred.fromCoroutine(work) for work in works]
    try:
        return [await each for each in begun]
    finally:
        for each in begun:
            each.addErrback(lambda _: None)
            each.cancel()


async def answers_of(reactor: IReactorTime, servers: Sequence[Server], question: Question) -> list[Answer]:
    """What all ``servers`` answer, in their order."""
    return await at_once(answer_of(reactor, server, question) for server in servers)
