"""Commands about conditional answers: ordered, listed and ended."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred

from ctrlserver.admin.arguments import Duration, Number, Parameter, Text
from ctrlserver.admin.commands.command import Command, Ended, argument, numbered
from ctrlserver.admin.levels import Level
from ctrlserver.admin.refreshing.freshness import Freshness
from ctrlserver.admin.replies import Reply, Table, Word
from ctrlserver.admin.session import Session
from ctrlserver.desk import Desk
from ctrlserver.errors import CommandError, InjectionError
from ctrlserver.inject.arguments import time_text
from ctrlserver.inject.rules import LONGEST_DELAY, Rule, Standing
from ctrlserver.stats.records import Value, timestamp

_IDS: Final = {404: "unknown-listener", 409: "cannot-answer"}

_SHOWN: Final = 100
"""Characters of a text in the list: a config may have longer ones."""


@frozen
class Written(Parameter):
    """A text as it stands in the line, which may be empty."""

    expected: str = "a text"

    def read(self, text: str) -> str:
        """As given."""
        return text


@frozen
class Answer(Command):
    r"""answer [LISTENER when=TEXT|/REGEX/|connect with=TEXT] [times=N] [delay=T]

    Answer by rules, or list them.
    For a listener in mode reply. TEXT is a whole packet, /REGEX/ is found in one,
    connect is sent when a stream opens. With blanks: when='EHLO me'. In both
    texts \r \n \t \0 \xHH and \\ stand for one byte each. The first answer that
    fits is sent, the listener's reply if none does; an empty one sends nothing.
    It is sent N times, over all streams, and T after its packet.
    """

    command = "answer"
    level = Level.OPERATOR
    reads = False
    lists = True
    reads_figures = True
    answers = "The word answer and its number. Without arguments, a row for each answer, in the order of asking."
    example = r"answer data when=PING with=PONG\n times=3"
    listener: str = argument(Text("listener", "LISTENER"), "")
    when: str | None = argument(
        Written("when", "when=TEXT|/REGEX/|connect", positional=False, expected="TEXT, /REGEX/ or connect"), None
    )
    text: str | None = argument(Written("with", "with=TEXT", positional=False), None)
    times: int | None = argument(Number("times", "times=N", least=1, positional=False), None)
    delay: float = argument(Duration("delay", "delay=T", 0.0, LONGEST_DELAY, positional=False), 0.0)

    def only_reads(self) -> bool:
        """Without arguments it lists."""
        return self == Answer()

    def fresh(self, desk: Desk, freshness: Freshness) -> Deferred[None] | None:
        """An order waits for nothing; the list shows hits."""
        return super().fresh(desk, freshness) if self.only_reads() else None

    def answer(self, desk: Desk, session: Session) -> Reply:
        """Rows of answers, or the number of the one ordered."""
        if self.only_reads():
            standing = desk.answers()
            return Table(map(_row, standing), len(standing))
        if not self.listener or self.when is None or self.text is None:
            missing = "with=TEXT" if self.when is not None else "when=TEXT|/REGEX/|connect"
            wrong = f'"answer" needs {missing if self.listener else "LISTENER"}'
            usage = "usage: answer LISTENER when=... with=... [times=N] [delay=T]"
            raise CommandError(400, "missing-argument", f'{wrong}; {usage}; "help answer" says more')
        try:
            rule = Rule(self.when, self.text, self.times, self.delay)
            number = desk.answer(self.listener, rule, session.orderer).number
        except InjectionError as error:
            raise CommandError(error.code, _IDS.get(error.code, "bad-answer"), str(error)) from None
        return Word(f"answer {number}", {"answer": number})


@frozen
class AnswerOff(Command):
    """answer off [N|LISTENER]

    End answer N, a listener's, or all.
    """

    command = "answer off"
    level = Level.OPERATOR
    reads = False
    reads_figures = True
    answers = "The word off and how many have ended. In JSON, their hits too."
    example = "answer off 1"
    answer_: str = argument(Text("answer", "N|LISTENER"), "")

    def reply(self, desk: Desk) -> Reply:
        """How many have ended."""
        which = numbered(desk, "answer", self.answer_, [each.number for each in desk.answers()])
        ended = desk.end_answers(which)
        return Word(f"off {len(ended)}", Ended(ended))


def _row(standing: Standing) -> dict[str, Value]:
    rule = standing.rule
    return {
        "answer": standing.number,
        "listener": standing.listener,
        "when": _shown(rule.when),
        "with": _shown(rule.octets.decode("utf-8", "backslashreplace")),
        "times": rule.times,
        "hits": standing.hits,
        "delay": time_text(round(rule.delay * 1e9)) if rule.delay else None,
        "since": timestamp(standing.since / 1e9),
        "by": standing.by.peer,
    }


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
