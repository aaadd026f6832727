"""What becomes of a whole run: what targets do to it, and what it says of that."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from ctrlserver.client.target import parse_target
from ctrlserver.load.plan.pattern import Sizes
from ctrlserver.load.results.thresholds import parse_threshold
from ctrlserver.load.running import ending, run, send_mode
from ctrlserver.load.running.run import LoadRun
from tests.peers import Admin, Counting, Deaf, Doubling, Echo, Leaving, Resetting, Silent, Staying
from tests.runs import good, load, started
from tests.servers import Servers, refusing


@pytest_twisted.ensureDeferred
async def test_a_target_that_refuses_is_one_line_and_a_valid_document() -> None:
    target = refusing()
    result = good(await load(target, streams=3), 1)
    words = f"cannot connect to {target.text} (stream 1 of 3): connection refused: nothing listens there"
    assert words == result.error
    assert (0, None, []) == (result.sent.packets, result.sent.packets_per_second, result.streams)


@pytest_twisted.ensureDeferred
async def test_a_name_that_does_not_resolve_is_told() -> None:
    result = good(await load(parse_target("no-such-host.invalid:5"), connect_timeout=30.0), 1)
    assert "cannot connect to no-such-host.invalid:5: the host name does not resolve" == result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_resets_is_told_with_the_packets_sent(servers: Servers) -> None:
    result = good(await load(servers.listen(Resetting), packets=100_000, streams=2), 1)
    assert result.error is not None
    assert "the target reset the connection after" in result.error
    assert result.error.endswith("packets had been sent")
    assert "reset" in {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_a_reset_after_all_was_sent_is_told_as_well(servers: Servers) -> None:
    result = good(await load(servers.listen(Resetting), packets=100), 1)
    assert result.error is not None
    assert result.error.endswith("the target reset the connection after 100 packets had been sent")


class Hushed(Admin):
    """Says nothing any more once data have come."""

    def lineReceived(self, line: bytes) -> None:
        if not self.servers.bytes:
            super().lineReceived(line)


class Tallied(Resetting):
    """Its server knows that something came."""

    def dataReceived(self, data: bytes) -> None:
        self.servers.bytes += len(data)
        super().dataReceived(data)


@pytest_twisted.ensureDeferred
async def test_a_server_that_does_not_say_why_a_run_failed_is_waited_for_shortly(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctrlserver.load.running.run.WHY_SECONDS", 0.05)
    admin = servers.listen(Hushed)
    result = good(await load(servers.listen(Tallied), packets=10_000, size="1K", admin=admin), 1)
    assert result.error is not None
    assert "reset" in result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_leaves_early_is_told(servers: Servers) -> None:
    result = good(await load(servers.listen(Leaving), packets=200_000), 1)
    assert result.error is not None
    assert "packets had been sent" in result.error
    asked = good(await load(servers.listen(Leaving), packets=10, mode="request"), 1)
    assert asked.error is not None
    assert asked.error.endswith("closed the connection early, after 1 packet had been sent and 0 replies had come")


@pytest_twisted.ensureDeferred
async def test_a_target_that_never_reads_is_given_up(servers: Servers) -> None:
    target = servers.listen(Deaf)
    result = good(await load(target, packets=1_000_000, stall_timeout=0.3), 1)
    assert f"no progress on stream 1 ({target.text}) for 0.3 s: the target does not read" == result.error
    assert ["stalled"] == [stream.reason for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_a_target_that_never_answers_is_given_up(servers: Servers) -> None:
    target = servers.listen(Silent)
    result = good(await load(target, mode="request", streams=2, stall_timeout=0.3), 1)
    assert result.error is not None
    assert f"({target.text}) for 0.3 s: the target does not answer; mode request needs" in result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_answers_too_much_is_told(servers: Servers) -> None:
    result = good(await load(servers.listen(Doubling), mode="request"), 1)
    assert result.error is not None
    assert "the target answers too much: 2 replies for 1 packet" in result.error


@pytest_twisted.ensureDeferred
async def test_a_target_that_echoes_what_nobody_asked_for_does_not_stop_the_sending(servers: Servers) -> None:
    assert 20_000 == good(await load(servers.listen(Echo), packets=20_000)).sent.packets


@pytest_twisted.ensureDeferred
async def test_a_target_that_keeps_its_side_open_is_not_waited_for_for_ever(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "CLOSE_SECONDS", 0.1)
    assert 10 == good(await load(servers.listen(Staying), packets=10)).sent.packets


@pytest_twisted.ensureDeferred
async def test_after_its_time_a_target_that_takes_nothing_is_cut_off(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_mode, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(run, "GRACE_SECONDS", 0.1)
    result = good(await load(servers.listen(Deaf), duration=0.5, size=Sizes(900_000, 900_000), streams=2))
    assert {stream.reason for stream in result.streams} <= {"cut", "ended"}
    for stream in result.streams:
        assert stream.bytes == stream.packets * 900_000 + stream.incomplete_bytes
        assert (stream.reason == "cut") == (stream.incomplete_bytes > 0)


@pytest_twisted.ensureDeferred
async def test_a_threshold_that_held_is_exit_4(servers: Servers) -> None:
    conditions = (parse_threshold("packets>5"), parse_threshold("received.packets<5"))
    flags: dict[str, Any] = {"fail_if": conditions, "packets": 10}
    result = good(await load(servers.listen(Counting), admin=servers.listen(Admin), **flags), 4)
    assert [True, False] == [judgement.failed for judgement in result.thresholds]


@pytest_twisted.ensureDeferred
async def test_an_error_of_our_own_is_told_and_the_document_is_whole(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Quiet:
        def failure(self, text: str, **more: object) -> None:
            """The log of the exception."""

    monkeypatch.setattr(LoadRun, "log", Quiet())
    monkeypatch.setattr(send_mode, "make_streams", lambda *_: 1 / 0)
    _, running = started(servers)
    result = good(await running, 1)
    assert "an error of ctrlload's own: ZeroDivisionError: division by zero" == result.error
