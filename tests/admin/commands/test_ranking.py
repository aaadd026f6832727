from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.admin.commands.ranking import A_STEP, Ranked, rank
from ctrlserver.stats.counters import Origin
from ctrlserver.stats.records import ListenerRecord
from ctrlserver.stats.rename import Renames
from tests.admin.conftest import Peer, Server, refusal


@given(st.lists(st.none() | st.integers() | st.text(max_size=2), max_size=40), st.integers(1, 50), st.booleans())
def test_the_first_of_an_order_are_found_in_steps(values: list[Any], limit: int, turned: bool) -> None:
    numbered, looked, before = list(enumerate(values)), 0, 0

    def key(each: tuple[int, Any]) -> tuple[Any, ...]:
        nonlocal looked
        looked += 1
        return (*rank(each[1], turned=turned), each[0])

    ranked, found = Ranked(numbered, key, limit), []
    for each in ranked:
        assert looked - before <= A_STEP
        before = looked
        found += [] if each is None else [each[1]]
    numbers = sorted((each for each in values if isinstance(each, int)), reverse=not turned)
    texts = sorted((each for each in values if isinstance(each, str)), reverse=turned)
    expected = [*numbers, *texts, *[None] * values.count(None)]
    assert expected[:limit] == found
    assert found == [each[1] for each in ranked if each is not None]
    assert len(values) == ranked.total


def names(peer: Peer, line: str, field: str = "stream") -> list[Any]:
    return [row[field] for row in peer.asks_json(line)["data"]]


@pytest.fixture
def three(server: Server, peer: Peer) -> Peer:
    """Streams of 5, 9 and 1 packets; the last one is open, and the first is of another listener."""
    server.origin, other = Origin("other", "tcp", "line", "sink"), server.origin
    server.stream(5)
    server.origin = other
    server.stream(9, peer="10.0.0.2:1")
    server.stream(1, open=True)
    return peer


def test_streams_are_sorted_by_any_field(three: Peer) -> None:
    assert [2, 1, 3] == names(three, "streams sort=packets")
    assert [3, 1, 2] == names(three, "streams sort=-packets")
    assert [3, 2, 1] == names(three, "streams sort=listener")
    assert [2, 1] == names(three, "streams sort=packets closed")
    assert "OK 1 of 3" == three.asks("streams sort=packets limit=1")[-1]
    assert 3 == three.asks_json("streams sort=packets 1")["total"]
    assert [2] == names(three, "streams sort=packets peer=10.0.0.2")


def test_streams_of_a_worker(server: Server, three: Peer) -> None:
    assert [3, 2, 1] == names(three, "streams worker=1")
    wrong = "ERR 404 unknown-worker no worker 2; the server is one process, worker 1"
    assert [wrong] == three.asks("streams worker=2")
    server.book.workers = lambda: (4, 0, 0)
    for stream in (*server.book.counters.open.values(), *server.book.counters.recent):
        stream.worker = 1 if stream.stream == 2 else 3
    assert [3, 1] == names(three, "streams worker=3")
    assert [1] == names(three, "streams worker=3 listener=other")
    assert ["OK 0"] == three.asks("streams worker=4")
    assert ["ERR 404 unknown-worker no worker 5; they are 1 to 4"] == three.asks("streams worker=5 sort=packets")
    assert ("400", "bad-argument") == refusal(three.asks("streams worker=0"))


def test_streams_of_a_listener(server: Server, three: Peer) -> None:
    assert [1] == names(three, "streams listener=other")
    assert [3, 2] == names(three, "streams listener=data")
    assert "OK 1 of 2" == three.asks("streams listener=data limit=1")[-1]
    assert ("404", "unknown-listener") == refusal(three.asks("streams listener=nobody"))
    record = ListenerRecord("quiet", "tcp:5", "0.0.0.0:5", None, "line", "sink", 0, 0, 0, 0, False)
    server.factory.desk = evolve(server.desk, listeners=lambda *_: [record])
    peer = server.connect()
    assert ["OK 0"] == peer.asks("streams listener=quiet")
    assert peer.asks("streams listener=quite")[0].endswith('did you mean "quiet"?')


def test_fields_are_the_columns_in_their_order(three: Peer) -> None:
    assert ["#", "packets", "stream"] == three.asks("streams fields=packets,stream")[0].split()
    assert [{"packets": 9, "peer": "10.0.0.2:1"}] == three.asks_json("streams sort=packets 1 fields=packets,peer")[
        "data"
    ]
    assert [{"run": 1}] == three.asks_json("runs 1 fields=run")["data"]


@pytest.mark.parametrize("command", ["streams", "runs"])
def test_the_columns_that_an_error_suggests_are_there(three: Peer, command: str) -> None:
    (error,) = three.asks(f"{command} fields=")
    suggested = error.partition("such as ")[2].partition(", each once")[0]
    assert suggested.split(",") == three.asks(f"{command} fields={suggested}")[0].split()[1:]


def test_fields_and_sort_go_by_published_names_labels_too(server: Server) -> None:
    server.origin = Origin("data", "tcp", "line", "sink", None, {"site": "lab"})
    server.book.renames = Renames((("packets", "messages"),), fields=("site",))
    server.stream(4)
    peer = server.connect()
    assert [{"messages": 4, "site": "lab"}] == peer.asks_json("streams sort=messages fields=messages,site")["data"]
    assert 'ERR 404 unknown-field "packets" is published as "messages"' == peer.asks("streams sort=packets")[0]
    assert 'ERR 404 unknown-field "packets" is published as "messages"' == peer.asks("runs fields=packets")[0]
    assert peer.asks("streams fields=pere")[0].endswith('did you mean "peer"?')
    assert ("400", "bad-argument") == refusal(peer.asks("streams fields=peer,,packets"))
    assert ("400", "bad-argument") == refusal(peer.asks("streams fields=peer,peer"))


def test_a_sorted_list_of_many_streams_is_made_in_slices(server: Server) -> None:
    server.bounded(turn_seconds=-1.0)
    for number in range(600):
        server.stream(number)
    peer, other = server.connect(), server.connect()
    assert b"" == peer.says(b"streams sort=packets limit=500\n")
    server.clock.advance(0)
    other.says(b"ping\n")
    server.clock.advance(0)
    assert b"OK pong\r\n" == other.transport.sent
    while server.clock.getDelayedCalls()[0].getTime() <= server.clock.seconds():
        server.clock.advance(0)
    lines = peer.transport.sent.decode().splitlines()
    assert "OK 500 of 600" == lines[-1]
    assert [str(number) for number in range(600, 100, -1)] == [line.split()[0] for line in lines[1:-1]]
