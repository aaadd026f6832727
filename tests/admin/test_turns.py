from __future__ import annotations

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from ctrlserver.admin.limits import Limits
from ctrlserver.admin.turns import Turns
from tests.admin.conftest import Peer, Server

LIMITS = Limits(turn_seconds=1.0, slice_seconds=0.25, owed_seconds=10.0)


@define(eq=False)
class Busy:
    """Has some steps to do, each of which takes so many seconds."""

    name: str
    turns: Turns
    clock: Clock
    done: list[str]
    steps: int = 0
    step_seconds: float = field(default=0.25, kw_only=True)
    weight: int = field(default=1, kw_only=True)

    def carry_on(self) -> bool:
        while self.steps:
            self.steps -= 1
            self.clock.rightNow += self.step_seconds  # time goes by while the reactor is busy
            self.done.append(self.name)
            if self.steps and not self.turns.has_time():
                return True
        return False

    def asks(self, steps: int, *, had_a_slice: bool = False) -> bool:
        self.steps += steps
        return self.turns.serve(self, had_a_slice=had_a_slice)


@define(eq=False)
class Endless:
    """Has always more to do, in slices that take no time."""

    slices: int = 0
    weight: int = 1

    def carry_on(self) -> bool:
        self.slices += 1
        return True


@define
class Room:
    clock: Clock = field(factory=Clock)
    done: list[str] = field(factory=list)
    turns: Turns = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turns = Turns(self.clock, LIMITS)

    def busy(self, name: str, step_seconds: float = 0.25) -> Busy:
        return Busy(name, self.turns, self.clock, self.done, step_seconds=step_seconds)

    def next_turn(self) -> str:
        """Who had steps done in it, in order."""
        self.done.clear()
        calls, self.clock.calls = self.clock.calls, []  # so that what this turn schedules is the next one
        for call in calls:
            call.func(*call.args, **call.kw)
        return "".join(self.done)


@pytest.fixture
def room() -> Room:
    return Room()


def test_one_alone_has_the_whole_turn_at_once(room: Room) -> None:
    assert not room.busy("a").asks(6)
    assert ["a"] * 4 == room.done
    assert "aa" == room.next_turn()
    assert "" == room.next_turn()
    assert [] == room.clock.getDelayedCalls()


def test_those_that_flood_have_a_slice_each_in_turn(room: Room) -> None:
    a, b = room.busy("a"), room.busy("b")
    a.asks(10)
    b.asks(10)
    assert "baba" == room.next_turn()
    assert "baba" == room.next_turn()


def test_who_has_had_no_slice_yet_comes_before_those_that_flood(room: Room) -> None:
    a, b = room.busy("a"), room.busy("b")
    a.asks(10)
    b.asks(10)
    room.next_turn()
    assert not room.busy("c").asks(1)
    assert "cbab" == room.next_turn()


def test_who_waits_has_every_second_slice_however_many_arrive(room: Room) -> None:
    waits = room.busy("w")
    waits.asks(100)
    for arrivals in ("abcd", "efgh", "ijkl"):
        for name in arrivals:
            room.busy(name).asks(1)
        turn = room.next_turn()
        assert (4, 2) == (len(turn), turn.count("w"))


def test_of_those_that_wait_each_has_as_much_time_however_long_its_lines_take(room: Room) -> None:
    a, b = room.busy("a"), room.busy("b", step_seconds=1.5)
    a.asks(40)
    b.asks(10)
    turns = "".join(room.next_turn() for _ in range(12))
    assert 5 <= turns.count("a") / turns.count("b") <= 7


def test_one_on_the_machine_has_as_much_time_as_all_the_others_that_wait(room: Room) -> None:
    others = [room.busy(name) for name in "abcd"]
    local = room.busy("L")
    local.weight = 4
    for each in (*others, local):
        each.asks(40)
    turns = "".join(room.next_turn() for _ in range(16))
    assert 0.4 <= turns.count("L") / len(turns) <= 0.6
    assert set("abcdL") == set(turns)


def test_who_joins_those_that_wait_comes_before_one_whose_line_took_long(room: Room) -> None:
    w, b = room.busy("w"), room.busy("b", step_seconds=9.0)
    w.asks(9)
    b.asks(2)
    room.next_turn()
    assert not room.busy("j").asks(1, had_a_slice=True)
    later = "".join(room.next_turn() for _ in range(6))
    assert later.index("j") < later.index("b")


def test_who_had_a_slice_and_answered_nothing_queues_behind_a_question(room: Room) -> None:
    room.busy("w").asks(6)
    for name in "abcd":
        room.busy(name).asks(1, had_a_slice=True)
    room.busy("q").asks(1)
    assert room.next_turn().startswith("q")


def test_a_turn_has_no_more_slices_than_would_fill_it_however_short_they_are(room: Room) -> None:
    room.busy("w").asks(6)
    for name in "abcdefgh":
        room.busy(name, step_seconds=0.0).asks(1)
    assert [4, 4, 2] == [len(room.next_turn()) for _ in range(3)]


def test_within_a_turn_a_question_is_answered_at_once(room: Room) -> None:
    assert room.busy("a").asks(1)
    assert room.busy("b").asks(1)
    assert ["a", "b"] == room.done


def test_who_stands_in_a_queue_is_left_there(room: Room) -> None:
    a = room.busy("a")
    a.asks(6)
    assert not a.asks(1)
    assert "aaa" == room.next_turn()


@pytest.mark.parametrize("joins", [False, True], ids=["waits", "joins"])
def test_who_waits_is_left_there_and_joined_though_the_turn_has_time_left(room: Room, *, joins: bool) -> None:
    waits = Endless()
    assert not room.turns.serve(waits)
    room.next_turn()
    slices = waits.slices
    if joins:
        assert not room.busy("a").asks(1, had_a_slice=True)
    else:
        assert not room.turns.serve(waits)
    assert (slices, []) == (waits.slices, room.done)


def test_no_turn_is_scheduled_for_those_that_are_gone(room: Room) -> None:
    a = room.busy("a")
    a.asks(6)
    room.turns.forget(a)
    assert [] == room.clock.getDelayedCalls()


def test_after_a_stop_nobody_has_a_turn(room: Room) -> None:
    room.busy("a").asks(6)
    room.turns.stop()
    assert "" == room.next_turn()


# Beside data streams


@pytest.fixture
def shared() -> Room:
    room = Room()
    room.turns = Turns(room.clock, LIMITS, lambda: True)
    return room


def rest_of(room: Room) -> float:
    """Seconds until the next turn."""
    (call,) = room.clock.getDelayedCalls()
    return float(call.getTime() - room.clock.seconds())


def test_beside_data_streams_a_turn_is_a_quarter_of_the_time(shared: Room) -> None:
    shared.busy("a").asks(12)
    began = shared.clock.seconds()
    shared.clock.advance(rest_of(shared))
    shared.clock.advance(rest_of(shared))
    assert (12, 10.0) == (len(shared.done), shared.clock.seconds() - began)
    assert [] == shared.clock.getDelayedCalls()


def test_a_step_that_overran_leaves_the_data_streams_the_more(shared: Room) -> None:
    shared.busy("a", step_seconds=5.0).asks(2)
    assert 4 * 5.0 == rest_of(shared)


def test_a_pause_of_the_process_within_a_step_is_owed_in_part(shared: Room) -> None:
    shared.busy("a", step_seconds=3600.0).asks(2)
    assert 4 * 11.0 == rest_of(shared)


def test_beside_data_streams_a_slice_spends_its_time_however_short_it_is(shared: Room) -> None:
    served = [shared.busy("a", step_seconds=0.0).asks(1, had_a_slice=True) for _ in range(5)]
    assert [True, True, True, True, False] == served
    assert 4.0 == rest_of(shared)


def test_beside_data_streams_a_question_now_and_then_is_answered_at_once(shared: Room) -> None:
    for _ in range(20):
        assert shared.busy("q").asks(1)
        shared.clock.advance(1.0)
    assert [] == shared.clock.getDelayedCalls()


def test_a_question_has_what_is_earned_so_far_though_others_wait(shared: Room) -> None:
    shared.busy("w").asks(6)
    assert not shared.busy("p").asks(1)
    shared.clock.advance(1.0)
    assert shared.busy("q").asks(1)
    assert "wwwwq" == "".join(shared.done)


def test_those_who_wait_get_on_however_many_questions_arrive(shared: Room) -> None:
    shared.busy("w").asks(100)
    for _ in range(40):
        for name in "abcdefgh":
            shared.busy(name).asks(1)
        shared.clock.advance(1.0)
    assert len(shared.done) < 5 * shared.done.count("w")
    assert len(shared.done) * 0.25 < 0.3 * shared.clock.seconds()


# Connections that take turns


def test_a_turn_ends_after_its_time_and_the_rest_follows_in_order(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    peer = server.connect()
    assert b"" == peer.says(b"ping\n" * 3 + b"qui")
    assert "paused" == peer.transport.producerState
    peer.says(b"t")
    peer.ends()
    for _ in range(4):
        server.clock.advance(0)
    assert b"OK pong\r\n" * 3 + b"OK bye\r\n" == peer.transport.sent
    assert peer.transport.disconnecting


def test_one_turn_is_for_all_connections_together(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    one, other = server.connect(), server.connect()
    assert b"" == one.says(b"ping\n" * 2)
    assert b"" == other.says(b"ping\n")
    server.clock.advance(0)
    assert b"OK pong\r\n" * 2 == one.transport.sent
    assert b"OK pong\r\n" == other.transport.sent


def test_a_flood_of_one_connection_is_carried_out_in_slices_and_others_come_first(server: Server) -> None:
    server.bounded(turn_seconds=1.0, slice_seconds=0.1)
    for _ in range(10):
        server.stream(open=True)
    server.kick_seconds = 0.3
    one, other = server.connect(), server.connect()
    one.says(b"".join(b"kick %d\n" % number for number in range(1, 9)))
    assert [1, 2, 3, 4] == server.kicked  # alone it has the whole turn
    other.says(b"kick 9\nkick 10\n")
    server.clock.advance(0)
    server.clock.advance(0)
    assert [1, 2, 3, 4, 9, 5, 10, 6, 7, 8] == server.kicked
    assert [8, 2] == [peer.transport.sent.count(b"OK") for peer in (one, other)]


@pytest.mark.parametrize("piece", [b"\xff\xf1", b"\xff\xf4", b"\xff\xfa\xff\xf0", b" \r\0\n"])
def test_a_turn_ends_within_a_flood_that_needs_no_answer(server: Server, piece: bytes) -> None:
    server.bounded(turn_seconds=-1.0)
    one, other = server.connect(), server.connect()
    assert b"" == one.says(piece * 1000 + b"ping\n")
    assert "paused" == one.transport.producerState
    other.says(b"ping\n")
    server.clock.advance(0)
    assert b"OK pong\r\n" == other.transport.sent
    for _ in range(1000):
        server.clock.advance(0)
    assert b"OK pong\r\n" == one.transport.sent


def test_a_question_is_answered_before_lines_without_end_are_read_on(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    floods, peer = [server.connect() for _ in range(8)], server.connect()
    for flood in floods * 2:
        flood.says(b"x" * 4096)
    for _ in range(5):
        for flood in floods:
            flood.says(b"x" * 4096)
        peer.says(b"ping\n")
        server.clock.advance(0)
        assert peer.transport.sent.endswith(b"OK pong\r\n")
        peer.transport.clear()  # type: ignore[no-untyped-call]


def test_who_was_answered_reads_on_at_once_though_the_turn_is_over(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    peer = server.connect()
    peer.says(b"ping\n")
    server.clock.advance(0)
    assert b"OK pong\r\n" == peer.transport.sent
    assert "producing" == peer.transport.producerState


def test_questions_of_many_peers_share_one_walk_over_the_streams(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    walks: list[float] = []

    def dropped() -> tuple[int, int]:  # read once in each walk
        walks.append(server.clock.seconds())
        return 0, 0

    server.book.counters.drops.append(dropped)
    peers = [server.connect() for _ in range(9)]
    for peer in peers:
        peer.says(b"stats streams_total\n" * 5)
    for _ in range(9 * 5):
        server.clock.advance(0)
    assert [b"streams_total 0\r\nOK 1\r\n" * 5] * 9 == [peer.transport.sent for peer in peers]
    assert 1 == len(walks)


def test_what_one_peer_changes_and_asks_in_one_go_is_told_in_order(server: Server, peer: Peer) -> None:
    stream = server.stream(3, open=True)
    lines = peer.says(b"stats streams_open\nkick %d\nstats streams_open\n" % stream.stream).decode().splitlines()
    assert ["streams_open 1", "streams_open 0"] == [line for line in lines if line.startswith("streams_open")]
    lines = peer.says(b"stats packets\nreset\nstats packets\n").decode().splitlines()
    assert ["packets 3", "packets 3", "packets 0"] == [line for line in lines if line.startswith("packets ")]


def test_a_question_that_the_end_of_input_ends_arrives_with_that_end(server: Server, peer: Peer) -> None:
    other = server.connect()
    peer.says(b"stats packets_total")
    assert ["packets_total 0", "OK 1"] == other.asks("stats packets_total")
    server.stream(3)
    peer.ends()
    assert b"packets_total 3\r\nOK 1\r\n" == peer.transport.sent


def test_what_is_counted_between_two_questions_is_told_to_the_second(server: Server, peer: Peer) -> None:
    told: list[str] = []
    stream = server.stream(1, open=True)
    for _ in range(3):
        told += peer.asks("stats packets_total")
        stream.packets += 1
    assert ["packets_total 1", "packets_total 2", "packets_total 3"] == [line for line in told if line[:2] != "OK"]
