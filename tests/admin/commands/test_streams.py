from __future__ import annotations

from typing import Any

from ctrlserver.stats.kept import KeptPackets
from tests.admin.conftest import Peer, Server, refusal

# streams


def test_streams_are_rows_newest_first(server: Server, peer: Peer) -> None:
    server.stream(1)
    server.stream(2, open=True)
    lines = peer.asks("streams")
    assert lines[0].startswith("# stream ")
    assert ["2", "1"] == [line.split()[0] for line in lines[1:-1]]
    assert "OK 2" == lines[-1]
    reply = peer.asks_json("streams")
    assert (2, [2, 1]) == (reply["total"], [row["stream"] for row in reply["data"]])
    assert [2] == [row["stream"] for row in peer.asks_json("streams open")["data"]]
    assert [1] == [row["stream"] for row in peer.asks_json("streams state=closed")["data"]]


def test_no_streams_are_a_status_line(peer: Peer) -> None:
    assert ["OK 0"] == peer.asks("streams")
    assert {"ok": True, "command": "streams", "data": [], "total": 0} == peer.asks_json("streams")


def test_streams_of_a_peer(server: Server, peer: Peer) -> None:
    for number in range(4):
        server.stream(1, peer=f"10.0.0.{number % 2}:{number}")
    assert [3] == [row["stream"] for row in peer.asks_json("streams peer=10.0.0.0:2")["data"]]
    assert [3, 1] == [row["stream"] for row in peer.asks_json("streams closed peer=10.0.0.0")["data"]]
    assert ["OK 0"] == peer.asks("streams peer=nowhere")


def test_a_long_list_is_cut_with_a_word(server: Server, peer: Peer) -> None:
    for _ in range(230):
        server.stream()
    lines = peer.asks("streams")
    assert (102, "OK 100 of 230") == (len(lines), lines[-1])
    reply = peer.asks_json("streams")
    assert (100, 230) == (len(reply["data"]), reply["total"])
    assert "OK 5 of 230" == peer.asks("streams limit=5")[-1]
    assert "OK 230" == peer.asks("streams limit=1000")[-1]
    assert "OK 230" == peer.asks("streams limit=230")[-1]
    assert ("400", "bad-argument") == refusal(peer.asks("streams limit=0"))


def test_renames_hold_for_streams_in_text_and_json(server: Server, peer: Peer) -> None:
    server.stream(3)
    before = peer.asks_json("streams")["data"][0]
    assert ["OK renamed"] == peer.asks("rename protocol inet_protocol")
    after = peer.asks_json("streams")["data"][0]
    assert ["inet_protocol" if name == "protocol" else name for name in before] == list(after)
    assert list(before.values()) == list(after.values())
    header = peer.asks("streams")[0].split()
    assert "inet_protocol" in header
    assert "protocol" not in header


# peers


def test_peers_are_what_the_closed_streams_of_each_host_came_to(server: Server, peer: Peer) -> None:
    for number in range(3):
        server.stream(number, peer=f"10.0.0.1:{number}")
    server.stream(5, peer="10.0.0.1:9", open=True)
    (row,) = peer.asks_json("peers")["data"]
    assert {"peer": "10.0.0.1", "listener": "data", "streams": 3, "packets": 3, "bytes": 3072} == row
    server.stream(1, peer="10.0.0.2:1")
    assert "OK 1 of 2" == peer.asks("peers limit=1")[-1]


# kick


def test_kick_ends_an_open_stream(server: Server, peer: Peer) -> None:
    server.stream(1, open=True)
    assert ["OK kicked"] == peer.asks("kick 1")
    assert [1] == server.kicked
    server.stream(1, open=True)
    assert {"kicked": 2} == peer.asks_json("kick stream=2")["data"]


def test_kick_of_a_stream_that_is_not_open(server: Server, peer: Peer) -> None:
    assert ["ERR 404 unknown-stream no stream 1 is on view; there has been none yet"] == peer.asks("kick 1")
    server.stream(1)
    assert ["ERR 404 unknown-stream no stream 7 is on view; the newest is 1"] == peer.asks("kick 7")
    assert ["ERR 409 stream-closed stream 1 is closed already, by reason eof"] == peer.asks("kick 1")
    assert ("400", "bad-argument") == refusal(peer.asks("kick one"))
    assert ("400", "missing-argument") == refusal(peer.asks("kick"))


# packets


def test_packets_are_dumped_oldest_first(server: Server, peer: Peer) -> None:
    stream = server.stream(open=True)
    stream.kept = KeptPackets(20, 1024)
    stream.kept.add([b"Hello", b"", b"ERR\x00" * 5])
    expected = [
        "# packet 1 5 bytes",
        "00000000  48 65 6c 6c 6f                                    |Hello|",
        "# packet 2 0 bytes",
        "# packet 3 20 bytes",
        "00000000  45 52 52 00 45 52 52 00  45 52 52 00 45 52 52 00  |ERR.ERR.ERR.ERR.|",
        "00000010  45 52 52 00                                       |ERR.|",
        "OK 3",
    ]
    assert expected == peer.asks("packets 1")
    reply = peer.asks_json("packets 1 limit=1")
    assert [{"packet": 3, "bytes": 20, "hex": "45525200" * 5, "ascii": "ERR." * 5}] == reply["data"]
    assert 3 == reply["total"]


def test_packets_shows_ten_without_a_limit_and_says_so(server: Server, peer: Peer) -> None:
    stream = server.stream()
    stream.kept = KeptPackets(20, 1024)
    stream.kept.add([b"x"] * 30)
    lines = peer.asks("packets 1")
    assert ("# packet 21 1 bytes", "OK 10 of 20") == (lines[0], lines[-1])
    assert "OK 20" == peer.asks("packets 1 limit=50")[-1]


def test_packets_of_a_stream_that_keeps_none(server: Server, peer: Peer) -> None:
    server.stream(5)
    (line,) = peer.asks("packets 1")
    assert line.startswith("ERR 409 keeps-nothing ")
    assert "keep = N" in line
    assert ("404", "unknown-stream") == refusal(peer.asks("packets 2"))


def numbers(reply: Any) -> list[int]:
    return [row["stream"] for row in reply["data"]]


def test_a_page_of_streams_begins_behind_offset_in_whatever_order(server: Server, peer: Peer) -> None:
    for packets in (3, 1, 2, 5, 4):
        server.stream(packets, open=True)
    assert [3, 2] == numbers(peer.asks_json("streams limit=2 offset=2"))
    assert [5, 1] == numbers(peer.asks_json("streams sort=packets limit=2 offset=1"))
    assert [] == numbers(peer.asks_json("streams sort=packets offset=5"))
    assert 5 == peer.asks_json("streams offset=4")["total"]
    assert "OK 2 of 5" == peer.asks("streams sort=packets limit=2 offset=3")[-1]
    assert ("400", "bad-argument") == refusal(peer.asks("streams offset=-1"))


def test_find_has_the_streams_with_a_text_in_one_of_their_words(server: Server, peer: Peer) -> None:
    server.stream(1, "10.0.0.1:4000", open=True)
    server.stream(2, "10.0.7.2:4000")
    server.stream(3, "[fd00::A7]:4000", open=True)
    assert [2] == numbers(peer.asks_json("streams find=0.7."))
    assert [3, 2] == numbers(peer.asks_json("streams find=7"))
    assert [3] == numbers(peer.asks_json("streams find=a7"))
    assert [2] == numbers(peer.asks_json("streams find=EOF"))
    assert [3, 2, 1] == numbers(peer.asks_json("streams find=sink"))
    assert [3] == numbers(peer.asks_json("streams find=fd00 sort=bytes"))
    reply = peer.asks_json("streams find=sink limit=1 offset=1")
    assert ([2], 3) == (numbers(reply), reply["total"])
    assert 0 == peer.asks_json("streams find=nobody")["total"]
