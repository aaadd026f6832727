from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ctrlserver.client.connect import TARGET_RESET
from ctrlserver.load.opening.greeting import Greeting, await_greetings
from ctrlserver.load.streams.outgoing import Conversation
from ctrlserver.wire.framing import parse_framing
from tests.lanes import Bench
from tests.servers import reset_at_close


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def greeted(bench: Bench, spec: str, *chunks: bytes) -> list[str | None]:
    """What is told of a greeting that comes in these chunks."""
    told: list[str | None] = []
    greeting = Greeting(bench.ours, bench.lane, parse_framing(spec), told.append)
    greeting.begin()
    for chunk in chunks:
        bench.answer(chunk)
    greeting.too_late(5)
    return told


@pytest.mark.parametrize(
    ("spec", "chunks"), [("line", [b"220 mail ready\r\n"]), ("line", [b"22", b"0\n"]), ("fixed:4", [b"abcd"])]
)
def test_one_whole_packet_is_the_greeting_however_it_is_cut(bench: Bench, spec: str, chunks: list[bytes]) -> None:
    assert [None] == greeted(bench, spec, *chunks)


@pytest.mark.parametrize(
    ("spec", "chunk", "words"),
    [
        ("line", b"220-a\r\n220 b\r\n", "it is 2 packets of framing line, not 1"),
        ("line", b"220 a\r\n2", "it is 1 packet and 1 byte of framing line, not 1"),
        ("netstring", b"HTTP/1.1 400\r\n", "the greeting breaks framing netstring: "),
        ("line", b"220 a", 'no greeting within 5 s (--greeting line); it said "220 a"'),
    ],
)
def test_what_is_not_exactly_one_packet_is_told_with_what_was_said(
    bench: Bench, spec: str, chunk: bytes, words: str
) -> None:
    (problem,) = greeted(bench, spec, chunk)
    assert problem is not None
    assert words in problem
    assert "; it said" in problem


def test_a_reset_before_the_greeting_is_told_in_the_words_of_one_at_connect(bench: Bench) -> None:
    told: list[str | None] = []
    greeting = Greeting(bench.ours, bench.lane, parse_framing("line"), told.append)
    greeting.begin()
    reset_at_close(bench.theirs)
    bench.theirs.close()
    bench.lane.doRead()
    assert [TARGET_RESET] == told


def test_a_greeting_that_came_during_a_pause_of_the_process_is_in_time(bench: Bench) -> None:
    clock, heard = Clock(), list[None]()
    stream = cast("Conversation", SimpleNamespace(socket=bench.ours))
    greeted = await_greetings(clock, bench.lane, [stream], parse_framing("line"), 5.0)
    awaited = Deferred.fromCoroutine(greeted)
    clock.advance(100.0)
    bench.answer(b"220 ready\r\n")
    awaited.addCallback(heard.append)
    assert ([None], []) == (heard, clock.getDelayedCalls())


def test_a_target_that_closes_before_its_greeting_is_told(bench: Bench) -> None:
    told: list[str | None] = []
    Greeting(bench.ours, bench.lane, parse_framing("line"), told.append).begin()
    bench.theirs.close()
    bench.turn(lambda: told)
    assert ["the target closed the connection before its greeting was whole"] == told
