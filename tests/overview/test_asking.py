from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from ctrlserver.errors import UsageError
from ctrlserver.overview.answers import Answer
from ctrlserver.overview.asking import Question, answer_of, answers_of, line_of, without_json
from ctrlserver.overview.servers import Server
from tests.peers import Admin, Silent
from tests.servers import PATIENCE, Servers, reactor, refusing


@pytest_twisted.ensureDeferred
async def test_all_are_asked_at_once_and_a_silent_one_holds_up_no_other(servers: Servers) -> None:
    silent, good = Server("silent", servers.listen(Silent)), Server("good", servers.listen(Admin))
    servers.stats = {"packets_total": 5}
    question = Question("stats", PATIENCE, in_json=True)
    waiting = Deferred.fromCoroutine(answer_of(reactor, silent, question))
    answer = await answer_of(reactor, good, question)
    assert ({"packets_total": 5}, False) == ((answer.envelope or {})["data"], waiting.called)
    waiting.addErrback(lambda _: None)
    waiting.cancel()


@pytest_twisted.ensureDeferred
async def test_answers_come_in_the_order_of_the_servers_and_a_refusal_is_one(servers: Servers) -> None:
    asked = [Server("gone", refusing()), Server("good", servers.listen(Admin))]
    gone, good = await answers_of(reactor, asked, Question("stats", PATIENCE, in_json=True))
    assert ("gone", "good", True) == (gone.server, good.server, good.good)
    assert "connection refused: nothing listens there" in gone.problem


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"ERR 503 too-many-connections x\r\n", b"\xff\x00\r\n"]
)
@pytest_twisted.ensureDeferred
async def test_what_is_no_ctrlserver_is_told(servers: Servers, answer: bytes) -> None:
    (told,) = await answers_of(reactor, [Server("odd", servers.saying(answer))], Question("stats", PATIENCE))
    assert told.problem
    assert told.problem.isprintable()


def test_a_server_that_answers_too_little_too_often_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step is in time, all of them together are not: twice the limit."""

    async def slow(*_: object) -> None:
        await Deferred()

    monkeypatch.setattr("ctrlserver.overview.asking._answer", slow)
    clock = Clock()
    answers: list[Answer] = []
    asked = Deferred.fromCoroutine(answer_of(clock, Server("slow", refusing()), Question("stats", 2.0)))
    asked.addCallback(answers.append)
    clock.pump([0.05] * 75)
    assert [] == answers
    clock.pump([0.05] * 40)
    assert ["no whole answer within 4 s"] == [answer.problem for answer in answers]


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("stats", 0.0),
        ("wait packets_total>=5", 10.0),
        ("WAIT packets_total>=5 timeout=20s", 20.0),
        ("wait packets_total>=5 timeout=9h", 3600.0),
        ("wait packets_total>=5 timeout=soon", 0.0),
    ],
)
def test_a_wait_may_take_as_long_as_it_was_told(line: str, seconds: float) -> None:
    assert seconds == Question(line, 5.0).own_seconds


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["stats"], "stats"),
        (["streams", "limit=5"], "streams limit=5"),
        (["run", "start", "lab 3"], 'run start "lab 3"'),
        (["run", "start", 'say "x"'], "run start 'say \"x\"'"),
        (["run start lab"], "run start lab"),
        (["stats", ""], 'stats ""'),
        (["runs", "name=my soak", "limit=5"], 'runs name="my soak" limit=5'),
        (["streams", "find=a=b c"], 'streams find="a=b c"'),
        (["streams", "find="], 'streams find=""'),
        (["wait", "packets_total>=5"], "wait packets_total>=5"),
    ],
)
def test_a_word_with_blanks_stays_one_argument(words: list[str], line: str) -> None:
    assert line == line_of(words)


def test_a_command_of_two_lines_is_refused() -> None:
    with pytest.raises(UsageError, match="a character that no line may have"):
        line_of(["stats", "a\nkick 5"])


@pytest.mark.parametrize(
    ("line", "without", "json"),
    [
        ("stats json", "stats", True),
        ("streams JSON limit=5", "streams limit=5", True),
        ("streams limit=5", "streams limit=5", False),
        ("json", "json", False),
        ("stats", "stats", False),
    ],
)
def test_the_word_json_asks_for_json_as_at_the_server(line: str, without: str, json: bool) -> None:
    assert (without, json) == without_json(line)
