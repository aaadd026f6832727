"""The commands about conditional answers, over the rules of two listeners."""

from __future__ import annotations

import pytest
from attrs import evolve

from ctrlserver.admin.levels import Level
from ctrlserver.admin.ports import AdminPorts
from ctrlserver.admin.session import Access
from ctrlserver.errors import InjectionError
from ctrlserver.inject.orderer import Orderer
from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import Rule, Rules, Standing
from ctrlserver.stats.records import ListenerRecord
from tests.admin.conftest import Asks, Server, refusal

PLACES = {"data": Place("data", "reply", reply=b"?"), "sink": Place("sink")}


@pytest.fixture
def rules(server: Server) -> Rules:
    rules = Rules()

    def answer(listener: str, rule: Rule, by: Orderer) -> Standing:
        if listener not in PLACES:
            raise InjectionError(f'no listener "{listener}"', 404)
        return rules.add(rule, PLACES[listener], 1_700_000_000 * 10**9, by)

    listeners = [ListenerRecord(name, "tcp:0", "", None, "line", "reply", 0, 0, 0, 0, False) for name in PLACES]
    server.desk = evolve(
        server.desk, listeners=lambda *_: listeners, answer=answer, answers=rules.all, end_answers=rules.end
    )
    server.factory = AdminPorts(server.desk, server.clock)
    return rules


@pytest.fixture
def asks(server: Server, rules: Rules) -> Asks:
    assert [] == rules.all()
    return server.connect().asks


def test_an_answer_is_ordered_listed_and_ended(asks: Asks, rules: Rules) -> None:
    assert ["OK answer 1"] == asks(r"answer data when=PING with=PONG\n times=3 delay=200ms")
    assert ["OK answer 2"] == asks(r"answer data when='/^(EHLO|HELO) /' with='250 hello there\r\n'")
    assert ["OK answer 3"] == asks("answer data when=connect with=''")
    rule = rules.of("data").answer(b"PING")
    assert rule is not None
    assert (b"PONG\n", 3, 0.2) == (rule.octets, rule.times, rule.delay)
    head, *rows, status = asks("answer")
    assert ["#", "answer", "listener", "when", "with", "times", "hits", "delay", "since", "by"] == head.split()
    since, by = "2023-11-14T22:13:20.000Z", "127.0.0.1:5555"
    assert ["1", "data", "PING", r'"PONG\n"', "3", "1", "200ms", since, by] == rows[0].split()
    assert "OK 3" == status
    assert ["OK off 1"] == asks("answer off 2")
    assert ["OK off 2"] == asks("answer off data")
    assert ["OK off 0"] == asks("answer off")


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (
            "answer data",
            '400 missing-argument "answer" needs when=TEXT|/REGEX/|connect; usage: answer LISTENER when=... ',
        ),
        ("answer data when=x", '400 missing-argument "answer" needs with=TEXT; '),
        ("answer when=x with=y", '400 missing-argument "answer" needs LISTENER; '),
        ("answer data when=/(/ with=y", '400 bad-answer when "/(/": missing ), unterminated subpattern at 1'),
        (r"answer data when=x with=\q", '400 bad-answer with: unknown escape at character 1 of "\\\\q"'),
        ("answer sink when=x with=y", '409 cannot-answer an answer needs mode "reply"; listener "sink" is a sink'),
        ("answer dota when=x with=y", '404 unknown-listener no listener "dota"'),
        ("answer data when=x with=y times=0", '400 bad-argument times "0": expected a whole number in plain digits'),
        ("answer data when=x with=y delay=2h", '400 bad-argument delay "2h": expected a duration from 0 to 3600 s'),
        ("answer off 7", "404 unknown-answer no answer 7 is active, nor is any other"),
        ("answer off dato", '404 unknown-listener no listener "dato"; did you mean "data"?'),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_ordered(asks: Asks, rules: Rules, line: str, error: str) -> None:
    (reply,) = asks(line)
    assert reply.startswith(f"ERR {error}")
    assert [] == rules.all()


def test_a_viewer_may_list_and_an_operator_may_order(server: Server, rules: Rules) -> None:
    rules.add(Rule("x", "y"), PLACES["data"], 0)
    server.access = Access(Level.VIEWER, Level.VIEWER)
    viewer = server.connect().asks
    assert "OK 1" == viewer("answer")[-1]
    for line in ("answer data when=x with=y", "answer off"):
        assert ("403", "not-permitted") == refusal(viewer(line))
