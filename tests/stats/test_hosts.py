from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.addresses import hosts_of
from ctrlserver.stats.book import Book
from ctrlserver.stats.counters import Counters, Origin, StreamCounters
from ctrlserver.stats.hosts import Host, Hosts
from ctrlserver.stats.overs import OVER, Overs

DATA = Origin("data", "tcp", "line", "sink")
ECHO = Origin("echo", "tcp", "line", "echo")


class Server:
    """Opens and closes streams as the book does."""

    def __init__(self, kept: int = 1000) -> None:
        self.counters = Counters()
        self.hosts = Hosts(kept)

    def open(self, peer: str, origin: Origin = DATA) -> StreamCounters:
        stream = self.counters.opened(origin, peer, 0.0)
        self.hosts.opened(stream)
        return stream

    def close(self, stream: StreamCounters, packets: int = 1) -> None:
        stream.packets, stream.bytes = packets, 10 * packets
        self.counters.closed(stream, "eof")
        self.hosts.closed(stream)

    def over(self, *peers: str) -> None:
        overs = Overs(0, DATA, "eof")
        self.hosts.over([(0.0, OVER, overs, place, host, 1, 10) for place, host in enumerate(hosts_of(peers))])

    def sums(self) -> list[tuple[str, str, int, int, int]]:
        return [(each.host, each.listener, each.streams, each.packets, each.bytes) for each in self.hosts.sums()]


def test_closed_streams_are_summed_by_host_and_listener() -> None:
    server = Server()
    for peer, origin in [("10.0.0.1:1", DATA), ("10.0.0.1:2", DATA), ("10.0.0.1:3", ECHO), ("[::1]:4", DATA)]:
        server.close(server.open(peer, origin), 3)
    server.open("10.0.0.1:5")
    expected = [("10.0.0.1", "data", 2, 6, 60), ("10.0.0.1", "echo", 1, 3, 30), ("::1", "data", 1, 3, 30)]
    assert expected == sorted(server.sums())


def test_the_open_streams_of_a_host_are_its_own() -> None:
    server = Server()
    first, _, third = server.open("10.0.0.1:1"), server.open("10.0.0.2:1"), server.open("10.0.0.1:2")
    assert [first, third] == server.hosts.open_of("10.0.0.1")
    server.close(first)
    assert [third] == server.hosts.open_of("10.0.0.1")
    server.close(third)
    assert [] == server.hosts.open_of("10.0.0.1")


def test_one_address_may_have_a_stream_at_each_of_several_listeners() -> None:
    server = Server()
    first, second, third = [server.open("10.0.0.1:1") for _ in range(3)]
    assert [first, second, third] == server.hosts.open_of("10.0.0.1:1")
    server.close(first)
    assert [second, third] == server.hosts.open_of("10.0.0.1:1")
    fourth = server.open("10.0.0.1:1")
    server.close(third)
    assert [second, fourth] == server.hosts.open_of("10.0.0.1:1")
    server.close(second)
    assert [fourth] == server.hosts.open_of("10.0.0.1:1")


def test_peers_without_an_address_are_a_host_of_their_own() -> None:
    server = Server()
    server.close(server.open("unix"))
    assert [("unix", "data", 1, 1, 10)] == server.sums()


def test_of_the_hosts_without_open_streams_the_longest_idle_is_forgotten() -> None:
    server = Server(kept=2)
    for host in (1, 2, 1, 3):
        server.close(server.open(f"10.0.0.{host}:1"))
    server.close(server.open("10.0.0.4:1"))
    server.open("10.0.0.4:2")
    server.close(server.open("10.0.0.5:1"))
    assert {"10.0.0.3", "10.0.0.4", "10.0.0.5"} == {host for host, *_ in server.sums()}


class Unwalked(dict[str, Host]):
    """Hosts that are looked up, and never walked over."""

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("a walk over all hosts")

    values = items = keys = __iter__  # type: ignore[assignment]


def test_a_stream_that_has_come_and_gone_counts_with_its_host_which_is_open_idle_or_new() -> None:
    server = Server(kept=1)
    server.open("10.0.0.1:1")
    server.over("10.0.0.1:2", "10.0.0.2:1", "10.0.0.2:2")
    assert [("10.0.0.1", "data", 1, 1, 10), ("10.0.0.2", "data", 2, 2, 20)] == server.sums()
    server.over("10.0.0.3:1")
    assert [("10.0.0.1", "data", 1, 1, 10), ("10.0.0.3", "data", 1, 1, 10)] == server.sums()
    assert 1 == len(server.hosts.open_of("10.0.0.1"))


def test_the_sums_are_given_without_a_walk_over_the_open_hosts() -> None:
    server = Server()
    server.hosts._busy = Unwalked()
    server.close(server.open("10.0.0.1:1"))
    for host in range(2, 9):
        server.open(f"10.0.0.{host}:1")
    assert [("10.0.0.1", "data", 1, 1, 10)] == server.sums()
    assert 1 == len(server.hosts.sums())


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=30))
def test_the_streams_of_a_host_are_those_that_a_walk_over_all_finds(steps: list[tuple[int, int, bool]]) -> None:
    book = Book(version="1", now=0.0, wall=0.0)
    opened = [book.stream_opened(DATA, f"10.0.0.{host}:{port}", 0.0) for host, port, _ in steps]
    for stream, (_, _, closes) in zip(opened, steps, strict=True):
        if closes:
            book.stream_closed(stream, "eof", 0, 0.0)
    shown = book.streams()
    for asked in ("10.0.0.1", "10.0.0.2:1", "nowhere"):
        found = [each.stream for each in shown if asked in (each.peer, each.peer.rpartition(":")[0])]
        assert found == [each.stream for each in book.streams(peer=asked)]
