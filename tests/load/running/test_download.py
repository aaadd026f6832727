from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from ctrlserver.load.results.thresholds import parse_threshold
from tests.peers import Admin, Greeting, Source
from tests.runs import Heard, good, load
from tests.servers import Servers


@pytest.mark.parametrize("streams", [1, 3])
@pytest_twisted.ensureDeferred
async def test_the_packets_asked_of_a_source_are_dealt_over_the_streams_and_reconcile(
    servers: Servers, streams: int
) -> None:
    flags: dict[str, Any] = {"packets": 1000, "streams": streams, "admin": servers.listen(Admin)}
    result = good(await load(servers.listen(Source), mode="receive", **flags))
    assert result.downloaded is not None
    assert (1000, 1_024_000, 0) == (result.downloaded.packets, result.downloaded.bytes, result.downloaded.writes)
    assert (0, 0) == (result.sent.packets, result.sent.bytes)
    assert result.received is not None
    assert (True, 1000) == (result.reconciled, result.received.packets)
    assert 1000 == sum(interval.packets for interval in result.intervals)
    assert {"complete"} == {stream.reason for stream in result.streams}


@pytest_twisted.ensureDeferred
async def test_a_download_ends_by_time_and_what_was_on_its_way_is_counted_with_admin(servers: Servers) -> None:
    flags: dict[str, Any] = {"duration": 0.3, "streams": 2, "admin": servers.listen(Admin), "warm_up": 0.05}
    result = good(await load(servers.listen(Source), mode="receive", **flags))
    assert result.downloaded is not None
    assert result.warm_up is not None
    assert (True, {"ended"}) == (result.reconciled, {stream.reason for stream in result.streams})
    assert 2 == sum(command.startswith("kick ") for command in servers.asked)
    assert result.warm_up.packets + result.downloaded.packets == sum(stream.packets for stream in result.streams)


@pytest_twisted.ensureDeferred
async def test_a_number_of_bytes_after_a_warm_up_cuts_the_download_off(servers: Servers) -> None:
    flags: dict[str, Any] = {"total_bytes": 5000, "admin": servers.listen(Admin), "warm_up": 0.05}
    heard = Heard()
    result = good(await load(servers.listen(Source), heard, mode="receive", **flags))
    assert (None, {"complete"}) == (result.reconciled, {stream.reason for stream in result.streams})
    assert heard.notes[-1].endswith("cut off is not known: not reconciled")


@pytest_twisted.ensureDeferred
async def test_streams_that_the_server_shows_late_are_ended_too_each_once(servers: Servers) -> None:
    lists = 0

    def hide(record: dict[str, Any]) -> None:
        nonlocal lists
        if record["stream"] == 1:
            lists += 1
        elif lists < 1:
            record["peer"] = "not accepted yet"

    servers.tamper = hide
    flags: dict[str, Any] = {"duration": 0.1, "streams": 2, "admin": servers.listen(Admin)}
    result = good(await load(servers.listen(Source), mode="receive", **flags))
    assert (True, {"ended"}) == (result.reconciled, {stream.reason for stream in result.streams})
    assert ["kick 1 json", "kick 2 json"] == [command for command in servers.asked if command.startswith("kick ")]


@pytest_twisted.ensureDeferred
async def test_a_download_that_the_server_cannot_end_is_cut_off_and_not_reconciled(servers: Servers) -> None:
    heard, admin = Heard(), servers.listen(Admin)

    def refuse(record: dict[str, Any]) -> None:
        record["stream"] = 99

    servers.tamper = refuse
    servers.sources = {}
    result = good(
        await load(servers.listen(Source), heard, mode="receive", duration=0.1, admin=admin, stall_timeout=0.3)
    )
    assert result.reconciled is None
    assert heard.notes[-1].endswith("not reconciled")


@pytest_twisted.ensureDeferred
async def test_a_download_ends_by_time_without_admin_at_once(servers: Servers) -> None:
    result = good(await load(servers.listen(Source), mode="receive", duration=0.2))
    assert result.downloaded is not None
    assert result.downloaded.packets > 0
    assert ["ended"] == [stream.reason for stream in result.streams]


@pytest_twisted.ensureDeferred
async def test_a_download_that_the_target_ends_is_told_and_no_failure(servers: Servers) -> None:
    heard = Heard()
    target = servers.listen(type("Brief", (Greeting,), {"words": b"a\nb\n", "hang_up": True}))
    result = good(await load(target, heard, mode="receive", framing="line", payload=b"go\n"))
    assert result.downloaded is not None
    assert (3, ["closed"]) == (result.downloaded.packets, [stream.reason for stream in result.streams])
    assert [f"stream 1 ({target.text}): the target ended the download, 3 packets had come"] == heard.notes


@pytest_twisted.ensureDeferred
async def test_conditions_of_a_download_are_on_what_came(servers: Servers) -> None:
    conditions = (parse_threshold("packets<10"), parse_threshold("sent.packets>0"))
    result = good(await load(servers.listen(Source), mode="receive", packets=10, fail_if=conditions))
    assert [(10, False), (0, False)] == [(judged.value, judged.failed) for judged in result.thresholds]
