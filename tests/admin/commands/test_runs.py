from __future__ import annotations

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
