"""Which packets are struck, what is answered and what is counted does not depend on how a stream is cut."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ctrlserver.inject.actions import Action
from ctrlserver.inject.answers import changed
from ctrlserver.inject.arguments import Bits
from ctrlserver.inject.draws import Draws
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.wire.framing import parse_framing
from tests.inject.reference import struck_by_definition
from tests.net.injected.played import Played, PlayedLink

FRAMINGS = ("fixed:1", "fixed:5", "int8", "int32:little", "varint", "line", "delimited:0d0a", "netstring")
OPTIONS: tuple[dict[str, Any], ...] = ({}, {"keep": 3}, {"probe": True})


def frames_of(framing: str, number: int, rng: random.Random) -> list[bytes]:
    """Packets on the wire, all different where they are long enough."""
    spec = parse_framing(framing)
    carrier = spec.new()
    if spec.size is not None:
        return [b"%0*d" % (spec.size, n % 10**spec.size) for n in range(1, number + 1)]
    return [carrier.encode(b"%d" % n + b"x" * rng.choice([0, 0, 1, 7, 90])) for n in range(1, number + 1)]


def cut(stream: bytes, rng: random.Random, longest: int) -> Iterator[bytes]:
    at = 0
    while at < len(stream):
        size = rng.randint(1, longest)
        yield stream[at : at + size]
        at += size


def answer_of(action: Action, answer: bytes, seed: int, stream: int, term: int, packet: int) -> bytes:
    if isinstance(action.argument, Bits):
        draws = Draws(seed, stream, term, "answer")
        return changed(action, answer, draws.places(packet, action.argument.number, 8 * len(answer)))
    return changed(action, answer)


WHENS = ["3*", "1*", "2nd*", "7th*", "50%*", "20B*"]
ACTIONS = [
    *("ok", "swallow", "duplicate", "corrupt(2 bit)", "wrong('no')", "truncate(1)"),
    *("delay(5ms)", "delay(1ms..9ms)", "drip(2B/1ms)", "slow-read(1KiB/s)"),
]
LASTS = ["1*swallow->off", "reset", "close", "half-close", "stall", "swallow", "5th*reset", "delay(1ms)"]


def check_one(seed: int) -> None:
    """A stream of a random spec, cut at random: what is answered and counted is what the definition says."""
    rng = random.Random(seed)
    framing, mode, options = rng.choice(FRAMINGS), rng.choice(["echo", "reply", "sink"]), rng.choice(OPTIONS)
    longest = rng.choice([1, 3, 50, 1000])
    terms = [rng.choice(WHENS) + rng.choice(ACTIONS) for _ in range(rng.randrange(4))]
    last = rng.choice(LASTS)
    text = "->".join([*terms, last])
    spec = parse_spec(text)
    frames = frames_of(framing, 40, rng)
    struck = struck_by_definition(spec, seed, [len(frame) for frame in frames])
    expected, counted, answered, swallowed, duplicated, hits = b"", 0, 0, 0, 0, 0
    half = False
    end = ""
    for number, (frame, at) in enumerate(zip(frames, struck, strict=True), 1):
        action = Action("ok") if at is None else spec.terms[at].action
        name = action.name
        hits += at is not None
        if name == "stall":
            end = "stall"
            break
        counted += 1
        if name in ("reset", "close"):
            end = name
            break
        half = half or name == "half-close"
        if mode == "sink" or half:
            continue
        answer = answer_of(action, frame if mode == "echo" else b"ok", seed, 1, at or 0, number)
        answered += bool(answer)
        swallowed += not answer
        duplicated += name == "duplicate"
        expected += answer
    played = Played(framing, mode, **options)
    order = played.order(text, seed=seed)
    link = played.opened()
    link.takes = rng.choice([0, 5, 1 << 30])
    for piece in cut(b"".join(frames), rng, longest):
        link.left += piece
        if rng.random() < 0.7:
            played.read(link)
        if rng.random() < 0.3:
            played.advance(rng.choice([0.001, 0.01]))
    run_out_of(played, link, rng)
    stream = link.stream
    counters = stream.counters
    assert counted == counters.whole()
    assert hits == counters.injected == order.injection.hits.total
    unanswered = counters.unanswered
    assert swallowed == counters.swallowed
    if mode != "sink":
        assert counted == counters.replies() + swallowed + unanswered
    if end == "reset":
        assert expected.startswith(bytes(link.got))
        assert "reset" == link.did[-1]
    else:
        assert expected == bytes(link.got)
        assert duplicated == counters.duplicated
        if mode != "sink":
            assert answered == counters.replies()
    assert ("injected" if end in ("reset", "close") else None) == counters.reason
    assert half == ("end_sending" in link.did)
    if end == "stall":
        assert not played.reads(link)
        assert link.left


WAITS = ["delay(5ms)", "3rd*delay(9ms)", "drip(1B/1ms)", "slow-read(1KiB/s)", "stall"]


def check_swaps(seed: int) -> None:
    """Orders that come and go at random lose nothing, and leave the stream plain."""
    rng = random.Random(seed)
    framing, mode, longest = rng.choice(FRAMINGS), rng.choice(["echo", "reply", "sink"]), rng.choice([1, 20, 1000])
    specs = [rng.choice(WAITS) for _ in range(rng.randrange(7))]
    frames = frames_of(framing, 60, rng)
    played = Played(framing, mode, reply_buffer=rng.choice([30, 1 << 18]))
    plain = played.opened()
    link = played.opened()
    kind = type(link.stream)
    active = []
    for piece in cut(b"".join(frames), rng, longest):
        link.left += piece
        if rng.random() < 0.1 and specs:
            active.append(played.order(specs.pop(), everybody=True))
        if rng.random() < 0.05 and active:
            played.end(active.pop(rng.randrange(len(active))))
        if rng.random() < 0.2:
            link.takes = rng.choice([0, 5, 1 << 30])
        if rng.random() < 0.7:
            played.read(link)
        if rng.random() < 0.3:
            played.advance(rng.choice([0.001, 0.01]))
    for order in active:
        played.end(order)
    run_out_of(played, link, rng)
    expected = {"echo": b"".join(frames), "reply": b"ok" * 60, "sink": b""}[mode]
    assert expected == bytes(link.got)
    assert 60 == link.stream.counters.whole()
    assert b"" == link.left
    assert type(plain.stream) is kind is type(link.stream)
    assert played.reads(link)
    assert 0 == played.book.memory.held
    assert not played.streams.waiting
    assert not played.due._entries


@pytest.mark.parametrize("check", [check_one, check_swaps])
def test_what_is_answered_and_counted_does_not_depend_on_cuts_times_and_room(check: Callable[[int], None]) -> None:
    for seed in range(60):
        try:
            check(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


def streams_of(spec: str, seed: int, cutting: int, numbers: list[int], framing: str) -> tuple[list[bytes], int]:
    """What the peers of some streams get, whose chunks come in turns, cut by a generator of its own seed."""
    rng = random.Random(cutting)
    played = Played(framing)
    order = played.order(spec, seed=seed)
    links = [played.opened() for _ in numbers]
    pieces = []
    for link, number in zip(links, numbers, strict=True):
        stream = b"".join(frames_of(framing, number, random.Random(1)))
        pieces.append([(link, piece) for piece in cut(stream, rng, rng.choice([7, 100, 3000]))][::-1])
    while pieces:
        turn = rng.randrange(len(pieces))
        link, piece = pieces[turn].pop()
        if not pieces[turn]:
            del pieces[turn]
        played.receive(link, piece)
        if rng.random() < 0.1:
            played.advance(0.001)
    for link in links:
        run_out_of(played, link, rng)
    return [bytes(link.got) for link in links], order.injection.hits.total


@pytest.mark.parametrize("framing", ["fixed:5", "line", "netstring"])
def test_every_seventh_of_50_streams_is_swallowed_exactly_however_they_are_cut(framing: str) -> None:
    numbers = [random.Random(7).randint(1, 90) for _ in range(50)]
    got, hits = streams_of("7th*swallow", 0, 3, numbers, framing)
    assert sum(number // 7 for number in numbers) == hits
    for number, answers in zip(numbers, got, strict=True):
        frames = frames_of(framing, number, random.Random(1))
        assert b"".join(frame for at, frame in enumerate(frames, 1) if at % 7) == answers


@pytest.mark.parametrize("spec", ["20%*swallow", "7th*ok->20%*corrupt->3*delay(1ms..2ms)->9th*duplicate"])
def test_the_same_seed_strikes_the_same_packets_cut_differently_20_times(spec: str) -> None:
    expected = streams_of(spec, 11, 0, [40, 30, 1], "line")
    for cutting in range(1, 21):
        assert expected == streams_of(spec, 11, cutting, [40, 30, 1], "line")
    assert expected != streams_of(spec, 12, 0, [40, 30, 1], "line")


def run_out_of(played: Played, link: PlayedLink, rng: random.Random) -> None:
    """Give the socket room and the stream time until nothing more comes of it."""
    quiet = 0
    while quiet < 20:
        before = len(link.got), len(link.left), link.stream.counters.bytes
        if link.stream.counters.state != "open":
            return
        if link.did and [did for did in link.did if did in ("hold", "release", "rest")][-1] == "hold":
            link.takes = rng.choice([1, 10, 1000])
            link.stream.writable(played.now)
        else:
            link.takes = max(link.takes, 1)
        played.read(link)
        played.advance(rng.choice([0.01, 0.1]))
        quiet = quiet + 1 if before == (len(link.got), len(link.left), link.stream.counters.bytes) else 0


@pytest.mark.parametrize(
    ("specs", "got", "totals"),
    [
        (["duplicate", "duplicate"], b"abcdabcdabcdefghefghefgh", (2, 2, 0, 0, 4)),
        (["duplicate", "swallow"], b"", (2, 0, 2, 0, 0)),
        (["duplicate", "wrong('no')"], b"nononono", (2, 2, 0, 0, 2)),
        (["duplicate", "truncate(1)"], b"aaee", (2, 2, 0, 0, 2)),
        (["1*ok->duplicate", "1*swallow->drip(3B/1ms)"], b"efghefgh", (2, 1, 1, 0, 1)),
    ],
)
def test_of_several_injections_answers_on_the_wire_are_replies_and_duplicates(
    specs: list[str], got: bytes, totals: tuple[int, ...]
) -> None:
    played = Played("fixed:4")
    for spec in specs:
        played.order(spec)
    link = played.opened()
    played.receive(link, b"abcdefgh")
    played.advance(1)
    assert got == bytes(link.got)
    assert totals == played.totals()


def test_a_duplicate_that_did_not_leave_whole_is_none() -> None:
    played = Played("fixed:4")
    played.order("duplicate")
    link = played.opened()
    link.takes = 14
    played.receive(link, b"abcdefgh")
    link.stream.abort("kicked", played.now)
    assert b"abcdabcdefghef" == bytes(link.got)
    assert (2, 2, 0, 0, 1) == played.totals()
