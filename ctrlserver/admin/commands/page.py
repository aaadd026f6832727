"""docs/admin-protocol.md: its part about the commands, made from their table and from real replies.

    python -m ctrlserver.admin.commands.page docs/admin-protocol.md

Rules: what stands above ``MARK`` in the file is written by hand and kept. Each example is carried out on a server made
for the page, in the order of the table, so no reply in the page is invented. A test fails where the file differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import evolve
from twisted.internet.task import Clock

from ctrlserver.admin.arguments import Parameter
from ctrlserver.admin.commands.command import Command, parameters_of
from ctrlserver.admin.commands.table import COMMANDS, call_of, carry_out, help_of, usage_of
from ctrlserver.admin.dialogue import Request
from ctrlserver.admin.levels import Level
from ctrlserver.admin.replies import Record, Reply, encode_in_steps
from ctrlserver.admin.session import Access, Session
from ctrlserver.admin.waiting import Readings
from ctrlserver.config import Config, ListenerConfig
from ctrlserver.config.changes import differences, needs_restart
from ctrlserver.config.shown import as_tables
from ctrlserver.desk import Desk
from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Rules
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.records import InjectionRecord, ListenerRecord, WorkerRecord

MARK: Final = (
    "<!-- Below this line the page is made by: python -m ctrlserver.admin.commands.page docs/admin-protocol.md -->"
)

_MOST_LINES: Final = 8
"""Body lines of an example: enough to see the form."""

_WIDEST: Final = 110
"""Characters of a line of an example: a row of streams has three times as many."""

_VERSIONS: Final = {
    "version": "1.0.0",
    "python": "3.13.1",
    "twisted": "24.11.0",
    "platform": "Linux-6.12-x86_64",
    "instance": "8f2a61c09d4be375",
}
"""Instead of what ``version`` finds, which differs from machine to machine."""

_ENDPOINT: Final = "tcp:22223:interface=127.0.0.1"


def _session(desk: Desk, clock: Clock) -> Session:
    """Somebody who may do all; its challenge is no random one."""
    access = Access(Level.ADMIN, Level.ADMIN, b"", _ENDPOINT)
    return Session("127.0.0.1:40007", "tcp", access, Readings(desk, clock), random=lambda number: bytes(range(number)))


def page(before: str) -> str:
    """The whole page; ``before`` is the page as it is."""
    by_hand = before.partition(MARK)[0].rstrip()
    clock = Clock()
    session = _session(_desk(clock), clock)
    return "\n".join(
        (by_hand, "", MARK, "", "## Commands", "", *(line for each in COMMANDS for line in _section(each, session)))
    )


def _section(command: type[Command], session: Session) -> Iterator[str]:
    yield f"### `{usage_of(command)}`"
    yield ""
    yield from help_of(command)
    yield ""
    for parameter in parameters_of(command):
        yield _argument(parameter)
    yield f"- Level: {command.level}."
    yield f"- Reply: {command.answers}"
    yield ""
    yield "```text"
    yield f"> {command.example}"
    yield from _replied(command.example, session)
    yield "```"
    yield ""


def _argument(parameter: Parameter) -> str:
    optional = "" if parameter.required else "; may be left out"
    return f"- `{parameter.shown}`: {parameter.expected}{optional}."


def _replied(line: str, session: Session) -> Iterator[str]:
    """The lines of the reply; of a long one those in the middle are left out, and the ends of wide ones."""
    readings = session.readings
    assert readings is not None
    request = Request(tuple(line.split()))
    command = call_of(request, readings.desk, session)
    reply = carry_out(command, request, readings.desk, session)
    if not isinstance(reply, Reply):
        reply.begin(lambda: None, json=False)
        octets = reply.more()
        while not reply.ended:
            assert isinstance(readings.reactor, Clock)
            readings.reactor.advance(1.0)
            octets += reply.more()
        yield from map(_cut, octets.decode().splitlines())
        return
    if command.command == "version" and isinstance(reply, Record):
        reply = evolve(reply, value=_VERSIONS)
    *body, status = b"".join(encode_in_steps(command.command, reply, json=False)).decode().splitlines()
    yield from map(_cut, body[:_MOST_LINES])
    if len(body) > _MOST_LINES:
        yield "..."
    yield status


def _cut(line: str) -> str:
    return line if len(line) <= _WIDEST else f"{line[:_WIDEST].rstrip()} ..."


def _desk(clock: Clock) -> Desk:
    """A server on which every example has something to answer: a closed and an open stream, and their run."""
    book = Book(version=_VERSIONS["version"], now=0.0, wall=1_700_000_000.0)
    origin = Origin("data", "tcp", "fixed:1024", "sink", 1024)
    for number, peer in ((1, "10.0.0.1:40001"), (2, "10.0.0.2:40002")):
        stream = book.stream_opened(origin, peer, float(number))
        book.first_data(stream, float(number), float(number))
        stream.packets, stream.bytes, stream.last = 1000, 1024 * 1000, number + 1.0
        if number == 1:
            book.stream_closed(stream, "eof", 0, 2.0)
        else:
            stream.kept = KeptPackets(10, 1024)
            stream.kept.add([b"Hello, world\r\n"])

    def kick(number: int) -> bool:
        book.stream_closed(book.counters.open[number], "kicked", 0, 4.0)
        return True

    counted = {"streams_open": 1, "streams_total": 2, "packets_total": 2000, "bytes_total": 2048000}
    listener = ListenerRecord(
        "data", "tcp:22222", "0.0.0.0:22222", None, "fixed:1024", "sink", **counted, draining=False
    )
    injections: list[InjectionRecord] = []

    def inject(listener: str, spec: str, **_: object) -> InjectionRecord:
        times = {"since": "2023-11-14T22:13:24.000Z", "until": "2023-11-14T22:13:34.000Z"}
        order = InjectionRecord(1, listener, spec, 1, True, **times, seed=7, peer="all", streams="new", by="unix")
        injections.append(order)
        return order

    rules, place = Rules(), Place("data", "reply", reply=b"OK")
    before = Config()
    after = Config(listeners=(ListenerConfig(max_packet=2 << 20),), log_format="json")
    return Desk(
        book,
        _VERSIONS["version"],
        lambda: 4.0 + clock.seconds(),
        kick,
        listeners=lambda *_: [listener],
        drain=lambda _: None,
        log=lambda _: "info",
        reload=lambda: [*differences(before, after), *needs_restart(before, after)],
        shutdown=lambda: None,
        workers=lambda: [
            WorkerRecord(1, 4711, "running", **counted, share=1.0, cpu_seconds=0.5, memory_bytes=40 << 20, restarts=0)
        ],
        config=lambda: as_tables(before),
        inject=inject,
        injections=lambda _: injections,
        end_injections=lambda *_: injections,
        answer=lambda _, rule, by: rules.add(rule, place, 1_700_000_004 * 10**9, by),
        answers=rules.all,
        end_answers=rules.end,
    )


if __name__ == "__main__":
    for path in map(Path, sys.argv[1:]):
        path.write_text(page(path.read_text()))
