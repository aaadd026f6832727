"""Many sockets in one system call: each row says what the socket module would have said of that socket."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ctrlserver.linux import transfers as module
from ctrlserver.linux.transfers import ROW_BYTES, STRIDE_BYTES, Transfers, transfers
from tests.servers import reset_at_close

ROWS = 8

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def table() -> Iterator[Transfers]:
    made = transfers(memoryview(bytearray(ROWS * STRIDE_BYTES)), ROWS)
    if made is None:
        pytest.skip("this system has no AIO")
    yield made
    made.close()


@pytest.fixture
def pair() -> Iterator[Callable[[], Pair]]:
    """Makes two ends of a TCP connection on loopback, the first of them non-blocking."""
    made: list[socket.socket] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def new() -> Pair:
        far = socket.create_connection(listening.getsockname())
        near, _ = listening.accept()
        near.setblocking(False)
        made.extend((near, far))
        return near, far

    yield new
    for sock in [*made, listening]:
        sock.close()


def reset(sock: socket.socket) -> None:
    reset_at_close(sock)
    sock.close()


def fill(sock: socket.socket) -> None:
    """Until it takes no more."""
    with contextlib.suppress(BlockingIOError):
        while True:
            sock.send(bytes(ROW_BYTES))


def test_every_row_goes_back_to_the_socket_it_came_from(table: Transfers, pair: Callable[[], Pair]) -> None:
    pairs = [pair() for _ in range(ROWS)]
    contents = [bytes([row]) * (row * 700 + 1) for row in range(ROWS)]
    for (_, far), content in zip(pairs, contents, strict=True):
        far.sendall(content)
    sizes = [len(content) for content in contents]
    assert sizes == table.read([near.fileno() for near, _ in pairs])
    assert contents == [bytes(table.row(row, size)) for row, size in enumerate(sizes)]
    assert sizes == table.send(ROWS)
    assert contents == [far.recv(ROW_BYTES) for _, far in pairs]


def test_a_row_takes_no_more_than_its_room_and_leaves_the_rest(table: Transfers, pair: Callable[[], Pair]) -> None:
    near, far = pair()
    far.sendall(b"x" * (ROW_BYTES + 5))
    assert [ROW_BYTES] == table.read([near.fileno()])
    assert [5] == table.read([near.fileno()])


def test_nothing_there_an_end_and_a_reset_are_told_apart(table: Transfers, pair: Callable[[], Pair]) -> None:
    silent, talking, ended, broken = (pair() for _ in range(4))
    talking[1].sendall(b"word")
    ended[1].close()
    reset(broken[1])
    results = table.read([near.fileno() for near, _ in (silent, talking, ended, broken)])
    assert [-errno.EAGAIN, 4, 0, -errno.ECONNRESET] == results


def test_what_a_full_socket_does_not_take_is_told(table: Transfers, pair: Callable[[], Pair]) -> None:
    full, free = pair(), pair()
    for _, far in (full, free):
        far.sendall(b"z" * 100)
    assert [100, 100] == table.read([full[0].fileno(), free[0].fileno()])
    fill(full[0])
    assert [-errno.EAGAIN, 100] == table.send(2)
    assert b"z" * 100 == free[1].recv(ROW_BYTES)


def test_a_dead_peer_is_told_and_the_others_have_theirs(table: Transfers, pair: Callable[[], Pair]) -> None:
    dead, well = pair(), pair()
    for _, far in (dead, well):
        far.sendall(b"w")
    assert [1, 1] == table.read([dead[0].fileno(), well[0].fileno()])
    reset(dead[1])
    assert [-errno.ECONNRESET, 1] == table.send(2)
    assert b"w" == well[1].recv(1)


def test_rows_the_kernel_did_not_take_up_are_refused_and_not_ended(table: Transfers, pair: Callable[[], Pair]) -> None:
    """It stops at a number that is no socket."""
    first, last = pair(), pair()
    for _, far in (first, last):
        far.sendall(b"abc")
    gone = socket.socket()
    number = gone.fileno()
    gone.close()
    sockets = [first[0].fileno(), number, last[0].fileno()]
    assert [3, -errno.EAGAIN, -errno.EAGAIN] == table.read(sockets)
    assert [-errno.EAGAIN] * 2 == table.read([number, number])
    assert b"abc" == last[0].recv(10)


def test_results_that_come_in_another_order_are_put_right(table: Transfers, pair: Callable[[], Pair]) -> None:
    """As from a kernel that works on requests side by side: the same events, the last first."""
    pairs = [pair() for _ in range(3)]
    for row, (_, far) in enumerate(pairs):
        far.sendall(b"v" * (row + 1))
    ask = table._call

    def backwards(number: object, *arguments: object) -> int:
        answer: int = ask(number, *arguments)
        if number is table._getevents:
            words = memoryview(table._events).cast("B").cast("q")
            events = [words[at : at + 4].tolist() for at in range(0, 4 * answer, 4)]
            for at, event in enumerate(reversed(events)):
                for word in range(4):
                    words[4 * at + word] = event[word]
        return answer

    table._call = backwards
    assert [1, 2, 3] == table.read([near.fileno() for near, _ in pairs])
    assert [1, 2, 3] == table.send(3)
    assert [b"v", b"vv", b"vvv"] == [far.recv(10) for _, far in pairs]


def test_results_that_come_in_parts_and_after_signals_are_all_waited_for(
    table: Transfers, pair: Callable[[], Pair]
) -> None:
    """As from a kernel that ends transfers later, where a signal cuts the wait short."""
    pairs = [pair() for _ in range(5)]
    for row, (_, far) in enumerate(pairs):
        far.sendall(b"v" * (row + 1))
    ask = table._call
    waits = 0

    def by_and_by(number: object, *arguments: object) -> int:
        nonlocal waits
        if number is not table._getevents:
            return ask(number, *arguments)
        waits += 1
        context, _, left, place, _ = arguments
        assert isinstance(left, ctypes.c_long)
        some = ctypes.c_long(min(left.value, waits % 3))
        return ask(number, context, some, some, place, None) if some.value else -1

    table._call = by_and_by
    assert [1, 2, 3, 4, 5] == table.read([near.fileno() for near, _ in pairs])
    assert waits > 3
    assert [1, 2, 3, 4, 5] == table.send(5)
    assert [b"v" * (row + 1) for row in range(5)] == [far.recv(10) for _, far in pairs]


def test_results_that_never_come_are_an_error(table: Transfers, pair: Callable[[], Pair]) -> None:
    near, far = pair()
    far.sendall(b"x")
    ask = table._call
    table._call = lambda number, *arguments: -1 if number is table._getevents else ask(number, *arguments)
    with pytest.raises(OSError, match="does not return their results"):
        table.read([near.fileno()])


@pytest.mark.parametrize("refused", [2, 3], ids=["io_getevents", "io_submit"])
def test_where_the_system_lets_a_table_be_made_and_not_used_there_is_none(
    monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    """As under a filter that knows some of the calls; here the kernel refuses a call that it does not have."""
    calls = {machine: [*numbers] for machine, numbers in module._CALLS.items()}
    for numbers in calls.values():
        numbers[refused] = 100_000
    monkeypatch.setattr(module, "_CALLS", calls)
    assert transfers(memoryview(bytearray(STRIDE_BYTES)), 1) is None


def test_a_table_that_does_not_echo_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a kernel whose AIO refuses sockets; here it writes where it should read."""
    monkeypatch.setattr(module, "_READ", module._WRITE)
    assert transfers(memoryview(bytearray(STRIDE_BYTES)), 1) is None


def test_a_table_that_was_no_good_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a descriptor nor the kernel's part, which is mapped into the process by this name."""

    def held() -> tuple[int, int]:
        return len(os.listdir("/proc/self/fd")), Path("/proc/self/maps").read_text().count("[aio]")

    before = held()
    table = transfers(memoryview(bytearray(STRIDE_BYTES)), 1)
    if table is not None:
        assert (before[0], before[1] + 1) == held()
        table.close()
    monkeypatch.setattr(module, "_READ", module._WRITE)
    assert transfers(memoryview(bytearray(STRIDE_BYTES)), 1) is None
    assert before == held()


def test_without_the_call_there_is_no_table(monkeypatch: pytest.MonkeyPatch) -> None:
    content = memoryview(bytearray(STRIDE_BYTES))
    monkeypatch.setattr(module, "_CALLS", {})
    assert transfers(content, 1) is None


def test_where_the_system_refuses_there_is_no_table() -> None:
    """More requests than any system allows: io_setup fails."""
    assert transfers(memoryview(bytearray(STRIDE_BYTES)), 1 << 30) is None


def test_each_block_goes_to_its_socket(table: Transfers, pair: Callable[[], Pair]) -> None:
    pairs = [pair() for _ in range(ROWS)]
    blocks = [bytes([row]) * (row * 2340 + 1) for row in range(ROWS)]
    assert len(blocks[-1]) <= ROW_BYTES
    sizes = [len(block) for block in blocks]
    assert sizes == table.send_blocks([near.fileno() for near, _ in pairs], [memoryview(block) for block in blocks])
    assert blocks == [far.recv(len(block), socket.MSG_WAITALL) for (_, far), block in zip(pairs, blocks, strict=True)]


def test_a_block_that_a_socket_does_not_take_says_so_and_the_others_go(
    table: Transfers, pair: Callable[[], Pair]
) -> None:
    pairs = [pair() for _ in range(3)]
    fill(pairs[1][0])
    sent = table.send_blocks([near.fileno() for near, _ in pairs], [memoryview(b"abc")] * 3)
    assert [3, -errno.EAGAIN, 3] == sent
    assert [b"abc", b"abc"] == [pairs[at][1].recv(4) for at in (0, 2)]
