"""The shards of a load, each a run of its own, against small real servers: together they are the whole."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from ctrlserver.client.target import Target
from ctrlserver.inject.parsing import parse_spec
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.plan.profile import Profile, parse_profile
from ctrlserver.load.plan.shard import Shard
from ctrlserver.load.results.result import Result
from ctrlserver.load.results.shards import ShardOf
from tests.peers import Admin, Counting, Echo, Source
from tests.runs import good, load
from tests.servers import Servers


async def sharded(target: Target, shards: int, **flags: Any) -> list[Result]:
    """The results of all shards, which run at the same time."""
    runs = [load(target, shard=Shard(index, shards), **flags) for index in range(1, shards + 1)]
    results: list[Result] = await gatherResults([Deferred.fromCoroutine(run) for run in runs])
    return [good(result) for result in results]


@pytest.mark.parametrize(
    ("protocol", "flags"),
    [
        (Counting, {}),
        (Counting, {"rate": 2000.0}),
        (Counting, {"rate": 2000.0, "arrival": "poisson", "write_combine": False}),
        (Counting, {"profile": Profile("p", parse_profile("100ms@1k,1s@3k")), "warm_up": 0.05}),
        (Counting, {"inject": parse_spec("3rd*corrupt(1 bit)")}),
        (Echo, {"mode": "request"}),
        (Echo, {"mode": "request", "rate": 2000.0, "in_flight": 3}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_shards_send_the_packets_of_the_whole_on_the_streams_of_the_whole(
    servers: Servers, protocol: Any, flags: dict[str, Any]
) -> None:
    results = await sharded(servers.listen(protocol), 3, packets=199, streams=5, **flags)
    assert [ShardOf(1, 3), ShardOf(2, 3), ShardOf(3, 3)] == [result.shard for result in results]
    assert [[1, 4], [2, 5], [3]] == [[stream.stream for stream in result.streams] for result in results]
    assert [40 + 40, 40 + 39, 40] == [result.sent.packets for result in results]
    if results[0].schedule is not None:
        assert [80, 79, 40] == [result.schedule.planned_packets for result in results if result.schedule is not None]


@pytest_twisted.ensureDeferred
async def test_each_shard_reconciles_its_own_streams_beside_the_others(servers: Servers) -> None:
    flags: dict[str, Any] = {"packets": 5000, "streams": 7, "admin": servers.listen(Admin)}
    results = await sharded(servers.listen(Counting), 4, **flags)
    assert [True] * 4 == [result.reconciled for result in results]
    assert 5000 == sum(result.received.packets for result in results if result.received is not None)
    assert 5000 == sum(stream.packets for stream in servers.streams)


@pytest_twisted.ensureDeferred
async def test_shards_cover_the_bytes_of_the_whole_with_packets_of_random_sizes(servers: Servers) -> None:
    flags: dict[str, Any] = {"total_bytes": 30_001, "streams": 3, "size": Sizes(10, 90), "framing": "int16"}
    (whole,) = await sharded(servers.listen(Counting), 1, **flags)
    parts = await sharded(servers.listen(Counting), 2, rate=5000.0, **flags)
    assert (whole.sent.packets, whole.sent.bytes) == (
        sum(part.sent.packets for part in parts),
        sum(part.sent.bytes for part in parts),
    )


@pytest.mark.parametrize("flags", [{}, {"rate": 500.0}])
@pytest_twisted.ensureDeferred
async def test_shards_make_the_connections_of_the_whole(servers: Servers, flags: dict[str, Any]) -> None:
    results = await sharded(servers.listen(Counting), 2, mode="connect", packets=32, streams=3, **flags)
    assert [21, 11] == [result.connections.opened for result in results if result.connections is not None]


@pytest_twisted.ensureDeferred
async def test_shards_ask_for_the_packets_of_the_whole(servers: Servers) -> None:
    flags: dict[str, Any] = {"packets": 101, "streams": 3, "admin": servers.listen(Admin)}
    results = await sharded(servers.listen(Source), 2, mode="receive", **flags)
    assert [34 + 33, 34] == [result.downloaded.packets for result in results if result.downloaded is not None]
    assert [True, True] == [result.reconciled for result in results]


@pytest_twisted.ensureDeferred
async def test_a_shard_whose_streams_have_no_packet_sends_none_and_is_good(servers: Servers) -> None:
    for flags in ({}, {"rate": 100.0}, {"mode": "request"}, {"mode": "connect"}):
        results = await sharded(servers.listen(Echo), 4, packets=2, streams=4, **flags)
        if results[0].connections is None:
            assert [1, 1, 0, 0] == [result.sent.packets for result in results]
