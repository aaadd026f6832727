from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from ctrlserver.client.target import parse_target
from ctrlserver.load.results.result import Result
from ctrlserver.load.running import ending
from ctrlserver.load.running.run import LoadRun
from tests.peers import Admin, Counted, Counting, Sink, Source
from tests.runs import Heard, good, load, options, reached
from tests.servers import Servers, reactor


@pytest.mark.parametrize("streams", [1, 4])
@pytest_twisted.ensureDeferred
async def test_sent_and_received_reconcile_stream_by_stream(servers: Servers, streams: int) -> None:
    target, admin = servers.listen(Counting), servers.listen(Admin)
    result = good(await load(target, packets=1001, streams=streams, admin=admin, warm_up=0.05))
    assert result.received is not None
    assert result.warm_up is not None
    assert result.reconciled is True
    assert result.received.packets == result.sent.packets + result.warm_up.packets
    assert [stream.packets for stream in result.streams] == [stream.received_packets for stream in result.streams]
    assert [stream.bytes for stream in result.streams] == [stream.received_bytes for stream in result.streams]
    assert "9.9.9" == result.environment.server


@pytest_twisted.ensureDeferred
async def test_more_streams_than_the_server_keeps_reconcile_too(servers: Servers) -> None:
    servers.closed_kept = 5
    result = good(await load(servers.listen(Counting), packets=400, streams=40, admin=servers.listen(Admin)))
    assert result.reconciled is True


@pytest_twisted.ensureDeferred
async def test_more_downloads_than_the_server_keeps_reconcile_by_its_sums(servers: Servers) -> None:
    servers.closed_kept = 5
    heard = Heard()
    flags: dict[str, Any] = {"mode": "receive", "packets": 400, "streams": 40, "admin": servers.listen(Admin)}
    result = good(await load(servers.listen(Source), heard, **flags))
    assert result.reconciled is True
    assert result.received is not None
    assert 400 == result.received.packets
    assert ["the server has 5 streams of ours on view: all were compared in their sums"] == heard.notes


@pytest_twisted.ensureDeferred
async def test_a_wait_for_the_counts_is_shown(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "TELL_SECONDS", 0.0)
    heard, asked = Heard(), 0

    def grow(record: dict[str, Any]) -> None:
        nonlocal asked
        asked += 1
        record["packets"] = min(asked, record["packets"])
        record["bytes"] = record["packets"] * 1024

    servers.tamper = grow
    good(await load(servers.listen(Counting), heard, packets=4, admin=servers.listen(Admin)))
    counting = [waiting for waiting in heard.waits if waiting.counted_bytes is not None]
    assert [(1024, 4096), (2048, 4096), (3072, 4096)] == [(each.counted_bytes, each.bytes) for each in counting]


@pytest_twisted.ensureDeferred
async def test_many_streams_of_others_do_not_hide_ours(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "OTHERS_ON_VIEW", 0)
    served = servers.listen(Counting)
    first = LoadRun(reactor, options(served, packets=10, admin=servers.listen(Admin)), Heard())
    running = first.run()
    await reached(lambda: servers.streams)
    assert 0 == good(await load(served, packets=10, streams=30)).exit_code
    assert good(await running).reconciled is True


@pytest_twisted.ensureDeferred
async def test_a_server_that_renames_its_fields_is_understood(servers: Servers) -> None:
    servers.renames = {"peer": "from", "packets": "bytes", "bytes": "packets", "stream": "number"}
    assert good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin))).reconciled is True


@pytest_twisted.ensureDeferred
async def test_a_packet_lost_by_the_server_is_exit_3_and_named(servers: Servers) -> None:
    def lose(record: dict[str, Any]) -> None:
        if record["stream"] == 2:
            record["packets"] -= 1

    servers.tamper = lose
    result = good(await load(servers.listen(Counting), packets=30, streams=3, admin=servers.listen(Admin)), 3)
    assert result.reconciled is False
    assert result.difference is not None
    assert "10 packets of 10240 bytes, the server counted 9 of 10240 bytes: 1 packet fewer" in result.difference
    assert [9, 10, 10] == sorted(stream.received_packets or 0 for stream in result.streams)


@pytest_twisted.ensureDeferred
async def test_another_framing_of_the_server_is_named(servers: Servers) -> None:
    servers.framing = "fixed:512"
    result = good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin)), 3)
    assert result.difference is not None
    assert result.difference.endswith("its framing is fixed:512, ours fixed:1024")


@pytest_twisted.ensureDeferred
async def test_streams_the_server_does_not_know_are_waited_for_and_then_named(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ending, "RECONCILE_SECONDS", 0.2)
    result = good(await load(servers.listen(Sink), packets=10, admin=servers.listen(Admin)), 3)
    assert (None, False) == (result.received, result.reconciled)
    assert f"stream 1: the server has no stream from {result.streams[0].local}" == result.difference


@pytest_twisted.ensureDeferred
async def test_a_server_whose_counts_still_grow_is_waited_for(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked often enough to be over long before all has arrived, if the wait were counted from the first question."""
    monkeypatch.setattr(ending, "RECONCILE_SECONDS", 0.0)
    asked = 0

    def grow(record: dict[str, Any]) -> None:
        nonlocal asked
        asked += 1
        record["packets"] = min(asked, record["packets"])
        record["bytes"] = record["packets"] * 1024
        record["state"] = "open"

    servers.tamper = grow
    result = good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin)))
    assert (True, 10) == (result.reconciled, asked)


@pytest_twisted.ensureDeferred
async def test_an_answer_given_before_a_pause_of_ctrlload_is_not_the_last_one(servers: Servers) -> None:
    """The server counted on while we were paused: who waits for its counts asks once more."""
    asked, ahead = 0, 0.0

    def pause(record: dict[str, Any]) -> None:
        nonlocal asked, ahead
        asked += 1
        if asked < 3:
            record.update(packets=1, bytes=1024, state="open")
            ahead = (asked - 1) * 1000.0

    servers.tamper = pause
    given = options(servers.listen(Counting), packets=10, admin=servers.listen(Admin))
    run = LoadRun(reactor, given, Heard())
    clock = run._lane.clock
    run._lane.clock = lambda: clock() + ahead
    assert (True, 3) == (good(await run.run()).reconciled, asked)


@pytest_twisted.ensureDeferred
async def test_what_is_no_admin_port_is_told_before_anything_is_sent(servers: Servers) -> None:
    admin = servers.saying(b"SSH-2.0-x\r\n")
    result = good(await load(servers.listen(Sink), admin=admin), 1)
    assert f'{admin.text} is not a ctrlserver admin port: it answered "SSH-2.0-x"' == result.error
    assert (0, []) == (servers.bytes, result.streams)


@pytest_twisted.ensureDeferred
async def test_an_admin_port_that_goes_away_fails_the_run_and_keeps_its_counts(servers: Servers) -> None:
    admin = servers.listen(Admin)

    def vanish(record: dict[str, Any]) -> None:
        record.clear()
        for peer in list(servers.open):
            if isinstance(peer, Admin):
                peer.transport.abortConnection()

    servers.tamper = vanish
    result = good(await load(servers.listen(Counting), packets=10, admin=admin), 1)
    assert (10, None) == (result.sent.packets, result.reconciled)
    assert result.error is not None
    assert "closed the connection" in result.error


async def over_unix(servers: Servers, tmp_path: Path, heard: Heard, others: Sequence[Counted] = ()) -> Result:
    """A run of 5 packets over a unix socket, whose server has a record of it and of ``others``."""
    path = str(tmp_path / "data.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(5)
        given = options(parse_target(f"unix:{path}"), packets=5, admin=servers.listen(Admin))
        running = LoadRun(reactor, given, heard).run()
        await reached(lambda: len(servers.asked) > 6)  # asked before the first byte, and again after the last
        servers.streams += [Counted(1, "unix", 5, 5 * 1024), *others]
        taken, _ = listening.accept()
        with taken:
            taken.recv(5 * 1024, socket.MSG_WAITALL)
        return good(await running)


@pytest_twisted.ensureDeferred
async def test_a_unix_stream_is_reconciled_where_the_server_has_no_other_new_one(
    servers: Servers, tmp_path: Path
) -> None:
    heard = Heard()
    result = await over_unix(servers, tmp_path, heard)
    assert result.reconciled is True
    assert [] == heard.notes


@pytest_twisted.ensureDeferred
async def test_a_unix_stream_is_not_reconciled_beside_another_new_one(servers: Servers, tmp_path: Path) -> None:
    heard = Heard()
    result = await over_unix(servers, tmp_path, heard, [Counted(2, "unix")])
    assert result.reconciled is None
    (note,) = heard.notes
    assert "the server has 2 new streams over unix sockets, ours are 1 of them: not reconciled" == note


@pytest_twisted.ensureDeferred
async def test_a_difference_that_two_answers_agree_on_ends_the_wait_whatever_time_it_took(servers: Servers) -> None:
    """A record without a time is given that of the question, which is another each time."""

    def lose(record: dict[str, Any]) -> None:
        record.update(packets=9, state="closed", seconds=0.0)

    servers.tamper = lose
    good(await load(servers.listen(Counting), packets=10, admin=servers.listen(Admin)), 3)
    assert 3 == sum(command.startswith("streams ") for command in servers.asked)
