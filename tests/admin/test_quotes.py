from __future__ import annotations

import pytest

from ctrlserver.admin.dialogue import Dialogue, Fault, Quoted, Request
from tests.admin.conftest import Peer, refusal


def event_of(line: str) -> object:
    dialogue = Dialogue()
    dialogue.receive(f"{line}\r\n".encode())
    return dialogue.next_event()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("run", "start", "lab 3"), 'run start "lab 3"'),
        (("run", "start", "lab 3"), "run start 'lab 3'"),
        (("run", "start", "name=lab 3", "expect=5"), 'run start name="lab 3" expect=5'),
        (("inject", "data", "delay(exp 20ms)"), "inject data 'delay(exp 20ms)'"),
        (("a", "it's"), 'a "it\'s"'),
        (("a", 'say "x"'), "a 'say \"x\"'"),
        (("a", "bob's", 'x"y"'), 'a bob\'s x"y"'),
        (("a", ""), 'a ""'),
        (("a", "b  c"), 'a\t"b  c"'),
    ],
)
def test_what_stands_in_quotes_is_one_word(words: tuple[str, ...], line: str) -> None:
    assert Request(words) == event_of(line)


@pytest.mark.parametrize("line", ['run start "lab 3', "run start 'lab", 'a "', 'a name="x', 'a "b"c', "'"])
def test_a_quote_that_does_not_close_is_one_error(line: str) -> None:
    event = event_of(line)
    assert isinstance(event, Fault)
    assert (400, "open-quote", False) == (event.error.code, event.error.id, event.closes)


def test_a_word_in_quotes_is_a_text_whatever_it_looks_like(peer: Peer) -> None:
    assert Request(("run", "start", "json")) == event_of('run start "json"')
    assert Request(("run", "start", "json"), json=True) == event_of('run start "json" json')
    assert isinstance(event_of("'x'").words[0], Quoted)  # type: ignore[attr-defined]
    for name in ("lab 3", "json", "a=b", "expect=5"):
        assert "name " in peer.asks(f'run start "{name}"')[1]
        assert name == peer.asks_json("runs 1")["data"][0]["name"]
    assert ("400", "bad-argument") == refusal(peer.asks('run start ""'))


# Other words for a command


def test_other_words_leave_and_help(peer: Peer) -> None:
    assert peer.asks("help") == peer.asks("?")
    assert peer.asks("help kick") == peer.asks("? kick")
    assert "quit" == peer.asks("help exit")[0]


@pytest.mark.parametrize("word", ["exit", "bye", "q", "QUIT"])
def test_a_person_leaves_by_any_usual_word(peer: Peer, word: str) -> None:
    assert ["OK bye"] == peer.asks(word)
    assert peer.transport.disconnecting


@pytest.mark.parametrize(
    ("meant", "given"),
    [("stats", "info"), ("streams", "clients"), ("help", "-h"), ("watch", "top"), ("shutdown", "stop"), ("auth", "su")],
)
def test_words_of_other_programs_are_told_with_ours(peer: Peer, meant: str, given: str) -> None:
    assert [f'ERR 404 unknown-command "{given}"; did you mean "{meant}"?'] == peer.asks(given)
