"""Every command of the table, however the network cuts its line, gives the same reply."""

from __future__ import annotations

import re

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.levels import Level
from ctrlserver.admin.session import Access
from ctrlserver.stats.kept import Fetched
from ctrlserver.stats.records import WorkerRecord
from tests.admin.conftest import Server
from tests.admin.workers import Workers

each_command = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)


def replied(chunks: list[bytes], begins: Level, refreshed: str = "never") -> bytes:
    """All that a new server says to these reads, with the end of input after them; challenges and what the test has
    used are made the same.

    ``refreshed``: how the rounds come that its numbers need, where they come of workers.
    """
    server = Server()
    server.stream(1000)
    server.stream(5, open=True)
    row = WorkerRecord(1, 7, "running", 1, 2, 1005, 1029120, 1.0, 0.5, 1 << 20, 0)
    server.desk = evolve(server.desk, workers=lambda: [row])
    server.bounded()
    server.access = Access(begins, Level.ADMIN, b"0123456789abcdef", "tcp:22223")
    workers = None if refreshed == "never" else Workers(server, at_once=refreshed == "at once")
    if refreshed == "shared":
        server.connect().connection.dataReceived(b"stats\n")  # its round is under way

    def go_on(seconds: float = 0.0) -> None:
        server.clock.advance(seconds)
        while workers is not None and (workers.under_way or workers.fetches):
            workers.answer_all()
            if workers.fetches:
                workers.fetches.pop().callback(Fetched(None))

    peer = server.connect()
    for chunk in chunks:
        if peer.transport.producerState == "paused":
            go_on()
        peer.connection.dataReceived(chunk)
    if peer.transport.producerState == "paused":
        go_on()
    peer.ends()
    for seconds in [0.01] * 3 + [1.0] * 3:
        go_on(seconds)
    assert peer.transport.disconnecting
    sent = re.sub(rb"[0-9a-f]{64}", b"CHALLENGE", peer.transport.sent)
    return re.sub(rb'(process_(?:cpu|resident)_\w+(?: |","value":))[\d.]+', rb"\1USED", sent)  # by the test itself


def lines_of(command: type[Command], json: bool) -> bytes:
    line = command.example.encode() + (b" json" if json else b"") + b"\r\n"
    return line if command.command == "watch" else line + b"ping\n"


@each_command
@pytest.mark.parametrize("refreshed", ["at once", "later", "shared"])
def test_with_workers_a_command_cut_at_every_byte_gives_the_same_reply_as_without(
    command: type[Command], refreshed: str
) -> None:
    octets = lines_of(command, False)
    whole = replied([octets], Level.ADMIN)
    for at in range(len(octets)):
        assert whole == replied([octets[:at], octets[at:]], Level.ADMIN, refreshed), at


@each_command
@pytest.mark.parametrize("json", [False, True], ids=["text", "json"])
def test_a_command_cut_at_every_byte_gives_the_same_reply(command: type[Command], json: bool) -> None:
    octets = lines_of(command, json)
    whole = replied([octets], Level.ADMIN)
    assert whole.startswith(b"{") if json else b"\nOK " in b"\n" + whole or b"\nERR 409 " in b"\n" + whole
    for at in range(1, len(octets)):
        assert whole == replied([octets[:at], octets[at:]], Level.ADMIN), at
    assert whole == replied([octets[at : at + 1] for at in range(len(octets))], Level.ADMIN)


@given(st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=5), st.data())
@settings(max_examples=60)
def test_any_commands_in_a_row_cut_anywhere_give_the_same_replies(
    commands: list[type[Command]], data: st.DataObject
) -> None:
    begins = data.draw(st.sampled_from(list(Level)))
    octets = b"".join(lines_of(command, False) for command in commands if command.command != "watch")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    chunks = [octets[start:end] for start, end in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert replied([octets], begins) == replied([each for each in chunks if each], begins)


@given(
    st.lists(st.sampled_from(COMMANDS), min_size=1, max_size=8),
    st.lists(st.integers(0, 400), max_size=6),
    st.sampled_from(["at once", "later", "shared"]),
)
@settings(max_examples=60)
def test_with_workers_any_commands_cut_anywhere_give_the_replies_of_one_process(
    commands: list[type[Command]], cuts: list[int], refreshed: str
) -> None:
    octets = b"".join(lines_of(command, False) for command in commands if command.command != "watch")
    ends = sorted(min(cut, len(octets)) for cut in cuts)
    chunks = [octets[start:end] for start, end in zip([0, *ends], [*ends, len(octets)], strict=True)]
    assert replied([octets], Level.ADMIN) == replied([each for each in chunks if each], Level.ADMIN, refreshed)
