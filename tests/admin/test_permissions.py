"""Every command of the table at every level, before and after auth: nothing is done that the level does not allow."""

from __future__ import annotations

import hmac
from typing import Any

import pytest
from attrs import evolve
from twisted.logger import LogEvent

from ctrlserver.admin import session as sessions
from ctrlserver.admin.commands.command import Command
from ctrlserver.admin.commands.table import COMMANDS
from ctrlserver.admin.levels import Level
from ctrlserver.admin.session import Access
from tests.admin.conftest import Peer, Server, refusal

SECRET = b"correct horse battery staple"
LEVELS = tuple(Level)
BEGINNINGS = ((Level.VIEWER, Level.ADMIN), (Level.VIEWER, Level.OPERATOR), (Level.OPERATOR, Level.ADMIN))


def each_command(test: Any) -> Any:
    return pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.command)(test)


def right(challenge: str, secret: bytes = SECRET) -> str:
    return hmac.new(secret, challenge.encode(), "sha256").hexdigest()


def challenged(peer: Peer) -> str:
    line, status = peer.asks("auth")
    assert "OK 1" == status
    word, challenge = line.split()
    assert "challenge" == word
    return challenge


def authenticate(peer: Peer) -> list[str]:
    return peer.asks(f"auth {right(challenged(peer))}")


def answers_wrong(server: Server, peer: Peer, answer: str | None = None) -> str:
    challenge = challenged(peer)
    before = len(peer.transport.sent)
    assert b"" == peer.says(f"auth {answer or right(challenge, b'no secret at all')}\r\n".encode())
    server.clock.advance(1.0)
    return peer.transport.sent[before:].decode()


def connect(server: Server, begins: Level, highest: Level | None = None, secret: bytes | None = SECRET) -> Peer:
    server.access = Access(begins, begins if highest is None else highest, secret, "tcp:22223")
    return server.connect()


def needed(command: type[Command]) -> Level:
    """For the example of a command, which has arguments where the command only lists without."""
    return command.level if " " in command.example or not command.lists else Level.VIEWER


def is_refused(server: Server, peer: Peer, command: type[Command]) -> bool:
    """Whether the example is refused for its level; then nothing has changed."""
    before = evolve(server.book.stats(server.clock.seconds()), admin_refused_total=0)
    renames, refused = server.book.renames, server.book.admin_refused
    replied = peer.says(f"{command.example}\r\n".encode()).decode()
    if peer.connection._later is not None:
        peer.says(b"\n")
        server.clock.advance(10.0)
    if "ERR 403" not in replied:
        assert refused == server.book.admin_refused
        return False
    assert replied.startswith(f'ERR 403 not-permitted "{command.command}" needs level {needed(command)}, and this ')
    assert 1 == replied.count("\n")
    assert before == evolve(server.book.stats(server.clock.seconds()), admin_refused_total=0)
    assert (renames, refused + 1) == (server.book.renames, server.book.admin_refused)
    return True


@each_command
@pytest.mark.parametrize("level", LEVELS, ids=str)
def test_a_command_is_carried_out_exactly_from_its_level_on(
    server: Server, command: type[Command], level: Level
) -> None:
    for number in range(2):
        server.stream(number, open=True)
    assert (level < needed(command)) == is_refused(server, connect(server, level), command)


@each_command
@pytest.mark.parametrize(("begins", "highest"), BEGINNINGS, ids=str)
def test_after_auth_the_level_is_the_highest_of_the_port_and_no_more(
    server: Server, command: type[Command], begins: Level, highest: Level
) -> None:
    for number in range(2):
        server.stream(number, open=True)
    peer = connect(server, begins, highest)
    assert [f"OK {highest}"] == authenticate(peer)
    assert (highest < needed(command)) == is_refused(server, peer, command)


@pytest.mark.parametrize("wrong_at", [None, 0, 63])
def test_answers_are_compared_in_a_time_that_does_not_depend_on_where_they_are_wrong(
    server: Server, monkeypatch: pytest.MonkeyPatch, wrong_at: int | None
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(sessions, "compare_digest", compare_digest)
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    expected = answer = right(challenged(peer))
    if wrong_at is not None:
        digit = "0" if expected[wrong_at] != "0" else "1"
        answer = f"{expected[:wrong_at]}{digit}{expected[wrong_at + 1 :]}"
    peer.says(f"auth {answer}\n".encode())
    assert [(expected.encode(), answer.encode())] == compared
    assert (wrong_at is None) == peer.transport.sent.endswith(b"OK admin\r\n")


@each_command
def test_wrong_answers_raise_no_level_and_after_three_nothing_is_carried_out(
    server: Server, command: type[Command]
) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    for left in ("2 tries left", "1 try left", "that was the last try"):
        assert answers_wrong(server, peer).startswith(f"ERR 403 wrong-answer the answer is wrong; {left}")
        if left != "that was the last try":
            assert (Level.VIEWER < needed(command)) == is_refused(server, peer, command) or peer.transport.disconnecting
        if peer.transport.disconnecting:
            break
    assert peer.transport.disconnecting
    assert b"" == peer.says(f"{command.example}\r\n".encode())


@each_command
def test_an_answer_that_was_used_or_is_of_another_connection_raises_no_level(
    server: Server, command: type[Command]
) -> None:
    first = connect(server, Level.VIEWER, Level.ADMIN)
    answer = right(challenged(first))
    assert ["OK admin"] == first.asks(f"auth {answer}")
    assert ("409", "no-challenge") == refusal(first.asks(f"auth {answer}"))
    other = connect(server, Level.VIEWER, Level.ADMIN)
    assert ("409", "no-challenge") == refusal(other.asks(f"auth {answer}"))
    assert answers_wrong(server, other, answer).startswith("ERR 403 wrong-answer ")
    assert (Level.VIEWER < needed(command)) == is_refused(server, other, command)


def test_no_spelling_of_a_command_passes_its_level(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    for line in ("RESET", " reset", "reset json", "\treset\t", "reset x", "rename old=a", "Run  Stop", "rename a"):
        replied = peer.says(f"{line}\r\n".encode()).decode()
        assert "not-permitted" in replied, line
    assert 0 == server.book.stats(0.0).resets_total
    assert 8 == server.book.stats(0.0).admin_refused_total


def test_a_viewer_may_list_what_an_operator_changes(server: Server) -> None:
    assert ["OK 0"] == connect(server, Level.VIEWER).asks("rename")


def test_a_refusal_says_how_to_get_the_level(server: Server) -> None:
    with_secret = connect(server, Level.VIEWER, Level.ADMIN)
    needed = 'ERR 403 not-permitted "reset" needs level operator, and this connection has viewer'
    assert [f'{needed}; auth raises it, and "help auth" says how'] == with_secret.asks("reset")
    error = with_secret.asks_json("reset")["error"]
    assert (403, "not-permitted") == (error["code"], error["id"])
    server = Server()
    without = connect(server, Level.VIEWER, secret=None)
    assert without.asks("reset")[0].endswith("; this port gives no more; the config can: level and auth in [[admin]]")
    server.access = Access(Level.ADMIN, Level.ADMIN, None, "unix:/run/a.sock")
    server.connect()
    assert without.asks("reset")[0].endswith("; this port gives no more; ask through unix:/run/a.sock")


def test_every_change_is_logged_with_its_peer_and_level_and_no_reading_is(
    server: Server, logged: list[LogEvent]
) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    authenticate(peer)
    for line in ("reset", "stats", "run start soak", "rename", "rename protocol p", "kick 7"):
        peer.asks(line)
    told = [event["log_format"].format(**event) for event in logged]
    assert [
        "admin: 127.0.0.1:5555 is admin now",
        "admin: reset by 127.0.0.1:5555 (admin)",
        "admin: run start soak by 127.0.0.1:5555 (admin)",
        "admin: rename protocol p by 127.0.0.1:5555 (admin)",
    ] == told


def test_no_line_of_the_log_has_a_secret_an_answer_or_a_control_character(
    server: Server, logged: list[LogEvent]
) -> None:
    peer = connect(server, Level.OPERATOR, Level.ADMIN)
    challenge = challenged(peer)
    peer.asks(f"auth {right(challenge)}")
    answers_wrong(server, peer)
    peer.asks("run start \u202eevil\u2028")
    peer.asks("run start x\u202e")
    told = "".join(repr(event) for event in logged)
    assert SECRET.decode() not in told
    assert right(challenge) not in told
    assert "\u202e" not in "".join(event["log_format"].format(**event) for event in logged)


def test_a_flood_of_changes_and_refusals_writes_few_lines_and_the_number_of_the_others(
    server: Server, logged: list[LogEvent]
) -> None:
    peer, viewer = connect(server, Level.OPERATOR), connect(server, Level.VIEWER)
    for _ in range(50):
        peer.asks("reset")
        viewer.asks("reset")
    assert 11 == len(logged)
    server.factory.journal.tell_left_out(server.clock.seconds() + 60)
    assert [40, 49] == [event["number"] for event in logged[11:]]


# auth


def test_a_wrong_answer_takes_a_second_and_later_lines_wait(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    challenged(peer)
    assert b"" == peer.says(f"auth {'0' * 64}\r\nping\r\n".encode())
    server.clock.advance(0.9)
    assert not peer.transport.sent.endswith(b"OK pong\r\n")
    server.clock.advance(0.1)
    assert peer.transport.sent.endswith(b"2 tries left; auth gives a new challenge\r\nOK pong\r\n")


def test_three_wrong_answers_close_the_connection_and_are_counted(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    for _ in range(3):
        assert not peer.transport.disconnecting
        answers_wrong(server, peer)
    assert peer.transport.disconnecting
    assert 3 == server.book.stats(0.0).admin_refused_total


def test_a_challenge_is_of_64_digits_never_the_same_and_good_for_a_minute(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    seen = {challenged(peer) for _ in range(20)}
    assert 20 == len(seen)
    assert {64} == {len(challenge) for challenge in seen}
    challenge = challenged(peer)
    server.clock.advance(60.0)
    assert ("409", "no-challenge") == refusal(peer.asks(f"auth {right(challenge)}"))
    challenge = challenged(peer)
    server.clock.advance(59.0)
    assert ["OK admin"] == peer.asks(f"AUTH {right(challenge).upper()}")


def test_only_the_newest_challenge_counts(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    old = challenged(peer)
    challenged(peer)
    assert b"" == peer.says(f"auth {right(old)}\n".encode())


def test_a_port_without_a_secret_says_how_to_give_it_one(server: Server) -> None:
    peer = connect(server, Level.VIEWER, secret=None)
    assert ['ERR 409 no-auth this port has no secret; auth = "FILE" below its [[admin]] names one'] == peer.asks("auth")
    assert ("409", "no-auth") == refusal(peer.asks(f"auth {'0' * 64}"))


@pytest.mark.parametrize("text", ["0" * 63, "0" * 65, "g" * 64, "hunter2"])
def test_what_is_no_answer_is_told_without_showing_it(server: Server, text: str) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    challenged(peer)
    (line,) = peer.asks(f"auth {text}")
    assert line.startswith("ERR 400 bad-argument hex: expected 64 hex digits")
    assert text not in line


def test_a_connection_that_ends_in_its_pause_leaves_no_timer(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.ADMIN)
    challenged(peer)
    peer.says(f"auth {'0' * 64}\n".encode())
    peer.connection.connectionLost()
    assert [] == server.clock.getDelayedCalls()


def test_whoami_says_level_and_what_can_be_reached(server: Server) -> None:
    peer = connect(server, Level.VIEWER, Level.OPERATOR)
    expected = {"peer": "127.0.0.1:5555", "transport": "tcp", "endpoint": "tcp:22223", "level": "viewer"}
    assert {**expected, "highest": "operator", "auth": "yes"} == peer.asks_json("whoami")["data"]
    authenticate(peer)
    assert "operator" == peer.asks_json("whoami")["data"]["level"]
    expected = {"level": "viewer", "highest": "viewer", "auth": "no"}
    assert expected.items() <= connect(server, Level.VIEWER, Level.ADMIN, None).asks_json("whoami")["data"].items()
