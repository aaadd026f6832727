"""The gate and the idle sweep, by both ways in."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest
import pytest_twisted
from attrs import define
from twisted.internet import task
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from ctrlserver.net.gate import Gate, Seats
from ctrlserver.net.listeners import CannotBind, bound, removed_leftover, why
from tests.net.conftest import Serve, in_thread, read_to_end


@pytest_twisted.ensureDeferred
async def test_one_stream_too_many_is_closed_at_once_and_is_no_stream(serve: Serve) -> None:
    served = await serve("line", "echo", gate=Gate(Seats(limit=1)))

    def script() -> bytes:
        with served.connect() as first:
            first.sendall(b"a\n")
            assert b"a\n" == first.recv(10)
            return read_to_end(served.connect())

    assert b"" == await in_thread(script)
    await served.book.closed.get()
    stats = served.book.stats(served.listener._clock())
    assert (1, 0, 1) == (stats.streams_total, stats.streams_open, stats.rejected_max_streams_total)
    assert 0 == served.listener.terms.gate.seats.taken


@pytest_twisted.ensureDeferred
async def test_a_silent_stream_is_closed_as_idle(serve: Serve) -> None:
    served = await serve("line", "echo", idle_timeout=0.05)
    client = await in_thread(served.connect)
    client.sendall(b"a\n")
    assert b"a\n" == await in_thread(client.recv, 10)
    sweeping = task.LoopingCall(served.listener.sweep)
    sweeping.start(0.02)
    assert b"" == await in_thread(read_to_end, client)
    sweeping.stop()
    (record,) = served.records()
    assert ("idle", 1) == (record.reason, record.packets)


@pytest_twisted.ensureDeferred
async def test_a_stream_that_is_owed_replies_is_not_idle(serve: Serve) -> None:
    from twisted.internet import reactor

    served = await serve("fixed:1024", "echo", idle_timeout=0.01, stall_timeout=0.5)

    def script() -> None:
        client = served.connect(receive_buffer=4096)
        try:
            while True:
                client.send(b"x" * 65536, socket.MSG_NOSIGNAL)
        except OSError:
            client.close()

    sending = in_thread(script)
    while not served.listener.open_streams.waiting:  # from when replies are owed, which nobody ever reads
        await task.deferLater(reactor, 0)
    sweeping = task.LoopingCall(served.listener.sweep)
    sweeping.start(0.02)
    await sending
    sweeping.stop()
    (record,) = served.records()
    assert "slow-reader" == record.reason


@pytest_twisted.ensureDeferred
async def test_a_unix_socket_at_which_nobody_listens_is_taken_over(tmp_path: Path) -> None:
    from twisted.internet import reactor

    path = tmp_path / "data.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    path.with_name("data.sock.lock").symlink_to(str(os.getpid()))  # of a server in a container that had our number
    port = bound("data", "unix", lambda: serverFromString(reactor, f"unix:{path}").listen(Factory()))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    await port.stopListening()  # type: ignore[misc]


@pytest.mark.parametrize("what", ["somebody listens", "somebody refuses for a while", "no socket"])
@pytest_twisted.ensureDeferred
async def test_what_is_not_left_over_is_not_taken(tmp_path: Path, what: str) -> None:
    from twisted.internet import reactor

    path = tmp_path / "data.sock"
    with socket.socket(socket.AF_UNIX) as other:
        if what == "no socket":
            path.write_text("mine")
        else:
            other.bind(str(path))
        if what == "somebody listens":
            other.listen()
        path.with_name("data.sock.lock").symlink_to(str(os.getpid()))
        with pytest.raises(CannotBind, match="a server listens there already"):
            bound("data", "unix", lambda: serverFromString(reactor, f"unix:{path}").listen(Factory()))
    assert path.exists()


@pytest.mark.parametrize("lock", ["none", "of a process that is gone"])
@pytest.mark.parametrize("before", ["unix:", "unix:address=", "haproxy:unix:"])
@pytest_twisted.ensureDeferred
async def test_a_unix_socket_at_which_somebody_listens_stays_whatever_its_lock_says(
    tmp_path: Path, before: str, lock: str
) -> None:
    from twisted.internet import reactor

    path = tmp_path / "data.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen()
        if lock != "none":  # in another container, say
            path.with_name("data.sock.lock").symlink_to(str(1 << 30))
        with pytest.raises(CannotBind, match="a server listens there already"):
            bound("data", f"{before}{path}", lambda: serverFromString(reactor, f"unix:{path}").listen(Factory()))
        client.connect(str(path))
    assert (lock != "none") == os.path.lexists(f"{path}.lock")


def test_a_folder_that_is_not_there_is_told_without_the_number_of_our_process(tmp_path: Path) -> None:
    where = f"unix:{tmp_path}/none/data.sock"
    with pytest.raises(CannotBind) as caught:
        bound("data", where, lambda: os.symlink(str(os.getpid()), tmp_path / "none" / "data.sock.lock"))
    assert f"cannot listen for data on {where}: no such file or directory" == str(caught.value)


@pytest.mark.parametrize("where", [b"", b"\0name", 22222])
def test_what_is_no_file_is_never_left_over(where: bytes | int) -> None:
    assert not removed_leftover(CannotListenError(None, where, "in use"))


@define
class Owing:
    """The kernel's word on a peer."""

    seconds: float

    def tcp_figures(self) -> None:
        return None

    def unanswered_seconds(self) -> float:
        return self.seconds


@pytest_twisted.ensureDeferred
async def test_a_stream_is_given_up_when_its_peer_has_owed_an_answer_for_the_keepalive(serve: Serve) -> None:
    from twisted.internet import reactor

    served = await serve("line", "echo", keepalive=20.0)
    silent, dead = served.connect(), served.connect()
    await served.book.opened.get()
    number = await served.book.opened.get()
    await task.deferLater(reactor, 0)  # what opened it has returned
    clock = task.Clock()
    clock.advance(time.monotonic() + 21.0)
    served.listener._clock = clock.seconds
    served.listener.sweep()
    assert 2 == served.book.stats(0.0).streams_open

    counters = served.book.counters.open[number]
    counters.path = owing = Owing(19.9)
    clock.advance(6.0)
    served.listener.sweep()
    assert 2 == served.book.stats(0.0).streams_open
    owing.seconds = 20.0
    clock.advance(6.0)
    served.listener.sweep()
    assert ("closed", "timeout") == (counters.state, counters.reason)
    assert (1, 1) == (served.book.stats(0.0).streams_open, served.book.stats(0.0).closed_timeout_total)
    silent.close()
    dead.close()


@pytest_twisted.ensureDeferred
async def test_many_dead_peers_are_given_up_in_portions(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    from twisted.internet import reactor

    monkeypatch.setattr("ctrlserver.net.listeners.ASKED_A_SWEEP", 2)
    served = await serve("line", "echo", keepalive=20.0)
    dead = [served.connect() for _ in range(5)]
    for _ in dead:
        await served.book.opened.get()
    await task.deferLater(reactor, 0)  # what opened them has returned
    for counters in served.book.counters.open.values():
        counters.path = Owing(21.0)
    clock = task.Clock()
    clock.advance(time.monotonic() + 21.0)
    served.listener._clock = clock.seconds
    left = []
    for _ in range(3):
        served.listener.sweep()
        left.append(len(served.book.counters.open))
    assert [3, 1, 0] == left
    for client in dead:
        client.close()


def test_a_file_that_listening_lacks_is_named() -> None:
    """In a bare chroot it is /dev/null."""
    with pytest.raises(OSError, match="No such file") as caught:
        open("/nowhere/null", "rb").close()
    assert "no such file or directory: /nowhere/null" == why(caught.value)
