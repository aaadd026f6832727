"""Conditional answers: which rule answers which packet."""

from __future__ import annotations

import pytest

from ctrlserver.errors import InjectionError
from ctrlserver.inject.places import Place
from ctrlserver.inject.rules import MOST_RULES, MOST_STEPS, Answers, Rule, Rules

REPLIES = Place("data", mode="reply", reply=b"OK")


@pytest.fixture
def rules() -> Rules:
    return Rules()


def answers_of(rules: Rules, *ordered: Rule) -> Answers:
    for rule in ordered:
        rules.add(rule, REPLIES, 0)
    return rules.of("data")


def text(answers: Answers, packet: bytes) -> bytes | None:
    rule = answers.answer(packet)
    return None if rule is None else rule.octets


@pytest.mark.parametrize(
    ("when", "packet", "holds"),
    [
        ("PING", b"PING", True),
        ("PING", b"PING ", False),
        ("PING", b"ping", False),
        ("", b"", True),
        ("", b"a", False),
        (r"\x00\r", b"\x00\r", True),
        ("*1", b"*1", True),
        ("/", b"/", True),
        ("/^PI.G$/", b"PING", True),
        ("/PING/", b"a PING b", True),
        ("/^PING$/", b"a PING", False),
        (r"\x2fPING/", b"/PING/", True),
        ("/connect/", b"connect", True),
        ("//", b"anything", True),
    ],
)
def test_a_text_is_the_whole_packet_and_an_expression_is_found_in_it(
    rules: Rules, when: str, packet: bytes, holds: bool
) -> None:
    assert (b"A" if holds else None) == text(answers_of(rules, Rule(when, "A")), packet)


def test_the_first_that_holds_and_is_not_used_up_answers(rules: Rules) -> None:
    answers = answers_of(rules, Rule("A", "1", times=2), Rule("/A/", "2", times=1), Rule("A", "3"))
    assert [b"1", b"1", b"2", b"3", b"3"] == [text(answers, b"A") for _ in range(5)]
    assert text(answers, b"B") is None
    assert [2, 1, 2] == [each.hits for each in answers.rules]


def test_a_greeting_is_no_answer_and_counts_as_well(rules: Rules) -> None:
    answers = answers_of(rules, Rule("connect", "hello", times=1))
    assert text(answers, b"connect") is None
    assert not answers.of_packets
    assert ["hello", None] == [each and each.answer for each in (answers.greeting(), answers.greeting())]
    assert 1 == answers.rules[0].hits


def test_what_is_ordered_comes_before_what_is_configured_and_numbers_are_never_used_twice(rules: Rules) -> None:
    rules.configure({"data": [Rule("A", "config")]}, [REPLIES], 0)
    rules.add(Rule("A", "order"), REPLIES, 0)
    answers = rules.of("data")
    assert b"order" == text(answers, b"A")
    assert [2, 1] == [each.number for each in rules.all()]
    assert [2] == [each.number for each in rules.end(2)]
    assert b"config" == text(answers, b"A")
    rules.configure({"data": [Rule("A", "config")]}, [REPLIES], 0)
    assert 1 == answers.rules[0].hits, "the same rules go on"
    rules.configure({"data": [Rule("A", "other")]}, [REPLIES], 0)
    assert [3] == [each.number for each in rules.all()]


def test_what_was_ended_by_hand_stays_so_until_the_config_says_something_else(rules: Rules) -> None:
    for _ in range(2):
        rules.configure({"data": [Rule("A", "1"), Rule("B", "2")]}, [REPLIES], 0)
        rules.end(1)
        assert [2] == [each.number for each in rules.all()]
    rules.configure({"data": [Rule("B", "2")]}, [REPLIES], 0)
    assert [3] == [each.number for each in rules.all()]


def test_the_rules_of_a_config_are_numbered_in_its_order(rules: Rules) -> None:
    names = [f"n{number}" for number in range(9)]
    rules.configure({name: [Rule("A", "1")] for name in names}, [], 0)
    assert names == [each.listener for each in sorted(rules.all(), key=lambda each: each.number)]


def test_rules_end_by_number_by_listener_or_all(rules: Rules) -> None:
    for name in ("a", "b", "b"):
        rules.add(Rule("x", "y"), Place(name, mode="reply"), 0)
    assert [] == rules.end(4)
    assert [3] == [each.number for each in rules.end(3)]
    assert [2] == [each.number for each in rules.end("b")]
    assert [1] == [each.number for each in rules.end()]
    assert [] == rules.all()


def test_after_a_reload_the_rules_stay_that_can_still_answer(rules: Rules) -> None:
    for name in ("a", "b", "c"):
        rules.add(Rule("x", "y"), Place(name, mode="reply"), 0)
    rules.configure({}, [Place("a", mode="reply"), Place("b", mode="echo")], 0)
    assert ["a"] == [each.listener for each in rules.all()]


class Watcher:
    told = 0

    def changed(self) -> None:
        self.told += 1


def test_whoever_watches_is_told_of_each_change_as_long_as_it_lives(rules: Rules) -> None:
    watcher = Watcher()
    answers = rules.of("data")
    answers.watch(watcher.changed)
    rules.add(Rule("x", "y"), REPLIES, 0)
    rules.configure({"data": [Rule("x", "z")]}, [REPLIES], 0)
    rules.configure({"data": [Rule("x", "z")]}, [REPLIES], 0)
    rules.end()
    assert 3 == watcher.told
    del watcher
    rules.add(Rule("x", "y"), REPLIES, 0)
    another = Watcher()
    answers.watch(another.changed)
    assert 1 == len(answers._watchers)


@pytest.mark.parametrize(
    ("when", "answer", "why"),
    [
        ("/EHLO", "x", r'when "/EHLO": expected "/" at its end, or for the text itself "\\\\x2fEHLO"'),
        ("/(/", "x", r'when "/\(/": missing \)'),
        (r"\q", "x", r'when: unknown escape at character 1 of "\\\\q"'),
        ("a", r"\q", r'with: unknown escape at character 1 of "\\\\q"'),
        ("a", "x" * 65537, "65537 bytes: expected at most 65536"),
    ],
)
def test_a_rule_that_is_wrong_is_refused(when: str, answer: str, why: str) -> None:
    with pytest.raises(InjectionError, match=why) as caught:
        Rule(when, answer)
    assert 400 == caught.value.code


@pytest.mark.parametrize(
    ("rule", "place", "why"),
    [
        (Rule("a", "b"), Place("data"), 'an answer needs mode "reply"; listener "data" is a sink'),
        (Rule("connect", "b"), Place("data", "reply", frozenset({"udp"})), '"connect" needs connections'),
        (Rule("a", "bb"), Place("data", "reply", reply_buffer=1), "an answer of 2 bytes; the reply_buffer of"),
        (Rule("a", "b" * 65508), Place("data", "reply", frozenset({"tcp", "udp"})), "a datagram holds at most 65507"),
    ],
)
def test_a_rule_that_cannot_answer_there_is_refused_with_its_reason(rule: Rule, place: Place, why: str) -> None:
    rules = Rules()
    with pytest.raises(InjectionError, match=why) as caught:
        rules.add(rule, place, 0)
    assert 409 == caught.value.code
    assert [] == rules.all()


def test_a_listener_has_a_bounded_number_of_rules_and_the_work_of_a_call_is_bounded(rules: Rules) -> None:
    answers = answers_of(rules, Rule("a", "b"))
    assert 512 == answers.packets_a_call
    for _ in range(MOST_RULES - 1):
        rules.add(Rule("/a/", "b"), REPLIES, 0)
    with pytest.raises(InjectionError, match='"data" has 64 answers already'):
        rules.add(Rule("a", "b"), REPLIES, 0)
    assert 16 == answers.packets_a_call
    assert MOST_STEPS // 63 == answers.bytes_a_call
