"""Loads that several servers share: small real ones behind one port, their admin ports asked as one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted

from ctrlserver.client.target import parse_admin, parse_target
from ctrlserver.errors import UsageError
from ctrlserver.load.results.result import Result
from tests.load.asking import options_for
from tests.peers import Admin, Counting, Source
from tests.runs import good, load
from tests.servers import Servers, refusing


class Both:
    """Two servers behind one port, each with streams before the load, and one more than the other."""

    def __init__(self, servers: Servers, other: Servers) -> None:
        self.each = servers, other
        self.admin = servers.listen(Admin), other.listen(Admin)

    async def warm(self) -> None:
        """Three streams: two on the first server, and one on the other."""
        await self.load(Counting, packets=9, streams=3)

    async def load(self, protocol: Any, **flags: Any) -> Result:
        target = self.each[0].listen_in_turn(protocol, *self.each)
        return await load(target, **{"admin": self.admin, **flags})

    @property
    def received(self) -> list[int]:
        """Packets, of streams but for those before the load."""
        first, other = self.each
        return [sum(stream.packets for stream in each) for each in (first.streams[2:], other.streams[1:])]


@pytest_twisted.async_yield_fixture
async def both(servers: Servers) -> AsyncIterator[Both]:
    other = Servers()
    made = Both(servers, other)
    await made.warm()
    yield made
    await other.close()


@pytest_twisted.ensureDeferred
async def test_the_streams_of_all_servers_are_compared_and_their_counts_added(both: Both) -> None:
    both.each[1].version = "9.9.8"
    result = good(await both.load(Counting, packets=1003, streams=5))
    assert result.received is not None
    assert (True, 1003) == (result.reconciled, result.received.packets)
    assert [0, 0, 0, 0, 0] == [stream.packets - (stream.received_packets or 0) for stream in result.streams]
    assert 1003 == sum(both.received)
    assert all(both.received)
    assert [target.text for target in both.admin] == result.options["admin"]
    assert "9.9.9, 9.9.8" == result.environment.server


@pytest_twisted.ensureDeferred
async def test_a_packet_that_one_of_the_servers_did_not_count_is_a_difference(both: Both) -> None:
    def one_less(record: dict[str, Any]) -> None:
        if record["stream"] == 2:
            record["packets"] -= 1

    both.each[1].tamper = one_less
    result = good(await both.load(Counting, packets=1003, streams=5), 3)
    assert result.difference is not None
    assert result.difference.endswith("1 packet fewer, the same bytes")


@pytest_twisted.ensureDeferred
async def test_closed_streams_that_no_server_shows_are_compared_in_the_sums_of_all(both: Both) -> None:
    for each in both.each:
        each.closed_kept = 0
    result = good(await both.load(Source, mode="receive", packets=100, streams=4))
    assert (True, 100) == (result.reconciled, result.received and result.received.packets)


@pytest_twisted.ensureDeferred
async def test_each_server_ends_its_own_streams_of_a_download(both: Both) -> None:
    result = good(await both.load(Source, mode="receive", duration=0.2, streams=5))
    assert (True, {"ended"}) == (result.reconciled, {stream.reason for stream in result.streams})
    kicked = [sorted(each for each in server.asked if each.startswith("kick ")) for server in both.each]
    assert [["kick 3 json", "kick 4 json", "kick 5 json"], ["kick 2 json", "kick 3 json"]] == kicked


@pytest_twisted.ensureDeferred
async def test_all_servers_that_cannot_be_asked_are_named_and_nothing_is_sent(both: Both) -> None:
    gone = refusing(), refusing()
    result = good(await both.load(Counting, packets=5, admin=(both.admin[0], *gone)), 1)
    assert result.error is not None
    words = [
        f"cannot connect to the admin port {each.text}: connection refused: nothing listens there" for each in gone
    ]
    assert "; ".join(words) == result.error
    assert (0, [0, 0]) == (result.sent.packets, both.received)


@pytest_twisted.ensureDeferred
async def test_a_server_that_cannot_be_asked_any_more_at_the_end_is_named(both: Both) -> None:
    class Last(Counting):
        def connectionMade(self) -> None:
            super().connectionMade()
            both.each[1].version = ""
            both.each[1].answer = lambda _: (None, None)  # type: ignore[method-assign, assignment]

    result = good(await both.load(Last, packets=10), 1)
    words = 'is not a ctrlserver admin port: it answered "version json" with no version'
    assert (None, f"{both.admin[1].text} {words}") == (result.reconciled, result.error)


@pytest_twisted.ensureDeferred
async def test_one_server_at_two_addresses_is_refused_before_anything_is_sent(both: Both) -> None:
    for server, instance in zip(both.each, ("a1", "b2"), strict=True):
        server.instance = instance
    good(await both.load(Counting, packets=5, streams=2))
    other = both.each[1].listen(Admin)
    result = good(await both.load(Counting, packets=5, admin=(*both.admin, other)), 1)
    words = f"--admin: {both.admin[1].text} and {other.text} are one server; give each server once"
    assert (words, 0) == (result.error, result.sent.packets)


@pytest.mark.parametrize("again", ["127.0.0.1:5", "tcp:127.0.0.1:5"])
def test_an_address_that_is_given_twice_is_refused_on_the_command_line(again: str) -> None:
    with pytest.raises(UsageError, match=f'^--admin: "{again}" is given twice; give each server once$'):
        options_for(parse_target("127.0.0.1:6"), admin=(parse_admin("127.0.0.1:5"), parse_admin(again)))
