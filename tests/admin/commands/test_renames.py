from __future__ import annotations

from ctrlserver.stats.rename import Renames
from tests.admin.conftest import Peer, Server, refusal


def test_renames_are_listed_and_taken_back(peer: Peer) -> None:
    assert ["OK 0"] == peer.asks("rename")
    assert {"old": "packets", "new": "messages"} == peer.asks_json("rename packets messages")["data"]
    assert ["# old    new", "packets  messages", "OK 1"] == peer.asks("rename")
    assert ["OK unrenamed"] == peer.asks("unrename messages")
    assert {"ok": True, "command": "rename", "data": [], "total": 0} == peer.asks_json("rename")


def test_a_published_name_can_be_renamed_again(server: Server, peer: Peer) -> None:
    peer.asks("rename packets messages")
    assert ["OK renamed"] == peer.asks("rename messages telegrams")
    assert (("packets", "telegrams"),) == server.book.renames.pairs


def test_a_rename_conflict_is_409_and_changes_nothing(server: Server, peer: Peer) -> None:
    peer.asks("rename protocol inet_protocol")
    before = server.book.renames
    (line,) = peer.asks("rename mode inet_protocol")
    assert line.startswith("ERR 409 rename-conflict ")
    assert '"inet_protocol"' in line
    assert ("409", "rename-conflict") == refusal(peer.asks("rename mode framing"))
    assert before is server.book.renames


def test_unrename_that_would_hide_a_field_is_409(server: Server, peer: Peer) -> None:
    server.book.renames = Renames((("mode", "framing"), ("framing", "mode")))
    assert ("409", "rename-conflict") == refusal(peer.asks("unrename mode"))
    assert 2 == len(server.book.renames.pairs)


def test_rename_refuses_bad_names(peer: Peer) -> None:
    assert ['ERR 404 unknown-field "protocl"; did you mean "protocol"?'] == peer.asks("rename protocl x")
    for bad in ("1x", "OKAY", "ERR", "a b", "é", "a,b"):
        code, _ = refusal(peer.asks(f"rename protocol {bad}"))
        assert "400" == code
    assert ("400", "missing-argument") == refusal(peer.asks("rename protocol"))
    assert ("400", "missing-argument") == refusal(peer.asks("rename new=x"))
    assert ['ERR 404 unknown-rename no field is renamed to "x"; "rename" lists the renames'] == peer.asks("unrename x")
