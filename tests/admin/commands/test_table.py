from __future__ import annotations

import inspect
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctrlserver.admin.arguments import usage
from ctrlserver.admin.commands.command import parameters_of
from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.levels import Level
from ctrlserver.commands import NAMES
from ctrlserver.stats.kept import KeptPackets
from tests.admin.conftest import Asks, Peer, Server, refusal

# help, version, ping, quit


def test_help_lists_every_command_in_a_line_with_the_level_that_it_needs(asks: Asks) -> None:
    lines = asks("help")
    assert f"OK {len(COMMANDS)}" == lines[-1]
    assert [True, True] == [line.startswith("# ") for line in lines[-3:-1]]
    assert len(COMMANDS) == len(lines) - 3
    assert "run start NAME [expect=N]   Begin a run; the active one ends. (operator)" in lines
    assert "stats [PREFIX]              What the server has counted." in lines
    assert "streams ...                 The streams, open and closed ones, newest first." in lines


@pytest.mark.parametrize("topic", ["", *(each.command for each in COMMANDS)])
def test_help_has_room_in_80_columns(asks: Asks, topic: str) -> None:
    assert [] == [line for line in asks(f"help {topic}") if len(line) > 80]


def test_ctrlstat_knows_the_names_of_all_commands() -> None:
    assert NAMES == tuple(command.command for command in COMMANDS)


def test_no_command_that_scripts_rely_on_goes() -> None:
    expected = {"help", "version", "ping", "stats", "describe", "streams", "packets", "runs", "run"}
    expected |= {"reset", "rename", "unrename", "kick", "quit"}
    assert expected <= {command.command.split()[0] for command in COMMANDS}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)
def test_a_docstring_opens_with_the_usage_of_the_parameters(command: type) -> None:
    (kind,) = (each for each in COMMANDS if each is command)
    first, blank, *rest = inspect.cleandoc(kind.__doc__ or "").splitlines()
    shown = (
        usage(kind.command, parameters_of(kind))
        .replace("[OLD] [NEW]", "[OLD NEW]")
        .replace("[LISTENER] [SPEC]", "[LISTENER SPEC]")
        .replace("[LISTENER] [when=TEXT|/REGEX/|connect] [with", "[LISTENER when=TEXT|/REGEX/|connect with")
    )
    assert shown == first
    assert "" == blank
    assert rest


SHOWN = {
    "N": "run",
    "on|off": "state",
    "open|closed": "state",
    "N|LISTENER": "injection",
    "openmetrics|prometheus": "form",
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)
def test_an_argument_has_the_name_in_errors_that_the_usage_shows(command: type) -> None:
    for parameter in parameters_of(command):
        shown = parameter.shown.partition("=")[0]
        assert parameter.name in (shown.lower(), SHOWN.get(shown), command.command.removesuffix(" off"))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("log loud", 'level "loud": expected debug, info or warn'),
        ("drain maybe", 'state "maybe": expected on or off'),
        ("run x", 'run "x": expected a whole number in plain digits'),
        ("kick x", 'stream "x": expected a whole number in plain digits'),
        ('help ""', 'command "": expected 1 to 100 printable characters'),
    ],
)
def test_a_bad_argument_is_told_by_its_name(asks: Asks, line: str, error: str) -> None:
    assert [f"ERR 400 bad-argument {error}"] == asks(line)


def test_levels_and_reads_are_stated_as_designed() -> None:
    operators = {command.command for command in COMMANDS if command.level is Level.OPERATOR}
    changing = {"run start", "run stop", "reset", "rename", "unrename", "kick", "inject", "inject off", "drain", "log"}
    changing |= {"answer", "answer off"}
    assert changing == operators
    admins = {command.command for command in COMMANDS if command.level is Level.ADMIN}
    assert {"reload", "shutdown"} == admins
    assert operators | admins == {command.command for command in COMMANDS if not command.reads}


def test_help_of_a_command_is_its_docstring(asks: Asks) -> None:
    lines = asks("help STREAMS")
    usage = "streams [open|closed] [limit=N] [offset=N] [peer=HOST[:PORT]] [listener=NAME] [worker=N]"
    usage += " [find=TEXT] [sort=FIELD] [fields=A,B]"
    assert usage.split() == " ".join(lines[:2]).split()
    assert any("newest first" in line for line in lines)
    assert "  Level: viewer." == lines[-2]
    assert f"OK {len(lines) - 1}" == lines[-1]


def test_help_of_run_shows_all_that_begins_with_it(asks: Asks) -> None:
    lines = asks("help run")
    assert {"run N", "run start NAME [expect=N]", "run stop"} <= set(lines)
    assert "runs [limit=N] [fields=A,B]" not in lines
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
    assert ["version", "python", "twisted", "platform", "instance"] == [line.split()[0] for line in lines[:-1]]
    assert "OK 5" == lines[-1]
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
WORDS += [parameter.name for command in COMMANDS for parameter in parameters_of(command)]
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
        if peer.connection._later is not None:
            continue  # its reply comes later
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
