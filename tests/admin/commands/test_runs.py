from __future__ import annotations

from ctrlserver.stats.counters import Origin
from tests.admin.conftest import Peer, Server, refusal


def test_runs_are_rows_newest_first(peer: Peer) -> None:
    assert ["OK 0"] == peer.asks("runs")
    for name in ("first", "second", "third"):
        assert name == peer.asks_json(f"run start {name}")["data"]["name"]
    reply = peer.asks_json("runs")
    assert (3, ["third", "second", "first"]) == (reply["total"], [row["name"] for row in reply["data"]])
    assert "OK 2 of 3" == peer.asks("runs limit=2")[-1]


def test_a_run_by_order_is_measured(server: Server, peer: Peer) -> None:
    lines = peer.asks("run start soak expect=10")
    assert {"run 1", "name soak", "state active", "expected_packets 10"} <= set(lines)
    assert f"OK {len(lines) - 1}" == lines[-1]
    server.stream(10)
    assert 10 == peer.asks_json("run 1")["data"]["packets"]
    server.clock.advance(2)
    ended = peer.asks_json("run stop")["data"]
    assert ("ended", 10, True) == (ended["state"], ended["packets"], ended["complete"])
    assert ended == peer.asks_json("run run=1")["data"]


def test_run_stop_without_a_run_is_409(peer: Peer) -> None:
    assert ("409", "no-active-run") == refusal(peer.asks("run stop"))


def test_run_refuses_what_it_cannot_do(peer: Peer) -> None:
    assert ["ERR 404 unknown-run no run 1; there has been none yet"] == peer.asks("run 1")
    peer.asks("run start x")
    assert ["ERR 404 unknown-run no run 2; the newest is 1"] == peer.asks("run 2")
    assert ("400", "missing-argument") == refusal(peer.asks("run"))
    assert ("400", "missing-argument") == refusal(peer.asks("run start"))
    assert ("400", "missing-argument") == refusal(peer.asks("run start expect=5"))
    assert ("400", "bad-argument") == refusal(peer.asks("run start x expect=1e3"))
    (line,) = peer.asks("run strat x")
    assert 'run "strat": expected a whole number in plain digits; did you mean "start"?' in line


def test_runs_are_chosen_by_name_time_listener_and_label_and_follow_a_run(server: Server, peer: Peer) -> None:
    for name in ("soak 1", "soak 2", "burst"):
        peer.asks(f"run start '{name}'")
    server.stream(1)
    for given, runs in {
        "name=soak*": [2, 1],
        "before=3": [2, 1],
        "limit=1 before=3": [2],
        "listener=data": [3],
        "listener=other": [],
        "label=site:nowhere": [],
        "until=2001-01-01": [],
        "since=2001-01-01T00:00 until=2100-01-01": [3, 2, 1],
        "since=1000000000": [3, 2, 1],
        "since=2099": [],
        "since=20990101": [],
    }.items():
        assert runs == [row["run"] for row in peer.asks_json(f"runs {given}")["data"]], given
    assert "OK 1 of 3" == peer.asks("runs limit=1 before=3")[-1]


def test_a_label_is_asked_for_whatever_its_value_holds() -> None:
    labels = {"site": r"lab, 1\2", "rack": "a:b"}
    server = Server(origin=Origin("data", "tcp", "fixed:1024", "sink", 1024, labels=labels))
    server.stream(1)
    peer = server.connect()
    for given, runs in {
        r'"site:lab\, 1\\2"': [1],
        r'"rack:a:b,site:lab\, 1\\2"': [1],
        r'"site:lab\, 1\2"': [],
        r'"site:lab\\, rack:a:b"': [],
        "site:lab": [],
    }.items():
        assert runs == [row["run"] for row in peer.asks_json(f"runs label={given}")["data"]], given
    for wrong in ("site:a,b", "site:a,", ",site:a", "site:a\\", "a,,b:c"):
        assert ("400", "bad-argument") == refusal(peer.asks(f"runs label={wrong}")), wrong


def test_runs_refuse_what_cannot_choose(peer: Peer) -> None:
    assert ("400", "bad-argument") == refusal(peer.asks("runs since=yesterday"))
    assert ("400", "bad-argument") == refusal(peer.asks("runs label=site"))
    assert ("404", "unknown-run") == refusal(peer.asks("runs before=7"))
