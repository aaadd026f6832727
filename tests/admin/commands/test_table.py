from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.admin.arguments import usage
from ctrlserver.admin.commands.table import COMMANDS, Level
from ctrlserver.stats.kept import KeptPackets
from ctrlserver.stats.records import as_mapping, describe
from ctrlserver.stats.rename import Renames
from tests.admin.conftest import Peer, Server

Asks = Callable[[str], list[str]]


def refusal(lines: list[str]) -> tuple[str, str]:
    """Code and id of a reply that must be one ERR line."""
    (line,) = lines
    word, code, id, _ = line.split(" ", 3)
    assert "ERR" == word
    return code, id


# help, version, ping, quit


def test_help_lists_every_command_in_a_line_with_its_level(asks: Asks) -> None:
    lines = asks("help")
    assert f"OK {len(COMMANDS)}" == lines[-1]
    assert len(COMMANDS) == len(lines) - 1
    assert any(re.fullmatch(r"run start NAME \[expect=N\] +operator +Begin a run.*", line) for line in lines)
    assert any(re.fullmatch(r"stats \[PREFIX\] +viewer +What the server.*", line) for line in lines)


def test_the_commands_are_those_of_the_issue() -> None:
    expected = {"help", "version", "ping", "stats", "describe", "streams", "packets", "runs", "run"}
    expected |= {"reset", "rename", "unrename", "kick", "quit"}
    assert expected == {command.command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)
def test_a_docstring_opens_with_the_usage_of_the_parameters(command: type) -> None:
    (kind,) = (each for each in COMMANDS if each is command)
    first, blank, *rest = inspect.cleandoc(kind.__doc__ or "").splitlines()
    shown = usage(kind.command, kind.parameters).replace("[OLD] [NEW]", "[OLD NEW]")
    assert shown == first
    assert "" == blank
    assert rest
    assert all(len(line) <= 120 for line in rest)


def test_levels_and_reads_are_stated_as_designed() -> None:
    operators = {command.command for command in COMMANDS if command.level is Level.OPERATOR}
    assert {"run start", "run stop", "reset", "rename", "unrename", "kick"} == operators
    assert operators == {command.command for command in COMMANDS if not command.reads}


def test_help_of_a_command_is_its_docstring(asks: Asks) -> None:
    lines = asks("help STREAMS")
    assert "streams [open|closed] [peer=HOST[:PORT]] [limit=N]" == lines[0]
    assert any("newest first" in line for line in lines)
    assert "  Level: viewer." == lines[-2]
    assert f"OK {len(lines) - 1}" == lines[-1]


def test_help_of_run_shows_all_that_begins_with_it(asks: Asks) -> None:
    lines = asks("help run")
    assert {"run N", "run start NAME [expect=N]", "run stop"} <= set(lines)
    assert "runs [limit=N]" not in lines
    assert "run stop" == asks("help run  stop")[0]


def test_help_in_json_is_a_list(peer: Peer) -> None:
    reply = peer.asks_json("help")
    assert len(COMMANDS) == reply["total"] == len(reply["data"])
    (ping,) = peer.asks_json("help ping")["data"]
    assert {"command": "ping", "usage": "ping", "level": "viewer", "help": "OK pong, when the server is there."} == ping


def test_help_of_an_unknown_command_is_404(asks: Asks) -> None:
    assert ['ERR 404 unknown-command "stast"; did you mean "stats"?'] == asks("help stast")


def test_version_is_a_record(peer: Peer) -> None:
    lines = peer.asks("version")
    assert "version 1.2.3" == lines[0]
    assert ["version", "python", "twisted", "platform"] == [line.split()[0] for line in lines[:-1]]
    assert "OK 4" == lines[-1]
    assert "1.2.3" == peer.asks_json("version")["data"]["version"]


def test_ping(peer: Peer) -> None:
    assert ["OK pong"] == peer.asks("ping")
    assert {"ok": True, "command": "ping", "data": {"ping": "pong"}} == peer.asks_json("PING")


def test_quit_says_bye_and_closes(server: Server) -> None:
    for line, reply in (
        (b"quit\n", b"OK bye\r\n"),
        (b"quit json\n", b'{"ok":true,"command":"quit","data":{"quit":"bye"}}\r\n'),
    ):
        peer = server.connect()
        assert reply == peer.says(line + b"ping\n")
        assert peer.transport.disconnecting


# Commands and arguments


def test_an_unknown_command_is_404_with_the_nearest(peer: Peer) -> None:
    assert ['ERR 404 unknown-command "stast"; did you mean "stats"?'] == peer.asks("stast")
    assert ("404", "unknown-command") == refusal(peer.asks("xyzzy"))
    error = {"code": 404, "id": "unknown-command", "message": '"stast"; did you mean "stats"?'}
    assert {"ok": False, "error": error} == peer.asks_json("stast")
    assert "unknown-command" == peer.asks_json("")["error"]["id"]


def test_what_is_shown_of_bad_input_is_one_printable_line(peer: Peer) -> None:
    (line,) = peer.says('\u2028\u202e\u0301"\\\ufeff\n'.encode()).decode().splitlines()
    assert line.startswith("ERR 404 unknown-command ")
    assert line.isprintable()
    assert len(peer.asks("x" * 1000)[0]) < 200


@pytest.mark.parametrize("command", ["version", "ping", "quit", "reset", "run stop"])
def test_a_command_without_arguments_takes_none(asks: Asks, command: str) -> None:
    (line,) = asks(f"{command} 5")
    assert f'ERR 400 unknown-argument "5" is nothing that "{command}" takes; usage: {command}' == line


# stats, describe, reset


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
    assert peer.asks("describe")[0].split() == ["#", "name", "record", "kind", "unit", "help"]


def test_describe_of_a_field_knows_all_records_and_renames(server: Server, peer: Peer) -> None:
    assert ["stats", "stream", "run"] == [row["record"] for row in peer.asks_json("describe packets")["data"]]
    server.book.renames = Renames((("packets", "messages"),))
    assert ["messages"] * 3 == [row["name"] for row in peer.asks_json("describe messages")["data"]]
    assert ['ERR 404 unknown-field "packets" is published as "messages"'] == peer.asks("describe packets")
    assert ("404", "unknown-field") == refusal(peer.asks("describe mesages"))


def test_reset_gives_the_closed_reading(server: Server, peer: Peer) -> None:
    server.stream(10)
    assert 10 == peer.asks_json("reset")["data"]["packets"]
    stats = peer.asks_json("stats")["data"]
    assert (0, 10, 1) == (stats["packets"], stats["packets_total"], stats["resets_total"])


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


# runs


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


# rename


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


# A line that was cut


@pytest.mark.parametrize("line", ["reset", "run start x", "run stop", "rename a b", "unrename x", "kick 1"])
def test_a_cut_line_that_would_change_something_is_refused_by_name(server: Server, line: str) -> None:
    server.stream(1, open=True)
    before = server.book.stats(0.0)
    peer = server.connect()
    peer.says(line.encode())
    peer.ends()
    assert peer.transport.sent.startswith(b"ERR 400 incomplete-line ")
    assert next(each.command for each in COMMANDS if line.startswith(each.command)).encode() in peer.transport.sent
    assert before == server.book.stats(0.0)
    assert peer.transport.disconnecting


@pytest.mark.parametrize("line", ["stats json", "ping", "rename", "quit", "run 1", "help run start"])
def test_a_cut_line_that_only_reads_is_carried_out(server: Server, line: str) -> None:
    server.stream(1)
    whole, cut = server.connect(), server.connect()
    whole.says(line.encode() + b"\n")
    cut.says(line.encode())
    assert b"" == cut.transport.sent
    cut.ends()
    assert whole.transport.sent == cut.transport.sent
    assert cut.transport.disconnecting


# Whatever is asked

WORDS = [word for command in COMMANDS for word in command.command.split()]
WORDS += [parameter.name for command in COMMANDS for parameter in command.parameters]
WORDS += ["open", "1", "2", "0", "-1", "1e3", "limit=2", "limit=x", "=", "a=b"]
WORDS += ["packets", "OK", "ERR", "x\u2028y", '"', "json"]
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=" "), min_size=1, max_size=8)
LINES = st.lists(st.sampled_from(WORDS) | TEXTS, min_size=1, max_size=5).map(" ".join)


@given(st.lists(LINES, min_size=1, max_size=5))
def test_every_line_has_one_reply_with_one_status_line_and_never_ours_to_blame(lines: list[str]) -> None:
    server = Server()
    server.stream(1).kept = KeptPackets(2, 100)
    server.stream(2, open=True)
    for line in lines:
        peer = server.connect()
        reply = peer.says(f"{line}\n".encode()).decode()
        assert reply.endswith("\r\n")
        *body, status = reply.removesuffix("\r\n").split("\r\n")
        words = line.casefold().split(" ")
        if words[-1] == "json" or ("json" in words and status.startswith("{")):  # named arguments may follow it
            assert [] == body
            answer = json.loads(status)
            assert ("data" in answer) if answer["ok"] else (answer["error"]["code"] in (400, 404, 409))
        else:
            assert re.match(r"OK |ERR (400|404|409) [a-z0-9-]+ ", status)
            assert not any(re.match("OK|ERR", each) for each in body)
