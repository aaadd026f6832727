"""Any command's reply, in text and in JSON, and the answer to a challenge."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from ctrlserver.client.admin import AdminClient, limit_of
from ctrlserver.errors import LoadError
from ctrlserver.secret import answer_to

SECRET = b"correct horse battery"
CHALLENGE = "0123456789abcdef" * 4


class Asked:
    """A client without a network: what it sent, and the outcome of what it is asked."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()
        self.client = AdminClient(self.clock, "there")
        self.client.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        self.outcomes: list[object] = []

    def hello(self) -> None:
        self.begin(self.client.hello())
        self.hear(b'{"ok":true,"data":{"version":"1"}}\r\n')
        self.transport.clear()
        self.outcomes.clear()

    def begin(self, question: Coroutine[Any, Any, object]) -> None:
        asked = Deferred.fromCoroutine(question)
        asked.addCallbacks(self.outcomes.append, lambda failure: self.outcomes.append(failure.value))

    def hear(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.client.dataReceived(piece)

    @property
    def sent(self) -> bytes:
        sent: bytes = self.transport.value()
        self.transport.clear()
        return sent


@pytest.fixture
def asked() -> Asked:
    made = Asked()
    made.hello()
    return made


REPLY = b"# stream  peer\r\n1         OKAY:5\r\n OK not yet\r\nOK 1\r\n"


@pytest.mark.parametrize("cut", range(len(REPLY)))
def test_a_reply_in_text_ends_with_its_status_line_however_it_is_cut(asked: Asked, cut: int) -> None:
    asked.begin(asked.client.ask("streams"))
    assert b"streams\r\n" == asked.sent
    asked.hear(REPLY[:cut], REPLY[cut:])
    assert ["# stream  peer\n1         OKAY:5\n OK not yet\nOK 1\n"] == asked.outcomes


def test_an_error_is_a_reply_as_well(asked: Asked) -> None:
    asked.begin(asked.client.ask("stast"))
    asked.hear(b'ERR 404 unknown-command "stast"\r\n')
    asked.begin(asked.client.ask_json("stast"))
    asked.hear(b'{"ok":false,"error":{"code":404,"id":"unknown-command","message":"x"}}\r\n')
    error = {"code": 404, "id": "unknown-command", "message": "x"}
    assert ['ERR 404 unknown-command "stast"\n', {"ok": False, "error": error}] == asked.outcomes


def test_what_a_terminal_would_obey_is_shown_instead(asked: Asked) -> None:
    asked.begin(asked.client.ask("stats"))
    asked.hear(b"a \x1b]0;title\x07\xff\rb\r\nOK \x1b[2J\r\n")
    assert ["a \\x1b]0;title\\x07\ufffd\\rb\nOK \\x1b[2J\n"] == asked.outcomes
    asked.begin(asked.client.next_line("watch"))
    asked.hear(b"1 \x1b[31m\r\n")
    assert "1 \\x1b[31m" == asked.outcomes[-1]


def test_lines_without_a_status_are_bounded_and_cost_no_more_than_their_length(asked: Asked) -> None:
    asked.begin(asked.client.ask("stats"))
    for _ in range(80):
        asked.hear(b"\n" * (1 << 16))
    (error,) = asked.outcomes
    assert isinstance(error, LoadError)
    assert "answered with more than" in str(error)
    assert asked.transport.disconnecting


def test_a_silent_server_is_given_up(asked: Asked) -> None:
    asked.begin(asked.client.ask("stats", 2.0))
    asked.clock.pump([0.1] * 40)
    assert 'the admin port there failed: no answer to "stats" within 2 s' == str(asked.outcomes[0])


def test_a_challenge_is_answered(asked: Asked) -> None:
    asked.begin(asked.client.auth(SECRET))
    assert b"auth\r\n" == asked.sent
    asked.hear(f"challenge {CHALLENGE}\r\nOK 1\r\n".encode())
    assert f"auth {answer_to(CHALLENGE, SECRET)}\r\n".encode() == asked.sent
    asked.hear(b"OK admin\r\n")
    assert [True] == asked.outcomes


def test_a_wrong_answer_is_told_without_the_answer(asked: Asked) -> None:
    asked.begin(asked.client.auth(SECRET))
    asked.hear(f"challenge {CHALLENGE}\r\nOK 1\r\n".encode(), b"ERR 403 wrong-answer 2 tries are left\r\n")
    words = "the admin port there refused the secret: ERR 403 wrong-answer 2 tries are left"
    assert words == str(asked.outcomes[0])
    asked.begin(asked.client.auth(SECRET))
    asked.hear(f"challenge {CHALLENGE}\r\nOK 1\r\n".encode())
    asked.client.connectionLost()
    assert answer_to(CHALLENGE, SECRET) not in str(asked.outcomes[1])


def test_a_port_without_a_secret_asks_for_none(asked: Asked) -> None:
    asked.begin(asked.client.auth(SECRET))
    asked.hear(b"ERR 409 no-auth this port has no secret\r\n")
    assert [False] == asked.outcomes
    assert b"auth\r\n" == asked.sent


@pytest.mark.parametrize("challenge", ["", "0" * 63, "A" * 64, "0" * 65])
def test_what_is_no_challenge_is_not_answered(asked: Asked, challenge: str) -> None:
    asked.begin(asked.client.auth(SECRET))
    asked.hear(f"challenge {challenge}\r\nOK 1\r\n".encode())
    assert 'answered "auth" with no challenge' in str(asked.outcomes[0])
    assert b"auth\r\n" == asked.sent


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("streams", 0),
        ("streams limit=500", 500),
        ("STREAMS LIMIT=500 json", 500),
        ("streams limit=999999", 100_000),
        ("streams limit=9999999999", 0),
        ("x nolimit=5", 0),
    ],
)
def test_a_reply_has_room_for_the_rows_that_are_asked_for(command: str, limit: int) -> None:
    assert limit == limit_of(command)
