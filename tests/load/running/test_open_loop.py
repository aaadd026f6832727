"""Whole runs by a schedule, against small real servers: what is counted, never how fast."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from hdrh.histogram import HdrHistogram

from ctrlserver.inject.parsing import parse_spec
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.plan.profile import Profile, parse_profile
from ctrlserver.load.results.result import Result, as_json
from ctrlserver.load.running.run import LoadRun
from tests.load.documents import validated
from tests.peers import Deaf, Echo, Resetting, Silent, Sink
from tests.runs import Heard, good, load, options, reached
from tests.servers import Servers, reactor


def profile(text: str) -> Profile:
    return Profile(text, parse_profile(text))


@pytest.mark.parametrize("arrival", ["constant", "poisson"])
@pytest.mark.parametrize("combine", [True, False])
@pytest.mark.parametrize("streams", [1, 3, 20])
@pytest_twisted.ensureDeferred
async def test_exactly_the_packets_planned_are_sent(
    servers: Servers, streams: int, combine: bool, arrival: str
) -> None:
    flags: dict[str, Any] = {"streams": streams, "write_combine": combine, "arrival": arrival}
    result = good(await load(servers.listen(Sink), packets=500, rate=5000.0, **flags))
    assert (500, 512_000) == (result.sent.packets, servers.bytes)
    assert {500 // streams, -(-500 // streams)} == {stream.packets for stream in result.streams}
    assert result.schedule is not None
    assert (500, 500) == (result.schedule.planned_packets, result.schedule.sent_packets)
    assert result.latency is None
    if not combine:
        assert 500 == result.sent.writes


@pytest.mark.parametrize("mode", ["send", "request", "connect"])
@pytest_twisted.ensureDeferred
async def test_a_run_that_never_sleeps_does_exactly_what_is_planned(servers: Servers, mode: str) -> None:
    result = good(await load(servers.listen(Echo), packets=100, rate=2000.0, streams=3, mode=mode, busy_poll=True))
    assert result.schedule is not None
    assert (100, 100) == (result.schedule.planned_packets, result.schedule.sent_packets)
    assert result.options["busy_poll"] is True


@pytest.mark.parametrize("flags", [{}, {"mode": "request"}, {"mode": "connect"}])
@pytest_twisted.ensureDeferred
async def test_two_packets_at_20_a_second_are_never_told_as_faster(servers: Servers, flags: dict[str, Any]) -> None:
    result = good(await load(servers.listen(Echo), packets=2, rate=20.0, **flags))
    of_packets, of_connections = result.sent.packets_per_second, result.connections
    rate = of_packets if of_connections is None else of_connections.connections_per_second
    assert rate is not None
    assert 0 < rate <= 20.0


@pytest_twisted.ensureDeferred
async def test_the_clock_ends_a_plan_at_its_last_packet(servers: Servers) -> None:
    result = good(await load(servers.listen(Sink), duration=0.2, rate=1000.0, streams=3))
    assert result.schedule is not None
    assert (200, 200, 204_800) == (result.sent.packets, result.schedule.planned_packets, servers.bytes)
    assert {"ended"} == {stream.reason for stream in result.streams}
    assert 1000.0 == result.schedule.target_packets_per_second


@pytest_twisted.ensureDeferred
async def test_a_run_ends_with_its_profile_and_intervals_have_its_rate(servers: Servers) -> None:
    plan = profile("100ms@1k,100ms@1k..3k,100ms@0")
    result = good(await load(servers.listen(Sink), profile=plan, interval=0.1))
    assert 300 == result.sent.packets
    assert result.schedule is not None
    assert 1000.0 == pytest.approx(result.schedule.target_packets_per_second)
    assert plan.text == result.options["profile"]
    assert result.intervals[0].target_packets_per_second is not None


@pytest_twisted.ensureDeferred
async def test_random_sizes_and_a_limit_of_bytes_go_with_a_rate(servers: Servers) -> None:
    flags: dict[str, Any] = {"size": Sizes(10, 90), "framing": "int16", "streams": 2}
    result = good(await load(servers.listen(Sink), total_bytes=10_001, rate=5000.0, **flags))
    assert 10_001 <= result.sent.bytes < 10_001 + 2 * 92
    assert servers.bytes == result.sent.bytes


@pytest.mark.parametrize("in_flight", [1, 7])
@pytest.mark.parametrize("arrival", ["constant", "poisson"])
@pytest_twisted.ensureDeferred
async def test_requests_are_timed_from_when_they_were_due_and_from_when_they_went(
    servers: Servers, arrival: str, in_flight: int
) -> None:
    flags: dict[str, Any] = {"mode": "request", "in_flight": in_flight, "streams": 3, "arrival": arrival}
    result = good(await load(servers.listen(Echo), packets=400, rate=4000.0, interval=0.02, **flags))
    assert (400, 400) == (result.sent.packets, result.replies and result.replies.packets)
    assert result.latency is not None
    response, service = result.latency.response, result.latency.service
    assert response is not None
    assert service is not None
    assert (400, 400) == (response.count, service.count)
    assert response.min >= service.min > 0
    assert response.p50 >= service.p50
    assert all(i.response_p50 is not None for i in result.intervals if i.packets > 50)
    decoded = HdrHistogram.decode(response.hdr)
    assert response.p99 == pytest.approx(decoded.get_value_at_percentile(99) * result.latency.unit_seconds, abs=1e-12)


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest_twisted.ensureDeferred
async def test_a_closed_loop_has_service_times_alone(servers: Servers, in_flight: int) -> None:
    result = good(await load(servers.listen(Echo), packets=300, mode="request", in_flight=in_flight, streams=2))
    assert result.schedule is None
    assert result.latency is not None
    assert result.latency.response is None
    assert result.latency.service is not None
    assert 300 == result.latency.service.count


@pytest.mark.parametrize(("mode", "server"), [("send", Sink), ("request", Echo)])
@pytest_twisted.ensureDeferred
async def test_the_warm_up_is_left_out(servers: Servers, mode: str, server: Any) -> None:
    result = good(await load(servers.listen(server), packets=200, rate=2000.0, warm_up=0.1, mode=mode, streams=2))
    assert result.warm_up is not None
    assert result.schedule is not None
    assert 200 == result.sent.packets
    assert result.warm_up.packets > 0
    assert result.schedule.sent_packets == result.sent.packets <= result.schedule.planned_packets
    if result.latency is not None:
        assert result.latency.service is not None
        assert 200 == result.latency.service.count


@pytest_twisted.ensureDeferred
async def test_what_is_due_waits_for_a_target_that_takes_nothing(servers: Servers) -> None:
    flags: dict[str, Any] = {"size": Sizes(1 << 20, 1 << 20), "framing": "fixed:1048576"}
    result = await load(servers.listen(Deaf), duration=0.3, rate=200.0, stall_timeout=0.5, **flags)
    validated(as_json(result))
    assert result.schedule is not None
    assert 60 == result.schedule.planned_packets
    assert result.sent.packets < 60
    assert "generator" != result.schedule.bottleneck or result.schedule.dropped_ticks


@pytest_twisted.ensureDeferred
async def test_a_target_that_never_answers_is_told_of(servers: Servers) -> None:
    result = await load(servers.listen(Silent), packets=10, rate=1000.0, mode="request", stall_timeout=0.3)
    validated(as_json(result))
    assert "does not answer" in str(result.error)
    assert result.schedule is not None
    assert 1 == result.schedule.sent_packets
    assert result.latency is None


@pytest_twisted.ensureDeferred
async def test_a_stream_that_stalls_by_order_ends_with_the_time_although_all_were_released(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.load.running.sending.GRACE_SECONDS", 0.1)
    stalling = parse_spec("2*ok->stall")
    result = good(await load(servers.listen(Sink), packets=5, rate=1000.0, duration=0.1, inject=stalling))
    assert (2, "injected") == (result.sent.packets, result.streams[0].reason)


@pytest_twisted.ensureDeferred
async def test_a_silence_of_the_schedule_is_no_stall(servers: Servers) -> None:
    result = good(await load(servers.listen(Echo), packets=2, rate=1.0, mode="request", stall_timeout=0.4))
    assert 2 == result.sent.packets


@pytest_twisted.ensureDeferred
async def test_a_reset_ends_an_open_loop(servers: Servers) -> None:
    result = await load(servers.listen(Resetting), packets=10_000, rate=20_000.0, streams=3)
    validated(as_json(result))
    assert "reset the connection" in str(result.error)


@pytest.mark.parametrize("warm_up", [0.0, 30.0])
@pytest.mark.parametrize(("mode", "server"), [("send", Sink), ("request", Echo)])
@pytest_twisted.ensureDeferred
async def test_an_interrupted_open_loop_is_reported_whole(
    servers: Servers, mode: str, server: Any, warm_up: float
) -> None:
    heard = Heard()
    run = LoadRun(
        reactor, options(servers.listen(server), packets=10_000, rate=500.0, mode=mode, warm_up=warm_up), heard
    )
    done = run.run()
    await reached(lambda: run._work.counts().packets > 20)
    run.interrupt()
    result: Result = await done
    document = validated(as_json(result))
    assert 130 == result.exit_code
    total = result.sent.packets + (result.warm_up.packets if result.warm_up else 0)
    assert 20 < total < 10_000
    if not warm_up:
        assert document["schedule"]["planned_packets"] >= result.sent.packets
    if mode == "request" and not warm_up:
        assert result.sent.packets == document["latency"]["service"]["count"]


@pytest_twisted.ensureDeferred
async def test_progress_tells_the_target_and_what_is_in_flight(servers: Servers) -> None:
    heard = Heard()
    flags: dict[str, Any] = {"rate": 100.0, "duration": 0.7, "mode": "request", "stall_timeout": 0.5, "in_flight": 5}
    await load(servers.listen(Silent), heard, **flags)
    assert 100.0 == heard.steps[0].gauge.target_packets_per_second
    assert 5 == max(step.in_flight for step in heard.steps)
    assert heard.steps[0].fraction is not None
