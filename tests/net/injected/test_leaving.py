"""Answers of many streams that are due in one turn leave by one call, and each stream fares as if it had sent alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from ctrlserver.lane.lane import Lane
from ctrlserver.linux.transfers import Transfers, transfers
from ctrlserver.net.injected.leaving import FEWEST, Leaving
from tests.net.conftest import Serve, Served, in_thread, read_to_end, reset
from tests.net.injected.conftest import Begin

STREAMS = FEWEST + 4


def has_aio() -> bool:
    table = transfers(memoryview(bytearray(1 << 16)), 1)
    if table is not None:
        table.close()
    return table is not None


pytestmark = pytest.mark.skipif(not has_aio(), reason="this system has no AIO")


@pytest.fixture
def way() -> str:
    """The lane alone has a table."""
    return "lane"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many streams each call sent for."""
    made: list[int] = []
    send = Transfers.send_blocks

    def noted(table: Transfers, sockets: list[int], blocks: list[memoryview]) -> list[int]:
        made.append(len(sockets))
        return send(table, sockets, blocks)

    monkeypatch.setattr(Transfers, "send_blocks", noted)
    return made


async def sent_at_once(served: Served, content: bytes) -> list[socket.socket]:
    """Clients whose packets have all been read, and are all due once this returns: the time stands until they are."""
    due = served.listener.striking.due
    clock, due.clock = due.clock, lambda: 0
    total = served.book.counters.totals().bytes + STREAMS * len(content)
    clients = [served.connect() for _ in range(STREAMS)]
    for client in clients:
        client.sendall(content)
    while served.book.counters.totals().bytes < total:
        await in_thread(lambda: None)
    while clock() < max(moment for moment, *_ in due._entries.values()):
        await in_thread(lambda: None)
    due.clock = clock
    return clients


async def opened(served: Served, number: int = STREAMS) -> None:
    for _ in range(number):
        await served.book.opened.get()


async def closed(served: Served, number: int = STREAMS) -> None:
    for _ in range(number):
        await served.book.closed.get()


def shut(clients: list[socket.socket]) -> list[bytes]:
    """Half-close all, and read each to its end."""
    for client in clients:
        client.shutdown(socket.SHUT_WR)
    return [read_to_end(client) for client in clients]


@pytest.mark.parametrize(("framing", "mode"), [("fixed:4", "echo"), ("line", "echo"), ("fixed:4", "reply")])
@pytest_twisted.ensureDeferred
async def test_answers_due_together_leave_together_whole_and_in_order(
    serve: Serve, order: Begin, calls: list[int], framing: str, mode: str
) -> None:
    served = await serve(framing, mode)
    injected = order(served, "delay(30ms)")
    began = time.monotonic()
    clients = await sent_at_once(served, b"000\n001\n")

    def script() -> list[bytes]:
        got = [client.recv(8 if mode == "echo" else 2, socket.MSG_WAITALL) for client in clients]
        assert time.monotonic() - began >= 0.03
        for client in clients:
            client.sendall(b"002\n")
        return [first + rest for first, rest in zip(got, shut(clients), strict=True)]

    expected = b"000\n001\n002\n" if mode == "echo" else b"\x06\x06\x06"
    assert [expected] * STREAMS == await in_thread(script)
    await closed(served)
    assert sum(calls) >= FEWEST, calls
    assert {("eof", 3, 3)} == {(each.reason, each.packets, each.injected) for each in served.records()}
    assert 3 * STREAMS == injected.injection.hits.total == served.book.counters.totals().replies


@pytest_twisted.ensureDeferred
async def test_copies_that_leave_together_count(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4", "echo")
    order(served, "delay(30ms)")
    order(served, "duplicate")
    clients = await sent_at_once(served, b"0000")
    assert [b"00000000"] * STREAMS == await in_thread(shut, clients)
    await closed(served)
    assert STREAMS == served.book.counters.totals().duplicated


@pytest_twisted.ensureDeferred
async def test_a_peer_that_is_gone_or_reads_nothing_holds_up_nobody(serve: Serve, order: Begin) -> None:
    served = await serve("fixed:4", "echo", stall_timeout=0.05)
    order(served, "delay(30ms)")
    clients = [served.connect() for _ in range(STREAMS)]
    deaf = served.connect(receive_buffer=4096)
    await opened(served, STREAMS + 1)

    def script() -> list[bytes]:
        deaf.settimeout(0.3)
        try:
            while True:
                deaf.sendall(bytes(4096))
        except TimeoutError:
            pass
        for client in clients:
            client.sendall(b"0000")
        reset(clients[0])
        return shut(clients[1:])

    assert [b"0000"] * (STREAMS - 1) == await in_thread(script)
    await closed(served, STREAMS)
    served.listener.open_streams.look_after(time.monotonic() + 9)
    await closed(served, 1)
    deaf.close()
    assert ["eof"] * (STREAMS - 1) + ["reset", "slow-reader"] == sorted(each.reason or "" for each in served.records())


@pytest_twisted.ensureDeferred
async def test_if_the_table_fails_its_streams_end_as_a_fault_and_others_are_answered_one_by_one(
    serve: Serve, order: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = await serve("fixed:4", "echo")
    order(served, "delay(30ms)")

    def fails(*_: Any) -> list[int]:
        raise OSError(5, "lost")

    monkeypatch.setattr(Transfers, "send_blocks", fails)
    with capturedLogs() as events:
        clients = await sent_at_once(served, b"0000")
        await closed(served, FEWEST)
        got = await in_thread(shut, clients)
        await closed(served, STREAMS - FEWEST)
    assert ["delayed answers leave one by one from now on: sending them together failed"] == [
        event["log_format"] for event in events if event.get("event") == "bug"
    ]
    faults = [each.reason for each in served.records()].count("fault")
    assert faults >= FEWEST
    assert [b""] * faults + [b"0000"] * (STREAMS - faults) == sorted(got)
    clients = await sent_at_once(served, b"0001")
    assert [b"0001"] * STREAMS == await in_thread(shut, clients)


class Noted:
    """A stream that is due; counts how often it sends by itself."""

    def __init__(self, only_sends: Callable[[], bool] = lambda: True) -> None:
        self.waiting = type("Waiting", (), {"moment": 0})
        self.only_sends = only_sends
        self.alone = 0

    def go_on(self, now: int) -> None:
        self.alone += 1


def test_fewer_than_the_fewest_send_by_themselves() -> None:
    from twisted.internet import reactor

    leaving = Leaving(Lane(reactor))
    noted = [Noted() for _ in range(FEWEST - 1)]
    stream: Any
    for stream in noted:
        assert leaving.takes(stream, 1)
    leaving.leave(1)
    leaving.close()
    assert [1] * (FEWEST - 1) == [each.alone for each in noted]
    stream = Noted()
    assert not leaving.takes(stream, 1), "it is closed"


def test_a_stream_that_does_more_than_send_is_not_taken() -> None:
    from twisted.internet import reactor

    leaving = Leaving(Lane(reactor))
    stream: Any = Noted(lambda: False)
    assert not leaving.takes(stream, 1)
    stream = Noted()
    assert not leaving.takes(stream, -1), "nothing is due"
    leaving.close()
    lacking: Any = Noted()
    assert not Leaving(None).takes(lacking, 1)
