"""A small client of the admin port: who answers there, what it counted of our streams, and any command's reply.

Rules: a reply is bounded in length and in time: one line of JSON, or lines of text up to a status line. All that a
server says is printable. Where no ctrlserver answers, the error is one line that quotes what did. For ``ctrlload``
published names are mapped back to the original ones, so a server that renames its fields is understood all the same;
``ask`` and ``ask_json`` give the reply as it is.

Beware: a server closes an idle admin connection; ask over a new one after a long run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import cast

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from ctrlserver.client.connect import connect, endpoint_of
from ctrlserver.client.target import Target
from ctrlserver.errors import LoadError
from ctrlserver.looks import deadlines
from ctrlserver.secret import answer_to
from ctrlserver.words import harmless, printable, quoted

#: Bytes of a reply, and bytes and values more for each record that is asked for: twice what the longest has. A value
#: costs up to 400 bytes of memory, however short it is written.
MAX_REPLY = 4 << 20
RECORD_BYTES = 1024
RECORD_VALUES = 40

#: Records that any reply may have.
FEWEST_RECORDS = 100

#: Rows of hosts to ask for: more than a server keeps.
MOST_PEERS = 10_000

#: Seconds an answer may take: a list of many streams on a loaded server included.
ANSWER_SECONDS = 10.0

#: Seconds the first answer may take, by which the port shows what it is.
HELLO_SECONDS = 5.0

#: What a server calls it that a stream to be ended is closed, or not even on view any more.
OVER_ALREADY = ("stream-closed", "unknown-stream")

#: Where a reply ends: at the end of a line, or in text at that of the status line.
_LINE = re.compile(rb"\n")
_STATUS = re.compile(rb"^(?:OK|ERR)[^\n]*\n", re.MULTILINE)

_RATE = "packets_per_second"
_OF_FASTEST = ("stream", "listener", "peer", "protocol", "mode", "framing", "packets", "bytes", "seconds", _RATE)

_CHALLENGE = re.compile(r"challenge ([0-9a-f]{64})\n")

#: Most of ``limit=N`` that a reply is given room for.
MOST_LIMIT = 100_000


class RefusedError(LoadError):
    """A ctrlserver that does not do what it was asked, or does not know the command. ``name``: the server's word."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


@frozen
class Streams:
    """Stream records by their original names, newest first; ``total`` is how many the server has on view."""

    records: list[dict[str, object]]
    total: int


class AdminClient(Protocol):
    """One connection to an admin port. ``name`` is how it is called in errors."""

    transport: ITransport

    def __init__(self, reactor: IReactorTime, name: str, seconds: float = ANSWER_SECONDS) -> None:
        self._reactor = reactor
        self._name = name
        self._seconds = seconds  # that an answer may take
        self._received = bytearray()
        self._searched = 0  # of these bytes, for the end of the reply that is waited for
        self._end = _LINE
        self._waiting: Deferred[bytes] | None = None
        self._lost = False
        self._records = FEWEST_RECORDS  # that the reply may have
        self._known = False  # whether it has shown that it is a ctrlserver
        self._originals: Mapping[str, str] = {}
        self.instance = ""
        """What tells the server from all others, once ``version`` was asked; empty where it does not say."""

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._lost

    async def version(self) -> str:
        """The server's version; LoadError where no ctrlserver answers."""
        found = await self.hello()
        await self._learn_renames()
        return found

    async def hello(self) -> str:
        """The server's version, and no more: what it renames is not asked."""
        reply = await self._data("version json")
        found = reply.get("version") if isinstance(reply, Mapping) else reply
        if not isinstance(found, str):
            raise LoadError(f'{self._name} is not a ctrlserver admin port: it answered "version json" with no version')
        self._known = True
        if isinstance(reply, Mapping) and isinstance(reply.get("instance"), str):
            self.instance = reply["instance"]
        return found

    async def ask(self, command: str, seconds: float | None = None) -> str:
        """The reply to ``command`` in text: the lines, the status line last, each ended; printable."""
        self._say([command])
        reply = (await self._reply(command, _STATUS, seconds)).decode("utf-8", "replace")
        return "".join(f"{printable(line.removesuffix(chr(13)))}\n" for line in reply.split("\n")[:-1])

    async def ask_json(self, command: str, seconds: float | None = None) -> dict[str, object]:
        """The reply to ``command json``: an object whose ``ok`` says whether the server did it."""
        self._say([f"{command} json"])
        return await self._envelope(f"{command} json", seconds)

    async def auth(self, secret: bytes) -> bool:
        """Answer the server's challenge; RefusedError where the answer is wrong. False where it asks for none."""
        reply = await self.ask("auth")
        if reply.startswith(("ERR 409 ", "ERR 404 ")):
            return False
        challenge = _CHALLENGE.match(reply)
        if challenge is None:
            raise LoadError(f'the admin port {self._name} answered "auth" with no challenge: {_one_line(reply)}')
        self._say([f"auth {answer_to(challenge[1], secret)}"])
        reply = (await self._reply("auth ...", _STATUS)).decode("utf-8", "replace")
        if not reply.startswith("OK"):
            raise RefusedError(f"the admin port {self._name} refused the secret: {_one_line(reply)}", "wrong-answer")
        return True

    def say(self, line: str) -> None:
        """Send a line, whose answer ``next_line`` gets."""
        self._say([line])

    async def next_line(self, command: str, seconds: float | None = None) -> str:
        """The next line that comes, printable: of a command that answers bit by bit."""
        line = await self._reply(command, _LINE, seconds)
        return printable(line.decode("utf-8", "replace").rstrip("\r\n"))

    async def next_json(self, command: str, seconds: float | None = None) -> dict[str, object]:
        """The same of a command that was sent with ``json``."""
        return await self._envelope(command, seconds)

    async def streams(self, limit: int) -> Streams:
        """The newest ``limit`` stream records, open and closed."""
        envelope = await self._asked(f"streams limit={limit} json")
        rows = envelope.get("data")
        if not isinstance(rows, list):
            raise LoadError(f'the admin port {self._name} answered "streams json" without a list')
        records = [self._original(row) for row in _objects(rows)]
        total = envelope.get("total")
        return Streams(records, total if isinstance(total, int) else len(records))

    async def kick(self, numbers: Sequence[int]) -> None:
        """Have the server end these streams, all asked at once; LoadError where it does not.

        One that is over already is as wanted.
        """
        commands = [f"kick {number} json" for number in numbers]
        self._say(commands)
        for command in commands:
            try:
                await self._answer(command)
            except RefusedError as error:
                if error.name not in OVER_ALREADY:
                    raise

    async def records(self, command: str) -> list[dict[str, object]]:
        """The rows that ``command`` gives, by their original names."""
        rows = await self._data(f"{command} json")
        return [self._original(row) for row in _objects(rows)]

    async def fastest_streams(self, limit: int) -> list[dict[str, object]]:
        """The open streams with the highest rates of packets, and what is cheap to know of them.

        The newest of a server that does not sort.
        """
        published = {old: new for new, old in self._originals.items()}
        shown = ",".join(published.get(name, name) for name in _OF_FASTEST)
        try:
            return await self.records(f"streams open limit={limit} sort={published.get(_RATE, _RATE)} fields={shown}")
        except RefusedError:
            return await self.records(f"streams open limit={limit}")

    async def not_ready(self) -> str:
        """Why the server accepts no new streams; empty where it does, or does not know that command."""
        try:
            health = await self._data("health json")
        except RefusedError:
            return ""
        if not isinstance(health, Mapping) or health.get("ready") != "no":
            return ""
        return str(health.get("reasons") or "not ready")

    async def stats(self) -> dict[str, object]:
        """The server's own record."""
        stats = await self._data("stats json")
        return self._original(stats) if isinstance(stats, Mapping) else {}

    async def peers(self) -> list[dict[str, object]]:
        """What the closed streams of each host came to; empty if the server does not know that command."""
        try:
            return await self.records(f"peers limit={MOST_PEERS}")
        except RefusedError:
            return []

    async def injections(self) -> list[dict[str, object]]:
        """The injections in force and the last ones that are over; empty if the server does not tell."""
        try:
            return await self.records("inject all")
        except RefusedError:
            return []

    def close(self) -> None:
        """Hang up."""
        self.transport.loseConnection()

    async def _learn_renames(self) -> None:
        rows = await self._data("rename json")
        pairs = (
            rows.items() if isinstance(rows, Mapping) else [(row.get("old"), row.get("new")) for row in _objects(rows)]
        )
        self._originals = {str(new): str(old) for old, new in pairs}

    def _original(self, row: Mapping[str, object]) -> dict[str, object]:
        return {self._originals.get(key, key): value for key, value in row.items()}

    async def _data(self, command: str) -> object:
        return (await self._asked(command)).get("data")

    async def _asked(self, command: str) -> dict[str, object]:
        """Ask, and give the answer."""
        self._say([command])
        return await self._answer(command)

    def _say(self, commands: Sequence[str]) -> None:
        """Ask all of it at once; each is answered in this order, with room for the records that it asks for."""
        self._records = max([FEWEST_RECORDS, *map(limit_of, commands)])
        if not self._lost:
            self.transport.write("".join(f"{command}\r\n" for command in commands).encode())

    async def _answer(self, command: str) -> dict[str, object]:
        """The reply of a ctrlserver that did it; LoadError for anything else."""
        envelope = await self._envelope(command)
        if not envelope["ok"]:
            error = envelope.get("error")
            said, name = (error.get("message"), error.get("id")) if isinstance(error, dict) else (error, None)
            raise RefusedError(f'the admin port {self._name} refused "{command}": {_one_line(str(said))}', str(name))
        return envelope

    async def _envelope(self, command: str, seconds: float | None = None) -> dict[str, object]:
        """The reply of a ctrlserver, which has ``ok``; LoadError for anything else."""
        line = await self._reply(command, _LINE, seconds)
        if line.count(b",") > self._records * RECORD_VALUES:
            raise LoadError(f'the admin port {self._name} answered "{command}" with more values than it was asked for')
        try:
            envelope = harmless(json.loads(line))
        except (ValueError, RecursionError):
            envelope = None
        if not isinstance(envelope, dict) or not isinstance(envelope.get("ok"), bool):
            text = line.decode("utf-8", "replace").strip()
            if text.startswith("ERR "):
                raise LoadError(f'the admin port {self._name} refused "{command}": {_one_line(text)}')
            what = f'gave no reply to "{command}"' if self._known else "is not a ctrlserver admin port"
            raise LoadError(f"{self._name} {what}: it answered {quoted(text)}")
        return cast("dict[str, object]", envelope)

    async def _reply(self, command: str, end: re.Pattern[bytes], seconds: float | None = None) -> bytes:
        """What answers ``command``, up to its ``end``."""
        if self._known:
            seconds, subject = seconds or self._seconds, f"the admin port {self._name} failed"
        else:
            seconds, subject = min(HELLO_SECONDS, self._seconds), f"{self._name} is not a ctrlserver admin port"
        if self._lost:
            raise LoadError(f"{subject}: it has closed the connection")
        waiting: Deferred[bytes] = Deferred()
        self._waiting, self._end, self._searched = waiting, end, 0
        waiting.addTimeout(seconds, deadlines(self._reactor))
        self._look()
        try:
            return await waiting
        except defer.TimeoutError:
            words = f"; it said {self._half()}" if self._received else ""
            raise LoadError(f'{subject}: no answer to "{command}" within {seconds:g} s{words}') from None
        except ConnectionLost:
            words = f"it answered {self._half()} and" if self._received else "it"
            raise LoadError(f'{subject}: asked "{command}", {words} closed the connection') from None
        finally:
            self._waiting = None

    # Twisted's

    def dataReceived(self, data: bytes) -> None:
        """Gather up to the end of a line."""
        self._received += data
        most = MAX_REPLY + self._records * RECORD_BYTES
        if len(self._received) > most:
            self.transport.loseConnection()
            if self._waiting is not None and not self._waiting.called:
                words = f"answered with more than {most} bytes, beginning with {self._half()}"
                self._waiting.errback(LoadError(f"the admin port {self._name} {words}"))
        elif b"\n" in data:
            self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail the command that waits for its answer."""
        self._lost = True
        if self._waiting is not None and not self._waiting.called:
            self._waiting.errback(ConnectionLost())

    def _look(self) -> None:
        """Hand over a reply, if one is whole and someone waits for it."""
        if self._waiting is None or self._waiting.called:
            return
        found = self._end.search(self._received, self._searched)
        if found is None:
            self._searched = self._received.rfind(b"\n", self._searched) + 1 or self._searched
            return
        reply = bytes(self._received[: found.end()])
        del self._received[: len(reply)]
        self._waiting.callback(reply)

    def _half(self) -> str:
        """The beginning of a line whose end has not come, for a person."""
        return quoted(self._received[:80].decode("utf-8", "replace"))


async def open_admin(
    reactor: IReactorTime, target: Target, timeout: float, seconds: float = ANSWER_SECONDS
) -> AdminClient:
    """Connect to an admin port within ``timeout``; LoadError where that fails. An answer may take ``seconds``."""
    factory = Factory.forProtocol(lambda: AdminClient(reactor, target.text, seconds))
    factory.noisy = False
    endpoint = endpoint_of(target, reactor)
    return cast("AdminClient", await connect(reactor, endpoint, factory, f"the admin port {target.text}", timeout))


def limit_of(command: str) -> int:
    """The rows that ``limit=N`` asks for, as far as there is room for them; 0 without."""
    asked = re.search(r"(?i)(?:^|\s)limit=([0-9]{1,6})(?:\s|$)", command)
    return 0 if asked is None else min(int(asked[1]), MOST_LIMIT)


def _objects(rows: object) -> list[Mapping[str, object]]:
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))[:200]
