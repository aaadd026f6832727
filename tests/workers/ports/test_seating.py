"""Seats over all workers: each is left once, however late it is told."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.addresses import host_of
from ctrlserver.net.gate import Gate, Seats
from ctrlserver.workers.ports.seating import Passed, Released, Releases, Seating


def test_a_seat_is_left_when_the_worker_tells_that_its_stream_is_over_and_not_twice() -> None:
    seats = Seats()
    gate, seating = Gate(seats, per_peer=1), Seating(seats)
    worker = Seats()
    releases = Releases(worker)
    passed = Passed(worker, listener="one", releases=releases)
    seating.handed(1, "one", gate, "10.0.0.1:5", proxied=False)
    passed.enter("10.0.0.1:5")
    seating.released(1, releases.take())
    assert "max-streams-per-peer" == gate.refuses("10.0.0.1:6")
    passed.leave("10.0.0.1:5")
    for _ in range(2):
        seating.released(1, releases.take())
    assert (0, None) == (seats.taken, gate.refuses("10.0.0.1:6"))
    seating.released(1, Released({"one": ["10.0.0.1:5"]}))
    assert 0 == seats.taken


@given(st.lists(st.tuples(st.sampled_from("hhhrrl"), st.integers(1, 2), st.integers(0, 3), st.integers(1, 3))))
def test_each_seat_is_left_by_its_own_gate_whoever_comes_again_and_whatever_is_told_twice(
    happens: list[tuple[str, int, int, int]],
) -> None:
    seats = Seats()
    gates = [Gate(seats, per_peer=number // 2) for number in range(4)]
    seating = Seating(seats)
    taken: list[tuple[int, str, str, Gate]] = []
    for what, worker, number, many in happens:
        listener, peers = "one" if number % 2 else "two", [f"10.0.0.{each}:5" for each in range(many)]
        if what == "h":
            taken.append((worker, listener, peers[-1], gates[number]))
            seating.handed(*taken[-1][:2], gates[number], peers[-1], proxied=False)
        elif what == "r":
            seating.released(worker, Released({listener: peers}))
            for peer in peers:
                held = [at for at, seat in enumerate(taken) if seat[:3] == (worker, listener, peer)]
                if held:
                    del taken[held[-1]]
        else:
            seating.lost(worker)
            taken = [seat for seat in taken if seat[0] != worker]
        assert len(taken) == seats.taken
        for gate in gates:
            hosts = [host_of(peer) for *_, peer, of in taken if of is gate and gate.per_peer]
            assert gate._streams_of == Counter(hosts)


def test_a_worker_rejects_nobody_whom_the_parent_admitted() -> None:
    worker = Seats(limit=1, taken=1, draining=True)
    assert Passed(worker, releases=Releases(worker)).refuses("10.0.0.1:5") is None


def test_the_gate_that_gave_a_seat_gets_it_back_after_a_reload() -> None:
    seats = Seats()
    before, after, seating = Gate(seats, per_peer=2), Gate(seats, per_peer=2), Seating(seats)
    seating.handed(1, "one", before, "10.0.0.1:5", proxied=False)
    seating.handed(1, "one", after, "10.0.0.1:6", proxied=False)
    seating.released(1, Released({"one": ["10.0.0.1:5"]}))
    assert (False, True) == (bool(before._streams_of), bool(after._streams_of))


def test_connections_through_a_proxy_count_from_the_hand_over_and_as_the_worker_tells() -> None:
    seats = Seats()
    seating = Seating(seats)
    for _ in range(3):
        seating.handed(2, "one", Gate(seats), "10.0.0.1:5", proxied=True)
    assert 3 == seats.taken
    seating.released(2, Released(proxied_taken=2, proxied_seats=1))
    assert 2 == seats.taken, "one that it has, and one that is on its way"
    seating.released(2, Released(proxied_taken=3, proxied_seats=0))
    assert 0 == seats.taken


def test_a_worker_that_is_gone_has_no_seats() -> None:
    seats = Seats()
    gate, seating = Gate(seats, per_peer=9), Seating(seats)
    for worker in (1, 2):
        seating.handed(worker, "one", gate, f"10.0.0.1:{worker}", proxied=False)
        seating.handed(worker, "two", gate, "10.0.0.1:9", proxied=True)
    seating.lost(1)
    assert 2 == seats.taken
    seating.lost(1)
    seating.lost(2)
    assert 0 == seats.taken
