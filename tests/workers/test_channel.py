"""Messages both ways: whole, in order, with descriptors; and what becomes of questions when an end is gone."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from ctrlserver.errors import InjectionError
from ctrlserver.workers.channel import MOST_DESCRIPTORS, Channel, Lost, Refused
from tests.servers import PATIENCE

reactor: Any = installed


@define(eq=False)
class End:
    """An owner that remembers, and answers by ``answers``."""

    channel: Any = None
    answers: Any = None
    got: list[Any] = field(factory=list)
    files: list[int] = field(factory=list)
    is_lost: bool = False
    _wanted: int = 0
    _enough: Any = None

    def received(self, message: Any, descriptors: list[int]) -> object:
        self.got.append(message)
        self.files += descriptors
        self._look()
        return self.answers(message) if self.answers else None

    def lost(self) -> None:
        self.is_lost = True
        self._look()

    def until(self, number: int) -> Deferred[None]:
        """Until so many messages have come, or the channel is lost."""
        self._wanted, self._enough = number, Deferred()
        self._enough.addTimeout(PATIENCE, reactor)
        waits: Deferred[None] = self._enough
        self._look()
        return waits

    def _look(self) -> None:
        if self._enough is not None and (len(self.got) >= self._wanted or self.is_lost):
            enough, self._enough = self._enough, None
            enough.callback(None)


@pytest.fixture
def ends() -> Iterator[tuple[End, End]]:
    here, there = End(), End()
    for end, sock in zip((here, there), socket.socketpair(), strict=True):
        end.channel = Channel(sock, end, reactor)
    yield here, there
    for end in (here, there):
        end.channel.close()
        for each in end.files:
            os.close(each)


@pytest_twisted.ensureDeferred
async def test_messages_arrive_in_order_however_long(ends: tuple[End, End]) -> None:
    here, there = ends
    sent = [b"x" * size for size in (0, 1, 10_000_000, 3, 0, 300_000)]
    for each in sent:
        here.channel.send(each)
    assert here.channel.waiting > 0
    await there.until(len(sent))
    assert (sent, 0) == (there.got, here.channel.waiting)


@pytest_twisted.ensureDeferred
async def test_a_question_has_its_own_answer_whichever_comes_first(ends: tuple[End, End]) -> None:
    here, there = ends
    later: Deferred[str] = Deferred()
    there.answers = {"slow": later, "fast": "at once"}.get
    slow, fast = here.channel.ask("slow"), here.channel.ask("fast")
    assert "at once" == await fast
    later.callback("at last")
    assert "at last" == await slow


@pytest_twisted.ensureDeferred
async def test_both_ends_may_ask(ends: tuple[End, End]) -> None:
    here, there = ends
    here.answers = there.answers = lambda number: number + 1
    assert (2, 6) == (await here.channel.ask(1), await there.channel.ask(5))


@pytest_twisted.ensureDeferred
async def test_descriptors_come_with_their_message_and_the_senders_own_may_be_closed_at_once(
    ends: tuple[End, End],
) -> None:
    here, there = ends
    here.channel.send(b"x" * 5_000_000)  # more than the socket takes: the next waits
    for word in (b"one", b"two"):
        reads, writes = os.pipe()
        os.write(writes, word)
        here.channel.send(word, [reads, writes])
        os.close(reads)
        os.close(writes)
    await there.until(3)
    assert 4 == len(there.files)
    assert [b"one", b"two"] == [os.read(there.files[place], 10) for place in (0, 2)]
    assert not any(os.get_inheritable(each) for each in there.files)


@pytest_twisted.ensureDeferred
async def test_more_descriptors_than_fit_beside_a_frame_come_with_their_message_all_the_same(
    ends: tuple[End, End], tmp_path: Path
) -> None:
    here, there = ends
    paths = [tmp_path / str(number) for number in range(2 * MOST_DESCRIPTORS + 3)]
    files = [os.open(path, os.O_CREAT | os.O_RDWR) for path in paths]
    answer = here.channel.ask("many", files)
    here.channel.send("after", files[:1])
    for each in files:
        os.close(each)
    await answer
    await there.until(2)
    assert ["many", "after"] == there.got
    assert [*map(str, paths), str(paths[0])] == [os.readlink(f"/proc/self/fd/{each}") for each in there.files]


@pytest_twisted.ensureDeferred
async def test_what_is_raised_is_refused_at_the_asker_with_its_code(ends: tuple[End, End]) -> None:
    here, there = ends

    def refuse(_: object) -> None:
        raise InjectionError("no listener 'x'", 404)

    there.answers = refuse
    with pytest.raises(Refused, match="no listener 'x'") as refused:
        await here.channel.ask("anything")
    assert 404 == refused.value.code


@pytest_twisted.ensureDeferred
async def test_a_bug_is_logged_where_it_is_and_the_channel_goes_on(ends: tuple[End, End]) -> None:
    here, there = ends
    there.answers = lambda number: 1 // number
    with capturedLogs() as events:
        here.channel.send(0)
        with pytest.raises(Refused):
            await here.channel.ask(0)
    assert ["int", "int"] == [event["what"] for event in events]
    assert 1 == await here.channel.ask(1)


@pytest_twisted.ensureDeferred
async def test_when_an_end_is_closed_open_questions_fail_and_the_other_is_told_once(ends: tuple[End, End]) -> None:
    here, there = ends
    there.answers = lambda _: Deferred()
    asked = here.channel.ask("anything")
    await there.until(1)
    there.channel.close()
    with pytest.raises(Lost):
        await asked
    await here.until(1)
    assert (True, False) == (here.is_lost, there.is_lost)
    here.channel.send("dropped")
    with pytest.raises(Lost):
        await here.channel.ask("dropped")


@pytest_twisted.ensureDeferred
async def test_a_frame_that_makes_no_sense_ends_the_channel() -> None:
    far, near = socket.socketpair()
    end = End()
    end.channel = Channel(near, end, reactor)
    far.sendall(b"GET / HTTP/1.1\r\n\r\n")
    await end.until(1)
    assert ([], True) == (end.got, end.is_lost)
    far.close()
