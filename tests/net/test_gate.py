from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.net.gate import Gate, Reserve, Seats, room_for_admin, seats_for


def networks(*texts: str) -> list[object]:
    return [ip_network(text) for text in texts]


def test_a_gate_without_bounds_lets_everyone_in() -> None:
    gate = Gate(Seats())
    for _ in range(1000):
        assert gate.refuses("10.0.0.1:5000") is None
        gate.enter("10.0.0.1:5000")


def test_the_seats_of_a_server_are_shared_by_its_listeners_and_free_again_after_a_leave() -> None:
    seats = Seats(limit=2)
    first, second = Gate(seats), Gate(seats)
    first.enter("a:1")
    second.enter("unix")
    assert ("max-streams", "max-streams") == (first.refuses("b:1"), second.refuses("unix"))
    assert "unix" == seats.last_refused
    second.leave("unix")
    assert first.refuses("b:1") is None


def test_a_server_that_drains_lets_nobody_in_whatever_room_there_is() -> None:
    seats = Seats(limit=2)
    gate = Gate(seats)
    seats.draining = True
    assert "draining" == gate.refuses("a:1")
    seats.draining = False
    assert gate.refuses("a:1") is None


def test_a_host_has_its_number_of_streams_and_takes_nothing_from_the_others() -> None:
    gate = Gate(Seats(), per_peer=2)
    for peer in ("[::1]:1", "[::1]:2", "10.0.0.1:1"):
        assert gate.refuses(peer) is None
        gate.enter(peer)
    assert "max-streams-per-peer" == gate.refuses("[::1]:3")
    assert gate.refuses("10.0.0.1:2") is None
    gate.leave("[::1]:1")
    assert gate.refuses("[::1]:3") is None


def test_peers_without_an_address_are_not_one_host() -> None:
    gate = Gate(Seats(), per_peer=1, networks=networks("10.0.0.0/8"))  # type: ignore[arg-type]
    gate.enter("unix")
    assert gate.refuses("unix") is None
    gate.leave("unix")


@pytest.mark.parametrize(
    ("expected", "peer"),
    [
        (None, "10.1.2.3:5000"),
        ("not-allowed", "11.1.2.3:5000"),
        (None, "[fd00::1]:5000"),
        (None, "[fd00::1%eth0]:5000"),
        ("not-allowed", "[fe80::1%eth0]:5000"),
        (None, "[::ffff:10.1.2.3]:5000"),
        ("not-allowed", "[::ffff:11.1.2.3]:5000"),
        (None, "192.0.2.7:1"),
        ("not-allowed", "192.0.2.8:1"),
    ],
)
def test_only_the_allowed_networks_come_in(expected: str | None, peer: str) -> None:
    gate = Gate(Seats(), networks=networks("10.0.0.0/8", "fd00::/8", "192.0.2.7"))  # type: ignore[arg-type]
    assert expected == gate.refuses(peer)


@given(st.lists(st.sampled_from(["a:1", "a:2", "b:1", "unix"])))
def test_nothing_is_left_of_streams_that_are_over(peers: list[str]) -> None:
    seats = Seats(limit=1000)
    gate = Gate(seats, per_peer=1)
    for peer in peers:
        gate.enter(peer)
    assert seats.taken == len(peers)
    for peer in peers:
        gate.leave(peer)
    assert (0, {}) == (seats.taken, gate._streams_of)


@pytest.mark.parametrize(
    ("expected", "asked", "descriptors"),
    [(960, None, 1024), (64, None, 128), (32, None, 64), (1, None, 1), (10, 10, 1024), (960, 5000, 1024)],
)
def test_descriptors_are_kept_back_for_the_admin_port(expected: int, asked: int | None, descriptors: int) -> None:
    assert expected == seats_for(asked, descriptors, in_use=15)


@pytest.mark.parametrize(("expected", "in_use"), [(192, 15), (192, 47), (191, 48), (144, 95), (1, 255)])
def test_what_many_listeners_hold_is_not_taken_from_what_is_kept_for_the_admin_port(expected: int, in_use: int) -> None:
    assert expected == seats_for(None, 256, in_use)


def test_admin_connections_past_their_room_take_seats_and_give_them_back() -> None:
    reserve = Reserve(Seats(limit=3), room=2)
    assert [True] * 5 + [False] == [reserve.enter() for _ in range(6)]
    assert (3, "max-streams") == (reserve.seats.taken, Gate(reserve.seats).refuses("a:1"))
    for _ in range(3):
        reserve.leave()
    assert (0, 2, None) == (reserve.seats.taken, reserve.taken, Gate(reserve.seats).refuses("a:1"))
    for _ in range(2):
        reserve.leave()
    assert (0, 0) == (reserve.seats.taken, reserve.taken)


def test_where_streams_have_all_seats_admin_connections_have_their_room_and_the_spare_ones_more() -> None:
    reserve = Reserve(Seats(limit=1, taken=1), room=2)
    assert [True, True, False] == [reserve.enter() for _ in range(3)]
    assert [True, True, False] == [reserve.enter(2) for _ in range(3)]
    assert not reserve.enter()


@given(st.integers(1, 10_000), st.integers(3, 2_000))
def test_all_streams_and_the_room_for_admin_fit_into_the_descriptors(descriptors: int, in_use: int) -> None:
    seats = seats_for(None, descriptors, in_use)
    room = room_for_admin(descriptors, seats, in_use)
    assert room >= 1
    assert descriptors < in_use + 18 or seats + in_use + room <= descriptors - 16
