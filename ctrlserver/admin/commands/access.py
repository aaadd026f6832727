"""Commands about who asks: the level of this connection, and how it reaches a higher one."""

from __future__ import annotations

from attrs import frozen

from ctrlserver.admin.arguments import Parameter
from ctrlserver.admin.commands.command import Command, argument
from ctrlserver.admin.replies import Record, Reply, Word
from ctrlserver.admin.session import CHALLENGE_BYTES, PAUSE_SECONDS, Session
from ctrlserver.admin.waiting import Later, Pause
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError
from ctrlserver.words import counted

_DIGITS = 2 * CHALLENGE_BYTES


@frozen
class Answer(Parameter):
    """The answer to a challenge; errors do not show it, for it may be something else that nobody is to see."""

    expected = f"{_DIGITS} hex digits, the HMAC-SHA-256 of the challenge under the secret"

    def read(self, text: str) -> str:
        """The digits."""
        if len(text) == _DIGITS and all(each in "0123456789abcdef" for each in text.lower()):
            return text
        raise CommandError(400, "bad-argument", f"{self.name}: expected {self.expected}")


@frozen
class WhoAmI(Command):
    """whoami

    Your address, your level, and the one you can reach.
    """

    command = "whoami"
    answers = "A record: peer, transport, endpoint, level, highest (the highest level to be had here), auth."
    example = "whoami"

    def answer(self, desk: Desk, session: Session) -> Reply:
        """A record."""
        access = session.access
        return Record(
            {
                "peer": session.peer,
                "transport": session.transport,
                "endpoint": access.endpoint or None,
                "level": str(session.level),
                "highest": str(access.reachable),
                "auth": "no" if access.secret is None else "yes",
            }
        )


@frozen
class Auth(Command):
    """auth [HEX]

    Reach a higher level by answering a challenge.
    auth gives the challenge, auth HEX answers it. HEX is the HMAC-SHA-256 of
    the challenge (64 hex digits, as text) under the secret of the port:
    printf %s CHALLENGE | openssl dgst -sha256 -hmac SECRET
    A challenge is good for one answer and 60 s. A wrong answer takes a second;
    after three the connection is closed.
    """

    command = "auth"
    answers = "Without HEX, the challenge. With the right HEX, the level reached."
    example = "auth"
    hex: str = argument(Answer("hex", "HEX"), "")

    def answer(self, desk: Desk, session: Session) -> Reply | Later:
        """A challenge, the level reached, or after a pause an error."""
        if session.access.secret is None:
            wrong = 'this port has no secret; auth = "FILE" below its [[admin]] names one'
            raise CommandError(409, "no-auth", wrong)
        if not self.hex:
            return Record({"challenge": session.challenge(desk.now())})
        if not session.has_challenge(desk.now()):
            desk.book.admin_refused += 1
            wrong = 'there is no challenge to answer, or it is too old; "auth" gives one'
            raise CommandError(409, "no-challenge", wrong)
        if session.is_right(self.hex):
            session.journal.reached(session.peer, session.level)
            return Word(str(session.level), {"level": str(session.level)})
        desk.book.admin_refused += 1
        session.journal.refused(session.peer, session.level, "auth, a wrong answer,")
        left = session.tries
        wrong = f"{counted(left, 'try', 'tries')} left; auth gives a new challenge" if left else "that was the last try"
        error = CommandError(403, "wrong-answer", f"the answer is wrong; {wrong}")
        assert session.readings is not None
        return Pause(session.readings.reactor, PAUSE_SECONDS, error, closes=not left)
