from __future__ import annotations

from ctrlserver.stats.records import as_mapping, describe
from ctrlserver.stats.rename import Renames
from tests.admin.conftest import Asks, Peer, Server, refusal


def test_stats_is_the_stats_record(server: Server, peer: Peer) -> None:
    server.stream(10)
    expected = as_mapping(server.book.stats(server.clock.seconds()))
    lines = peer.asks("stats")
    assert list(expected) == [line.split()[0] for line in lines[:-1]]
    assert f"OK {len(expected)}" == lines[-1]
    assert "packets_total 10" in lines
    assert expected == peer.asks_json("stats")["data"]
    assert 10 == peer.asks_json("stats")["data"]["packets_total"]


def test_stats_takes_a_prefix_of_published_names(server: Server, peer: Peer) -> None:
    assert ["bytes_total 0", "bytes 0", "OK 2"] == peer.asks("stats bytes")
    server.book.renames = Renames((("bytes", "octets"),))
    assert ["bytes_total 0", "OK 1"] == peer.asks("stats bytes")
    assert {"octets": 0} == peer.asks_json("stats prefix=oct")["data"]


def test_an_unknown_prefix_is_404(server: Server, asks: Asks) -> None:
    assert ['ERR 404 unknown-field "paket"; did you mean "packets"?'] == asks("stats paket")
    assert ['ERR 404 unknown-field "zzz"; "describe" lists the fields'] == asks("stats zzz")
    server.book.renames = Renames((("uptime_seconds", "age"),))
    assert ['ERR 404 unknown-field "uptime_seconds" is published as "age"'] == asks("stats uptime_seconds")


def test_describe_lists_every_published_field(peer: Peer) -> None:
    reply = peer.asks_json("describe")
    assert len(describe()) == reply["total"] == len(reply["data"])
    assert ["name", "record", "kind", "unit", "help"] == list(reply["data"][0])
    assert ["#", "name", "record", "kind", "unit", "help"] == peer.asks("describe")[0].split()


def test_describe_of_a_field_knows_all_records_and_renames(server: Server, peer: Peer) -> None:
    assert ["stats", "stream", "run", "peer", "interval"] == [
        row["record"] for row in peer.asks_json("describe packets")["data"]
    ]
    server.book.renames = Renames((("packets", "messages"),))
    assert ["messages"] * 5 == [row["name"] for row in peer.asks_json("describe messages")["data"]]
    assert ['ERR 404 unknown-field "packets" is published as "messages"'] == peer.asks("describe packets")
    assert ("404", "unknown-field") == refusal(peer.asks("describe mesages"))


def test_reset_gives_the_closed_reading(server: Server, peer: Peer) -> None:
    server.stream(10)
    assert 10 == peer.asks_json("reset")["data"]["packets"]
    stats = peer.asks_json("stats")["data"]
    assert (0, 10, 1) == (stats["packets"], stats["packets_total"], stats["resets_total"])
