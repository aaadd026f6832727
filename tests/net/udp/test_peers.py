"""The table of peers without a socket: who has a stream, until when, and who shares one."""

from __future__ import annotations

import time

import pytest
from attrs import evolve

from ctrlserver.net.terms import DatagramTerms, Terms
from ctrlserver.net.udp.peers import SWEEP_SECONDS, Peers
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Origin
from ctrlserver.wire.datagram import DATAGRAM

ONE, OTHER, THIRD = ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3)


@pytest.fixture
def peers() -> Peers:
    """A table for two peers, which end after 10 s."""
    book = Book(version="test", now=0.0, wall=time.time())
    terms = Terms(book, Origin("data", "udp", "datagram", "sink"), DATAGRAM, probe=True)
    return Peers(DatagramTerms(terms, idle_timeout=10.0, max_streams=2), now=0.0)


def test_a_stream_begins_when_its_first_datagram_was_seen_and_is_as_old_as_its_last(peers: Peers) -> None:
    counters = peers.open(ONE, now=2.0, since=1.0).counters
    assert 1.0 == counters.first
    assert 2.0 == counters.last
    assert "127.0.0.1:1" == counters.peer


def test_peers_beyond_the_table_share_one_stream_that_is_not_probed(peers: Peers) -> None:
    streams = [peers.open(address, 1.0, 1.0) for address in (ONE, OTHER)]
    others = peers.open(THIRD, 1.0, 1.0)
    assert others is peers.open(("127.0.0.1", 4), 1.0, 1.0)
    assert "*" == others.counters.peer
    assert others.counters.probing is None
    assert all(stream.counters.probing is not None for stream in streams)


def test_a_closed_stream_is_in_no_table_and_is_closed_once(peers: Peers) -> None:
    stream = peers.open(ONE, 1.0, 1.0)
    stream.name = b"raw address"
    peers.by_name[stream.name] = stream
    stream.abort("kicked", 2.0)
    stream.abort("drain", 3.0)
    assert {} == peers.by_address
    assert {} == peers.by_name
    assert "kicked" == stream.counters.reason


def test_a_place_in_the_table_is_free_again_after_a_close(peers: Peers) -> None:
    first = peers.open(ONE, 1.0, 1.0)
    peers.open(OTHER, 1.0, 1.0)
    first.abort("kicked", 2.0)
    assert "127.0.0.1:3" == peers.open(THIRD, 2.0, 2.0).counters.peer


def test_the_stream_that_peers_share_takes_no_place(peers: Peers) -> None:
    first, _, _ = [peers.open(address, 1.0, 1.0) for address in (ONE, OTHER, THIRD)]
    first.abort("kicked", 2.0)
    assert "127.0.0.1:3" == peers.open(THIRD, 2.0, 2.0).counters.peer


def test_a_bound_holds_for_all_who_share_it_and_is_told_what_they_have(peers: Peers) -> None:
    elsewhere, here = 1, [0]

    def told(number: int) -> int:
        here.append(number)
        return number + elsewhere

    shared = Peers(evolve(peers.options, with_others=told), now=0.0)
    stream = shared.open(ONE, 1.0, 1.0)
    assert "*" == shared.open(OTHER, 1.0, 1.0).counters.peer
    assert 1 == here[-1]
    stream.abort("kicked", 2.0)
    assert 0 == here[-1]


def test_a_sweep_ends_the_streams_that_were_silent_for_the_idle_timeout(peers: Peers) -> None:
    peers.open(ONE, 1.0, 1.0)
    peers.open(OTHER, 2.0, 2.0)
    peers.sweep(11.0)
    assert [OTHER] == list(peers.by_address)


def test_a_sweep_soon_after_another_does_nothing(peers: Peers) -> None:
    peers.open(ONE, 1.0, 1.0)
    peers.sweep(10.9)
    peers.sweep(10.9 + SWEEP_SECONDS / 2)
    assert [ONE] == list(peers.by_address)
