"""Real workers: started, asked, given connections, replaced when they die or hang, and ended."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor as installed
from twisted.internet.defer import gatherResults
from twisted.logger import capturedLogs, formatEvent

from ctrlserver.workers import handing, rounds, supervisor
from ctrlserver.workers.channel import Lost
from ctrlserver.workers.snapshots import CLOSED, OPENED
from tests.workers.conftest import Workers, is_alive, read_line, until
from tests.workers.parts import Begin, Count, Die, Log, Sleep, WhoAreYou

reactor: Any = installed


@pytest_twisted.ensureDeferred
async def test_workers_answer_and_share_the_connections_of_a_burst(workers: Workers) -> None:
    made = await workers.start(3)
    assert made.has_room()
    lines = [await read_line(workers.connect()) for _ in range(9)]
    assert {"1": 3, "2": 3, "3": 3} == Counter(number for number, *_ in lines)
    assert [["0", "0", str(place)] for place in range(1, 10)] == [rest for _, *rest in lines]
    assert [3, 3, 3] == [await made.ask(number, Count()) for number in (1, 2, 3)]


@pytest_twisted.ensureDeferred
async def test_a_worker_shows_its_name_and_has_nothing_of_its_parents(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("LISTEN_FDS", "3")
    with socket.socket() as listening:
        listening.listen()
        os.set_inheritable(listening.fileno(), True)
        with contextlib.ExitStack() as many:  # so that those which come next have high numbers
            for _ in range(100):
                many.callback(os.close, os.dup(listening.fileno()))
            made = await workers.start(2)
    who = await made.ask(2, WhoAreYou())
    process = Path(f"/proc/{who['pid']}")
    assert (b"ctrlserver: worker 2\0", "ctrlworker 2\n") == (
        (process / "cmdline").read_bytes(),
        (process / "comm").read_text(),
    )
    assert os.SCHED_BATCH == os.sched_getscheduler(who["pid"])
    assert (workers.pid(2), os.getpid()) == (who["pid"], who["parent"])
    assert not {"NOTIFY_SOCKET", "LISTEN_FDS"} & set(who["environment"])
    assert "/dev/null" == who["files"].pop(0)
    sockets = [number for number, target in who["files"].items() if target.startswith("socket")]
    assert [3, 4] == sorted(sockets)[:2]
    assert 4 >= len(sockets), who["files"]  # the reactor has a pair of its own


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest_twisted.ensureDeferred
async def test_a_worker_is_replaced_though_the_process_that_forked_it_is_gone_or_hangs(
    workers: Workers, how: signal.Signals
) -> None:
    made = await workers.start(1)
    before, seed = workers.pid(1), made._seed._process
    assert seed is not None
    seed.send_signal(how)
    workers.signal(1, signal.SIGKILL)
    await until(lambda: workers.pid(1) not in (0, before) and made.rows()[0].state == "running")
    assert made.restarts <= 2  # the first try may have been in vain


@pytest_twisted.ensureDeferred
async def test_what_was_counted_before_a_question_is_in_its_answer(workers: Workers) -> None:
    made = await workers.start(2)
    for _ in range(4):
        await read_line(workers.connect())
    made.send(Count())
    first, second = made.refresh(), made.refresh()
    made.send(Count())
    third = made.refresh()
    await first
    await second
    await third
    assert 4 == workers.mirror.streams(OPENED)
    assert (4, 8, 8 * 1024) == (
        sum(row.streams_open for row in made.rows()),
        sum(row.packets_total for row in made.rows()),
        sum(row.bytes_total for row in made.rows()),
    )
    assert (() == made.late, 0.0) == (True, made.lag)


@pytest_twisted.ensureDeferred
async def test_whoever_asks_during_a_round_shares_the_next_one(workers: Workers) -> None:
    made = await workers.start(2)
    before = len(workers.mirror.applied)
    await gatherResults([made.refresh() for _ in range(100)])
    assert 2 == len(workers.mirror.applied) - before


@pytest_twisted.ensureDeferred
async def test_those_who_ask_again_when_a_round_ends_share_the_next_one(workers: Workers) -> None:
    made = await workers.start(2)
    before = len(workers.mirror.applied)
    await gatherResults([made.refresh().addCallback(lambda _: made.refresh()) for _ in range(100)])
    assert 3 == len(workers.mirror.applied) - before


@pytest_twisted.ensureDeferred
async def test_descriptors_go_with_the_first_message(workers: Workers) -> None:
    reads, writes = os.pipe()
    workers.begin = lambda number: (Begin(number, files=1), [writes])
    await workers.start(1)
    os.close(writes)
    assert b"worker 1" == os.read(reads, 100)
    assert b"" == os.read(reads, 100)  # nobody holds it any more
    os.close(reads)


@pytest_twisted.ensureDeferred
async def test_a_worker_that_is_killed_is_replaced_and_what_it_had_not_taken_goes_to_others(workers: Workers) -> None:
    made = await workers.start(2)
    for _ in range(2):
        await read_line(workers.connect())
    await made.refresh()
    before = workers.pid(1)
    workers.signal(1, signal.SIGSTOP)
    clients = [workers.connect() for _ in range(4)]
    with capturedLogs() as events:
        workers.signal(1, signal.SIGKILL)
        lines = [await read_line(client) for client in clients]
        await until(lambda: workers.pid(1) != before and made.rows()[0].state == "running")
    assert [[str(place)] for place in range(3, 7)] == [line[3:] for line in lines]
    assert ([1], 1, 1) == (workers.mirror.gone, made.restarts, made.rows()[0].restarts)
    lost = [event for event in events if event.get("event") == "worker-lost"]
    assert [("was ended by SIGKILL", before)] == [(event["how"], event["pid"]) for event in lost]
    assert 2 <= made.rows()[0].streams_total + made.rows()[1].streams_total


@pytest_twisted.ensureDeferred
async def test_of_a_turn_in_which_all_workers_fill_up_the_rest_is_served_too(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "MOST_WAITING", handing.BATCH)
    made = await workers.start(2)
    for number in (1, 2):
        workers.signal(number, signal.SIGSTOP)
    while made.has_room():
        workers.connect()
    clients = [workers.connect() for _ in range(3)]
    for number in (1, 2):
        workers.signal(number, signal.SIGCONT)
    first = len(workers.clients) - 2
    assert [[str(first + place)] for place in range(3)] == [(await read_line(client))[3:] for client in clients]


@pytest_twisted.ensureDeferred
async def test_a_worker_whose_descriptors_somebody_takes_away_loses_no_connection_and_is_given_no_more(
    workers: Workers,
) -> None:
    made = await workers.start(2)
    pid = workers.pid(1)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{pid}/fd")) + 3, before[1]))
    early = [workers.connect() for _ in range(20)]
    await made.refresh()
    assert ["2"] * 10 == [(await read_line(workers.connect()))[0] for _ in range(10)]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    assert {"1": 10, "2": 10} == Counter([(await read_line(each))[0] for each in early])


@pytest_twisted.ensureDeferred
async def test_the_last_words_of_a_worker_are_in_the_line_of_its_death(workers: Workers) -> None:
    made = await workers.start(1)
    words = "x" * 10_000 + "\nFatal: no more"
    with capturedLogs() as events, pytest.raises(Lost):
        await made.ask(1, Die(words))
    with capturedLogs() as later:
        await until(lambda: made.restarts)
    (lost,) = [event for event in [*events, *later] if event.get("event") == "worker-lost"]
    assert "exited with code 3" == lost["how"]
    assert lost["what"].endswith("x\nFatal: no more")
    assert 4096 + 2 == len(lost["what"])


@pytest_twisted.ensureDeferred
async def test_a_worker_that_hangs_is_late_then_killed_and_replaced(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LATE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "HUNG_SECONDS", 2.0)
    made = await workers.start(2)
    before = workers.pid(2)
    workers.signal(2, signal.SIGSTOP)
    await made.refresh()
    assert ((2,), "late") == (made.late, made.rows()[1].state)
    assert made.lag > 0
    assert ["1"] * 3 == [(await read_line(workers.connect()))[0] for _ in range(3)]
    with capturedLogs() as events:
        await until(lambda: workers.pid(2) != before and made.rows()[1].state == "running")
    assert ["did not answer for 2 s and was killed"] == [each["how"] for each in events if "how" in each]


@pytest_twisted.ensureDeferred
async def test_a_worker_that_goes_on_in_time_stays_and_its_answer_is_applied(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "LATE_SECONDS", 0.1)
    made = await workers.start(2)
    workers.signal(2, signal.SIGSTOP)
    await made.refresh()
    number = sum(2 in each for each in workers.mirror.applied)
    workers.signal(2, signal.SIGCONT)
    await until(lambda: () == made.late)
    assert sum(2 in each for each in workers.mirror.applied) > number
    assert (0, []) == (made.restarts, workers.mirror.gone)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/python"], "could not be started: no such file or directory: /no/python"),
        (
            [sys.executable, "-c", "raise SystemExit('no such module')"],
            f"could not be started: no such module: {sys.executable}",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_five_that_end_at_once_stop_the_daemon(workers: Workers, command: list[str], reason: str) -> None:
    made = workers.make(1, command)
    made.start()
    with capturedLogs() as events:
        await until(lambda: workers.failures)
    assert [f"worker 1 ended 5 times in a row as soon as it was started: it {reason}"] == workers.failures
    lines = [formatEvent(event) for event in events if event.get("event") == "worker-lost"]
    assert [*[f"worker 1 {reason}; another takes its place"] * 4, f"worker 1 {reason}"] == lines
    assert 0 == made.restarts, "there was none before"


@pytest_twisted.ensureDeferred
async def test_a_worker_that_cannot_begin_says_why(workers: Workers) -> None:
    workers.begin = lambda number: (Begin(number, fails="no such thing"), ())
    workers.make(1).start()
    with capturedLogs() as events:
        await until(lambda: workers.failures)
    assert workers.failures[0].startswith(
        "worker 1 ended 5 times in a row as soon as it was started: it could not begin: no such thing"
    )
    assert {1} == {event["worker"] for event in events if event.get("event") == "worker-lost"}
    assert -1 == workers.supervisor._workers[1].hander.fileno(), "its sockets are closed"


@pytest_twisted.ensureDeferred
async def test_its_log_is_the_parents_with_its_number(workers: Workers) -> None:
    made = await workers.start(2)
    with capturedLogs() as events:
        await made.ask(2, Log("a debug line", "debug"))
        await made.ask(2, Log("{braces} and more"))
        await made.ask(1, Log("as bad as that", fails=True))
    assert [(2, "told", "tests.parts", 3), (1, None, "tests.parts", None)] == [
        (each["worker"], each.get("event"), each["log_namespace"], each.get("number")) for each in events
    ]
    assert "{braces} and more" == events[0]["log_told"]
    assert ("ValueError", "as bad as that") == (
        events[1]["log_failure"].type.__name__,
        events[1]["log_failure"].getErrorMessage(),
    )
    assert "parts.py" in events[1]["log_failure"].getTraceback()


@pytest_twisted.ensureDeferred
async def test_signals_for_the_parent_leave_a_worker_alone(workers: Workers) -> None:
    made = await workers.start(1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        workers.signal(1, number)
    assert workers.pid(1) == (await made.ask(1, WhoAreYou()))["pid"]


@pytest_twisted.ensureDeferred
async def test_an_end_has_the_last_figures_of_all_and_leaves_no_process(workers: Workers) -> None:
    made = await workers.start(3)
    for _ in range(5):
        await read_line(workers.connect())
    pids = [row.pid for row in made.rows()]
    await made.stop()
    assert (5, 5, []) == (workers.mirror.streams(OPENED), workers.mirror.streams(CLOSED), workers.mirror.gone)
    assert not any(is_alive(pid) for pid in pids)


@pytest_twisted.ensureDeferred
async def test_an_end_does_not_wait_for_one_that_hangs_and_closes_what_that_had_not_taken(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_SECONDS", 0.2)
    made = await workers.start(2)
    pids = [row.pid for row in made.rows()]
    made.tell(1, Sleep(60))
    clients = [workers.connect() for _ in range(4)]
    await made.stop()
    assert [1] == workers.mirror.gone
    assert not any(is_alive(pid) for pid in pids)
    for each in clients:
        each.setblocking(False)
        while each.recv(100):  # to its end
            pass
