"""Runs that somebody stops."""

from __future__ import annotations

import pytest
import pytest_twisted

from ctrlserver.load.running import send_mode
from tests.peers import Admin, Counting, Echo, Silent, Source
from tests.runs import good, reached, started
from tests.servers import Servers


@pytest_twisted.ensureDeferred
async def test_an_interrupt_ends_the_sending_and_the_report_is_whole(servers: Servers) -> None:
    run, running = started(servers, protocol=Counting, packets=10**9, streams=2, admin=servers.listen(Admin))
    await reached(lambda: sum(stream.bytes for stream in servers.streams) > 100_000)
    run.interrupt()
    result = good(await running, 130)
    assert (True, None, True) == (result.interrupted, result.error, result.reconciled)
    assert result.sent.packets > 0
    assert {"ended"} == {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_an_interrupt_ends_a_download_and_the_report_is_whole(servers: Servers) -> None:
    run, running = started(servers, protocol=Source, mode="receive", duration=60.0, admin=servers.listen(Admin))
    await reached(lambda: run._work.counts().packets > 1000)
    run.interrupt()
    result = good(await running, 130)
    assert (True, None) == (result.reconciled, result.error)


@pytest.mark.parametrize("mode", ["send", "request"])
@pytest_twisted.ensureDeferred
async def test_an_interrupt_in_the_warm_up_leaves_nothing_measured(servers: Servers, mode: str) -> None:
    run, running = started(servers, protocol=Echo, mode=mode, warm_up=60.0)
    await reached(lambda: run._work.counts().packets > 10)
    run.interrupt()
    result = good(await running, 130)
    assert result.warm_up is not None
    assert 0 == result.sent.packets
    assert result.warm_up.packets == sum(stream.packets for stream in result.streams) > 10


@pytest_twisted.ensureDeferred
async def test_a_second_interrupt_leaves_at_once(servers: Servers) -> None:
    run, running = started(servers, protocol=Silent, mode="request", stall_timeout=60.0)
    await reached(lambda: run._work.counts().packets)
    run.interrupt()
    assert not running.called
    run.interrupt()
    result = good(await running, 130)
    assert (1, None) == (result.sent.packets, result.error)


@pytest_twisted.ensureDeferred
async def test_an_interrupt_while_connecting_leaves_at_once(servers: Servers) -> None:
    run, running = started(servers, streams=200)
    run.interrupt()
    result = good(await running, 130)
    assert (None, []) == (result.error, result.streams)


@pytest_twisted.ensureDeferred
async def test_an_interrupt_gives_a_silent_target_a_grace_only(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_mode, "GRACE_SECONDS", 0.1)
    run, running = started(servers, protocol=Silent, mode="request", stall_timeout=60.0)
    await reached(lambda: run._work.counts().packets)
    run.interrupt()
    result = good(await running, 130)
    assert ["cut"] == [stream.reason for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_an_interrupt_after_the_end_changes_nothing(servers: Servers) -> None:
    run, running = started(servers, packets=1)
    result = good(await running)
    run.interrupt()
    assert not result.interrupted
