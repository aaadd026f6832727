from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.testing import MemoryReactorClock

from ctrlserver.client.admin import Streams
from ctrlserver.client.target import parse_target
from ctrlserver.lane.lane import Lane
from ctrlserver.load.measure.counts import StreamCount
from ctrlserver.load.measure.datagrams import OfDatagrams
from ctrlserver.load.measure.reading import Reading
from ctrlserver.load.measure.reconciling import ByAddress
from ctrlserver.load.measure.unix import OverUnix
from ctrlserver.load.running.transports import Transport, transport_of
from tests.runs import options

SENT = StreamCount(1, "127.0.0.1:5", "127.0.0.1:9", 10, 1000, 1.0, 0, 1, None, None, None, "complete")


@define
class Answering:
    """An admin port whose newest stream is number 7."""

    asked: list[str]

    async def streams(self, limit: int) -> Streams:
        self.asked.append(f"streams {limit}")
        return Streams([{"stream": 7, "peer": "127.0.0.1:5", "packets": 1, "bytes": 100}], 1)

    async def stats(self) -> dict[str, object]:
        self.asked.append("stats")
        return {"dropped_total": 3}

    async def peers(self) -> list[dict[str, object]]:
        self.asked.append("peers")
        return []


def transport(target: str) -> Transport:
    reactor: Any = MemoryReactorClock()
    return transport_of(reactor, Lane(reactor), options(parse_target(target)))


@pytest.mark.parametrize(
    ("target", "may_greet"),
    [("127.0.0.1:9", True), ("unix:/nowhere", True), ("ssl:127.0.0.1:9", False), ("udp:127.0.0.1:9", False)],
)
def test_only_a_plain_stream_may_be_greeted(target: str, may_greet: bool) -> None:
    assert may_greet == transport(target).may_greet


@pytest_twisted.ensureDeferred
async def test_streams_are_compared_by_address_from_the_newest_before_ours() -> None:
    tcp, admin = transport("127.0.0.1:9"), Answering([])
    await tcp.ask_first(admin)  # type: ignore[arg-type]
    assert ["stats", "streams 1", "peers"] == admin.asked
    assert 7 == tcp.before.newest
    assert ByAddress([SENT], "fixed:1024", tcp.before, 1.0, 3.0, "received") == tcp.comparison(
        [SENT], 1.0, 3.0, "received"
    )


def test_streams_without_an_address_are_compared_by_size() -> None:
    unix = [evolve(SENT, local="")]
    expected = OverUnix(unix, "fixed:1024", Reading(), 1.0, 3.0, "sent")
    assert expected == transport("unix:/nowhere").comparison(unix, 1.0, 3.0, "sent")


@pytest_twisted.ensureDeferred
async def test_what_a_server_had_of_datagrams_before_ours_is_known_to_the_comparison() -> None:
    udp, admin = transport("udp:127.0.0.1:9"), Answering([])
    await udp.ask_first(admin)  # type: ignore[arg-type]
    assert ["stats", "streams 1000", "peers"] == admin.asked
    comparison = udp.comparison([SENT], 1.0, 3.0, "sent")
    assert isinstance(comparison, OfDatagrams)
    assert ({7: (1, 100)}, 3) == (comparison.earlier, comparison.before.dropped)
