"""Seats over all workers: each is left once, however late it is told."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.addresses import host_of
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.workers.ports.seating import Passed, Released, Releases, Seating


def told(releases: Releases, seating: Seating, taken: int) -> None:
    """The parent hears what there is to tell."""
    seating.released(1, releases.take(taken))


def test_a_seat_is_left_when_the_worker_tells_that_its_stream_is_over_and_not_twice() -> None:
    seats = Seats()
    gate, seating = Gate(seats, per_peer=1), Seating(seats)
    releases = Releases(Seats())
    passed = Passed(releases.seats, 1, listener="one", releases=releases)
    seating.handed(1, "one", gate, "10.0.0.1:5")
    passed.enter("10.0.0.1:5")
    told(releases, seating, taken=1)
    assert "max-streams-per-peer" == gate.refuses("10.0.0.1:6")
    passed.leave("10.0.0.1:5")
    for _ in range(2):
        told(releases, seating, taken=1)
    assert (0, None) == (seats.taken, gate.refuses("10.0.0.1:6"))
    seating.released(1, Released(1, 0, {"one": ["10.0.0.1:5"]}))
    assert (0, None) == (seats.taken, gate.refuses("10.0.0.1:6"))


Happens = st.tuples(st.sampled_from("hhhttool"), st.integers(1, 2), st.integers(0, 3), st.integers(1, 3))


@given(st.lists(Happens))
def test_each_stream_is_left_by_its_own_gate_whoever_comes_again_and_seats_are_those_that_are_handed_or_held(
    happens: list[tuple[str, int, int, int]],
) -> None:
    seats = Seats()
    gates = [Gate(seats, per_peer=number // 2) for number in range(4)]
    seating = Seating(seats)
    workers = {number: Releases(Seats()) for number in (1, 2)}
    on_the_way, taken = Counter[int](), Counter[int]()
    counted: list[tuple[int, str, str, Gate]] = []
    for what, worker, number, many in happens:
        listener, peers = "one" if number % 2 else "two", [f"10.0.0.{each}:5" for each in range(many)]
        releases = workers[worker]
        if what == "h":
            seating.handed(worker, listener, gates[number], peers[-1])
            on_the_way[worker] += 1
            if gates[number].per_peer:
                counted.append((worker, listener, peers[-1], gates[number]))
        elif what == "t" and on_the_way[worker]:
            on_the_way[worker] -= 1
            taken[worker] += 1
            releases.seats.taken += 1
        elif what == "o" and releases.seats.taken:
            releases.seats.taken -= 1
            for peer in peers:
                releases.over(listener, peer)
                held = [at for at, seat in enumerate(counted) if seat[:3] == (worker, listener, peer)]
                if held:
                    del counted[held[-1]]
        elif what == "l":
            seating.lost(worker)
            workers[worker], on_the_way[worker], taken[worker] = Releases(Seats()), 0, 0
            counted = [seat for seat in counted if seat[0] != worker]
        seating.released(worker, workers[worker].take(taken[worker]))
        assert sum(each.seats.taken for each in workers.values()) + sum(on_the_way.values()) == seats.taken
        for gate in gates:
            hosts = [host_of(peer) for *_, peer, of in counted if of is gate]
            assert gate._streams_of == Counter(hosts)


def test_a_worker_rejects_nobody_whom_the_parent_admitted() -> None:
    worker = Seats(limit=1, taken=1, draining=True)
    assert Passed(worker, releases=Releases(worker)).refuses("10.0.0.1:5") is None


def test_who_is_over_is_told_only_where_the_parent_counts_by_peer() -> None:
    releases = Releases(Seats())
    for per_peer in (0, 3):
        passed = Passed(releases.seats, per_peer, listener="one", releases=releases)
        passed.enter("10.0.0.1:5")
        passed.leave("10.0.0.1:5")
        assert Released(9, 0, {"one": ["10.0.0.1:5"]} if per_peer else {}) == releases.take(9)


def test_the_gate_that_counted_a_stream_is_told_after_a_reload() -> None:
    seats = Seats()
    before, after, seating = Gate(seats, per_peer=2), Gate(seats, per_peer=2), Seating(seats)
    seating.handed(1, "one", before, "10.0.0.1:5")
    seating.handed(1, "one", after, "10.0.0.1:6")
    seating.released(1, Released(2, 1, {"one": ["10.0.0.1:5"]}))
    assert (False, True) == (bool(before._streams_of), bool(after._streams_of))


def test_connections_have_seats_from_the_hand_over_on_and_as_the_worker_tells() -> None:
    seats = Seats()
    seating = Seating(seats)
    for _ in range(3):
        seating.handed(2, "one", Gate(seats), "10.0.0.1:5")
    assert 3 == seats.taken
    seating.released(2, Released(taken=2, seats=1))
    assert 2 == seats.taken, "one that it has, and one that is on its way"
    seating.released(2, Released(taken=3, seats=0))
    assert 0 == seats.taken


def test_what_a_worker_closes_because_it_knows_no_such_listener_is_counted_no_more() -> None:
    seats = Seats()
    gate, seating = Gate(seats, per_peer=1), Seating(seats)
    for _ in range(2):
        seating.handed(1, "one", gate, "10.0.0.1:5")
        seating.released(1, Released(9, 0, {"": ["10.0.0.2:5", "10.0.0.1:5"]}))
        assert (0, None) == (seats.taken, gate.refuses("10.0.0.1:6"))


def test_what_waits_for_its_listener_in_a_worker_has_a_seat() -> None:
    seats = Seats()
    seating, releases = Seating(seats), Releases(Seats())
    seating.handed(1, "one", Gate(seats), "10.0.0.1:5")
    seating.released(1, releases.take(1, waiting=1))
    assert 1 == seats.taken


def test_a_worker_that_is_gone_has_no_seats() -> None:
    seats = Seats()
    gate, seating = Gate(seats, per_peer=9), Seating(seats)
    for worker in (1, 2):
        seating.handed(worker, "one", gate, f"10.0.0.1:{worker}")
        seating.handed(worker, "two", Gate(seats), "10.0.0.1:9")
    seating.lost(1)
    assert 2 == seats.taken
    assert {"10.0.0.1": 1} == gate._streams_of
    seating.lost(1)
    seating.lost(2)
    assert (0, {}) == (seats.taken, gate._streams_of)
